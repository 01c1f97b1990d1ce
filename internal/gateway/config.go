package gateway

import (
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// Limits are what a client may make the data plane hold and wait for. Sizes are bytes.
type Limits struct {
	Body     int64         // a request's body, decompressed
	Headers  int64         // a request's head
	InFlight int64         // all bodies held at once
	HeadTime time.Duration // for a head to arrive
	BodyTime time.Duration // for a body to arrive
	Write    time.Duration // for a client to take what is written to it
	// Keepalive is after how long without an event the client of a stream is sent a sign of life; 0 for never.
	Keepalive time.Duration
}

// DefaultLimits are those of a Penstock that is told nothing else.
func DefaultLimits() Limits {
	return Limits{
		Body: 20e6, Headers: 64e3, InFlight: 256e6,
		HeadTime: 10 * time.Second, BodyTime: 30 * time.Second, Write: 60 * time.Second,
		Keepalive: 15 * time.Second,
	}
}

// Validate reports all limits that cannot be kept. Path is where they stand in the file.
func (l Limits) Validate(path string) []fault.Problem {
	var list []fault.Problem
	for _, size := range []struct {
		name string
		n    int64
	}{{"body", l.Body}, {"headers", l.Headers}, {"in_flight", l.InFlight}} {
		if size.n <= 0 {
			list = append(list, fault.Problem{Path: path + "." + size.name, Text: "must be positive", Hint: "write a size such as 20MB"})
		}
	}
	if l.InFlight < l.Body && l.InFlight > 0 {
		list = append(list, fault.Problem{Path: path + ".in_flight", Text: "is smaller than one body", Hint: "make it at least " + path + ".body"})
	}
	for _, wait := range []struct {
		name string
		d    time.Duration
	}{{"head_time", l.HeadTime}, {"body_time", l.BodyTime}, {"write_time", l.Write}} {
		if wait.d <= 0 {
			list = append(list, fault.Problem{Path: path + "." + wait.name, Text: "must be positive", Hint: "write a duration such as 30s"})
		}
	}
	if l.Keepalive < 0 {
		list = append(list, fault.Problem{Path: path + ".keepalive", Text: "is negative", Hint: "write a duration such as 15s, or 0 for none"})
	}
	return list
}
