package gateway

import (
	"net/http"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/openai"
)

// openaiVoice speaks to clients of OpenAI's chat, embeddings and moderations.
type openaiVoice struct{}

func (openaiVoice) dialect() llm.Dialect { return llm.OpenAI }

func (openaiVoice) idHeader() string { return "" }

func (openaiVoice) parse(op llm.Operation, body []byte, _ *http.Request) (*llm.Request, error) {
	switch op {
	case llm.OpEmbeddings:
		return openai.ParseEmbeddings(body)
	case llm.OpModerations:
		return openai.ParseModerations(body)
	}
	return openai.ParseChat(body)
}

func (openaiVoice) status(f *fault.Error) int { return f.HTTPStatus() }

func (openaiVoice) appendError(dst []byte, f *fault.Error, _ string) []byte {
	return openai.AppendError(dst, f)
}

func (openaiVoice) appendErrorEvent(dst []byte, f *fault.Error, _ string) []byte {
	return openai.AppendErrorEvent(dst, f)
}

func (openaiVoice) appendModel(dst []byte, m model) []byte {
	return openai.AppendModel(dst, openai.Model{ID: m.name, OwnedBy: m.owner})
}

func (openaiVoice) appendModels(dst []byte, all []model) []byte {
	list := make([]openai.Model, 0, len(all))
	for _, m := range all {
		list = append(list, openai.Model{ID: m.name, OwnedBy: m.owner})
	}
	return openai.AppendModelList(dst, list)
}

// writer says of a translated answer what the exchange is, not what the provider calls its answer: of several tries, one is the
// caller's.
func (openaiVoice) writer(x *pipeline.Exchange, from llm.Dialect) writer {
	if from == llm.OpenAI {
		return openaiSame{x}
	}
	return &openaiOther{openai.Translator{
		ID: "chatcmpl-" + x.ID, Created: x.Received.Unix(), Model: x.Request.Model, Usage: x.Request.IncludeUsage,
	}}
}

// An openaiSame writes what came in the dialect.
type openaiSame struct{ x *pipeline.Exchange }

func (w openaiSame) appendAnswer(dst []byte, ev llm.Event) ([]byte, error) {
	return openai.AppendAnswer(dst, &ev, w.x.Request.Model), nil
}

func (w openaiSame) appendEvent(dst []byte, ev llm.Event) ([]byte, error) {
	return openai.AppendChunk(dst, &ev, w.x.Request.Model), nil
}

// An openaiOther writes what came in another dialect.
type openaiOther struct{ t openai.Translator }

func (w *openaiOther) appendAnswer(dst []byte, ev llm.Event) ([]byte, error) {
	return w.t.AppendAnswer(dst, &ev)
}

func (w *openaiOther) appendEvent(dst []byte, ev llm.Event) ([]byte, error) {
	return w.t.AppendEvent(dst, &ev)
}
