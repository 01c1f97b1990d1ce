package responses

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

// everything is a body with the whole vocabulary of the dialect.
const everything = `{
  "model": "gpt-5-mini", "stream": true, "stream_options": {"include_obfuscation": false}, "instructions": "Be brief.",
  "input": [
    {"role": "developer", "content": "In English."},
    {"type": "message", "role": "system", "content": [{"type": "input_text", "text": "Now.", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
    {"type": "message", "id": "msg_0", "status": "completed", "role": "user", "content": [
      {"type": "input_text", "text": "Look: \ud83d\ude00"},
      {"type": "input_image", "image_url": "https://example.com/a.png", "detail": "low"},
      {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"},
      {"type": "input_image", "file_id": "file-2", "detail": "high"},
      {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="},
      {"type": "input_file", "file_url": "https://example.com/a.pdf"},
      {"type": "input_file", "file_id": "file-1"},
      {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
      {"type": "input_video", "video_url": "https://example.com/v"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "First."}, {"type": "summary_text", "text": "Then."}],
      "content": [{"type": "reasoning_text", "text": "All."}], "encrypted_content": "gAAAAB", "status": "completed"},
    {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary", "content": [
      {"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []}, {"type": "refusal", "refusal": "Not all."}]},
    {"type": "message", "id": "msg_2", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "Still.", "annotations": []}]},
    {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{\"a\":1}", "status": "completed"},
    {"type": "function_call", "call_id": "c2", "name": "g", "arguments": ""},
    {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c3", "name": "run", "input": "ls"},
    {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "q"}},
    {"type": "function_call_output", "call_id": "c1", "output": "42", "id": "fco_1", "status": "completed"},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "https://example.com/b.png"}]},
    {"type": "custom_tool_call_output", "call_id": "c3", "output": "README"},
    {"type": "item_reference", "id": "msg_9"},
    {"role": "assistant", "content": "Easy."},
    {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "anthropic:c2ln"},
    {"type": "reasoning", "id": "rs_3", "summary": [], "encrypted_content": "anthropic:redacted:ZGF0YQ=="},
    {"role": "user", "content": "And?"}],
  "tools": [
    {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}, "strict": true},
    {"type": "function", "name": "g", "parameters": null, "strict": false, "defer_loading": true},
    {"type": "custom", "name": "run", "description": "shell", "format": {"type": "text"}},
    {"type": "web_search", "user_location": {"type": "approximate"}}],
  "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "run"}]},
  "parallel_tool_calls": false,
  "text": {"format": {"type": "json_schema", "name": "n", "description": "d", "schema": {"type": "object"}, "strict": false}, "verbosity": "low"},
  "reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"], "temperature": 0.7, "top_p": 1, "top_logprobs": 5,
  "max_output_tokens": 100, "max_tool_calls": 3, "user": "u", "metadata": {"b": "1", "a": ""}, "service_tier": "flex", "background": false,
  "prompt_cache_key": "k", "prompt_cache_retention": "24h", "safety_identifier": "s", "store": false, "truncation": "disabled",
  "previous_response_id": null, "__proto__": null
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
	if want, got := canonical(t, body), canonical(t, encoded); want != got {
		t.Fatalf("sent    %s\nencoded %s", want, got)
	}
	return first
}

func TestChatRoundTrip(t *testing.T) {
	t.Parallel()
	roundTrip(t, []byte(everything))
	if _, err := Parse([]byte(everything)); err != nil {
		t.Errorf("the strict pass refuses it: %v", err)
	}
}

// TestDecodeChat looks at what the canonical form says of everything.
func TestDecodeChat(t *testing.T) {
	t.Parallel()
	c := roundTrip(t, []byte(everything))
	var kinds []string
	for _, m := range c.Messages {
		s := string(m.Role)
		for _, p := range m.Parts {
			s += " " + string(p.Kind)
		}
		kinds = append(kinds, s)
	}
	want := []string{
		"system text", "developer text", "system text", "user text image image image file file file audio other",
		"assistant reasoning reasoning reasoning text refusal text tool_call tool_call tool_call other",
		"tool tool_result", "tool tool_result", "tool tool_result",
		"assistant other text reasoning reasoning", "user text",
	}
	if diff := cmp.Diff(want, kinds); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	media := c.Messages[3].Parts
	if image := media[2]; image.MediaType != "image/png" || string(image.Data) != "\x89PNG\r\n\x1a\n" || image.URL != "" || image.Detail != "auto" {
		t.Errorf("image: %+v", image)
	}
	if file := media[4]; file.MediaType != "application/pdf" || file.Filename != "a.pdf" || string(file.Data) != "%PDF-" {
		t.Errorf("file: %+v", file)
	}
	last := c.Messages[8].Parts
	if p := last[2]; p.Signer != llm.Anthropic || p.Signature != "c2ln" || p.Redacted != nil {
		t.Errorf("proof: %+v", p)
	}
	if p := last[3]; p.Signer != llm.Anthropic || p.Signature != "" || string(p.Redacted) != "ZGF0YQ==" {
		t.Errorf("redacted: %+v", p)
	}
	if said := c.Messages[4].Parts; said[2].Signature != "" || said[0].Text != "First." || !said[0].Summary || said[2].Summary {
		t.Errorf("the vendor's own proof is for the vendor: %+v", said[:3])
	}
	if diff := cmp.Diff(llm.ToolChoice{Mode: llm.ToolAuto, Names: []string{"f", "run"}}, c.Choice); diff != "" {
		t.Errorf("choice: %s", diff)
	}
	if c.Format.Kind != llm.FormatJSONSchema || c.Format.Name != "n" || c.Sampling.Verbosity != "low" || c.Reasoning.Effort != "low" ||
		!c.Reasoning.Encrypted || *c.MaxOutput != 100 || *c.Sampling.TopLogprobs != 5 || c.User != "u" {
		t.Errorf("%+v", c)
	}
}

// What says nothing to a model does not keep a request from models of other dialects, and what does is not lost on the way there.
func TestMeanings(t *testing.T) {
	t.Parallel()
	tests := map[string]llm.Meaning{
		`"store":true`:                                   llm.MeansNothing,
		`"previous_response_id":"resp_1"`:                llm.MeansNothing,
		`"truncation":"disabled"`:                        llm.MeansNothing,
		`"truncation":"auto"`:                            llm.MeansKnob,
		`"include":["file_search_call.results"]`:         llm.MeansNothing,
		`"include":["odd"]`:                              llm.MeansSomething,
		`"text":{"format":null,"verbosity":"low","x":1}`: llm.MeansSomething,
		`"reasoning":{"effort":null}`:                    llm.MeansNothing,
		`"reasoning":{"context":"all_turns"}`:            llm.MeansSomething,
		`"safety_identifier":"s"`:                        llm.MeansKnob,
		`"max_tool_calls":3`:                             llm.MeansSomething,
		`"prompt":{"id":"p"}`:                            llm.MeansSomething,
		`"tool_choice":{"type":"web_search"}`:            llm.MeansSomething,
	}
	for member, want := range tests {
		c := roundTrip(t, []byte(`{"model":"m","input":"hi",`+member+`}`))
		if len(c.Extra) != 1 || c.Extra[0].Means != want {
			t.Errorf("%s: %+v, want meaning %d", member, c.Extra, want)
		}
	}
	items := map[string]llm.Meaning{
		`{"type":"function_call","id":"fc","status":"completed","call_id":"c","name":"f","arguments":"{}"}`:                 llm.MeansNothing,
		`{"type":"function_call","namespace":"n","call_id":"c","name":"f","arguments":"{}"}`:                                llm.MeansSomething,
		`{"type":"message","id":"m","status":"completed","role":"assistant","content":[{"type":"output_text","text":"a"}]}`: llm.MeansNothing,
		`{"type":"reasoning","id":"r","summary":[],"encrypted_content":"gAAA"}`:                                             llm.MeansNothing,
	}
	for item, want := range items {
		c := roundTrip(t, []byte(`{"model":"m","input":[`+item+`]}`))
		if x := c.Messages[0].Parts[0].Extra; len(x) != 1 || x[0].Means != want {
			t.Errorf("%s: %+v, want meaning %d", item, x, want)
		}
	}
}

// TestOddForms: what is said in an odd way goes back as it came.
func TestOddForms(t *testing.T) {
	t.Parallel()
	for _, input := range []string{
		`""`, `"hi"`, `[{"role":"user","content":"hi"}]`, `[{"role":"user","content":""}]`, `[{"role":"user","content":[]}]`, `[{"role":"user"}]`,
		`[{"type":"message","role":"user","content":"hi"}]`, `[{"role":"user","content":null},{"role":"user","content":"x","name":"n"}]`,
		`[{"role":"assistant","content":""}]`, `[{"role":"assistant","content":[]}]`, `[{"role":"assistant"}]`, `[{"role":"assistant","content":null}]`,
		`[{"role":"assistant","content":"a"},{"role":"assistant","content":"b"},{"role":"assistant","content":[{"type":"input_text","text":"c"}]}]`,
		`[{"role":"assistant","content":[{"type":"output_text","text":"a"},{"type":"odd"}]}]`, `[{"role":"assistant","content":[{"type":"odd"}]}]`,
		`[{"role":"assistant","content":[{"type":"output_text"}]}]`, `[{"role":"user","content":[{"type":"output_text","text":"a"}]}]`,
		`[{"type":"reasoning","id":"r","summary":[]}]`, `[{"type":"reasoning","id":"r"}]`, `[{"type":"reasoning","summary":[],"content":[]}]`,
		`[{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":""}]}]`, `[{"type":"reasoning","summary":[],"content":null,"encrypted_content":null}]`,
		`[{"type":"reasoning","summary":[{"type":"summary_text","text":""}]},{"type":"reasoning","summary":[{"type":"other","text":""}]}]`,
		`[{"type":"reasoning","summary":[{"type":"summary_text","text":"a"}],"content":[{"type":"reasoning_text","text":""}]}]`,
		`[{"type":"reasoning","summary":[],"encrypted_content":"other:x"},{"type":"reasoning","summary":[],"encrypted_content":"gemini:"}]`,
		`[{"type":"reasoning","summary":[],"encrypted_content":"gemini:redacted:"}]`,
		`[{"type":"function_call","call_id":"","name":"f","arguments":""}]`, `[{"type":"function_call","call_id":"c","name":"f","arguments":{}}]`,
		`[{"type":"function_call_output","call_id":"c","output":null}]`, `[{"type":"function_call_output","output":"x"}]`, `[{"type":"function_call_output","call_id":"c","output":[]}]`,
		`[{"id":"msg_1"}]`, `[{"type":"item_reference","id":"msg_1"},{"type":null,"id":"x"}]`, `[{"type":"message","content":"x"}]`, `[{}]`,
		`[{"role":"user","content":[{"type":"input_image","image_url":"a","file_id":"b"},{"type":"input_image"},{"type":"input_file","file_data":"AAAA"}]}]`,
		`[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,broken"},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav","x":1}}]}]`,
	} {
		for _, instructions := range []string{``, `,"instructions":null`, `,"instructions":""`, `,"instructions":"i"`} {
			roundTrip(t, []byte(`{"model":"m","input":`+input+instructions+`}`))
		}
	}
}

func TestDecodeChatRefuses(t *testing.T) {
	t.Parallel()
	for _, body := range []string{``, `x`, `[]`, `{}`, `{"input":{}}`, `{"input":["a"]}`, `{"input":[]}`} {
		if c, err := DecodeChat([]byte(body)); err == nil {
			t.Errorf("%s: %+v", body, c)
		}
	}
}

// TestEncodeChatRefuses: what the dialect cannot say is refused and not dropped.
func TestEncodeChatRefuses(t *testing.T) {
	t.Parallel()
	two := int64(2)
	say := func(role llm.Role, p llm.Part) llm.Chat {
		return llm.Chat{Dialect: llm.Anthropic, Messages: []llm.Message{{Role: role, Parts: []llm.Part{p}}}}
	}
	for name, c := range map[string]llm.Chat{
		"a failed tool":       say(llm.RoleTool, llm.Part{Kind: llm.PartToolResult, IsError: true}),
		"a result in a turn":  say(llm.RoleUser, llm.Part{Kind: llm.PartToolResult}),
		"a part of another":   say(llm.RoleUser, llm.Part{Kind: llm.PartOther}),
		"an item of another":  say(llm.RoleAssistant, llm.Part{Kind: llm.PartOther}),
		"audio by URL":        say(llm.RoleUser, llm.Part{Kind: llm.PartAudio, URL: "https://example.com"}),
		"not UTF-8":           say(llm.RoleUser, llm.Part{Kind: llm.PartText, Text: "\xff"}),
		"stop sequences":      {Stop: []string{"a"}},
		"two answers":         {Sampling: llm.Sampling{N: &two}},
		"a tool of another":   {Tools: []llm.Tool{{}}},
		"a tool without name": {Choice: llm.ToolChoice{Mode: llm.ToolNamed}},
	} {
		if got, err := EncodeChat(&c); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// A chat of another dialect becomes items of the types that the dialect has, and none of its own Extra is in them.
func TestEncodeOthers(t *testing.T) {
	t.Parallel()
	c := &llm.Chat{Dialect: llm.Anthropic, Model: "m", Messages: []llm.Message{
		{Role: llm.RoleUser, Plain: true, Parts: []llm.Part{{Kind: llm.PartText, Text: "Hi"}}},
		{Role: llm.RoleAssistant, Parts: []llm.Part{
			{Kind: llm.PartReasoning, Text: "Hm.", Signature: "s"}, {Kind: llm.PartReasoning, Redacted: []byte("d")},
			{Kind: llm.PartText, Text: "A", Extra: []llm.Member{{Name: "x", Value: []byte("1")}}}, {Kind: llm.PartText, Text: "B"},
			{Kind: llm.PartToolCall, CallID: "c", ToolName: "f", Arguments: "{}"},
		}},
		{Role: llm.RoleTool, Parts: []llm.Part{{Kind: llm.PartToolResult, CallID: "c", Result: []llm.Part{{Kind: llm.PartText, Text: "1"}}}}},
	}, Extra: []llm.Member{{Name: "x", Value: []byte("1")}}}
	got, err := EncodeChat(c)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"model":"m","input":[{"type":"message","role":"user","content":"Hi"},
	{"type":"reasoning","summary":[{"type":"summary_text","text":"Hm."}],"encrypted_content":"anthropic:s"},
	{"type":"reasoning","summary":[],"encrypted_content":"anthropic:redacted:d"},
	{"type":"message","role":"assistant","content":[{"type":"output_text","text":"A","annotations":[]},{"type":"output_text","text":"B","annotations":[]}]},
	{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},
	{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"1"}]}]}`
	if diff := cmp.Diff(canonical(t, []byte(want)), canonical(t, got)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
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
		{"type": "input_text", "text": drawText(t)},
		{"type": "output_text", "text": drawText(t)},
		{"type": "output_text", "text": drawText(t), "annotations": list{}},
		{"type": "refusal", "refusal": drawText(t)},
		{"type": "input_image", "image_url": "https://example.com/x", "detail": "high"},
		{"type": "input_image", "image_url": "data:image/jpeg;base64," + data},
		{"type": "input_image", "image_url": nil, "file_id": "f"},
		{"type": "input_audio", "input_audio": obj{"data": data, "format": "mp3"}},
		{"type": "input_file", "file_data": "data:application/pdf;base64," + data, "filename": "f"},
		{"type": "input_file", "file_url": "https://example.com/x"},
		{"type": "input_video"},
		{"type": nil},
	}).Draw(t, "part")
	maybe(t, p, "unknown", nil, 1, obj{"a": list{1}})
	return p
}

func drawContent(t *rapid.T) any {
	if rapid.Bool().Draw(t, "plain") {
		return drawText(t)
	}
	return rapid.SliceOfN(rapid.Custom(drawPart), 0, 3).Draw(t, "parts")
}

func drawItem(t *rapid.T) any {
	o := obj{}
	maybe(t, o, "id", "x_1", nil, "")
	maybe(t, o, "status", "completed", "incomplete")
	kind := rapid.SampledFrom([]string{
		"", "message", "assistant", "assistant", "reasoning", "reasoning", "function_call", "custom_tool_call", "function_call_output", "custom_tool_call_output",
		"item_reference", "web_search_call",
	}).Draw(t, "type")
	switch kind {
	case "", "message", "assistant":
		o["role"] = rapid.SampledFrom([]string{"user", "system", "developer"}).Draw(t, "role")
		if kind == "assistant" {
			kind, o["role"] = rapid.SampledFrom([]string{"", "message"}).Draw(t, "typed"), "assistant"
		}
		o["content"] = drawContent(t)
		maybe(t, o, "phase", "commentary", nil)
	case "reasoning":
		piece := func(kind string) *rapid.Generator[any] {
			return rapid.Custom(func(t *rapid.T) any { return obj{"type": kind, "text": drawText(t)} })
		}
		o["summary"] = rapid.SliceOfN(piece("summary_text"), 0, 2).Draw(t, "summary")
		maybe(t, o, "content", rapid.SliceOfN(piece("reasoning_text"), 0, 2).Draw(t, "content"), nil)
		maybe(t, o, "encrypted_content", "gAAA", "anthropic:s", "bedrock:redacted:d", "", nil, ":", "gemini:")
	case "function_call", "custom_tool_call":
		o["call_id"], o["name"] = "c", "f"
		name := map[bool]string{true: "arguments", false: "input"}[kind == "function_call"]
		maybe(t, o, name, "", "{}", `{"a":`, nil, 1)
		maybe(t, o, "namespace", "n", nil)
	case "function_call_output", "custom_tool_call_output":
		o["call_id"] = "c"
		maybe(t, o, "output", drawContent(t), nil)
	}
	if kind != "" {
		o["type"] = kind
	}
	maybe(t, o, "unknown", 1, nil)
	return o
}

func drawTool(t *rapid.T) any {
	tool := obj{"type": rapid.SampledFrom([]string{"function", "custom", "web_search", "mcp"}).Draw(t, "type")}
	maybe(t, tool, "name", "f", "run", "", nil)
	maybe(t, tool, "description", "d", "", nil)
	maybe(t, tool, "parameters", obj{"type": "object"}, nil, obj{})
	maybe(t, tool, "strict", true, false, nil)
	maybe(t, tool, "format", obj{"type": "text"}, obj{"type": "grammar"})
	return tool
}

func drawChat(t *rapid.T) obj {
	ref := func(kind, name string) obj { return obj{"type": kind, "name": name} }
	c := obj{"model": "m", "input": drawText(t)}
	if rapid.Bool().Draw(t, "items") {
		c["input"] = rapid.SliceOfN(rapid.Custom(drawItem), 1, 5).Draw(t, "input")
	}
	maybe(t, c, "instructions", "i", "", nil)
	maybe(t, c, "tools", rapid.SliceOfN(rapid.Custom(drawTool), 0, 3).Draw(t, "tools"), nil)
	maybe(t, c, "tool_choice", nil, "auto", "none", "odd", ref("function", "f"), ref("custom", "run"), ref("custom", "f"), obj{"type": "file_search"},
		obj{"type": "allowed_tools", "mode": "required", "tools": list{ref("function", "f"), ref("custom", "run")}},
		obj{"type": "allowed_tools", "mode": "auto", "tools": list{obj{"type": "web_search"}}},
		obj{"type": "allowed_tools", "mode": "odd", "tools": list{}})
	format := obj{}
	maybe(t, format, "format", nil, obj{"type": "text"}, obj{"type": "json_object"}, obj{"type": "odd"}, obj{"type": "text", "x": 1},
		obj{"type": "json_schema", "name": "n", "schema": obj{"a": 1}, "strict": true, "description": "d"}, obj{"type": "json_schema", "name": ""})
	maybe(t, format, "verbosity", "low", "", nil)
	maybe(t, format, "x", 1)
	maybe(t, c, "text", format, nil)
	reasoning := obj{}
	maybe(t, reasoning, "effort", "low", nil, "")
	maybe(t, reasoning, "summary", "auto", nil)
	maybe(t, reasoning, "generate_summary", "auto")
	maybe(t, c, "reasoning", reasoning, nil)
	for _, name := range []string{"temperature", "top_p"} {
		maybe(t, c, name, 0, 0.25, -1.5, nil, "odd")
	}
	for _, name := range []string{"top_logprobs", "max_output_tokens", "max_tool_calls"} {
		maybe(t, c, name, 1, 0, -7, 1.5, nil)
	}
	for _, name := range []string{"stream", "parallel_tool_calls", "store", "background"} {
		maybe(t, c, name, true, false, nil)
	}
	for _, name := range []string{"user", "service_tier", "prompt_cache_key", "safety_identifier", "previous_response_id", "truncation"} {
		maybe(t, c, name, "x", "", nil)
	}
	maybe(t, c, "include", list{"reasoning.encrypted_content"}, list{"reasoning.encrypted_content", "message.output_text.logprobs"}, list{"message.output_text.logprobs"}, list{"file_search_call.results", "reasoning.encrypted_content"}, list{}, list{1}, nil)
	maybe(t, c, "metadata", obj{"b": "1", "a": "2"}, obj{}, obj{"a": 1}, nil)
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
		roundTrip(t, body)
	})
}

// TestTrap10OneTurn: what the model said and called in one answer is one turn, as other dialects want it, and so are tools that take
// free text, which agents for programming live by.
func TestTrap10OneTurn(t *testing.T) {
	t.Parallel()
	c := roundTrip(t, []byte(`{"model":"m","instructions":"i","input":[{"role":"user","content":"Hi"},
		{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gemini:p"},
		{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{"type":"output_text","text":"I look.","annotations":[]}]},
		{"type":"function_call","id":"fc_1","call_id":"c1","name":"f","arguments":"{}"},
		{"type":"custom_tool_call","id":"ctc_1","call_id":"c2","name":"apply_patch","input":"*** Begin Patch"},
		{"type":"function_call_output","call_id":"c1","output":"1"},{"type":"custom_tool_call_output","call_id":"c2","output":"2"}],
		"tools":[{"type":"custom","name":"apply_patch","format":{"type":"text"}}]}`))
	var got []string
	for _, m := range c.Messages {
		s := string(m.Role)
		for _, p := range m.Parts {
			s += " " + string(p.Kind)
			if p.Custom {
				s += " custom"
			}
		}
		got = append(got, s)
	}
	want := []string{"system text", "user text", "assistant reasoning text tool_call tool_call custom", "tool tool_result", "tool tool_result custom"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if p := c.Messages[2].Parts[0]; p.Signer != llm.Gemini || p.Signature != "p" {
		t.Errorf("%+v", p)
	}
	for _, m := range c.Messages {
		for _, p := range m.Parts {
			for _, x := range p.Extra {
				if !x.Idle() {
					t.Errorf("%s would be refused elsewhere: %s", x.Name, x.Value)
				}
			}
		}
	}
	if !c.Tools[0].Custom || !c.Tools[0].Extra[0].Idle() {
		t.Errorf("%+v", c.Tools[0])
	}
}
