package gemini

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
)

// known reports whether an error is one that readers of this package make.
func known(err error) bool {
	var e *InBandError
	return err == nil || errors.Is(err, ErrGarbage) || errors.Is(err, ErrEmpty) || errors.Is(err, ErrCut) || errors.As(err, &e)
}

// parts sees to it that the parts of a choice are opened before they grow, once, in order, and never beside each other, and that all
// are closed before it ends.
func parts(t *testing.T, deltas []llm.Delta) {
	t.Helper()
	type choice struct{ opened, open int }
	choices := map[int]*choice{}
	for _, d := range deltas {
		c := choices[d.Choice]
		if c == nil {
			c = &choice{open: -1}
			choices[d.Choice] = c
		}
		if d.Finish != "" {
			if c.open >= 0 {
				t.Fatalf("choice %d ends while part %d is open", d.Choice, c.open)
			}
			continue
		}
		if d.Open != nil {
			if d.Part != c.opened || c.open >= 0 {
				t.Fatalf("part %d is opened as the %d., while %d is open", d.Part, c.opened, c.open)
			}
			c.opened, c.open = c.opened+1, d.Part
		}
		if d.Part != c.open {
			t.Fatalf("part %d grows and is not open", d.Part)
		}
		if d.Close {
			c.open = -1
		}
	}
}

func FuzzScanAnswer(f *testing.F) {
	f.Add([]byte(`{"candidates":[{"content":{"parts":[{"text":"a","thought":true},{"text":"b","thoughtSignature":"c"},{"functionCall":{"name":"n","args":{"a":1}}},{"inlineData":{"mimeType":"image/png","data":"AAAA"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}`))
	f.Add([]byte(`{"promptFeedback":{"blockReason":"SAFETY"}}`))
	f.Add([]byte(`{"candidates":[1,{"index":9,"content":{"parts":[{},{"text":7}]}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var ev llm.Event
		if err := ScanAnswer(body, &ev, &llm.Meta{}); !known(err) {
			t.Fatal(err)
		} else if err == nil {
			parts(t, ev.Deltas)
		}
		AnswerText(nil, body)
	})
}

func FuzzStream(f *testing.F) {
	f.Add([]byte(aFrame(`{"text":"a","thought":true}`, "")), []byte(aFrame(aCall, "STOP")), []byte(aFrame(`{"thoughtSignature":"p"}`, "")))
	f.Add([]byte(`{"candidates":[{"index":1,"content":{"parts":[{"text":"a"}]}}]}`), []byte(`{"usageMetadata":{}}`), []byte(aFrame(`{"text":""}`, "MAX_TOKENS")))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		s := Stream{Meta: &llm.Meta{}}
		var all []llm.Delta
		for _, data := range [][]byte{a, b, c} {
			var ev llm.Event
			err := s.Frame(data, &ev, nil)
			if !known(err) {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			all = append(all, ev.Deltas...)
		}
		var ev llm.Event
		if err := s.End(&ev); !known(err) {
			t.Fatal(err)
		} else if err == nil {
			parts(t, append(all, ev.Deltas...))
		}
	})
}

func FuzzAppendVectors(f *testing.F) {
	f.Add([]byte(`{"embeddings":[{"values":[1,2]}],"usageMetadata":{"promptTokenCount":1}}`))
	f.Add([]byte(`{"predictions":[{"embeddings":{"values":[1],"statistics":{"token_count":3}}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := AppendVectors(nil, body, "m"); !known(err) {
			t.Fatal(err)
		}
	})
}

func FuzzParseError(f *testing.F) {
	f.Add([]byte(`{"error":{"code":429,"message":"a","status":"b","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7s"}]}}`))
	f.Add([]byte(`[{"error":{"status":"X"}}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, ok := ParseError(body)
		if ok != (e.Message != "") || e.Wait < 0 {
			t.Fatalf("%t %+v", ok, e)
		}
		_ = e.Object()
	})
}

// Every way in which errors are described is read.
func TestErrorsAreDescribed(t *testing.T) {
	t.Parallel()
	const kind = `{"@type":"type.googleapis.com/google.rpc.`
	for body, want := range map[string]UpstreamError{
		`{"error":{"code":400,"message":"a","status":"INVALID_ARGUMENT","details":[` + kind + `ErrorInfo","reason":"API_KEY_INVALID"}]}}`:                             {Message: "a", Status: "INVALID_ARGUMENT", Reason: "API_KEY_INVALID", HTTP: 400},
		`{"error":{"code":429,"message":"a","details":[` + kind + `Help"},` + kind + `RetryInfo","retryDelay":"7.5s"}]}}`:                                             {Message: "a", HTTP: 429, Wait: 7500 * time.Millisecond},
		`{"error":{"message":"a","details":[` + kind + `BadRequest","fieldViolations":[{"field":"x.y"},{"field":"z"}]},` + kind + `RetryInfo","retryDelay":"-1s"}]}}`: {Message: "a", Param: "x.y"},
		` [{"error":{"code":404,"message":"a","status":"NOT_FOUND"}}] `:                                                                                               {Message: "a", Status: "NOT_FOUND", HTTP: 404},
		`{"error":{"status":"X"}}`: {Message: "The provider reported X and did not describe it.", Status: "X"},
		`{"error":"a"}`:            {}, `[]`: {}, `<html>`: {}, ``: {},
	} {
		e, ok := ParseError([]byte(body))
		if d := cmp.Diff(want, e); d != "" || ok != (want.Message != "") {
			t.Errorf("%s: %s", body, d)
		}
	}
}
