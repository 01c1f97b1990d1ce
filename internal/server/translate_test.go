package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/sim"
)

const allDialects = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  gpt: { dialect: openai, base_url: "http://%SIM%/gpt/v1", vendor: none }
  second: { dialect: openai, base_url: "http://%SIM%/gpt/v1", vendor: none, takes: [responses] }
  second-azure: { dialect: azure, base_url: "http://%SIM%/azure", vendor: none, takes: [responses] }
  claude: { dialect: anthropic, base_url: "http://%SIM%/claude", vendor: none }
  azure: { dialect: azure, base_url: "http://%SIM%/azure", vendor: none }
  bed: { dialect: bedrock, base_url: "http://%SIM%/bed", region: us-east-1, vendor: none }
  gem: { dialect: gemini, base_url: "http://%SIM%/gem", vendor: none }
  vertex: { dialect: gemini, base_url: "http://%SIM%/gem/v1/projects/acme/locations/eu", vendor: none }
  older: { dialect: azure, base_url: "http://%SIM%/azure", api_version: 2024-10-21, vendor: none }
models:
  claude: { targets: [claude/m] }
  gpt: { targets: [gpt/m] }
  second: { targets: [second/m] } # as gpt, in OpenAI's second dialect where the client speaks it
  second-azure: { targets: [second-azure/m] }
  azure: { targets: [azure/m] }
  older: { targets: [older/m] }
  bed: { targets: [bed/m] }
  gem: { targets: [gem/m] }
  vertex: { targets: [vertex/m] }
  mute: { targets: ["claude/m?usage=none"] }
  either: { targets: [claude/m, gpt/m] }
`

// speakers has providers of each dialect. Models are called as the provider that has them.
func speakers(t *testing.T) *penstocktest.Env {
	t.Helper()
	return penstocktest.Start(t, penstocktest.Options{Config: allDialects, Sim: &sim.Config{Seed: 1, Providers: speakerProviders()}})
}

// speakerProviders are simulated providers, one of each dialect.
func speakerProviders() map[string]sim.Provider {
	models := map[string]sim.Model{"*": {Price: sim.Price{Input: "1", Cached: "0.5", Output: "4"}, CachedShare: 0.25}}
	return map[string]sim.Provider{
		"gpt": {Models: models}, "claude": {Models: models, Dialect: "anthropic"}, "azure": {Models: models, Dialect: "azure"},
		"bed": {Models: models, Dialect: "bedrock"}, "gem": {Models: models, Dialect: "gemini"},
	}
}

// The models of speakers by name, and what they stand for.
var (
	speakerModels  = []string{"claude", "gpt", "azure", "older", "bed", "gem", "vertex"}
	speakerTargets = []string{"claude/m", "gpt/m", "azure/m", "older/m", "bed/m", "gem/m", "vertex/m"}
)

// told is what is compared of an answer or an event of one.
type told struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Model   string `json:"model"`
	Choices []struct {
		Index   int    `json:"index"`
		Message spoken `json:"message"`
		Delta   spoken `json:"delta"`
		Finish  string `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		Prompt     int64 `json:"prompt_tokens"`
		Completion int64 `json:"completion_tokens"`
		Details    struct {
			Cached int64 `json:"cached_tokens"`
		} `json:"prompt_tokens_details"`
	} `json:"usage"`
}

type spoken struct {
	Role      string `json:"role"`
	Content   string `json:"content"`
	Reasoning string `json:"reasoning_content"`
	Calls     []struct {
		Index    int    `json:"index"`
		ID       string `json:"id"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

// gathered puts an answer together, streamed or not.
func gathered(t *testing.T, body string) (text, reasoning, calls, finish string, whole told) {
	t.Helper()
	add := func(s spoken) {
		text += s.Content
		reasoning += s.Reasoning
		for _, c := range s.Calls {
			if c.Function.Name != "" {
				calls += " " + c.Function.Name
			}
			calls += c.Function.Arguments
		}
	}
	for line := range strings.Lines(body) {
		data, event := strings.CutPrefix(line, "data: ")
		if strings.TrimSpace(data) == "" || strings.TrimSpace(data) == "[DONE]" {
			continue
		}
		if !event {
			data = body
		}
		var c told
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		if whole.ID != "" && whole.ID != c.ID {
			t.Errorf("two ids: %s and %s", whole.ID, c.ID)
		}
		usage := whole.Usage
		if whole = c; c.Usage == nil {
			whole.Usage = usage
		}
		for _, choice := range c.Choices {
			add(choice.Message)
			add(choice.Delta)
			if choice.Finish != "" {
				finish = choice.Finish
			}
		}
		if !event {
			break
		}
	}
	return text, reasoning, calls, finish, whole
}

// A caller of the OpenAI dialect cannot tell which dialect answered, and the books balance.
func TestTranslatedAnswersAreLikeTheOthers(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	e.Price("gpt/m", "claude/m", "azure/m", "older/m", "bed/m", "gem/m", "vertex/m")
	models := []string{"gpt", "claude", "azure", "older", "bed", "gem", "vertex"}
	const tools = `,"tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}},{"type":"function","function":{"name":"now"}}]`
	for name, c := range map[string]struct{ body, finish string }{
		"text":        {`"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"echo:to be, or not to be"}]`, "stop"},
		"cut short":   {`"max_tokens":3,"messages":[{"role":"user","content":"echo:one two three four five"}]`, "length"},
		"a tool":      {`"messages":[{"role":"user","content":"call:weather"}]` + tools, "tool_calls"},
		"tool forced": {`"tool_choice":"required","messages":[{"role":"user","content":"Hi"}]` + tools, "tool_calls"},
		"the results": {`"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"a.1","type":"function","function":{"name":"now","arguments":""}},{"id":"a.2","type":"function","function":{"name":"now","arguments":"{}"}}]},{"role":"tool","tool_call_id":"a.1","content":"noon"},{"role":"tool","tool_call_id":"a.2","content":"one"},{"role":"user","content":"echo:thanks"}]` + tools, "stop"},
		"a schema":    {`"response_format":{"type":"json_schema","json_schema":{"name":"x","schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}},"messages":[{"role":"user","content":"Hi"}]`, "stop"},
	} {
		for _, stream := range []string{"", `"stream":true,"stream_options":{"include_usage":true},`} {
			var texts, calls string
			for i, model := range models {
				a := e.Post(key, "/v1/chat/completions", `{"model":"`+model+`",`+stream+c.body+`}`)
				if a.Status != http.StatusOK {
					t.Fatalf("%s of %s: %d %s", name, model, a.Status, a.Text())
				}
				text, _, called, finish, whole := gathered(t, a.Text())
				if i == 0 {
					texts, calls = text, called
				}
				if text != texts || called != calls {
					t.Errorf("%s, streamed %t: %s says %q %q, and %s says %q %q", name, stream != "", models[0], texts, calls, model, text, called)
				}
				if finish != c.finish || whole.Model != model || whole.Usage == nil || whole.Usage.Completion == 0 || whole.Usage.Prompt == 0 {
					t.Errorf("%s of %s, streamed %t: finish %q, model %q, usage %+v", name, model, stream != "", finish, whole.Model, whole.Usage)
				}
			}
		}
	}
	e.AtRest()
	e.CheckBill()
}

// Vectors come as OpenAI's, in the form that was asked for, the same from all.
func TestTranslatedVectorsAreLikeTheOthers(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	e.Price("gpt/m", "gem/m", "vertex/m")
	for _, rest := range []string{`"input":"to be"`, `"input":["to be","or not to be"],"dimensions":8`, `"input":["to be","or not"],"encoding_format":"base64"`} {
		var first string
		for _, model := range []string{"gpt", "gem", "vertex"} {
			a := e.Post(key, "/v1/embeddings", `{"model":"`+model+`",`+rest+`}`)
			var got struct {
				Data  []struct{ Embedding any }
				Model string
			}
			if err := json.Unmarshal(a.Body, &got, json.MatchCaseInsensitiveNames(true)); err != nil || a.Status != http.StatusOK || got.Model != model {
				t.Fatalf("%s of %s: %d %s %v", rest, model, a.Status, a.Text(), err)
			}
			vectors, err := json.Marshal(got.Data)
			if err != nil {
				t.Fatal(err)
			}
			if first == "" {
				first = string(vectors)
			}
			if string(vectors) != first {
				t.Errorf("%s: %s differs: %.200s and %.200s", rest, model, vectors, first)
			}
		}
	}
	if a := e.Post(key, "/v1/embeddings", `{"model":"gem","input":[1,2]}`); a.Status != http.StatusBadRequest || !strings.Contains(a.Text(), `"param":"input"`) {
		t.Errorf("%d %s", a.Status, a.Text())
	}
	e.AtRest()
	e.CheckBill()
}

// Where a provider of the other dialect reports no usage, it is counted here, as of any provider.
func TestTranslatedAnswersAreCounted(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	e.Price("claude/m?usage=none")
	e.Price("claude/m")
	for _, stream := range []string{"", `"stream":true,`} {
		a := e.Post(key, "/v1/chat/completions", `{"model":"mute",`+stream+`"messages":[{"role":"user","content":"say:60 please"}]}`)
		if a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Text())
		}
		rec := e.Record(a.Header.Get("X-Request-Id"))
		if try := rec.Tries[0]; !try.Usage.Estimated || try.Usage.Output < 40 || try.Usage.Output > 90 {
			t.Errorf("streamed %t: %+v", stream != "", try.Usage)
		}
	}
}

// What a dialect cannot say is refused before anything is spent, unless another target can say it.
func TestWhatCannotBeTranslatedIsRefused(t *testing.T) {
	t.Parallel()
	e := speakers(t)
	key := e.Key("home")
	const two = `"n":2,"messages":[{"role":"user","content":"echo:hi"}]}`
	a := e.Post(key, "/v1/chat/completions", `{"model":"claude",`+two)
	if a.Status != http.StatusBadRequest || !strings.Contains(a.Text(), `"param":"n"`) {
		t.Errorf("%d %s", a.Status, a.Text())
	}
	if a := e.Post(key, "/v1/chat/completions", `{"model":"either",`+two); a.Status != http.StatusOK || a.Header.Get("X-Penstock-Target") != "gpt/m" {
		t.Errorf("%d %s", a.Status, a.Text())
	}
	adapted := e.Post(key, "/v1/chat/completions", `{"model":"claude","temperature":1.7,"seed":1,"messages":[{"role":"user","content":"echo:hi"}]}`)
	if adapted.Status != http.StatusOK || adapted.Header.Get("X-Penstock-Adapted") != "temperature, seed" {
		t.Errorf("%d, adapted %q", adapted.Status, adapted.Header.Get("X-Penstock-Adapted"))
	}
	if rec := e.Record(adapted.Header.Get("X-Request-Id")); !slices.ContainsFunc(rec.Stages, func(d pipeline.Decision) bool {
		return d.Stage == "adapted" && strings.Contains(d.Decision, "claude/m does not take temperature, seed")
	}) {
		t.Errorf("the record does not say it: %+v", rec.Stages)
	}
	e.AtRest()
	e.CheckBill()
}
