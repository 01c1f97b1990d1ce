package anthropic

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

func drawPart(t *rapid.T, kinds ...llm.PartKind) llm.Part {
	p := llm.Part{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Text: rapid.SampledFrom([]string{"", "a", "say \"b\"", "é\n"}).Draw(t, "text")}
	switch p.Kind {
	case llm.PartImage:
		p.MediaType, p.Data = "image/png", []byte{1, 2, 3}
	case llm.PartFile:
		p.MediaType, p.Data, p.Filename = rapid.SampledFrom([]string{"application/pdf", "text/plain"}).Draw(t, "type"), []byte("x"), "f"
	case llm.PartReasoning:
		p.Signature = rapid.SampledFrom([]string{"", "sig"}).Draw(t, "signature")
	}
	return p
}

// drawChat draws a chat that OpenAI's dialect allows: every call has its result right behind it.
func drawChat(t *rapid.T) *llm.Chat {
	c := &llm.Chat{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartText, Text: "Hi"}}}}}
	for i := range rapid.IntRange(0, 6).Draw(t, "turns") {
		m := llm.Message{Role: rapid.SampledFrom([]llm.Role{llm.RoleSystem, llm.RoleDeveloper, llm.RoleUser, llm.RoleAssistant}).Draw(t, "role")}
		kinds := []llm.PartKind{llm.PartText}
		switch m.Role {
		case llm.RoleUser:
			kinds = []llm.PartKind{llm.PartText, llm.PartImage, llm.PartFile}
		case llm.RoleAssistant:
			kinds = []llm.PartKind{llm.PartText, llm.PartReasoning, llm.PartRefusal}
		}
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			m.Parts = append(m.Parts, drawPart(t, kinds...))
		}
		calls := 0
		if m.Role == llm.RoleAssistant {
			calls = rapid.IntRange(0, 2).Draw(t, "calls")
		}
		for k := range calls {
			m.Parts = append(m.Parts, llm.Part{
				Kind: llm.PartToolCall, CallID: fmt.Sprintf("call.%d.%d", i, k), ToolName: "now",
				Arguments: rapid.SampledFrom([]string{"", "{}", `{"a": [1]}`}).Draw(t, "arguments"),
			})
		}
		c.Messages = append(c.Messages, m)
		for k := range calls {
			result := llm.Part{Kind: llm.PartToolResult, CallID: fmt.Sprintf("call.%d.%d", i, k)}
			for range rapid.IntRange(0, 2).Draw(t, "result") {
				result.Result = append(result.Result, drawPart(t, llm.PartText, llm.PartImage))
			}
			c.Messages = append(c.Messages, llm.Message{Role: llm.RoleTool, Parts: []llm.Part{result}})
		}
	}
	c.Tools = []llm.Tool{{Name: "now"}, {Name: "weather", Schema: []byte(`{"properties":{}}`)}}
	return c
}

var idForm = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// Whatever a caller of the OpenAI dialect may send, the turns keep the rules of this one: sides change, results of tools come
// first, right behind their calls and all of them, no text is empty, ids have the characters that are taken.
func TestTurnsKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawChat(t)
		body, _, err := EncodeChat(c, "m", llm.Traits{LateSystem: rapid.Bool().Draw(t, "late")})
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Messages []struct {
				Role    string
				Content []struct {
					Type, Text, ID string
					ToolUseID      string `json:"tool_use_id"`
					Input          map[string]any
				}
			}
			Tools []struct {
				Schema struct{ Type string } `json:"input_schema"`
			}
		}
		if err := json.Unmarshal(body, &out); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		open, last := map[string]bool{}, ""
		for i, m := range out.Messages {
			if len(m.Content) == 0 || m.Role == last && m.Role != "system" {
				t.Fatalf("turn %d: %s", i, body)
			}
			last = m.Role
			first := true
			for _, b := range m.Content {
				switch b.Type {
				case "text":
					if b.Text == "" {
						t.Fatalf("an empty text: %s", body)
					}
				case "tool_use":
					if !idForm.MatchString(b.ID) || b.Input == nil {
						t.Fatalf("call %q: %s", b.ID, body)
					}
					open[b.ID] = true
				case "tool_result":
					if !open[b.ToolUseID] || !first {
						t.Fatalf("result of %q: %s", b.ToolUseID, body)
					}
					delete(open, b.ToolUseID)
					continue
				}
				first = false
			}
			if m.Role == "user" && len(open) > 0 {
				t.Fatalf("calls without results: %s", body)
			}
		}
		for _, tool := range out.Tools {
			if tool.Schema.Type != "object" {
				t.Fatalf("a schema without a type: %s", body)
			}
		}
	})
}

// What the dialect cannot say is refused, and the refusal says where.
func TestRefusals(t *testing.T) {
	t.Parallel()
	two, yes := int64(2), true
	user := func(p llm.Part) []llm.Message { return []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{p}}} }
	for param, c := range map[string]llm.Chat{
		"n":                      {Sampling: llm.Sampling{N: &two}},
		"logprobs":               {Sampling: llm.Sampling{Logprobs: &yes}},
		"stop[1]":                {Stop: []string{"END", "\n"}},
		"modalities":             {Modalities: []string{"text", "audio"}},
		"tools[0]":               {Tools: []llm.Tool{{Name: "f", Custom: true}}},
		"web_search_options":     {Extra: []llm.Member{{Name: "web_search_options", Value: []byte("{}")}}},
		"messages[0]":            {Messages: user(llm.Part{Kind: llm.PartAudio})},
		"messages[0].tool_calls": {Messages: user(llm.Part{Kind: llm.PartToolCall, CallID: "a", ToolName: "b", Arguments: `{"cut`})},
	} {
		_, _, err := EncodeChat(&c, "m", llm.Traits{})
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.InvalidRequest || f.Param != param || f.Hint == "" || !strings.HasPrefix(f.Message, param+": ") {
			t.Errorf("%s: %v", param, err)
		}
	}
}
