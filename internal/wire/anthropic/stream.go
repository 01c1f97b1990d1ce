package anthropic

import (
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// A Stream reads the events of one stream, one after the other.
type Stream struct {
	Reading Reading
	counts  counts
	begun   bool
	blocks  map[int]*block // that are open, by the provider's index
	parts   int            // opened so far
	reason  string         // why it ended

	// What events are read into, one after the other.
	event, inner rawjson.Object
	deltas       [1]llm.Delta
}

// SaidAll reports whether the answer ended because all was said.
func (s *Stream) SaidAll() bool { return s.reason == endTurn }

// A block is one that is open.
type block struct {
	part   int
	kind   llm.PartKind
	input  []byte // what a call had when it was opened
	spoken bool   // something was added to it
}

// The names of events.
const (
	eventStart      = "message_start"
	eventBlockStart = "content_block_start"
	eventBlockDelta = "content_block_delta"
	eventBlockStop  = "content_block_stop"
	eventDelta      = "message_delta"
	eventStop       = "message_stop"
	eventError      = "error"
)

// Scan reads the data of one event and fills in ev; what is generated is appended to the buffer text (ev.Text is what was added).
// Errors are [ErrGarbage] and *[InBandError]. What an event is, its data says: names are lost on some ways.
func (s *Stream) Scan(data []byte, ev *llm.Event, text []byte) error {
	*ev = llm.Event{Dialect: llm.Anthropic, Raw: data, Text: text[len(text):]}
	if !rawjson.Valid(data) {
		return garbage("not JSON")
	}
	o := &s.event
	o.Open(data)
	kind := o.Word(typeField, eventBlockDelta, eventBlockStart, eventBlockStop, eventStart, eventDelta, eventStop)
	ev.Name = kind
	if !s.begun {
		s.begun, s.counts = true, nothingCounted
		s.blocks = map[int]*block{}
	}
	switch kind {
	case eventStart:
		s.start(o, ev)
	case eventBlockStart:
		return s.open(o, ev, text)
	case eventBlockDelta:
		return s.grow(o, ev, text)
	case eventBlockStop:
		s.shut(o, ev, text)
	case eventDelta:
		s.delta(o, ev)
	case eventStop:
		ev.Has |= llm.End
	case eventError:
		return inBand(data)
	case "":
		if o.Has("error") {
			return inBand(data)
		}
		return garbage("an event without a type")
	}
	return nil
}

func (s *Stream) start(o *rawjson.Object, ev *llm.Event) {
	for _, f := range o.Fields {
		if f.Name == "message" {
			c := rawjson.Cursor{Text: o.Text[:f.Value.End], At: f.Value.Start}
			m := message{ev: ev, reading: s.Reading, counts: s.counts}
			for name := range c.Members() {
				m.member(&c, string(name))
			}
			s.counts = m.counts
		}
	}
	s.report(ev)
}

// report tells what was counted so far.
func (s *Stream) report(ev *llm.Event) {
	if u, ok := s.counts.usage(); ok {
		ev.Usage = u
		ev.Has |= llm.UsageIn
	}
}

// index is which block an event is about.
func index(o *rawjson.Object) int {
	if n, ok := o.Int("index"); ok && n >= 0 && n < 1<<20 {
		return int(n)
	}
	return -1
}

func (s *Stream) open(o *rawjson.Object, ev *llm.Event, text []byte) error {
	i := index(o)
	if i < 0 || s.blocks[i] != nil {
		return garbage("a block that is open already, or has no index")
	}
	inner := rawjson.ObjectOf(o.Value("content_block"))
	p, said, some := blockOf(inner, s.Reading)
	b := &block{part: s.parts, kind: p.Kind}
	if input := inner.Value("input"); len(input) > len("{}") {
		b.input = append(b.input, input...)
	}
	if p.Kind == llm.PartText && p.ToolName == SchemaTool {
		b.kind = llm.PartToolCall // as far as its arguments are concerned
	}
	s.parts++
	s.blocks[i] = b
	if some || said != "" {
		ev.Has |= llm.Content
	}
	ev.Text = append(text, said...)[len(text):]
	if s.Reading.Canonical {
		ev.Deltas = []llm.Delta{{Part: b.part, Open: &p, Text: said}}
	}
	b.spoken = said != ""
	return nil
}

func (s *Stream) grow(o *rawjson.Object, ev *llm.Event, text []byte) error {
	b := s.blocks[index(o)]
	if b == nil {
		return garbage("a piece of a block that is not open")
	}
	inner := &s.inner
	inner.Open(o.Value("delta"))
	d := llm.Delta{Part: b.part}
	switch inner.Word(typeField, "text_delta", "input_json_delta", "thinking_delta", "signature_delta") {
	case "text_delta":
		d.Text = inner.Str(textField)
	case "input_json_delta":
		d.Text = inner.Str("partial_json")
	case "thinking_delta":
		d.Text = inner.Str("thinking")
	case "signature_delta":
		d.Signature = inner.Str("signature")
	}
	if d.Text != "" {
		b.spoken = true
		ev.Has |= llm.Content
		ev.Text = append(text, d.Text...)[len(text):]
	}
	if s.Reading.Canonical && (d.Text != "" || d.Signature != "") {
		s.deltas[0] = d
		ev.Deltas = s.deltas[:]
	}
	return nil
}

// shut closes a block. A call whose arguments never came has those that it began with, or none.
func (s *Stream) shut(o *rawjson.Object, ev *llm.Event, text []byte) {
	i := index(o)
	b := s.blocks[i]
	if b == nil {
		return
	}
	delete(s.blocks, i)
	if !s.Reading.Canonical {
		return
	}
	d := llm.Delta{Part: b.part, Close: true}
	if b.kind == llm.PartToolCall && !b.spoken {
		if d.Text = string(b.input); d.Text == "" {
			d.Text = "{}"
		}
		ev.Text = append(text, d.Text...)[len(text):]
	}
	ev.Deltas = []llm.Delta{d}
}

func (s *Stream) delta(o *rawjson.Object, ev *llm.Event) {
	c := rawjson.Cursor{Text: o.Value("usage")}
	s.counts.read(&c, s.Reading.Meta)
	s.report(ev)
	inner := rawjson.ObjectOf(o.Value("delta"))
	reason := inner.Str("stop_reason")
	if reason == "" {
		return
	}
	s.reason = reason
	s.Reading.finish(ev, reason, inner.Str("stop_sequence"))
}
