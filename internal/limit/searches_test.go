package limit

import (
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestBoundedSearches: only searches that the request caps have a bound, and only where nothing else of the provider's runs.
func TestBoundedSearches(t *testing.T) {
	t.Parallel()
	const capped = `{"type":"web_search_20250305","name":"web_search","max_uses":5}`
	for _, c := range []struct {
		dialect llm.Dialect
		tools   string
		calls   string // max_tool_calls
		want    rounds
	}{
		{llm.Anthropic, `[` + capped + `]`, "", rounds{5, 11, 11}},
		{llm.Anthropic, `[` + capped + `,{"name":"f","input_schema":{}},{"type":"bash_20250124","name":"bash"}]`, "", rounds{5, 11, 11}},
		{llm.Anthropic, `[{"type":"web_search_20250305","name":"web_search","max_uses":20}]`, "", rounds{20, 21, 21}},
		{llm.Anthropic, `[{"type":"web_search_20250305","name":"web_search"}]`, "3", rounds{}},
		{llm.Anthropic, `[{"type":"web_search_20250305","name":"web_search","max_uses":0}]`, "", rounds{}},
		{llm.Anthropic, `[{"type":"web_search_20250305","name":"web_search","max_uses":1e3}]`, "", rounds{}},
		{llm.Anthropic, `[{"type":"web_search_20250305","name":"web_search","max_uses":1001}]`, "", rounds{}},
		{llm.Anthropic, `[{"type":"web_search_20250305","max_uses":1,"m\u0061x_uses":9}]`, "", rounds{}},
		{llm.Anthropic, `[` + capped + `,{"type":"web_fetch_20250910","name":"web_fetch","max_uses":1}]`, "", rounds{}},
		{llm.Anthropic, `[` + capped + `,{"google_search":{}}]`, "", rounds{}},
		{llm.Responses, `[{"type":"web_search"}]`, "4", rounds{4, 6, 1}},
		{llm.Responses, `[{"type":"web_search_preview"},{"type":"function","name":"f"}]`, "1", rounds{1, 3, 1}},
		{llm.Responses, `[{"type":"web_search","max_uses":3}]`, "", rounds{}},
		{llm.Responses, `[{"type":"web_search"}]`, "0", rounds{}},
		{llm.Responses, `[{"type":"web_search"}]`, `"4"`, rounds{}},
		{llm.Responses, `[{"type":"web_search"},{"type":"code_interpreter"}]`, "4", rounds{}},
		{llm.Responses, `[{"type":"function","name":"web_search"}]`, "4", rounds{}},
		{llm.OpenAI, `[{"type":"web_search"}]`, "4", rounds{}},
		{llm.OpenAI, `[]`, "4", rounds{}},
	} {
		r := &llm.Request{Dialect: c.dialect}
		r.Set("tools", []byte(c.tools))
		if c.calls != "" {
			r.Set("max_tool_calls", []byte(c.calls))
		}
		if got, ok := searchesOf(r); ok != (c.want != rounds{}) || ok && got != c.want {
			t.Errorf("%s: %s %s: %+v %v", c.dialect, c.tools, c.calls, got, ok)
		}
	}
	r := &llm.Request{Dialect: llm.Anthropic}
	r.Set("tools", []byte(`[`+capped+`]`))
	r.Set("mcp_servers", []byte(`[{"url":"x"}]`))
	if _, ok := searchesOf(r); ok {
		t.Error("what a server of tools does has no bound")
	}
}

// TestSearchesThatNobodyAskedFor have no bound: they are refused where a budget of money binds, if they cost something.
func TestSearchesThatNobodyAskedFor(t *testing.T) {
	t.Parallel()
	usd, tokens := daily(USD, 1_000_000_000), daily(TokenCount, 1_000_000)
	for name, c := range map[string]struct {
		budget   Budget
		search   llm.Money
		tier     llm.Money // of a tier that it may be served by
		searches bool
		passes   bool
	}{
		"dollars": {usd, 5, 0, true, false}, "a tier": {usd, 0, 5, true, false}, "no fee": {usd, llm.Money(llm.Nothing), 0, true, true}, "no fee known": {usd, 0, 0, true, true},
		"asked only": {usd, 5, 0, false, true}, "tokens": {tokens, 5, 0, true, true},
		"observed": {daily(USD, 1_000_000_000, func(b *Budget) { b.Mode = Observe }), 5, 0, true, true},
	} {
		b := onBench(t, Definitions{Budgets: []Budget{c.budget}})
		b.known.Searches, b.price.Search = c.searches, c.search
		b.price.Served = &llm.Served{Tiers: []llm.TierPrice{{Tier: "flex", Price: llm.Price{Search: c.tier}}}}
		_, err := b.call(exchange(llm.OpChat, 36), target, 5, 5)
		if (err == nil) != c.passes || err != nil && !strings.Contains(refused(t, err).Message, "searches as often") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
