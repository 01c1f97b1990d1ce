package anthropic

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/anthropic"
	"github.com/penstock/penstock/internal/wire/sse"
)

const streamType = "text/event-stream"

// A plainAnswer is an answer that was read whole.
type plainAnswer struct {
	body  io.Closer
	event llm.Event
	meta  llm.Meta
	given bool
}

func decodePlain(resp *http.Response, s provider.Settings, r wire.Reading) (provider.Answer, error) {
	if provider.MediaType(resp) == streamType {
		return nil, &provider.Failure{Reason: provider.ReasonGarbage, Message: "answered with a stream where none was asked for"}
	}
	body, err := provider.ReadWhole(resp, s.MaxBody)
	if err != nil {
		return nil, err
	}
	a := &plainAnswer{body: resp.Body}
	r.Meta = &a.meta
	if err := wire.ScanAnswer(body, &a.event, r); err != nil {
		return nil, failure(err)
	}
	return a, nil
}

// Next gives the answer as one event.
func (a *plainAnswer) Next() (llm.Event, error) {
	if a.given {
		return llm.Event{}, io.EOF
	}
	a.given = true
	return a.event, nil
}

// Meta is what the provider says of the answer.
func (a *plainAnswer) Meta() *llm.Meta { return &a.meta }

// Close closes the body.
func (a *plainAnswer) Close() error { return a.body.Close() }

// A streamAnswer gives the events of a stream as they come.
type streamAnswer struct {
	body   io.Closer
	events *sse.Scanner
	scan   wire.Stream
	text   []byte
	meta   llm.Meta
	limit  int64 // of one event

	usage    llm.Usage
	content  bool // there was content
	finished bool // there was a reason to end
	excused  bool // for another reason than having said all
	last     bool // the stream ended within the event at hand
	ended    bool
}

func decodeStream(resp *http.Response, s provider.Settings, r wire.Reading) (provider.Answer, error) {
	if t := provider.MediaType(resp); t != "" && t != streamType {
		return nil, noStream(resp, t)
	}
	a := &streamAnswer{body: resp.Body, events: sse.NewScanner(resp.Body, int(s.MaxEvent)), limit: s.MaxEvent}
	r.Meta = &a.meta
	a.scan = wire.Stream{Reading: r}
	return a, nil
}

// noStream reads an answer that should have been a stream: it may be an error that came with status 200.
func noStream(resp *http.Response, t string) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, provider.MaxErrorBody))
	if err != nil {
		return err
	}
	var e llm.Event
	if err := wire.ScanAnswer(body, &e, wire.Reading{}); err != nil {
		if _, ok := errors.AsType[*wire.InBandError](err); ok {
			return failure(err)
		}
	}
	return &provider.Failure{
		Reason: provider.ReasonGarbage, Message: "answered with something else where a stream was asked for",
		Err: fmt.Errorf("content type %.80q", t),
	}
}

// Next gives the next event.
func (a *streamAnswer) Next() (llm.Event, error) {
	if a.ended {
		return llm.Event{}, io.EOF
	}
	if a.last {
		return a.end(io.EOF)
	}
	in, err := a.events.Next()
	if errors.Is(err, io.ErrUnexpectedEOF) && len(in.Data) > 0 {
		a.last, err = true, nil // the stream ended without the blank line
	}
	if err != nil {
		return a.end(err)
	}
	var e llm.Event
	if err := a.scan.Scan(in.Data, &e, a.text[:0]); err != nil {
		if a.last && errors.Is(err, wire.ErrGarbage) {
			return a.end(io.ErrUnexpectedEOF)
		}
		a.ended = true
		return llm.Event{}, failure(err)
	}
	a.text, e.More = e.Text, a.events.Buffered()
	return a.note(e)
}

// note keeps in mind what decides later whether the stream was whole.
func (a *streamAnswer) note(e llm.Event) (llm.Event, error) {
	a.content = a.content || e.Is(llm.Content)
	if e.Is(llm.UsageIn) {
		a.usage = e.Usage
	}
	if e.Is(llm.Finish) {
		a.finished, a.excused = true, a.excused || !a.scan.SaidAll()
	}
	if e.Is(llm.End) {
		switch {
		case a.empty():
			return a.end(io.EOF)
		case !a.finished:
			a.ended = true
			return llm.Event{}, cut()
		}
		a.ended, e.More = true, false
	}
	return e, nil
}

// empty reports whether nothing was generated, and nothing explains that.
func (a *streamAnswer) empty() bool {
	return !a.content && (!a.finished || !a.excused && a.usage.Output == 0)
}

// end says what the end of the stream means: only the dialect's own end is the proof that it is whole.
func (a *streamAnswer) end(err error) (llm.Event, error) {
	a.ended = true
	clean := errors.Is(err, io.EOF)
	switch {
	case errors.Is(err, sse.ErrTooLong):
		return llm.Event{}, provider.TooLarge("an event", a.limit, err)
	case !clean && !a.last:
		return llm.Event{}, err
	case clean && a.empty():
		return llm.Event{}, &provider.Failure{Reason: provider.ReasonEmpty, Message: "sent a stream with nothing in it"}
	}
	return llm.Event{}, cut()
}

func cut() error {
	return &provider.Failure{Reason: provider.ReasonCut, Message: "ended the stream without its end mark"}
}

// Meta is what the provider has said of the answer so far.
func (a *streamAnswer) Meta() *llm.Meta { return &a.meta }

// Close frees the scanner's buffer and ends the upstream's call.
func (a *streamAnswer) Close() error {
	a.ended = true
	a.events.Close()
	return a.body.Close()
}
