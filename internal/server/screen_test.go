package server

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pieces is a connection that gives what it has in pieces of the sizes that cut draws, and counts what was read of it.
type pieces struct {
	net.Conn
	left []byte
	cut  func(most int) int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.cut(len(p.left)))], p.left)
	p.left = p.left[n:]
	return n, nil
}

func whole(most int) int { return most }

// passed is what a screen lets through of a connection.
func passed(t interface{ Fatal(...any) }, sent []byte, cut func(int) int) (got []byte, s *screen) {
	s = &screen{Conn: &pieces{left: sent, cut: cut}}
	got, err := io.ReadAll(s)
	if err != nil {
		t.Fatal(err)
	}
	return got, s
}

// A screen lets good requests through as they are, in whatever pieces, and finds every bad one wherever it comes: what it
// gives net/http then is refused, and nothing behind it is read.
func TestScreen(t *testing.T) {
	t.Parallel()
	good := rapid.Custom(func(t *rapid.T) string {
		method := rapid.SampledFrom([]string{"GET", "POST", "DELETE"}).Draw(t, "method")
		b := rapid.StringMatching(`[ -~\r\n:]{0,40}`).Draw(t, "body")
		head := []string{"Host: x", "X-Content-Length: 7", "Content-Lengthy: 8", "Transfer-Encodin: chunked", "X:"}
		head = rapid.Permutation(head).Draw(t, "head")
		text := method + " /a HTTP/1.1\r\n"
		for _, h := range head {
			text += h + "\r\n"
		}
		if b != "" || rapid.Bool().Draw(t, "a length of 0") {
			space := rapid.SampledFrom([]string{"", " ", "\t "}).Draw(t, "space")
			text += rapid.SampledFrom([]string{"Content-Length", "content-length", "CONTENT-length"}).Draw(t, "spelling") +
				fmt.Sprintf(":%s%d\r\n", space, len(b))
		}
		return text + "\r\n" + b
	})
	bad := []string{
		"POST /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST /bad HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\ncontent-LENGTH: 3\r\n\r\n0\r\n\r\n",
		"POST /bad HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"GET /bad HTTP/1.1\r\nHost: x\r\n X: y\r\n\r\n", "GET /bad HTTP/1.1\r\n\tHost: x\r\n\r\n",
		"GET /bad HTTP/1.1\nHost: x\n\n", "GET /bad HTTP/1.1\r\nHost: x\n\r\n", "GET /bad HTTP/1.1\r\nHost: x\r\n\n", "GET /bad HTTP/1.1\r\nHost:\n\r\n",
	}
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOfN(good, 0, 3).Draw(t, "good")
		sent := strings.Join(before, "")
		cut := func(most int) int { return rapid.IntRange(1, most).Draw(t, "piece") }
		if rapid.Bool().Draw(t, "one byte each") {
			cut = func(int) int { return 1 }
		}
		if got, s := passed(t, []byte(sent), cut); string(got) != sent || s.once.Load() {
			t.Fatalf("of %q came %q; once: %v", sent, got, s.once.Load())
		}
		wrong := rapid.SampledFrom(bad).Draw(t, "bad")
		got, _ := passed(t, []byte(sent+wrong+"GET /behind HTTP/1.1\r\nHost: x\r\n\r\n"), cut)
		r := bufio.NewReader(bytes.NewReader(got))
		for i := range before {
			req, err := http.ReadRequest(r)
			if err != nil {
				t.Fatalf("good request %d: %v", i, err)
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				t.Fatal(err)
			}
		}
		if req, err := http.ReadRequest(r); err == nil {
			t.Fatalf("%q was taken for a request: %v", wrong, req)
		}
	})
}

// What a connection is good for ends with a body whose end is not announced.
func TestScreenOnce(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n": false,
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET ": true,
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n":                                     true,
		"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n":                           true,
	} {
		if got, s := passed(t, []byte(text), whole); s.once.Load() != want || string(got) != text {
			t.Errorf("%q: once %v, %q", text, s.once.Load(), got)
		}
	}
}

var (
	folded   = regexp.MustCompile(`\n[ \t]`)
	bareLine = regexp.MustCompile(`(^|[^\r])\n`)
	length   = regexp.MustCompile(`(?i)\ncontent-length:`)
	encoding = regexp.MustCompile(`(?i)\ntransfer-encoding:`)
)

// FuzzScreen: whatever is sent, no request reaches net/http that others may read in another way.
func FuzzScreen(f *testing.F) {
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: x\r\n\r\n"), uint8(3))
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), uint8(1))
	f.Add([]byte("\r\n\nGET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"), uint8(7))
	f.Fuzz(func(t *testing.T, sent []byte, size uint8) {
		got, s := passed(t, sent, func(int) int { return int(size%64) + 1 })
		if !s.refused && !bytes.Equal(got, sent) {
			t.Fatalf("of %q came %q", sent, got)
		}
		source := bytes.NewReader(got)
		r := bufio.NewReader(source)
		at := func() int { return len(got) - source.Len() - r.Buffered() }
		for {
			begin := at()
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			head := bytes.TrimLeft(got[begin:at()], "\r\n")
			encodings := len(encoding.FindAll(head, -1))
			if folded.Match(head) || bareLine.Match(head) || len(length.FindAll(head, -1))+encodings > 1 {
				t.Fatalf("%q reached net/http", head)
			}
			if encodings > 0 && s.once.Load() {
				return // the connection ends with it
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
		}
	})
}

func BenchmarkScreen(b *testing.B) {
	head := []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: penstock.example\r\nUser-Agent: OpenAI/Python 2.0\r\nAccept: application/json\r\n" +
		"Authorization: Bearer psk_5RUtmehd1F8cRiQKckUMBHmaHC2CDhYcadSzPXBVq2Wq\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n\r\n")
	sent := append(head, bytes.Repeat([]byte("x"), 1024)...)
	b.ReportAllocs()
	b.SetBytes(int64(len(sent)))
	var s headScan
	for b.Loop() {
		if s.next(sent) != len(sent) || s.in != between {
			b.Fatal("refused")
		}
	}
}
