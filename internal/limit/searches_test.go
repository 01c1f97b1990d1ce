package limit

import (
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
