//go:build !race

package server_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

var updateMatrix = flag.Bool("update-matrix", false, "write docs/reference/dialects.md anew")

// matrixConfig has a model of each vendor as the catalogue knows it.
const matrixConfig = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  openai: { dialect: openai, base_url: "http://%SIM%/gpt/v1", vendor: openai }
  azure: { dialect: azure, base_url: "http://%SIM%/azure", vendor: azure }
  anthropic: { dialect: anthropic, base_url: "http://%SIM%/claude", vendor: anthropic }
  gemini: { dialect: gemini, base_url: "http://%SIM%/gem", vendor: google }
  bedrock: { dialect: bedrock, base_url: "http://%SIM%/bed", region: us-east-1, vendor: amazon-bedrock }
models:
  openai: { targets: [openai/gpt-5-mini] }
  azure: { targets: [azure/gpt-5-mini] }
  anthropic: { targets: [anthropic/claude-sonnet-4-5] }
  gemini: { targets: [gemini/gemini-2.5-flash] }
  bedrock: { targets: [bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0] }
`

// matrixModels are the columns, and matrixTargets what is asked.
var (
	matrixModels  = []string{"openai", "azure", "anthropic", "gemini", "bedrock"}
	matrixTargets = []string{"OpenAI, gpt-5-mini", "Azure, gpt-5-mini", "Anthropic, claude-sonnet-4-5", "Gemini, gemini-2.5-flash", "Bedrock, claude-sonnet-4-5"}
)

// A feature is a row: the members of a body that use it.
type feature struct{ name, body string }

// A tongue is a client dialect with what can be asked in it.
type tongue struct {
	name, path string
	stream     string
	features   []feature
}

const (
	png        = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
	pdfData    = "JVBERi0xLjQKJSVFT0YK"
	openAIHi   = `"messages":[{"role":"user","content":"Hi"}]`
	openAITool = `"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"string"}}}}}]`
	messagesHi = `"max_tokens":99,"messages":[{"role":"user","content":"Hi"}]`
	messagesIn = `"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"a":{"type":"string"}}}}]`
	closed     = `{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}`
)

var openAITongue = tongue{"OpenAI chat", "/v1/chat/completions", `"stream":true,"stream_options":{"include_usage":true},`, []feature{
	{"text", openAIHi},
	{"system prompt", `"messages":[{"role":"system","content":"Be brief."},{"role":"developer","content":"In French."},{"role":"user","content":"Hi"}]`},
	{"system prompt in the midst", `"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"system","content":"Be brief."},{"role":"user","content":"So?"}]`},
	{"image, as data", `"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,` + png + `"}}]}]`},
	{"image, by link", `"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]`},
	{"PDF, as data", `"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + pdfData + `"}}]}]`},
	{"file by its id", `"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"file-1"}}]}]`},
	{"audio", `"messages":[{"role":"user","content":[{"type":"text","text":"Hear:"},{"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}]}]`},
	{"tools", openAIHi + `,` + openAITool},
	{"results of several calls", openAITool + `,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"call_2","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"call_1","content":"1"},{"role":"tool","tool_call_id":"call_2","content":"2"}]`},
	{"`tool_choice: required`", openAIHi + `,"tool_choice":"required",` + openAITool},
	{"`tool_choice: {name}`", openAIHi + `,"tool_choice":{"type":"function","function":{"name":"f"}},` + openAITool},
	{"`tool_choice: none`", openAIHi + `,"tool_choice":"none",` + openAITool},
	{"`parallel_tool_calls: false`", openAIHi + `,"parallel_tool_calls":false,` + openAITool},
	{"tools that take free text", openAIHi + `,"tools":[{"type":"custom","custom":{"name":"g"}}]`},
	{"answer by a JSON schema", openAIHi + `,"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":` + closed + `}}`},
	{"answer in JSON", openAIHi + `,"response_format":{"type":"json_object"}`},
	{"`reasoning_effort`", openAIHi + `,"reasoning_effort":"low"`},
	{"`max_completion_tokens`", openAIHi + `,"max_completion_tokens":9000`},
	{"`stop`", openAIHi + `,"stop":["END"]`},
	{"`temperature`", openAIHi + `,"temperature":0.2`},
	{"`seed`", openAIHi + `,"seed":1`},
	{"`frequency_penalty`", openAIHi + `,"frequency_penalty":0.5`},
	{"`n: 2`", openAIHi + `,"n":2`},
	{"`logprobs`", openAIHi + `,"logprobs":true`},
	{"`user`", openAIHi + `,"user":"u1"`},
	{"`metadata`", openAIHi + `,"metadata":{"a":"b"}`},
	{"`prompt_cache_key`", openAIHi + `,"prompt_cache_key":"k"`},
	{"marks for caching", `"messages":[{"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}]`},
	{"members that Penstock does not know", openAIHi + `,"new_thing":1`},
}}

var anthropicTongue = tongue{"Anthropic messages", "/v1/messages", `"stream":true,`, []feature{
	{"text", messagesHi},
	{"system prompt", `"max_tokens":99,"system":[{"type":"text","text":"Be brief."},{"type":"text","text":"In French."}],"messages":[{"role":"user","content":"Hi"}]`},
	{"system prompt in the midst", `"max_tokens":99,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"system","content":"Be brief."},{"role":"user","content":"So?"}]`},
	{"image, as data", `"max_tokens":99,"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + png + `"}}]}]`},
	{"image, by link", `"max_tokens":99,"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]}]`},
	{"PDF, as data", `"max_tokens":99,"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + pdfData + `"}}]}]`},
	{"PDF, by link", `"max_tokens":99,"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"document","source":{"type":"url","url":"https://example.com/a.pdf"}}]}]`},
	{"document that is text", `"max_tokens":99,"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"document","title":"a","source":{"type":"text","media_type":"text/plain","data":"so"}}]}]`},
	{"document with citations", `"max_tokens":99,"messages":[{"role":"user","content":[{"type":"text","text":"What is this?"},{"type":"document","citations":{"enabled":true},"source":{"type":"text","media_type":"text/plain","data":"so"}}]}]`},
	{"file by its id", `"max_tokens":99,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]`},
	{"tools", messagesHi + `,` + messagesIn},
	{"results of several calls", `"max_tokens":99,` + messagesIn + `,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"a1","name":"f","input":{}},{"type":"tool_use","id":"a2","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a1","content":"1"},{"type":"tool_result","tool_use_id":"a2","is_error":true,"content":"2"},{"type":"text","text":"So?"}]}]`},
	{"result that is an image", `"max_tokens":99,` + messagesIn + `,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"a1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a1","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"` + png + `"}}]}]}]`},
	{"`tool_choice: any`", messagesHi + `,"tool_choice":{"type":"any"},` + messagesIn},
	{"`tool_choice: tool`", messagesHi + `,"tool_choice":{"type":"tool","name":"f"},` + messagesIn},
	{"`tool_choice: none`", messagesHi + `,"tool_choice":{"type":"none"},` + messagesIn},
	{"`disable_parallel_tool_use`", messagesHi + `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true},` + messagesIn},
	{"tools of the vendor's own", messagesHi + `,"tools":[{"type":"web_search_20250305","name":"web_search"}]`},
	{"answer by a JSON schema", messagesHi + `,"output_config":{"format":{"type":"json_schema","schema":` + closed + `}}`},
	{"thinking, a budget", `"max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":2048},"messages":[{"role":"user","content":"Hi"}]`},
	{"thinking, adaptive", messagesHi + `,"thinking":{"type":"adaptive"},"output_config":{"effort":"low"}`},
	{"thinking of earlier turns", `"max_tokens":9000,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},{"type":"text","text":"Hello"}]},{"role":"user","content":"So?"}]`},
	{"`stop_sequences`", messagesHi + `,"stop_sequences":["END"]`},
	{"`temperature`", messagesHi + `,"temperature":0.2`},
	{"`top_k`", messagesHi + `,"top_k":5`},
	{"`metadata.user_id`", messagesHi + `,"metadata":{"user_id":"u1"}`},
	{"marks for caching", `"max_tokens":99,"messages":[{"role":"user","content":[{"type":"text","text":"Hi","cache_control":{"type":"ephemeral"}}]}]`},
	{"`context_management`", messagesHi + `,"context_management":{"edits":[]}`},
	{"members that Penstock does not know", messagesHi + `,"new_thing":1`},
}}

const (
	responsesHi = `"input":"Hi"`
	responsesIn = `"tools":[{"type":"function","name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"string"}}},"strict":false}]`
)

var responsesTongue = tongue{"OpenAI responses", "/v1/responses", `"stream":true,`, []feature{
	{"text", responsesHi},
	{"instructions", responsesHi + `,"instructions":"Be brief."`},
	{"items", `"input":[{"role":"developer","content":"Be brief."},{"role":"user","content":[{"type":"input_text","text":"Hi"}]},{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Hello"}]},{"role":"user","content":"So?"}]`},
	{"image, as data", `"input":[{"role":"user","content":[{"type":"input_text","text":"What is this?"},{"type":"input_image","image_url":"data:image/png;base64,` + png + `"}]}]`},
	{"image, by link", `"input":[{"role":"user","content":[{"type":"input_text","text":"What is this?"},{"type":"input_image","image_url":"https://example.com/a.png"}]}]`},
	{"PDF, as data", `"input":[{"role":"user","content":[{"type":"input_text","text":"What is this?"},{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,` + pdfData + `"}]}]`},
	{"file by its id", `"input":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]`},
	{"tools", responsesHi + `,` + responsesIn},
	{"results of several calls", responsesIn + `,"input":[{"role":"user","content":"Hi"},{"type":"function_call","call_id":"call_1","name":"f","arguments":"{}"},{"type":"function_call","call_id":"call_2","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"call_1","output":"1"},{"type":"function_call_output","call_id":"call_2","output":"2"}]`},
	{"`tool_choice: required`", responsesHi + `,"tool_choice":"required",` + responsesIn},
	{"`tool_choice: {name}`", responsesHi + `,"tool_choice":{"type":"function","name":"f"},` + responsesIn},
	{"`tool_choice: none`", responsesHi + `,"tool_choice":"none",` + responsesIn},
	{"`parallel_tool_calls: false`", responsesHi + `,"parallel_tool_calls":false,` + responsesIn},
	{"tools that take free text", responsesHi + `,"tools":[{"type":"custom","name":"g"}]`},
	{"tools of the vendor's own", responsesHi + `,"tools":[{"type":"web_search"}]`},
	{"answer by a JSON schema", responsesHi + `,"text":{"format":{"type":"json_schema","name":"n","strict":true,"schema":` + closed + `}}`},
	{"answer in JSON", responsesHi + `,"text":{"format":{"type":"json_object"}}`},
	{"`reasoning.effort`", responsesHi + `,"reasoning":{"effort":"low"}`},
	{"`reasoning.summary`", responsesHi + `,"reasoning":{"effort":"low","summary":"auto"}`},
	{"`include: reasoning.encrypted_content`", responsesHi + `,"store":false,"include":["reasoning.encrypted_content"]`},
	{"`max_output_tokens`", responsesHi + `,"max_output_tokens":9000`},
	{"`temperature`", responsesHi + `,"temperature":0.2`},
	{"`top_logprobs`", responsesHi + `,"top_logprobs":2`},
	{"`truncation: auto`", responsesHi + `,"truncation":"auto"`},
	{"`metadata`", responsesHi + `,"metadata":{"a":"b"}`},
	{"`background`", responsesHi + `,"background":true`},
	{"members that Penstock does not know", responsesHi + `,"new_thing":1`},
}}

// tongues are the client dialects of the page.
var tongues = []tongue{openAITongue, responsesTongue, anthropicTongue}

// The page is made by asking: every feature of every client dialect of every provider dialect, streamed and plain, of a Penstock
// before simulated providers. What is not refused is answered.
func TestSupportMatrix(t *testing.T) {
	t.Parallel()
	const file = "../../docs/reference/dialects.md"
	e := penstocktest.Start(t, penstocktest.Options{Config: matrixConfig, Sim: &sim.Config{Seed: 1, Providers: speakerProviders()}})
	key := e.Key("home")
	var b strings.Builder
	b.WriteString("# What can be asked of whom\n\nFor whoever wants to know whether a client's request reaches a provider of another dialect. Made by " +
		"asking, with\n`go test ./internal/server -run TestSupportMatrix -args -update-matrix`: each cell is a request to a Penstock, plain and streamed. How things are said is in\n" +
		"[dialects](../dialects.md).\n\n" +
		"**yes**: asked and answered. **adapted**: so, but for what is named, which the model does not take; the answer says so in `X-Penstock-Adapted`. **refused**: a\n" +
		"400 that says what and where, before anything is spent. In one dialect requests pass as they are: yes there means that nothing is changed, and the\nprovider is the judge.\n")
	for _, client := range tongues {
		fmt.Fprintf(&b, "\n## Clients of %s\n\n| asked for | %s |\n|---%s|\n", client.name, strings.Join(matrixTargets, " | "), strings.Repeat("|---", len(matrixTargets)))
		for _, f := range client.features {
			fmt.Fprintf(&b, "| %s |", f.name)
			for _, model := range matrixModels {
				plain := support(t, e, key, client, f, model, "")
				streamed := support(t, e, key, client, f, model, client.stream)
				if plain != streamed {
					plain = "plain: " + plain + "; streamed: " + streamed
				}
				b.WriteString(" " + plain + " |")
			}
			b.WriteString("\n")
		}
	}
	b.WriteString(lossTable())
	e.AtRest()
	if *updateMatrix {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != b.String() {
		t.Errorf("%s is not what is true (err %v): go test ./internal/server -run TestSupportMatrix -args -update-matrix", file, err)
	}
}

// support is what becomes of a request.
func support(t *testing.T, e *penstocktest.Env, key string, client tongue, f feature, model, stream string) string {
	t.Helper()
	before := len(e.Sim.Requests())
	a := e.Post(key, client.path, `{"model":"`+model+`",`+stream+f.body+`}`)
	asked := len(e.Sim.Requests()) > before
	switch adapted := a.Header.Get("X-Penstock-Adapted"); {
	case a.Status == http.StatusOK && adapted != "":
		for name := range strings.SplitSeq(adapted, ", ") {
			if !slices.ContainsFunc(losses, func(l loss) bool { return slices.Contains(l.names, name) }) {
				t.Errorf("%s, %s of %s: %s is not among the losses", client.name, f.name, model, name)
			}
		}
		return "adapted: `" + strings.ReplaceAll(adapted, ", ", "`, `") + "`"
	case a.Status == http.StatusOK:
		return "yes"
	case a.Status == http.StatusBadRequest && !asked:
		return "refused"
	}
	t.Errorf("%s, %s of %s: %d, asked %t: %s", client.name, f.name, model, a.Status, asked, a.Text())
	return "failed"
}
