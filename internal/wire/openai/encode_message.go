package openai

import (
	"encoding/base64"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// The names under which servers have put reasoning.
var reasoningNames = []string{"reasoning_content", "reasoning", "reasoning_details"}

func (e *encoder) message(m *llm.Message) {
	x := rawjson.Extra(m.Extra)
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Text(x, "role", string(m.Role))
	parts := m.Parts
	if len(parts) == 1 && parts[0].Kind == llm.PartToolResult {
		if parts[0].IsError {
			e.Refuse("the mark that a tool failed")
		}
		e.Text(x, "tool_call_id", parts[0].CallID)
		parts = parts[0].Result
	}
	e.content(x, m, parts)
	e.Text(x, "name", m.Name)
	if !x.Has(reasoningNames...) {
		e.Text(x, reasoningNames[0], textOf(parts, llm.PartReasoning))
	}
	if m.Plain || m.Null {
		e.Text(x, "refusal", textOf(parts, llm.PartRefusal))
	}
	e.calls(x, parts)
	e.Extra(x)
	e.Dst = append(e.Dst, '}')
}

// textOf joins the text of the parts of one kind. Most have one, whose text need not be copied.
func textOf(parts []llm.Part, kind llm.PartKind) string {
	text, n := "", 0
	for i := range parts {
		if parts[i].Kind == kind {
			text = parts[i].Text
			n++
		}
	}
	if n < 2 {
		return text
	}
	var b strings.Builder
	for i := range parts {
		if parts[i].Kind == kind {
			b.WriteString(parts[i].Text)
		}
	}
	return b.String()
}

func (e *encoder) content(x rawjson.Extra, m *llm.Message, parts []llm.Part) {
	const name = "content"
	switch {
	case x.Has(name):
	case m.Plain:
		e.Member(name, textOf(parts, llm.PartText))
	case m.Null:
		e.Raw(name, []byte("null"))
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
			e.Name(name)
			e.Dst = append(e.Dst, '[')
		}
		e.part(&parts[i])
	}
	if some {
		e.Dst = append(e.Dst, ']')
	}
}

func (e *encoder) part(p *llm.Part) {
	e.Comma()
	e.Dst = append(e.Dst, '{')
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		e.Member("type", string(p.Kind))
		e.Member(string(p.Kind), p.Text)
	case llm.PartImage:
		e.image(p)
	case llm.PartAudio:
		e.audio(p)
	case llm.PartFile:
		e.file(p)
	case llm.PartOther:
	default:
		e.Refuse("a part of kind %s within a content", p.Kind)
	}
	e.cache(p.Cache)
	e.Extra(p.Extra)
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) image(p *llm.Part) {
	url := p.URL
	if p.Data != nil {
		url = dataURL(p)
	}
	if url == "" {
		e.Refuse("an image that is a file")
	}
	e.Member("type", "image_url")
	e.Dst = append(e.Dst, `,"image_url":{`...)
	e.Member("url", url)
	e.Text(nil, "detail", p.Detail)
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) audio(p *llm.Part) {
	format, ok := strings.CutPrefix(p.MediaType, audioPrefix)
	if !ok || p.Data == nil {
		e.Refuse("audio that is not sent as bytes of a known type")
	}
	e.Member("type", "input_audio")
	e.Dst = append(e.Dst, `,"input_audio":{`...)
	e.Member("data", base64.StdEncoding.EncodeToString(p.Data))
	e.Member("format", format)
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) file(p *llm.Part) {
	e.Member("type", "file")
	e.Dst = append(e.Dst, `,"file":{`...)
	e.Text(nil, "file_id", p.FileID)
	e.Text(nil, "filename", p.Filename)
	switch {
	case p.Data != nil:
		e.Member("file_data", dataURL(p))
	case p.FileID == "":
		e.Refuse("a file by its URL")
	}
	e.Dst = append(e.Dst, '}')
}

func dataURL(p *llm.Part) string {
	return "data:" + p.MediaType + ";base64," + base64.StdEncoding.EncodeToString(p.Data)
}

// calls writes the tool calls; a single one without an id is of the older form.
func (e *encoder) calls(x rawjson.Extra, parts []llm.Part) {
	if x.Has("tool_calls", "function_call") {
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
		e.Name("function_call")
		e.Dst = append(e.Dst, '{')
		e.Member("name", calls[0].ToolName)
		e.Member("arguments", calls[0].Arguments)
		e.Dst = append(e.Dst, '}')
	default:
		e.Name("tool_calls")
		e.Dst = append(e.Dst, '[')
		for _, c := range calls {
			e.call(c)
		}
		e.Dst = append(e.Dst, ']')
	}
}

func (e *encoder) call(p *llm.Part) {
	kind, arguments := toolType(p.Custom), "arguments"
	if p.Custom {
		arguments = "input"
	}
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member("id", p.CallID)
	e.Member("type", kind)
	e.Name(kind)
	e.Dst = append(e.Dst, '{')
	e.Member("name", p.ToolName)
	e.Member(arguments, p.Arguments)
	e.inner(p.Extra, kind)
	e.Dst = append(e.Dst, '}')
	e.beside(p.Extra, kind, true)
	e.Dst = append(e.Dst, '}')
}
