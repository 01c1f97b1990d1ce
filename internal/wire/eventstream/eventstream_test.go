package eventstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
)

// read gives all events of a stream and what ended it.
func read(r io.Reader, limit int) (all []Event, err error) {
	s := NewScanner(r, limit)
	for {
		e, err := s.Next()
		if err != nil {
			return all, err
		}
		e.Data = slices.Clone(e.Data)
		all = append(all, e)
	}
}

var some = []Event{
	{Name: "messageStart", Data: []byte(`{"role":"assistant"}`)},
	{Name: "contentBlockDelta", Data: []byte(`{"delta":{"text":"` + strings.Repeat("é", 3000) + `"}}`)},
	{Name: "messageStop", Data: []byte(`{}`)},
	{Name: "throttlingException", Failed: true, Data: []byte(`{"message":"slower"}`)},
}

func framed(events ...Event) (b []byte) {
	for _, e := range events {
		b = Append(b, e)
	}
	return b
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	got, err := read(bytes.NewReader(framed(some...)), 1<<20)
	if d := cmp.Diff(some, got); d != "" || !errors.Is(err, io.EOF) {
		t.Errorf("%v\n%s", err, d)
	}
}

// However the bytes come, the events are the same; and a stream that ends within one says so.
func TestAnyCutGivesTheSameEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var events []Event
		for range rapid.IntRange(0, 5).Draw(t, "events") {
			events = append(events, Event{
				Name:   rapid.StringMatching(`[a-zA-Z]{1,40}`).Draw(t, "name"),
				Failed: rapid.Bool().Draw(t, "failed"),
				Data:   rapid.SliceOfN(rapid.Byte(), 1, 9000).Draw(t, "data"),
			})
		}
		whole := framed(events...)
		var readers []io.Reader
		for rest := whole; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "packet")
			readers = append(readers, bytes.NewReader(rest[:n]))
			rest = rest[n:]
		}
		got, err := read(io.MultiReader(readers...), 1<<20)
		if d := cmp.Diff(events, got); d != "" || !errors.Is(err, io.EOF) {
			t.Fatalf("%v\n%s", err, d)
		}
		if len(whole) == 0 {
			return
		}
		at := rapid.IntRange(0, len(whole)-1).Draw(t, "broken at")
		got, err = read(bytes.NewReader(whole[:at]), 1<<20)
		ends := len(framed(events[:len(got)]...))
		if ends == at && !errors.Is(err, io.EOF) || ends != at && !errors.Is(err, ErrCut) {
			t.Fatalf("broken at %d of %d, behind %d whole events: %v", at, len(whole), len(got), err)
		}
	})
}

// A byte that is another one than was sent is never taken for an event.
func TestEveryBitCounts(t *testing.T) {
	t.Parallel()
	whole := framed(some[0])
	for i := range len(whole) * 8 {
		wrong := slices.Clone(whole)
		wrong[i/8] ^= 1 << (i % 8)
		if got, err := read(bytes.NewReader(wrong), 1<<20); len(got) > 0 || !errors.Is(err, ErrGarbage) {
			t.Fatalf("bit %d: %v, %v", i, got, err)
		}
	}
}

func TestEndsOfStreams(t *testing.T) {
	t.Parallel()
	broken := errors.New("the network")
	prelude := func(length, headers uint32) []byte {
		b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, length), headers)
		return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	}
	other := func(headers ...string) []byte {
		var m eventstream.Message
		for i := 0; i < len(headers); i += 2 {
			m.Headers.Set(headers[i], eventstream.StringValue(headers[i+1]))
		}
		var b bytes.Buffer
		if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	one := framed(some[0])
	for name, c := range map[string]struct {
		in   io.Reader
		want error
		n    int
	}{
		"nothing":              {strings.NewReader(""), io.EOF, 0},
		"too long":             {bytes.NewReader(framed(Event{Name: "a", Data: make([]byte, 2000)})), ErrTooLong, 0},
		"far too long":         {bytes.NewReader(prelude(1<<30, 0)), ErrTooLong, 0},
		"as long as may be":    {bytes.NewReader(framed(Event{Name: "a", Data: make([]byte, 1000)})), io.EOF, 1},
		"shorter than a frame": {bytes.NewReader(prelude(15, 0)), ErrGarbage, 0},
		"headers beyond it":    {bytes.NewReader(prelude(100, 90)), ErrGarbage, 0},
		"endless headers":      {bytes.NewReader(prelude(1<<20, 1<<20-16)), ErrGarbage, 0},
		"SSE":                  {strings.NewReader("event: messageStart\ndata: {}\n\n"), ErrGarbage, 0},
		"no type":              {bytes.NewReader(other("a", "b")), ErrGarbage, 0},
		"an unknown type":      {bytes.NewReader(other(messageType, "song")), ErrGarbage, 0},
		"an error":             {bytes.NewReader(other(messageType, "error", errorCode, "x", errorMessage, "y")), io.EOF, 1},
		"a broken line":        {io.MultiReader(bytes.NewReader(one), iotest.ErrReader(broken)), broken, 1},
		"broken within":        {io.MultiReader(bytes.NewReader(one[:20]), iotest.ErrReader(broken)), broken, 0},
		"broken at its head":   {io.MultiReader(bytes.NewReader(one[:5]), iotest.ErrReader(broken)), broken, 0},
		"an unexpected end":    {io.MultiReader(bytes.NewReader(one[:20]), iotest.ErrReader(io.ErrUnexpectedEOF)), io.ErrUnexpectedEOF, 0},
		"cut":                  {bytes.NewReader(one[:20]), ErrCut, 0},
	} {
		got, err := read(c.in, 1000)
		if len(got) != c.n || !errors.Is(err, c.want) {
			t.Errorf("%s: %d events, %v", name, len(got), err)
		}
	}
}

func TestBuffered(t *testing.T) {
	t.Parallel()
	whole := framed(some[0], some[2], some[0])
	s := NewScanner(bytes.NewReader(whole[:len(whole)-1]), 1000)
	for i, want := range []bool{false, true, false} {
		if got := s.Buffered(); got != want {
			t.Errorf("before event %d: %t", i, got)
		}
		_, _ = s.Next()
	}
}

func FuzzScanner(f *testing.F) {
	f.Add(framed(some...))
	f.Add([]byte("data: {}\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, err := read(bytes.NewReader(b), 1000)
		again, err2 := read(iotest.OneByteReader(bytes.NewReader(b)), 1000)
		if d := cmp.Diff(all, again); d != "" || err.Error() != err2.Error() {
			t.Fatalf("%v, %v\n%s", err, err2, d)
		}
		for _, e := range all {
			if len(e.Data) > 1000 {
				t.Fatalf("%d bytes of data", len(e.Data))
			}
		}
	})
}
