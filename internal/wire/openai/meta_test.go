package openai

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
)

// chunks feeds the events of a stream to one meta.
func chunks(t *testing.T, data ...string) llm.Meta {
	t.Helper()
	var m llm.Meta
	for _, d := range data {
		var ev llm.Event
		if err := ScanChunk([]byte(d), &ev, nil, &m); err != nil {
			t.Fatalf("%v: %s", err, d)
		}
	}
	return m
}

func TestMetaOfAStream(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for name, tt := range map[string]struct {
		data []string
		want llm.Meta
	}{
		"usual": {
			[]string{usualChunk, `{"id":"chatcmpl-123","model":"gpt-4o-mini","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, doneMark},
			llm.Meta{ID: "chatcmpl-123", Model: "gpt-4o-mini", Finish: []llm.FinishReason{"stop"}},
		},
		"the first names nothing, as with a filter of prompts": {
			[]string{`{"id":"","model":"","choices":[]}`, `{"id":"a","model":"m","choices":[]}`, `{"id":"b","model":"n","choices":[]}`},
			llm.Meta{ID: "a", Model: "m"},
		},
		"the id first, the model later": {
			[]string{`{"id":"a","choices":[]}`, `{"choices":[],"model":"m"}`}, llm.Meta{ID: "a", Model: "m"},
		},
		"by the choices' own order": {
			[]string{
				`{"choices":[{"finish_reason":"length","index":1,"delta":{}}]}`, `{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
			},
			llm.Meta{Finish: []llm.FinishReason{"tool_calls", "length"}},
		},
		"a reason twice is one": {
			[]string{`{"choices":[{"index":0,"finish_reason":"stop"}]}`, `{"choices":[{"index":0,"finish_reason":"stop"}]}`},
			llm.Meta{Finish: []llm.FinishReason{"stop"}},
		},
		"no index":               {[]string{`{"choices":[{"finish_reason":"stop"},{"finish_reason":"content_filter"}]}`}, llm.Meta{Finish: []llm.FinishReason{"stop", "content_filter"}}},
		"one is still going on":  {[]string{`{"choices":[{"index":2,"finish_reason":"stop"}]}`}, llm.Meta{Finish: []llm.FinishReason{"", "", "stop"}}},
		"indexes out of reason":  {[]string{`{"choices":[{"index":-1,"finish_reason":"stop"},{"index":16,"finish_reason":"stop"},{"index":9e9,"finish_reason":"length"}]}`}, llm.Meta{Finish: []llm.FinishReason{"", "", "length"}}},
		"empty and null reasons": {[]string{`{"choices":[{"index":0,"finish_reason":""},{"index":1,"finish_reason":null},{"index":2,"finish_reason":3}]}`}, llm.Meta{}},
		"a word of its own":      {[]string{`{"choices":[{"index":0,"finish_reason":"insufficient_system_resource"}]}`}, llm.Meta{Finish: []llm.FinishReason{"insufficient_system_resource"}}},
		"no word": {
			[]string{`{"choices":[{"finish_reason":"` + long + `"},{"finish_reason":"the prompt was: x"},{"finish_reason":"\u001b[2J"}]}`},
			llm.Meta{Finish: []llm.FinishReason{"other", "other", "other"}},
		},
		"escaped":         {[]string{`{"id":"a\u002fb","model":"org\/m","choices":[{"finish_reason":"st\u006fp"}]}`}, llm.Meta{ID: "a/b", Model: "org/m", Finish: []llm.FinishReason{"stop"}}},
		"harmful or long": {[]string{`{"id":"a\u001b[2J","model":"` + long + `","choices":[]}`, `{"id":"ü","model":"m\n","choices":[]}`}, llm.Meta{}},
		"other types":     {[]string{`{"id":7,"model":{"a":"b"},"service_tier":null,"choices":[]}`}, llm.Meta{}},
		"tiers":           {[]string{`{"service_tier":"auto","choices":[]}`, `{"choices":[],"service_tier":"pri\u006frity"}`, `{"choices":[]}`}, llm.Meta{Tier: "priority"}},
	} {
		if diff := cmp.Diff(tt.want, chunks(t, tt.data...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMetaOfAPlainAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		op   llm.Operation
		body string
		want llm.Meta
	}{
		{llm.OpChat, usualAnswer, llm.Meta{ID: "chatcmpl-123", Model: "gpt-4o-mini", Tier: "default", Finish: []llm.FinishReason{"stop"}}},
		{llm.OpEmbeddings, `{"object":"list","model":"e","data":[{"index":0,"embedding":[1]}]}`, llm.Meta{Model: "e"}},
	} {
		var ev llm.Event
		var m llm.Meta
		if err := ScanAnswer(tt.op, []byte(tt.body), &ev, &m); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, m); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.op, diff)
		}
	}
}
