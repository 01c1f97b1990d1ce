package gateway

import (
	"net/http"
	"strconv"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/responses"
)

// responsesVoice speaks to clients of OpenAI's Responses. What is no call of a model is as in OpenAI's first dialect.
type responsesVoice struct{ openaiVoice }

func (responsesVoice) dialect() llm.Dialect { return llm.Responses }

func (responsesVoice) parse(op llm.Operation, body []byte, _ *http.Request) (*llm.Request, error) {
	if op == llm.OpCount {
		return responses.ParseCount(body)
	}
	return responses.Parse(body)
}

// appendErrorEvent is of streams in which nothing was written yet; others end with their writer's.
func (responsesVoice) appendErrorEvent(dst []byte, f *fault.Error, _ string) []byte {
	return responses.AppendError(dst, f, 0)
}

func (responsesVoice) writer(x *pipeline.Exchange, from llm.Dialect) writer {
	if x.Op == llm.OpCount {
		return responsesCount{}
	}
	if from == llm.Responses {
		same := responses.Same{Model: x.Request.Model, Store: strconv.AppendBool(nil, kept(x))}
		for _, f := range x.Request.Fields {
			if f.Name == "previous_response_id" {
				same.Previous = f.Value.Of(x.Request.Raw) // as it was sent
			}
		}
		return &responsesSame{Same: same}
	}
	return &responsesOther{responses.Translator{
		ID: responseID(x), Created: x.Received.Unix(), Model: x.Request.Model, Echo: responses.Echo(x.Request, kept(x)),
	}}
}

// responseID is the id of a response that is written here.
func responseID(x *pipeline.Exchange) string { return "resp_" + x.ID }

// A failing is a writer that has to end a stream which an error ends: what it wrote before belongs to that end.
type failing interface {
	appendFailure(dst []byte, f *fault.Error) []byte
}

// A responsesCount writes how many tokens were counted.
type responsesCount struct{}

func (responsesCount) appendAnswer(dst []byte, ev llm.Event) ([]byte, error) {
	return responses.AppendCount(dst, ev.Count), nil
}

func (responsesCount) appendEvent(dst []byte, _ llm.Event) ([]byte, error) { return dst, nil }

// A responsesSame writes what came in the dialect.
type responsesSame struct {
	responses.Same
	next int64 // the number of the event to come
}

func (w *responsesSame) appendAnswer(dst []byte, ev llm.Event) ([]byte, error) {
	return w.AppendAnswer(dst, &ev), nil
}

func (w *responsesSame) appendEvent(dst []byte, ev llm.Event) ([]byte, error) {
	w.next++ // they are numbered without gaps
	return w.AppendEvent(dst, &ev), nil
}

func (w *responsesSame) whole(ev llm.Event) []byte { return w.Whole(&ev) }

func (w *responsesSame) appendFailure(dst []byte, f *fault.Error) []byte {
	return responses.AppendError(dst, f, w.next)
}

// A responsesOther writes what came in another dialect.
type responsesOther struct{ t responses.Translator }

func (w *responsesOther) appendAnswer(dst []byte, ev llm.Event) ([]byte, error) {
	return w.t.AppendAnswer(dst, &ev)
}

func (w *responsesOther) appendEvent(dst []byte, ev llm.Event) ([]byte, error) {
	return w.t.AppendEvent(dst, &ev)
}

func (w *responsesOther) whole(llm.Event) []byte { return w.t.AppendResponse(nil) }

func (w *responsesOther) appendFailure(dst []byte, f *fault.Error) []byte {
	return w.t.AppendFailure(dst, f)
}
