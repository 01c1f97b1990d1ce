package responses

import (
	"bytes"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// What is parsed is decoded, and nothing is lost on the way into the canonical form and back.
func FuzzChat(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(`{"model":"m","input":"hi"}`))
	f.Add([]byte(`{"model":"m","input":[{"role":"assistant","content":[]},{"type":"reasoning","summary":[{"type":"summary_text","text":"a"}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Parse(body)
		if err != nil {
			return
		}
		first, err := DecodeChat(r.Raw)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := EncodeChat(first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := DecodeChat(encoded)
		if err != nil {
			t.Fatalf("%v: %s", err, encoded)
		}
		if len(first.Messages) != len(second.Messages) || len(first.Tools) != len(second.Tools) || len(first.Extra) != len(second.Extra) {
			t.Fatalf("sent    %s\nencoded %s", body, encoded)
		}
	})
}

// Whatever a provider sends: no panic, and what is taken for an answer has an end.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"id":"resp_a","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}],"usage":{"input_tokens":1,"output_tokens_details":{"reasoning_tokens":3}},"model":"m"}`))
	f.Add([]byte(`{"type":"response.output_text.delta","delta":"\ud83d"}`))
	f.Add([]byte(`{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"},"output":[]}}`))
	f.Add([]byte(`{"type":"error","error":{"message":"m"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var ev llm.Event
		var meta llm.Meta
		if err := ScanAnswer(data, &ev, &meta); err == nil && !ev.Is(llm.End|llm.Finish) {
			t.Errorf("an answer without an end: %s", data)
		}
		AnswerText(nil, data)
		if ScanEvent(data, &ev, nil, &meta) == nil {
			s := Same{Model: "m", Store: []byte("true"), Previous: []byte(`"resp_0"`)}
			if out := s.AppendEvent(nil, &ev); ev.Name != "" && bytes.Count(out, []byte("\n")) != 3 {
				t.Errorf("not one event: %q", out)
			}
			s.Whole(&ev)
		}
	})
}
