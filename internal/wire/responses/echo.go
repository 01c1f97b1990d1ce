package responses

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// echoed are the members that a response repeats of its request, with what holds where they were not sent.
var echoed = []struct{ name, usual string }{
	{"background", "false"},
	{instructionsField, nullValue},
	{"max_output_tokens", nullValue},
	{"max_tool_calls", nullValue},
	{"metadata", "{}"},
	{"parallel_tool_calls", "true"},
	{"previous_response_id", nullValue},
	{"prompt_cache_key", nullValue},
	{reasoningItem, `{"effort":null,"summary":null}`},
	{"safety_identifier", nullValue},
	{"service_tier", nullValue},
	{"store", "true"},
	{"temperature", "1.0"},
	{textField, `{"format":{"type":"text"}}`},
	{"tool_choice", `"auto"`},
	{toolsField, "[]"},
	{"top_logprobs", "0"},
	{"top_p", "1.0"},
	{"truncation", `"disabled"`},
	{"user", nullValue},
}

// Echo are the members that a response repeats of its request, as the client sent that: whatever was changed in it since does not
// count; but whether it is kept is said as it is. Each has a comma before it.
func Echo(r *llm.Request, kept bool) []byte {
	w := rawjson.Writer{Dst: make([]byte, 1, 512)} // the byte is none of those that a comma is left out behind
	for _, m := range echoed {
		value := []byte(m.usual)
		for _, f := range r.Fields {
			if v := f.Value.Of(r.Raw); f.Name == m.name && string(v) != nullValue {
				value = oneLine(v)
			}
		}
		if m.name == storeField {
			value = strconv.AppendBool(nil, kept)
		}
		w.Raw(m.name, value)
	}
	return w.Dst[1:]
}

// oneLine is JSON without line breaks, which stand between values only.
func oneLine(text []byte) []byte {
	if bytes.IndexByte(text, '\n') < 0 && bytes.IndexByte(text, '\r') < 0 {
		return text
	}
	v := jsontext.Value(bytes.Clone(text))
	if v.Compact() != nil {
		return []byte(nullValue)
	}
	return v
}
