package main

import (
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/llm"
)

// The rules of package catalog, on entries as the tables have them.
func TestModelsDevPrices(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ cost, want, note string }{
		"all rates":            {`{"input":1,"output":5,"cache_read":0.1,"cache_write":1.25}`, "1 0.1 1.25 5", ""},
		"no cached rates":      {`{"input":1,"output":5}`, "1 1 1 5", ""},
		"cached rate of zero":  {`{"input":1,"output":5,"cache_read":0,"cache_write":0}`, "1 1 1 5", ""},
		"write below input":    {`{"input":1,"output":5,"cache_write":0.3}`, "1 1 1 5", ""},
		"other names":          {`{"input":1,"output":5,"cached_input":0.1,"cached_write":2}`, "1 0.1 2 5", ""},
		"noise of a float":     {`{"input":0.049999999999999996,"output":0.09999999999999999}`, "0.05 0.05 0.05 0.1", ""},
		"dearer with thinking": {`{"input":1,"output":5,"reasoning":7}`, "1 1 1 7", "without it is $5"},
		"cheaper thinking":     {`{"input":1,"output":5,"reasoning":3}`, "1 1 1 5", ""},
		"audio":                {`{"input":1,"output":5,"input_audio":3}`, "1 1 1 5 heard 3", ""},
		"audio as text":        {`{"input":1,"output":5,"input_audio":1,"output_audio":9}`, "1 1 1 5 spoken 9", ""},
		"free":                 {`{"input":0,"output":0}`, "", ""},
		"fee on top":           {`{"input":0.14,"output":0}`, "", ""},
	} {
		var x devModel
		entry := `{"id":"m","limit":{"context":9,"output":9},"cost":` + c.cost + `}`
		if err := json.Unmarshal([]byte(entry), &x); err != nil {
			t.Fatal(err)
		}
		m, err := x.model("openai")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := rates(m.Price); got != c.want || !strings.Contains(m.Note, c.note) || c.note == "" && m.Note != "" {
			t.Errorf("%s: %q with the note %q, want %q with %q", name, got, m.Note, c.want, c.note)
		}
	}
}

// rates are those of input, cached input, cache writes and output, and of sound.
func rates(p *llm.Price) string {
	if p == nil {
		return ""
	}
	all := []string{p.Input.PerMillion(), p.CachedInput.PerMillion(), p.CacheWrite.PerMillion(), p.Output.PerMillion()}
	if p.InputAudio != 0 {
		all = append(all, "heard", p.InputAudio.PerMillion())
	}
	if p.OutputAudio != 0 {
		all = append(all, "spoken", p.OutputAudio.PerMillion())
	}
	return strings.Join(all, " ")
}

func TestModelsDevRefusesWrongRates(t *testing.T) {
	t.Parallel()
	for _, cost := range []string{
		`{"input":-1,"output":5}`, `{"input":1e308,"output":5}`,
		`{"input":1,"output":5,"tiers":[{"tier":{"size":9},"input":2,"output":6},{"tier":{"size":9},"input":3,"output":7}]}`,
	} {
		var x devModel
		if err := json.Unmarshal([]byte(`{"id":"m","cost":`+cost+`}`), &x); err != nil {
			t.Fatal(err)
		}
		if m, err := x.model("openai"); err == nil {
			t.Errorf("%s gives %+v", cost, m.Price)
		}
	}
}

func TestLiteLLMNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, provider, want string
		ok                  bool
	}{
		{"gpt-4o", "openai", "gpt-4o", true},
		{"openai/gpt-4o", "openai", "gpt-4o", true},
		{"azure/gpt-4o", "azure", "gpt-4o", true},
		{"azure/eu/gpt-4o", "azure", "", false},
		{"gemini/gemini-2.5-pro", "gemini", "gemini-2.5-pro", true},
		{"vertex_ai/claude-3-haiku@20240307", "vertex_ai-anthropic_models", "claude-3-haiku@20240307", true},
		{"bedrock/us-west-2/anthropic.claude-v1", "bedrock", "", false},
		{"us.anthropic.claude-3-haiku-20240307-v1:0", "bedrock", "us.anthropic.claude-3-haiku-20240307-v1:0", true},
		{"together-ai-up-to-4b", "together_ai", "", false},
		{"fireworks_ai/thenlper/gte-base", "fireworks_ai-embedding-models", "thenlper/gte-base", true},
	} {
		if got, ok := bareName(c.key, c.provider); ok != c.ok || ok && got != c.want {
			t.Errorf("%s of %s is %q, %t; want %q, %t", c.key, c.provider, got, ok, c.want, c.ok)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	dear, dearer := llm.Price{Input: 1}, llm.Price{Input: 2}
	first := []catalog.Model{{Vendor: "anthropic", Name: "b", Price: &dear}, {Vendor: "openai", Name: "z"}}
	second := []catalog.Model{{Vendor: "anthropic", Name: "a", Price: &dearer}, {Vendor: "anthropic", Name: "b", Price: &dearer}}
	var got []string
	for _, m := range merge(first, second) {
		got = append(got, m.Vendor+"/"+m.Name+" "+rates(m.Price))
	}
	want := []string{"openai/z ", "anthropic/a 0.000002 0 0 0", "anthropic/b 0.000001 0 0 0"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ordered by vendor and name, the first table before the second (-want +got):\n%s", diff)
	}
}
