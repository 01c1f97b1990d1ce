package responses

import (
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// What a stream tells of each step. Events are numbered without gaps, from 0.

// event begins an event.
func (t *Translator) event(dst []byte, name string) rawjson.Writer {
	dst = append(append(append(dst, "event: "...), name...), "\ndata: {"...)
	w := rawjson.Writer{Dst: dst}
	w.Member(typeField, name)
	w.Dst = strconv.AppendInt(append(w.Dst, `,"sequence_number":`...), t.sequence, 10)
	t.sequence++
	return w
}

func sent(w rawjson.Writer) []byte { return append(w.Dst, "}\n\n"...) }

// about begins an event about the item at hand.
func (t *Translator) about(dst []byte, name string) rawjson.Writer {
	w := t.event(dst, name)
	w.Member("item_id", t.last().id)
	w.Dst = strconv.AppendInt(append(w.Dst, `,"output_index":`...), int64(len(t.items)-1), 10)
	return w
}

// within begins an event about the last piece of the item at hand.
func (t *Translator) within(dst []byte, name string) rawjson.Writer {
	w := t.about(dst, name)
	it := t.last()
	switch it.kind {
	case llm.PartText:
		w.Dst = append(w.Dst, `,"content_index":`...)
	case llm.PartReasoning:
		w.Dst = append(w.Dst, `,"summary_index":`...)
	default:
		return w
	}
	w.Dst = strconv.AppendInt(w.Dst, int64(len(it.pieces)-1), 10)
	return w
}

// added tells that an item begins, and done that it has ended.
func (t *Translator) added(dst []byte) []byte {
	if t.quiet {
		return dst
	}
	return t.whole(dst, "response.output_item.added", true)
}

func (t *Translator) done(dst []byte) []byte {
	if t.quiet {
		return dst
	}
	return t.whole(dst, "response.output_item.done", false)
}

func (t *Translator) whole(dst []byte, name string, open bool) []byte {
	w := t.event(dst, name)
	w.Dst = strconv.AppendInt(append(w.Dst, `,"output_index":`...), int64(len(t.items)-1), 10)
	w.Name(itemField)
	t.last().write(&w, open)
	return sent(w)
}

// pieceAdded tells that a piece of a message or of reasoning begins.
func (t *Translator) pieceAdded(dst []byte) []byte {
	if t.quiet {
		return dst
	}
	name := "response.content_part.added"
	if t.last().kind == llm.PartReasoning {
		name = "response.reasoning_summary_part.added"
	}
	return t.part(dst, name)
}

// part tells of the last piece as a whole.
func (t *Translator) part(dst []byte, name string) []byte {
	w := t.within(dst, name)
	w.Name("part")
	it := t.last()
	it.pieces[len(it.pieces)-1].write(&w)
	return sent(w)
}

// piece tells by what a piece grows.
func (t *Translator) piece(dst []byte, p *piece, text string, logprobs []byte) []byte {
	if t.quiet {
		return dst
	}
	w := t.within(dst, deltaName(p.kind, t.last().head.Custom))
	w.Member("delta", text)
	if p.kind == llm.PartText {
		w.Dst = append(append(append(w.Dst, `,"logprobs":[`...), logprobs...), ']')
	}
	return sent(w)
}

// deltaName is the name of the event that tells by what a piece grows, and doneName of the one that tells the whole of it.
func deltaName(kind llm.PartKind, custom bool) string {
	switch {
	case kind == llm.PartReasoning:
		return "response.reasoning_summary_text.delta"
	case kind == llm.PartRefusal:
		return "response.refusal.delta"
	case kind == llm.PartToolCall && custom:
		return "response.custom_tool_call_input.delta"
	case kind == llm.PartToolCall:
		return "response.function_call_arguments.delta"
	}
	return "response.output_text.delta"
}

func doneName(kind llm.PartKind, custom bool) (name, member string) {
	switch {
	case kind == llm.PartReasoning:
		return "response.reasoning_summary_text.done", textField
	case kind == llm.PartRefusal:
		return "response.refusal.done", refusalPart
	case kind == llm.PartToolCall && custom:
		return "response.custom_tool_call_input.done", inputField
	case kind == llm.PartToolCall:
		return "response.function_call_arguments.done", argumentsField
	}
	return "response.output_text.done", textField
}

// pieceDone ends the last piece of the item at hand, if it is open.
func (t *Translator) pieceDone(dst []byte) []byte {
	it := t.last()
	if len(it.pieces) == 0 || !it.pieces[len(it.pieces)-1].open {
		return dst
	}
	p := &it.pieces[len(it.pieces)-1]
	p.open = false
	if t.quiet {
		return dst
	}
	name, member := doneName(p.kind, it.head.Custom)
	w := t.within(dst, name)
	w.Member(member, string(p.text))
	switch p.kind {
	case llm.PartText:
		w.Dst = append(append(append(w.Dst, `,"logprobs":[`...), p.logprobs...), ']')
	case llm.PartToolCall:
		w.Member(nameField, it.head.ToolName)
	}
	dst = sent(w)
	switch it.kind {
	case llm.PartText:
		return t.part(dst, "response.content_part.done")
	case llm.PartReasoning:
		return t.part(dst, "response.reasoning_summary_part.done")
	}
	return dst
}
