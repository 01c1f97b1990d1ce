package catalog

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

var importedAt = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func parse(file string) Import { return ParseImport(strings.NewReader(file), "prices.csv", importedAt) }

func TestImportCSV(t *testing.T) {
	t.Parallel()
	got := parse("\ufeffprovider/model,input,output,cached,cache_write\r\n" +
		"# the house\r\n" +
		"house/qwen3-32b, 0.1, 0.3\r\n" +
		"\r\n" +
		"claude/claude-haiku-4-5,1,5,0.1,1.25\r\n" +
		"router/meta/llama-3,0,0,,0\r\n" +
		"\"azure/eu,west\",2.5,10,,\r\n")
	want := []Override{
		{Target: llm.Target{Provider: "house", Model: "qwen3-32b"}, Price: price("0.1", "0.3", "0.1", "0.1")},
		{Target: llm.Target{Provider: "claude", Model: "claude-haiku-4-5"}, Price: price("1", "5", "0.1", "1.25")},
		{Target: llm.Target{Provider: "router", Model: "meta/llama-3"}},
		{Target: llm.Target{Provider: "azure", Model: "eu,west"}, Price: price("2.5", "10", "2.5", "2.5")},
	}
	for i := range want {
		want[i].Set, want[i].Source = importedAt, "prices.csv"
	}
	if diff := cmp.Diff(Import{Prices: want}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func price(in, out, cached, write string) llm.Price {
	var p llm.Price
	for text, to := range map[*llm.Rate]string{&p.Input: in, &p.Output: out, &p.CachedInput: cached, &p.CacheWrite: write} {
		*text, _ = llm.ParseRate(to)
	}
	return p
}

func TestImportCSVNamesAllProblems(t *testing.T) {
	t.Parallel()
	got := parse(`provider/model,input,output
a/negative,-1,2
a/nan,NaN,1
a/huge,1e308,1
a/dear,10001,1
a/pertoken,0.00000015,6e-07
a/ok,1,2
a/ok,1,3
plain,1,2
/m,1,2
a/few,1
a/many,1,2,3,4,5,6,7,8,9,10,11,12
a/empty,,2
a/"quote,1,2
a/dollar,$1,"1,000"
a/fine,0.000001,1
`)
	if got.Prices != nil {
		t.Errorf("%d prices would be imported in spite of problems", len(got.Prices))
	}
	want := []string{
		`line 2, input: "-1" is negative (write US dollars per million tokens, for example 0.15)`,
		`line 3, input: "NaN" is not a decimal number (write US dollars per million tokens, for example 0.15)`,
		`line 4, input: 1e308 is over $10,000 per million tokens (are prices per token and per million tokens mixed up?)`,
		`line 5, input: 10001 is over $10,000 per million tokens (are prices per token and per million tokens mixed up?)`,
		`line 6, input: 0.00000015 cannot be kept: it has more than six decimals, or an exponent (are prices per token and ` +
			`per million tokens mixed up? write US dollars per million tokens, for example 0.15)`,
		`line 6, output: 6e-07 cannot be kept: it has more than six decimals, or an exponent (are prices per token and ` +
			`per million tokens mixed up? write US dollars per million tokens, for example 0.15)`,
		`line 8: a/ok has a price already, at line 7 (keep one of them)`,
		`line 9: "plain" is not a provider and a model (write it as openai/gpt-5-mini)`,
		`line 10: "/m" is not a provider and a model (write it as openai/gpt-5-mini)`,
		`line 11: has 2 columns (write provider/model,input,output,cached_input,cache_write,per_call,cache_write_1h,input_audio,cached_audio,output_audio,output_image,per_search; those after output may be left out)`,
		`line 12: has 13 columns (write provider/model,input,output,cached_input,cache_write,per_call,cache_write_1h,input_audio,cached_audio,output_audio,output_image,per_search; those after output may be left out)`,
		`line 13, input: is empty (write 0 if it costs nothing)`,
		`line 14: bare " in non-quoted-field at column 3 (write provider/model,input,output,cached_input,cache_write,per_call,cache_write_1h,input_audio,cached_audio,output_audio,output_image,per_search)`,
		`line 15, input: "$1" is not a decimal number (write US dollars per million tokens, for example 0.15)`,
		`line 15, output: "1,000" is not a decimal number (write US dollars per million tokens, for example 0.15)`,
	}
	if diff := cmp.Diff(want, texts(got.Problems)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = []string{`line 16: a/fine costs less than any known model (input $0.000001, output $1 per million tokens) (` + mixedUp + `)`}
	if diff := cmp.Diff(want, texts(got.Warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func texts(problems []fault.Problem) []string {
	list := make([]string, len(problems))
	for i, p := range problems {
		list[i] = p.Error()
	}
	return list
}

func TestImportLiteLLM(t *testing.T) {
	t.Parallel()
	got := parse(`{
  "sample_spec": {"input_cost_per_token": 0, "litellm_provider": "one of the list", "mode": "chat"},
  "gpt-4o": {"input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06,
             "litellm_provider": "openai", "unknown": [1, {"a": null}]},
  "azure/eu/gpt-4o": {"input_cost_per_token": 2.75e-06, "output_cost_per_token": 0.000011, "litellm_provider": "azure"},
  "house/qwen": {"input_cost_per_token": 1.0003e-07, "output_cost_per_token": 2e-7},
  "embed": {"input_cost_per_token": 2e-8, "litellm_provider": "openai"},
  "dall-e-3": {"output_cost_per_image": 0.04, "litellm_provider": "openai"},
  "free": {"input_cost_per_token": 0, "output_cost_per_token": 0.0, "litellm_provider": "openai"},
  "gemini/pro": {"input_cost_per_token": 1e-6, "input_cost_per_token_above_200k_tokens": 2e-6, "output_cost_per_token": 1e-6,
             "litellm_provider": "gemini"}
}`)
	if len(got.Problems) > 0 {
		t.Fatalf("problems: %v", texts(got.Problems))
	}
	prices := map[string]llm.Price{}
	for _, o := range got.Prices {
		prices[o.Target.String()] = o.Price
	}
	want := map[string]llm.Price{
		"openai/gpt-4o":   price("2.5", "10", "1.25", "2.5"),
		"azure/eu/gpt-4o": price("2.75", "11", "2.75", "2.75"),
		"house/qwen":      price("0.10003", "0.2", "0.10003", "0.10003"),
		"openai/embed":    price("0.02", "0", "0.02", "0.02"),
		"gemini/pro":      price("1", "1", "1", "1"),
	}
	if diff := cmp.Diff(want, prices); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"dall-e-3", "free"}, got.Skipped); diff != "" {
		t.Errorf("skipped (-want +got):\n%s", diff)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0].Text, "costs more for long prompts") {
		t.Errorf("warnings: %v", texts(got.Warnings))
	}
}

func TestImportLiteLLMNamesAllProblems(t *testing.T) {
	t.Parallel()
	got := parse(`{
  "a": {"input_cost_per_token": -1e-6, "output_cost_per_token": 1e308, "litellm_provider": "p"},
  "b": {"input_cost_per_token": 2.5, "output_cost_per_token": "NaN", "litellm_provider": "p"},
  "c": {"input_cost_per_token": 1e-6},
  "d": 7,
  "e": {"input_cost_per_token": 1e-6, "input_cost_per_token": 2e-6, "litellm_provider": "p"},
  "f": {"input_cost_per_token": 1e-6, "litellm_provider": "p"},
  "p/f": {"input_cost_per_token": 1e-6, "litellm_provider": "p"}
}`)
	want := []string{
		`line 2, a, input_cost_per_token: -1e-6 is negative (write US dollars per token, for example 1.5e-07)`,
		`line 2, a, output_cost_per_token: 1e308 is over $10,000 per million tokens (` + mixedUp + `)`,
		`line 3, b, input_cost_per_token: 2.5 is over $10,000 per million tokens (` + mixedUp + `)`,
		`line 3, b, output_cost_per_token: "NaN" is not a decimal number (write US dollars per token, for example 1.5e-07)`,
		`line 4, c: names no provider (write "provider/model" as its key, or give it a litellm_provider)`,
		`line 8, p/f: p/f has a price already, at line 7, f (keep one of them)`,
	}
	all := texts(got.Problems)
	for _, w := range want {
		found := false
		for _, p := range all {
			found = found || p == w
		}
		if !found {
			t.Errorf("missing: %s", w)
		}
	}
	if len(all) != len(want)+2 || got.Prices != nil {
		t.Errorf("%d problems, want %d, and no prices:\n%s", len(all), len(want)+2, strings.Join(all, "\n"))
	}
}

func TestImportRefusesTheWholeFile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, want string }{
		"empty":           {"", "there is no price in it"},
		"only a header":   {"provider/model,input,output\n", "there is no price in it"},
		"other order":     {"provider/model,output,input\na/b,1,2\n", `line 1: column 2 is "output" (write provider/model,input,`},
		"other columns":   {"name,USD\na/b,1,2\n", `line 1: column 1 is "name"`},
		"no models":       {" {}", "there is no price in it"},
		"cut JSON":        {"{\n\"a\": {", "line 2: is not JSON"},
		"two tables":      {`{} {}`, "something follows the table"},
		"a list":          {`[]`, "line 1: has 1 columns"},
		"a list of names": {`["a", "b"]`, "line 1"},
		"not UTF-8":       {"{\"a\xff\":{}}", "is not JSON"},
		"a picture":       {"\x89PNG\r\n\x1a\n", "line 1: has 1 columns"},
	} {
		got := parse(c.file)
		if len(got.Problems) == 0 || !strings.Contains(strings.Join(texts(got.Problems), "\n"), c.want) || got.Prices != nil {
			t.Errorf("%s: problems %v, prices %v; want %q", name, texts(got.Problems), got.Prices, c.want)
		}
	}
}

func TestImportBoundsItsProblems(t *testing.T) {
	t.Parallel()
	got := parse(strings.Repeat("a/b,x,y\n", 5*maxProblems))
	if n := len(got.Problems); n != maxProblems+1 || !strings.Contains(got.Problems[n-1].Text, "more problems") {
		t.Errorf("%d problems, the last is %v", n, got.Problems[n-1])
	}
}

func TestSuspicious(t *testing.T) {
	t.Parallel()
	target := llm.Target{Provider: "p", Model: "m"}
	for _, c := range []struct {
		old, new llm.Price
		want     int
	}{
		{price("1", "2", "1", "1"), price("100", "200", "1", "1"), 0},
		{price("1", "2", "1", "1"), price("101", "0.01", "1", "1"), 2},
		{price("1", "2", "1", "1"), price("0.000001", "2", "1", "1"), 1},
		{price("0", "0", "0", "0"), price("1", "1", "1", "1"), 0}, // from free to anything
		{price("1", "1", "1", "1"), price("0", "0", "0", "0"), 0}, // explicitly free
	} {
		got := Suspicious([]Override{{Target: target, Price: c.new}}, func(llm.Target) (llm.Price, bool) { return c.old, true })
		if len(got) != c.want {
			t.Errorf("from %+v to %+v: %v, want %d warnings", c.old, c.new, texts(got), c.want)
		}
	}
	if got := Suspicious([]Override{{Target: target}}, func(llm.Target) (llm.Price, bool) { return llm.Price{}, false }); got != nil {
		t.Errorf("a first price is suspicious: %v", texts(got))
	}
}

func TestCheckPrice(t *testing.T) {
	t.Parallel()
	got := texts(CheckPrice(llm.Price{Input: -1, Output: MaxRate + 1, CachedInput: MaxRate}))
	want := []string{"input: -1 is negative", "output: $10000.000001 is over $10,000 per million tokens (" + mixedUp + ")"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzImport(f *testing.F) {
	f.Add("a/b,1,2\nc/d,0.1,0.2,,3\n")
	f.Add("provider/model,input,output\n\"x")
	f.Add(`{"a":{"input_cost_per_token":1e-6,"litellm_provider":"p"},"a":{}}`)
	f.Add(`{"a":{"input_cost_per_token":`)
	f.Add("{\"a/b\":{\"output_cost_per_token\":1e999999999}}")
	f.Fuzz(func(t *testing.T, file string) {
		got := parse(file)
		if (len(got.Prices) > 0) == (len(got.Problems) > 0) {
			t.Fatalf("%d prices and %d problems", len(got.Prices), len(got.Problems))
		}
		seen := map[llm.Target]bool{}
		for _, o := range got.Prices {
			if len(CheckPrice(o.Price)) > 0 || seen[o.Target] || o.Target.Provider == "" || o.Target.Model == "" {
				t.Fatalf("imported %+v", o)
			}
			seen[o.Target] = true
		}
	})
}

func BenchmarkImportCSV(b *testing.B) {
	var file strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&file, "provider/model-%d,0.15,0.60,0.075,0.15\n", i)
	}
	b.SetBytes(int64(file.Len()))
	for b.Loop() {
		if got := parse(file.String()); len(got.Prices) != 1000 {
			b.Fatal(got.Problems)
		}
	}
}

// TestImportOfFees: a sixth column is what each call costs, in dollars.
func TestImportOfFees(t *testing.T) {
	t.Parallel()
	got := parse("provider/model,input,output,cached_input,cache_write,per_call\nperplexity/sonar,1,1,,,0.005\na/b,1,1\n")
	if len(got.Problems) > 0 || len(got.Prices) != 2 || got.Prices[0].Price.Call != 5_000_000 || got.Prices[1].Price.Call != 0 {
		t.Errorf("%v, %+v", texts(got.Problems), got.Prices)
	}
	got = parse("perplexity/sonar,1,1,,,1001\na/b,1,1,,,x\n")
	if len(got.Problems) != 2 || !strings.Contains(got.Problems[0].Error(), "per_call: $1001 for each call is over a thousand") {
		t.Errorf("%v", texts(got.Problems))
	}
	lite := parse(`{"perplexity/sonar":{"input_cost_per_token":1e-06,"output_cost_per_token":1e-06,"input_cost_per_request":0.005}}`)
	if len(lite.Prices) != 1 || len(lite.Warnings) != 1 || !strings.Contains(lite.Warnings[0].Error(), "--per-call") {
		t.Errorf("%v", texts(lite.Warnings))
	}
}

// TestImportOfParts: a CSV file may have them in columns behind the fee of a call, LiteLLM's table has them under its own names.
func TestImportOfParts(t *testing.T) {
	t.Parallel()
	got := parse("provider/model,input,output,cached_input,cache_write,per_call,cache_write_1h,input_audio,cached_audio,output_audio,output_image,per_search\n" +
		"anthropic/claude-haiku-4-5,1,5,0.1,1.25,,2,,,,,0.01\nopenai/gpt-audio,2.5,10,,,,,32,0,64\n")
	if len(got.Problems) > 0 || len(got.Prices) != 2 {
		t.Fatalf("%v, %+v", texts(got.Problems), got.Prices)
	}
	if p := got.Prices[0].Price; p.CacheWriteHour != 2_000_000 || p.Search != 10_000_000 || p.InputAudio != 0 {
		t.Errorf("%+v", p)
	}
	if p := got.Prices[1].Price; p.InputAudio != 32_000_000 || p.CachedAudio != llm.Nothing || p.OutputAudio != 64_000_000 || p.Search != 0 {
		t.Errorf("%+v", p)
	}
	if got = parse("a/b,1,1,,,,10001,,,,x,1001\n"); len(got.Problems) != 3 || len(got.Prices) > 0 {
		t.Errorf("%v", texts(got.Problems))
	}
	lite := parse(`{"anthropic/c":{"input_cost_per_token":1e-06,"output_cost_per_token":5e-06,"cache_creation_input_token_cost":1.25e-06,"cache_creation_input_token_cost_above_1hr":2e-06,
		"search_context_cost_per_query":{"search_context_size_low":0.01,"search_context_size_medium":0.01,"search_context_size_high":0.01}},
		"openai/a":{"input_cost_per_token":1e-06,"output_cost_per_token":5e-06,"input_cost_per_audio_token":4e-06,"output_cost_per_audio_token":8e-06,
		"search_context_cost_per_query":{"search_context_size_low":0.01,"search_context_size_medium":0.02}}}`)
	if len(lite.Prices) != 2 || len(lite.Warnings) != 1 || !strings.Contains(lite.Warnings[0].Error(), "--per-search") {
		t.Fatalf("%v, %+v", texts(lite.Warnings), lite.Prices)
	}
	if p, q := lite.Prices[0].Price, lite.Prices[1].Price; p.CacheWriteHour != 2_000_000 || p.Search != 10_000_000 || q.InputAudio != 4_000_000 || q.OutputAudio != 8_000_000 || q.Search != 0 {
		t.Errorf("%+v, %+v", p, q)
	}
}
