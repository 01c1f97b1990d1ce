package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

// A partCase is a call whose provider tells parts of what was used, and bills them.
type partCase struct {
	path, target, do string
	more             string // members of the body
	parts            func(p llm.Parts) bool
}

const (
	anHour   = `,"system":[{"type":"text","text":"Be brief, as always, and say so.","cache_control":{"type":"ephemeral","ttl":"1h"}}]`
	searches = `,"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":3}]`
	speaks   = `,"modalities":["text","audio"],"audio":{"voice":"alloy","format":"wav"}`
)

var partCases = []partCase{
	{"/v1/messages", "claude/claude-haiku-4-5", "written=0.5&hour=0.5&searches=2", anHour + searches, func(p llm.Parts) bool {
		return p.CacheWriteHour > 0 && p.CacheWriteMinutes >= p.CacheWriteHour && p.Searches == 2
	}},
	{"/v1/messages", "claude/claude-sonnet-4-5", "written=0.5&hour=1&untold=1", anHour, func(p llm.Parts) bool { return p == llm.Parts{} }},
	{"/v1/messages", "claude/claude-opus-4-5", "written=0.5", "", func(p llm.Parts) bool { return p.CacheWriteHour == 0 && p.CacheWriteMinutes > 0 }},
	{chatPath, "bed/us.anthropic.claude-haiku-4-5-20251001-v1:0", "written=0.5&hour=0.5", `,"user":"1h","metadata":{"ttl":"1h"}`, func(p llm.Parts) bool {
		return p.CacheWriteHour > 0 && p.CacheWriteMinutes > 0
	}},
	{chatPath, "gpt/gpt-4o-audio-preview", "heard=0.25&spoken=0.5", speaks, func(p llm.Parts) bool { return p.InputAudio > 0 && p.OutputAudio > 0 }},
	{"/v1/responses", "gpt/gpt-5-mini", "searches=3", `,"tools":[{"type":"web_search"}],"max_tool_calls":4`, func(p llm.Parts) bool { return p.Searches == 3 }},
	{chatPath, "gem/gemini-2.5-flash-image", "pictures=0.5", "", func(p llm.Parts) bool { return p.OutputImage > 0 }},
	{chatPath, "gem/gemini-2.5-flash", "heard=0.5", `,"user":"audio"`, func(p llm.Parts) bool { return p.InputAudio > 0 }},
}

func startParts(t *testing.T) *world {
	price := sim.Price{Input: "1", Cached: "0.1", Write: "1.25", WriteHour: "2", Output: "5", InputAudio: "32", Audio: "64", Image: "30", Search: "0.01"}
	dialects := map[string]string{"claude": "anthropic", "bed": "bedrock", "gpt": "openai", "gem": "gemini"}
	config := sim.Config{Seed: 1, Providers: map[string]sim.Provider{}}
	var in admin.PricesInput
	for _, c := range partCases {
		provider, model, _ := strings.Cut(c.target, "/")
		if config.Providers[provider].Models == nil {
			config.Providers[provider] = sim.Provider{Dialect: dialects[provider], Models: map[string]sim.Model{}}
		}
		config.Providers[provider].Models[model] = sim.Model{Price: price, Output: "20", Do: c.do}
		in.Data = append(in.Data, admin.PriceInput{
			Target: c.target, Input: "1", CachedInput: "0.1", CacheWrite: "1.25", Output: "5", PartTexts: catalog.PartTexts{
				CacheWriteHour: "2", InputAudio: "32", OutputAudio: "64", OutputImage: "30", PerSearch: "0.01",
			},
		})
	}
	w := start(t, penstocktest.Options{Sim: &config, Config: `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  claude: { dialect: anthropic, base_url: "http://%SIM%/claude", vendor: anthropic }
  bed: { dialect: bedrock, base_url: "http://%SIM%/bed", region: us-east-1, vendor: amazon-bedrock }
  gpt: { dialect: openai, base_url: "http://%SIM%/gpt/v1", vendor: openai }
  gem: { dialect: gemini, base_url: "http://%SIM%/gem", vendor: google }
`})
	if status := w.Admin(http.MethodPut, "/prices", in, nil); status != http.StatusOK {
		t.Fatalf("prices: status %d", status)
	}
	return w
}

func (c *partCase) body(stream bool) string {
	if c.path == "/v1/responses" {
		return fmt.Sprintf(`{"model":%q,"max_output_tokens":50,"stream":%v,"input":"What is new today, and what is not?"%s}`, c.target, stream, c.more)
	}
	return fmt.Sprintf(`{"model":%q,"max_tokens":50,"stream":%v,"messages":[{"role":"user","content":"What is new today, and what is not?"}]%s}`, c.target, stream, c.more)
}

// TestPartsAreBilledAsTheProviderDoes: for how long the cache is written, sound, pictures and searches are read from what each dialect
// says of them, in streams too; booked to the nano-dollar as on the provider's bill; and no more than was reserved.
func TestPartsAreBilledAsTheProviderDoes(t *testing.T) {
	t.Parallel()
	w := startParts(t)
	b := w.budget(dollars(1_000_000_000_000))
	all, used := llm.Money(0), map[string]llm.Usage{}
	for i := range partCases {
		c := &partCases[i]
		for _, stream := range []bool{false, true} {
			a := w.Post(w.key, c.path, c.body(stream))
			if a.Status != http.StatusOK {
				t.Fatalf("%s: %d %s", c.target, a.Status, a.Body)
			}
			r := w.record(a)
			try := r.Tries[len(r.Tries)-1]
			if !c.parts(try.Usage.Parts) || r.Usage.Parts != try.Usage.Parts {
				t.Errorf("%s, stream %v: %+v", c.target, stream, try.Usage)
			}
			if try.CostNano > try.BoundNano || try.FeeNano != llm.Money(try.Usage.Searches)*10_000_000 {
				t.Errorf("%s: %s, of it fees %s, at most %s", c.target, try.CostNano, try.FeeNano, try.BoundNano)
			}
			all += try.CostNano
			used[c.target] = used[c.target].Add(r.Usage)
		}
	}
	if p := w.window(b.ID); *p.OverrunNano != 0 || *p.SettledNano != int64(all) {
		t.Errorf("%+v, and the calls came to %s", p, all)
	}
	var sums admin.Usage
	var month admin.LedgerClose
	now := w.Records()[0].Time
	if a, b := w.Admin(http.MethodGet, "/usage?group_by=target", nil, &sums), w.Admin(http.MethodGet, "/ledger/close?month="+now.Format("2006-01"), nil, &month); a != http.StatusOK || b != http.StatusOK {
		t.Fatalf("usage %d, close %d", a, b)
	}
	for target, want := range used {
		for _, s := range sums.Data {
			if s.Group["target"] == target && s.Usage != want {
				t.Errorf("usage has %+v of %s, and the records %+v", s.Usage, target, want)
			}
		}
		for _, s := range month.Usage {
			if s.Target == target && s.Usage != want {
				t.Errorf("the month has %+v of %s, and the records %+v", s.Usage, target, want)
			}
		}
	}
	if len(sums.Data) != len(used) || len(month.Usage) != len(used) {
		t.Errorf("%d targets in usage, %d in the month, %d were called", len(sums.Data), len(month.Usage), len(used))
	}
	w.CheckBooks()
}

// TestSearchesWithoutBoundAreRefused where a budget of money binds: those that have no cap, and those whose price nobody said.
func TestSearchesWithoutBoundAreRefused(t *testing.T) {
	t.Parallel()
	w := startParts(t)
	w.budget(dollars(1_000_000_000_000))
	for _, c := range []struct{ path, target, more, hint string }{
		{"/v1/messages", "claude/claude-haiku-4-5", `,"tools":[{"type":"web_search_20250305","name":"web_search"}]`, "max_uses"},
		{"/v1/messages", "claude/claude-haiku-4-5", `,"tools":[{"type":"web_search_20250305","name":"web_search","max_uses":3},{"type":"code_execution_20250825","name":"code_execution"}]`, ""},
		{"/v1/responses", "gpt/gpt-5-mini", `,"tools":[{"type":"web_search"}]`, "max_tool_calls"},
		{"/v1/responses", "gpt/gpt-5-nano", `,"tools":[{"type":"web_search"}],"max_tool_calls":4`, "--per-search"},
	} {
		body := (&partCase{path: c.path, target: c.target, more: c.more}).body(false)
		if a := w.Post(w.key, c.path, body); a.Status != http.StatusTooManyRequests || !strings.Contains(string(a.Body), c.hint) {
			t.Errorf("%s: %d %s", body, a.Status, a.Body)
		}
	}
	if n := len(w.Sim.Bill().Calls); n != 0 {
		t.Errorf("%d calls were sent", n)
	}
}

// TestSearchesThatNobodyAskedForAreRefused where a budget of money binds: Perplexity's models search as often as they like.
func TestSearchesThatNobodyAskedForAreRefused(t *testing.T) {
	t.Parallel()
	price := sim.Price{Input: "2", Output: "8", Search: "0.005"}
	w := start(t, penstocktest.Options{
		Sim: &sim.Config{Seed: 1, Providers: map[string]sim.Provider{
			"web": {Models: map[string]sim.Model{"sonar-deep-research": {Price: price, Output: "20", Do: "searches=30"}}},
		}},
		Config: `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  web: { dialect: openai, base_url: "http://%SIM%/web/v1", vendor: perplexity }
`})
	in := admin.PricesInput{Data: []admin.PriceInput{{
		Target: "web/sonar-deep-research", Input: "2", Output: "8", PartTexts: catalog.PartTexts{PerSearch: "0.005"},
	}}}
	if status := w.Admin(http.MethodPut, "/prices", in, nil); status != http.StatusOK {
		t.Fatalf("prices: status %d", status)
	}
	body := (&partCase{path: chatPath, target: "web/sonar-deep-research"}).body(false)
	a := w.Post(w.key, chatPath, body)
	if a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	if try := w.record(a).Tries[0]; try.FeeNano != 150_000_000 {
		t.Errorf("%+v", try)
	}
	w.budget(dollars(1_000_000_000_000))
	if a = w.Post(w.key, chatPath, body); a.Status != http.StatusTooManyRequests || !strings.Contains(string(a.Body), "searches as often") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}
