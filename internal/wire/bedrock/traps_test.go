package bedrock

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// These tests are named after mistakes that other gateways made.

// told is what a stream of events tells.
func told(t *testing.T, events ...string) (all []llm.Delta, s *Stream) {
	t.Helper()
	s = &Stream{Reading: Reading{Canonical: true}}
	for _, e := range events {
		name, data, _ := strings.Cut(e, " ")
		var ev llm.Event
		if err := s.Scan(name, []byte(data), &ev, nil); err != nil {
			t.Fatal(err)
		}
		for _, d := range ev.Deltas {
			d.Open = clone(d.Open)
			all = append(all, d)
		}
	}
	return all, s
}

func clone(p *llm.Part) *llm.Part {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

const (
	begins  = `contentBlockStart {"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"a","name":"now"}}}`
	begins1 = `contentBlockStart {"contentBlockIndex":1,"start":{"toolUse":{"toolUseId":"b","name":"now"}}}`
	ends    = `contentBlockStop {"contentBlockIndex":0}`
	ends1   = `contentBlockStop {"contentBlockIndex":1}`
)

// A call without arguments is streamed without any piece, or with an empty one. Its arguments are {}, once.
func TestTrap08CallsWithoutArguments(t *testing.T) {
	t.Parallel()
	for _, events := range [][]string{{begins, ends}, {begins, `contentBlockDelta {"contentBlockIndex":0,"delta":{"toolUse":{"input":""}}}`, ends}} {
		all, _ := told(t, events...)
		said := ""
		for _, d := range all {
			said += d.Text
		}
		if said != "{}" {
			t.Errorf("%q", said)
		}
	}
	body := []byte(`{"output":{"message":{"content":[{"toolUse":{"toolUseId":"a","name":"now"}}]}},"stopReason":"tool_use"}`)
	var ev llm.Event
	if err := ScanAnswer(body, &ev, Reading{Canonical: true}); err != nil || ev.Deltas[0].Text != "{}" {
		t.Errorf("%v %+v", err, ev.Deltas)
	}
}

// Parallel results are one turn, before what the user says next.
func TestTrap10ParallelResultsAreOneTurn(t *testing.T) {
	t.Parallel()
	r, _ := encoded(t, &llm.Chat{Messages: []llm.Message{
		says(llm.RoleUser, text("Hi")), says(llm.RoleAssistant, calls("a", "now", ""), calls("b", "now", "")),
		results("a", text("noon")), says(llm.RoleUser, text("And?")), results("b", text("one")),
	}}, llm.Traits{})
	if len(r.Messages) != 3 || len(r.Messages[2].Content) != 3 || r.Messages[2].Content[0].ToolResult == nil || r.Messages[2].Content[1].ToolResult == nil {
		t.Errorf("%+v", r.Messages)
	}
}

// A schema without a type, or none, is an object's; strict is passed on where it is known.
func TestTrap11SchemasOfTools(t *testing.T) {
	t.Parallel()
	yes := true
	r, _ := encoded(t, &llm.Chat{Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}, Tools: []llm.Tool{
		{Name: "a"}, {Name: "b", Schema: []byte("null")}, {Name: "c", Schema: []byte(`{"properties":{}}`)}, {Name: "d", Schema: []byte(`{"type":null}`), Strict: &yes},
	}}, llm.Traits{})
	for _, tool := range r.ToolConfig.Tools {
		var schema struct{ Type string }
		if err := json.Unmarshal(tool.ToolSpec.InputSchema.JSON, &schema); err != nil || schema.Type != "object" || tool.ToolSpec.Strict != (tool.ToolSpec.Name == "d") {
			t.Errorf("%+v", tool.ToolSpec)
		}
	}
}

// Reasoning goes back as it came: in its place, with its proof, the empty and the unreadable too.
func TestTrap13ReasoningIsReplayedInItsOrder(t *testing.T) {
	t.Parallel()
	thought := func(text, signature string) llm.Part {
		return llm.Part{Kind: llm.PartReasoning, Text: text, Signature: signature}
	}
	r, _ := encoded(t, &llm.Chat{Messages: []llm.Message{
		says(llm.RoleUser, text("Hi")),
		says(llm.RoleAssistant, thought("", "s0"), text("One."), llm.Part{Kind: llm.PartReasoning, Redacted: []byte("cmVk")}, thought("two", "s2"), calls("a", "now", "")),
		results("a", text("noon")),
	}}, llm.Traits{})
	got := r.Messages[1].Content
	if len(got) != 5 || got[0].ReasoningContent.ReasoningText.Signature != "s0" || *got[1].Text != "One." || got[2].ReasoningContent.RedactedContent != "cmVk" ||
		got[3].ReasoningContent.ReasoningText.Text != "two" || got[4].ToolUse == nil {
		t.Errorf("%+v", got)
	}
}

// In the middle of a tool loop whose reasoning the caller dropped, the model is not asked to reason, and that is told.
func TestTrap15ReasoningLostInALoop(t *testing.T) {
	t.Parallel()
	c := llm.Chat{Reasoning: llm.Reasoning{Effort: "high"}, Messages: []llm.Message{
		says(llm.RoleUser, text("Hi")), says(llm.RoleAssistant, calls("a", "now", "")), results("a", text("noon")),
	}}
	r, adapted := encoded(t, &c, llm.Traits{Thinking: llm.ThinkingBudget})
	if r.AdditionalModelRequestFields != nil || !slices.Contains(adapted, "reasoning") {
		t.Errorf("%+v, adapted %v", r.AdditionalModelRequestFields, adapted)
	}
	c.Messages[1].Parts = append([]llm.Part{{Kind: llm.PartReasoning, Text: "Hm.", Signature: "s"}}, c.Messages[1].Parts...)
	if r, adapted := encoded(t, &c, llm.Traits{Thinking: llm.ThinkingBudget}); r.AdditionalModelRequestFields["thinking"] == nil || len(adapted) > 0 {
		t.Errorf("%+v, adapted %v", r.AdditionalModelRequestFields, adapted)
	}
}

// What was read from the cache and written to it is counted beside the rest, and is a part of it: once.
func TestTrap18UsageHoldsTheCache(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]llm.Usage{
		`{"inputTokens":3,"cacheReadInputTokens":90,"cacheWriteInputTokens":7,"outputTokens":5,"totalTokens":105}`: {Input: 100, CachedInput: 90, CacheWrite: 7, Output: 5},
		`{"outputTokens":5}`:                                               {Output: 5, Estimated: true},
		`{"inputTokens":3,"totalTokens":10}`:                               {Input: 3, Output: 7},
		`{"inputTokens":-1,"cacheReadInputTokens":"9","outputTokens":1e3}`: {},
		`{}`: {}, `null`: {}, `[]`: {},
	} {
		got, ok := usageOf([]byte(text))
		if d := cmp.Diff(want, got); d != "" || ok != (want != llm.Usage{}) {
			t.Errorf("%s: %s", text, d)
		}
	}
}

// Blocks that overlap on the wire do not overlap in the canonical form, and lose nothing.
func TestTrap19BlocksThatOverlap(t *testing.T) {
	t.Parallel()
	all, _ := told(t, begins, begins1, `contentBlockDelta {"contentBlockIndex":1,"delta":{"toolUse":{"input":"{\"b\":1}"}}}`,
		`contentBlockDelta {"contentBlockIndex":0,"delta":{"toolUse":{"input":"{\"a\":1}"}}}`, ends1, ends,
		`contentBlockDelta {"contentBlockIndex":2,"delta":{"reasoningContent":{"text":"Hm."}}}`, `contentBlockDelta {"contentBlockIndex":2,"delta":{"text":"So."}}`,
		`messageStop {"stopReason":"end_turn"}`)
	parts(t, all)
	said := map[int]string{}
	for _, d := range all {
		said[d.Part] += d.Text
	}
	if d := cmp.Diff(map[int]string{0: `{"a":1}`, 1: `{"b":1}`, 2: "Hm.", 3: "So."}, said); d != "" {
		t.Error(d)
	}
}

// What cannot be said is refused, never dropped.
func TestTrap26NothingIsDroppedSilently(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]llm.Part{
		"an image by its URL":      {Kind: llm.PartImage, URL: "https://a.test/b.png"},
		"an image by its id":       {Kind: llm.PartImage, FileID: "f"},
		"an image of another type": {Kind: llm.PartImage, Data: []byte{1}, MediaType: "image/tiff"},
		"a file by its id":         {Kind: llm.PartFile, FileID: "f"},
		"a file by its URL":        {Kind: llm.PartFile, URL: "https://a.test/b.pdf"},
		"a file of another type":   {Kind: llm.PartFile, Data: []byte{1}, MediaType: "application/zip"},
		"audio of another type":    {Kind: llm.PartAudio, Data: []byte{1}, MediaType: "audio/midi"},
		"a part of another kind":   {Kind: llm.PartOther},
	} {
		for place, m := range map[string]llm.Message{
			"messages[1]": says(llm.RoleUser, text("Look:"), p), "messages[2]": results("a", p),
		} {
			messages := []llm.Message{says(llm.RoleUser, text("Hi")), says(llm.RoleAssistant, calls("a", "now", "")), m}
			if place == "messages[1]" {
				messages = []llm.Message{messages[0], m}
			}
			_, _, err := EncodeChat(&llm.Chat{Messages: messages}, llm.Traits{}, false)
			if f, ok := errors.AsType[*fault.Error](err); !ok || f.Param != place {
				t.Errorf("%s in %s: %v", name, place, err)
			}
		}
	}
	_, _, err := EncodeChat(&llm.Chat{Messages: []llm.Message{says(llm.RoleUser, llm.Part{Kind: llm.PartFile, MediaType: "application/pdf", Data: []byte{1}})}}, llm.Traits{}, false)
	if err == nil {
		t.Error("a document without text is let pass")
	}
}

// Marks for caching become points behind what they mark.
func TestTrap27MarksForCaching(t *testing.T) {
	t.Parallel()
	mark := &llm.CacheMark{TTL: "1h"}
	marked := func(p llm.Part) llm.Part { p.Cache = mark; return p }
	r, _ := encoded(t, &llm.Chat{
		Messages: []llm.Message{
			says(llm.RoleSystem, marked(text("Be brief."))), says(llm.RoleUser, marked(text("Hi"))), says(llm.RoleAssistant, calls("a", "now", "")),
			results("a", marked(text("noon"))),
		},
		Tools: []llm.Tool{{Name: "now", Cache: mark}},
	}, llm.Traits{})
	result := r.Messages[2].Content
	if r.System[1].CachePoint.TTL != "1h" || r.Messages[0].Content[1].CachePoint == nil || r.ToolConfig.Tools[1].CachePoint == nil ||
		len(result) != 2 || result[1].CachePoint == nil || len(result[0].ToolResult.Content) != 1 {
		t.Errorf("%+v", r)
	}
}

// The cap on tokens arrives, and an answer that met it says so, also within a call.
func TestTrap28CapsOnTokens(t *testing.T) {
	t.Parallel()
	most := int64(7)
	r, _ := encoded(t, &llm.Chat{Messages: []llm.Message{says(llm.RoleUser, text("Hi"))}, MaxOutput: &most}, llm.Traits{})
	if r.InferenceConfig["maxTokens"] != 7.0 {
		t.Errorf("%v", r.InferenceConfig)
	}
	all, _ := told(t, begins, `contentBlockDelta {"contentBlockIndex":0,"delta":{"toolUse":{"input":"{\"a"}}}`, `messageStop {"stopReason":"max_tokens"}`)
	if last := all[len(all)-1]; last.Finish != llm.FinishLength {
		t.Errorf("%+v", all)
	}
}

// A conversation with calls is sent with tools, though the caller sends none any more, or forbids their use.
func TestTrapHistoryOfToolsWithoutTools(t *testing.T) {
	t.Parallel()
	history := []llm.Message{says(llm.RoleUser, text("Hi")), says(llm.RoleAssistant, calls("a", "now", "")), results("a", text("noon"))}
	r, _ := encoded(t, &llm.Chat{Messages: history}, llm.Traits{})
	if r.ToolConfig == nil || len(r.ToolConfig.Tools) != 1 || r.ToolConfig.Tools[0].ToolSpec.Name != "now" || r.ToolConfig.ToolChoice != nil {
		t.Errorf("%+v", r.ToolConfig)
	}
	r, _ = encoded(t, &llm.Chat{Messages: history, Tools: []llm.Tool{{Name: "now"}, {Name: "b"}}, Choice: llm.ToolChoice{Mode: llm.ToolNone}}, llm.Traits{})
	if r.ToolConfig == nil || len(r.ToolConfig.Tools) != 2 || r.ToolConfig.ToolChoice != nil || len(r.System) != 1 || *r.System[0].Text != noCallHint {
		t.Errorf("%+v", r)
	}
	r, _ = encoded(t, &llm.Chat{Messages: history[:1], Tools: []llm.Tool{{Name: "now"}}, Choice: llm.ToolChoice{Mode: llm.ToolNone}}, llm.Traits{})
	if r.ToolConfig != nil || r.System != nil {
		t.Errorf("%+v", r)
	}
	r, _ = encoded(t, &llm.Chat{Messages: append(history[:1:1], results("a", text("noon")))}, llm.Traits{})
	if r.ToolConfig == nil || len(r.ToolConfig.Tools) != 1 {
		t.Errorf("results without calls: %+v", r.ToolConfig)
	}
}

// A provider that never closes a block does not make what waits for it grow without end.
func TestTrap19WhatWaitsIsBounded(t *testing.T) {
	t.Parallel()
	var s Stream
	scan := func(format string, args ...any) error {
		name, data, _ := strings.Cut(fmt.Sprintf(format, args...), " ")
		var ev llm.Event
		return s.Scan(name, []byte(data), &ev, nil)
	}
	var err error
	for i := 0; err == nil && i <= maxBlocks+1; i++ {
		err = scan(`contentBlockDelta {"contentBlockIndex":%d,"delta":{"text":"a"}}`, i)
	}
	if !errors.Is(err, ErrGarbage) {
		t.Errorf("many blocks: %v", err)
	}
	s = Stream{}
	long := strings.Repeat("a", 1<<20)
	err = scan(`contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"a"}}`)
	for i := 0; err == nil && i <= maxHeld/len(long)+1; i++ {
		err = scan(`contentBlockDelta {"contentBlockIndex":1,"delta":{"text":%q}}`, long)
	}
	if !errors.Is(err, ErrGarbage) {
		t.Errorf("much text: %v", err)
	}
	s = Stream{}
	for range 20 {
		if err := scan(`contentBlockDelta {"contentBlockIndex":0,"delta":{"text":%q}}`, long); err != nil {
			t.Errorf("one long block: %v", err)
		}
	}
}
