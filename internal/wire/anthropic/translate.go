package anthropic

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Translator writes one answer of another dialect in this one, from its canonical form. It is for one exchange.
type Translator struct {
	// ID and Model are what the answer says of itself.
	ID    string
	Model string

	begun   bool
	blocks  []written
	open    bool // the last block is
	finish  llm.FinishReason
	refused bool // a part is a refusal
	stop    string
	usage   llm.Usage
	counted bool
}

// A written is a block that was written, or gathered.
type written struct {
	part      int // the provider's number of it
	kind      llm.PartKind
	head      llm.Part
	text      strings.Builder // of a plain answer
	signature string
}

// An UnwritableError is a part of an answer for which the dialect has no form.
type UnwritableError struct{ Kind llm.PartKind }

// Error names the kind of part.
func (e *UnwritableError) Error() string {
	return fmt.Sprintf("the answer holds a part of the kind %s, for which Anthropic's dialect has no form", e.Kind)
}

// note keeps in mind what the provider counted, and why it ended; the last counts.
func (t *Translator) note(ev *llm.Event) {
	if ev.Is(llm.UsageIn) {
		t.usage, t.counted = ev.Usage, true
	}
}

// AppendEvent appends what an event of a stream is in this dialect, which may be nothing, one event or several. The reason for the
// end is held back until the end, since what was counted belongs to it and may come later. Errors are *[UnwritableError].
func (t *Translator) AppendEvent(dst []byte, ev *llm.Event) ([]byte, error) {
	t.note(ev)
	for i := range ev.Deltas {
		var err error
		if dst, err = t.delta(dst, ev.Dialect, &ev.Deltas[i]); err != nil {
			return dst, err
		}
	}
	if !ev.Is(llm.End) {
		return dst, nil
	}
	dst = t.shut(t.begin(dst))
	w := event(dst, eventDelta)
	w.Dst = append(w.Dst, `,"delta":{"stop_reason":`...)
	w.Quoted(t.reason())
	t.stopSequence(&w)
	w.Dst = append(w.Dst, '}')
	t.bill(&w)
	return sent(event(sent(w), eventStop)), nil
}

func (t *Translator) stopSequence(w *rawjson.Writer) {
	w.Name("stop_sequence")
	if t.stop == "" {
		w.Dst = append(w.Dst, "null"...)
	} else {
		w.Quoted(t.stop)
	}
}

// event begins an event, and sent ends it.
func event(dst []byte, name string) rawjson.Writer {
	dst = append(append(append(dst, "event: "...), name...), "\ndata: {"...)
	w := rawjson.Writer{Dst: dst}
	w.Member(typeField, name)
	return w
}

func sent(w rawjson.Writer) []byte { return append(w.Dst, "}\n\n"...) }

// begin writes the first event, if nothing was written yet.
func (t *Translator) begin(dst []byte) []byte {
	if t.begun {
		return dst
	}
	t.begun = true
	w := event(dst, eventStart)
	w.Dst = append(w.Dst, `,"message":{`...)
	t.head(&w)
	w.Dst = append(w.Dst, `[],"stop_reason":null,"stop_sequence":null`...)
	t.bill(&w)
	w.Dst = append(w.Dst, '}')
	return sent(w)
}

// head begins a message, up to the name of its content.
func (t *Translator) head(w *rawjson.Writer) {
	w.Member("id", t.ID)
	w.Member(typeField, "message")
	w.Member("role", string(llm.RoleAssistant))
	w.Member("model", t.Model)
	w.Name(contentField)
}

func (t *Translator) delta(dst []byte, by llm.Dialect, d *llm.Delta) ([]byte, error) {
	if d.Choice > 0 {
		return dst, nil // one is all that clients of this dialect can ask for
	}
	dst = t.begin(dst)
	if d.Open != nil {
		if err := t.add(by, d); err != nil {
			return dst, err
		}
		dst = t.start(dst)
	}
	if d.Text != "" || d.Signature != "" {
		dst = t.grow(dst, by, d)
	}
	if d.Close {
		dst = t.shut(dst)
	}
	if d.Finish != "" {
		t.finish, t.stop = d.Finish, d.StopText
	}
	return dst, nil
}

// add notes a block that begins.
func (t *Translator) add(by llm.Dialect, d *llm.Delta) error {
	switch d.Open.Kind {
	case llm.PartText, llm.PartRefusal, llm.PartToolCall, llm.PartReasoning:
	default:
		return &UnwritableError{d.Open.Kind}
	}
	b := written{part: d.Part, kind: d.Open.Kind, head: *d.Open}
	if b.head.Redacted != nil {
		b.head.Redacted = []byte(signed(by, string(b.head.Redacted)))
	}
	t.refused = t.refused || b.kind == llm.PartRefusal
	t.blocks = append(t.blocks, b)
	return nil
}

// last is the block that a delta is about, nil if that is not the last one: parts do not overlap.
func (t *Translator) last(part int) *written {
	if n := len(t.blocks); n > 0 && t.blocks[n-1].part == part {
		return &t.blocks[n-1]
	}
	return nil
}

// start writes that the last block begins, and that the one before it has ended.
func (t *Translator) start(dst []byte) []byte {
	n := len(t.blocks) - 1
	if t.open {
		dst = t.stopBlock(dst, n-1)
	}
	t.open = true
	b := &t.blocks[n]
	w := event(dst, eventBlockStart)
	w.Dst = strconv.AppendInt(append(w.Dst, `,"index":`...), int64(n), 10)
	w.Dst = append(w.Dst, `,"content_block":{`...)
	b.opening(&w)
	w.Dst = append(w.Dst, '}')
	return sent(w)
}

// opening writes the members of a block that is empty yet.
func (b *written) opening(w *rawjson.Writer) {
	switch {
	case b.kind == llm.PartToolCall:
		w.Member(typeField, toolUse)
		w.Member("id", callID(&b.head))
		w.Member("name", b.head.ToolName)
		w.Dst = append(w.Dst, `,"input":{}`...)
	case b.head.Redacted != nil:
		w.Member(typeField, redactedBlock)
		w.Member("data", string(b.head.Redacted))
	case b.kind == llm.PartReasoning:
		w.Member(typeField, thinkingBlock)
		w.Dst = append(w.Dst, `,"thinking":"","signature":""`...)
	default:
		w.Member(typeField, textBlock)
		w.Member(textField, "")
	}
}

// grow writes what is added to the last block.
func (t *Translator) grow(dst []byte, by llm.Dialect, d *llm.Delta) []byte {
	b := t.last(d.Part)
	if b == nil || !t.open {
		return dst
	}
	if d.Text != "" {
		kind, name := "text_delta", textField
		switch b.kind {
		case llm.PartToolCall:
			kind, name = "input_json_delta", "partial_json"
		case llm.PartReasoning:
			kind, name = "thinking_delta", "thinking"
		}
		dst = t.piece(dst, kind, name, d.Text)
	}
	if d.Signature != "" && b.kind == llm.PartReasoning {
		dst = t.piece(dst, "signature_delta", "signature", signed(by, d.Signature))
	}
	return dst
}

func (t *Translator) piece(dst []byte, kind, name, text string) []byte {
	w := event(dst, eventBlockDelta)
	w.Dst = strconv.AppendInt(append(w.Dst, `,"index":`...), int64(len(t.blocks)-1), 10)
	w.Dst = append(w.Dst, `,"delta":{`...)
	w.Member(typeField, kind)
	w.Member(name, text)
	w.Dst = append(w.Dst, '}')
	return sent(w)
}

// shut writes that the last block has ended, if it is open.
func (t *Translator) shut(dst []byte) []byte {
	if !t.open {
		return dst
	}
	t.open = false
	return t.stopBlock(dst, len(t.blocks)-1)
}

func (t *Translator) stopBlock(dst []byte, index int) []byte {
	w := event(dst, eventBlockStop)
	w.Dst = strconv.AppendInt(append(w.Dst, `,"index":`...), int64(index), 10)
	return sent(w)
}

// bill writes what was counted: cached tokens are counted beside the others here, and among them elsewhere.
func (t *Translator) bill(w *rawjson.Writer) {
	u := &t.usage
	fresh := max(u.Input-u.CachedInput-u.CacheWrite, 0)
	w.Name("usage")
	w.Dst = append(w.Dst, '{')
	w.Integer(nil, "input_tokens", &fresh)
	w.Integer(nil, "cache_creation_input_tokens", &u.CacheWrite)
	w.Integer(nil, "cache_read_input_tokens", &u.CachedInput)
	w.Integer(nil, "output_tokens", &u.Output)
	if u.Reasoning > 0 {
		w.Dst = append(w.Dst, `,"output_tokens_details":{`...)
		w.Integer(nil, "thinking_tokens", &u.Reasoning)
		w.Dst = append(w.Dst, '}')
	}
	w.Dst = append(w.Dst, '}')
}

// reason is why the answer ended. One that refuses has not just said all, though other dialects call it so.
func (t *Translator) reason() string {
	if t.refused && t.finish == llm.FinishStop {
		return stopReason(llm.FinishFilter)
	}
	return stopReason(t.finish)
}

// stopReason is the dialect's word for why an answer ended.
func stopReason(f llm.FinishReason) string {
	switch f {
	case llm.FinishSequence:
		return "stop_sequence"
	case llm.FinishLength:
		return "max_tokens"
	case llm.FinishContext:
		return "model_context_window_exceeded"
	case llm.FinishTools, llm.FinishFunction:
		return toolUse
	case llm.FinishFilter:
		return "refusal"
	case llm.FinishPause:
		return "pause_turn"
	}
	return endTurn
}

// AppendAnswer appends a plain answer, which came as one event. Errors are *[UnwritableError].
func (t *Translator) AppendAnswer(dst []byte, ev *llm.Event) ([]byte, error) {
	t.note(ev)
	for i := range ev.Deltas {
		d := &ev.Deltas[i]
		if d.Choice > 0 {
			continue
		}
		if d.Open != nil {
			if err := t.add(ev.Dialect, d); err != nil {
				return dst, err
			}
		}
		if b := t.last(d.Part); b != nil {
			b.text.WriteString(d.Text)
			if d.Signature != "" {
				b.signature = signed(ev.Dialect, d.Signature)
			}
		}
		if d.Finish != "" {
			t.finish, t.stop = d.Finish, d.StopText
		}
	}
	w := rawjson.Writer{Dst: append(dst, '{')}
	t.head(&w)
	w.Dst = append(w.Dst, '[')
	for i := range t.blocks {
		t.blocks[i].write(&w)
	}
	w.Dst = append(w.Dst, ']')
	w.Member("stop_reason", t.reason())
	t.stopSequence(&w)
	t.bill(&w)
	return append(w.Dst, '}'), nil
}

// write writes a whole block. One of text that says nothing is none.
func (b *written) write(w *rawjson.Writer) {
	text := b.text.String()
	if text == "" && (b.kind == llm.PartText || b.kind == llm.PartRefusal) {
		return
	}
	w.Comma()
	w.Dst = append(w.Dst, '{')
	switch {
	case b.kind == llm.PartToolCall:
		w.Member(typeField, toolUse)
		w.Member("id", callID(&b.head))
		w.Member("name", b.head.ToolName)
		w.Raw("input", input(text))
	case b.head.Redacted != nil:
		b.opening(w)
	case b.kind == llm.PartReasoning:
		w.Member(typeField, thinkingBlock)
		w.Member("thinking", text)
		w.Member("signature", b.signature)
	default:
		w.Member(typeField, textBlock)
		w.Member(textField, text)
	}
	w.Dst = append(w.Dst, '}')
}

// input is the arguments of a call, which are an object here. What a model wrote that is none (it may have been cut off) is kept
// within one, under the name that the vendor proposes for that.
func input(arguments string) []byte {
	text := strings.TrimSpace(arguments)
	switch {
	case text == "":
		return []byte("{}")
	case text[0] == '{' && rawjson.Valid([]byte(text)):
		return []byte(text)
	}
	w := rawjson.Writer{Dst: []byte{'{'}}
	w.Member("INVALID_JSON", arguments)
	return append(w.Dst, '}')
}
