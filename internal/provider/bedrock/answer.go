package bedrock

import (
	"errors"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/bedrock"
	"github.com/penstock/penstock/internal/wire/eventstream"
)

// A plainAnswer is an answer that was read whole.
type plainAnswer struct {
	body  io.Closer
	event llm.Event
	meta  llm.Meta
	given bool
}

func decodePlain(resp *http.Response, s provider.Settings, r wire.Reading) (provider.Answer, error) {
	if provider.MediaType(resp) == eventstream.MediaType {
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
	body  io.Closer
	in    *eventstream.Scanner
	limit int64 // of one event, in bytes
	scan  wire.Stream
	text  []byte
	meta  llm.Meta

	usage   llm.Usage
	begun   bool // there was an event
	content bool // there was content
	ended   bool
}

func decodeStream(resp *http.Response, s provider.Settings, r wire.Reading) (provider.Answer, error) {
	if t := provider.MediaType(resp); t != "" && t != eventstream.MediaType {
		return nil, provider.NoStream(resp, func(body []byte) *provider.Failure {
			var e llm.Event
			if err := wire.ScanAnswer(body, &e, wire.Reading{}); err != nil {
				return failure(err)
			}
			return nil
		})
	}
	a := &streamAnswer{body: resp.Body, in: eventstream.NewScanner(resp.Body, int(s.MaxEvent)), limit: s.MaxEvent}
	r.Meta = &a.meta
	a.scan = wire.Stream{Reading: r}
	return a, nil
}

// Next gives the next event.
func (a *streamAnswer) Next() (llm.Event, error) {
	if a.ended {
		return llm.Event{}, io.EOF
	}
	in, err := a.in.Next()
	if err != nil {
		return a.end(err)
	}
	if in.Failed {
		a.ended = true
		return llm.Event{}, exception(in, !a.begun)
	}
	a.begun = true
	var e llm.Event
	if err := a.scan.Scan(in.Name, in.Data, &e, a.text[:0]); err != nil {
		a.ended = true
		return llm.Event{}, failure(err)
	}
	a.text, e.More = e.Text, a.in.Buffered()
	a.content = a.content || e.Is(llm.Content)
	if e.Is(llm.UsageIn) {
		a.usage = e.Usage
	}
	if e.Is(llm.End) {
		a.ended, e.More = true, false
		if a.empty() {
			return llm.Event{}, provider.EmptyStream()
		}
	}
	return e, nil
}

// empty reports whether nothing was generated, and nothing explains that.
func (a *streamAnswer) empty() bool {
	return !a.content && (!a.scan.Stopped() || a.scan.SaidAll() && a.usage.Output == 0)
}

// end says what the end of the stream means. The last event has the usage, and is no proof: that is the reason to end before it,
// and then an end between two events.
func (a *streamAnswer) end(err error) (llm.Event, error) {
	a.ended = true
	switch {
	case errors.Is(err, eventstream.ErrTooLong):
		return llm.Event{}, provider.TooLarge("an event", a.limit, err)
	case errors.Is(err, eventstream.ErrGarbage):
		return llm.Event{}, failure(err)
	case errors.Is(err, eventstream.ErrCut):
		return llm.Event{}, provider.Cut()
	case !errors.Is(err, io.EOF):
		return llm.Event{}, err
	case a.scan.Failed() != nil:
		return llm.Event{}, failure(a.scan.Failed())
	case a.empty():
		return llm.Event{}, provider.EmptyStream()
	case !a.scan.Stopped():
		return llm.Event{}, provider.Cut()
	}
	return llm.Event{Has: llm.End, Dialect: llm.Bedrock}, nil
}

// Meta is what the provider has said of the answer so far.
func (a *streamAnswer) Meta() *llm.Meta { return &a.meta }

// Close ends the upstream's call.
func (a *streamAnswer) Close() error {
	a.ended = true
	return a.body.Close()
}
