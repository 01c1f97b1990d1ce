// Package w3c reads and writes the W3C trace context: the headers traceparent and tracestate, by which programs that
// handle one request tell each other which trace it belongs to.
//
// It is strict, as https://www.w3.org/TR/trace-context/ wants readers to be: a header that is not exactly right is as good
// as none, and never an error for whoever sent it. It is pure: it makes no spans, decides nothing about sampling, and is
// not for other formats such as B3.
package w3c

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
)

// A TraceID names a trace. The zero value is none; its text is then "".
type TraceID [16]byte

// A SpanID names a span within a trace. The zero value is none; its text is then "".
type SpanID [8]byte

// Flags are the bits of a traceparent that have a meaning. Others are taken out when it is read.
type Flags uint8

// The flags.
const (
	// Sampled says that the sender may have recorded the trace.
	Sampled Flags = 1 << iota
	// Random says that the last seven bytes of the trace id are random, so that they can be sampled by.
	Random
)

// A Context is what one program tells the next about a trace. The zero value is none.
type Context struct {
	Trace TraceID
	Span  SpanID // the sender's span
	Flags Flags
	State string // what tracestate held, at most MaxState bytes; "" if there was none or it was wrong
}

// MaxState is how much of a tracestate is kept, in bytes: as much as every reader has to pass on.
const MaxState = 512

// IsZero reports whether there is no trace.
func (t TraceID) IsZero() bool { return t == TraceID{} }

// String is 32 hexadecimal digits, "" for none.
func (t TraceID) String() string { return text(t[:], t.IsZero()) }

// MarshalText implements [encoding.TextMarshaler].
func (t TraceID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It takes "" and what String gives.
func (t *TraceID) UnmarshalText(b []byte) error { return read(t[:], string(b)) }

// IsZero reports whether there is no span.
func (s SpanID) IsZero() bool { return s == SpanID{} }

// String is 16 hexadecimal digits, "" for none.
func (s SpanID) String() string { return text(s[:], s.IsZero()) }

// MarshalText implements [encoding.TextMarshaler].
func (s SpanID) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It takes "" and what String gives.
func (s *SpanID) UnmarshalText(b []byte) error { return read(s[:], string(b)) }

func text(id []byte, none bool) string {
	if none {
		return ""
	}
	return hex.EncodeToString(id)
}

var errNoID = errors.New("not an id of a trace or span: those are 32 or 16 lower-case hexadecimal digits, not all zero")

// read fills id from lower-case hexadecimal digits, or from "".
func read(id []byte, s string) error {
	clear(id)
	if s == "" {
		return nil
	}
	if !digits(id, s) {
		clear(id)
		return errNoID
	}
	return nil
}

// ParseTraceID reads a trace id as people pass it around: in either case, with or without the dashes of a UUID. ok is
// false if it is none.
func ParseTraceID(s string) (id TraceID, ok bool) {
	if len(s) > 64 {
		return id, false
	}
	ok = digits(id[:], strings.ToLower(strings.ReplaceAll(strings.TrimSpace(s), "-", "")))
	return id, ok
}

// SpanOf derives the id of a span from the name of what it shows. It is the same in every process, so a span can be named
// to others before it is made.
func SpanOf(name string) SpanID {
	sum := sha256.Sum256([]byte(name))
	id := SpanID(sum[:8])
	if id.IsZero() {
		id[7] = 1
	}
	return id
}

// Read finds the trace context in the headers of a request; the zero Context if there is none that is right. Without a
// right traceparent there is no tracestate either; a wrong tracestate costs only itself.
func Read(h http.Header) Context {
	parents := h["Traceparent"]
	if len(parents) != 1 {
		return Context{}
	}
	c, ok := parseParent(parents[0])
	if !ok {
		return Context{}
	}
	if states := h["Tracestate"]; len(states) > 0 {
		c.State = parseState(strings.Join(states, ","))
	}
	return c
}

// Write puts the trace context into the headers of a request.
func (c Context) Write(h http.Header) {
	h["Traceparent"] = []string{c.Parent()}
	if c.State != "" {
		h["Tracestate"] = []string{c.State}
	}
}

// Parent is the text of a traceparent, in version 00.
func (c Context) Parent() string {
	var b [55]byte
	copy(b[:], "00-")
	hex.Encode(b[3:35], c.Trace[:])
	b[35] = '-'
	hex.Encode(b[36:52], c.Span[:])
	b[52] = '-'
	hex.Encode(b[53:], []byte{byte(c.Flags)})
	return string(b[:])
}

// IsZero reports whether there is no trace.
func (c Context) IsZero() bool { return c.Trace.IsZero() }

// Child is the context that a span of this trace gives to others.
func (c Context) Child(span SpanID) Context {
	c.Span = span
	return c
}

// IsSampled reports whether the trace is recorded.
func (c Context) IsSampled() bool { return c.Flags&Sampled != 0 }

type contextKey struct{}

// With puts a trace context into ctx, for whoever sends a request on behalf of it.
func With(ctx context.Context, c Context) context.Context {
	return context.WithValue(ctx, contextKey{}, c)
}

// From finds the trace context that With put into ctx; the zero Context without.
func From(ctx context.Context) Context {
	c, _ := ctx.Value(contextKey{}).(Context)
	return c
}
