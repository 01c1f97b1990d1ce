package bedrock

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Reading says how answers are read.
type Reading struct {
	// Canonical asks for the canonical form of what is read, for callers of other dialects, which all are.
	Canonical bool
	// Schema says that [SchemaTool] was sent: its call is the text of the answer.
	Schema bool
	// Meta is told why the answer ended, and which model a router chose; it may be nil.
	Meta *llm.Meta
}

// endTurn is the stop reason of an answer that says all.
const endTurn = "end_turn"

// finishes are the canonical reasons of the dialect's.
var finishes = map[string]llm.FinishReason{
	endTurn: llm.FinishStop, "stop_sequence": llm.FinishSequence, "max_tokens": llm.FinishLength, "tool_use": llm.FinishTools,
	"model_context_window_exceeded": llm.FinishContext, "content_filtered": llm.FinishFilter, "guardrail_intervened": llm.FinishFilter,
}

// malformed are the stop reasons that are no end but an error: what the model generated could not be used.
var malformed = map[string]string{
	"malformed_tool_use":     "The model generated a call of a tool that cannot be read.",
	"malformed_model_output": "The model generated something that cannot be read.",
}

// finish tells why the answer ended. A reason that is not known ends an answer all the same.
func (r Reading) finish(ev *llm.Event, reason, stop string) {
	ev.Has |= llm.Finish
	why, ok := finishes[reason]
	if !ok || r.Schema && why == llm.FinishTools {
		why = llm.FinishStop
	}
	if r.Meta != nil {
		r.Meta.Finished(0, why)
	}
	if r.Canonical {
		ev.Deltas = append(ev.Deltas, llm.Delta{Finish: why, StopText: stop})
	}
}

// tell tells how the answer was served, and which model a router of prompts chose, if one did.
func (r Reading) tell(o *rawjson.Object) {
	if r.Meta == nil {
		return
	}
	r.Meta.ServedBy([]byte(rawjson.ObjectOf(o.Value("serviceTier")).Str(typeField)), nil)
	router := rawjson.ObjectOf(rawjson.ObjectOf(o.Value("trace")).Value("promptRouter"))
	model := router.Str("invokedModelId")
	if model == "" || len(model) > 256 || slices.ContainsFunc([]byte(model), func(b byte) bool { return b < ' ' || b > '~' }) {
		return
	}
	r.Meta.Model = model
}

// stopText is the stop sequence that ended the answer, if the model has a word for it and was asked.
func stopText(o *rawjson.Object) string {
	return rawjson.ObjectOf(o.Value("additionalModelResponseFields")).Str("stop_sequence")
}

// ScanAnswer reads a plain answer and fills in ev. It sees to it that the answer is whole and usable. Errors are [ErrGarbage],
// [ErrEmpty] and *[InBandError].
func ScanAnswer(body []byte, ev *llm.Event, r Reading) error {
	*ev = llm.Event{Dialect: llm.Bedrock, Raw: body}
	if len(bytes.TrimSpace(body)) == 0 {
		return fmt.Errorf("%w: no body", ErrEmpty)
	}
	if !rawjson.Valid(body) {
		return garbage("not JSON")
	}
	o := rawjson.ObjectOf(body)
	content := rawjson.ObjectOf(rawjson.ObjectOf(o.Value("output")).Value(messageField)).Value(contentField)
	reason := o.Str("stopReason")
	switch e, failed := ParseError("", body); {
	case !o.Has("output") && failed:
		return &InBandError{e}
	case len(content) == 0 || content[0] != '[':
		return garbage("no content")
	case reason == "":
		return garbage("no stop reason")
	case malformed[reason] != "":
		return &InBandError{UpstreamError{Message: malformed[reason], Type: reason}}
	}
	c := rawjson.Cursor{Text: content}
	for i := range c.Elements() {
		if c.Kind() != '{' {
			return garbage("a block that is not an object")
		}
		r.block(ev, i, rawjson.ObjectOf(c.Value()))
	}
	if u, ok := usageOf(o.Value(usageField)); ok {
		ev.Usage = u
		ev.Has |= llm.UsageIn
	}
	if !ev.Is(llm.Content) && reason == endTurn && ev.Usage.Output == 0 {
		return fmt.Errorf("%w: no text, and no tokens were generated", ErrEmpty)
	}
	r.tell(o)
	r.finish(ev, reason, stopText(o))
	ev.Has |= llm.End
	return nil
}

// AnswerText appends the text that a plain answer holds, reasoning and the arguments of calls included, as [llm.Event].Text does
// for streams: for counting tokens where the provider did not.
func AnswerText(dst, body []byte) []byte {
	var ev llm.Event
	_ = ScanAnswer(body, &ev, Reading{Canonical: true}) // what could be read is the result
	for i := range ev.Deltas {
		dst = append(dst, ev.Deltas[i].Text...)
	}
	return dst
}

// garbage makes an [ErrGarbage] that says what is wrong, without quoting the answer.
func garbage(what string) error { return fmt.Errorf("%w: %s", ErrGarbage, what) }

// block reads a whole block of a plain answer.
func (r Reading) block(ev *llm.Event, i int, o *rawjson.Object) {
	d := llm.Delta{Part: i, Close: true}
	var p llm.Part
	switch {
	case o.Has(textBlock):
		p.Kind, d.Text = llm.PartText, o.Str(textBlock)
	case o.Has(citationsBlock):
		cited := rawjson.ObjectOf(o.Value(citationsBlock))
		p.Kind, p.Citations = llm.PartText, cited.Value("citations")
		pieces, _ := rawjson.ObjectsOf(cited.Value(contentField))
		for _, piece := range pieces {
			d.Text += piece.Str(textField)
		}
	case o.Has(reasoningBlock):
		p, d.Text, d.Signature = reasoningOf(rawjson.ObjectOf(o.Value(reasoningBlock)))
	case o.Has(toolUse):
		use := rawjson.ObjectOf(o.Value(toolUse))
		p = r.callOf(use, o)
		if p.Kind != llm.PartOther {
			if d.Text = string(use.Value("input")); d.Text == "" || d.Text == "null" {
				d.Text = "{}"
			}
		}
	default:
		p = llm.Part{Kind: llm.PartOther, Extra: o.Rest()}
	}
	if d.Text != "" || d.Signature != "" || p.Redacted != nil || p.Kind == llm.PartOther {
		ev.Has |= llm.Content
	}
	if r.Canonical {
		d.Open = &p
		ev.Deltas = append(ev.Deltas, d)
	}
}

// reasoningOf reads reasoning that came whole.
func reasoningOf(o *rawjson.Object) (p llm.Part, text, signature string) {
	p.Kind = llm.PartReasoning
	if o.Has("redactedContent") {
		p.Redacted = []byte(o.Str("redactedContent"))
		return p, "", ""
	}
	said := rawjson.ObjectOf(o.Value("reasoningText"))
	return p, said.Str(textField), said.Str("signature")
}

// callOf is the part that a call of a tool is: text if it stands for the answer in its form, and none of the caller's business if
// the provider runs the tool itself. whole is the block that it is in.
func (r Reading) callOf(use, whole *rawjson.Object) llm.Part {
	name := use.Str(nameField)
	switch {
	case use.Has(typeField):
		return llm.Part{Kind: llm.PartOther, Extra: whole.Rest()}
	case r.Schema && name == SchemaTool:
		return llm.Part{Kind: llm.PartText, ToolName: SchemaTool}
	}
	return llm.Part{Kind: llm.PartToolCall, CallID: use.Str("toolUseId"), ToolName: name}
}
