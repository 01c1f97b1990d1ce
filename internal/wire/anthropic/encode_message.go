package anthropic

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// jsonHint asks for what the dialect has no member for.
const jsonHint = "Answer with one JSON object and nothing else."

// conversation writes the system prompt and the messages: the leading system messages are the prompt; turns of one side that
// follow each other are one; the results of tools come first in the turn that answers their calls.
func (e *encoder) conversation() {
	all := e.Chat.Messages
	lead := 0
	for lead < len(all) && crossing.IsSystem(all[lead].Role) {
		lead++
	}
	e.system(all[:lead])
	e.Name("messages")
	e.Dst = append(e.Dst, '[')
	for i := lead; i < len(all); {
		side := e.side(&all[i])
		j := i + 1
		for j < len(all) && (!speaks(&all[j]) || e.side(&all[j]) == side && side != string(llm.RoleSystem)) {
			j++ // what says nothing parts no turns
		}
		if !speaks(&all[i]) {
			j = i + 1
		}
		e.turn(side, i, all[i:j])
		i = j
	}
	e.Dst = append(e.Dst, ']')
}

// speaks reports whether there is anything in a message that is written here.
func speaks(m *llm.Message) bool {
	return slices.ContainsFunc(m.Parts, func(p llm.Part) bool {
		switch p.Kind {
		case llm.PartText, llm.PartRefusal:
			return p.Text != ""
		case llm.PartReasoning:
			return crossing.ProvenByClaude(p)
		}
		return true
	})
}

// side is the role that a message has in this dialect.
func (e *encoder) side(m *llm.Message) string {
	switch {
	case m.Role == llm.RoleAssistant:
		return string(llm.RoleAssistant)
	case crossing.IsSystem(m.Role) && e.traits.LateSystem:
		return string(llm.RoleSystem)
	}
	return string(llm.RoleUser)
}

func (e *encoder) system(all []llm.Message) {
	hint := e.Chat.Format.Kind == llm.FormatJSON
	start := len(e.Dst)
	e.Name("system")
	e.Dst = append(e.Dst, '[')
	opened := len(e.Dst)
	for i := range all {
		for k := range all[i].Parts {
			p := &all[i].Parts[k]
			if p.Kind != llm.PartText {
				e.Cannot(e.Place(i), "a system message with something other than text", "Put it into a message of the user.")
				continue
			}
			e.text(p)
		}
	}
	if hint {
		e.text(&llm.Part{Kind: llm.PartText, Text: jsonHint})
	}
	if len(e.Dst) == opened {
		e.Dst = e.Dst[:start]
		return
	}
	e.Dst = append(e.Dst, ']')
}

// turn writes messages that are one turn here; the first is number first. Without anything in them, nothing is written.
func (e *encoder) turn(side string, first int, all []llm.Message) {
	start := len(e.Dst)
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member("role", side)
	e.Name(contentField)
	e.Dst = append(e.Dst, '[')
	opened := len(e.Dst)
	for _, results := range []bool{true, false} {
		for i := range all {
			for k := range all[i].Parts {
				p := &all[i].Parts[k]
				if (p.Kind == llm.PartToolResult) == results {
					e.part(first+i, p)
				}
			}
			if !results {
				e.lost(first+i, &all[i])
			}
		}
	}
	if len(e.Dst) == opened {
		e.Dst = e.Dst[:start]
		return
	}
	e.Dst = append(e.Dst, `]}`...)
}

// lost refuses what a message has beside its parts and cannot keep. A name of who speaks changes nothing that the dialect
// knows; null says nothing.
func (e *encoder) lost(at int, m *llm.Message) {
	if m.Name != "" && m.Role != llm.RoleFunction {
		e.Adapt("name")
	}
	e.BesideAt(at, m.Extra)
}

func (e *encoder) part(at int, p *llm.Part) {
	if p.Kind != llm.PartOther { // it is refused whole
		e.BesideAt(at, p.Extra)
	}
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		e.text(p)
	case llm.PartImage:
		e.image(at, p)
	case llm.PartFile:
		e.file(at, p)
	case llm.PartToolCall:
		e.call(at, p)
	case llm.PartToolResult:
		e.result(at, p)
	case llm.PartReasoning:
		e.thought(p)
	case llm.PartAudio:
		e.Cannot(e.Place(at), "audio", "Send its text, or ask a model of another dialect.")
	default:
		e.Cannot(e.Place(at), "a part of this type", crossing.Elsewhere)
	}
}

// text writes a block of text; the dialect has no empty ones.
func (e *encoder) text(p *llm.Part) {
	if p.Text == "" {
		return
	}
	e.open(textBlock)
	e.Member(textField, p.Text)
	e.close(p)
}

func (e *encoder) open(kind string) {
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member(typeField, kind)
}

// close ends a block, with the mark for caching if it has one.
func (e *encoder) close(p *llm.Part) {
	e.cache(p.Cache)
	e.Dst = append(e.Dst, '}')
}

func (e *encoder) cache(mark *llm.CacheMark) {
	if mark == nil {
		return
	}
	e.Name("cache_control")
	e.Dst = append(e.Dst, '{')
	e.Member(typeField, "ephemeral")
	e.Text(nil, "ttl", mark.TTL)
	e.Dst = append(e.Dst, '}')
}

// imageTypes are those that the dialect takes as bytes.
var imageTypes = []string{"image/jpeg", "image/png", "image/gif", "image/webp"}

func (e *encoder) image(at int, p *llm.Part) {
	switch {
	case p.Data != nil && !slices.Contains(imageTypes, p.MediaType):
		e.Cannot(e.Place(at), "an image of type "+p.MediaType, "Send it as JPEG, PNG, GIF or WebP.")
		return
	case p.Data == nil && p.URL == "":
		e.Cannot(e.Place(at), "an image by the id of a file", "Send its bytes or its URL.")
		return
	}
	e.open(imageBlock)
	e.source(p)
	e.close(p)
}

// source writes where the bytes of an image or a document are.
func (e *encoder) source(p *llm.Part) {
	e.Name("source")
	e.Dst = append(e.Dst, '{')
	if p.Data == nil {
		e.Member(typeField, "url")
		e.Member("url", p.URL)
	} else {
		e.Member(typeField, "base64")
		e.Member("media_type", p.MediaType)
		e.Name("data")
		e.Dst = append(e.Dst, '"')
		e.Dst = base64.StdEncoding.AppendEncode(e.Dst, p.Data)
		e.Dst = append(e.Dst, '"')
	}
	e.Dst = append(e.Dst, '}')
}

const pdf = "application/pdf"

func (e *encoder) file(at int, p *llm.Part) {
	plain := strings.HasPrefix(p.MediaType, "text/")
	switch {
	case p.Data == nil && p.URL == "":
		e.Cannot(e.Place(at), "a file by its id", "Send its bytes.")
		return
	case p.Data != nil && p.MediaType != pdf && !plain:
		e.Cannot(e.Place(at), "a file of type "+p.MediaType, "Send PDF or text.")
		return
	}
	e.open(documentBlock)
	if p.Data != nil && plain {
		e.Name("source")
		e.Dst = append(e.Dst, `{"type":"text","media_type":"text/plain"`...)
		e.Member("data", string(p.Data))
		e.Dst = append(e.Dst, '}')
	} else {
		e.source(p)
	}
	e.Text(nil, "title", p.Filename)
	e.close(p)
}

// call writes the call of a tool. Its arguments are text elsewhere and an object here.
func (e *encoder) call(at int, p *llm.Part) {
	arguments := []byte(p.Arguments)
	switch {
	case p.Custom:
		e.Cannot(e.Place(at), "the call of a tool that takes free text", "Ask a model of another dialect.")
		return
	case strings.TrimSpace(p.Arguments) == "":
		arguments = []byte("{}")
	case !rawjson.Valid(arguments) || strings.TrimSpace(p.Arguments)[0] != '{':
		e.Cannot(e.Place(at)+".tool_calls", "a call whose arguments are not a JSON object", "Take the broken call and its result out of the conversation.")
		return
	}
	e.open(toolUse)
	e.Member("id", callID(p))
	e.Member("name", p.ToolName)
	e.Raw("input", arguments)
	e.close(p)
}

// callID is the id of a call in the characters that the dialect takes. Calls of the oldest form have none but a name.
func callID(p *llm.Part) string {
	id := p.CallID
	if id == "" {
		id = "call_" + p.ToolName
	}
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, id)
}

func (e *encoder) result(at int, p *llm.Part) {
	e.open(toolResult)
	e.Member("tool_use_id", callID(p))
	if len(p.Result) > 0 {
		e.Name(contentField)
		e.Dst = append(e.Dst, '[')
		for i := range p.Result {
			switch part := &p.Result[i]; part.Kind {
			case llm.PartText, llm.PartRefusal, llm.PartImage, llm.PartFile:
				e.part(at, part)
			default:
				e.Cannot(e.Place(at), "the result of a tool with something other than text, images and documents", "Send its text.")
			}
		}
		e.Dst = append(e.Dst, ']')
	}
	if p.IsError {
		e.Dst = append(e.Dst, `,"is_error":true`...)
	}
	e.close(p)
}

// thought writes reasoning that the provider can check. Other reasoning is another provider's, or a copy of its text: it is no
// part of what was said, and would be refused.
func (e *encoder) thought(p *llm.Part) {
	switch {
	case !crossing.ProvenByClaude(*p):
		e.Adapt("reasoning_content")
		return
	case p.Redacted != nil:
		e.open(redactedBlock)
		e.Member("data", string(p.Redacted))
	default:
		e.open(thinkingBlock)
		e.Member("thinking", p.Text)
		e.Member("signature", p.Signature)
	}
	e.Dst = append(e.Dst, '}')
}
