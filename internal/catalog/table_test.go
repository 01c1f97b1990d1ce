package catalog

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/llm"
)

// Each line was compared by hand with the table it comes from. Rates are US dollars per million tokens.
func TestPricesOfWellKnownModels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ vendor, model, in, cached, write, out string }{
		{"openai", "gpt-5", "1.25", "0.125", "1.25", "10"},
		{"openai", "gpt-5-mini", "0.25", "0.025", "0.25", "2"},
		{"openai", "gpt-5-nano", "0.05", "0.005", "0.05", "0.4"},
		{"openai", "gpt-5.1", "1.25", "0.125", "1.25", "10"},
		{"openai", "gpt-5.2", "1.75", "0.175", "1.75", "14"},
		{"openai", "gpt-5.5", "5", "0.5", "5", "30"},
		{"openai", "gpt-4.1", "2", "0.5", "2", "8"},
		{"openai", "gpt-4.1-2025-04-14", "2", "0.5", "2", "8"},
		{"openai", "gpt-4o", "2.5", "1.25", "2.5", "10"},
		{"openai", "gpt-4o-2024-05-13", "5", "5", "5", "15"},
		{"openai", "gpt-4o-mini", "0.15", "0.075", "0.15", "0.6"},
		{"openai", "gpt-4-0613", "30", "30", "30", "60"},
		{"openai", "gpt-3.5-turbo", "0.5", "0.5", "0.5", "1.5"}, // the source's cached rate of 0 is no price
		{"openai", "o3", "2", "0.5", "2", "8"},
		{"openai", "o4-mini", "1.1", "0.275", "1.1", "4.4"},
		{"openai", "text-embedding-3-small", "0.02", "0.02", "0.02", "0"},
		{"openai", "text-embedding-3-large", "0.13", "0.13", "0.13", "0"},
		{"openai", "ft:gpt-4o-mini-2024-07-18", "0.3", "0.15", "0.3", "1.2"},
		{"anthropic", "claude-opus-4-8", "5", "0.5", "6.25", "25"},
		{"anthropic", "claude-sonnet-4-5-20250929", "3", "0.3", "3.75", "15"},
		{"anthropic", "claude-haiku-4-5", "1", "0.1", "1.25", "5"},
		{"anthropic", "claude-3-haiku-20240307", "0.25", "0.03", "0.3", "1.25"},
		{"anthropic", "claude-3-sonnet-20240229", "3", "0.3", "3", "15"}, // the source's write rate is below the input's
		{"anthropic", "claude-3-5-haiku-20241022", "0.8", "0.08", "1", "4"},
		{"google", "gemini-2.5-pro", "1.25", "0.125", "1.25", "10"},
		{"google", "gemini-2.5-flash", "0.3", "0.03", "0.3", "2.5"},
		{"google", "gemini-embedding-001", "0.15", "0.15", "0.15", "0"},
		{"mistral", "mistral-large-latest", "0.5", "0.5", "0.5", "1.5"},
		{"mistral", "mistral-embed", "0.1", "0.1", "0.1", "0"},
		{"deepseek", "deepseek-chat", "0.14", "0.0028", "0.14", "0.28"},
		{"groq", "llama-3.3-70b-versatile", "0.59", "0.59", "0.59", "0.79"},
		{"xai", "grok-4.3", "1.25", "0.2", "1.25", "2.5"},
		{"cohere", "embed-v4.0", "0.12", "0.12", "0.12", "0"},
		{"voyage", "voyage-3-large", "0.18", "0.18", "0.18", "0"},
		{"perplexity", "sonar-pro", "3", "3", "3", "15"},
		{"azure", "gpt-4.1-mini", "0.4", "0.1", "0.4", "1.6"},
		{"amazon-bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", "1.1", "0.11", "1.375", "5.5"},
		{"amazon-bedrock", "google.gemma-3-12b-it", "0.05", "0.05", "0.05", "0.1"}, // a float's noise in the source
		{"alibaba", "qwen-plus", "0.4", "0.4", "0.4", "4"},                         // the rate of answers with reasoning
		{"zai", "glm-4.6", "0.6", "0.11", "0.6", "2.2"},
	} {
		m, ok := Default().Find(c.vendor, c.model)
		if !ok || m.Price == nil {
			t.Errorf("%s/%s has no price", c.vendor, c.model)
			continue
		}
		got := []string{
			m.Price.Input.PerMillion(), m.Price.CachedInput.PerMillion(), m.Price.CacheWrite.PerMillion(), m.Price.Output.PerMillion(),
		}
		if diff := cmp.Diff([]string{c.in, c.cached, c.write, c.out}, got); diff != "" {
			t.Errorf("%s/%s: rates for input, cached, cache write, output (-want +got):\n%s", c.vendor, c.model, diff)
		}
	}
}

func TestLimitsAndAbilities(t *testing.T) {
	t.Parallel()
	m, _ := Default().Find("openai", "gpt-4o")
	want := Model{
		Vendor: "openai", Name: "gpt-4o", Context: 128_000, MaxOutput: 16_384, Released: "2024-05-13",
		Abilities: []string{Tools, JSONSchema, Vision, PDF}, Source: "models.dev 2026-07-02",
	}
	m.Price = nil
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("gpt-4o (-want +got):\n%s", diff)
	}
	m, _ = Default().Find("openai", "text-embedding-3-large")
	if !m.Can(Embeddings) || m.Can(Tools) || m.MaxOutput != 0 || m.Context != 8191 {
		t.Errorf("text-embedding-3-large is %+v, want a model for embeddings of 8,191 tokens", m)
	}
}

func TestLongPromptsCostMore(t *testing.T) {
	t.Parallel()
	m, _ := Default().Find("google", "gemini-2.5-pro")
	p := *m.Price
	for _, c := range []struct {
		usage llm.Usage
		want  string
	}{
		{llm.Usage{Input: 200_000, Output: 1000}, "0.26"},                        // 0.25 + 0.01
		{llm.Usage{Input: 200_001, Output: 1000}, "0.5150025"},                   // 0.5000025 + 0.015
		{llm.Usage{Input: 400_000, CachedInput: 300_000, Output: 1000}, "0.34"},  // 0.25 + 0.075 + 0.015
		{llm.Usage{Input: 400_000, CacheWrite: 300_000, Output: 1000}, "1.015"},  // no cheaper than input
		{llm.Usage{Input: 100_000, CachedInput: 100_000, Output: 0}, "0.0125"},   // the base price's cached rate
		{llm.Usage{Input: 0, Output: 1_000_000}, "10"},                           // long answers change nothing
		{llm.Usage{Input: 1_000_000, Output: 1_000_000, Reasoning: 1}, "17.500"}, // 2.5 + 15
	} {
		want, err := llm.ParseMoney(c.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Cost(c.usage); got != want {
			t.Errorf("%+v costs $%s, want $%s", c.usage, got, c.want)
		}
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		vendor, model string
		found, priced bool
	}{
		{"openai", "gpt-4o-2024-08-06", true, true},
		{"openai", "gpt-5.4-2026-03-05", true, false}, // a snapshot that the sources do not list
		{"openai", "gpt-5.4-20260305", true, false},
		{"openai", "gpt-5.4-0305", true, false},
		{"google-vertex", "gemini-2.5-pro@20260101", true, false},
		{"openai", "gpt-5.4-latest", true, false},
		{"openai", "ft:gpt-4o-mini-2024-07-18:acme::9Xyz", true, true},
		{"openai", "ft:gpt-4o-mini-2024-07-18:acme:suffix:9Xyz", true, true},
		{"openai", "ft:gpt-9:acme::9Xyz", false, false},
		{"openai", "ft:", false, false},
		{"openai", "gpt-5.4-mini-fast", false, false},
		{"openai", "-latest", false, false},
		{"openai", "", false, false},
		{"openai", "claude-haiku-4-5", false, false},
		{"", "gpt-5", false, false},
		{"house", "gpt-5", false, false},
		{"nvidia", "openai/gpt-oss-120b", true, false}, // free to try is no price
	} {
		m, found := Default().Find(c.vendor, c.model)
		if found != c.found || (m.Price != nil) != c.priced {
			t.Errorf("%s/%s: found %t with price %v, want found %t and priced %t", c.vendor, c.model, found, m.Price, c.found, c.priced)
		}
		if found && m.Name != c.model && !strings.HasPrefix(c.model, "ft:") {
			t.Errorf("%s/%s is called %q", c.vendor, c.model, m.Name)
		}
	}
}

func TestVendors(t *testing.T) {
	t.Parallel()
	got := Default().Vendors("gpt-5-mini")
	if len(got) < 2 || got[0] != "azure" || got[len(got)-1] != "openai" {
		t.Errorf("gpt-5-mini is had by %v, want azure and openai among them, sorted", got)
	}
	if got := Default().Vendors("deepseek-reasoner-x"); got != nil {
		t.Errorf("a model that does not exist is had by %v", got)
	}
	for host, want := range map[string]string{
		"api.openai.com":                           "openai",
		"eu.api.openai.com":                        "openai",
		"API.Groq.com":                             "groq",
		"acme.openai.azure.com":                    "azure",
		"bedrock-runtime.us-east-1.amazonaws.com":  "amazon-bedrock",
		"europe-west1-aiplatform.googleapis.com":   "google-vertex",
		"generativelanguage.googleapis.com":        "google",
		"bedrock-runtime..amazonaws.com.evil.test": "",
		"openai.azure.com":                         "",
		".openai.azure.com":                        "",
		"10.0.0.7":                                 "",
		"":                                         "",
	} {
		if got, ok := Default().VendorAt(host); got != want || ok != (want != "") {
			t.Errorf("the vendor at %q is %q, want %q", host, got, want)
		}
	}
}

// What holds for every row, so that a new copy of the sources cannot break it unseen.
func TestEveryRow(t *testing.T) {
	t.Parallel()
	date := regexp.MustCompile(`^(\d{4}-\d\d(-\d\d)?)?$`)
	table := Default()
	if table.Len() < 1500 {
		t.Fatalf("the table has only %d models", table.Len())
	}
	for _, vendor := range table.VendorNames() {
		models := table.Models(vendor)
		if len(models) == 0 {
			t.Errorf("%s has no models", vendor)
		}
		for _, m := range models {
			id := m.Vendor + "/" + m.Name
			if m.Context < 0 || m.MaxOutput < 0 || m.Context == 0 && m.MaxOutput == 0 {
				t.Errorf("%s: limits %d, %d", id, m.Context, m.MaxOutput)
			}
			if !date.MatchString(m.Released) {
				t.Errorf("%s: released %q", id, m.Released)
			}
			if m.Price == nil {
				continue
			}
			if len(CheckPrice(*m.Price)) > 0 || m.Price.Input <= 0 || m.Price.Output == 0 && !m.Can(Embeddings) {
				t.Errorf("%s: %+v", id, *m.Price)
			}
			for p := m.Price; p != nil; p = p.Long {
				if p.CachedInput <= 0 || p.CacheWrite < p.Input {
					t.Errorf("%s: cached or cache-written tokens are too cheap: %+v", id, *p)
				}
				if p.Long != nil && (p.Long.Input < p.Input || p.Long.Output < p.Output || p.LongOver < 1000) {
					t.Errorf("%s: long prompts are cheaper: %+v", id, *p.Long)
				}
			}
		}
	}
}

func TestDataFile(t *testing.T) {
	t.Parallel()
	const limit = 300_000
	if len(embedded) > limit {
		t.Errorf("the data have %d bytes, want at most %d", len(embedded), limit)
	}
	var again bytes.Buffer
	if err := WriteTable(&again, Default()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again.Bytes(), embedded) {
		t.Error("the data are not what WriteTable makes of them: make them with go generate, not by hand")
	}
	notice, err := os.ReadFile("data/NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Default().Sources() {
		_, revision, _ := strings.Cut(s.Revision, " ")
		for _, want := range []string{s.Name, s.Date, revision} {
			if !strings.Contains(string(notice), want) {
				t.Errorf("data/NOTICE does not name %q", want)
			}
		}
	}
}

func TestReadTableRefuses(t *testing.T) {
	t.Parallel()
	const head = `{"sources":[{"name":"x","date":"2026-01-01","licence":"MIT","revision":"r"}],"vendors":[{"name":"v"}]}` + "\n"
	for name, c := range map[string]struct{ file, want string }{
		"no head":         {``, "read the head"},
		"unknown member":  {head + `{"v":"v","m":"a","price":1}`, "line 2"},
		"twice":           {head + `{"v":"v","m":"a"}` + "\n" + `{"v":"v","m":"a"}`, "v/a is there twice"},
		"unknown vendor":  {head + `{"v":"w","m":"a"}`, "w/a: the vendor is not in the table's head"},
		"unknown source":  {head + `{"v":"v","m":"a","source":1}`, "line 2, v/a: there is no source 1"},
		"bad rate":        {head + `{"v":"v","m":"a","in":"1e3"}`, `"1e3" is not an amount`},
		"unordered steps": {head + `{"v":"v","m":"a","in":"1","long":[{"over":9,"in":"2"},{"over":9,"in":"3"}]}`, "out of order"},
		"cut":             {head + `{"v":"v",`, "line 2"},
	} {
		_, err := ReadTable(strings.NewReader(c.file))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want one with %q", name, err, c.want)
		}
	}
}

func BenchmarkReadTable(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadTable(bytes.NewReader(embedded)); err != nil {
			b.Fatal(err)
		}
	}
}
