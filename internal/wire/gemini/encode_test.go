package gemini

import (
	"encoding/json"
	"errors"
	"fmt"
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
	SystemInstruction *content
	Contents          []content
	Tools             []struct {
		FunctionDeclarations []struct {
			Name                 string
			ParametersJSONSchema json.RawMessage
		}
	}
	ToolConfig struct {
		FunctionCallingConfig struct {
			Mode                 string
			AllowedFunctionNames []string
		}
	}
	GenerationConfig map[string]any
	Labels           map[string]string
}

type content struct {
	Role  string
	Parts []contentPart
}

// A contentPart has exactly one of these, beside the proof.
type contentPart struct {
	Text                 *string
	ThoughtSignature     string
	InlineData, FileData *struct{ MimeType, Data, FileURI string }
	FunctionCall         *struct {
		ID, Name string
		Args     map[string]any
	}
	FunctionResponse *struct {
		ID, Name string
		Response map[string]string
	}
}

// encoded encodes a chat and reads it back.
func encoded(t interface {
	Helper()
	Fatalf(format string, args ...any)
}, c *llm.Chat, traits llm.Traits) (r request, adapted []string) {
	t.Helper()
	body, adapted, err := EncodeChat(c, traits, Options{})
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
	case llm.PartReasoning:
		p.Signature = rapid.SampledFrom([]string{"", "sig"}).Draw(t, "signature")
		p.Signer = rapid.SampledFrom([]llm.Dialect{"", llm.Gemini}).Draw(t, "signer")
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
		case llm.RoleAssistant:
			kinds = []llm.PartKind{llm.PartText, llm.PartReasoning, llm.PartRefusal}
		}
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			m.Parts = append(m.Parts, drawPart(t, kinds...))
		}
		var ids []string
		if m.Role == llm.RoleAssistant {
			for k := range rapid.IntRange(0, 3).Draw(t, "calls") {
				id := fmt.Sprintf("%s.%d.%d", rapid.SampledFrom([]string{"call", strings.Repeat("x", 80), "ü"}).Draw(t, "id"), i, k)
				ids = append(ids, id)
				p := calls(id, rapid.SampledFrom([]string{"now", "weather"}).Draw(t, "tool"), rapid.SampledFrom([]string{"", "{}", " {\"a\":1}"}).Draw(t, "arguments"))
				if rapid.Bool().Draw(t, "signed") {
					p.Signature, p.Signer = "proof", llm.Gemini
				}
				m.Parts = append(m.Parts, p)
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

// Whatever a caller of the OpenAI dialect may send, the turns keep the rules of this one.
func TestTurnsKeepTheRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawChat(t)
		r, _ := encoded(t, c, llm.Traits{Signatures: true})
		open := map[string]string{} // the tools of calls that wait
		for i, turn := range r.Contents {
			if turn.Role != sideUser && turn.Role != sideModel || len(turn.Parts) == 0 {
				t.Fatalf("turn %d of %s has %d parts", i, turn.Role, len(turn.Parts))
			}
			called, answered, others := 0, 0, 0
			waiting := len(open)
			for _, p := range turn.Parts {
				switch {
				case p.Text != nil && *p.Text == "":
					t.Fatalf("an empty text in turn %d", i)
				case p.FunctionCall != nil:
					if p.FunctionCall.Args == nil || turn.Role != sideModel || called == 0 && p.ThoughtSignature == "" {
						t.Fatalf("call %+v", p)
					}
					called++
					open[p.FunctionCall.ID] = p.FunctionCall.Name
				case p.FunctionResponse != nil:
					if open[p.FunctionResponse.ID] != p.FunctionResponse.Name || turn.Role != sideUser || p.FunctionResponse.Response == nil {
						t.Fatalf("result %+v of %v", p.FunctionResponse, open)
					}
					answered++
					delete(open, p.FunctionResponse.ID)
				default:
					others++
				}
			}
			if answered != waiting || answered > 0 && others > 0 {
				t.Fatalf("turn %d has %d results and %d others for %d calls", i, answered, others, waiting)
			}
		}
	})
}

// Nothing that was said is lost: every text, image, document, call and result is in the request.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := drawChat(t)
		r, _ := encoded(t, c, llm.Traits{})
		var got, want []string
		if r.SystemInstruction != nil {
			r.Contents = append(r.Contents, *r.SystemInstruction)
		}
		for _, turn := range r.Contents {
			for _, p := range turn.Parts {
				switch {
				case p.Text != nil:
					got = append(got, "text "+*p.Text)
				case p.InlineData != nil:
					got = append(got, "data "+p.InlineData.MimeType)
				case p.FunctionCall != nil:
					got = append(got, "call "+p.FunctionCall.ID)
				case p.FunctionResponse != nil:
					got = append(got, "result "+p.FunctionResponse.ID+p.FunctionResponse.Response["output"])
				}
			}
		}
		for _, m := range c.Messages {
			for _, p := range m.Parts {
				switch p.Kind {
				case llm.PartText, llm.PartRefusal:
					if p.Text != "" {
						want = append(want, "text "+p.Text)
					}
				case llm.PartImage, llm.PartFile:
					want = append(want, "data "+p.MediaType)
				case llm.PartToolCall:
					want = append(want, "call "+p.CallID)
				case llm.PartToolResult:
					var said []string
					for _, q := range p.Result {
						if q.Kind == llm.PartText {
							said = append(said, q.Text)
						} else {
							want = append(want, "data "+q.MediaType)
						}
					}
					want = append(want, "result "+p.CallID+strings.Join(said, "\n"))
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

// What the dialect cannot say is refused, and the refusal says where.
func TestRefusals(t *testing.T) {
	t.Parallel()
	yes := true
	hi := says(llm.RoleUser, text("Hi"))
	user := func(p llm.Part) []llm.Message { return []llm.Message{says(llm.RoleUser, p)} }
	for _, c := range []struct {
		param string
		chat  llm.Chat
	}{
		{"logprobs", llm.Chat{Sampling: llm.Sampling{Logprobs: &yes}}},
		{"modalities", llm.Chat{Modalities: []string{"text", "audio"}}},
		{"stop", llm.Chat{Stop: []string{"1", "2", "3", "4", "5", "6"}}},
		{"response_format", llm.Chat{Format: llm.Format{Kind: "grammar"}}},
		{"tools[0]", llm.Chat{Tools: []llm.Tool{{Name: "f", Custom: true}}}},
		{"tools[0]", llm.Chat{Tools: []llm.Tool{{Extra: []llm.Member{{Name: "type", Value: []byte(`"web_search"`)}}}}}},
		{"tools[0]", llm.Chat{Tools: []llm.Tool{{Name: strings.Repeat("f", 129)}}}},
		{"tools[0]", llm.Chat{Tools: []llm.Tool{{Name: "1a"}}}},
		{"tools[0].x", llm.Chat{Tools: []llm.Tool{{Name: "f", Extra: []llm.Member{{Name: "x", Value: []byte("1")}}}}}},
		{"tool_choice", llm.Chat{Tools: []llm.Tool{{Name: "f"}}, Choice: llm.ToolChoice{Mode: "sometimes"}}},
		{"tool_choice", llm.Chat{Choice: llm.ToolChoice{Mode: "sometimes"}}},
		{"tool_choice", llm.Chat{Tools: []llm.Tool{{Name: "f"}}, Choice: llm.ToolChoice{Mode: llm.ToolAuto, Names: []string{"g"}}}},
		{"web_search_options", llm.Chat{Extra: []llm.Member{{Name: "web_search_options", Value: []byte(`{"a":1}`)}}}},
		{"generationConfig", llm.Chat{Extra: []llm.Member{{Name: "generationConfig", Value: []byte("[1]")}}}},
		{"messages[0].tool_calls", llm.Chat{Messages: user(calls("a", "b", `{"cut`))}},
		{"messages[0].tool_calls", llm.Chat{Messages: user(calls("a", "b c", "{}"))}},
		{"messages[0]", llm.Chat{Messages: user(llm.Part{Kind: llm.PartToolCall, Custom: true})}},
		{"messages[0].audio", llm.Chat{Messages: []llm.Message{{Role: llm.RoleUser, Parts: []llm.Part{text("a")}, Extra: []llm.Member{{Name: "audio", Value: []byte(`{"id":"a"}`)}}}}}},
		{"messages[0].x", llm.Chat{Messages: user(llm.Part{Kind: llm.PartToolCall, ToolName: "f", Extra: []llm.Member{{Name: "x", Value: []byte("1")}}})}},
		{"messages", llm.Chat{Messages: []llm.Message{says(llm.RoleSystem, text("Be brief."))}}},
		{"messages", llm.Chat{Messages: user(text(""))}},
		{"messages[0]", llm.Chat{Messages: []llm.Message{says(llm.RoleSystem, llm.Part{Kind: llm.PartImage}), hi}}},
		{"messages[1]", llm.Chat{Messages: []llm.Message{hi, results("a", text("of no call"))}}},
	} {
		if c.chat.Messages == nil {
			c.chat.Messages = []llm.Message{hi}
		}
		_, _, err := EncodeChat(&c.chat, llm.Traits{}, Options{})
		f, ok := errors.AsType[*fault.Error](err)
		if !ok || f.Code != fault.InvalidRequest || f.Param != c.param || f.Hint == "" || !strings.HasPrefix(f.Message, c.param+": ") {
			t.Errorf("%s: %v", c.param, err)
		}
	}
}

// What is left out or bent is named.
func TestAdapted(t *testing.T) {
	t.Parallel()
	hot, k, no, yes := 2.5, int64(3), false, true
	s := llm.Sampling{Temperature: &hot, TopP: &hot, TopK: &k, Seed: &k, FrequencyPenalty: &hot, PresencePenalty: &hot, LogitBias: []byte("{}"), Verbosity: "low"}
	hi := []llm.Message{says(llm.RoleUser, text("Hi"))}
	for _, c := range []struct {
		chat llm.Chat
		t    llm.Traits
		want []string
	}{
		{llm.Chat{}, llm.Traits{}, nil},
		{llm.Chat{Sampling: s}, llm.Traits{}, []string{"temperature", "logit_bias", "verbosity"}},
		{llm.Chat{Sampling: s}, llm.Traits{NoPenalties: true}, []string{"temperature", "frequency_penalty", "presence_penalty", "logit_bias", "verbosity"}},
		{llm.Chat{Sampling: s}, llm.Traits{NoSampling: true}, []string{"temperature", "top_p", "top_k", "logit_bias", "verbosity"}},
		{llm.Chat{Reasoning: llm.Reasoning{Effort: "low"}}, llm.Traits{}, []string{"reasoning"}},
		{llm.Chat{Reasoning: llm.Reasoning{Effort: "none"}}, llm.Traits{}, nil},
		{llm.Chat{Reasoning: llm.Reasoning{Off: true}}, llm.Traits{Thinking: llm.ThinkingEffort}, []string{"reasoning"}},
		{llm.Chat{Reasoning: llm.Reasoning{Budget: 50}}, llm.Traits{Thinking: llm.ThinkingBudget, LeastThinking: 128}, []string{"reasoning"}},
		{llm.Chat{Reasoning: llm.Reasoning{Budget: 50000}}, llm.Traits{Thinking: llm.ThinkingBudget, MostThinking: 32768}, []string{"reasoning"}},
		{llm.Chat{Tools: []llm.Tool{{Name: "f"}}, Parallel: &no}, llm.Traits{}, []string{"parallel_tool_calls"}},
		{llm.Chat{Tools: []llm.Tool{{Name: "f", Extra: []llm.Member{{Name: "eager_input_streaming", Value: []byte("true"), Means: llm.MeansKnob}}}}}, llm.Traits{}, []string{"eager_input_streaming"}},
		{llm.Chat{Tools: []llm.Tool{{Name: "f", Strict: &yes}}}, llm.Traits{}, []string{"strict"}},
		{llm.Chat{Tools: []llm.Tool{{Name: "f", Strict: &yes}}, Choice: llm.ToolChoice{Mode: llm.ToolRequired}}, llm.Traits{}, nil},
		{llm.Chat{User: "u", CacheKey: "k", ServiceTier: "flex", Metadata: map[string]string{"a": "b"}}, llm.Traits{}, []string{"metadata", "user", "service_tier", "prompt_cache_key"}},
		{llm.Chat{ServiceTier: "default"}, llm.Traits{}, nil},
	} {
		c.chat.Messages = hi
		if _, adapted := encoded(t, &c.chat, c.t); !cmp.Equal(adapted, c.want) {
			t.Errorf("%+v: %v, want %v", c.chat, adapted, c.want)
		}
	}
}

// How much the model shall think is what was asked for, within what it takes.
func TestThinking(t *testing.T) {
	t.Parallel()
	level := func(efforts string) llm.Traits { return llm.Traits{Thinking: llm.ThinkingEffort, Efforts: efforts} }
	budget := llm.Traits{Thinking: llm.ThinkingBudget, LeastThinking: 128, MostThinking: 24576}
	for _, c := range []struct {
		r    llm.Reasoning
		t    llm.Traits
		want string
	}{
		{llm.Reasoning{Effort: "minimal"}, level("low high"), "low"},
		{llm.Reasoning{Effort: "medium"}, level("low high"), "high"},
		{llm.Reasoning{Effort: "medium"}, level("low medium high"), "medium"},
		{llm.Reasoning{Effort: "xhigh"}, level("low high"), "high"},
		{llm.Reasoning{Effort: "high"}, level("minimal low"), "low"},
		{llm.Reasoning{Effort: "minimal"}, level(""), "low"},
		{llm.Reasoning{Effort: "medium"}, level(""), "high"},
		{llm.Reasoning{Budget: 1000}, level("low medium high"), "low"},
		{llm.Reasoning{Budget: 5000}, level("low medium high"), "medium"},
		{llm.Reasoning{Budget: 50000}, level("low medium high"), "high"},
		{llm.Reasoning{Off: true}, level("minimal low"), "minimal"},
		{llm.Reasoning{Budget: 700}, budget, "700"},
		{llm.Reasoning{Budget: -1}, budget, "-1"},
		{llm.Reasoning{Budget: 50}, budget, "128"},
		{llm.Reasoning{Effort: "max"}, budget, "24576"},
		{llm.Reasoning{Effort: "odd"}, budget, "-1"},
		{llm.Reasoning{Off: true, Effort: "high"}, budget, "0"},
	} {
		r, _ := encoded(t, &llm.Chat{Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}, Reasoning: c.r}, c.t)
		config, _ := r.GenerationConfig[thinkingField].(map[string]any)
		got := fmt.Sprint(config["thinkingLevel"])
		if c.t.Thinking == llm.ThinkingBudget {
			got = fmt.Sprint(config["thinkingBudget"])
		}
		if shown := config["includeThoughts"] == true; got != c.want || shown == c.r.Off {
			t.Errorf("%+v: %v, want %s", c.r, config, c.want)
		}
	}
	own := &llm.Chat{
		Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}, Reasoning: llm.Reasoning{Effort: "low"},
		Extra: []llm.Member{{Name: configField, Value: []byte(`{"thinkingConfig":{"thinkingBudget":7}}`)}},
	}
	if r, _ := encoded(t, own, budget); r.GenerationConfig[thinkingField].(map[string]any)["thinkingBudget"] != 7.0 {
		t.Errorf("%v", r.GenerationConfig)
	}
}

// A chat to be counted is the chat, with what has tokens.
func TestCounts(t *testing.T) {
	t.Parallel()
	c := &llm.Chat{Messages: []llm.Message{says(llm.RoleSystem, text("Be brief.")), says(llm.RoleUser, text("Hi"))}, Tools: []llm.Tool{{Name: "f"}}, Choice: llm.ToolChoice{Mode: llm.ToolAuto}}
	for vertex, want := range map[bool]string{
		false: `{"generateContentRequest":{"model":"models/m","contents":[{"role":"user","parts":[{"text":"Hi"}]}],"systemInstruction":{"parts":[{"text":"Be brief."}]},` +
			`"tools":[{"functionDeclarations":[{"name":"f"}]}],"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}}}}`,
		true: `{"contents":[{"role":"user","parts":[{"text":"Hi"}]}],"systemInstruction":{"parts":[{"text":"Be brief."}]},"tools":[{"functionDeclarations":[{"name":"f"}]}]}`,
	} {
		if body, _, err := EncodeCount(c, "models/m", llm.Traits{}, Options{Vertex: vertex}); err != nil || string(body) != want {
			t.Errorf("%v %s", err, body)
		}
	}
	if _, _, err := EncodeCount(&llm.Chat{}, "models/m", llm.Traits{}, Options{}); err == nil {
		t.Error("nothing is counted")
	}
	for body, want := range map[string]int64{`{"totalTokens":31,"cachedContentTokenCount":3}`: 31, `{"totalTokens":-1}`: 0, `{}`: 0, `[`: 0} {
		if n, err := ScanCount([]byte(body)); n != want || (err == nil) != (want > 0) {
			t.Errorf("%s: %d %v", body, n, err)
		}
	}
}
