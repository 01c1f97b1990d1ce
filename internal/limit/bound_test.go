package limit

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/tokens"
	"github.com/penstock/penstock/internal/wire/anthropic"
	"github.com/penstock/penstock/internal/wire/openai"
	"github.com/penstock/penstock/internal/wire/responses"
)

// A tongue is a dialect of clients: how a chat is written in it, and read.
type tongue struct {
	name  string
	cap   string
	parse func([]byte) (*llm.Request, error)
	write func(messages []said, tools []tool) map[string]any
}

// said is a message: texts, and what else is in it.
type said struct {
	role    string
	text    string
	picture []byte // in it, as PNG
	link    string // to a picture
	file    string // id of a file, or a link to it
	result  bool   // it is what a tool answered
}

type tool struct{ name, description, schema string }

var tongues = []tongue{
	{"openai", "max_completion_tokens", openai.ParseChat, writeOpenAI},
	{"anthropic", "max_tokens", anthropic.ParseMessages, writeAnthropic},
	{"responses", "max_output_tokens", responses.Parse, writeResponses},
}

type object = map[string]any

func dataURL(png []byte) string {
	return "data:image/png;base64," + base64.StdEncoding.EncodeToString(png)
}

func writeOpenAI(messages []said, tools []tool) map[string]any {
	var list []any
	for i, m := range messages {
		if m.result {
			id := fmt.Sprint("call_", i)
			list = append(list,
				object{"role": "assistant", "content": nil, "tool_calls": []any{object{"id": id, "type": "function", "function": object{"name": "f", "arguments": `{}`}}}},
				object{"role": "tool", "tool_call_id": id, "content": m.text})
			continue
		}
		if m.role == "assistant" {
			list = append(list, object{"role": m.role, "content": m.text})
			continue
		}
		parts := []any{object{"type": "text", "text": m.text}}
		if m.picture != nil {
			parts = append(parts, object{"type": "image_url", "image_url": object{"url": dataURL(m.picture)}})
		}
		if m.link != "" {
			parts = append(parts, object{"type": "image_url", "image_url": object{"url": m.link, "detail": "high"}})
		}
		if m.file != "" {
			parts = append(parts, object{"type": "file", "file": object{"file_id": m.file}})
		}
		list = append(list, object{"role": m.role, "content": parts})
	}
	out := object{"messages": list}
	var all []any
	for _, t := range tools {
		all = append(all, object{"type": "function", "function": object{"name": t.name, "description": t.description, "parameters": json.RawMessage(t.schema)}})
	}
	if all != nil {
		out["tools"] = all
	}
	return out
}

func writeAnthropic(messages []said, tools []tool) map[string]any {
	var list []any
	for i, m := range messages {
		if m.result {
			id := fmt.Sprint("toolu_", i)
			content := []any{object{"type": "text", "text": m.text + "."}}
			if m.picture != nil {
				content = append(content, object{"type": "image", "source": object{"type": "base64", "media_type": "image/png", "data": base64.StdEncoding.EncodeToString(m.picture)}})
			}
			list = append(list,
				object{"role": "assistant", "content": []any{object{"type": "tool_use", "id": id, "name": "f", "input": object{}}}},
				object{"role": "user", "content": []any{object{"type": "tool_result", "tool_use_id": id, "content": content}}})
			continue
		}
		parts := []any{object{"type": "text", "text": m.text + "."}}
		if m.role != "assistant" {
			if m.picture != nil {
				parts = append(parts, object{"type": "image", "source": object{"type": "base64", "media_type": "image/png", "data": base64.StdEncoding.EncodeToString(m.picture)}})
			}
			if m.link != "" {
				parts = append(parts, object{"type": "image", "source": object{"type": "url", "url": m.link}})
			}
			if m.file != "" {
				parts = append(parts, object{"type": "document", "source": object{"type": "url", "url": "https://x/" + m.file}})
			}
		}
		list = append(list, object{"role": m.role, "content": parts})
	}
	out := object{"messages": list, "max_tokens": 1 << 20}
	var all []any
	for _, t := range tools {
		all = append(all, object{"name": t.name, "description": t.description, "input_schema": json.RawMessage(t.schema)})
	}
	if all != nil {
		out["tools"] = all
	}
	return out
}

func writeResponses(messages []said, tools []tool) map[string]any {
	var list []any
	for i, m := range messages {
		if m.result {
			id := fmt.Sprint("call_", i)
			list = append(list, object{"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"},
				object{"type": "function_call_output", "call_id": id, "output": m.text})
			continue
		}
		if m.role == "assistant" {
			list = append(list, object{"role": m.role, "content": []any{object{"type": "output_text", "text": m.text}}})
			continue
		}
		parts := []any{object{"type": "input_text", "text": m.text}}
		if m.picture != nil {
			parts = append(parts, object{"type": "input_image", "image_url": dataURL(m.picture)})
		}
		if m.link != "" {
			parts = append(parts, object{"type": "input_image", "image_url": m.link})
		}
		if m.file != "" {
			parts = append(parts, object{"type": "input_file", "file_id": m.file})
		}
		list = append(list, object{"role": m.role, "content": parts})
	}
	out := object{"input": list}
	var all []any
	for _, t := range tools {
		all = append(all, object{"type": "function", "name": t.name, "description": t.description, "parameters": json.RawMessage(t.schema)})
	}
	if all != nil {
		out["tools"] = all
	}
	return out
}

// request makes a request of members, with more of them.
func request(t interface{ Fatal(...any) }, in *tongue, members map[string]any, more ...any) *llm.Request {
	members["model"] = "support"
	for i := 0; i+1 < len(more); i += 2 {
		members[more[i].(string)] = more[i+1]
	}
	body, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	r, err := in.parse(body)
	if err != nil {
		t.Fatal(fmt.Sprint(in.name, ": ", err, ": ", string(body)))
	}
	return r
}

var texts = []string{
	"hello", "1234567890 ", "\u0000\u0001", "日本語の文章です。", "\"\\\n\t", "🌊🌊", "नमस्ते दुनिया", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "{}[]<>", "ÆØÅ", " \u200b ", "x",
}

func drawSaid(t *rapid.T, i int) said {
	m := said{role: rapid.SampledFrom([]string{"user", "assistant"}).Draw(t, "role")}
	if i == 0 {
		m.role = "user"
	}
	for _, part := range rapid.SliceOfN(rapid.SampledFrom(texts), 1, 30).Draw(t, "text") {
		m.text += part
	}
	if m.role == "user" {
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			m.picture = []byte(strings.Repeat("p", rapid.IntRange(1, 5000).Draw(t, "picture")))
		case 1:
			m.link = "https://x/y.png"
		case 2:
			m.file = "file-1"
		case 3:
			m.result = i > 0
		case 4:
			m.picture, m.result = []byte("picture"), i > 0
		}
	}
	return m
}

// TestTheBoundIsOne: no prompt is counted above what is reserved for it, in any dialect, for any family of models; and none is
// reserved more for than the model can read.
func TestTheBoundIsOne(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SampledFrom(tongues).Draw(t, "dialect")
		var messages []said
		for i := range rapid.IntRange(1, 6).Draw(t, "messages") {
			messages = append(messages, drawSaid(t, i))
		}
		var tools []tool
		for i := range rapid.IntRange(0, 4).Draw(t, "tools") {
			tools = append(tools, tool{fmt.Sprint("f", i), rapid.SampledFrom(texts).Draw(t, "about"), `{"type":"object","properties":{"a":{"type":"string"}}}`})
		}
		r := request(t, &in, in.write(messages, tools))
		x := &pipeline.Exchange{Op: llm.OpChat, Request: r}
		model := rapid.SampledFrom([]string{"gpt-4o", "gpt-4o-mini", "gpt-5", "o1", "claude-haiku-4-5", "gemini-3-flash", "llama-2-7b", "qwen3", "nobody"}).Draw(t, "model")
		counted, _ := tokens.Prompt(model, r)
		bound := inputBound(x, model, 0)
		if counted > bound {
			t.Fatalf("%s: %d counted for %s, and %d are the bound of %s", in.name, counted, model, bound, r.Raw)
		}
		context := rapid.Int64Range(1, 2*bound).Draw(t, "context")
		if within := inputBound(x, model, context); within > context || within != min(bound, context) && within < min(counted, context) {
			t.Fatalf("%d are the bound within %d, and %d without", within, context, bound)
		}
	})
}

// TestTheBoundOfAFileThatIsNotThere is what the model can read: a document that the provider fetches may have any length.
func TestTheBoundOfAFileThatIsNotThere(t *testing.T) {
	t.Parallel()
	for i := range tongues {
		in := &tongues[i]
		x := &pipeline.Exchange{Op: llm.OpChat, Request: request(t, in, in.write([]said{{role: "user", text: "what is this?", file: "file-1"}}, nil))}
		if bound := inputBound(x, "gpt-5", 400_000); bound != 400_000 {
			t.Errorf("%s: %d", in.name, bound)
		}
		if bound := inputBound(x, "gpt-5", 0); bound < 100_000 {
			t.Errorf("%s: %d where the context is not known", in.name, bound)
		}
	}
}

// TestBytesOfADocumentBoundNothing: a PDF of a few hundred bytes may have any number of pages, for they may all be one, and formats that
// are packed may hold any length of text.
func TestBytesOfADocumentBoundNothing(t *testing.T) {
	t.Parallel()
	const context = 400_000
	of := func(in *tongue, content, mediaType string) int64 {
		body := map[string]string{
			"openai":    `{"model":"m","messages":[{"role":"user","content":[` + content + `]}]}`,
			"anthropic": `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":[` + content + `]}]}`,
			"responses": `{"model":"m","input":[{"role":"user","content":[` + content + `]}]}`,
		}[in.name]
		r, err := in.parse([]byte(strings.ReplaceAll(body, "TYPE", mediaType)))
		if err != nil {
			t.Fatal(in.name, ": ", err)
		}
		return inputBound(&pipeline.Exchange{Op: llm.OpChat, Request: r}, "gpt-5", context)
	}
	documents := map[string]string{
		"openai":    `{"type":"file","file":{"filename":"a","file_data":"data:TYPE;base64,JVBERi0xLjQ="}}`,
		"anthropic": `{"type":"document","source":{"type":"base64","media_type":"TYPE","data":"JVBERi0xLjQ="}}`,
		"responses": `{"type":"input_file","filename":"a","file_data":"data:TYPE;base64,JVBERi0xLjQ="}`,
	}
	// What has a member more than the canonical form knows is passed on all the same.
	strange := map[string][]string{
		"openai":    {`{"type":"file","file":{"file_id":"f","x":1}}`, `{"type":"image_url","image_url":{"url":"https://x/y.png","x":1}}`},
		"anthropic": {`{"type":"document","source":{"type":"url","url":"https://x/y.pdf","x":1}}`, `{"type":"image","source":{"type":"url","url":"https://x/y.png","x":1}}`},
		"responses": {`{"type":"input_file","file_url":"https://x/y.pdf","x":{}}`, `{"type":"input_image","image_url":"https://x/y.png","x":{}}`},
	}
	for i := range tongues {
		in := &tongues[i]
		for _, packed := range []string{"application/pdf", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "x"} {
			if bound := of(in, documents[in.name], packed); bound != context {
				t.Errorf("%s: a document that is %s has %d tokens at most", in.name, packed, bound)
			}
		}
		if bound := of(in, strange[in.name][0], ""); bound != context {
			t.Errorf("%s: a document that is elsewhere has %d tokens at most", in.name, bound)
		}
		if bound := of(in, strange[in.name][1], ""); bound < tokens.MaxImage("gpt-5") {
			t.Errorf("%s: a picture that is elsewhere has %d tokens at most", in.name, bound)
		}
	}
	const pieces = `{"type":"document","title":"image","source":{"type":"content","content":[{"type":"text","text":"hello"}]}}`
	if bound := of(&tongues[1], pieces, ""); bound > tokens.MaxImage("gpt-5")+1000 {
		t.Errorf("pieces of text have %d tokens at most, and are no longer than their bytes", bound)
	}
	table := strings.ReplaceAll(documents["openai"], "JVBERi0xLjQ=", "YSxiCjEsMg==")
	if bound := of(&tongues[0], table, "text/csv"); bound > 1000 {
		t.Errorf("a text has %d tokens at most, and is no longer than its bytes", bound)
	}
	for _, kept := range []string{
		`{"model":"m","prompt":{"id":"pmpt_1"}}`, `{"model":"m","prompt":{"id":"pmpt_1"},"input":"hello"}`,
		`{"model":"m","input":[{"type":"item_reference","id":"msg_1"},{"role":"user","content":"hello"}]}`,
	} {
		r, err := tongues[2].parse([]byte(kept))
		if err != nil {
			t.Logf("%s: %v", kept, err)
			continue
		}
		if bound := inputBound(&pipeline.Exchange{Op: llm.OpChat, Request: r}, "gpt-5", context); bound != context {
			t.Errorf("%s: what the provider keeps has %d tokens at most", kept, bound)
		}
	}
}

// TestTheBoundHasWhatIsAdded: reasoning that Penstock gives back to a model is part of the prompt.
func TestTheBoundHasWhatIsAdded(t *testing.T) {
	t.Parallel()
	for i := range tongues {
		in := &tongues[i]
		r := request(t, in, in.write([]said{{role: "user", text: "hello"}, {role: "user", text: "42", result: true}}, nil))
		x := &pipeline.Exchange{Op: llm.OpChat, Request: r, Allowance: &allowance{}}
		before := inputBound(x, "claude-haiku-4-5", 0)
		thought := strings.Repeat("I think. ", 1000)
		r.Completed = func(c *llm.Chat) {
			for i := range c.Messages {
				if m := &c.Messages[i]; m.Role == llm.RoleAssistant {
					m.Parts = append([]llm.Part{{Kind: llm.PartReasoning, Text: thought}}, m.Parts...)
				}
			}
		}
		if after := inputBound(x, "claude-haiku-4-5", 0); after < before+int64(len(thought)) {
			t.Errorf("%s: %d with it, %d without", in.name, after, before)
		}
		if len(x.Decisions) > 0 || bytes.Contains(r.AppendBody(nil), []byte("I think")) {
			t.Errorf("%s: counting changed the exchange", in.name)
		}
	}
}

// TestTheBoundHasSignaturesThatAreAdded: a model that is given back what proves its reasoning reads that, too.
func TestTheBoundHasSignaturesThatAreAdded(t *testing.T) {
	t.Parallel()
	r, err := tongues[0].parse([]byte(`{"model":"support","messages":[{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":` +
		`{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"1"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Completed = func(c *llm.Chat) {
		for i := range c.Messages {
			for j := range c.Messages[i].Parts {
				if p := &c.Messages[i].Parts[j]; p.Kind == llm.PartToolCall {
					p.Signature = strings.Repeat("s", 5000)
				}
			}
		}
	}
	x := &pipeline.Exchange{Op: llm.OpChat, Request: r, Allowance: &allowance{}}
	if got := inputBound(x, "gemini-3-pro", 0); got < 5000 {
		t.Errorf("%d tokens are the most", got)
	}
}

// TestTheBoundHasWhatIsGoneOnFrom: what came before is written into a body that itself names only the response it goes on from, and has
// media and turns to be completed as well.
func TestTheBoundHasWhatIsGoneOnFrom(t *testing.T) {
	t.Parallel()
	const context = 400_000
	goesOn := func(before string) *pipeline.Exchange {
		r, err := tongues[2].parse([]byte(`{"model":"support","input":"and now?","previous_response_id":"resp_1"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Set("input", []byte("["+before+`,{"role":"user","content":"and now?"}]`))
		r.Set("previous_response_id", nil)
		return &pipeline.Exchange{Op: llm.OpChat, Request: r, Allowance: &allowance{}}
	}
	said := func(part string) string { return `{"role":"user","content":[` + part + `]}` }
	if got := inputBound(goesOn(said(`{"type":"input_file","file_id":"file_1"}`)), "gpt-5", context); got != context {
		t.Errorf("with a document before, %d tokens are the most", got)
	}
	if got := inputBound(goesOn(said(`{"type":"input_image","image_url":"https://x/y.png"}`)), "gpt-5", context); got < tokens.MaxImage("gpt-5") {
		t.Errorf("with a picture before, %d tokens are the most", got)
	}
	x := goesOn(`{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"1"}`)
	x.Request.Completed = func(c *llm.Chat) {
		c.Messages[0].Parts = append(c.Messages[0].Parts, llm.Part{Kind: llm.PartReasoning, Signature: strings.Repeat("s", 5000)})
	}
	if got := inputBound(x, "gpt-5", context); got < 5000 {
		t.Errorf("with reasoning that is given back, %d tokens are the most", got)
	}
}

// TestTheBoundOfEmbeddings: texts, several, and tokens.
func TestTheBoundOfEmbeddings(t *testing.T) {
	t.Parallel()
	for _, input := range []string{`"one two"`, `["one","two"]`, `[1,2,3,4,5,6,7]`, `[[1,2],[3,4,5]]`, `"` + strings.Repeat("日", 500) + `"`} {
		r, err := openai.ParseEmbeddings([]byte(`{"model":"m","input":` + input + `}`))
		if err != nil {
			t.Fatal(err)
		}
		counted, _ := tokens.Prompt("text-embedding-3-small", r)
		if bound := inputBound(&pipeline.Exchange{Op: llm.OpEmbeddings, Request: r}, "text-embedding-3-small", 0); bound < counted || counted == 0 {
			t.Errorf("%s: %d counted, bound %d", input, counted, bound)
		}
	}
}

// capsOf are what a body caps its answer at, under whatever name.
func capsOf(t *testing.T, body []byte) (caps []int64) {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"max_tokens", "max_completion_tokens", "max_output_tokens"} {
		if n, ok := members[name].(float64); ok {
			caps = append(caps, int64(n))
		}
	}
	return caps
}

// TestCaps: a call is capped as its dialect says that, every cap that its caller set is lowered, and is there again for a later try
// that may have more.
func TestCaps(t *testing.T) {
	t.Parallel()
	for i := range tongues {
		in := &tongues[i]
		for _, own := range [][]any{nil, {in.cap, 1000}, {"max_tokens", 1000}, {"max_tokens", 1000, "max_completion_tokens", 800}, {"max_tokens", 300, "max_completion_tokens", 2000}} {
			if in.name != "openai" && (own == nil && in.name == "anthropic" || len(own) > 2 || own != nil && own[0] != in.cap) {
				continue
			}
			r := request(t, in, in.write([]said{{role: "user", text: "hello"}}, nil), own...)
			before := capsOf(t, r.AppendBody(nil))
			a := &allowance{}
			for _, most := range []int64{500, 64, 700} {
				if got := capTo(r, a, most); got != most {
					t.Errorf("%s %v: %d is in force, and not %d", in.name, own, got, most)
				}
				caps := capsOf(t, r.AppendBody(nil))
				if len(caps) == 0 {
					t.Errorf("%s %v: no cap", in.name, own)
				}
				for k, n := range caps {
					if n > most || len(before) == len(caps) && n != min(most, before[k]) {
						t.Errorf("%s %v: %d where %d are allowed", in.name, own, n, most)
					}
				}
				if c, err := r.Chat(); err != nil || c.MaxOutput == nil || *c.MaxOutput > most {
					t.Errorf("%s %v: the canonical form is not capped (%v)", in.name, own, err)
				}
			}
			capTo(r, a, max(r.MaxOutput, 1<<20)*2)
			after := capsOf(t, r.AppendBody(nil))
			if own != nil && fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("%s %v: the caller's own caps were %v and are %v", in.name, own, before, after)
			}
			capTo(r, a, 0)
			if after = capsOf(t, r.AppendBody(nil)); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("%s %v: without a cap %v are left of %v", in.name, own, after, before)
			}
		}
	}
}

func TestFloor(t *testing.T) {
	t.Parallel()
	for thinking, want := range map[string]int64{
		"": 64, `{"type":"enabled","budget_tokens":2048}`: 2112, `{"type":"disabled"}`: 64, `{"budget_tokens":-5}`: 64, `"x"`: 64, `{"budget_tokens":99999999999}`: 64, "null": 64,
	} {
		r := &llm.Request{}
		if thinking != "" {
			r.Set("thinking", []byte(thinking))
		}
		if got := floor(r); got != want {
			t.Errorf("%s: %d, want %d", thinking, got, want)
		}
	}
}
