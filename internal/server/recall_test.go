package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

const reasoners = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  claude: { dialect: anthropic, base_url: "http://%SIM%/claude", vendor: anthropic }
models:
  smart: { targets: ["claude/claude-sonnet-4-5?reasoning=8"] }
`

// A caller of OpenAI's dialect keeps the id of a call and loses what was thought before it; the model finds that again.
func TestTrap15ReasoningSurvivesCallersThatDropIt(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{Config: reasoners, Sim: &sim.Config{Seed: 1, Providers: map[string]sim.Provider{
		"claude": {Dialect: "anthropic", Models: map[string]sim.Model{"*": {}}},
	}}})
	key, stranger := e.Key("home"), e.Key("elsewhere")
	const tools = `"reasoning_effort":"low","tools":[{"type":"function","function":{"name":"now","parameters":{"type":"object"}}}]`
	for _, stream := range []string{"", `"stream":true,`} {
		a := e.Post(key, "/v1/chat/completions", `{"model":"smart",`+stream+tools+`,"messages":[{"role":"user","content":"call:now"}]}`)
		if a.Status != http.StatusOK || !strings.Contains(a.Text(), "reasoning_content") {
			t.Fatalf("%d %s", a.Status, a.Text())
		}
		_, id, _ := strings.Cut(a.Text(), `"tool_calls":`)
		_, id, _ = strings.Cut(id, `"id":"`)
		id, _, _ = strings.Cut(id, `"`)
		for _, c := range []struct {
			key     string
			thought bool
		}{{key, true}, {stranger, false}} {
			a = e.Post(c.key, "/v1/chat/completions", `{"model":"smart",`+tools+`,"messages":[{"role":"user","content":"call:now"},{"role":"assistant","content":null,"tool_calls":[{"id":"`+id+`","type":"function","function":{"name":"now","arguments":"{}"}}]},{"role":"tool","tool_call_id":"`+id+`","content":"noon"}]}`)
			if a.Status != http.StatusOK {
				t.Fatalf("%d %s", a.Status, a.Text())
			}
			sent := e.Sim.Requests()
			var body struct {
				Messages []struct {
					Content []struct{ Type, Signature string } `json:"content"`
				} `json:"messages"`
				Thinking map[string]any `json:"thinking"`
			}
			last := sent[len(sent)-1].Body
			if err := json.Unmarshal([]byte(last), &body); err != nil {
				t.Fatal(err)
			}
			first := body.Messages[1].Content[0]
			adapted := a.Header.Get("X-Penstock-Adapted")
			if got := first.Type == "thinking" && first.Signature != "" && body.Thinking != nil; got != c.thought || (adapted == "reasoning") == c.thought {
				t.Errorf("stream %t, thought %t: adapted %q, sent %s", stream != "", c.thought, adapted, last)
			}
		}
	}
	e.AtRest()
	e.CheckBill()
}
