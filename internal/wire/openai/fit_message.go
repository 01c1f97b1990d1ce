package openai

import (
	"fmt"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
)

// What this dialect has no member for is said in words.
const (
	failedPrefix = "Error: "                // of the result of a tool that failed
	followsText  = "[see the next message]" // in the place of what a result cannot hold
	resultIntro  = "The result of call %s:"
)

// messages takes over the conversation. Results of tools are messages of their own, which hold text only: images and documents
// among them follow in the user's next message.
func (f *fitter) messages() {
	all := f.Chat.Messages
	var late []llm.Part // what results cannot hold
	for i := range all {
		m := &all[i]
		f.place = f.Place(i)
		f.Beside(f.place, m.Extra)
		results := slices.ContainsFunc(m.Parts, isResult)
		if results || m.Role == llm.RoleTool || m.Role == llm.RoleFunction {
			for k := range m.Parts {
				if isResult(m.Parts[k]) {
					late = append(late, f.result(&m.Parts[k])...)
				}
			}
			if !slices.ContainsFunc(m.Parts, func(p llm.Part) bool { return !isResult(p) }) {
				continue
			}
		}
		switch m.Role {
		case llm.RoleSystem, llm.RoleDeveloper:
			f.flush(&late)
			f.system(m)
		case llm.RoleAssistant:
			f.flush(&late)
			f.assistant(m)
		default:
			parts := append(late, f.parts(f.place, m.Parts)...)
			late = nil
			f.add(llm.RoleUser, m.Name, parts)
		}
	}
	f.flush(&late)
	if n := len(all); n > 0 && f.Chat.Dialect == llm.Anthropic && all[n-1].Role == llm.RoleAssistant {
		f.Cannot(f.place, "an answer that goes on from words of the assistant", "Let the last message be the user's, or ask a model of another dialect.")
	}
}

func isResult(p llm.Part) bool { return p.Kind == llm.PartToolResult }

// flush gives what is late a message of its own, where none of the user follows.
func (f *fitter) flush(late *[]llm.Part) {
	if len(*late) > 0 {
		f.add(llm.RoleUser, "", *late)
		*late = nil
	}
}

// add adds a message in the plainest form: a text where there is nothing but one.
func (f *fitter) add(role llm.Role, name string, parts []llm.Part) {
	m := llm.Message{Role: role, Name: name, Parts: parts}
	m.Plain = len(parts) == 0 || len(parts) == 1 && isPlain(&parts[0])
	f.out.Messages = append(f.out.Messages, m)
}

func isPlain(p *llm.Part) bool { return p.Kind == llm.PartText && p.Cache == nil }

// system takes over a system message, where it stands. Those that follow each other are one, with a part each.
func (f *fitter) system(m *llm.Message) {
	parts := f.parts(f.place, m.Parts)
	if slices.ContainsFunc(parts, func(p llm.Part) bool { return p.Kind != llm.PartText }) {
		f.Cannot(f.place, "a system message with something other than text", "Put it into a message of the user.")
	}
	if n := len(f.out.Messages); n > 0 && f.out.Messages[n-1].Role == llm.RoleSystem && f.out.Messages[n-1].Name == m.Name {
		parts = append(f.out.Messages[n-1].Parts, parts...)
		f.out.Messages = f.out.Messages[:n-1]
	}
	f.add(llm.RoleSystem, m.Name, parts)
}

// assistant takes over what the model said. Pieces of its text are one text; its calls follow.
func (f *fitter) assistant(m *llm.Message) {
	out := llm.Message{Role: llm.RoleAssistant, Name: m.Name}
	var reasoning, calls []llm.Part
	var said []llm.Part
	for i := range m.Parts {
		p := m.Parts[i]
		switch p.Kind {
		case llm.PartReasoning:
			if p.Text == "" || !f.takes(llm.TakesReasoning) {
				f.Adapt("reasoning_content")
				continue
			}
			reasoning = append(reasoning, llm.Part{Kind: llm.PartReasoning, Text: p.Text})
		case llm.PartToolCall:
			f.Beside(f.place, p.Extra)
			f.mark(p.Cache)
			calls = append(calls, llm.Part{
				Kind: llm.PartToolCall, CallID: f.short("", p.CallID, maxCallID), ToolName: p.ToolName, Arguments: argumentsOf(&p), Custom: p.Custom,
			})
		case llm.PartToolResult:
		default:
			said = append(said, f.parts(f.place, m.Parts[i:i+1])...)
		}
	}
	said = joined(said)
	out.Parts = slices.Concat(reasoning, said, calls)
	switch {
	case len(said) == 0:
		out.Plain, out.Null = len(calls) == 0, len(calls) > 0
	case len(said) == 1 && (isPlain(&said[0])):
		out.Plain = true
	case len(said) == 1 && said[0].Kind == llm.PartRefusal:
		out.Null = true
	}
	f.out.Messages = append(f.out.Messages, out)
}

// argumentsOf are the arguments of a call, which are always an object here.
func argumentsOf(p *llm.Part) string {
	if !p.Custom && strings.TrimSpace(p.Arguments) == "" {
		return "{}"
	}
	return p.Arguments
}

// joined makes one part of neighbours that are text without marks: what a model says in several pieces is one text.
func joined(parts []llm.Part) []llm.Part {
	var out []llm.Part
	for _, p := range parts {
		if n := len(out) - 1; n >= 0 && isPlain(&p) && isPlain(&out[n]) {
			out[n].Text += p.Text
			continue
		}
		out = append(out, p)
	}
	return out
}

// result adds the result of a tool, and gives what it cannot hold, with a text before it that says what it is.
func (f *fitter) result(p *llm.Part) (late []llm.Part) {
	f.Beside(f.place, p.Extra)
	id := f.short("", p.CallID, maxCallID)
	var parts []llm.Part
	for _, part := range f.parts(f.place, p.Result) {
		if part.Kind == llm.PartText {
			parts = append(parts, part)
			continue
		}
		if late == nil {
			late = append(late, llm.Part{Kind: llm.PartText, Text: fmt.Sprintf(resultIntro, id)})
			parts = append(parts, llm.Part{Kind: llm.PartText, Text: followsText})
		}
		late = append(late, part)
	}
	if p.IsError {
		if len(parts) == 0 {
			parts = []llm.Part{{Kind: llm.PartText}}
		}
		parts[0].Text = failedPrefix + parts[0].Text
	}
	if mark := f.mark(p.Cache); mark != nil {
		if len(parts) == 0 {
			parts = []llm.Part{{Kind: llm.PartText}}
		}
		parts[len(parts)-1].Cache = mark
	}
	m := llm.Message{Role: llm.RoleTool, Parts: []llm.Part{{Kind: llm.PartToolResult, CallID: id, ToolName: p.ToolName, Result: parts}}}
	m.Plain = len(parts) == 0 || len(parts) == 1 && isPlain(&parts[0])
	f.out.Messages = append(f.out.Messages, m)
	return late
}

// parts takes over what a message holds besides calls and results. Texts with nothing in them say nothing.
func (f *fitter) parts(place string, all []llm.Part) []llm.Part {
	var out []llm.Part
	for i := range all {
		p := all[i]
		switch p.Kind {
		case llm.PartText, llm.PartRefusal:
			if p.Text == "" {
				continue
			}
			if p.Citations != nil {
				p.Citations = nil
				f.Adapt("citations")
			}
		case llm.PartImage:
			if p.URL == "" && p.Data == nil {
				f.Cannot(place, "an image by the id of a file", "Send its bytes or its URL.")
			}
		case llm.PartFile:
			p = f.file(place, p)
		case llm.PartAudio:
		case llm.PartReasoning:
			f.Adapt("reasoning_content") // only what the model said before has a place for it
			continue
		case llm.PartToolCall, llm.PartToolResult:
			continue // see to them crossing.Elsewhere
		default:
			f.Cannot(place, "a part of the type "+typeOf(&p), crossing.Elsewhere)
			continue
		}
		f.Beside(place, p.Extra)
		p.Extra, p.Cache = nil, f.mark(p.Cache)
		out = append(out, p)
	}
	return out
}

// typeOf is what the caller calls a part that the canonical form has no place for.
func typeOf(p *llm.Part) string {
	for _, m := range p.Extra {
		if m.Name == "type" {
			return string(m.Value)
		}
	}
	return string(p.Kind)
}

const (
	pdfType    = "application/pdf"
	pdfEnding  = ".pdf"
	pdfDefault = "document" + pdfEnding
)

// file takes over a document. Text is text here; the dialect wants the names of others, with an ending.
func (f *fitter) file(place string, p llm.Part) llm.Part {
	switch {
	case strings.HasPrefix(p.MediaType, "text/") && p.Data != nil:
		text := llm.Part{Kind: llm.PartText, Text: string(p.Data), Cache: p.Cache, Extra: p.Extra}
		if p.Filename != "" {
			text.Text = p.Filename + ":\n\n" + text.Text
		}
		return text
	case p.FileID != "" && f.Chat.Dialect != llm.Responses:
		f.Cannot(place, "a file by its id", "Send its bytes.")
	case p.FileID == "" && p.Data == nil:
		f.Cannot(place, "a file by its URL", "Send its bytes.")
	}
	if p.MediaType == pdfType {
		switch {
		case p.Filename == "":
			p.Filename = pdfDefault
		case !strings.HasSuffix(strings.ToLower(p.Filename), pdfEnding):
			p.Filename += pdfEnding
		}
	}
	return p
}
