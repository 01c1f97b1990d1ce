package anthropic

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
)

// known reports whether an error is one that readers of this package make.
func known(err error) bool {
	var e *InBandError
	return err == nil || errors.Is(err, ErrGarbage) || errors.Is(err, ErrEmpty) || errors.As(err, &e)
}

func FuzzScanAnswer(f *testing.F) {
	f.Add([]byte(`{"type":"message","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"t","name":"n","input":{"a":1}}],"stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":4}}`))
	f.Add([]byte(`{"type":"error","error":{"type":"overloaded_error","message":"x"}}`))
	f.Add([]byte(`{"content":[1,{"type":7}],"stop_reason":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var raw, canonical llm.Event
		first, second := ScanAnswer(body, &raw, Reading{}), ScanAnswer(body, &canonical, Reading{Canonical: true, Meta: &llm.Meta{}})
		if !known(first) || (first == nil) != (second == nil) || raw.Has != canonical.Has {
			t.Fatalf("%v and %v, %b and %b", first, second, raw.Has, canonical.Has)
		}
		if first == nil {
			parts(t, canonical.Deltas)
		}
	})
}

// parts sees to it that parts are opened before they grow, once, and in order.
func parts(t *testing.T, deltas []llm.Delta) {
	t.Helper()
	opened := 0
	for _, d := range deltas {
		if d.Open != nil {
			if d.Part != opened {
				t.Fatalf("part %d is opened as the %d.", d.Part, opened)
			}
			opened++
		}
		if d.Finish == "" && d.Part >= opened {
			t.Fatalf("part %d grows and is not open", d.Part)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(`{"type":"message_start","message":{"id":"m","content":[],"usage":{"input_tokens":3}}}`), []byte(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"b","input":{}}}`),
		[]byte(`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{"}}`), []byte(`{"type":"content_block_stop","index":0}`))
	f.Add([]byte(`{"type":"ping"}`), []byte(`{"type":"error","error":{}}`), []byte(`{"type":"message_delta","delta":{"stop_reason":"x"}}`), []byte(`{"type":"message_stop"}`))
	f.Fuzz(func(t *testing.T, a, b, c, d []byte) {
		var s Stream
		s.Reading = Reading{Canonical: true, Meta: &llm.Meta{}}
		var all []llm.Delta
		for _, data := range [][]byte{a, b, c, d} {
			var ev llm.Event
			err := s.Scan(data, &ev, nil)
			if !known(err) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			all = append(all, ev.Deltas...)
		}
		parts(t, all)
	})
}

func FuzzParseError(f *testing.F) {
	f.Add([]byte(`{"type":"error","error":{"type":"a","message":"b","details":{"error_code":"c"}}}`))
	f.Add([]byte(`{"error":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, ok := ParseError(body)
		if ok != (e.Message != "") {
			t.Fatalf("%t %+v", ok, e)
		}
	})
}

// What is billed is the whole prompt, once: what was read from the cache and written to it is counted beside the rest.
func TestUsageHoldsTheCache(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]llm.Usage{
		`{"input_tokens":3,"cache_read_input_tokens":90,"cache_creation_input_tokens":7,"output_tokens":5}`: {Input: 100, CachedInput: 90, CacheWrite: 7, Output: 5},
		`{"input_tokens":3,"output_tokens":5,"output_tokens_details":{"thinking_tokens":4}}`:                {Input: 3, Output: 5, Reasoning: 4},
		`{"output_tokens":5}`: {Output: 5, Estimated: true},
		`{"input_tokens":3,"cache_creation_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":3,"ephemeral_1h_input_tokens":4},"server_tool_use":{"web_search_requests":2,"web_fetch_requests":9},"output_tokens":5}`: {
			Input: 10, CacheWrite: 7, Output: 5, Parts: llm.Parts{CacheWriteHour: 4, CacheWriteMinutes: 3, Searches: 2},
		},
		`{"input_tokens":3,"cache_creation_input_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":4},"server_tool_use":null,"output_tokens":5}`: {
			Input: 7, CacheWrite: 4, Output: 5, Parts: llm.Parts{CacheWriteHour: 4},
		},
		`{"input_tokens":3,"output_tokens":5,"iterations":[{"type":"compaction","input_tokens":180,"cache_read_input_tokens":10,"output_tokens":35},` +
			`{"input_tokens":3,"output_tokens":5,"type":"message"},{"input_tokens":2,"output_tokens":1,"type":"compaction"}]}`: {Input: 195, CachedInput: 10, Output: 41},
		`{"input_tokens":3,"output_tokens":5,"iterations":[1,"compaction",{"type":"compaction"}]}`: {Input: 3, Output: 5},
		`{"input_tokens":-1,"cache_read_input_tokens":"9","output_tokens":1e3}`:                    {},
		`{}`: {}, `null`: {}, `[]`: {},
	} {
		var ev llm.Event
		err := ScanAnswer([]byte(`{"content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","usage":`+text+`}`), &ev, Reading{})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, ev.Usage); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
}

// TestHowAndWhereIsTold: usage says it, with the beginning of a stream.
func TestHowAndWhereIsTold(t *testing.T) {
	t.Parallel()
	const usage = `"usage":{"input_tokens":3,"output_tokens":5,"service_tier":"priority","inference_geo":"u\u0073","iterations":[{"type":"message","service_tier":"x"}]}`
	for name, scan := range map[string]func(m *llm.Meta) error{
		"plain": func(m *llm.Meta) error {
			var ev llm.Event
			return ScanAnswer([]byte(`{"content":[{"type":"text","text":"a"}],"stop_reason":"end_turn",`+usage+`}`), &ev, Reading{Meta: m})
		},
		"stream": func(m *llm.Meta) error {
			s, ev := Stream{Reading: Reading{Meta: m}}, llm.Event{}
			if err := s.Scan([]byte(`{"type":"message_start","message":{"id":"m",`+usage+`}}`), &ev, nil); err != nil {
				return err
			}
			return s.Scan([]byte(`{"type":"message_delta","delta":{},"usage":{"output_tokens":9,"inference_geo":null}}`), &ev, nil)
		},
	} {
		var m llm.Meta
		if err := scan(&m); err != nil || m.Tier != "priority" || m.Region != "us" {
			t.Errorf("%s: %v, %+v", name, err, m)
		}
	}
}
