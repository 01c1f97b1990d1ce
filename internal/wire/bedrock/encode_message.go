package bedrock

import (
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// Sentences for what the dialect has no member for. They go into the system prompt.
const (
	jsonHint   = "Answer with one JSON object and nothing else."
	noCallHint = "Do not call any tool; answer in text."
	singleHint = "Call at most one tool at a time."
)

// conversation writes the system prompt and the messages: the leading system messages are the prompt; turns of one side that
// follow each other are one; the results of tools come first in the turn that answers their calls. Text of nothing but white
// space is left out: it says nothing, and is refused.
func (e *encoder) conversation() {
	all := e.Chat.Messages
	lead := 0
	for lead < len(all) && crossing.IsSystem(all[lead].Role) {
		lead++
	}
	e.Name("messages")
	e.Dst = append(e.Dst, '[')
	turns := 0
	for i := lead; i < len(all); {
		if !speaks(&all[i]) {
			e.lost(i, &all[i])
			i++
			continue
		}
		mine := isModel(&all[i])
		if turns == 0 && mine {
			e.Cannot(e.Place(i), "a conversation that the model begins", "Begin it with a message of the user.")
		}
		j := i + 1
		for j < len(all) && (!speaks(&all[j]) || isModel(&all[j]) == mine) {
			j++ // what says nothing parts no turns
		}
		e.turn(mine, i, all[i:j])
		turns++
		i = j
	}
	e.Dst = append(e.Dst, ']')
	if turns == 0 {
		e.Cannot("messages", "a conversation in which the user says nothing", "Add a message of the user.")
	}
	e.system(all[:lead])
}

// speaks reports whether there is anything in a message that is written here.
func speaks(m *llm.Message) bool {
	return slices.ContainsFunc(m.Parts, func(p llm.Part) bool {
		switch p.Kind {
		case llm.PartText, llm.PartRefusal:
			return !blank(p.Text)
		case llm.PartReasoning:
			return crossing.ProvenByClaude(p)
		}
		return true
	})
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }

// isModel reports whether a message is the model's. All others are the user's here, system messages that come late too.
func isModel(m *llm.Message) bool { return m.Role == llm.RoleAssistant }

func (e *encoder) system(all []llm.Message) {
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
		e.lost(i, &all[i])
	}
	for _, hint := range e.hints() {
		e.text(&llm.Part{Kind: llm.PartText, Text: hint})
	}
	if len(e.Dst) == opened {
		e.Dst = e.Dst[:start]
		return
	}
	e.Dst = append(e.Dst, ']')
}

// hints are what is said in words because there is no member for it.
func (e *encoder) hints() (all []string) {
	c := e.Chat
	if c.Format.Kind == llm.FormatJSON {
		all = append(all, jsonHint)
	}
	switch {
	case c.Choice.Mode == llm.ToolNone && e.usesTools():
		all = append(all, noCallHint)
	case c.Choice.Mode != llm.ToolNone && len(c.Tools) > 0 && c.Parallel != nil && !*c.Parallel:
		all = append(all, singleHint)
		e.Adapt("parallel_tool_calls")
	}
	return all
}

// usesTools reports whether there are calls of tools or their results in the conversation: then the tools must be sent too.
func (e *encoder) usesTools() bool {
	return slices.ContainsFunc(e.Chat.Messages, func(m llm.Message) bool {
		return slices.ContainsFunc(m.Parts, func(p llm.Part) bool { return p.Kind == llm.PartToolCall || p.Kind == llm.PartToolResult })
	})
}

// turn writes messages that are one turn here; the first is number first.
func (e *encoder) turn(mine bool, first int, all []llm.Message) {
	e.Comma()
	e.Dst = append(e.Dst, '{')
	role := llm.RoleUser
	if mine {
		role = llm.RoleAssistant
	}
	e.Member("role", string(role))
	e.Name(contentField)
	e.Dst = append(e.Dst, '[')
	document, said := -1, false
	for _, results := range []bool{true, false} {
		for i := range all {
			for k := range all[i].Parts {
				p := &all[i].Parts[k]
				if (p.Kind == llm.PartToolResult) != results {
					continue
				}
				e.part(first+i, mine, p)
				said = said || p.Kind == llm.PartText && !blank(p.Text)
				if p.Kind == llm.PartFile {
					document = first + i
				}
			}
			if !results {
				e.lost(first+i, &all[i])
			}
		}
	}
	if document >= 0 && !said {
		e.Cannot(e.Place(document), "a document without a word of text beside it", "Say what is to be done with it.")
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

func (e *encoder) part(at int, mine bool, p *llm.Part) {
	if p.Kind != llm.PartOther { // it is refused whole
		e.BesideAt(at, p.Extra)
	}
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		e.text(p)
	case llm.PartImage, llm.PartFile, llm.PartAudio:
		if mine {
			e.Cannot(e.Place(at), "an image or a file of the model", "Put it into a message of the user.")
			return
		}
		e.medium(at, p)
	case llm.PartToolCall:
		e.call(at, p)
	case llm.PartToolResult:
		e.result(at, p)
	case llm.PartReasoning:
		e.thought(p)
	default:
		e.Cannot(e.Place(at), "a part of this type", crossing.Elsewhere)
	}
}

// text writes a block of text.
func (e *encoder) text(p *llm.Part) {
	if blank(p.Text) {
		return
	}
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member(textBlock, p.Text)
	e.close(p.Cache)
}

// open begins a block, whose one member is an object.
func (e *encoder) open(kind string) {
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Name(kind)
	e.Dst = append(e.Dst, '{')
}

// close ends a block. The mark for caching is a block behind it.
func (e *encoder) close(mark *llm.CacheMark) {
	e.Dst = append(e.Dst, '}')
	if mark == nil {
		return
	}
	e.open(cachePoint)
	e.Member(typeField, "default")
	e.Text(nil, "ttl", mark.TTL)
	e.Dst = append(e.Dst, `}}`...)
}

// call writes the call of a tool. Its arguments are text elsewhere and an object here.
func (e *encoder) call(at int, p *llm.Part) {
	arguments := []byte(p.Arguments)
	switch {
	case p.Custom:
		e.Cannot(e.Place(at), "the call of a tool that takes free text", "Ask a model of another dialect.")
		return
	case !toolNames.MatchString(p.ToolName):
		e.Cannot(e.Place(at)+".tool_calls", "a call of a tool of this name", "Take up to 64 letters, digits, underscores and hyphens.")
		return
	case blank(p.Arguments):
		arguments = []byte("{}")
	case !rawjson.Valid(arguments) || strings.TrimSpace(p.Arguments)[0] != '{':
		e.Cannot(e.Place(at)+".tool_calls", "a call whose arguments are not a JSON object", "Take the broken call and its result out of the conversation.")
		return
	}
	e.open(toolUse)
	e.Member("toolUseId", e.callID(p))
	e.Member(nameField, p.ToolName)
	e.Raw("input", arguments)
	e.Dst = append(e.Dst, '}')
	e.close(p.Cache)
}

// maxID is how long the id of a call may be, in bytes.
const maxID = 64

// callID is the id of a call in the characters and the length that the dialect takes: the same for the call and its result, and
// another one for every other id. Calls of the oldest form have none but a name.
func (e *encoder) callID(p *llm.Part) string {
	id := p.CallID
	if id == "" {
		id = "call_" + p.ToolName
	}
	if here, ok := e.ids[id]; ok {
		return here
	}
	clean := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, id)
	here := clean[:min(len(clean), maxID)]
	for n := 2; e.taken(here); n++ {
		suffix := "_" + strconv.Itoa(n)
		here = clean[:min(len(clean), maxID-len(suffix))] + suffix
	}
	e.ids[id] = here
	return here
}

// taken reports whether another call has an id.
func (e *encoder) taken(id string) bool {
	for _, here := range e.ids {
		if here == id {
			return true
		}
	}
	return false
}

func (e *encoder) result(at int, p *llm.Part) {
	e.open(toolResult)
	e.Member("toolUseId", e.callID(p))
	e.Name(contentField)
	e.Dst = append(e.Dst, '[')
	for i := range p.Result {
		switch part := &p.Result[i]; part.Kind {
		case llm.PartText, llm.PartRefusal, llm.PartImage, llm.PartFile:
			part := *part
			part.Cache = nil // a mark stands behind the whole result
			e.part(at, false, &part)
		default:
			e.Cannot(e.Place(at), "the result of a tool with something other than text, images and documents", "Send its text.")
		}
	}
	e.Dst = append(e.Dst, ']')
	if p.IsError {
		e.Member("status", "error")
	}
	e.Dst = append(e.Dst, '}')
	mark := p.Cache
	for i := range p.Result {
		if mark == nil {
			mark = p.Result[i].Cache
		}
	}
	e.close(mark)
}

// thought writes reasoning that the provider can check. Other reasoning is another provider's, or a copy of its text: it is no
// part of what was said, and would be refused.
func (e *encoder) thought(p *llm.Part) {
	switch {
	case !crossing.ProvenByClaude(*p):
		e.Adapt("reasoning_content")
		return
	case p.Redacted != nil:
		e.open(reasoningBlock)
		e.Member("redactedContent", string(p.Redacted))
	default:
		e.open(reasoningBlock)
		e.Name("reasoningText")
		e.Dst = append(e.Dst, '{')
		e.Member(textField, p.Text)
		e.Member("signature", p.Signature)
		e.Dst = append(e.Dst, '}')
	}
	e.Dst = append(e.Dst, `}}`...)
}
