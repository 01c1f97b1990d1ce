package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

// A messageTold is what is compared of an answer in Anthropic's dialect.
type messageTold struct {
	ID, Type, Role, Model string
	Content               []struct {
		Type, Text, Thinking, Signature, ID, Name string
		Input                                     map[string]any
	}
	StopReason string `json:"stop_reason"`
	Usage      struct {
		Input      int64 `json:"input_tokens"`
		CacheRead  int64 `json:"cache_read_input_tokens"`
		CacheWrite int64 `json:"cache_creation_input_tokens"`
		Output     int64 `json:"output_tokens"`
	}
}

// summary is what was said, without what differs from answer to answer.
func (m *messageTold) summary() string {
	var b strings.Builder
	for _, c := range m.Content {
		fmt.Fprintf(&b, "%s %s %s %s %v; ", c.Type, c.Text, c.Thinking, c.Name, c.Input)
	}
	return b.String() + m.StopReason
}

// messageOf puts a message together from a stream, and holds the stream against the dialect's rules.
func messageOf(t *testing.T, body string) messageTold {
	t.Helper()
	var m messageTold
	if !strings.HasPrefix(body, "event: ") {
		if err := json.Unmarshal([]byte(body), &m); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		return m
	}
	open, ended, arguments := -1, false, ""
	for frame := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		name, data, _ := strings.Cut(frame, "\n")
		var ev struct {
			Type    string
			Index   int
			Message *messageTold
			Block   json.RawMessage `json:"content_block"`
			Delta   struct {
				Type, Text, Thinking, Signature string
				Partial                         string `json:"partial_json"`
				StopReason                      string `json:"stop_reason"`
			}
			Usage json.RawMessage
		}
		if err := json.Unmarshal([]byte(strings.TrimPrefix(data, "data: ")), &ev); err != nil {
			t.Fatalf("%v: %s", err, frame)
		}
		if name != "event: "+ev.Type || ended {
			t.Errorf("an event called %q, ended %t: %s", name, ended, frame)
		}
		switch ev.Type {
		case "message_start":
			m = *ev.Message
		case "content_block_start":
			if open >= 0 || ev.Index != len(m.Content) {
				t.Errorf("block %d, open is %d, there are %d", ev.Index, open, len(m.Content))
			}
			open, arguments = ev.Index, ""
			m.Content = append(m.Content, messageTold{}.Content[:0:0]...)
			m.Content = append(m.Content, struct {
				Type, Text, Thinking, Signature, ID, Name string
				Input                                     map[string]any
			}{})
			if err := json.Unmarshal(ev.Block, &m.Content[open]); err != nil {
				t.Fatal(err)
			}
		case "content_block_delta":
			if ev.Index != open {
				t.Errorf("a piece of %d, open is %d", ev.Index, open)
			}
			c := &m.Content[ev.Index]
			c.Text += ev.Delta.Text
			c.Thinking += ev.Delta.Thinking
			arguments += ev.Delta.Partial
		case "content_block_stop":
			if arguments != "" {
				if err := json.Unmarshal([]byte(arguments), &m.Content[open].Input); err != nil {
					t.Errorf("%v: %s", err, arguments)
				}
			}
			open = -1
		case "message_delta":
			m.StopReason = ev.Delta.StopReason
			if err := json.Unmarshal(ev.Usage, &m.Usage); err != nil {
				t.Fatal(err)
			}
		case "message_stop":
			ended = true
		}
	}
	if !ended || open >= 0 {
		t.Errorf("ended %t, open %d: %s", ended, open, body)
	}
	return m
}

// A caller of Anthropic's dialect cannot tell which dialect answered, and the books balance.
func TestAnthropicCallersAreAnsweredByAll(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	models := speakerModels
	e.Price(speakerTargets...)
	const tools = `,"tools":[{"name":"weather","input_schema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}},{"name":"now","input_schema":{"type":"object"}}]`
	for name, c := range map[string]struct{ body, stop string }{
		"text":        {`"max_tokens":99,"system":[{"type":"text","text":"Be brief."}],"messages":[{"role":"user","content":"echo:to be, or not to be"}]`, "end_turn"},
		"cut short":   {`"max_tokens":3,"messages":[{"role":"user","content":"echo:one two three four five"}]`, "max_tokens"},
		"a tool":      {`"max_tokens":99,"messages":[{"role":"user","content":"call:weather"}]` + tools, "tool_use"},
		"tool forced": {`"max_tokens":99,"tool_choice":{"type":"any"},"messages":[{"role":"user","content":"Hi"}]` + tools, "tool_use"},
		"the results": {`"max_tokens":99,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"a_1","name":"now","input":{}},{"type":"tool_use","id":"a_2","name":"now","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a_1","content":"noon"},{"type":"tool_result","tool_use_id":"a_2","content":[{"type":"text","text":"one"}]},{"type":"text","text":"echo:thanks"}]}]` + tools, "end_turn"},
		"a schema":    {`"max_tokens":99,"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}}},"messages":[{"role":"user","content":"Hi"}]`, "end_turn"},
		"two turns":   {`"max_tokens":99,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"user","content":[{"type":"text","text":"echo:so","cache_control":{"type":"ephemeral"}}]}]`, "end_turn"},
	} {
		for _, stream := range []string{"", `"stream":true,`} {
			first := ""
			for i, model := range models {
				a := e.Post(key, "/v1/messages", `{"model":"`+model+`",`+stream+c.body+`}`, "Anthropic-Version", "2023-06-01")
				if a.Status != http.StatusOK {
					t.Fatalf("%s of %s: %d %s", name, model, a.Status, a.Text())
				}
				m := messageOf(t, a.Text())
				if i == 0 {
					first = m.summary()
				}
				if got := m.summary(); got != first {
					t.Errorf("%s of %s (stream %t): %s, want %s", name, model, stream != "", got, first)
				}
				if m.StopReason != c.stop || m.Model != model || m.Role != "assistant" || m.Type != "message" || m.Usage.Input == 0 || m.Usage.Output == 0 || len(m.Content) == 0 {
					t.Errorf("%s of %s (stream %t): %+v", name, model, stream != "", m)
				}
				if a.Header.Get("Request-Id") == "" {
					t.Error("no request-id")
				}
			}
		}
	}
	e.AtRest()
	e.CheckBill()
}

// What came in Anthropic's dialect goes out in it as it is.
func TestAnthropicToAnthropicIsRaw(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	a := e.Post(key, "/v1/messages?beta=true", `{ "model":"claude", "max_tokens":9,  "new_thing":[1, 2],"messages":[{"role":"user","content":"Hi"}]}`,
		"Anthropic-Version", "2026-10-21", "Anthropic-Beta", "a-2026-01-01,b")
	if a.Status != http.StatusOK {
		t.Fatal(a.Text())
	}
	sent := e.Sim.Requests()
	last := sent[len(sent)-1]
	if want := `{ "model":"m", "max_tokens":9,  "new_thing":[1, 2],"messages":[{"role":"user","content":"Hi"}]}`; last.Body != want {
		t.Errorf("sent %s", last.Body)
	}
	if last.Header.Get("Anthropic-Version") != "2026-10-21" || last.Header.Get("Anthropic-Beta") != "a-2026-01-01,b" || !strings.HasSuffix(last.Path, "?beta=true") {
		t.Errorf("%s %v", last.Path, last.Header)
	}
}

// Tokens are counted for every upstream: by its own count, or high.
func TestTrap30CountTokensForEveryUpstream(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	e.Price(speakerTargets...)
	const body = `"system":"Be brief.","tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":[{"type":"text","text":"How many tokens are these words, all in all?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjQ="}}]}]`
	for _, model := range speakerModels {
		a := e.Post(key, "/v1/messages/count_tokens", `{"model":"`+model+`",`+body+`}`)
		var out struct {
			Tokens int64 `json:"input_tokens"`
		}
		if err := json.Unmarshal([]byte(a.Text()), &out); err != nil || a.Status != http.StatusOK || out.Tokens < 15 {
			t.Errorf("%s: %d %s", model, a.Status, a.Text())
		}
	}
	e.AtRest()
	e.CheckBill()
}

// Errors are in the dialect of the client, whatever the provider's.
func TestErrorsForAnthropicClients(t *testing.T) {
	t.Parallel()
	open, _, _ := strings.Cut(allDialects, "models:")
	e := penstocktest.Start(t, penstocktest.Options{Config: open, Sim: &sim.Config{Seed: 1, Providers: speakerProviders()}})
	key := e.Key("home")
	for _, c := range []struct {
		model  string
		status int
		kind   string
	}{
		{"claude/m?status=529", 529, "overloaded_error"}, {"gpt/m?status=503", 529, "overloaded_error"}, {"gpt/m?status=400", 400, "invalid_request_error"}, {"claude/m?status=429&retry_after=3", 429, "rate_limit_error"},
		{"claude/m?status=400", 400, "invalid_request_error"}, {"claude/m?status=413", 413, "request_too_large"},
		{"claude/m?status=500", 502, "api_error"}, {"claude/m?status=401", 502, "api_error"}, {"nobody", 404, "not_found_error"},
	} {
		a := e.Post(key, "/v1/messages", `{"model":"`+c.model+`","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`)
		var out struct {
			Type  string
			Error struct{ Type, Message string }
			ID    string `json:"request_id"`
		}
		if err := json.Unmarshal([]byte(a.Text()), &out); err != nil || a.Status != c.status || out.Type != "error" || out.Error.Type != c.kind || out.Error.Message == "" ||
			out.ID == "" || out.ID != a.Header.Get("Request-Id") {
			t.Errorf("%s: %d %s %v", c.model, a.Status, a.Text(), err)
		}
	}
}

// A refusal says where in the caller's own request, whatever its messages became on the way.
func TestRefusalsForAnthropicClientsSayWhere(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	const image = `{"role":"user","content":[{"type":"tool_result","tool_use_id":"a1","content":"1"},{"type":"tool_result","tool_use_id":"a2","content":"2"},{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]}`
	for model, c := range map[string]struct{ body, param string }{
		"bed": {`"system":"Be brief.","tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"a1","name":"f","input":{}},{"type":"tool_use","id":"a2","name":"f","input":{}}]},` + image + `]`, "messages[2]"},
		"gpt": {`"system":"Be brief.","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://example.com/a.pdf"}}]}]`, "messages[2]"},
		"gem": {`"system":"Be brief.","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"f"}}]}]`, "messages[2]"},
	} {
		a := e.Post(key, "/v1/messages", `{"model":"`+model+`","max_tokens":9,`+c.body+`}`)
		if a.Status != http.StatusBadRequest || !strings.Contains(a.Text(), `"param":"`+c.param+`"`) {
			t.Errorf("%s: %d %s", model, a.Status, a.Text())
		}
	}
}
