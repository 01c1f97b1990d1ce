package openai

import (
	"errors"
	"io"
	"net/http"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	chat "github.com/penstock/penstock/internal/wire/openai"
	"github.com/penstock/penstock/internal/wire/responses"
)

// ResponsesPath is where OpenAI's second dialect is spoken, behind the base URL.
const ResponsesPath = "/responses"

// SpeaksResponses reports whether a request is passed on in OpenAI's second dialect: where the client speaks it, and the server
// takes it. Others are translated into the first.
func SpeaksResponses(s provider.Settings, t llm.Target, r *llm.Request) bool {
	return r.Dialect == llm.Responses && r.Op == llm.OpChat && s.TraitsOf(t.Model).Takes.All(llm.TakesResponses)
}

// responsesBody is the body of such a request.
func responsesBody(s provider.Settings, t llm.Target, r *llm.Request) []byte {
	traits := s.TraitsOf(t.Model)
	body, adapted := responses.AppendRequest(make([]byte, 0, len(r.Raw)+editRoom), r, responses.Upstream{
		Model: t.Model, ServiceTiers: s.ServiceTiers, Reasons: len(traits.EffortList()) > 0,
	})
	if r.Adapted = nil; adapted {
		r.Adapted = []string{"reasoning_content"}
	}
	return body
}

// responsesPlain reads a whole answer.
func responsesPlain(resp *http.Response, s provider.Settings) (provider.Answer, error) {
	if isStream(resp) {
		return nil, &provider.Failure{Reason: provider.ReasonGarbage, Message: "answered with a stream where none was asked for"}
	}
	body, err := provider.ReadWhole(resp, s.MaxBody)
	if err != nil {
		return nil, err
	}
	a := &plainAnswer{body: resp.Body}
	if err := responses.ScanAnswer(body, &a.event, &a.meta); err != nil {
		return nil, failure(err)
	}
	return a, nil
}

// A responsesStream gives the events of a stream as they come. It is whole with the event that has the whole response.
type responsesStream struct {
	in      provider.Stream
	text    []byte // reused for every event
	content bool
	ended   bool
	meta    llm.Meta
}

// openResponses sees to it that there is a stream; its events are read later.
func openResponses(resp *http.Response, s provider.Settings) (provider.Answer, error) {
	if t := provider.MediaType(resp); t != "" && !isStream(resp) {
		return nil, provider.NoStream(resp, func(body []byte) *provider.Failure {
			var e llm.Event
			if err := responses.ScanAnswer(body, &e, nil); err != nil {
				return failure(err)
			}
			return nil
		})
	}
	return &responsesStream{in: provider.OpenStream(resp, s)}, nil
}

// Next gives the next event.
func (a *responsesStream) Next() (llm.Event, error) {
	for !a.ended {
		in, err := a.in.Next()
		if err != nil {
			return a.end(err)
		}
		var e llm.Event
		if err := responses.ScanEvent(in.Data, &e, a.text[:0], &a.meta); err != nil {
			if a.in.Last() && errors.Is(err, chat.ErrGarbage) {
				return a.end(io.ErrUnexpectedEOF)
			}
			a.ended = true
			return llm.Event{}, failure(err)
		}
		if e.Is(llm.Hidden) {
			continue // it is no event of the dialect
		}
		a.text = e.Text
		a.content = a.content || e.Is(llm.Content)
		if e.Is(llm.End) {
			a.ended = true
			return e, nil
		}
		e.More = a.in.More()
		return e, nil
	}
	return llm.Event{}, io.EOF
}

// end says what the end of a stream means that has not given the whole response.
func (a *responsesStream) end(err error) (llm.Event, error) {
	a.ended = true
	if failed := a.in.End(err); failed != nil {
		return llm.Event{}, failed
	}
	if !a.content {
		return llm.Event{}, provider.EmptyStream()
	}
	return llm.Event{}, provider.Cut()
}

// Meta is what the provider has said of the answer so far.
func (a *responsesStream) Meta() *llm.Meta { return &a.meta }

// Close ends the upstream's call.
func (a *responsesStream) Close() error {
	a.ended = true
	return a.in.Close()
}
