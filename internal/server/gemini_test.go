package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

const geminiOnly = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  gem: { dialect: gemini, base_url: "http://%SIM%/gem", vendor: google }
models:
  g3: { targets: [gem/gemini-3-pro-preview] }
`

// The simulator refuses, as the vendor does, calls that come back without the proof that they had. Callers of both dialects who send
// messages back as they came are taken on; so are those who have lost it: for a while it is remembered, and after that its lack is told.
func TestTrap04ProofsOfReasoningGoThroughCallers(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{Config: geminiOnly, Sim: &sim.Config{Seed: 1, Providers: map[string]sim.Provider{
		"gem": {Dialect: "gemini", Models: map[string]sim.Model{"*": {}}},
	}}})
	key := e.Key("home")
	const (
		tools    = `,"tools":[{"type":"function","function":{"name":"now"}}]`
		question = `{"role":"user","content":"call:now"}`
		result   = `{"role":"tool","tool_call_id":"%ID%","content":"noon"}`
	)
	a := e.Post(key, "/v1/chat/completions", `{"model":"g3","messages":[`+question+`]`+tools+`}`)
	_, message, _ := strings.Cut(a.Text(), `"message":`)
	message, _, found := strings.Cut(message, `,"logprobs"`)
	_, rest, _ := strings.Cut(message, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	if !found || !strings.Contains(message, `"thought_signature":"`) {
		t.Fatalf("%d %s", a.Status, a.Text())
	}
	head, tail, _ := strings.Cut(message, `,"extra_content":`)
	lost := head + tail[strings.Index(tail, "}}")+2:]
	longAgo := strings.Replace(lost, id, "call_long_ago", 1)
	for sent, adapted := range map[string]string{message: "", lost: "", longAgo: "reasoning"} {
		of := id
		if sent == longAgo {
			of = "call_long_ago"
		}
		body := `{"model":"g3","messages":[` + question + `,` + sent + `,` + strings.Replace(result, "%ID%", of, 1) + `]` + tools + `}`
		if a := e.Post(key, "/v1/chat/completions", body); a.Status != http.StatusOK || a.Header.Get("X-Penstock-Adapted") != adapted {
			t.Errorf("%d, adapted %q: %s\n%s", a.Status, a.Header.Get("X-Penstock-Adapted"), a.Text(), body)
		}
	}

	const anthropicTools = `,"max_tokens":99,"tools":[{"name":"now","input_schema":{"type":"object"}}]`
	a = e.Post(key, "/v1/messages", `{"model":"g3","messages":[`+question+`]`+anthropicTools+`}`, "Anthropic-Version", "2023-06-01")
	_, content, _ := strings.Cut(a.Text(), `"content":`)
	content, _, found = strings.Cut(content, `,"stop_reason"`)
	_, rest, _ = strings.Cut(content, `"id":"`)
	id, _, _ = strings.Cut(rest, `"`)
	if !found || !strings.Contains(content, `"signature":"gemini:`) {
		t.Fatalf("%d %s", a.Status, a.Text())
	}
	body := `{"model":"g3","messages":[` + question + `,{"role":"assistant","content":` + content + `},{"role":"user","content":[{"type":"tool_result","tool_use_id":"` + id + `","content":"noon"}]}]` + anthropicTools + `}`
	if a := e.Post(key, "/v1/messages", body, "Anthropic-Version", "2023-06-01"); a.Status != http.StatusOK || a.Header.Get("X-Penstock-Adapted") != "" {
		t.Errorf("%d, adapted %q: %s\n%s", a.Status, a.Header.Get("X-Penstock-Adapted"), a.Text(), body)
	}
}
