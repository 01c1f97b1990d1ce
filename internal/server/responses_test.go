package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A responseTold is what is compared of an answer in the Responses dialect.
type responseTold struct {
	ID, Object, Status, Model string
	Incomplete                *struct{ Reason string } `json:"incomplete_details"`
	Previous                  *string                  `json:"previous_response_id"`
	Output                    []struct {
		ID, Type, Role, Status, Name, Arguments string
		CallID                                  string `json:"call_id"`
		Content, Summary                        []struct{ Type, Text string }
	}
	Usage struct {
		Input   int64 `json:"input_tokens"`
		Output  int64 `json:"output_tokens"`
		Details struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"input_tokens_details"`
	}
}

// summary is what was said, without what differs from answer to answer.
func (r *responseTold) summary() string {
	var b strings.Builder
	for _, o := range r.Output {
		if o.Type == "reasoning" && len(o.Summary) == 0 {
			continue // the proof of what is not shown
		}
		fmt.Fprintf(&b, "%s %v %s %s %s; ", o.Type, o.Content, o.Status, o.Name, o.Arguments)
	}
	return b.String() + r.Status
}

// responseOf is the response of a plain answer, or at the end of a stream, which it holds against the dialect's rules.
func responseOf(t *testing.T, body string) (r responseTold) {
	t.Helper()
	if !strings.HasPrefix(body, "event: ") {
		if err := json.Unmarshal([]byte(body), &r); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return r
	}
	n, last := 0, ""
	for frame := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(frame, "\n")
		var ev struct {
			Type     string
			Sequence int `json:"sequence_number"`
			Response *responseTold
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), &ev); err != nil {
			t.Fatalf("%v: %s", err, frame)
		}
		if name != "event: "+ev.Type || ev.Sequence != n || n == 0 && ev.Type != "response.created" {
			t.Errorf("event %d: %s", n, frame)
		}
		if ev.Response != nil {
			r = *ev.Response
		}
		n++
		last = ev.Type
	}
	if last != "response."+r.Status {
		t.Errorf("the last event is %s, the status %s", last, r.Status)
	}
	return r
}

const responsesTools = `,"tools":[{"type":"function","name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}},{"type":"function","name":"now","parameters":{"type":"object","properties":{}}}]`

// A caller of the Responses dialect cannot tell which dialect answered, and the books balance.
func TestResponsesCallersAreAnsweredByAll(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	e.Price(append(slices.Clone(speakerTargets), "second/m", "second-azure/m")...)
	for name, c := range map[string]struct{ body, status string }{
		"a text":      {`"instructions":"Be brief.","input":"echo:to be, or not to be"`, "completed"},
		"cut short":   {`"max_output_tokens":3,"input":[{"role":"user","content":"echo:one two three four five"}]`, "incomplete"},
		"a tool":      {`"input":[{"role":"user","content":[{"type":"input_text","text":"call:weather"}]}]` + responsesTools, "completed"},
		"tool forced": {`"tool_choice":"required","input":"Hi"` + responsesTools, "completed"},
		"the results": {`"input":[{"role":"user","content":"Hi"},{"type":"function_call","id":"fc_1","call_id":"a_1","name":"now","arguments":"{}","status":"completed"},{"type":"function_call","call_id":"a_2","name":"now","arguments":"{}"},{"type":"function_call_output","call_id":"a_1","output":"noon"},{"type":"function_call_output","call_id":"a_2","output":[{"type":"input_text","text":"one"}]},{"role":"user","content":"echo:thanks"}]` + responsesTools, "completed"},
		"a schema":    {`"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}}},"input":"Hi"`, "completed"},
		"two turns":   {`"input":[{"role":"user","content":"Hi"},{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello","annotations":[]}]},{"role":"user","content":"echo:so"}],"store":false`, "completed"},
	} {
		for _, stream := range []string{"", `"stream":true,`} {
			first := ""
			for i, model := range append(slices.Clone(speakerModels), "second", "second-azure") {
				a := e.Post(key, "/v1/responses", `{"model":"`+model+`",`+stream+c.body+`}`)
				if a.Status != http.StatusOK {
					t.Fatalf("%s of %s: %d %s", name, model, a.Status, a.Text())
				}
				r := responseOf(t, a.Text())
				if i == 0 {
					first = r.summary()
				}
				if got := r.summary(); got != first {
					t.Errorf("%s of %s (stream %t): %s, want %s", name, model, stream != "", got, first)
				}
				if r.Status != c.status || r.Model != model || r.Object != "response" || r.Usage.Input == 0 || r.Usage.Output == 0 || len(r.Output) == 0 {
					t.Errorf("%s of %s (stream %t): %+v", name, model, stream != "", r)
				}
			}
		}
	}
	e.AtRest()
	e.CheckBill()
}

// Errors are in the dialect of the client, whatever the provider's.
func TestResponsesErrors(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	for body, want := range map[string]string{
		`{"model":"gpt"}`:                                                                               `400 {"error":{"message":"input: missing. Send a text, or items.","type":"invalid_request_error","param":"input","code":"invalid_request_error"}}`,
		`{"model":"none","input":"hi"}`:                                                                 "404 ",
		`{"model":"claude","input":"hi","max_tool_calls":1}`:                                            "400 ",
		`{"model":"bed","input":"hi","tools":[{"type":"web_search"}]}`:                                  "400 ",
		`{"model":"gpt","input":[{"type":"item_reference","id":"msg_1"}]}`:                              "400 ",
		`{"model":"gem","input":[{"type":"web_search_call","id":"ws_1","status":"completed"}]}`:         "400 ",
		`{"model":"claude","input":[{"role":"user","content":[{"type":"input_image","file_id":"f"}]}]}`: "400 ",
	} {
		a := e.Post(key, "/v1/responses", body)
		if got := fmt.Sprintf("%d %s", a.Status, a.Text()); !strings.HasPrefix(got, want) || !strings.Contains(got, `"error":{"message"`) {
			t.Errorf("%s: %s", body, got)
		}
	}
}
