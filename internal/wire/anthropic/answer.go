package anthropic

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Reading says how answers are read.
type Reading struct {
	// Canonical asks for the canonical form of what is read, for callers of other dialects.
	Canonical bool
	// Schema says that [SchemaTool] was sent: its call is the text of the answer.
	Schema bool
	// Meta is told who the answer is and why it ended; it may be nil.
	Meta *llm.Meta
}

// tell tells what a message object says of itself.
func (r Reading) tell(id, model string) {
	if r.Meta == nil {
		return
	}
	r.Meta.ID, r.Meta.Model = plain(id, maxID, r.Meta.ID), plain(model, maxName, r.Meta.Model)
}

// The limits of what goes to records and logs, in bytes.
const (
	maxID   = 128
	maxName = 256
)

// plain is s if it is short and printable ASCII, else what was there before.
func plain(s string, most int, before string) string {
	if s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return before
	}
	return s
}

// endTurn is the stop reason of an answer that says all.
const endTurn = "end_turn"

// finishes are the canonical reasons of the dialect's.
var finishes = map[string]llm.FinishReason{
	endTurn: llm.FinishStop, "stop_sequence": llm.FinishSequence, "max_tokens": llm.FinishLength, "tool_use": llm.FinishTools,
	"model_context_window_exceeded": llm.FinishContext, "refusal": llm.FinishFilter, "pause_turn": llm.FinishPause,
}

// finishOf is the canonical reason; one that is not known ends an answer all the same.
func (r Reading) finishOf(reason string) llm.FinishReason {
	f, ok := finishes[reason]
	switch {
	case !ok, r.Schema && f == llm.FinishTools:
		return llm.FinishStop
	}
	return f
}

// ScanAnswer reads a plain answer and fills in ev. It sees to it that the answer is whole and usable. Errors are [ErrGarbage],
// [ErrEmpty] and *[InBandError].
func ScanAnswer(body []byte, ev *llm.Event, r Reading) error {
	*ev = llm.Event{Dialect: llm.Anthropic, Raw: body}
	if len(bytes.TrimSpace(body)) == 0 {
		return fmt.Errorf("%w: no body", ErrEmpty)
	}
	if !rawjson.Valid(body) {
		return garbage("not JSON")
	}
	c := rawjson.Cursor{Text: body}
	if c.Kind() != '{' {
		return garbage("not a JSON object")
	}
	m, failed := message{ev: ev, reading: r, counts: nothingCounted, body: true}, false
	for name := range c.Members() {
		if failed = failed || string(name) == "error"; failed {
			continue
		}
		m.member(&c, string(name))
	}
	switch {
	case failed, m.kind == eventError:
		return inBand(body)
	case m.err != nil:
		return m.err
	case !m.content:
		return garbage("no content")
	case m.reason == "":
		return garbage("no stop reason")
	}
	if u, ok := m.counts.usage(); ok {
		ev.Usage = u
		ev.Has |= llm.UsageIn
	}
	if !ev.Is(llm.Content) && m.reason == endTurn && ev.Usage.Output == 0 {
		return fmt.Errorf("%w: no text, and no tokens were generated", ErrEmpty)
	}
	m.finish(m.reason, m.stop)
	ev.Has |= llm.End
	return nil
}

// ScanCount reads the answer to a call that counts tokens. Errors are [ErrGarbage] and *[InBandError].
func ScanCount(body []byte) (int64, error) {
	if !rawjson.Valid(body) {
		return 0, garbage("not JSON")
	}
	o := rawjson.ObjectOf(body)
	if o.Kind("error") == '{' {
		return 0, inBand(body)
	}
	n := int64(-1)
	if value := o.Value("input_tokens"); value != nil {
		count(&rawjson.Cursor{Text: value}, &n)
	}
	if n < 0 {
		return 0, garbage("no count of tokens")
	}
	return n, nil
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

// A message is an answer, or the beginning of one in a stream, that is being read.
type message struct {
	ev      *llm.Event
	reading Reading
	counts  counts
	body    bool // it is a plain answer, whose content is to be read

	kind, reason, stop string
	content            bool
	err                error
}

// member reads one member of a message object, before whose value the cursor stands.
func (m *message) member(c *rawjson.Cursor, name string) {
	switch name {
	case "id":
		m.reading.tell(str(c.Value()), "")
	case typeField:
		m.kind = str(c.Value())
	case "model":
		if c.Kind() == '"' {
			start := c.At
			c.Value()
			m.ev.ModelAt = llm.Span{Start: start, End: c.At}
			m.reading.tell("", str(c.Text[start:c.At]))
		}
	case "stop_reason":
		m.reason = str(c.Value())
	case "stop_sequence":
		m.stop = str(c.Value())
	case "usage":
		m.counts.read(c, m.reading.Meta)
	case contentField:
		if m.content = c.Kind() == '['; !m.content || !m.body {
			return
		}
		for i := range c.Elements() {
			if c.Kind() != '{' {
				m.err = garbage("a block that is not an object")
				continue
			}
			m.block(i, rawjson.ObjectOf(c.Value()))
		}
	}
}

// block reads a whole block of a plain answer.
func (m *message) block(i int, o *rawjson.Object) {
	p, text, some := blockOf(o, m.reading)
	if some || text != "" {
		m.ev.Has |= llm.Content
	}
	if !m.reading.Canonical {
		return
	}
	if p.Kind == llm.PartToolCall && text == "" || p.Kind == llm.PartText && p.ToolName == SchemaTool {
		if text = string(o.Value("input")); text == "" {
			text = "{}"
		}
	}
	m.ev.Deltas = append(m.ev.Deltas, llm.Delta{Part: i, Open: &p, Text: text, Signature: o.Str("signature"), Close: true})
}

func (m *message) finish(reason, stop string) { m.reading.finish(m.ev, reason, stop) }

// finish tells why the answer ended.
func (r Reading) finish(ev *llm.Event, reason, stop string) {
	ev.Has |= llm.Finish
	why := r.finishOf(reason)
	if r.Meta != nil {
		r.Meta.Finished(0, why)
	}
	if r.Canonical {
		ev.Deltas = append(ev.Deltas, llm.Delta{Finish: why, StopText: stop})
	}
}

// blockOf reads what a block says of itself: which part it is, the text that is in it already, and whether that it is there is
// something generated.
func blockOf(o *rawjson.Object, r Reading) (p llm.Part, text string, some bool) {
	switch kind := o.Str(typeField); kind {
	case textBlock:
		p = llm.Part{Kind: llm.PartText, Citations: slices.Clone(o.Value("citations"))}
		return p, o.Str(textField), false
	case thinkingBlock:
		return llm.Part{Kind: llm.PartReasoning}, o.Str("thinking"), o.Str("signature") != ""
	case redactedBlock:
		return llm.Part{Kind: llm.PartReasoning, Redacted: []byte(o.Str("data"))}, "", true
	case toolUse:
		p = llm.Part{Kind: llm.PartToolCall, CallID: o.Str("id"), ToolName: o.Str("name")}
		if r.Schema && p.ToolName == SchemaTool {
			p = llm.Part{Kind: llm.PartText, ToolName: SchemaTool}
		}
		return p, "", true
	default:
		return llm.Part{Kind: llm.PartOther, Extra: o.Rest()}, "", true
	}
}

// str is what a JSON string says, "" for all else.
func str(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return ""
	}
	return string(rawjson.Unquoted(value))
}
