package bedrock

import (
	"slices"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// The types of events.
const (
	eventStart      = "messageStart"
	eventBlockStart = "contentBlockStart"
	eventBlockDelta = "contentBlockDelta"
	eventBlockStop  = "contentBlockStop"
	eventStop       = "messageStop"
	eventMetadata   = "metadata"
)

// A Stream reads the events of one stream, one after the other.
type Stream struct {
	Reading Reading
	// blocks are those that have begun and whose parts have not been closed, in their order. Parts do not overlap: only the first
	// one's pieces are told at once; those of others, which providers do not send, wait for its end.
	blocks []*block
	held   int // bytes of what waits
	parts  int
	reason string // why the answer ended, "" until it has
	failed error  // what is wrong with an answer whose usage is still to come

	// What events are read into, one after the other.
	event, inner rawjson.Object
	deltas       []llm.Delta
}

// A block is one that has begun.
type block struct {
	index   int // the provider's
	part    int
	open    llm.Part
	opened  bool // it has been told
	shut    bool
	spoken  bool        // something was added to it
	waiting []llm.Delta // what has not been told yet
}

// Stopped reports whether the model has said why it ended, after which only usage may come.
func (s *Stream) Stopped() bool { return s.reason != "" }

// SaidAll reports whether the answer ended because all was said.
func (s *Stream) SaidAll() bool { return s.reason == endTurn }

// Failed is what is wrong with an answer that ended in an error, once its usage has come or cannot.
func (s *Stream) Failed() error { return s.failed }

// Scan reads an event of the given type and fills in ev; what is generated is appended to the buffer text (ev.Text is what was
// added). Errors are [ErrGarbage].
func (s *Stream) Scan(name string, data []byte, ev *llm.Event, text []byte) error {
	*ev = llm.Event{Dialect: llm.Bedrock, Raw: data, Name: name, Text: text[len(text):]}
	if !rawjson.Valid(data) {
		return garbage("not JSON")
	}
	o := &s.event
	o.Open(data)
	switch name {
	case eventBlockStart:
		return s.begin(o, ev)
	case eventBlockDelta:
		return s.grow(o, ev, text)
	case eventBlockStop:
		s.shut(o, ev, text)
	case eventStop:
		s.stop(o, ev, text)
	case eventMetadata:
		s.metadata(o, ev)
	}
	return nil
}

// index is which block an event is about.
func index(o *rawjson.Object) int {
	if n, ok := o.Int("contentBlockIndex"); ok && n >= 0 && n < 1<<20 {
		return int(n)
	}
	return -1
}

// find is the block of an index that has begun and not ended, nil if there is none.
func (s *Stream) find(i int) *block {
	for _, b := range s.blocks {
		if b.index == i && !b.shut {
			return b
		}
	}
	return nil
}

// maxHeld and maxBlocks bound what is held of blocks that overlap: bytes, and how many.
const (
	maxHeld   = 8 << 20
	maxBlocks = 256
)

// add begins a block.
func (s *Stream) add(i int, p llm.Part) *block {
	b := &block{index: i, open: p}
	s.blocks = append(s.blocks, b)
	return b
}

// wait notes what a block grows by.
func (s *Stream) wait(b *block, d llm.Delta) {
	b.waiting = append(b.waiting, d)
	s.held += len(d.Text) + len(d.Signature)
}

// tooMuch says that more is held than is good, nil if not.
func (s *Stream) tooMuch() error {
	if s.held > maxHeld || len(s.blocks) > maxBlocks {
		return garbage("blocks that overlap without end")
	}
	return nil
}

// begin reads the beginning of a block that has one: a call of a tool.
func (s *Stream) begin(o *rawjson.Object, ev *llm.Event) error {
	i := index(o)
	if i < 0 || s.find(i) != nil {
		return garbage("a block that is open already, or has no index")
	}
	start := rawjson.ObjectOf(o.Value("start"))
	ev.Has |= llm.Content
	p := llm.Part{Kind: llm.PartOther}
	if start.Has(toolUse) {
		p = s.Reading.callOf(rawjson.ObjectOf(start.Value(toolUse)), start)
	}
	if p.Kind == llm.PartOther {
		p.Extra = kept(start)
	}
	s.add(i, p)
	s.tell(ev)
	return s.tooMuch()
}

// kept are the members of an object that is gone when they are told.
func kept(o *rawjson.Object) (all []llm.Member) {
	for _, m := range o.Rest() {
		all = append(all, llm.Member{Name: m.Name, Value: slices.Clone(m.Value)})
	}
	return all
}

// grow reads a piece of a block. A block of text or reasoning begins with its first piece.
func (s *Stream) grow(o *rawjson.Object, ev *llm.Event, text []byte) error {
	i := index(o)
	if i < 0 {
		return garbage("a piece of a block without an index")
	}
	b := s.find(i)
	delta := &s.inner
	delta.Open(o.Value("delta"))
	d, p := llm.Delta{}, llm.Part{Kind: llm.PartText}
	switch {
	case delta.Has(textBlock):
		d.Text = delta.Str(textBlock)
	case delta.Has(toolUse):
		if b == nil {
			return garbage("a piece of a call that has not begun")
		}
		d.Text = rawjson.ObjectOf(delta.Value(toolUse)).Str("input")
	case delta.Has(reasoningBlock):
		p.Kind = llm.PartReasoning
		thought := rawjson.ObjectOf(delta.Value(reasoningBlock))
		d.Text, d.Signature = thought.Str(textField), thought.Str("signature")
		if thought.Has("redactedContent") {
			p.Redacted = []byte(thought.Str("redactedContent"))
			ev.Has |= llm.Content
			if b != nil { // each piece is one of its own
				b.shut = true
				b = nil
			}
		}
	case delta.Has("citation"): // of the text of the block, which is there without it
	default:
		ev.Has |= llm.Content // an image, or something new
		p = llm.Part{Kind: llm.PartOther, Extra: kept(delta)}
	}
	if b != nil && !delta.Has(toolUse) && !delta.Has("citation") && p.Kind != b.open.Kind {
		s.end(b, ev, text) // what is of another kind is another part
		b = nil
	}
	if b == nil {
		b = s.add(i, p)
	}
	if d.Text != "" || d.Signature != "" {
		ev.Has |= llm.Content
		b.spoken = b.spoken || d.Text != ""
		s.wait(b, d)
		ev.Text = append(append(text, ev.Text...), d.Text...)[len(text):]
	}
	s.tell(ev)
	return s.tooMuch()
}

// shut ends a block.
func (s *Stream) shut(o *rawjson.Object, ev *llm.Event, text []byte) {
	if b := s.find(index(o)); b != nil {
		s.end(b, ev, text)
	}
	s.tell(ev)
}

// end ends a block. A call whose arguments never came has none.
func (s *Stream) end(b *block, ev *llm.Event, text []byte) {
	b.shut = true
	if b.spoken || b.open.Kind != llm.PartToolCall && b.open.ToolName != SchemaTool {
		return
	}
	const none = "{}"
	s.wait(b, llm.Delta{Text: none})
	ev.Text = append(append(text, ev.Text...), none...)[len(text):]
}

// tell tells what is waiting of the first block, and of those behind it once it has ended.
func (s *Stream) tell(ev *llm.Event) {
	for len(s.blocks) > 0 {
		b := s.blocks[0]
		if !b.opened {
			b.opened, b.part = true, s.parts
			s.parts++
			s.step(ev, llm.Delta{Part: b.part, Open: &b.open})
		}
		for _, d := range b.waiting {
			s.held -= len(d.Text) + len(d.Signature)
			d.Part = b.part
			s.step(ev, d)
		}
		b.waiting = b.waiting[:0]
		if !b.shut {
			return
		}
		s.step(ev, llm.Delta{Part: b.part, Close: true})
		s.blocks = s.blocks[1:]
	}
}

// step adds a step of the canonical form; what is told of one part in one event is one step.
func (s *Stream) step(ev *llm.Event, d llm.Delta) {
	if !s.Reading.Canonical {
		return
	}
	if n := len(ev.Deltas); n > 0 && d.Open == nil {
		if last := &ev.Deltas[n-1]; last.Part == d.Part && !last.Close && last.Signature == "" {
			last.Text += d.Text
			last.Signature, last.Close = d.Signature, d.Close
			return
		}
	}
	if ev.Deltas == nil {
		ev.Deltas = s.deltas[:0]
	}
	ev.Deltas = append(ev.Deltas, d)
	s.deltas = ev.Deltas[:0]
}

// stop reads why the model ended. All blocks have ended with it.
func (s *Stream) stop(o *rawjson.Object, ev *llm.Event, text []byte) {
	for _, b := range s.blocks {
		if !b.shut {
			s.end(b, ev, text)
		}
	}
	s.tell(ev)
	reason := o.Str("stopReason")
	if reason == "" || s.reason != "" {
		return
	}
	s.reason = reason
	if what := malformed[reason]; what != "" {
		s.failed = &InBandError{UpstreamError{Message: what, Type: reason}}
		return
	}
	s.Reading.finish(ev, reason, stopText(o))
}

// metadata reads what was used. Behind the reason to end, it is the end.
func (s *Stream) metadata(o *rawjson.Object, ev *llm.Event) {
	if u, ok := usageOf(o.Value(usageField)); ok {
		ev.Usage = u
		ev.Has |= llm.UsageIn
	}
	s.Reading.tell(o)
	if s.reason != "" && s.failed == nil {
		ev.Has |= llm.End
	}
}
