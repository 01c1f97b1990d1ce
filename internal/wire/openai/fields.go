package openai

import (
	"math"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// Ranges that hold for every server of this dialect. A model's own limits are its provider's to enforce.
const (
	maxChoices  = 128
	maxStops    = 64
	maxToolName = 128  // bytes
	maxModel    = 1024 // bytes; these three end up in records and budgets
	maxUser     = 512
	maxTier     = 64
)

// chatShape holds the members of a chat completion.
var chatShape = rawjson.ShapeOf(
	rawjson.Field{Name: "model", Check: model, Hint: "Name the model to use; all: GET /v1/models"},
	rawjson.Field{Name: "messages", Check: messages, Hint: "Send at least one message."},
	rawjson.Field{Name: "audio", Check: rawjson.AnyObject},
	rawjson.Field{Name: "frequency_penalty", Check: rawjson.Number},
	rawjson.Field{Name: "function_call", Check: rawjson.TextOrObject},
	rawjson.Field{Name: "functions", Check: rawjson.Objects},
	rawjson.Field{Name: "logit_bias", Check: rawjson.AnyObject},
	rawjson.Field{Name: "logprobs", Check: rawjson.Boolean(nil)},
	rawjson.Field{Name: "max_completion_tokens", Check: outputCap},
	rawjson.Field{Name: "max_tokens", Check: outputCap},
	rawjson.Field{Name: "metadata", Check: rawjson.AnyObject},
	rawjson.Field{Name: "modalities", Check: rawjson.Texts},
	rawjson.Field{Name: "moderation", Check: rawjson.Anything},
	rawjson.Field{Name: "n", Check: choices},
	rawjson.Field{Name: "parallel_tool_calls", Check: rawjson.Boolean(nil)},
	rawjson.Field{Name: "prediction", Check: rawjson.AnyObject},
	rawjson.Field{Name: "presence_penalty", Check: rawjson.Number},
	rawjson.Field{Name: "prompt_cache_key", Check: rawjson.Text},
	rawjson.Field{Name: "prompt_cache_options", Check: rawjson.AnyObject},
	rawjson.Field{Name: "prompt_cache_retention", Check: rawjson.Text},
	rawjson.Field{Name: "reasoning_effort", Check: rawjson.Text},
	rawjson.Field{Name: "response_format", Check: rawjson.AnyObject},
	rawjson.Field{Name: "safety_identifier", Check: rawjson.Text},
	rawjson.Field{Name: "seed", Check: rawjson.Integer("a whole number of 64 bits", math.MinInt64, math.MaxInt64, nil)},
	rawjson.Field{Name: "service_tier", Check: rawjson.ShortText(maxTier, func(r *llm.Request, s string) { r.ServiceTier = s })},
	rawjson.Field{Name: "stop", Check: stop},
	rawjson.Field{Name: "store", Check: rawjson.Boolean(nil)},
	rawjson.Field{Name: "stream", Check: rawjson.Boolean(func(r *llm.Request, b bool) { r.Stream = b })},
	rawjson.Field{Name: "stream_options", Check: streamOptions},
	rawjson.Field{Name: "temperature", Check: rawjson.Number},
	rawjson.Field{Name: "tool_choice", Check: rawjson.TextOrObject},
	rawjson.Field{Name: "tools", Check: tools},
	rawjson.Field{Name: "top_logprobs", Check: rawjson.Integer("a whole number", math.MinInt32, math.MaxInt32, nil)},
	rawjson.Field{Name: "top_p", Check: rawjson.Number},
	rawjson.Field{Name: "user", Check: rawjson.ShortText(maxUser, func(r *llm.Request, s string) { r.User = s })},
	rawjson.Field{Name: "verbosity", Check: rawjson.Text},
	rawjson.Field{Name: "web_search_options", Check: rawjson.AnyObject},
)

// embeddingsShape holds the members of an embeddings call.
var embeddingsShape = rawjson.ShapeOf(
	rawjson.Field{Name: "model", Check: model, Hint: "Name the model to use; all: GET /v1/models"},
	rawjson.Field{Name: "input", Check: input, Hint: "Send a text, several, or tokens."},
	rawjson.Field{Name: "dimensions", Check: rawjson.Integer("a whole number from 1 to 2,147,483,647", 1, math.MaxInt32, nil)},
	rawjson.Field{Name: "encoding_format", Check: encodingFormat},
	rawjson.Field{Name: "user", Check: rawjson.ShortText(maxUser, func(r *llm.Request, s string) { r.User = s })},
)

// moderationsShape holds the members of a moderations call.
var moderationsShape = rawjson.ShapeOf(
	rawjson.Field{Name: "model", Check: model},
	rawjson.Field{Name: "input", Check: moderated, Hint: "Send a text, several, or parts with texts and images."},
)

// outputCap notes the larger of the two caps: which of them a server heeds is not known, and the bound has to hold.
// Servers keep it in 32 bits.
var outputCap = rawjson.Integer("a whole number from 1 to 2,147,483,647", 1, math.MaxInt32, func(r *llm.Request, n int64) {
	r.MaxOutput = max(r.MaxOutput, n)
})

var choices = rawjson.Integer("a whole number from 1 to 128", 1, maxChoices, func(r *llm.Request, n int64) { r.Choices = int(n) })

func model(r *rawjson.Reader, req *llm.Request) error {
	name, err := r.Short("the name of a model", maxModel)
	if err == nil && name == "" {
		return r.Wrong("the name of a model")
	}
	req.Model = name
	return err
}

func stop(r *rawjson.Reader, _ *llm.Request) error {
	one := func(kind byte, raw []byte) error {
		if kind != '"' || len(raw) == len(`""`) {
			return r.Wrong("a string with something in it")
		}
		return nil
	}
	if r.Peek() == '"' {
		kind, raw, err := r.Next()
		if err != nil {
			return err
		}
		return one(byte(kind), raw)
	}
	n := 0
	_, err := r.Elements("a string or an array of strings", func(kind byte, raw []byte) error {
		if n++; n > maxStops {
			return r.Refuse("Send fewer.", "more than %d stop sequences", maxStops)
		}
		return one(kind, raw)
	})
	return err
}
