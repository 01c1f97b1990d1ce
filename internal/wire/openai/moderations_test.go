package openai

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

func TestParseModerations(t *testing.T) {
	t.Parallel()
	for body, model := range map[string]string{
		`{"model":"m","input":"a"}`: "m",
		`{"input":["a","b"]}`:       ModerationModel,
		`{"input":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"u"}}]}`: ModerationModel,
	} {
		r, err := ParseModerations([]byte(body))
		if err != nil || r.Op != llm.OpModerations || r.Model != model || string(r.Field("model")) != `"`+model+`"` {
			t.Errorf("%s: %+v, %v", body, r, err)
		}
		sent := string(AppendRequest(nil, r, "other", true, false))
		if !strings.Contains(sent, `"model":"other"`) || !strings.Contains(sent, `"input":`) {
			t.Errorf("%s: sent as %s", body, sent)
		}
	}
	for _, body := range []string{`{}`, `{"input":[]}`, `{"input":null}`, `{"input":["a",{}]}`, `{"input":[1]}`, `{"model":"","input":"a"}`, `{"model":1,"input":"a"}`} {
		_, err := ParseModerations([]byte(body))
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.InvalidRequest || e.Param == "" {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestScanModerations(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]error{
		`{"id":"modr-1","model":"m","results":[{"flagged":false},{"flagged":true}]}`: nil,
		`{"id":"x","model":"m","results":[{"categories":{"hate":false}}]}`:           nil, // Mistral's
		`{"model":"m","results":[]}`:                      ErrEmpty,
		`{"model":"m"}`:                                   ErrEmpty,
		`{"model":"m","results":[{"flagged":"perhaps"}]}`: ErrGarbage,
		`{"model":"m","results":[true]}`:                  ErrGarbage,
	} {
		var ev llm.Event
		err := ScanAnswer(llm.OpModerations, []byte(body), &ev, nil)
		if !errors.Is(err, want) || err == nil && (!ev.Is(llm.End|llm.Content) || ev.Is(llm.UsageIn) || string(ev.ModelAt.Of(ev.Raw)) != `"m"`) {
			t.Errorf("%s: %v, %+v", body, err, ev)
		}
	}
	var ev llm.Event
	body := `{"id":"x","model":"m","usage":{"prompt_tokens":7,"total_tokens":7,"completion_tokens":0},"results":[{"categories":{}}]}`
	if err := ScanAnswer(llm.OpModerations, []byte(body), &ev, nil); err != nil || ev.Usage != (llm.Usage{Input: 7}) {
		t.Errorf("%v, %+v", err, ev.Usage)
	}
}

// FuzzParseModerations: what is taken is sent with the target's model, and what is not is the caller's mistake.
func FuzzParseModerations(f *testing.F) {
	f.Add([]byte(`{"model":"m","input":["a","b"]}`))
	f.Add([]byte(`{"input":[{"type":"text","text":"a"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseModerations(body)
		if err != nil {
			if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.BadRequest {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		var sent struct {
			Model string          `json:"model"`
			Input json.RawMessage `json:"input"`
		}
		out := AppendRequest(nil, r, "other", true, false)
		if err := json.Unmarshal(out, &sent); err != nil || r.Model == "" || sent.Model != "other" || len(sent.Input) == 0 {
			t.Fatalf("%q became %q: %v", body, out, err)
		}
	})
}
