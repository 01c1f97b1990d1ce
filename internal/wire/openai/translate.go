package openai

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Translator writes one answer of another dialect in this one, from its canonical form. It is for one exchange.
type Translator struct {
	// ID, Created (Unix seconds) and Model are what the answer says of itself, in every event the same.
	ID      string
	Created int64
	Model   string
	// Usage says that the caller asked for the usage event of a stream.
	Usage bool

	same    []byte // what all events of a stream begin with
	choices []written
	usage   llm.Usage
	counted bool
}

// An UnwritableError is a part of an answer for which the dialect has no form.
type UnwritableError struct{ Kind llm.PartKind }

// Error names the kind of part.
func (e *UnwritableError) Error() string {
	return fmt.Sprintf("the answer holds a part of the kind %s, for which OpenAI's dialect has no form", e.Kind)
}

// written is what has been written of a choice, or gathered.
type written struct {
	begun  bool
	parts  []part
	calls  int
	finish llm.FinishReason
}

// A part is one of a choice.
type part struct {
	llm.Part
	call  int // of the choice's calls; the dialect counts these only
	text  strings.Builder
	proof string
}

// choice is the choice that a delta is about.
func (t *Translator) choice(d *llm.Delta) *written {
	for len(t.choices) <= d.Choice {
		t.choices = append(t.choices, written{})
	}
	return &t.choices[d.Choice]
}

// open notes a part. The error is an *[UnwritableError].
func (c *written) open(d *llm.Delta) error {
	switch d.Open.Kind {
	case llm.PartText, llm.PartRefusal, llm.PartReasoning, llm.PartToolCall:
	default:
		if !isLink(d.Open) {
			return &UnwritableError{d.Open.Kind}
		}
	}
	for len(c.parts) <= d.Part {
		c.parts = append(c.parts, part{})
	}
	p := &c.parts[d.Part]
	p.Part = *d.Open
	if p.Kind == llm.PartToolCall {
		p.call = c.calls
		p.proof = d.Signature
		c.calls++
	}
	return nil
}

// isLink reports whether a part is written as a link: to an image, or to the bytes of whatever it is.
func isLink(p *llm.Part) bool {
	switch p.Kind {
	case llm.PartImage:
		return p.Data != nil || p.URL != ""
	case llm.PartAudio, llm.PartFile:
		return p.Data != nil
	}
	return false
}

// note keeps in mind what the provider counted; the last counts.
func (t *Translator) note(ev *llm.Event) {
	if ev.Is(llm.UsageIn) {
		t.usage, t.counted = ev.Usage, true
	}
}

// AppendEvent appends what an event of a stream is in this dialect, which may be nothing, one event or several. Errors are
// *[UnwritableError].
func (t *Translator) AppendEvent(dst []byte, ev *llm.Event) ([]byte, error) {
	t.note(ev)
	for i := range ev.Deltas {
		var err error
		if dst, err = t.delta(dst, &ev.Deltas[i]); err != nil {
			return dst, err
		}
	}
	if !ev.Is(llm.End) {
		return dst, nil
	}
	if t.Usage && t.counted {
		w := t.event(dst)
		w.Dst = append(w.Dst, ']')
		t.bill(&w)
		dst = append(w.Dst, "}"+eventEnd...)
	}
	return append(dst, dataPrefix+doneMark+eventEnd...), nil
}

func (t *Translator) delta(dst []byte, d *llm.Delta) ([]byte, error) {
	c := t.choice(d)
	if !c.begun {
		c.begun = true
		w := t.chunk(dst, d.Choice)
		w.Dst = append(w.Dst, `"role":"assistant","content":""`...)
		dst = t.sent(w, "")
	}
	if d.Open != nil {
		if err := c.open(d); err != nil {
			return dst, err
		}
		if p := &c.parts[d.Part]; p.Kind == llm.PartToolCall {
			w := t.chunk(dst, d.Choice)
			p.opening(&w)
			dst = t.sent(w, "")
		} else if isLink(&p.Part) {
			w := t.chunk(dst, d.Choice)
			appendImages(&w, &p.Part)
			dst = t.sent(w, "")
		}
	}
	if d.Text != "" && d.Part < len(c.parts) {
		w := t.chunk(dst, d.Choice)
		c.parts[d.Part].piece(&w, d.Text)
		dst = t.sent(w, "")
	}
	if d.Finish != "" {
		dst = t.sent(t.chunk(dst, d.Choice), finishWord(d.Finish))
	}
	return dst, nil
}

// opening writes the first piece of a call: its id and its name.
func (p *part) opening(w *rawjson.Writer) {
	w.Name("tool_calls")
	w.Dst = append(w.Dst, `[{"index":`...)
	w.Dst = strconv.AppendInt(w.Dst, int64(p.call), 10)
	w.Member("id", p.CallID)
	p.inside(w, true)
	w.Member("name", p.ToolName)
	w.Member(p.arguments(), "")
	w.Dst = append(w.Dst, '}')
	appendProof(w, p.proof)
	w.Dst = append(w.Dst, `}]`...)
}

// inside begins the inside of a call, which is named by the kind of the tool; typed says that the kind is told, too.
func (p *part) inside(w *rawjson.Writer, typed bool) {
	kind := toolType(p.Custom)
	if typed {
		w.Member("type", kind)
	}
	w.Name(kind)
	w.Dst = append(w.Dst, '{')
}

// arguments is what a call's arguments are called.
func (p *part) arguments() string {
	if p.Custom {
		return "input"
	}
	return "arguments"
}

// appendProof writes the proof of reasoning that a model wants back with a call, where clients keep it who know that.
func appendProof(w *rawjson.Writer, proof string) {
	if proof == "" {
		return
	}
	w.Name(extraContent)
	w.Dst = append(w.Dst, `{"google":{`...)
	w.Member("thought_signature", proof)
	w.Dst = append(w.Dst, `}}`...)
}

// piece writes what a part grows by.
func (p *part) piece(w *rawjson.Writer, text string) {
	switch p.Kind {
	case llm.PartToolCall:
		w.Name("tool_calls")
		w.Dst = append(w.Dst, `[{"index":`...)
		w.Dst = strconv.AppendInt(w.Dst, int64(p.call), 10)
		p.inside(w, false)
		w.Member(p.arguments(), text)
		w.Dst = append(w.Dst, `}}]`...)
	case llm.PartReasoning:
		w.Member("reasoning_content", text)
	case llm.PartRefusal:
		w.Member("refusal", text)
	case llm.PartText:
		w.Member("content", text)
	}
}

// appendImages writes images that a model made. The vendor's dialect has no place for them in an answer; others' have this one.
func appendImages(w *rawjson.Writer, all ...*llm.Part) {
	w.Name("images")
	w.Dst = append(w.Dst, '[')
	for i, p := range all {
		w.Comma()
		w.Dst = append(w.Dst, `{"index":`...)
		w.Dst = strconv.AppendInt(w.Dst, int64(i), 10)
		w.Dst = append(w.Dst, `,"type":"image_url","image_url":{`...)
		w.Member("url", link(p))
		w.Dst = append(w.Dst, `}}`...)
	}
	w.Dst = append(w.Dst, ']')
}

// link is where an image is, or its bytes.
func link(p *llm.Part) string {
	if p.Data == nil {
		return p.URL
	}
	return dataURL(p)
}

// images are the images, and other files, of a choice.
func (c *written) images() (all []*llm.Part) {
	for i := range c.parts {
		if p := &c.parts[i]; isLink(&p.Part) {
			all = append(all, &p.Part)
		}
	}
	return all
}

// chunk begins an event with one choice, up to and with the bracket that opens its delta, and sent ends it.
func (t *Translator) chunk(dst []byte, choice int) rawjson.Writer {
	w := t.event(dst)
	w.Dst = strconv.AppendInt(append(w.Dst, `{"index":`...), int64(choice), 10)
	w.Dst = append(w.Dst, `,"delta":{`...)
	return w
}

func (t *Translator) sent(w rawjson.Writer, finish string) []byte {
	w.Dst = append(w.Dst, `},"logprobs":null,"finish_reason":`...)
	if finish == "" {
		w.Dst = append(w.Dst, "null"...)
	} else {
		w.Quoted(finish)
	}
	w.Dst = append(w.Dst, `}]`...)
	if t.Usage {
		w.Dst = append(w.Dst, `,"usage":null`...)
	}
	return append(w.Dst, "}"+eventEnd...)
}

// event begins an event, up to and with the bracket that opens the choices: with what all events of a stream begin with.
func (t *Translator) event(dst []byte) rawjson.Writer {
	if t.same == nil {
		w := rawjson.Writer{Dst: append(make([]byte, 0, 256), dataPrefix...)}
		t.head(&w, "chat.completion.chunk")
		t.same = w.Dst
	}
	return rawjson.Writer{Dst: append(dst, t.same...)}
}

// head begins an answer or an event, up to and with the bracket that opens the choices.
func (t *Translator) head(w *rawjson.Writer, object string) {
	w.Dst = append(w.Dst, '{')
	w.Member("id", t.ID)
	w.Member("object", object)
	w.Integer(nil, "created", &t.Created)
	w.Member("model", t.Model)
	w.Name("choices")
	w.Dst = append(w.Dst, '[')
}

// bill writes what was counted.
func (t *Translator) bill(w *rawjson.Writer) {
	u, total := &t.usage, t.usage.Input+t.usage.Output
	w.Name("usage")
	w.Dst = append(w.Dst, '{')
	w.Integer(nil, "prompt_tokens", &u.Input)
	w.Integer(nil, "completion_tokens", &u.Output)
	w.Integer(nil, "total_tokens", &total)
	w.Dst = append(w.Dst, `,"prompt_tokens_details":{`...)
	w.Integer(nil, "cached_tokens", &u.CachedInput)
	w.Integer(nil, "cache_write_tokens", &u.CacheWrite)
	w.Dst = append(w.Dst, `},"completion_tokens_details":{`...)
	w.Integer(nil, "reasoning_tokens", &u.Reasoning)
	w.Dst = append(w.Dst, `}}`...)
}

// finishWord is the dialect's word for why a choice ended.
func finishWord(f llm.FinishReason) string {
	switch f {
	case llm.FinishLength, llm.FinishContext:
		return "length"
	case llm.FinishTools:
		return "tool_calls"
	case llm.FinishFilter:
		return "content_filter"
	}
	return "stop"
}

// AppendAnswer appends a plain answer, which came as one event. Errors are *[UnwritableError].
func (t *Translator) AppendAnswer(dst []byte, ev *llm.Event) ([]byte, error) {
	t.note(ev)
	for i := range ev.Deltas {
		d := &ev.Deltas[i]
		c := t.choice(d)
		if d.Open != nil {
			if err := c.open(d); err != nil {
				return dst, err
			}
		}
		if d.Text != "" && d.Part < len(c.parts) {
			c.parts[d.Part].text.WriteString(d.Text)
		}
		if d.Finish != "" {
			c.finish = d.Finish
		}
	}
	w := rawjson.Writer{Dst: dst}
	t.head(&w, "chat.completion")
	for i := range t.choices {
		w.Comma()
		t.choices[i].write(&w, i)
	}
	w.Dst = append(w.Dst, ']')
	if t.counted {
		t.bill(&w)
	}
	return append(w.Dst, '}'), nil
}

// write writes a whole choice.
func (c *written) write(w *rawjson.Writer, index int) {
	w.Dst = append(w.Dst, `{"index":`...)
	w.Dst = strconv.AppendInt(w.Dst, int64(index), 10)
	w.Dst = append(w.Dst, `,"message":{"role":"assistant","content":`...)
	if said := c.text(llm.PartText); said != "" || c.calls == 0 {
		w.Quoted(said)
	} else {
		w.Dst = append(w.Dst, "null"...)
	}
	w.Name("refusal")
	if refused := c.text(llm.PartRefusal); refused != "" {
		w.Quoted(refused)
	} else {
		w.Dst = append(w.Dst, "null"...)
	}
	w.Text(nil, "reasoning_content", c.text(llm.PartReasoning))
	if all := c.images(); len(all) > 0 {
		appendImages(w, all...)
	}
	if c.calls > 0 {
		w.Name("tool_calls")
		w.Dst = append(w.Dst, '[')
		for i := range c.parts {
			if p := &c.parts[i]; p.Kind == llm.PartToolCall {
				w.Comma()
				w.Dst = append(w.Dst, '{')
				w.Member("id", p.CallID)
				p.inside(w, true)
				w.Member("name", p.ToolName)
				w.Member(p.arguments(), p.text.String())
				w.Dst = append(w.Dst, '}')
				appendProof(w, p.proof)
				w.Dst = append(w.Dst, '}')
			}
		}
		w.Dst = append(w.Dst, ']')
	}
	w.Dst = append(w.Dst, `},"logprobs":null,"finish_reason":`...)
	w.Quoted(finishWord(c.finish))
	w.Dst = append(w.Dst, '}')
}

// text is what the parts of one kind say together.
func (c *written) text(kind llm.PartKind) string {
	var b strings.Builder
	for i := range c.parts {
		if c.parts[i].Kind == kind {
			b.WriteString(c.parts[i].text.String())
		}
	}
	return b.String()
}
