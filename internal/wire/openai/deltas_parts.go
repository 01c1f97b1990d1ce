package openai

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// An opened is a choice whose parts are being told. The first of its queue is open and told as it comes, the others wait until
// those before them are closed.
type opened struct {
	d     *Deltas
	index int
	parts int // that were opened
	queue []*piece
	calls []*piece // all of them, in the order in which they came
	why   llm.FinishReason
	stop  string
	done  bool // why it ended was told
}

// A piece is a part that grows.
type piece struct {
	part    llm.Part
	number  int    // of the part, once it is open
	waiting []byte // what has not been told yet
	proof   string // what has not been told yet of its signature
	all     []byte // the arguments of a call, as far as they have come
	given   string // the call's id as the server gave it
	slot    int64  // the call's index, as the server counts them; -1 if it does not
	ended   bool
}

// open reports whether the piece is the one that is being told.
func (c *opened) open(p *piece) bool { return len(c.queue) > 0 && c.queue[0] == p }

// last is the piece that was begun last and has not ended, nil if there is none.
func (c *opened) last() *piece {
	if len(c.queue) == 0 {
		return nil
	}
	return c.queue[len(c.queue)-1]
}

// say adds text to the part of a kind that is no call.
func (c *opened) say(kind llm.PartKind, text string) {
	if text == "" {
		return
	}
	p := c.last()
	if p == nil || p.part.Kind != kind || p.part.Redacted != nil || p.proof != "" || p.ended {
		p = c.begin(llm.Part{Kind: kind})
	}
	c.grow(p, text)
}

// prove gives the reasoning at hand its signature, which is its end.
func (c *opened) prove(signature string) {
	p := c.last()
	if p == nil || p.part.Kind != llm.PartReasoning || p.part.Redacted != nil || p.ended {
		p = c.begin(llm.Part{Kind: llm.PartReasoning})
	}
	p.ended = true
	if c.open(p) {
		c.tell(llm.Delta{Part: p.number, Signature: signature})
		return
	}
	p.proof = signature
}

// redacted adds reasoning that only the provider can read.
func (c *opened) redacted(data string) {
	c.begin(llm.Part{Kind: llm.PartReasoning, Redacted: []byte(data)}).ended = true
}

// begin adds a part: open, if those before it have said all, else waiting.
func (c *opened) begin(part llm.Part) *piece {
	p := &piece{part: part, slot: -1}
	c.queue = append(c.queue, p)
	if len(c.queue) == 1 {
		c.start(p)
	} else {
		c.advance()
	}
	return p
}

func (c *opened) tell(d llm.Delta) {
	d.Choice = c.index
	c.d.out = append(c.d.out, d)
}

// start opens a part, and tells what of it has waited.
func (c *opened) start(p *piece) {
	p.number = c.parts
	c.parts++
	part := p.part
	c.tell(llm.Delta{Part: p.number, Open: &part})
	if len(p.waiting) > 0 {
		c.tell(llm.Delta{Part: p.number, Text: string(p.waiting)})
		c.d.held -= len(p.waiting)
		p.waiting = nil
	}
	if p.proof != "" {
		c.tell(llm.Delta{Part: p.number, Signature: p.proof})
	}
}

// grow adds text to a part.
func (c *opened) grow(p *piece, text string) {
	if p.part.Kind == llm.PartToolCall {
		p.all = append(p.all, text...)
		c.d.hold(len(text))
	}
	if c.open(p) {
		c.tell(llm.Delta{Part: p.number, Text: text})
	} else {
		p.waiting = append(p.waiting, text...)
		c.d.hold(len(text))
	}
	c.advance()
}

// hold counts what is kept.
func (d *Deltas) hold(n int) {
	if d.held += n; d.held > maxHeldCalls {
		d.fail(garbage("calls of tools without end"))
	}
}

// advance closes what is open, and opens what waits, as long as it is sure that nothing will be added to the former.
func (c *opened) advance() {
	for len(c.queue) > 1 {
		p := c.queue[0]
		if p.part.Kind == llm.PartToolCall && (p.part.Custom || !complete(p.all)) {
			return
		}
		c.shut()
	}
}

// shut closes the part that is open and opens the next.
func (c *opened) shut() {
	p := c.queue[0]
	c.queue = c.queue[1:]
	if p.part.Kind == llm.PartToolCall && !p.part.Custom && len(strings.TrimSpace(string(p.all))) == 0 {
		c.tell(llm.Delta{Part: p.number, Text: "{}"}) // elsewhere arguments are an object
	}
	p.ended = true
	c.tell(llm.Delta{Part: p.number, Close: true})
	if len(c.queue) > 0 {
		c.start(c.queue[0])
	}
}

// end closes all and says why the choice ended. Servers that call tools and say that they stopped mean the calls.
func (c *opened) end() {
	for len(c.queue) > 0 {
		c.shut()
	}
	if c.done {
		return
	}
	if c.done = true; c.why == "" {
		c.why = llm.FinishStop // that the answer is whole is known otherwise
	}
	if len(c.calls) > 0 && (c.why == llm.FinishStop || c.why == llm.FinishSequence) {
		c.why, c.stop = llm.FinishTools, ""
	}
	c.tell(llm.Delta{Finish: c.why, StopText: c.stop})
}

// call reads one of tool_calls, or a piece of one.
func (c *opened) call(o *rawjson.Object) {
	kind, arguments := functionType, "arguments"
	if o.Kind(customType) == '{' {
		kind, arguments = customType, "input"
	}
	inner := rawjson.ObjectOf(o.Value(kind))
	id, name := o.Str("id"), inner.Str("name")
	text := inner.Str(arguments)
	if v := inner.Value(arguments); text == "" && len(v) > 0 && v[0] == '{' {
		text = string(v) // Ollama's own form
	}
	slot := int64(-1)
	if n := o.Integer("index"); n != nil {
		slot = *n
	}
	p := c.find(slot, id, name)
	if p == nil {
		p = c.newCall(slot, id, name, kind == customType)
	}
	c.more(p, text)
}

// oldCall reads function_call, the oldest form, of which there is one.
func (c *opened) oldCall(o *rawjson.Object) {
	p := c.find(-1, "", o.Str("name"))
	if p == nil {
		p = c.newCall(-1, "", o.Str("name"), false)
	}
	c.more(p, o.Str("arguments"))
}

// more adds arguments to a call. Behind the end of a call only white space may come.
func (c *opened) more(p *piece, text string) {
	switch {
	case text == "":
	case !p.ended:
		c.grow(p, text)
	case strings.TrimSpace(text) != "":
		c.d.fail(garbage("arguments of a call that had ended"))
	}
}

// find is the call that a piece belongs to, nil if it begins one. Servers number calls, or give their ids, or neither; some give
// all the same number, and some repeat the id, or the name, with each piece.
func (c *opened) find(slot int64, id, name string) *piece {
	for i := len(c.calls) - 1; i >= 0; i-- {
		p := c.calls[i]
		if slot >= 0 && p.slot != slot {
			continue
		}
		switch {
		case id != "" && id == p.given:
			return p
		case slot < 0 && id != "" && name == "":
			continue // a piece that names another
		case name == "":
			return p
		case id != "":
			return nil // a number that is given to several calls
		case slot < 0 || name != p.part.ToolName || complete(p.all):
			return nil
		}
		return p
	}
	return nil
}

// newCall begins a call. One without an id, or with the id of another, gets one.
func (c *opened) newCall(slot int64, id, name string, custom bool) *piece {
	if c.d.ids == nil {
		c.d.ids = map[string]bool{}
	}
	given := id
	for n := 0; id == "" || c.d.ids[id]; n++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d %d %d %s %s", c.index, len(c.calls), n, name, c.d.Request))
		id = "call_" + hex.EncodeToString(sum[:12])
	}
	c.d.ids[id] = true
	p := &piece{part: llm.Part{Kind: llm.PartToolCall, CallID: id, ToolName: name, Custom: custom}, slot: slot, given: given}
	c.calls = append(c.calls, p)
	c.queue = append(c.queue, p)
	if len(c.queue) == 1 {
		c.start(p)
	} else {
		c.advance()
	}
	return p
}
