package openai

import (
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

// A plainAnswer is an answer that was read whole.
type plainAnswer struct {
	body  io.Closer
	event llm.Event
	given bool
	meta  llm.Meta
	first [1]llm.FinishReason // room in meta
}

// decodePlain reads a whole answer and checks that it is one.
func decodePlain(resp *http.Response, s provider.Settings, r *llm.Request) (provider.Answer, error) {
	if isStream(resp) {
		return nil, &provider.Failure{Reason: provider.ReasonGarbage, Message: "answered with a stream where none was asked for"}
	}
	body, err := provider.ReadWhole(resp, s.MaxBody)
	if err != nil {
		return nil, err
	}
	a := &plainAnswer{body: resp.Body}
	a.meta.Finish = a.first[:0]
	if err := wire.ScanAnswer(r.Op, body, &a.event, &a.meta); err != nil {
		return nil, failure(err)
	}
	switch r.Op {
	case llm.OpEmbeddings:
		return a, a.fix(r)
	case llm.OpModerations:
		return a, nil
	}
	if r.Dialect != llm.OpenAI {
		d := wire.Deltas{Request: r.Raw}
		if a.event.Deltas, err = d.Answer(body); err != nil {
			return nil, failure(err)
		}
	}
	return a, nil
}

// fix brings vectors into the form that the client asked for.
func (a *plainAnswer) fix(r *llm.Request) error {
	fixed, err := wire.FixEmbeddings(a.event.Raw, r.Base64, wire.CountInputs(r))
	if err == nil && len(fixed) != len(a.event.Raw) {
		err = wire.ScanAnswer(r.Op, fixed, &a.event, nil) // everything lies elsewhere now
	}
	if err != nil {
		return failure(err)
	}
	return nil
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

// isStream reports whether the answer says that it is an event stream.
func isStream(resp *http.Response) bool { return provider.MediaType(resp) == "text/event-stream" }
