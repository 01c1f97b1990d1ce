package provider

import (
	"errors"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/wire/sse"
)

// A Stream gives a codec the events of an answer that is a stream, and says what its end means.
type Stream struct {
	body   io.Closer
	events *sse.Scanner
	limit  int64 // of one event, in bytes
	last   bool
}

// OpenStream begins to read an answer's events.
func OpenStream(resp *http.Response, s Settings) Stream {
	return Stream{body: resp.Body, events: sse.NewScanner(resp.Body, int(s.MaxEvent)), limit: s.MaxEvent}
}

// Next gives the next event; it is valid until the next call. Behind the last it is io.EOF; other errors are for [Stream.End].
func (t *Stream) Next() (sse.Event, error) {
	if t.last {
		return sse.Event{}, io.EOF
	}
	in, err := t.events.Next()
	if errors.Is(err, io.ErrUnexpectedEOF) && len(in.Data) > 0 {
		// The stream ended without the blank line. Some servers leave it out behind their end mark.
		t.last, err = true, nil
	}
	return in, err
}

// Last reports whether the stream ended within the event that Next gave last, which may be cut.
func (t *Stream) Last() bool { return t.last }

// More reports whether another event has been received already.
func (t *Stream) More() bool { return t.events.Buffered() }

// End says what an error of Next means: nil if the stream ended by itself, so that the events have to tell whether it is whole.
func (t *Stream) End(err error) error {
	switch {
	case errors.Is(err, sse.ErrTooLong):
		return TooLarge("an event", t.limit, err)
	case errors.Is(err, io.EOF), t.last:
		return nil
	}
	return err
}

// Close frees the buffer and ends the upstream's call.
func (t *Stream) Close() error {
	t.events.Close()
	return t.body.Close()
}

// Cut is the failure of a stream that ended before its end.
func Cut() *Failure {
	return &Failure{Reason: ReasonCut, Message: "ended the stream without its end mark"}
}

// EmptyStream is the failure of a stream in which nothing was generated, and nothing explains that.
func EmptyStream() *Failure {
	return &Failure{Reason: ReasonEmpty, Message: "sent a stream with nothing in it"}
}
