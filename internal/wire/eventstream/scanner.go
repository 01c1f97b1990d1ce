package eventstream

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// ErrTooLong is a frame of more bytes than the limit.
var ErrTooLong = errors.New("an event longer than the limit")

// ErrCut is a stream that ends, by itself, within a frame.
var ErrCut = errors.New("the stream ends within an event")

// ErrGarbage is something that is not a frame, or one whose checksum is another.
var ErrGarbage = errors.New("not a frame of an event stream")

const (
	// prelude is how many bytes say how long a frame and its headers are, and the checksum of that.
	prelude = 12
	// least is how many bytes the smallest frame has.
	least = 16
	// room is how long the headers of a frame may be that count beside its data, in bytes.
	room = 4 << 10
)

// A Scanner cuts a byte stream into events.
type Scanner struct {
	from   source
	in     *bufio.Reader
	limit  int
	frame  []byte // reused, as data is
	data   []byte
	decode *eventstream.Decoder
	err    error // what ended the stream
}

// NewScanner makes a scanner of r that takes events whose data have at most limit bytes.
func NewScanner(r io.Reader, limit int) *Scanner {
	s := &Scanner{from: source{r: r}, limit: limit, decode: eventstream.NewDecoder()}
	s.in = bufio.NewReader(&s.from)
	return s
}

// A source keeps in mind what ended it: how it ended tells a stream that is too short from a broken line.
type source struct {
	r   io.Reader
	err error
}

// Read reads on.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.err = err
	return n, err
}

// within is the error that ended the stream within a frame.
func (s *Scanner) within() error {
	if errors.Is(s.from.err, io.EOF) {
		return ErrCut
	}
	return s.from.err
}

// Next gives the next event. Its errors are final: io.EOF behind the last whole event, [ErrCut], [ErrTooLong], [ErrGarbage], and
// what reading gave.
func (s *Scanner) Next() (Event, error) {
	if s.err != nil {
		return Event{}, s.err
	}
	e, err := s.next()
	s.err = err
	return e, err
}

func (s *Scanner) next() (Event, error) {
	head, err := s.in.Peek(prelude)
	switch {
	case errors.Is(err, io.EOF) && len(head) > 0:
		return Event{}, ErrCut
	case err != nil:
		return Event{}, err
	}
	length, err := s.length(head)
	if err != nil {
		return Event{}, err
	}
	if cap(s.frame) < length {
		s.frame = make([]byte, length)
	}
	frame := s.frame[:length]
	if _, err := io.ReadFull(s.in, frame); err != nil {
		return Event{}, s.within()
	}
	m, err := s.decode.Decode(bytes.NewReader(frame), s.data[:0])
	if err != nil {
		return Event{}, fmt.Errorf("%w: %w", ErrGarbage, err)
	}
	if len(m.Payload) > s.limit {
		return Event{}, ErrTooLong
	}
	s.data = m.Payload
	e, ok := eventOf(&m)
	if !ok {
		return Event{}, fmt.Errorf("%w: a message of a type that is unknown", ErrGarbage)
	}
	return e, nil
}

// length is how long the frame is that begins with head. The checksum is looked at first: what no provider sent is not waited for,
// nor given room.
func (s *Scanner) length(head []byte) (int, error) {
	const numbers = 8
	if crc32.ChecksumIEEE(head[:numbers]) != binary.BigEndian.Uint32(head[numbers:]) {
		return 0, fmt.Errorf("%w: the checksum of its beginning is wrong", ErrGarbage)
	}
	switch n := int64(binary.BigEndian.Uint32(head)); {
	case n < least:
		return 0, fmt.Errorf("%w: it ends before its end", ErrGarbage)
	case int64(binary.BigEndian.Uint32(head[4:])) > min(n-least, room):
		return 0, fmt.Errorf("%w: its headers are too long", ErrGarbage)
	case n > int64(s.limit)+room:
		return 0, ErrTooLong
	default:
		return int(n), nil
	}
}

// Buffered reports whether another whole event has been received already.
func (s *Scanner) Buffered() bool {
	if s.err != nil || s.in.Buffered() < least {
		return false
	}
	head, err := s.in.Peek(prelude)
	if err != nil {
		return false
	}
	return int64(binary.BigEndian.Uint32(head)) <= int64(s.in.Buffered())
}
