package openai

import (
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// ParseChat reads the body of a chat completion in one strict pass (see [rawjson.Parse]). Errors are *fault.Error. The request
// keeps body, which must not change until the exchange ends.
func ParseChat(body []byte) (*llm.Request, error) { return parse(body, llm.OpChat, chatShape) }

// ParseEmbeddings is ParseChat for the body of an embeddings call.
func ParseEmbeddings(body []byte) (*llm.Request, error) {
	return parse(body, llm.OpEmbeddings, embeddingsShape)
}

// ModerationModel is the model that is asked for who names none, as the vendor has it.
const ModerationModel = "omni-moderation-latest"

// ParseModerations is ParseChat for the body of a moderations call, which need not name a model.
func ParseModerations(body []byte) (*llm.Request, error) {
	r, err := parse(body, llm.OpModerations, moderationsShape)
	if err == nil && r.Model == "" {
		r.Set(modelField, rawjson.AppendQuoted(nil, ModerationModel))
		r.Model = ModerationModel
	}
	return r, err
}

func parse(body []byte, op llm.Operation, s rawjson.Shape) (*llm.Request, error) {
	r := &llm.Request{Dialect: llm.OpenAI, Op: op, Choices: 1, DecodeChat: DecodeChat}
	if err := rawjson.Parse(body, s, r); err != nil {
		return nil, err
	}
	return r, nil
}
