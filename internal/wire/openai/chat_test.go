package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

// everything is a body with the whole vocabulary of the dialect.
const everything = `{
  "model": "gpt-5-mini", "stream": true, "stream_options": {"include_usage": true, "include_obfuscation": false},
  "messages": [
    {"role": "developer", "content": "Be brief."},
    {"role": "system", "content": [{"type": "text", "text": "Cached.", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
    {"role": "user", "name": "ann", "content": [
      {"type": "text", "text": "Look: \ud83d\ude00", "x": 1},
      {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}},
      {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
      {"type": "image_url", "image_url": {"url": "data:image/png;base64,broken"}},
      {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
      {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
      {"type": "file", "file": {"file_id": "file-1"}},
      {"type": "video_url", "video_url": {"url": "https://example.com/v"}}]},
    {"role": "assistant", "content": null, "refusal": null, "reasoning_content": "Thinking.", "tool_calls": [
      {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}, "extra_content": {"google": {"thought_signature": "s"}}},
      {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "", "x": true}},
      {"id": "c3", "type": "custom", "custom": {"name": "run", "input": "ls"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": ""}]},
    {"role": "assistant", "content": "", "audio": {"id": "audio_1"}},
    {"role": "assistant", "content": null, "refusal": "No."},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]},
    {"role": "assistant", "content": "x", "reasoning": "a", "reasoning_details": [
      {"type": "reasoning.text", "text": "b", "signature": "s", "index": 0}, {"type": "reasoning.encrypted", "data": "ZQ=="}]},
    {"role": "assistant", "content": null, "function_call": {"name": "old", "arguments": "{}"}},
    {"role": "function", "name": "old", "content": null}],
  "tools": [
    {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}, "strict": true}},
    {"type": "function", "function": {"name": "g", "x": [1]}, "cache_control": {"type": "ephemeral"}, "y": 2},
    {"type": "custom", "custom": {"name": "run", "description": "shell", "format": {"type": "text"}}},
    {"type": "web_search", "user_location": {"type": "approximate"}}],
  "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
    {"type": "function", "function": {"name": "f"}}, {"type": "custom", "custom": {"name": "run"}}]}},
  "parallel_tool_calls": false,
  "response_format": {"type": "json_schema", "json_schema": {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": false}},
  "reasoning_effort": "low", "verbosity": "low", "temperature": 0.7, "top_p": 1, "frequency_penalty": -0.5, "presence_penalty": 0,
  "seed": 9007199254740993, "n": 2, "logprobs": true, "top_logprobs": 5, "logit_bias": {"50256": -100}, "top_k": 40,
  "max_completion_tokens": 100, "stop": ["a", "b"], "user": "u", "metadata": {"b": "1", "a": ""}, "service_tier": "flex",
  "prompt_cache_key": "k", "prompt_cache_retention": "24h", "safety_identifier": "s", "store": false, "modalities": ["text", "audio"],
  "audio": {"voice": "alloy", "format": "mp3"}, "prediction": {"type": "content", "content": "p"}, "web_search_options": {},
  "guided_json": {"type": "object"}, "chat_template_kwargs": {"enable_thinking": false}, "__proto__": null
}`

// canonical makes texts of JSON equal that mean the same.
func canonical(t interface{ Fatalf(string, ...any) }, text []byte) string {
	v := jsontext.Value(bytes.Clone(text))
	if err := v.Canonicalize(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return string(v)
}

// roundTrip checks that nothing is lost on the way into the canonical form and back.
func roundTrip(t interface{ Fatalf(string, ...any) }, body []byte) *llm.Chat {
	first, err := DecodeChat(body)
	if err != nil {
		t.Fatalf("decode: %v: %s", err, body)
	}
	encoded, err := EncodeChat(first)
	if err != nil {
		t.Fatalf("encode: %v: %s", err, body)
	}
	second, err := DecodeChat(encoded)
	if err != nil {
		t.Fatalf("decode again: %v: %s", err, encoded)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Fatalf("the second decoding differs (-first +second):\n%s\nof %s", diff, body)
	}
	return first
}

func TestChatRoundTrip(t *testing.T) {
	t.Parallel()
	c := roundTrip(t, []byte(everything))
	encoded, err := EncodeChat(c)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(canonical(t, []byte(everything)), canonical(t, encoded)); diff != "" {
		t.Errorf("-sent +encoded:\n%s", diff)
	}
	if _, err := ParseChat([]byte(everything)); err != nil {
		t.Errorf("the strict pass refuses it: %v", err)
	}
}

// TestDecodeChat looks at what the canonical form says of everything.
func TestDecodeChat(t *testing.T) {
	t.Parallel()
	c, err := DecodeChat([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, m := range c.Messages {
		s := string(m.Role)
		for _, p := range m.Parts {
			s += " " + string(p.Kind)
		}
		kinds = append(kinds, s)
	}
	want := []string{
		"developer text", "system text", "user text image image image audio file file other",
		"assistant reasoning tool_call tool_call tool_call", "tool tool_result", "tool tool_result", "assistant",
		"assistant refusal", "assistant refusal", "assistant reasoning reasoning text", "assistant tool_call", "function tool_result",
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	image, audio, file := c.Messages[2].Parts[2], c.Messages[2].Parts[4], c.Messages[2].Parts[5]
	if image.MediaType != "image/png" || string(image.Data) != "\x89PNG\r\n\x1a\n" || image.URL != "" {
		t.Errorf("image: %+v", image)
	}
	if broken := c.Messages[2].Parts[3]; broken.URL != "data:image/png;base64,broken" || broken.Data != nil {
		t.Errorf("a data URL that is not base64 stays a URL: %+v", broken)
	}
	if audio.MediaType != "audio/wav" || string(audio.Data) != "RIFF" {
		t.Errorf("audio: %+v", audio)
	}
	if file.MediaType != "application/pdf" || file.Filename != "a.pdf" || string(file.Data) != "%PDF-" {
		t.Errorf("file: %+v", file)
	}
	if r := c.Messages[9].Parts; r[0].Text != "b" || r[0].Signature != "s" || string(r[1].Redacted) != "ZQ==" {
		t.Errorf("reasoning details: %+v", r)
	}
	if diff := cmp.Diff(llm.ToolChoice{Mode: llm.ToolAuto, Names: []string{"f", "run"}}, c.Choice); diff != "" {
		t.Errorf("choice: %s", diff)
	}
	if m := c.Messages[1].Parts[0].Cache; m == nil || m.TTL != "1h" {
		t.Errorf("cache mark: %+v", m)
	}
	if c.Tools[3].Name != "" || len(c.Tools[3].Extra) != 2 || !c.Tools[2].Custom || *c.MaxOutput != 100 || *c.Sampling.Seed != 9007199254740993 {
		t.Errorf("tools %+v, cap %d", c.Tools, *c.MaxOutput)
	}
}

// TestOlderForms: what is said in an older or odd way is understood, and goes back as it came.
func TestOlderForms(t *testing.T) {
	t.Parallel()
	const hello = `"messages":[{"role":"user","content":"hi"}]`
	seven, nine := int64(7), int64(9)
	tests := map[string]struct {
		members string
		check   func(c *llm.Chat) any
		want    any
	}{
		"max_tokens":            {`"max_tokens":7`, func(c *llm.Chat) any { return c.MaxOutput }, &seven},
		"both caps":             {`"max_tokens":7,"max_completion_tokens":9`, func(c *llm.Chat) any { return c.MaxOutput }, &nine},
		"a cap that is null":    {`"max_tokens":null,"max_completion_tokens":9`, func(c *llm.Chat) any { return c.MaxOutput }, &nine},
		"one stop sequence":     {`"stop":"x"`, func(c *llm.Chat) any { return c.Stop }, []string{"x"}},
		"functions":             {`"functions":[{"name":"f","parameters":{}}]`, func(c *llm.Chat) any { return c.Tools[0].Name }, "f"},
		"functions beside":      {`"functions":null,"tools":[{"type":"function","function":{"name":"f"}}]`, func(c *llm.Chat) any { return c.Tools[0].Name }, "f"},
		"function_call by name": {`"function_call":{"name":"f"}`, func(c *llm.Chat) any { return c.Choice }, llm.ToolChoice{Mode: llm.ToolNamed, Names: []string{"f"}}},
		"function_call auto":    {`"function_call":"auto"`, func(c *llm.Chat) any { return c.Choice.Mode }, llm.ToolAuto},
		"choice of a tool":      {`"tool_choice":{"type":"function","function":{"name":"f"}}`, func(c *llm.Chat) any { return c.Choice.Names }, []string{"f"}},
		"choice of an unknown custom tool": {
			`"tool_choice":{"type":"custom","custom":{"name":"f"}}`, func(c *llm.Chat) any { return c.Choice.Mode }, llm.ToolNamed,
		},
		"format with more in it": {`"response_format":{"type":"json_object","x":1}`, func(c *llm.Chat) any { return c.Format.Kind }, llm.FormatJSON},
		"metadata with numbers":  {`"metadata":{"a":1}`, func(c *llm.Chat) any { return len(c.Metadata) }, 0},
		"stream false":           {`"stream":false`, func(c *llm.Chat) any { return c.Stream }, false},
		"a seed too large":       {`"seed":1e30,"temperature":1e400,"n":1.0`, func(c *llm.Chat) any { return c.Sampling.Seed == nil }, true},
		"null everywhere":        {`"stop":null,"tools":null,"tool_choice":null,"response_format":null,"user":null`, func(c *llm.Chat) any { return len(c.Extra) }, 5},
		"empty everywhere":       {`"stop":[],"tools":[],"user":"","metadata":{},"modalities":[]`, func(c *llm.Chat) any { return len(c.Extra) }, 5},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := []byte(`{"model":"m",` + hello + `,` + tt.members + `}`)
			c := roundTrip(t, body)
			if diff := cmp.Diff(tt.want, tt.check(c)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			encoded, err := EncodeChat(c)
			if err != nil || canonical(t, encoded) != canonical(t, body) {
				t.Errorf("%s became %s, %v", body, encoded, err)
			}
		})
	}
}

// TestOddMessages is TestOlderForms for messages.
func TestOddMessages(t *testing.T) {
	t.Parallel()
	for _, message := range []string{
		`{"role":"assistant","content":null,"function_call":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"}}]}`,
		`{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}`,
		`{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":{"a":1}}}]}`,
		`{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":""}},{}],"function_call":{"name":"g","arguments":""}}`,
		`{"role":"assistant","tool_calls":[],"content":[]}`,
		`{"role":"assistant","refusal":"no"}`,
		`{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"refusal","refusal":"b"}],"refusal":"c"}`,
		`{"role":"assistant","content":"a","reasoning":"b","reasoning_content":"b"}`,
		`{"role":"assistant","content":"a","reasoning":null,"reasoning_content":"b"}`,
		`{"role":"assistant","content":"a","reasoning":"b"}`,
		`{"role":"assistant","content":"a","reasoning_details":[]}`,
		`{"role":"user","content":[{"type":"image_url","image_url":"https://example.com"}]}`,
		`{"role":"user","content":[{"type":"image_url","image_url":{"url":""}},{"type":"image_url","image_url":{"url":"data:image/png;base64,"}}]}`,
		`{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;charset=x;base64,AAAA"}},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAA\n="}}]}`,
		`{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"","format":"wav"}},{"type":"input_audio"}]}`,
		`{"role":"user","content":[{"type":"file","file":{"file_data":"AAAA","filename":"a"}},{"type":"file","file":{}}]}`,
		`{"role":"user","content":[{"type":"text"},{"type":"text","text":null},{"text":"a"},{}]}`,
		`{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral","ttl":""}}],"name":""}`,
		`{"role":"tool","content":"a","tool_call_id":""}`,
		`{"role":"tool","content":[{"type":"image_url","image_url":{"url":"https://example.com"}}],"tool_calls":null,"refusal":"x"}`,
	} {
		body := []byte(`{"model":"m","messages":[` + message + `]}`)
		encoded, err := EncodeChat(roundTrip(t, body))
		if err != nil || canonical(t, encoded) != canonical(t, body) {
			t.Errorf("%s became %s, %v", body, encoded, err)
		}
	}
}

// TestEncodeChatRefuses: what the dialect cannot say is refused and not dropped.
func TestEncodeChatRefuses(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]llm.Message{
		"image by id":      {Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartImage, FileID: "f"}}},
		"audio by URL":     {Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartAudio, URL: "https://example.com"}}},
		"file by URL":      {Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartFile, URL: "https://example.com"}}},
		"failed tool":      {Role: llm.RoleTool, Parts: []llm.Part{{Kind: llm.PartToolResult, IsError: true}}},
		"result in a turn": {Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartText}, {Kind: llm.PartToolResult}}},
		"not UTF-8":        {Role: llm.RoleUser, Parts: []llm.Part{{Kind: llm.PartText, Text: "\xff"}}},
	} {
		if got, err := EncodeChat(&llm.Chat{Model: "m", Messages: []llm.Message{m}}); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
	if _, err := EncodeChat(&llm.Chat{Choice: llm.ToolChoice{Mode: llm.ToolNamed}}); err == nil {
		t.Error("a named tool without a name: accepted")
	}
}

func TestDecodeChatRefuses(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `x`, `[]`, `{}`, `{"messages":{}}`, `{"messages":["a"]}`, `{"messages":[]}`} {
		if c, err := DecodeChat([]byte(body)); err == nil {
			t.Errorf("%s: %+v", body, c)
		}
	}
}

// maybe draws a member with one of the values, or leaves it out.
func maybe(t *rapid.T, o map[string]any, name string, values ...any) {
	if i := rapid.IntRange(-1, len(values)-1).Draw(t, name); i >= 0 {
		o[name] = values[i]
	}
}

type obj = map[string]any

type list = []any

func drawText(t *rapid.T) any {
	return rapid.SampledFrom([]any{"", "a", "two\nlines", "\"quoted\" \\ 日本 😀", "\u2028<>&"}).Draw(t, "text")
}

func drawPart(t *rapid.T) any {
	data := base64.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "bytes"))
	p := rapid.SampledFrom([]obj{
		{"type": "text", "text": drawText(t)},
		{"type": "refusal", "refusal": drawText(t)},
		{"type": "image_url", "image_url": obj{"url": "https://example.com/x", "detail": "high"}},
		{"type": "image_url", "image_url": obj{"url": "data:image/jpeg;base64," + data}},
		{"type": "input_audio", "input_audio": obj{"data": data, "format": "mp3"}},
		{"type": "file", "file": obj{"file_data": "data:application/pdf;base64," + data, "filename": "f"}},
		{"type": "file", "file": obj{"file_id": "f1"}},
		{"type": "video_url", "video_url": obj{"url": "u"}},
		{"type": nil},
	}).Draw(t, "part")
	maybe(t, p, "cache_control", obj{"type": "ephemeral"}, obj{"type": "ephemeral", "ttl": "5m"}, obj{"type": "other"}, nil)
	maybe(t, p, "unknown", nil, 1, obj{"a": list{1}})
	return p
}

func drawCall(t *rapid.T) any {
	c := rapid.SampledFrom([]obj{
		{"id": "c1", "type": "function", "function": obj{"name": "f", "arguments": "{\"a\":"}},
		{"id": "c2", "type": "custom", "custom": obj{"name": "run", "input": "ls"}},
		{"id": "", "type": "function", "function": obj{"name": "f", "arguments": ""}},
		{"function": obj{"name": "f", "arguments": "{}"}},
		{"id": "c3", "type": "other", "other": obj{}},
	}).Draw(t, "call")
	maybe(t, c, "extra_content", obj{"x": 1})
	maybe(t, c, "index", 0)
	return c
}

func drawMessage(t *rapid.T) any {
	m := obj{"role": rapid.SampledFrom([]string{"developer", "system", "user", "assistant", "assistant", "tool", "function"}).Draw(t, "role")}
	maybe(t, m, "content", nil, drawText(t), rapid.SliceOfN(rapid.Custom(drawPart), 0, 3).Draw(t, "parts"))
	maybe(t, m, "name", "ann", "", nil)
	maybe(t, m, "tool_calls", rapid.SliceOfN(rapid.Custom(drawCall), 0, 3).Draw(t, "calls"), nil)
	maybe(t, m, "function_call", nil, obj{"name": "f", "arguments": "{}"}, obj{"name": "f"})
	maybe(t, m, "tool_call_id", "c1", "")
	maybe(t, m, "refusal", nil, "", "no")
	maybe(t, m, "reasoning", nil, "", "why")
	maybe(t, m, "reasoning_content", nil, "", "why")
	maybe(t, m, "reasoning_details", list{}, list{obj{"type": "reasoning.summary", "summary": "s"}}, list{1})
	maybe(t, m, "audio", obj{"id": "a"}, nil)
	maybe(t, m, "annotations", list{})
	return m
}

func drawTool(t *rapid.T) any {
	inner := obj{"name": rapid.SampledFrom([]string{"f", "run", ""}).Draw(t, "tool")}
	maybe(t, inner, "description", "d", "", nil)
	maybe(t, inner, "parameters", obj{"type": "object"}, nil, obj{})
	maybe(t, inner, "strict", true, false, nil)
	maybe(t, inner, "format", obj{"type": "text"})
	kind := rapid.SampledFrom([]string{"function", "custom", "mcp"}).Draw(t, "type")
	tool := obj{"type": kind, kind: inner}
	maybe(t, tool, "cache_control", obj{"type": "ephemeral"}, nil)
	maybe(t, tool, "unknown", 1)
	return tool
}

func drawChat(t *rapid.T) obj {
	ref := func(kind, name string) obj { return obj{"type": kind, kind: obj{"name": name}} }
	c := obj{"model": "m", "messages": rapid.SliceOfN(rapid.Custom(drawMessage), 1, 3).Draw(t, "messages")}
	maybe(t, c, "tools", rapid.SliceOfN(rapid.Custom(drawTool), 0, 3).Draw(t, "tools"), nil)
	maybe(t, c, "functions", nil, list{obj{"name": "f"}})
	maybe(t, c, "tool_choice", nil, "auto", "none", "odd", ref("function", "f"), ref("custom", "run"), ref("custom", "f"),
		obj{"type": "allowed_tools", "allowed_tools": obj{"mode": "required", "tools": list{ref("function", "f"), ref("custom", "run")}}},
		obj{"type": "allowed_tools", "allowed_tools": obj{"mode": "odd", "tools": list{}}})
	maybe(t, c, "function_call", nil, "auto", obj{"name": "f"})
	maybe(t, c, "response_format", nil, obj{"type": "text"}, obj{"type": "json_object"}, obj{"type": "odd"},
		obj{"type": "json_schema", "json_schema": obj{"name": "n", "schema": obj{"a": 1}, "strict": true}},
		obj{"type": "json_schema", "json_schema": obj{"x": 1}}, obj{"type": "json_schema"})
	for _, name := range []string{"temperature", "top_p", "frequency_penalty", "presence_penalty"} {
		maybe(t, c, name, 0, 0.25, -1.5, nil, "odd")
	}
	for _, name := range []string{"seed", "n", "top_logprobs", "top_k", "max_tokens", "max_completion_tokens"} {
		maybe(t, c, name, 1, 0, -7, 1.5, nil)
	}
	for _, name := range []string{"stream", "logprobs", "parallel_tool_calls", "store"} {
		maybe(t, c, name, true, false, nil)
	}
	for _, name := range []string{"user", "service_tier", "reasoning_effort", "verbosity", "prompt_cache_key", "safety_identifier"} {
		maybe(t, c, name, "x", "", nil)
	}
	maybe(t, c, "stop", "a", list{"a"}, list{"a", "b"}, list{}, list{1}, nil)
	maybe(t, c, "modalities", list{"text"}, list{}, nil)
	maybe(t, c, "metadata", obj{"b": "1", "a": "2"}, obj{}, obj{"a": 1}, nil)
	maybe(t, c, "logit_bias", obj{"1": -1}, nil)
	maybe(t, c, "stream_options", obj{"include_usage": true}, nil)
	maybe(t, c, "unknown", obj{"deep": list{nil, obj{}}}, nil)
	return c
}

// TestChatIsLossless: over the whole vocabulary, in its plain and its odd forms, what goes in comes out, and a second
// decoding gives what the first gave.
func TestChatIsLossless(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		body, err := json.Marshal(drawChat(t))
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := EncodeChat(roundTrip(t, body))
		if err != nil {
			t.Fatal(err)
		}
		if want, got := canonical(t, body), canonical(t, encoded); want != got {
			t.Fatalf("sent    %s\nencoded %s", want, got)
		}
	})
}

func BenchmarkDecodeChat10K(b *testing.B) {
	body := chatBody(10 << 10)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeChat(body); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleDecodeChat() {
	c, err := DecodeChat([]byte(`{"model":"m","messages":[{"role":"user","content":"Hello"}],"top_k":5,"guided_regex":"a+"}`))
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Messages[0].Role, strings.ToUpper(c.Messages[0].Parts[0].Text), *c.Sampling.TopK, c.Extra[0].Name)
	// Output: user HELLO 5 guided_regex
}
