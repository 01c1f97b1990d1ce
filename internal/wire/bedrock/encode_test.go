package bedrock

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// request is what tests read of an encoded chat.
type request struct {
	System   []contentBlock
	Messages []struct {
		Role    string
		Content []contentBlock
	}
	ToolConfig *struct {
		Tools []struct {
			ToolSpec *struct {
				Name, Description string
				InputSchema       struct{ JSON json.RawMessage }
				Strict            bool
			}
			CachePoint *struct{ TTL string }
		}
		ToolChoice map[string]any
	}
	InferenceConfig              map[string]any
	AdditionalModelRequestFields map[string]any
	OutputConfig                 map[string]any
}

// A contentBlock has exactly one of these.
type contentBlock struct {
	Text             *string
	Image            *struct{ Format string }
	Document         *struct{ Name, Format string }
	CachePoint       *struct{ Type, TTL string }
	ReasoningContent *struct {
		ReasoningText   *struct{ Text, Signature string }
		RedactedContent string
	}
	ToolUse *struct {
		ToolUseID, Name string
		Input           map[string]any
	}
	ToolResult *struct {
		ToolUseID, Status string
		Content           []contentBlock
	}
}

// encoded encodes a chat and reads it back.
func encoded(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, c *llm.Chat, traits llm.Traits) (r request, adapted []string) {
	t.Helper()
	body, adapted, err := EncodeChat(c, traits, false)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return r, adapted
}

func text(s string) llm.Part { return llm.Part{Kind: llm.PartText, Text: s} }

func says(role llm.Role, parts ...llm.Part) llm.Message { return llm.Message{Role: role, Parts: parts} }

func calls(id, name, arguments string) llm.Part {
	return llm.Part{Kind: llm.PartToolCall, CallID: id, ToolName: name, Arguments: arguments}
}

func results(id string, parts ...llm.Part) llm.Message {
	return says(llm.RoleTool, llm.Part{Kind: llm.PartToolResult, CallID: id, Result: parts})
}

func drawPart(t *rapid.T, kinds ...llm.PartKind) llm.Part {
	p := llm.Part{Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Text: rapid.SampledFrom([]string{"", " \n", "a", "say \"b\"", "é\n"}).Draw(t, "text")}
	switch p.Kind {
	case llm.PartImage:
		p.MediaType, p.Data = "image/png", []byte{1, 2, 3}
	case llm.PartFile:
		p.MediaType, p.Data = "application/pdf", []byte("x")
		p.Filename = rapid.SampledFrom([]string{"", "a.pdf", "a", "ä ö/..\\b.PDF", strings.Repeat("long", 100)}).Draw(t, "name")
	case llm.PartReasoning:
		p.Signature = rapid.SampledFrom([]string{"", "sig"}).Draw(t, "signature")
	}
	if rapid.IntRange(0, 4).Draw(t, "mark") == 0 {
		p.Cache = &llm.CacheMark{}
	}
	return p
}

// drawChat draws a chat that OpenAI's dialect allows: every call has its result right behind it.
func drawChat(t *rapid.T) *llm.Chat {
	c := &llm.Chat{Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}}
	for i := range rapid.IntRange(0, 6).Draw(t, "turns") {
		m := llm.Message{Role: rapid.SampledFrom([]llm.Role{llm.RoleSystem, llm.RoleDeveloper, llm.RoleUser, llm.RoleAssistant}).Draw(t, "role")}
		kinds := []llm.PartKind{llm.PartText}
		switch m.Role {
		case llm.RoleUser:
			kinds = []llm.PartKind{llm.PartText, llm.PartImage, llm.PartFile}
			m.Parts = append(m.Parts, text("Look:"))
		case llm.RoleAssistant:
			kinds = []llm.PartKind{llm.PartText, llm.PartReasoning, llm.PartRefusal}
		}
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			m.Parts = append(m.Parts, drawPart(t, kinds...))
		}
		var ids []string
		if m.Role == llm.RoleAssistant {
			for k := range rapid.IntRange(0, 3).Draw(t, "calls") {
				id := fmt.Sprintf("%s.%d.%d", rapid.SampledFrom([]string{"call", "call_", strings.Repeat("x", 80), "ü"}).Draw(t, "id"), i, k)
				ids = append(ids, id)
				m.Parts = append(m.Parts, calls(id, "now", rapid.SampledFrom([]string{"", "{}", " {\"a\":1}"}).Draw(t, "arguments")))
			}
		}
		c.Messages = append(c.Messages, m)
		for _, id := range ids {
			var parts []llm.Part
			for range rapid.IntRange(0, 2).Draw(t, "result") {
				parts = append(parts, drawPart(t, llm.PartText, llm.PartImage))
			}
			c.Messages = append(c.Messages, results(id, parts...))
		}
	}
	if rapid.Bool().Draw(t, "tools") {
		c.Tools = []llm.Tool{{Name: "now"}, {Name: "weather", Schema: []byte(`{"properties":{}}`), Cache: &llm.CacheMark{TTL: "1h"}}}
		c.Choice.Mode = rapid.SampledFrom([]llm.ToolMode{"", llm.ToolAuto, llm.ToolNone, llm.ToolRequired}).Draw(t, "choice")
	}
	return c
}

var (
	idForm   = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`)
	nameForm = regexp.MustCompile(`^[a-zA-Z0-9()\[\]-]+( [a-zA-Z0-9()\[\]-]+)*$`)
)

// Whatever a caller of the OpenAI dialect may send, the turns keep the rules of this one.
func TestTurnsKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawChat(t)
		r, _ := encoded(t, c, llm.Traits{})
		open, used, names := map[string]bool{}, false, map[string]bool{}
		for i, m := range r.Messages {
			if want := []string{"user", "assistant"}[i%2]; m.Role != want || len(m.Content) == 0 {
				t.Fatalf("turn %d of %s has %d blocks", i, m.Role, len(m.Content))
			}
			first := true
			for _, b := range m.Content {
				switch {
				case b.Text != nil && blank(*b.Text):
					t.Fatalf("a blank text in turn %d", i)
				case b.Document != nil && (!nameForm.MatchString(b.Document.Name) || names[b.Document.Name] || len(b.Document.Name) > 200):
					t.Fatalf("document %q", b.Document.Name)
				case b.Document != nil:
					names[b.Document.Name] = true
				case b.ToolUse != nil:
					if !idForm.MatchString(b.ToolUse.ToolUseID) || b.ToolUse.Input == nil || open[b.ToolUse.ToolUseID] {
						t.Fatalf("call %+v", b.ToolUse)
					}
					open[b.ToolUse.ToolUseID], used = true, true
				case b.ToolResult != nil:
					if !open[b.ToolResult.ToolUseID] || !first {
						t.Fatalf("result %+v", b.ToolResult)
					}
					for _, inner := range b.ToolResult.Content {
						if inner.Text != nil && blank(*inner.Text) || inner.CachePoint != nil {
							t.Fatalf("a result with %+v", inner)
						}
					}
					delete(open, b.ToolResult.ToolUseID)
					continue
				case b.CachePoint != nil:
					continue // may stand between results
				}
				first = false
			}
			if m.Role == "user" && len(open) > 0 {
				t.Fatalf("calls without results before turn %d", i)
			}
		}
		if used && r.ToolConfig == nil {
			t.Fatal("calls and no tools")
		}
		if r.ToolConfig == nil {
			return
		}
		for _, tool := range r.ToolConfig.Tools {
			if tool.ToolSpec != nil && !strings.Contains(string(tool.ToolSpec.InputSchema.JSON), `"type":"object"`) {
				t.Fatalf("a schema without a type: %s", tool.ToolSpec.InputSchema.JSON)
			}
		}
	})
}

// Nothing that was said is lost: every text, image, document, call and result is in the request, in its order.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawChat(t)
		body, _, err := EncodeChat(c, llm.Traits{}, false)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := encoded(t, c, llm.Traits{})
		texts, others := 0, 0
		count := func(blocks []contentBlock) {
			for _, b := range blocks {
				if b.Text != nil {
					texts++
				} else if b.Image != nil || b.Document != nil || b.ToolUse != nil {
					others++
				}
			}
		}
		count(r.System)
		for _, m := range r.Messages {
			count(m.Content)
			for _, b := range m.Content {
				if b.ToolResult != nil {
					others++
					count(b.ToolResult.Content)
				}
			}
		}
		var wantTexts, wantOthers int
		var want func(parts []llm.Part)
		want = func(parts []llm.Part) {
			for _, p := range parts {
				switch p.Kind {
				case llm.PartText, llm.PartRefusal:
					if !blank(p.Text) {
						wantTexts++
					}
				case llm.PartReasoning:
				default:
					wantOthers++
					want(p.Result)
				}
			}
		}
		for _, m := range c.Messages {
			want(m.Parts)
		}
		if c.Choice.Mode == llm.ToolNone && strings.Contains(string(body), noCallHint) {
			wantTexts++
		}
		if texts != wantTexts || others != wantOthers {
			t.Fatalf("%d texts and %d others of %d and %d: %s", texts, others, wantTexts, wantOthers, body)
		}
	})
}

// What the dialect cannot say is refused, and the refusal says where.
func TestRefusals(t *testing.T) {
	t.Parallel()
	two, yes := int64(2), true
	hi := says(llm.RoleUser, text("Hi"))
	user := func(p llm.Part) []llm.Message { return []llm.Message{says(llm.RoleUser, p)} }
	with := func(c llm.Chat) llm.Chat {
		if c.Messages == nil {
			c.Messages = []llm.Message{hi}
		}
		return c
	}
	for _, c := range []struct {
		param string
		chat  llm.Chat
		t     llm.Traits
	}{
		{"n", llm.Chat{Sampling: llm.Sampling{N: &two}}, llm.Traits{}},
		{"logprobs", llm.Chat{Sampling: llm.Sampling{Logprobs: &yes}}, llm.Traits{}},
		{"modalities", llm.Chat{Modalities: []string{"text", "audio"}}, llm.Traits{}},
		{"tools[0]", llm.Chat{Tools: []llm.Tool{{Name: "f", Custom: true}}}, llm.Traits{}},
		{"tools[0]", llm.Chat{Tools: []llm.Tool{{Name: strings.Repeat("f", 65)}}}, llm.Traits{}},
		{"tools[0]", llm.Chat{Tools: []llm.Tool{{Name: "a.b"}}}, llm.Traits{}},
		{"tools[0].x", llm.Chat{Tools: []llm.Tool{{Name: "f", Extra: []llm.Member{{Name: "x", Value: []byte("1")}}}}}, llm.Traits{}},
		{"tool_choice", llm.Chat{Tools: []llm.Tool{{Name: "f"}}, Choice: llm.ToolChoice{Mode: "sometimes"}}, llm.Traits{}},
		{"tool_choice", llm.Chat{Tools: []llm.Tool{{Name: "f"}}, Choice: llm.ToolChoice{Mode: llm.ToolAuto, Names: []string{"g"}}}, llm.Traits{}},
		{"tool_choice", llm.Chat{Tools: []llm.Tool{{Name: "f"}}, Choice: llm.ToolChoice{Mode: llm.ToolRequired}, Reasoning: llm.Reasoning{Effort: "low"}}, llm.Traits{Thinking: llm.ThinkingBudget}},
		{"response_format", llm.Chat{Tools: []llm.Tool{{Name: "f"}}, Format: llm.Format{Kind: llm.FormatJSONSchema}}, llm.Traits{NoSchema: true}},
		{"response_format", llm.Chat{Format: llm.Format{Kind: llm.FormatJSONSchema}, Reasoning: llm.Reasoning{Effort: "low"}}, llm.Traits{NoSchema: true, Thinking: llm.ThinkingBudget}},
		{"web_search_options", llm.Chat{Extra: []llm.Member{{Name: "web_search_options", Value: []byte("{}")}}}, llm.Traits{}},
		{"additionalModelRequestFields", llm.Chat{Extra: []llm.Member{{Name: "additionalModelRequestFields", Value: []byte("[]")}}}, llm.Traits{}},
		{"messages[0].tool_calls", llm.Chat{Messages: user(calls("a", "b", `{"cut`))}, llm.Traits{}},
		{"messages[0].tool_calls", llm.Chat{Messages: user(calls("a", "b.c", "{}"))}, llm.Traits{}},
		{"messages[0]", llm.Chat{Messages: user(llm.Part{Kind: llm.PartToolCall, Custom: true})}, llm.Traits{}},
		{"messages[0]", llm.Chat{Messages: []llm.Message{says(llm.RoleAssistant, text("Yes?"))}}, llm.Traits{}},
		{"messages[0].audio", llm.Chat{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{text("a")}, Extra: []llm.Member{{Name: "audio", Value: []byte("{}")}}}}}, llm.Traits{}},
		{"messages[1]", llm.Chat{Messages: []llm.Message{hi, says(llm.RoleAssistant, llm.Part{Kind: llm.PartImage, MediaType: "image/png", Data: []byte{1}})}}, llm.Traits{}},
		{"messages", llm.Chat{Messages: []llm.Message{says(llm.RoleSystem, text("Be brief."))}}, llm.Traits{}},
		{"messages", llm.Chat{Messages: user(text(" "))}, llm.Traits{}},
		{"messages[0]", llm.Chat{Messages: []llm.Message{says(llm.RoleSystem, llm.Part{Kind: llm.PartImage}), hi}}, llm.Traits{}},
		{"messages[1]", llm.Chat{Messages: []llm.Message{hi, results("a", llm.Part{Kind: llm.PartAudio})}}, llm.Traits{}},
	} {
		chat := with(c.chat)
		_, _, err := EncodeChat(&chat, c.t, false)
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.InvalidRequest || f.Param != c.param || f.Hint == "" || !strings.HasPrefix(f.Message, c.param+": ") {
			t.Errorf("%s: %v", c.param, err)
		}
	}
}

// What is left out or bent is named.
func TestAdapted(t *testing.T) {
	t.Parallel()
	hot, k, no := 1.5, int64(3), false
	s := llm.Sampling{Temperature: &hot, TopP: &hot, TopK: &k, Seed: &k, FrequencyPenalty: &hot, PresencePenalty: &hot, LogitBias: []byte("{}"), Verbosity: "low"}
	hi := []llm.Message{says(llm.RoleUser, text("Hi"))}
	for _, c := range []struct {
		chat llm.Chat
		t    llm.Traits
		want []string
	}{
		{llm.Chat{}, llm.Traits{}, nil},
		{llm.Chat{Sampling: s}, llm.Traits{}, []string{"temperature", "frequency_penalty", "presence_penalty", "seed", "logit_bias", "verbosity"}},
		{llm.Chat{Sampling: s}, llm.Traits{NoSampling: true}, []string{"temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "logit_bias", "verbosity", "top_k"}},
		{llm.Chat{Reasoning: llm.Reasoning{Effort: "low"}}, llm.Traits{}, []string{"reasoning"}},
		{llm.Chat{Tools: []llm.Tool{{Name: "f"}}, Parallel: &no}, llm.Traits{}, []string{"parallel_tool_calls"}},
		{llm.Chat{Tools: []llm.Tool{{Name: "f", Extra: []llm.Member{{Name: "eager_input_streaming", Value: []byte("true"), Means: llm.MeansKnob}}}}}, llm.Traits{}, []string{"eager_input_streaming"}},
		{llm.Chat{User: "ü", CacheKey: "k", ServiceTier: "flex", Metadata: map[string]string{"a": "ü"}}, llm.Traits{}, []string{"metadata", "user", "service_tier", "prompt_cache_key"}},
		{llm.Chat{User: "u", ServiceTier: "default", Metadata: map[string]string{"a": "b"}}, llm.Traits{}, nil},
	} {
		c.chat.Messages = hi
		if _, adapted := encoded(t, &c.chat, c.t); !cmp.Equal(adapted, c.want) {
			t.Errorf("%+v: %v, want %v", c.chat, adapted, c.want)
		}
	}
}

// A call and its result have one id here, and no two calls the same, whatever ids the caller has.
func TestIDsAreToldApart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := rapid.SliceOfNDistinct(rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"a.1", "a_1", "a-1", "a_1_2", strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("a", 62) + "_2"})), 1, 8, rapid.ID).Draw(t, "ids")
		e := encoder{ids: map[string]string{}}
		var here []string
		for _, id := range ids {
			if id == "" {
				continue
			}
			got := e.callID(&llm.Part{CallID: id})
			if again := e.callID(&llm.Part{CallID: id}); again != got || !idForm.MatchString(got) || slices.Contains(here, got) {
				t.Fatalf("%q is %q, then %q, beside %q", id, got, again, here)
			}
			here = append(here, got)
		}
	})
}
