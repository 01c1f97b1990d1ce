package anthropic

import (
	"errors"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/anthropic"
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

// decodeCount reads how many tokens a chat has.
func decodeCount(resp *http.Response, s provider.Settings) (provider.Answer, error) {
	body, err := provider.ReadWhole(resp, s.MaxBody)
	if err != nil {
		return nil, err
	}
	n, err := wire.ScanCount(body)
	if err != nil {
		return nil, failure(err)
	}
	return &plainAnswer{
		body: resp.Body, event: llm.Event{Has: llm.Content | llm.End, Dialect: llm.Anthropic, Raw: body, Count: n},
	}, nil
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
	in   provider.Stream
	scan wire.Stream
	text []byte
	meta llm.Meta

	usage    llm.Usage
	content  bool // there was content
	finished bool // there was a reason to end
	excused  bool // for another reason than having said all
	ended    bool
}

func decodeStream(resp *http.Response, s provider.Settings, r wire.Reading) (provider.Answer, error) {
	if t := provider.MediaType(resp); t != "" && t != streamType {
		return nil, provider.NoStream(resp, func(body []byte) *provider.Failure {
			var e llm.Event
			if err := wire.ScanAnswer(body, &e, wire.Reading{}); err != nil {
				return failure(err)
			}
			return nil
		})
	}
	a := &streamAnswer{in: provider.OpenStream(resp, s)}
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
	var e llm.Event
	if err := a.scan.Scan(in.Data, &e, a.text[:0]); err != nil {
		if a.in.Last() && errors.Is(err, wire.ErrGarbage) {
			return a.end(io.ErrUnexpectedEOF)
		}
		a.ended = true
		return llm.Event{}, failure(err)
	}
	a.text, e.More = e.Text, a.in.More()
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
			return llm.Event{}, provider.Cut()
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
	failed := a.in.End(err)
	switch {
	case failed != nil:
		return llm.Event{}, failed
	case errors.Is(err, io.EOF) && a.empty():
		return llm.Event{}, provider.EmptyStream()
	}
	return llm.Event{}, provider.Cut()
}

// Meta is what the provider has said of the answer so far.
func (a *streamAnswer) Meta() *llm.Meta { return &a.meta }

// Close frees the scanner's buffer and ends the upstream's call.
func (a *streamAnswer) Close() error {
	a.ended = true
	return a.in.Close()
}
