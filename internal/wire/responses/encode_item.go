package responses

import (
	"encoding/base64"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// input writes the conversation: a text if there is nothing but one, else items.
func (e *encoder) input(x rawjson.Extra) {
	all := e.chat.Messages
	for _, m := range x {
		if m.Name == instructionsField && len(m.Value) > len(`""`) && m.Value[0] == '"' {
			all = all[1:] // they are its first message
		}
	}
	if x.Has(inputField) {
		return
	}
	e.Name(inputField)
	if e.same && len(all) == 1 && asText(&all[0]) {
		e.Quoted(textOf(all[0].Parts))
		return
	}
	e.Dst = append(e.Dst, '[')
	for i := range all {
		switch m := &all[i]; m.Role {
		case llm.RoleAssistant:
			e.turn(m.Parts)
		case llm.RoleTool, llm.RoleFunction:
			e.results(m)
		default:
			e.message(m)
		}
	}
	e.Dst = append(e.Dst, ']')
}

// open begins an item or a part of a type.
func (e *encoder) open(kind string) {
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member(typeField, kind)
}

// close ends it with what it has besides.
func (e *encoder) close(x rawjson.Extra) {
	e.Extra(x)
	e.Dst = append(e.Dst, '}')
}

// message writes a message that is not the model's.
func (e *encoder) message(m *llm.Message) {
	x := e.extra(m.Extra)
	e.Comma()
	e.Dst = append(e.Dst, '{')
	if !e.same {
		e.Member(typeField, messageItem)
	}
	e.Text(x, "role", string(m.Role))
	switch {
	case x.Has(contentField):
	case m.Plain:
		e.Member(contentField, textOf(m.Parts))
	case len(m.Parts) > 0:
		e.contents(contentField, m.Parts, inputText)
	}
	e.close(x)
}

// contents writes a list of parts, of which texts are of the type text.
func (e *encoder) contents(name string, parts []llm.Part, text string) {
	e.Name(name)
	e.Dst = append(e.Dst, '[')
	for i := range parts {
		e.part(&parts[i], text)
	}
	e.Dst = append(e.Dst, ']')
}

func (e *encoder) part(p *llm.Part, text string) {
	x := e.extra(p.Extra)
	e.Comma()
	e.Dst = append(e.Dst, '{')
	switch p.Kind {
	case llm.PartText:
		e.Text(x, typeField, text)
		e.Member(textField, p.Text)
		if text == outputText && !e.same {
			e.Dst = append(e.Dst, `,"annotations":[]`...)
		}
	case llm.PartRefusal:
		e.Member(typeField, refusalPart)
		e.Member(refusalPart, p.Text)
	case llm.PartImage:
		e.Member(typeField, inputImage)
		e.Text(nil, "file_id", p.FileID)
		e.Text(nil, "image_url", p.URL)
		if p.Data != nil {
			e.Member("image_url", dataURL(p))
		}
		e.Text(nil, "detail", p.Detail)
	case llm.PartFile:
		e.Member(typeField, inputFile)
		e.Text(nil, "file_id", p.FileID)
		e.Text(nil, "file_url", p.URL)
		e.Text(nil, "filename", p.Filename)
		if p.Data != nil {
			e.Member("file_data", dataURL(p))
		}
		e.Text(nil, "detail", p.Detail)
	case llm.PartAudio:
		e.audio(p)
	default:
		if p.Kind != llm.PartOther || !e.same {
			e.Refuse("a part of kind %s within a content", p.Kind)
		}
	}
	for _, m := range x {
		if m.Name != itemField && m.Name != contentField {
			e.Raw(m.Name, m.Value)
		}
	}
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) audio(p *llm.Part) {
	format, ok := strings.CutPrefix(p.MediaType, audioPrefix)
	if !ok || p.Data == nil {
		e.Refuse("audio that is not sent as bytes of a known type")
	}
	e.Member(typeField, inputAudio)
	e.Name(inputAudio)
	e.Dst = append(e.Dst, '{')
	e.Member("data", base64.StdEncoding.EncodeToString(p.Data))
	e.Member("format", format)
	e.Dst = append(e.Dst, '}')
}

// results writes what tools gave, an item each.
func (e *encoder) results(m *llm.Message) {
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Kind != llm.PartToolResult {
			e.other(p)
			continue
		}
		if p.IsError {
			e.Refuse("the mark that a tool failed")
		}
		kind := resultItem
		if p.Custom {
			kind = customResultItem
		}
		e.open(kind)
		e.Member("call_id", p.CallID)
		if m.Plain {
			e.Member(outputField, textOf(p.Result))
		} else {
			e.contents(outputField, p.Result, inputText)
		}
		e.close(e.extra(m.Extra))
	}
}

// other writes an item that the canonical form has no place for.
func (e *encoder) other(p *llm.Part) {
	if p.Kind != llm.PartOther || !e.same {
		e.Refuse("a part of kind %s beside messages", p.Kind)
		return
	}
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.close(p.Extra)
}

// turn writes what the model said and did, item after item.
func (e *encoder) turn(parts []llm.Part) {
	for len(parts) > 0 {
		n := e.itemEnd(parts)
		switch parts[0].Kind {
		case llm.PartText, llm.PartRefusal, llm.PartImage, llm.PartFile, llm.PartAudio:
			e.said(parts[:n])
		case llm.PartReasoning:
			e.thought(parts[:n])
		case llm.PartToolCall:
			e.call(&parts[0])
		default:
			e.other(&parts[0])
		}
		parts = parts[n:]
	}
}

// itemEnd is how many of the parts make the first item. Reasoning of another dialect has a proof for each part, so each is one.
func (e *encoder) itemEnd(parts []llm.Part) int {
	texts := says(&parts[0])
	if !texts && (parts[0].Kind != llm.PartReasoning || !e.same) {
		return 1
	}
	for n := 1; n < len(parts); n++ {
		p := &parts[n]
		same := texts && says(p) || !texts && p.Kind == llm.PartReasoning
		if !same || e.extra(p.Extra).Has(itemField) {
			return n
		}
	}
	return len(parts)
}

// says reports whether a part stands in a message.
func says(p *llm.Part) bool {
	switch p.Kind {
	case llm.PartText, llm.PartRefusal, llm.PartImage, llm.PartFile, llm.PartAudio:
		return true
	}
	return false
}

// item are the members of an item that are not in its parts.
func (e *encoder) item(first *llm.Part) (rest, content []byte) {
	for _, m := range e.extra(first.Extra) {
		switch m.Name {
		case itemField:
			rest = m.Value
		case contentField:
			content = m.Value
		}
	}
	return rest, content
}

func (e *encoder) said(parts []llm.Part) {
	rest, content := e.item(&parts[0])
	e.Comma()
	e.Dst = append(e.Dst, '{')
	if rest == nil {
		e.Member(typeField, messageItem)
	}
	e.Member("role", string(llm.RoleAssistant))
	switch {
	case string(content) == string(asPlain):
		e.Member(contentField, textOf(parts))
	case content != nil:
		e.Raw(contentField, content)
	default:
		e.contents(contentField, parts, outputText)
	}
	e.close(rawjson.ObjectOf(rest).Rest())
}

// thought writes reasoning: its summary, its text, and the proof of it.
func (e *encoder) thought(parts []llm.Part) {
	rest, _ := e.item(&parts[0])
	e.open(reasoningItem)
	summed := 0
	for summed < len(parts) && (parts[summed].Summary || !e.same) {
		summed++
	}
	e.pieces("summary", summaryText, parts[:summed])
	if said := parts[summed:]; len(said) > 1 || len(said) == 1 && (said[0].Text != "" || summed > 0) {
		e.pieces(contentField, reasoningText, said)
	}
	last := &parts[len(parts)-1]
	by := last.Signer
	if by == "" {
		by = e.chat.Dialect
	}
	switch {
	case last.Redacted != nil:
		e.Member(encryptedField, encrypted(by, unreadable+string(last.Redacted)))
	case last.Signature != "":
		e.Member(encryptedField, encrypted(by, last.Signature))
	}
	e.close(rawjson.ObjectOf(rest).Rest())
}

// pieces writes texts of one type. One with nothing in it and no type of its own stands for reasoning that shows nothing.
func (e *encoder) pieces(name, kind string, parts []llm.Part) {
	e.Name(name)
	e.Dst = append(e.Dst, '[')
	for i := range parts {
		if parts[i].Text == "" && !e.same {
			continue
		}
		e.open(kind)
		e.Member(textField, parts[i].Text)
		e.Dst = append(e.Dst, '}')
	}
	e.Dst = append(e.Dst, ']')
}

func (e *encoder) call(p *llm.Part) {
	kind, arguments := callItem, argumentsField
	if p.Custom {
		kind, arguments = customCallItem, inputField
	}
	rest, _ := e.item(p)
	e.open(kind)
	e.Member("call_id", p.CallID)
	e.Member(nameField, p.ToolName)
	e.Member(arguments, p.Arguments)
	e.close(rawjson.ObjectOf(rest).Rest())
}
