// Package clock is the civil time that records go by: that of the store, which all replicas share, as far as it is known.
//
// Machines' clocks are wrong now and then. Several replicas write records into one store, and what they write has to be in
// one order, and on the right day. So each holds its clock against the store's, and what it puts into records, keys and
// stops is its own time, corrected by the difference. It is not for durations: those are the monotonic clock's, which no
// correction touches. It measures nothing by itself.
package clock

import (
	"sync/atomic"
	"time"
)

const (
	// small is a difference that is not corrected: measuring is no more exact, and machines with a time service agree
	// within it.
	small = 50 * time.Millisecond
	// rough is how wrong a measurement may be that still counts.
	rough = 500 * time.Millisecond
)

// A Clock tells civil time. The zero value tells this machine's, until it is told of a difference. It is safe for
// concurrent use; a nil Clock tells this machine's for good.
type Clock struct {
	// Skew is by how much the machine's clock is made wrong, for tests. It must not be changed once the clock is used.
	Skew time.Duration
	off  atomic.Int64
}

// Local is what this machine's clock says, without a monotonic reading.
func (c *Clock) Local() time.Time { return c.local(time.Now()) }

func (c *Clock) local(t time.Time) time.Time {
	if c == nil {
		return t.Round(0)
	}
	return t.Round(0).Add(c.Skew)
}

// Now is the time that records go by, without a monotonic reading.
func (c *Clock) Now() time.Time {
	now, _ := c.At(time.Now())
	return now
}

// At is the time that records go by at an instant of [time.Now], and by how much that is corrected.
func (c *Clock) At(t time.Time) (time.Time, time.Duration) {
	if c == nil {
		return t.Round(0), 0
	}
	off := time.Duration(c.off.Load())
	return c.local(t).Add(off), off
}

// Measured tells the clock that the store's is ahead of this machine's, or behind it if that is negative, and how wrong
// that may be. What is within the error of the measurement changes nothing, so that times do not jitter; nor does a
// measurement that is too rough. Where none comes any more, the last one holds.
func (c *Clock) Measured(ahead, within time.Duration) (changed bool) {
	off := time.Duration(c.off.Load())
	if within > rough || (ahead-off).Abs() <= small+within {
		return false
	}
	c.off.Store(int64(ahead))
	return true
}
