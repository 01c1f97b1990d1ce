package server

import (
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/tokens"
	"github.com/penstock/penstock/internal/wire/anthropic"
	"github.com/penstock/penstock/internal/wire/bedrock"
	"github.com/penstock/penstock/internal/wire/gemini"
	"github.com/penstock/penstock/internal/wire/openai"
	"github.com/penstock/penstock/internal/wire/responses"
)

// What a provider did not count, Penstock counts itself; these connect the record to the dialect and to the tokenizers.

// estimateInput counts the prompt of an exchange in the tokens of the model that was tried last.
func estimateInput(x *pipeline.Exchange) int64 {
	if x.Request == nil || len(x.Tries) == 0 {
		return 0
	}
	target, _ := llm.ParseTarget(x.Tries[len(x.Tries)-1].Target)
	n, _ := tokens.Prompt(target.Model, x.Request)
	return n
}

// answerText finds the generated text in a plain answer.
func answerText(ev llm.Event) []byte {
	switch ev.Dialect {
	case llm.Anthropic:
		return anthropic.AnswerText(nil, ev.Raw)
	case llm.Responses:
		return responses.AnswerText(nil, ev.Raw)
	case llm.Bedrock:
		return bedrock.AnswerText(nil, ev.Raw)
	case llm.Gemini:
		return gemini.AnswerText(nil, ev.Raw)
	}
	return openai.AnswerText(nil, ev.Raw)
}
