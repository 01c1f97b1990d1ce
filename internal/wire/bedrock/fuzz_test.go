package bedrock

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
	f.Add([]byte(`{"output":{"message":{"role":"assistant","content":[{"text":"a"},{"toolUse":{"toolUseId":"t","name":"n","input":{"a":1}}},{"reasoningContent":{"reasoningText":{"text":"b","signature":"c"}}}]}},"stopReason":"tool_use","usage":{"inputTokens":3,"outputTokens":4}}`))
	f.Add([]byte(`{"message":"x"}`))
	f.Add([]byte(`{"output":{"message":{"content":[1,{"text":7},{}]}},"stopReason":null}`))
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

// parts sees to it that parts are opened before they grow, once, in order, and never beside each other.
func parts(t *testing.T, deltas []llm.Delta) {
	t.Helper()
	opened, open := 0, -1
	for _, d := range deltas {
		if d.Finish != "" {
			continue
		}
		if d.Open != nil {
			if d.Part != opened || open >= 0 {
				t.Fatalf("part %d is opened as the %d., while %d is open", d.Part, opened, open)
			}
			opened, open = opened+1, d.Part
		}
		if d.Part != open {
			t.Fatalf("part %d grows and is not open", d.Part)
		}
		if d.Close {
			open = -1
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add(eventBlockStart, []byte(`{"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"a","name":"b"}}}`), eventBlockDelta, []byte(`{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{"}}}`),
		eventBlockStop, []byte(`{"contentBlockIndex":0}`), eventStop, []byte(`{"stopReason":"tool_use"}`))
	f.Add(eventBlockDelta, []byte(`{"contentBlockIndex":1,"delta":{"text":"b"}}`), eventBlockDelta, []byte(`{"contentBlockIndex":0,"delta":{"reasoningContent":{"redactedContent":"eA=="}}}`),
		eventBlockDelta, []byte(`{"contentBlockIndex":1,"delta":{"reasoningContent":{"signature":"c"}}}`), eventMetadata, []byte(`{"usage":{"inputTokens":1}}`))
	f.Fuzz(func(t *testing.T, a string, b []byte, c string, d []byte, e string, g []byte, h string, i []byte) {
		s := Stream{Reading: Reading{Canonical: true, Meta: &llm.Meta{}}}
		var all []llm.Delta
		for _, in := range []struct {
			name string
			data []byte
		}{{a, b}, {c, d}, {e, g}, {h, i}} {
			var ev llm.Event
			err := s.Scan(in.name, in.data, &ev, nil)
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
	f.Add("ValidationException:http://internal.amazon.com/", []byte(`{"message":"a"}`))
	f.Add("", []byte(`{"__type":"com.amazon#X"}`))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		e, ok := ParseError(header, body)
		if ok != (e.Message != "") {
			t.Fatalf("%t %+v", ok, e)
		}
	})
}

// Every way in which errors are named is read.
func TestErrorsAreNamed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		header, body string
		want         UpstreamError
		status       int
	}{
		{"ThrottlingException:http://internal.amazon.com/coral/", `{"message":"a"}`, UpstreamError{"a", "ThrottlingException"}, 429},
		{"throttlingException", `{"message":"a"}`, UpstreamError{"a", "ThrottlingException"}, 429},
		{"", `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"a"}`, UpstreamError{"a", "AccessDeniedException"}, 403},
		{"", `{"Output":{"__type":"com.amazon.coral.service#UnknownOperationException"},"Version":"1.0"}`, UpstreamError{"The provider reported UnknownOperationException and did not describe it.", "UnknownOperationException"}, 0},
		{"ModelErrorException", `<html>`, UpstreamError{"The provider reported ModelErrorException and did not describe it.", "ModelErrorException"}, 424},
		{"", `<html>`, UpstreamError{}, 0},
		{"a b\n", `{"message":"a"}`, UpstreamError{"a", ""}, 0},
	} {
		e, ok := ParseError(c.header, []byte(c.body))
		if d := cmp.Diff(c.want, e); d != "" || ok != (c.want.Message != "") || e.Status() != c.status {
			t.Errorf("%q %s: %d\n%s", c.header, c.body, e.Status(), d)
		}
	}
}
