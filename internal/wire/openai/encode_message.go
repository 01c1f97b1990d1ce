package openai

import (
	"encoding/base64"
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// The names under which servers have put reasoning.
var reasoningNames = []string{"reasoning_content", "reasoning", "reasoning_details"}

func (e *encoder) message(m *llm.Message) {
	x := extra(m.Extra)
	e.comma()
	e.dst = append(e.dst, '{')
	e.text(x, "role", string(m.Role))
	parts := m.Parts
	if len(parts) == 1 && parts[0].Kind == llm.PartToolResult {
		if parts[0].IsError {
			e.refuse("the mark that a tool failed")
		}
		e.text(x, "tool_call_id", parts[0].CallID)
		parts = parts[0].Result
	}
	e.content(x, m, parts)
	e.text(x, "name", m.Name)
	if !x.has(reasoningNames...) {
		e.text(x, reasoningNames[0], textOf(parts, llm.PartReasoning))
	}
	if m.Plain || m.Null {
		e.text(x, "refusal", textOf(parts, llm.PartRefusal))
	}
	e.calls(x, parts)
	e.extra(x)
	e.dst = append(e.dst, '}')
}

// textOf joins the text of the parts of one kind.
func textOf(parts []llm.Part, kind llm.PartKind) string {
	var b strings.Builder
	for i := range parts {
		if parts[i].Kind == kind {
			b.WriteString(parts[i].Text)
		}
	}
	return b.String()
}

func (e *encoder) content(x extra, m *llm.Message, parts []llm.Part) {
	const name = "content"
	switch {
	case x.has(name):
	case m.Plain:
		e.member(name, textOf(parts, llm.PartText))
	case m.Null:
		e.raw(name, []byte("null"))
	default:
		e.parts(name, parts)
	}
}

// parts writes those parts that are content, if there are any.
func (e *encoder) parts(name string, parts []llm.Part) {
	some := false
	for i := range parts {
		switch parts[i].Kind {
		case llm.PartReasoning, llm.PartToolCall:
			continue
		}
		if !some {
			some = true
			e.name(name)
			e.dst = append(e.dst, '[')
		}
		e.part(&parts[i])
	}
	if some {
		e.dst = append(e.dst, ']')
	}
}

func (e *encoder) part(p *llm.Part) {
	e.comma()
	e.dst = append(e.dst, '{')
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		e.member("type", string(p.Kind))
		e.member(string(p.Kind), p.Text)
	case llm.PartImage:
		e.image(p)
	case llm.PartAudio:
		e.audio(p)
	case llm.PartFile:
		e.file(p)
	case llm.PartOther:
	default:
		e.refuse("a part of kind %s within a content", p.Kind)
	}
	e.cache(p.Cache)
	e.extra(p.Extra)
	e.dst = append(e.dst, '}')
}

func (e *encoder) image(p *llm.Part) {
	url := p.URL
	if p.Data != nil {
		url = dataURL(p)
	}
	if url == "" {
		e.refuse("an image that is a file")
	}
	e.member("type", "image_url")
	e.dst = append(e.dst, `,"image_url":{`...)
	e.member("url", url)
	e.text(nil, "detail", p.Detail)
	e.dst = append(e.dst, '}')
}

func (e *encoder) audio(p *llm.Part) {
	format, ok := strings.CutPrefix(p.MediaType, audioPrefix)
	if !ok || p.Data == nil {
		e.refuse("audio that is not sent as bytes of a known type")
	}
	e.member("type", "input_audio")
	e.dst = append(e.dst, `,"input_audio":{`...)
	e.member("data", base64.StdEncoding.EncodeToString(p.Data))
	e.member("format", format)
	e.dst = append(e.dst, '}')
}

func (e *encoder) file(p *llm.Part) {
	e.member("type", "file")
	e.dst = append(e.dst, `,"file":{`...)
	e.text(nil, "file_id", p.FileID)
	e.text(nil, "filename", p.Filename)
	switch {
	case p.Data != nil:
		e.member("file_data", dataURL(p))
	case p.FileID == "":
		e.refuse("a file by its URL")
	}
	e.dst = append(e.dst, '}')
}

func dataURL(p *llm.Part) string {
	return "data:" + p.MediaType + ";base64," + base64.StdEncoding.EncodeToString(p.Data)
}

// calls writes the tool calls; a single one without an id is of the older form.
func (e *encoder) calls(x extra, parts []llm.Part) {
	if x.has("tool_calls", "function_call") {
		return
	}
	var calls []*llm.Part
	for i := range parts {
		if parts[i].Kind == llm.PartToolCall {
			calls = append(calls, &parts[i])
		}
	}
	switch {
	case len(calls) == 0:
	case len(calls) == 1 && calls[0].CallID == "":
		e.name("function_call")
		e.dst = append(e.dst, '{')
		e.member("name", calls[0].ToolName)
		e.member("arguments", calls[0].Arguments)
		e.dst = append(e.dst, '}')
	default:
		e.name("tool_calls")
		e.dst = append(e.dst, '[')
		for _, c := range calls {
			e.call(c)
		}
		e.dst = append(e.dst, ']')
	}
}

func (e *encoder) call(p *llm.Part) {
	kind, arguments := toolType(p.Custom), "arguments"
	if p.Custom {
		arguments = "input"
	}
	e.comma()
	e.dst = append(e.dst, '{')
	e.member("id", p.CallID)
	e.member("type", kind)
	e.name(kind)
	e.dst = append(e.dst, '{')
	e.member("name", p.ToolName)
	e.member(arguments, p.Arguments)
	e.inner(p.Extra, kind)
	e.dst = append(e.dst, '}')
	e.beside(p.Extra, kind, true)
	e.dst = append(e.dst, '}')
}
