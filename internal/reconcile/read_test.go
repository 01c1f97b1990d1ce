package reconcile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/reconcile"
)

// shown is an export as lines.
func shown(e *reconcile.Export) string {
	var b strings.Builder
	for _, d := range e.Days {
		fmt.Fprintf(&b, "%s whole=%t\n", d.Date, d.Whole)
	}
	for _, r := range e.Rows {
		fmt.Fprintf(&b, "%s %s/%s", r.Date, r.Provider, r.Model)
		if r.Tokens {
			fmt.Fprintf(&b, " in=%d cached=%d write=%d out=%d n=%d", r.Usage.Input, r.Usage.CachedInput, r.Usage.CacheWrite, r.Usage.Output, r.Requests)
		}
		if r.Billed {
			fmt.Fprintf(&b, " $%s", r.Cost)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		format reconcile.Format
		want   string
	}{
		"openai-usage.json": {reconcile.OpenAI, `2026-11-27 whole=true
2026-11-28 whole=true
2026-11-27 /gpt-5-mini-2025-08-07 in=124784 cached=5760 write=0 out=154852 n=13
2026-11-27 /text-embedding-3-small in=900 cached=0 write=0 out=0 n=3
`},
		"openai-costs.json": {reconcile.OpenAI, `2026-11-27 whole=true
2026-11-27 /gpt-5-mini-2025-08-07 $0.340925001
2026-11-27 /gpt-image-1 $0.5
2026-11-27 /web search tool calls $0.02
`},
		"openai-costs.csv": {reconcile.OpenAI, `2026-11-26 whole=true
2026-11-27 whole=true
2026-11-27 /gpt-5-nano $0.50383598
`},
		"openai-usage.tsv": {reconcile.OpenAI, `2026-11-27 whole=true
2026-11-28 whole=true
2026-11-27 /gpt-4o-2024-08-06 in=59200 cached=5760 write=0 out=10646 n=10
`},
		"anthropic-usage.json": {reconcile.Anthropic, `2026-11-27 whole=true
2026-11-28 whole=false
2026-11-27 /claude-sonnet-4-20250514 in=3200 cached=200 write=1500 out=500 n=0
2026-11-28 /claude-sonnet-4-20250514 in=10 cached=0 write=0 out=1 n=0
`},
		"anthropic-costs.json": {reconcile.Anthropic, `2026-11-27 whole=true
2026-11-27 /claude-sonnet-4-20250514 $1.234500005
2026-11-27 /web_search $0.1
`},
		"anthropic-costs.csv": {reconcile.Anthropic, `2026-11-25 whole=true
2026-11-26 whole=true
2026-11-27 whole=true
2026-11-25 /Claude Haiku 4.5 $0.07
2026-11-27 /Claude Opus 5 $1.67
`},
		"anthropic-usage.csv": {reconcile.Anthropic, `2026-11-27 whole=true
2026-11-27 /claude-haiku-4-5-20251001 in=110 cached=7 write=3 out=20 n=0
`},
		"plain.csv": {reconcile.Plain, `2026-11-27 whole=true
2026-11-28 whole=true
2026-11-27 house/llama in=1000 cached=0 write=0 out=50 n=0
2026-11-28 openai/gpt-5 in=10 cached=4 write=0 out=2 n=0 $0.25
2026-11-28 other/ $-0.000000001
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, err := os.ReadFile(filepath.Join("testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			e, err := reconcile.Read(file, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := shown(e); got != c.want || e.Format != c.format || len(e.Hash) != 64 {
				t.Errorf("%s %s:\n%s\nwant %s:\n%s", e.Format, e.Hash, got, c.format, c.want)
			}
			if _, err := reconcile.Read(append([]byte("\ufeff"), file...), c.format); err != nil {
				t.Errorf("with a mark of the byte order: %v", err)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	const bucket = `{"start_time":1795737600,"end_time":1795824000,"results":[%s]}`
	page := func(result string) string { return fmt.Sprintf(`{"data":[`+bucket+`]}`, result) }
	for name, c := range map[string]struct{ file, want string }{
		"nothing":             {" \n", "empty"},
		"no report":           {`{"error":{"message":"no"}}`, "no page of a report"},
		"broken JSON":         {`{"data":[`, "broken"},
		"no bucket":           {`{"data":[{"results":[]}]}`, "neither start_time nor starting_at"},
		"a month at once":     {`{"data":[{"start_time":1795737600,"end_time":1798329600,"results":[]}]}`, "more than one day"},
		"the same page twice": {page(`{"object":"organization.usage.completions.result","input_tokens":1,"output_tokens":1,"num_model_requests":1}`) + page(`{"object":"organization.usage.completions.result","input_tokens":1,"output_tokens":1,"num_model_requests":1}`), "is there twice"},
		"images":              {page(`{"object":"organization.usage.images.result","images":3,"num_model_requests":1}`), "not counted in tokens"},
		"euros":               {page(`{"object":"organization.costs.result","amount":{"value":1,"currency":"eur"}}`), "only US dollars"},
		"no number":           {page(`{"object":"organization.costs.result","amount":{"value":"1,5","currency":"usd"}}`), "no number of dollars"},
		"a huge exponent":     {page(`{"object":"organization.costs.result","amount":{"value":1e999999999,"currency":"usd"}}`), "no number of dollars"},
		"tokens below zero":   {page(`{"object":"organization.usage.completions.result","input_tokens":-1,"output_tokens":1,"num_model_requests":1}`), "below 0"},
		"both providers":      {page(``) + `{"data":[{"starting_at":"2026-11-27T00:00:00Z","results":[]}]}`, "one after the other"},
		"another CSV":         {"a,b\n1,2\n", "no export that is known"},
		"an unknown column":   {"day,provider,model,cost_usd,price\n2026-11-27,a,b,1,2\n", `no column "price"`},
		"nothing to compare":  {"day,provider,model\n2026-11-27,a,b\n", "nothing to compare"},
		"no day":              {"day,provider,model,cost_usd\n27.11.2026,a,b,1\n", `day is "27.11.2026"`},
		"no provider":         {"day,provider,model,cost_usd\n2026-11-27,,b,1\n", "provider is empty"},
		"no amount":           {"day,provider,model,cost_usd\n2026-11-27,a,b,1$\n", "line 2: cost_usd"},
		"half known":          {"day,provider,model,cost_usd\n2026-11-27,a,b,1\n2026-11-27,a,b,\n", "line 3: it says of b"},
		"too many cells":      {"day,provider,model,cost_usd\n2026-11-27,a,b,1,2\n", "line 2 has 5 cells"},
		"a column twice":      {"day,provider,model,cost_usd,day\n", "there twice"},
		"too long a time":     {"day,provider,model,cost_usd\n2020-11-27,a,b,1\n2026-11-27,a,b,1\n", "more than 400 days"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := reconcile.Read([]byte(c.file), "")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := reconcile.Read([]byte("day,provider,model,cost_usd\n2026-11-27,a,b,1\n"), reconcile.OpenAI); err == nil {
		t.Error("a file of another format than was said was read")
	}
}

// FuzzReadJSON and FuzzReadCSV look for files that crash the parsers, or from which comes what cannot be.
func FuzzReadJSON(f *testing.F) { fuzz(f, ".json") }
func FuzzReadCSV(f *testing.F)  { fuzz(f, "sv") }

func fuzz(f *testing.F, suffix string) {
	f.Helper()
	files, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if text, err := os.ReadFile(filepath.Join("testdata", file.Name())); err == nil && strings.HasSuffix(file.Name(), suffix) {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		e, err := reconcile.Read(file, "")
		if err != nil {
			return
		}
		days := map[string]bool{}
		for _, d := range e.Days {
			days[d.Date] = true
		}
		for _, r := range e.Rows {
			if !days[r.Date] {
				t.Errorf("a row of %s, which is no day of the file", r.Date)
			}
			if (r.Usage != llm.Usage{} && !r.Tokens) || r.Cost != 0 && !r.Billed || min(r.Usage.Input, r.Usage.Output) < 0 {
				t.Errorf("%+v", r)
			}
		}
	})
}
