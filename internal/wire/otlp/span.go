package otlp

import "google.golang.org/protobuf/encoding/protowire"

// A Kind says which side of a call a span shows.
type Kind uint8

// The kinds.
const (
	Internal Kind = 1
	Server   Kind = 2
	Client   Kind = 3
)

// A Span is one operation of a trace. Times are nanoseconds since 1970.
type Span struct {
	Trace  [16]byte
	ID     [8]byte
	Parent [8]byte // zero: it begins the trace
	State  string  // tracestate
	// Flags are those of traceparent. Remote says that the parent is a span of another process.
	Flags  uint8
	Remote bool

	Name       string
	Kind       Kind
	Start, End int64
	Attrs      []Attr
	Events     []Event
	Failed     bool // its status is an error; else it is left open
}

// An Event is a moment within a span.
type Event struct {
	Time  int64
	Name  string
	Attrs []Attr
}

const (
	hasRemote = 1 << 8 // of a span's flags: whether the parent is remote is known
	isRemote  = 1 << 9
	failed    = 2
)

// Append appends the span as an item of a request.
func (s *Span) Append(b []byte) []byte {
	b, body := begin(b, 2)
	b = appendBytes(b, 1, s.Trace[:])
	b = appendBytes(b, 2, s.ID[:])
	b = appendText(b, 3, s.State)
	if s.Parent != [8]byte{} {
		b = appendBytes(b, 4, s.Parent[:])
	}
	b = appendText(b, 5, s.Name)
	b = appendVarint(b, 6, uint64(s.Kind))
	b = appendFixed64(b, 7, uint64(s.Start))
	b = appendFixed64(b, 8, uint64(s.End))
	b = appendAttrs(b, 9, s.Attrs)
	for _, e := range s.Events {
		var event int
		b, event = begin(b, 11)
		b = end(appendAttrs(appendText(appendFixed64(b, 1, uint64(e.Time)), 2, e.Name), 3, e.Attrs), event)
	}
	if s.Failed {
		var status int
		b, status = begin(b, 15)
		b = end(appendVarint(b, 3, failed), status)
	}
	flags := uint32(s.Flags) | hasRemote
	if s.Remote {
		flags |= isRemote
	}
	b = protowire.AppendFixed32(protowire.AppendTag(b, 16, protowire.Fixed32Type), flags)
	return end(b, body)
}
