package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// maxTest is the limit of the tests that are not about it.
const maxTest = 2 << 20

// read gives all events of a stream as text, one a line, and the error it ended with.
func read(r io.Reader, maxEvent int) (events []string, err error) {
	s := NewScanner(r, maxEvent)
	defer s.Close()
	for {
		e, err := s.Next()
		if err == nil || len(e.Data) > 0 {
			events = append(events, fmt.Sprintf("%s|%s", e.Name, e.Data))
		}
		if err != nil {
			return events, err
		}
	}
}

func TestScanner(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want []string
		err  error
	}{
		"nothing":                     {in: "", err: io.EOF},
		"one":                         {in: "data: a\n\n", want: []string{"|a"}, err: io.EOF},
		"two":                         {in: "data: a\n\ndata: b\n\n", want: []string{"|a", "|b"}, err: io.EOF},
		"named":                       {in: "event: ping\ndata: a\n\ndata: b\n\n", want: []string{"ping|a", "|b"}, err: io.EOF},
		"name behind the data":        {in: "data: a\nevent: x\n\n", want: []string{"x|a"}, err: io.EOF},
		"last name counts":            {in: "event: a\nevent: b\ndata: c\n\n", want: []string{"b|c"}, err: io.EOF},
		"name without data":           {in: "event: a\n\ndata: c\n\n", want: []string{"|c"}, err: io.EOF},
		"CRLF":                        {in: "data: a\r\n\r\ndata: b\r\n\r\n", want: []string{"|a", "|b"}, err: io.EOF},
		"CR":                          {in: "data: a\r\rdata: b\r\r", want: []string{"|a", "|b"}, err: io.EOF},
		"all line ends mixed":         {in: "data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\r", want: []string{"|a\nb\nc", "|d"}, err: io.EOF},
		"LF behind CR is one end":     {in: "data: a\r\n\ndata: b\r\r\n", want: []string{"|a", "|b"}, err: io.EOF},
		"no space":                    {in: "data:a\n\n", want: []string{"|a"}, err: io.EOF},
		"only one space goes":         {in: "data:  a \n\n", want: []string{"| a "}, err: io.EOF},
		"no colon":                    {in: "data\n\n", want: []string{"|"}, err: io.EOF},
		"empty lines of data":         {in: "data\ndata:\ndata: \n\n", want: []string{"|\n\n"}, err: io.EOF},
		"empty, then some":            {in: "data\ndata:x\n\n", want: []string{"|\nx"}, err: io.EOF},
		"many lines":                  {in: "data: {\ndata: \"a\":\ndata\ndata:1}\n\n", want: []string{"|{\n\"a\":\n\n1}"}, err: io.EOF},
		"comments":                    {in: ": hi\n:\n\ndata: a\n: within\ndata: b\n\n: bye\n\n", want: []string{"|a\nb"}, err: io.EOF},
		"comments only":               {in: ": a\n\n: b\n\n", err: io.EOF},
		"unknown fields, id, retry":   {in: "id: 7\nretry: 10\nfoo: bar\nfoo\nDATA: no\ndata : no\ndata: a\n\n", want: []string{"|a"}, err: io.EOF},
		"colons in data":              {in: "data: a: b:c\n\n", want: []string{"|a: b:c"}, err: io.EOF},
		"byte order mark":             {in: "\uFEFFdata: a\n\n\uFEFFdata: b\n\n", want: []string{"|a"}, err: io.EOF},
		"byte order mark, blank line": {in: "\uFEFF\ndata: a\n\n", want: []string{"|a"}, err: io.EOF},
		"NUL":                         {in: "id: \x00\ndata: a\x00b\n\n", want: []string{"|a\x00b"}, err: io.EOF},
		"many blank lines":            {in: "\n\n\ndata: a\n\n\n\n", want: []string{"|a"}, err: io.EOF},
		"HTML":                        {in: "<html>\n<p>data: x</p>\n\n</html>", err: io.EOF},

		"end within a comment":        {in: "data: a\n\n: hi", want: []string{"|a"}, err: io.EOF},
		"end within a name":           {in: "event: a\n", err: io.ErrUnexpectedEOF},
		"end before the blank line":   {in: "data: a\n", want: []string{"|a"}, err: io.ErrUnexpectedEOF},
		"end within a data line":      {in: "data: a\n\ndata: [DONE]", want: []string{"|a", "|[DONE]"}, err: io.ErrUnexpectedEOF},
		"end within a second line":    {in: "data: a\ndata: b", want: []string{"|a\nb"}, err: io.ErrUnexpectedEOF},
		"end behind CR of blank line": {in: "data: a\r\n\r", want: []string{"|a"}, err: io.EOF},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, way := range []struct {
				name string
				r    io.Reader
			}{
				{"whole", strings.NewReader(tt.in)},
				{"byte by byte", iotest.OneByteReader(strings.NewReader(tt.in))},
				{"error with the data", iotest.DataErrReader(strings.NewReader(tt.in))},
			} {
				got, err := read(way.r, maxTest)
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", tt.want) || !errors.Is(err, tt.err) {
					t.Errorf("%s: %q, %v; want %q, %v", way.name, got, err, tt.want, tt.err)
				}
			}
		})
	}
}

// TestScannerLimit: an event of exactly the limit passes, one byte more does not, whatever the cut and the form.
func TestScannerLimit(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want int
		err  error
	}{
		"at the limit":                 {"data: 12345678\n\n", 1, io.EOF},
		"over it":                      {"data: 123456789\n\n", 0, ErrTooLong},
		"over it without a space":      {"data:123456789\n\n", 0, ErrTooLong},
		"joined, at the limit":         {"data: 1234\ndata: 567\n\n", 1, io.EOF},
		"joined, over it":              {"data: 1234\ndata: 5678\n\n", 0, ErrTooLong},
		"first event good":             {"data: 1\n\ndata: 123456789\n\n", 1, ErrTooLong},
		"long comment":                 {": " + strings.Repeat("x", 13) + "\ndata: 1\n\n", 0, ErrTooLong},
		"line without an end":          {"data: " + strings.Repeat("x", 100), 0, ErrTooLong},
		"cut line at the limit":        {"data: 12345678", 1, io.ErrUnexpectedEOF},
		"cut line over it":             {"data:123456789", 0, ErrTooLong},
		"many short comments are fine": {"data: 1\n" + strings.Repeat(": ping\n", 10000) + "data: 2\n\n", 1, io.EOF},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tt.in), iotest.OneByteReader(strings.NewReader(tt.in))} {
				got, err := read(r, 8)
				if len(got) != tt.want || !errors.Is(err, tt.err) {
					t.Errorf("%d events, %v; want %d, %v", len(got), err, tt.want, tt.err)
				}
			}
		})
	}
}

func TestScannerErrors(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	s := NewScanner(io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(boom)), maxTest)
	if e, err := s.Next(); err != nil || string(e.Data) != "a" {
		t.Fatalf("first event: %q, %v", e.Data, err)
	}
	for range 2 {
		if e, err := s.Next(); !errors.Is(err, boom) || e.Data != nil {
			t.Errorf("a read error must come out as it is, and stay: %q, %v", e.Data, err)
		}
	}
	s.Close()
	s.Close()
	if _, err := s.Next(); !errors.Is(err, errClosed) {
		t.Errorf("Next of a closed scanner: %v", err)
	}
	if _, err := NewScanner(idle{}, maxTest).Next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that never gives anything: %v", err)
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// TestScannerLargeEvent reads 1 MB events, in one line and in many, in packets of many sizes.
func TestScannerLargeEvent(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("x", 1<<20)
	lines := strings.Repeat("data: yyyyyyyyyyyyyyy\n", 1<<16)
	in := "data: " + line + "\n\n" + lines + "\ndata: end\n\n"
	for _, size := range []int{1, 7, 1000, 16 << 10, 64 << 10, 4 << 20} {
		s := NewScanner(&packets{data: []byte(in), size: size}, maxTest)
		first, err := s.Next()
		if err != nil || string(first.Data) != line {
			t.Fatalf("packets of %d: one line: %d bytes, %v", size, len(first.Data), err)
		}
		second, err := s.Next()
		if err != nil || len(second.Data) != 16<<16-1 || bytes.Count(second.Data, lineFeed) != 1<<16-1 {
			t.Fatalf("packets of %d: many lines: %d bytes, %v", size, len(second.Data), err)
		}
		if third, err := s.Next(); err != nil || string(third.Data) != "end" {
			t.Fatalf("packets of %d: behind them: %q, %v", size, third.Data, err)
		}
		if len(s.buf) > 4*maxTest {
			t.Errorf("packets of %d: the buffer grew to %d bytes", size, len(s.buf))
		}
		s.Close()
	}
}

// packets gives data in pieces of size bytes.
type packets struct {
	data []byte
	size int
}

func (p *packets) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.data[:min(p.size, len(p.data))])
	p.data = p.data[n:]
	return n, nil
}

// TestScannerFlood: a hundred thousand tiny events, and as many comments, leave the buffer as small as it was.
func TestScannerFlood(t *testing.T) {
	t.Parallel()
	s := NewScanner(&packets{data: []byte(strings.Repeat("data\n\n: c\n\n", 100_000)), size: 5000}, maxTest)
	defer s.Close()
	for i := range 100_000 {
		if _, err := s.Next(); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	if len(s.buf) != bufferSize {
		t.Errorf("the buffer grew to %d bytes", len(s.buf))
	}
}

// stream draws a stream out of the pieces that matter.
func stream(t *rapid.T) string {
	pieces := rapid.SampledFrom([]string{
		"data: ", "data:", "data", "event: ", "event:x", ": c", ":", "id: 1", "retry", "foo: bar", "\n", "\n", "\n", "\r\n",
		"\r\n", "\r", "\r", " ", "a", "{\"b\":1}", "é", "\uFEFF", "\x00", "[DONE]",
	})
	return strings.Join(rapid.SliceOfN(pieces, 0, 60).Draw(t, "pieces"), "")
}

// TestS2PacketBlindness: for every way of cutting a stream at two places the events and the end are the same.
func TestS2PacketBlindness(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := stream(t)
		limit := rapid.SampledFrom([]int{4, 12, maxTest}).Draw(t, "limit")
		want, wantErr := read(strings.NewReader(in), limit)
		for i := range len(in) + 1 {
			for j := i; j <= len(in); j++ {
				cut := io.MultiReader(strings.NewReader(in[:i]), strings.NewReader(in[i:j]), strings.NewReader(in[j:]))
				got, err := read(cut, limit)
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) || !errors.Is(err, wantErr) {
					t.Fatalf("%q cut at %d and %d: %q, %v; uncut %q, %v", in, i, j, got, err, want, wantErr)
				}
			}
		}
	})
}

// naive is the specification's algorithm, on the whole text at once.
func naive(in string) (events []string) {
	in = strings.TrimPrefix(in, "\uFEFF")
	in = strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(in, "\n")
	var name string
	var data []string
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			if data != nil {
				events = append(events, name+"|"+strings.Join(data, "\n"))
			}
			name, data = "", nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			data = append(data, value)
		case "event":
			name = value
		}
	}
	return events
}

func TestScannerAgainstSpecification(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := stream(t)
		got, err := read(strings.NewReader(in), maxTest)
		want := naive(in)
		if errors.Is(err, io.ErrUnexpectedEOF) && len(got) > 0 && len(got) > len(want) {
			got = got[:len(want)] // what had arrived of the last one
		}
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Fatalf("%q: %q, want %q", in, got, want)
		}
	})
}

// TestBuffered: true is a promise that Next will not read; false is one that nothing more than a comment, or an odd line
// end, can have hidden an event.
func TestBuffered(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		rest string
		want bool
	}{
		"nothing":             {"", false},
		"whole":               {"data: b\n\n", true},
		"whole, CRLF":         {"data: b\r\n\r\n", true},
		"two":                 {"data: b\n\ndata: c", true},
		"named":               {"event: x\ndata: b\n\n", true},
		"no colon":            {"data\n\n", true},
		"data cut":            {"data: b", false},
		"blank line missing":  {"data: b\n", false},
		"comment only":        {": ping\n\n", false},
		"unknown field":       {"database: b\n\n", false},
		"name only":           {"event: data\n\n", false},
		"comment, then event": {": ping\n\ndata: b\n\n", false},
		"CR":                  {"data: b\r\r", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, first := range []string{"data: a\n\n", "data: a\r\n\r\n"} {
				s := NewScanner(strings.NewReader(first+tt.rest), maxTest)
				if _, err := s.Next(); err != nil {
					t.Fatal(err)
				}
				if got := s.Buffered(); got != tt.want {
					t.Errorf("%v, want %v", got, tt.want)
				}
				s.Close()
			}
		})
	}
}

func TestBufferedNeverReads(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := stream(t)
		r := &counting{packets: packets{data: []byte(in), size: rapid.IntRange(1, 40).Draw(t, "packet")}}
		s := NewScanner(r, maxTest)
		defer s.Close()
		for {
			promised, before := s.Buffered(), r.reads
			_, err := s.Next()
			if promised && (r.reads != before || err != nil) {
				t.Fatalf("%q: an event was promised; Next read %d times, %v", in, r.reads-before, err)
			}
			if err != nil {
				return
			}
		}
	})
}

type counting struct {
	packets
	reads int
}

func (c *counting) Read(b []byte) (int, error) {
	c.reads++
	return c.packets.Read(b)
}

func TestAppendEvent(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, data, want string }{
		{"", "a", "data: a\n\n"},
		{"", "", "data: \n\n"},
		{"ping", "a\nb", "event: ping\ndata: a\ndata: b\n\n"},
		{"", "a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: \n\n"},
	}
	for _, tt := range tests {
		if got := string(AppendEvent([]byte("x"), tt.name, []byte(tt.data))); got != "x"+tt.want {
			t.Errorf("%q %q: %q, want %q", tt.name, tt.data, got, tt.want)
		}
	}
}

func TestAppendEventRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"", "ping", "a b", "x:y"}).Draw(t, "name")
		data := stream(t)
		want := strings.ReplaceAll(strings.ReplaceAll(data, "\r\n", "\n"), "\r", "\n")
		s := NewScanner(bytes.NewReader(AppendEvent(nil, name, []byte(data))), maxTest)
		defer s.Close()
		e, err := s.Next()
		if err != nil || e.Name != name || string(e.Data) != want {
			t.Fatalf("%q %q came back as %q %q, %v", name, data, e.Name, e.Data, err)
		}
		if _, err := s.Next(); !errors.Is(err, io.EOF) {
			t.Fatalf("behind it: %v", err)
		}
	})
}

func TestNamesAreKept(t *testing.T) {
	t.Parallel()
	var in strings.Builder
	for i := range 100 {
		fmt.Fprintf(&in, "event: n%d\ndata: a\n\n", i)
	}
	s := NewScanner(strings.NewReader(in.String()), maxTest)
	defer s.Close()
	for i := range 100 {
		if e, err := s.Next(); err != nil || e.Name != fmt.Sprintf("n%d", i) {
			t.Fatalf("event %d: %q, %v", i, e.Name, err)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, seed := range []string{
		"data: a\n\n", "event: x\r\ndata: {\"a\":1}\r\n\r\n", "data\rdata: b\r\r", ": c\n\n\uFEFFdata: d", "data: a\n\ndata: [DONE]\n\n",
		"id: \x00\nretry: 1\ndata:x\n: y\ndata:z\n\n", "\uFEFFdata: \xff\n\n",
	} {
		f.Add(seed, uint16(3), uint16(9), uint8(16))
	}
	f.Fuzz(func(t *testing.T, in string, i, j uint16, limit uint8) {
		a := min(int(i), len(in))
		b := min(a+int(j), len(in))
		want, wantErr := read(strings.NewReader(in), int(limit))
		got, err := read(io.MultiReader(strings.NewReader(in[:a]), strings.NewReader(in[a:b]), iotest.OneByteReader(strings.NewReader(in[b:]))), int(limit))
		if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) || !errors.Is(err, wantErr) {
			t.Errorf("%q cut at %d and %d: %q, %v; uncut %q, %v", in, a, b, got, err, want, wantErr)
		}
	})
}

// chunk is a usual event of a chat.
const chunk = `data: {"id":"chatcmpl-123","object":"chat.completion.chunk","created":1694268190,"model":"gpt-4o-mini","choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":null}]}` + "\n\n"

// endless repeats data in packets of its length.
type endless struct {
	data []byte
	at   int
}

func (e *endless) Read(b []byte) (int, error) {
	n := copy(b, e.data[e.at:])
	e.at = (e.at + n) % len(e.data)
	return n, nil
}

func TestScannerAllocations(t *testing.T) {
	for name, in := range map[string]string{
		"plain": chunk,
		"named": "event: content_block_delta\n" + chunk + "event: ping\ndata: {}\n\n",
		"lines": "data: {\ndata: }\r\n\r\n",
	} {
		s := NewScanner(&endless{data: []byte(strings.Repeat(in, 7))}, maxTest)
		if n := testing.AllocsPerRun(1000, func() {
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
			s.Buffered()
		}); n != 0 {
			t.Errorf("%s: %v allocations an event, want none", name, n)
		}
		s.Close()
	}
}

func BenchmarkScanner(b *testing.B) {
	for _, packet := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("%d a packet", packet), func(b *testing.B) {
			s := NewScanner(&endless{data: []byte(strings.Repeat(chunk, packet))}, maxTest)
			defer s.Close()
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Next(); err != nil {
					b.Fatal(err)
				}
				s.Buffered()
			}
		})
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	data := []byte(strings.TrimSpace(strings.TrimPrefix(chunk, "data: ")))
	dst := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendEvent(dst[:0], "", data)
	}
}

// A stream that ended in the first letters of an event did not end between two. Where nothing but the end says that a stream is
// whole, it would else be taken for that.
func TestEndWithinALine(t *testing.T) {
	t.Parallel()
	for rest, want := range map[string]error{
		"": io.EOF, "\n": io.EOF, ": comment": io.EOF, "d": io.ErrUnexpectedEOF, "data": io.ErrUnexpectedEOF, "event: x\n": io.ErrUnexpectedEOF, "data: x\n": io.ErrUnexpectedEOF,
	} {
		s := NewScanner(strings.NewReader("data: a\r\n\r\n"+rest), 100)
		if ev, err := s.Next(); err != nil || string(ev.Data) != "a" {
			t.Fatal(err)
		}
		if _, err := s.Next(); err != want {
			t.Errorf("%q: %v, want %v", rest, err, want)
		}
		s.Close()
	}
}
