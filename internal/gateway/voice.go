package gateway

import (
	"net/http"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// A voice is how clients of one dialect are understood and answered. It is one value for all calls.
type voice interface {
	// dialect is the one that is spoken.
	dialect() llm.Dialect
	// parse reads the body of a call of a model. Errors are faults.
	parse(op llm.Operation, body []byte, r *http.Request) (*llm.Request, error)
	// writer writes one answer, which came in the dialect from.
	writer(x *pipeline.Exchange, from llm.Dialect) writer
	// status is that of an error, appendError its body, and appendErrorEvent the last event of a stream that it ends. id is the
	// request's.
	status(f *fault.Error) int
	appendError(dst []byte, f *fault.Error, id string) []byte
	appendErrorEvent(dst []byte, f *fault.Error, id string) []byte
	// appendModel and appendModels describe what can be called.
	appendModel(dst []byte, m model) []byte
	appendModels(dst []byte, all []model) []byte
	// idHeader is the name under which clients look for the id of a request, beside X-Request-Id, "" if under none.
	idHeader() string
}

// A writer writes one answer in a client's dialect: what came in that dialect as it is but for the name of the model, and what
// came in another from its canonical form. Its errors are answers that cannot be written in the dialect. Events are handed over
// by value, or each would be an allocation.
type writer interface {
	appendAnswer(dst []byte, ev llm.Event) ([]byte, error)
	appendEvent(dst []byte, ev llm.Event) ([]byte, error)
}

// A model is one that can be called.
type model struct{ name, owner string }

// voiceOf is the voice of a call that is not of a route of one dialect.
func voiceOf(h http.Header) voice {
	if h["Anthropic-Version"] != nil {
		return anthropicVoice{}
	}
	return openaiVoice{}
}

// unwritable is the error of an answer that the client's dialect has no form for. It was made, and paid for.
func unwritable(err error) *fault.Error {
	f := fault.Wrap(fault.ProviderFailed, err, "The provider's answer cannot be told in this dialect: %s.", err)
	f.Hint = "Ask for it in the dialect of the provider."
	f.Spent = true
	return f
}
