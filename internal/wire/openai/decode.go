package openai

import (
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// DecodeChat makes the canonical form of the body of a chat. It loses nothing: what the form has no place for is in the
// Extra of the chat, of its messages, of their parts, or of its tools. The form points into body. The error, a
// *fault.Error, is for a body that is no JSON object or has no messages; [ParseChat] has refused such before.
func DecodeChat(body []byte) (*llm.Chat, error) {
	if !rawjson.Valid(body) {
		return nil, fault.New(fault.InvalidJSON, "The body is not JSON.")
	}
	o := rawjson.ObjectOf(body)
	all, ok := rawjson.ObjectsOf(o.Value("messages"))
	if !ok {
		return nil, fault.New(fault.InvalidRequest, "messages: expected an array of messages.")
	}
	c := &llm.Chat{Dialect: llm.OpenAI, Messages: make([]llm.Message, 0, len(all))}
	for _, m := range all {
		c.Messages = append(c.Messages, decodeMessage(m))
	}
	o.Take("messages")
	decodeTools(o, c)
	decodeChoice(o, c)
	decodeFormat(o, &c.Format)
	decodeSampling(o, &c.Sampling)
	decodeLimits(o, c)
	o.TakeString(modelField, &c.Model)
	o.TakeString("reasoning_effort", &c.Reasoning.Effort)
	o.TakeString("user", &c.User)
	o.TakeString(tierField, &c.ServiceTier)
	o.TakeString("prompt_cache_key", &c.CacheKey)
	o.TakeBool("parallel_tool_calls", &c.Parallel)
	if c.Stream = o.Kind("stream") == 't'; c.Stream {
		o.Take("stream")
	}
	if all, ok := rawjson.StringsOf(o.Value("modalities")); ok {
		c.Modalities = all
		o.Take("modalities")
	}
	decodeMetadata(o, c)
	c.Extra = o.Rest()
	meanings(c)
	return c, nil
}

func decodeSampling(o *rawjson.Object, s *llm.Sampling) {
	o.TakeNumber("temperature", &s.Temperature)
	o.TakeNumber("top_p", &s.TopP)
	o.TakeNumber("frequency_penalty", &s.FrequencyPenalty)
	o.TakeNumber("presence_penalty", &s.PresencePenalty)
	o.TakeInteger("top_k", &s.TopK)
	o.TakeInteger("seed", &s.Seed)
	o.TakeInteger("n", &s.N)
	o.TakeBool("logprobs", &s.Logprobs)
	o.TakeInteger("top_logprobs", &s.TopLogprobs)
	o.TakeObject("logit_bias", &s.LogitBias)
	o.TakeString("verbosity", &s.Verbosity)
}

// decodeLimits reads what ends generation. max_tokens is the older name, which some models refuse and some servers need,
// so it stays; so does a lone stop sequence that is no array.
func decodeLimits(o *rawjson.Object, c *llm.Chat) {
	const name, old = "max_completion_tokens", "max_tokens"
	c.MaxOutput = o.Integer(name)
	switch {
	case c.MaxOutput != nil && !o.Has(old):
		o.Take(name)
	case c.MaxOutput == nil:
		c.MaxOutput = o.Integer(old)
	}
	if s := o.Str("stop"); s != "" {
		c.Stop = []string{s}
	} else if all, ok := rawjson.StringsOf(o.Value("stop")); ok {
		c.Stop = all
		o.Take("stop")
	}
}

// decodeMetadata reads metadata if it is what the vendor says: strings by name.
func decodeMetadata(o *rawjson.Object, c *llm.Chat) {
	inner := rawjson.ObjectOf(o.Value("metadata"))
	all := make(map[string]string, len(inner.Fields))
	for _, f := range inner.Fields {
		value := f.Value.Of(inner.Text)
		if value[0] != '"' {
			return
		}
		all[f.Name] = string(rawjson.Unquoted(value))
	}
	if len(all) > 0 {
		c.Metadata = all
		o.Take("metadata")
	}
}

func decodeFormat(o *rawjson.Object, f *llm.Format) {
	inner := rawjson.ObjectOf(o.Value("response_format"))
	kind := llm.FormatKind(inner.Str("type"))
	switch kind {
	case llm.FormatText, llm.FormatJSON:
		f.Kind = kind
		if inner.Only("type") {
			o.Take("response_format")
		}
	case llm.FormatJSONSchema:
		f.Kind = kind
		schema := rawjson.ObjectOf(inner.Value("json_schema"))
		schema.TakeString("name", &f.Name)
		schema.TakeString("description", &f.Description)
		schema.TakeObject("schema", &f.Schema)
		schema.TakeBool("strict", &f.Strict)
		if inner.Only("type", "json_schema") && len(schema.Fields) == 0 && inner.Kind("json_schema") == '{' {
			o.Take("response_format")
		}
	}
}
