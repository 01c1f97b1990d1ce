package openai

import (
	"math"
	"strconv"

	"github.com/penstock/penstock/internal/llm"
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
var chatShape = shapeOf(
	field{name: "model", check: model, hint: "Name the model to use; all: GET /v1/models"},
	field{name: "messages", check: messages, hint: "Send at least one message."},
	field{name: "audio", check: object},
	field{name: "frequency_penalty", check: number},
	field{name: "function_call", check: textOrObject},
	field{name: "functions", check: objects},
	field{name: "logit_bias", check: object},
	field{name: "logprobs", check: boolean(nil)},
	field{name: "max_completion_tokens", check: outputCap},
	field{name: "max_tokens", check: outputCap},
	field{name: "metadata", check: object},
	field{name: "modalities", check: texts},
	field{name: "moderation", check: anything},
	field{name: "n", check: choices},
	field{name: "parallel_tool_calls", check: boolean(nil)},
	field{name: "prediction", check: object},
	field{name: "presence_penalty", check: number},
	field{name: "prompt_cache_key", check: text},
	field{name: "prompt_cache_options", check: object},
	field{name: "prompt_cache_retention", check: text},
	field{name: "reasoning_effort", check: text},
	field{name: "response_format", check: object},
	field{name: "safety_identifier", check: text},
	field{name: "seed", check: integer("a whole number of 64 bits", math.MinInt64, math.MaxInt64, nil)},
	field{name: "service_tier", check: shortText(maxTier, func(r *llm.Request, s string) { r.ServiceTier = s })},
	field{name: "stop", check: stop},
	field{name: "store", check: boolean(nil)},
	field{name: "stream", check: boolean(func(r *llm.Request, b bool) { r.Stream = b })},
	field{name: "stream_options", check: streamOptions},
	field{name: "temperature", check: number},
	field{name: "tool_choice", check: textOrObject},
	field{name: "tools", check: tools},
	field{name: "top_logprobs", check: integer("a whole number", math.MinInt32, math.MaxInt32, nil)},
	field{name: "top_p", check: number},
	field{name: "user", check: shortText(maxUser, func(r *llm.Request, s string) { r.User = s })},
	field{name: "verbosity", check: text},
	field{name: "web_search_options", check: object},
)

// embeddingsShape holds the members of an embeddings call.
var embeddingsShape = shapeOf(
	field{name: "model", check: model, hint: "Name the model to use; all: GET /v1/models"},
	field{name: "input", check: input, hint: "Send a text, several, or tokens."},
	field{name: "dimensions", check: integer("a whole number from 1 to 2,147,483,647", 1, math.MaxInt32, nil)},
	field{name: "encoding_format", check: encodingFormat},
	field{name: "user", check: shortText(maxUser, func(r *llm.Request, s string) { r.User = s })},
)

// outputCap notes the larger of the two caps: which of them a server heeds is not known, and the bound has to hold.
// Servers keep it in 32 bits.
var outputCap = integer("a whole number from 1 to 2,147,483,647", 1, math.MaxInt32, func(r *llm.Request, n int64) {
	r.MaxOutput = max(r.MaxOutput, n)
})

var choices = integer("a whole number from 1 to 128", 1, maxChoices, func(r *llm.Request, n int64) { r.Choices = int(n) })

func anything(r *reader, _ *llm.Request) error { return r.skip() }

func model(r *reader, req *llm.Request) error {
	name, err := r.short("the name of a model", maxModel)
	if err == nil && name == "" {
		return r.wrong("the name of a model")
	}
	req.Model = name
	return err
}

// short reads a string of at most limit bytes, as they stand in the body.
func (r *reader) short(want string, limit int) (string, error) {
	kind, raw, err := r.next()
	switch {
	case err != nil:
		return "", err
	case kind != '"':
		return "", r.wrong(want)
	case len(raw) > limit+len(`""`):
		return "", r.refuse("Shorten it.", "longer than %d bytes", limit)
	}
	return string(unquoted(raw)), nil
}

func text(r *reader, _ *llm.Request) error {
	kind, _, err := r.next()
	if err != nil {
		return err
	}
	if kind != '"' {
		return r.wrong("a string")
	}
	return nil
}

// shortText takes strings of at most limit bytes.
func shortText(limit int, note func(*llm.Request, string)) check {
	return func(r *reader, req *llm.Request) error {
		s, err := r.short("a string", limit)
		if err == nil {
			note(req, s)
		}
		return err
	}
}

func boolean(note func(*llm.Request, bool)) check {
	return func(r *reader, req *llm.Request) error {
		kind, _, err := r.next()
		if err != nil {
			return err
		}
		if kind != 't' && kind != 'f' {
			return r.wrong("true or false")
		}
		if note != nil {
			note(req, kind == 't')
		}
		return nil
	}
}

func number(r *reader, _ *llm.Request) error {
	kind, _, err := r.next()
	if err != nil {
		return err
	}
	if kind != '0' {
		return r.wrong("a number")
	}
	return nil
}

// integer takes whole numbers in plain digits: how 1.0 and 1e3 are read differs from server to server.
func integer(want string, lo, hi int64, note func(*llm.Request, int64)) check {
	return func(r *reader, req *llm.Request) error {
		kind, raw, err := r.next()
		if err != nil {
			return err
		}
		n, bad := strconv.ParseInt(string(raw), 10, 64)
		if kind != '0' || bad != nil || n < lo || n > hi {
			return r.wrong(want)
		}
		if note != nil {
			note(req, n)
		}
		return nil
	}
}

func object(r *reader, _ *llm.Request) error {
	kind, _, err := r.next()
	if err != nil {
		return err
	}
	if kind != '{' {
		return r.wrong("an object")
	}
	return r.rest()
}

func textOrObject(r *reader, _ *llm.Request) error {
	kind, _, err := r.next()
	switch {
	case err != nil:
		return err
	case kind == '"':
		return nil
	case kind == '{':
		return r.rest()
	}
	return r.wrong("a string or an object")
}

// elements reads an array and calls f with the kind and the text of each element that next has read; f reads the rest of
// objects and arrays. It returns how many there were.
func (r *reader) elements(want string, f func(kind byte, raw []byte) error) (int, error) {
	kind, _, err := r.next()
	if err != nil {
		return 0, err
	}
	if kind != '[' {
		return 0, r.wrong(want)
	}
	for n := 0; ; n++ {
		kind, raw, err := r.next()
		if err != nil || kind == ']' {
			return n, err
		}
		if err := f(byte(kind), raw); err != nil {
			return n, err
		}
	}
}

func texts(r *reader, _ *llm.Request) error {
	_, err := r.elements("an array of strings", func(kind byte, _ []byte) error {
		if kind != '"' {
			return r.wrong("a string")
		}
		return nil
	})
	return err
}

func objects(r *reader, _ *llm.Request) error {
	_, err := r.elements("an array of objects", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.wrong("an object")
		}
		return r.rest()
	})
	return err
}

func stop(r *reader, _ *llm.Request) error {
	one := func(kind byte, raw []byte) error {
		if kind != '"' || len(raw) == len(`""`) {
			return r.wrong("a string with something in it")
		}
		return nil
	}
	if r.peek() == '"' {
		kind, raw, err := r.next()
		if err != nil {
			return err
		}
		return one(byte(kind), raw)
	}
	n := 0
	_, err := r.elements("a string or an array of strings", func(kind byte, raw []byte) error {
		if n++; n > maxStops {
			return r.refuse("Send fewer.", "more than %d stop sequences", maxStops)
		}
		return one(kind, raw)
	})
	return err
}
