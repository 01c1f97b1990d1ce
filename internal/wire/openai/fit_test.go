package openai

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

func said(role llm.Role, parts ...llm.Part) llm.Message { return llm.Message{Role: role, Parts: parts} }

func text(s string) llm.Part { return llm.Part{Kind: llm.PartText, Text: s} }

// fitted is what becomes of a chat of the Anthropic dialect, without the model.
func fitted(t *testing.T, c llm.Chat, traits llm.Traits) (body, adapted string) {
	t.Helper()
	c.Dialect = llm.Anthropic
	b, names, err := TranslateChat(&c, Server{Model: "m", Traits: traits, StreamUsage: true})
	if err != nil {
		t.Fatal(err)
	}
	body, _ = strings.CutPrefix(string(b), `{"model":"m",`)
	return body, strings.Join(names, " ")
}

func TestTranslateConversation(t *testing.T) {
	t.Parallel()
	image := llm.Part{Kind: llm.PartImage, MediaType: "image/png", Data: []byte("x")}
	call := func(id, arguments string) llm.Part {
		return llm.Part{Kind: llm.PartToolCall, CallID: id, ToolName: "f", Arguments: arguments}
	}
	result := func(id string, failed bool, parts ...llm.Part) llm.Message {
		return said(llm.RoleTool, llm.Part{Kind: llm.PartToolResult, CallID: id, IsError: failed, Result: parts})
	}
	thought := llm.Part{Kind: llm.PartReasoning, Text: "why", Signature: "s"}
	marked := llm.Part{Kind: llm.PartText, Text: "long", Cache: &llm.CacheMark{TTL: "1h"}}
	for name, tt := range map[string]struct {
		messages      []llm.Message
		takes         llm.Takes
		want, adapted string
	}{
		"system in blocks": {
			[]llm.Message{said(llm.RoleSystem, text("a"), text("b")), said(llm.RoleUser, text("hi"))}, 0,
			`{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","content":"hi"}`, "",
		},
		"late system, in place": {
			[]llm.Message{said(llm.RoleUser, text("a")), said(llm.RoleSystem, text("s")), said(llm.RoleUser, text("b"), text(""))}, 0,
			`{"role":"user","content":"a"},{"role":"system","content":"s"},{"role":"user","content":"b"}`, "",
		},
		"trap 10: results": {
			[]llm.Message{said(llm.RoleAssistant, call("1", ""), call("2", `{"a":1}`)), result("1", false, text("r")), result("2", true, text("no")), said(llm.RoleUser, text("go"))}, 0,
			`{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"2","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},` +
				`{"role":"tool","tool_call_id":"1","content":"r"},{"role":"tool","tool_call_id":"2","content":"Error: no"},{"role":"user","content":"go"}`, "",
		},
		"trap 26: images of results": {
			[]llm.Message{result("1", false, image), result("2", false), said(llm.RoleUser, text("go"))}, 0,
			`{"role":"tool","tool_call_id":"1","content":"[see the next message]"},{"role":"tool","tool_call_id":"2","content":""},` +
				`{"role":"user","content":[{"type":"text","text":"The result of call 1:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,eA=="}},{"type":"text","text":"go"}]}`, "",
		},
		"trap 27: marks that the server does not take": {[]llm.Message{said(llm.RoleUser, marked)}, 0, `{"role":"user","content":"long"}`, "cache_control"},
		"trap 27: marks that it takes": {
			[]llm.Message{said(llm.RoleUser, marked)}, llm.TakesCacheMarks,
			`{"role":"user","content":[{"type":"text","text":"long","cache_control":{"type":"ephemeral","ttl":"1h"}}]}`, "",
		},
		"reasoning of before, not taken": {
			[]llm.Message{said(llm.RoleAssistant, thought, text("a"), text("b")), said(llm.RoleUser, text("c"))}, 0,
			`{"role":"assistant","content":"ab"},{"role":"user","content":"c"}`, "reasoning_content",
		},
		"reasoning of before, taken": {
			[]llm.Message{said(llm.RoleAssistant, thought, text("a")), said(llm.RoleUser)}, llm.TakesReasoning,
			`{"role":"assistant","content":"a","reasoning_content":"why"},{"role":"user","content":""}`, "",
		},
		"documents": {
			[]llm.Message{said(llm.RoleUser,
				llm.Part{Kind: llm.PartFile, MediaType: "application/pdf", Data: []byte("x"), Filename: "Report"},
				llm.Part{Kind: llm.PartFile, MediaType: "text/plain", Data: []byte("x"), Filename: "Notes"})}, 0,
			`{"role":"user","content":[{"type":"file","file":{"filename":"Report.pdf","file_data":"data:application/pdf;base64,eA=="}},{"type":"text","text":"Notes:\n\nx"}]}`, "",
		},
	} {
		body, adapted := fitted(t, llm.Chat{Messages: tt.messages}, llm.Traits{Takes: tt.takes})
		if diff := cmp.Diff(`"messages":[`+tt.want+`]}`, body); diff != "" || adapted != tt.adapted {
			t.Errorf("%s: adapted %q\n%s", name, adapted, diff)
		}
		if _, err := ParseChat([]byte(`{"model":"m",` + body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTranslateKnobs(t *testing.T) {
	t.Parallel()
	n := func(v int64) *int64 { return &v }
	x := func(v float64) *float64 { return &v }
	no := false
	tools := []llm.Tool{{Name: "f"}, {Name: "g"}}
	const f = `"tools":[{"type":"function","function":{"name":"f"}}`
	for name, tt := range map[string]struct {
		chat          llm.Chat
		traits        llm.Traits
		want, adapted string
	}{
		"trap 28: the cap, older":       {llm.Chat{MaxOutput: n(9)}, llm.Traits{}, `"max_tokens":9`, ""},
		"trap 28: the cap, newer":       {llm.Chat{MaxOutput: n(9)}, llm.Traits{Takes: llm.TakesCompletionCap}, `"max_completion_tokens":9`, ""},
		"a cap beyond the model's":      {llm.Chat{MaxOutput: n(9)}, llm.Traits{MaxOutput: 5}, `"max_tokens":5`, "max_tokens"},
		"top_k":                         {llm.Chat{Sampling: llm.Sampling{TopK: n(5)}}, llm.Traits{}, ``, "top_k"},
		"top_k, taken":                  {llm.Chat{Sampling: llm.Sampling{TopK: n(5)}}, llm.Traits{Takes: llm.TakesTopK}, `"top_k":5`, ""},
		"temperature":                   {llm.Chat{Sampling: llm.Sampling{Temperature: x(0.5)}}, llm.Traits{NoSampling: true}, ``, "temperature"},
		"a usual temperature":           {llm.Chat{Sampling: llm.Sampling{Temperature: x(1)}}, llm.Traits{NoSampling: true}, ``, ""},
		"a budget, not known":           {llm.Chat{Reasoning: llm.Reasoning{Budget: 5000}}, llm.Traits{}, ``, "reasoning"},
		"a budget":                      {llm.Chat{Reasoning: llm.Reasoning{Budget: 5000}}, llm.Traits{Efforts: "low medium high"}, `"reasoning_effort":"medium"`, ""},
		"an effort beyond":              {llm.Chat{Reasoning: llm.Reasoning{Effort: "max"}}, llm.Traits{Efforts: "low medium high"}, `"reasoning_effort":"high"`, "reasoning"},
		"no reasoning":                  {llm.Chat{Reasoning: llm.Reasoning{Off: true}}, llm.Traits{Efforts: "none low"}, `"reasoning_effort":"none"`, ""},
		"no reasoning, not known":       {llm.Chat{Reasoning: llm.Reasoning{Off: true}}, llm.Traits{}, ``, ""},
		"a stream":                      {llm.Chat{Stream: true}, llm.Traits{}, `"stream":true,"stream_options":{"include_usage":true}`, ""},
		"trap 12: allowed tools":        {llm.Chat{Tools: tools, Choice: llm.ToolChoice{Mode: llm.ToolAuto, Names: []string{"f"}}}, llm.Traits{}, f + `],"tool_choice":"auto"`, ""},
		"trap 12: one tool at a time":   {llm.Chat{Tools: tools[:1], Parallel: &no}, llm.Traits{}, f + `],"parallel_tool_calls":false`, ""},
		"a user":                        {llm.Chat{User: "u"}, llm.Traits{}, `"user":"u"`, ""},
		"a schema":                      {llm.Chat{Format: llm.Format{Kind: llm.FormatJSONSchema, Schema: []byte(`{"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false}`)}}, llm.Traits{}, `"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object","properties":{"a":{}},"required":["a"],"additionalProperties":false},"strict":true}}`, ""},
		"a schema that is left open":    {llm.Chat{Format: llm.Format{Kind: llm.FormatJSONSchema, Schema: []byte(`{"type":"object"}`)}}, llm.Traits{}, `"response_format":{"type":"json_schema","json_schema":{"name":"answer","schema":{"type":"object"}}}`, ""},
		"caching of all, and null":      {llm.Chat{Extra: []llm.Member{{Name: "cache_control", Value: []byte(`{"type":"ephemeral"}`), Means: llm.MeansKnob}, {Name: "container", Value: []byte("null")}}}, llm.Traits{}, ``, "cache_control"},
		"a class of service, kept back": {llm.Chat{ServiceTier: "standard_only"}, llm.Traits{}, ``, "service_tier"},
	} {
		tt.chat.Messages = []llm.Message{said(llm.RoleUser, text("hi"))}
		body, adapted := fitted(t, tt.chat, tt.traits)
		rest, _ := strings.CutPrefix(body, `"messages":[{"role":"user","content":"hi"}]`)
		if rest = strings.TrimPrefix(strings.TrimSuffix(rest, "}"), ","); rest != tt.want || adapted != tt.adapted {
			t.Errorf("%s: %s, adapted %q; want %s, %q", name, rest, adapted, tt.want, tt.adapted)
		}
	}
	if _, adapted := fitted(t, llm.Chat{User: strings.Repeat("u", 200), Messages: []llm.Message{said(llm.RoleUser)}}, llm.Traits{}); adapted != "user" {
		t.Errorf("a long user: adapted %q", adapted)
	}
}

// Trap 26: what cannot be said is refused, in the caller's words, and not dropped.
func TestTrap26WhatCannotBeSaidIsRefused(t *testing.T) {
	t.Parallel()
	zero := int64(0)
	user := []llm.Message{said(llm.RoleUser, text("hi"))}
	for param, c := range map[string]llm.Chat{
		"messages[0]":    {Messages: []llm.Message{said(llm.RoleUser, llm.Part{Kind: llm.PartFile, URL: "https://example.com"})}},
		"messages[1].x":  {Messages: []llm.Message{said(llm.RoleSystem, text("s")), said(llm.RoleUser, text("hi")), {Role: llm.RoleUser, Extra: []llm.Member{{Name: "x", Value: []byte("1")}}}}},
		"system":         {Messages: []llm.Message{said(llm.RoleSystem, llm.Part{Kind: llm.PartImage, URL: "u"})}},
		"stop_sequences": {Messages: user, Stop: []string{"a", "b", "c", "d", "e"}},
		"max_tokens":     {Messages: user, MaxOutput: &zero},
		"messages[2]": {Messages: []llm.Message{ // results and what follows them are one of the caller's
			said(llm.RoleUser, text("hi")), said(llm.RoleAssistant, text("a")),
			said(llm.RoleTool, llm.Part{Kind: llm.PartToolResult, CallID: "1"}), said(llm.RoleTool, llm.Part{Kind: llm.PartToolResult, CallID: "2"}),
			said(llm.RoleUser, llm.Part{Kind: llm.PartOther}),
		}},
		"modalities": {Messages: user, Modalities: []string{"audio"}},
		"container":  {Messages: user, Extra: []llm.Member{{Name: "container", Value: []byte(`"c"`)}}},
		"tools[0]":   {Messages: user, Tools: []llm.Tool{{Extra: []llm.Member{{Name: "type", Value: []byte(`"web_search_20250305"`)}}}}},
	} {
		c.Dialect = llm.Anthropic
		_, _, err := TranslateChat(&c, Server{Model: "m"})
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.InvalidRequest || e.Param != param {
			t.Errorf("%s: %v", param, err)
		}
	}
	for name, last := range map[string]llm.Part{"other": {Kind: llm.PartOther}, "image by id": {Kind: llm.PartImage, FileID: "f"}} {
		c := llm.Chat{Dialect: llm.Anthropic, Messages: []llm.Message{said(llm.RoleUser, last)}}
		if _, _, err := TranslateChat(&c, Server{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	c := llm.Chat{Dialect: llm.Anthropic, Messages: append(user, said(llm.RoleAssistant, text("{")))}
	if _, _, err := TranslateChat(&c, Server{}); err == nil {
		t.Error("words to go on from: accepted")
	}
}
