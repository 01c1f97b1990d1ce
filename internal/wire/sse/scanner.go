package sse

import (
	"bytes"
	"errors"
	"io"
	"sync"

	"github.com/penstock/penstock/internal/llm"
)

// ErrTooLong is an event whose data is longer than the scanner allows, or a line that could only be part of such a one.
var ErrTooLong = errors.New("event longer than allowed")

// errClosed is the use of a scanner after its end.
var errClosed = errors.New("scanner is closed")

const (
	// bufferSize is what a scanner begins with: room for some dozens of usual events, so that those that came in one
	// packet are seen together.
	bufferSize = 16 << 10
	// prefix is the most that stands before the data on its line, so a line may be that much longer than the data.
	prefix = len("data: ")
	// maxEmptyReads is how often in a row a reader may return nothing, not even an error.
	maxEmptyReads = 100
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// A Scanner cuts a stream into events. It is not safe for concurrent use.
//
// Its buffer holds, in this order and with gaps of used-up bytes between them, the data of the event at hand, its lines
// moved together; the beginning of a line; and bytes that nobody has looked at.
type Scanner struct {
	r    io.Reader
	max  int
	pool *[bufferSize]byte // what buf began as, to be given back
	buf  []byte
	err  error // what the reader, or the scanner, ended with; told when the buffer holds no further line

	data llm.Span // the event's data so far
	some bool     // there has been a data line, though it may have been empty
	name []byte

	next    int // where the line at hand begins
	scanned int // buf[next:scanned] holds no line end
	lf      int // buf[next:lf] holds no line feed
	end     int // where the bytes read end

	started bool // the first line, which may begin with a byte order mark, is behind
	skipLF  bool // the last line ended with a carriage return: a line feed right here is the rest of its end

	names [8]string // the last names seen, so that the few that a dialect has are not allocated for every event
	spare int       // which of names is forgotten next
}

// NewScanner reads events of at most maxEvent bytes of data from r. Close gives its buffer back.
func NewScanner(r io.Reader, maxEvent int) *Scanner {
	b := buffers.Get().(*[bufferSize]byte)
	return &Scanner{r: r, max: maxEvent, pool: b, buf: b[:]}
}

// Close gives the buffer back: events that were handed out are no longer valid. It does not close the reader.
func (s *Scanner) Close() {
	if s.pool != nil {
		buffers.Put(s.pool)
	}
	*s = Scanner{err: errClosed}
}

// Next returns the next event. The error, which is the same from then on, is io.EOF if the stream ended between two
// events, io.ErrUnexpectedEOF if it ended within one, [ErrTooLong], or what the reader gave. With io.ErrUnexpectedEOF
// comes what had arrived of the event, since some servers leave out the line ends behind their last one.
func (s *Scanner) Next() (Event, error) {
	s.some, s.name = false, s.name[:0]
	for {
		line, whole := s.line()
		switch {
		case line.End-line.Start > s.max+prefix:
			return s.fail(ErrTooLong)
		case !whole && s.err == nil:
			s.fill()
		case !whole:
			return s.last(line)
		case line.Start < line.End:
			if s.field(line); s.data.End-s.data.Start > s.max {
				return s.fail(ErrTooLong)
			}
		case s.some:
			return s.event(), nil
		default: // the end of an event without data, which is none
			s.name = s.name[:0]
		}
	}
}

// Buffered reports whether a further whole event has been read already, so that whoever passes events on may wait with
// flushing. It errs towards false: behind a comment, and in streams that end lines with carriage returns alone.
func (s *Scanner) Buffered() bool {
	rest := s.buf[s.next:s.end]
	if s.skipLF {
		rest = bytes.TrimPrefix(rest, lineFeed)
	}
	some := false
	for {
		line, after, found := bytes.Cut(rest, lineFeed)
		line = bytes.TrimSuffix(line, carriageReturn)
		if !found || bytes.IndexByte(line, '\r') >= 0 {
			return false
		}
		if len(line) == 0 {
			return some
		}
		some = some || bytes.HasPrefix(line, dataField) && (len(line) == len(dataField) || line[len(dataField)] == ':')
		rest = after
	}
}

var (
	dataField      = []byte("data")
	eventField     = []byte("event")
	lineFeed       = []byte("\n")
	carriageReturn = []byte("\r")
	byteOrderMark  = []byte("\uFEFF")
)

// line takes the next line off the buffer and gives it without its end. If it is not whole yet, it is left where it is.
func (s *Scanner) line() (line llm.Span, whole bool) {
	if s.skipLF && s.next < s.end {
		s.skipLF = false
		if s.buf[s.next] == '\n' {
			s.advance(s.next + 1)
		}
	}
	at := s.lineEnd()
	line = llm.Span{Start: s.next, End: at}
	if !s.started && bytes.HasPrefix(line.Of(s.buf), byteOrderMark) {
		line.Start += len(byteOrderMark)
	}
	if at == s.end {
		s.scanned = at
		return line, false
	}
	s.started = true
	s.skipLF = s.buf[at] == '\r'
	s.advance(at + 1)
	return line, true
}

func (s *Scanner) advance(to int) {
	s.next, s.scanned, s.lf = to, to, max(s.lf, to)
}

// lineEnd finds where the line at hand ends, or s.end if it does not yet. However the stream is cut, each byte is
// searched once for a line feed and once for a carriage return.
func (s *Scanner) lineEnd() int {
	if s.lf < s.end && s.buf[s.lf] != '\n' {
		if i := bytes.IndexByte(s.buf[s.lf:s.end], '\n'); i >= 0 {
			s.lf += i
		} else {
			s.lf = s.end
		}
	}
	if i := bytes.IndexByte(s.buf[s.scanned:s.lf], '\r'); i >= 0 {
		return s.scanned + i
	}
	return s.lf
}

// field takes in one line that is not blank.
func (s *Scanner) field(line llm.Span) {
	text := line.Of(s.buf)
	name, value := text, llm.Span{Start: line.End, End: line.End}
	if i := bytes.IndexByte(text, ':'); i >= 0 {
		name, value.Start = text[:i], line.Start+i+1
		if value.Start < value.End && s.buf[value.Start] == ' ' {
			value.Start++
		}
	}
	switch {
	case bytes.Equal(name, dataField):
		s.addData(value)
	case bytes.Equal(name, eventField):
		s.name = append(s.name[:0], value.Of(s.buf)...)
	}
}

// addData adds a line to the event's data. The first stays where it lies. Further ones are moved up behind it with a line
// feed between, for which there is room, because each gives up the name of its field.
func (s *Scanner) addData(value llm.Span) {
	if !s.some {
		s.some, s.data = true, value
		return
	}
	s.buf[s.data.End] = '\n'
	s.data.End += 1 + copy(s.buf[s.data.End+1:], value.Of(s.buf))
}

func (s *Scanner) event() Event {
	return Event{Name: s.intern(), Data: s.data.Of(s.buf)}
}

func (s *Scanner) intern() string {
	if len(s.name) == 0 {
		return ""
	}
	for _, n := range s.names {
		if n == string(s.name) {
			return n
		}
	}
	n := string(s.name)
	s.names[s.spare] = n
	s.spare = (s.spare + 1) % len(s.names)
	return n
}

// last ends the stream within or behind a line that will not be finished.
func (s *Scanner) last(line llm.Span) (Event, error) {
	if !errors.Is(s.err, io.EOF) {
		return s.fail(s.err)
	}
	within := len(s.name) > 0 // of an event, of which no data have come
	if line.Start < line.End {
		rest := s.buf[line.Start:line.End] // be it one letter of the name of a field
		within = within || bytes.HasPrefix(dataField, rest) || bytes.HasPrefix(eventField, rest) || bytes.HasPrefix(rest, eventField)
		s.field(line)
	}
	switch {
	case !s.some && within:
		return s.fail(io.ErrUnexpectedEOF)
	case !s.some:
		return s.fail(io.EOF)
	}
	e := s.event()
	if len(e.Data) > s.max {
		return s.fail(ErrTooLong)
	}
	_, err := s.fail(io.ErrUnexpectedEOF)
	return e, err
}

// fail makes err the answer to this and every further call.
func (s *Scanner) fail(err error) (Event, error) {
	s.err = err
	s.next, s.scanned, s.lf, s.end = 0, 0, 0, 0
	return Event{}, err
}

// fill reads once, having made room.
func (s *Scanner) fill() {
	s.makeRoom()
	for range maxEmptyReads {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.err = err
		if n > 0 || err != nil {
			return
		}
	}
	s.err = io.ErrNoProgress
}

// makeRoom sees to it that a quarter of the buffer is free at its end: by closing the gaps, else by growing. The limit on
// lines and data bounds the growth.
func (s *Scanner) makeRoom() {
	if !s.some {
		s.data = llm.Span{}
	}
	kept := s.data.End - s.data.Start + s.end - s.next
	if kept > 0 && len(s.buf)-s.end >= len(s.buf)/4 {
		return
	}
	to := s.buf
	if kept > len(s.buf)/4*3 {
		to = make([]byte, 2*len(s.buf))
	}
	n := copy(to, s.data.Of(s.buf))
	copy(to[n:], s.buf[s.next:s.end])
	gone := s.next - n
	s.buf, s.data = to, llm.Span{End: n}
	s.next, s.scanned, s.lf, s.end = n, s.scanned-gone, s.lf-gone, s.end-gone
}
