package limit

import (
	"encoding/json"
	"testing"

	"github.com/penstock/penstock/internal/llm"
)

// TestPaidTools: what a provider runs for a price of its own is no call that tokens bound.
func TestPaidTools(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{}`: "", `{"tools":[]}`: "", `{"tools":[{"type":"function","function":{"name":"web_search"}}]}`: "",
		`{"tools":[{"name":"web_search","input_schema":{}}]}`:                       "",
		`{"tools":[{"type":"custom","name":"x"}]}`:                                  "",
		`{"tools":[{"type":"web_search_preview"}]}`:                                 "web_search_preview",
		`{"tools":[{"type":"function"},{"type":"web_search_20250305","name":1}]}`:   "web_search_20250305",
		`{"tools":[{"type":"code_interpreter"}]}`:                                   "code_interpreter",
		`{"tools":[{"type":"file_search"}]}`:                                        "file_search",
		`{"tools":[{"type":"mcp","server_url":"x"}]}`:                               "mcp",
		`{"tools":[{"type":"mcp_toolset"}]}`:                                        "mcp_toolset",
		`{"tools":[{"type":"image_generation"}]}`:                                   "image_generation",
		`{"tools":[{"type":"\u0077eb_search"}]}`:                                    "web_search",
		`{"tools":[{"type":"bash_20250124"},{"type":"text_editor_20250728"}]}`:      "",
		`{"mcp_servers":[{"url":"x"}]}`:                                             "mcp_servers",
		`{"mcp_servers":[]}`:                                                        "",
		`{"tools":[{"type":"x_search"}]}`:                                           "x_search",
		`{"tools":[{"type":"browser_search"}]}`:                                     "browser_search",
		`{"tools":[{"type":"builtin_function","function":{"name":"$web_search"}}]}`: "builtin_function",
		`{"tools":[{"type":"function"},{"google_search":{}}]}`:                      "google_search",
		`{"tools":[{"type":"computer_use_preview"},{"type":"local_shell"},{"type":"memory_20250818","name":"memory"}]}`: "",
		`{"search_parameters":{"mode":"on"}}`: "search_parameters",
		`{"plugins":[{"id":"web"}]}`:          "plugins",
		`{"enable_search":true}`:              "enable_search",
		`{"enable_search":false}`:             "",
		`{"web_search_options":{}}`:           "web_search_options",
		`{"web_search_options":null}`:         "",
	} {
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(body), &members); err != nil {
			t.Fatal(err)
		}
		r := &llm.Request{}
		for name, value := range members {
			r.Set(name, value)
		}
		if got := paidTool(r); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

// TestNothingUnusualIsMissed: the walk that saves most requests a closer look sees each member that there is a closer look for.
func TestNothingUnusualIsMissed(t *testing.T) {
	t.Parallel()
	for body, in := range map[string]int{
		`{"model":"m","messages":[{"role":"user","content":"x"}],"prediction":{"type":"content","content":"x"}}`:                               0,
		`{"model":"m","messages":[{"role":"user","content":"x"}],"models":["a/b"]}`:                                                            0,
		`{"model":"m","messages":[{"role":"user","content":"x"}],"reas\u006fning":{"mode":"pro"}}`:                                             0,
		`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"speed":"fast"}`:                                               1,
		`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"compaction":{"type":"x"}}`:                                    1,
		`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"fallbacks":[{"model":"y"}]}`:                                  1,
		`{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"context_management":{"edits":[{"type":"compact_20260112"}]}}`: 1,
		`{"model":"m","input":"x","context_management":[{"type":"compaction"}]}`:                                                               2,
		`{"model":"m","input":"x","prompt":{"id":"p"}}`:                                                                                        2,
	} {
		r, err := tongues[in].parse([]byte(body))
		if err != nil {
			t.Fatal(body, ": ", err)
		}
		if usual(r) || endless(r)+unpriced(r) == "" {
			t.Errorf("%s is taken for a usual call", body)
		}
	}
	for i := range tongues {
		if r := request(t, &tongues[i], tongues[i].write([]said{{role: "user", text: "hello"}}, nil)); !usual(r) {
			t.Errorf("%s: a plain call is not usual", tongues[i].name)
		}
	}
}
