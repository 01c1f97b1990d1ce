package gemini

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/crossing"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// singleHint is for what the dialect has no member for. It goes into the system prompt.
const singleHint = "Call at most one tool at a time."

// noProof stands for the proof of reasoning that a caller did not send back. It is the vendor's own word for calls that came from
// elsewhere.
const noProof = "skip_thought_signature_validator"

// conversation writes the system prompt and the messages: the leading system messages are the prompt; messages of one side that
// follow each other are one turn; the results of tools are a turn of their own, as many as there were calls, and come before what
// else the user says. Empty text is left out: it says nothing, and is refused.
func (e *encoder) conversation() {
	all := e.Chat.Messages
	lead := 0
	for lead < len(all) && crossing.IsSystem(all[lead].Role) {
		lead++
	}
	e.Name(contentsField)
	e.Dst = append(e.Dst, '[')
	opened := len(e.Dst)
	for i := lead; i < len(all); {
		if !speaks(&all[i]) {
			e.lost(i, &all[i])
			i++
			continue
		}
		mine := all[i].Role == llm.RoleAssistant
		j := i + 1
		for j < len(all) && (!speaks(&all[j]) || (all[j].Role == llm.RoleAssistant) == mine) {
			j++ // what says nothing parts no turns
		}
		if mine {
			e.turn(sideModel, i, all[i:j], func(llm.PartKind) bool { return true })
		} else {
			e.turn(sideUser, i, all[i:j], func(k llm.PartKind) bool { return k == llm.PartToolResult })
			e.turn(sideUser, i, all[i:j], func(k llm.PartKind) bool { return k != llm.PartToolResult })
		}
		for k := i; k < j; k++ {
			e.lost(k, &all[k])
		}
		i = j
	}
	if len(e.Dst) == opened {
		e.Cannot("messages", "a conversation in which the user says nothing", "Add a message of the user.")
	}
	e.Dst = append(e.Dst, ']')
	e.system(all[:lead])
}

// speaks reports whether there is anything in a message that is written here.
func speaks(m *llm.Message) bool {
	return slices.ContainsFunc(m.Parts, func(p llm.Part) bool {
		switch p.Kind {
		case llm.PartText, llm.PartRefusal:
			return p.Text != ""
		case llm.PartReasoning:
			return false
		}
		return true
	})
}

// system writes the system prompt: the leading messages, a part each, and what has no member.
func (e *encoder) system(lead []llm.Message) {
	var said []string
	for i := range lead {
		for k := range lead[i].Parts {
			p := &lead[i].Parts[k]
			if p.Kind != llm.PartText {
				e.Cannot(e.Place(i), "a system message with something other than text", "Put it into a message of the user.")
			} else if p.Text != "" {
				said = append(said, p.Text)
			}
			e.marked(p.Cache)
		}
		e.lost(i, &lead[i])
	}
	if c := e.Chat; c.Parallel != nil && !*c.Parallel && len(c.Tools) > 0 && c.Choice.Mode != llm.ToolNone {
		said = append(said, singleHint)
		e.Adapt("parallel_tool_calls")
	}
	if len(said) == 0 {
		return
	}
	e.Name("systemInstruction")
	e.Dst = append(e.Dst, `{"parts":[`...)
	for _, s := range said {
		e.say(s, "")
	}
	e.Dst = append(e.Dst, `]}`...)
}

// marked notes that a mark for caching was left out: the provider caches by itself.
func (e *encoder) marked(mark *llm.CacheMark) { e.dropped("cache_control", mark != nil) }

// turn writes those parts of some messages that are one turn here; the first message is number first. Without any, there is none.
func (e *encoder) turn(side string, first int, all []llm.Message, wanted func(llm.PartKind) bool) {
	before := len(e.Dst)
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member(roleField, side)
	e.Name(partsField)
	e.Dst = append(e.Dst, '[')
	opened := len(e.Dst)
	calls, proof := 0, ""
	for i := range all {
		for k := range all[i].Parts {
			p := &all[i].Parts[k]
			switch {
			case p.Kind == llm.PartToolResult && !wanted(p.Kind):
				e.pictured(first+i, p)
			case wanted(p.Kind) && p.Kind == llm.PartToolCall:
				if own := proofOf(p); own != "" || calls > 0 {
					proof = own
				}
				e.BesideAt(first+i, p.Extra)
				e.call(first+i, p, proof, calls == 0)
				calls++
			case p.Kind == llm.PartReasoning && proofOf(p) != "":
				proof = proofOf(p)
			case wanted(p.Kind):
				e.part(first+i, p)
			}
		}
	}
	if len(e.Dst) == opened {
		e.Dst = e.Dst[:before]
		return
	}
	e.Dst = append(e.Dst, `]}`...)
}

// lost refuses what a message has beside its parts and cannot keep. A name of who speaks changes nothing that the dialect
// knows; null says nothing.
func (e *encoder) lost(at int, m *llm.Message) {
	e.dropped("name", m.Name != "" && m.Role != llm.RoleFunction)
	e.BesideAt(at, m.Extra)
}

func (e *encoder) part(at int, p *llm.Part) {
	if p.Kind != llm.PartOther { // it is refused whole
		e.BesideAt(at, p.Extra)
	}
	switch p.Kind {
	case llm.PartText, llm.PartRefusal:
		if p.Text != "" {
			e.say(p.Text, proofOf(p))
		}
	case llm.PartImage, llm.PartFile, llm.PartAudio:
		e.medium(at, p)
	case llm.PartToolResult:
		e.result(at, p)
	case llm.PartReasoning: // without a proof, its text is a copy, and may be another provider's
		e.Adapt("reasoning_content")
	default:
		e.Cannot(e.Place(at), "a part of this type", crossing.Elsewhere)
	}
	e.marked(p.Cache)
}

// say writes text.
func (e *encoder) say(text, proof string) {
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Member(textField, text)
	e.Text(nil, proofField, proof)
	e.Dst = append(e.Dst, '}')
}

// proofOf is the proof of reasoning that a part has, "" if it is another vendor's, which would be refused.
func proofOf(p *llm.Part) string {
	if p.Signer != llm.Gemini {
		return ""
	}
	return p.Signature
}

// call writes the call of a tool. Its arguments are text elsewhere and an object here. Models that reason want the proof of that
// back with the first call of a turn; callers may have kept it with the reasoning instead. Where they have lost it, the models are
// told that there is none.
func (e *encoder) call(at int, p *llm.Part, proof string, first bool) {
	arguments := jsontext.Value(p.Arguments)
	switch {
	case p.Custom:
		e.Cannot(e.Place(at), "the call of a tool that takes free text", "Ask a model of another dialect.")
		return
	case !toolNames.MatchString(p.ToolName):
		e.Cannot(e.Place(at)+".tool_calls", "a call of a tool of this name", nameHint)
		return
	case strings.TrimSpace(p.Arguments) == "":
		arguments = jsontext.Value("{}")
	case !rawjson.Valid(arguments) || strings.TrimSpace(p.Arguments)[0] != '{':
		e.Cannot(e.Place(at)+".tool_calls", "a call whose arguments are not a JSON object", "Take the broken call and its result out of the conversation.")
		return
	}
	e.called[p.CallID] = p.ToolName
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Name(callField)
	e.Dst = append(e.Dst, '{')
	e.Text(nil, idField, p.CallID)
	e.Member(nameField, p.ToolName)
	e.Raw("args", arguments)
	e.Dst = append(e.Dst, '}')
	if proof == "" && first && e.traits.Signatures {
		proof = noProof
		e.Adapt("reasoning")
	}
	e.Text(nil, proofField, proof)
	e.Dst = append(e.Dst, '}')
	e.marked(p.Cache)
}

// result writes what a tool gave. The dialect wants its name, which is that of the call.
func (e *encoder) result(at int, p *llm.Part) {
	name := e.called[p.CallID]
	if name == "" || p.CallID == "" && p.ToolName != "" {
		name = p.ToolName
	}
	if name == "" {
		e.Cannot(e.Place(at), "the result of a call that is not in the conversation", "Send the message with the call before it.")
		return
	}
	var said []string
	for i := range p.Result {
		switch part := &p.Result[i]; part.Kind {
		case llm.PartText, llm.PartRefusal:
			said = append(said, part.Text)
			e.marked(part.Cache)
		case llm.PartImage, llm.PartFile, llm.PartAudio: // behind all results
		default:
			e.Cannot(e.Place(at), "the result of a tool with something other than text, images and documents", "Send its text.")
		}
	}
	member := "output"
	if p.IsError {
		member = errorField
	}
	e.Comma()
	e.Dst = append(e.Dst, '{')
	e.Name(resultField)
	e.Dst = append(e.Dst, '{')
	e.Text(nil, idField, p.CallID)
	e.Member(nameField, name)
	e.Name("response")
	e.Dst = append(e.Dst, '{')
	e.Member(member, strings.Join(said, "\n"))
	e.Dst = append(e.Dst, `}}}`...)
}

// pictured writes the images and documents of a tool's result, which not all models take within it.
func (e *encoder) pictured(at int, p *llm.Part) {
	for i := range p.Result {
		switch part := &p.Result[i]; part.Kind {
		case llm.PartImage, llm.PartFile, llm.PartAudio:
			e.part(at, part)
		}
	}
}
