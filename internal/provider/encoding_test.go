package provider

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }

func zip(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestContentEncoding(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("All work and no play. ", 100)
	for _, c := range []struct {
		name, encoding string
		body           []byte
		want           string
		reason         Reason
	}{
		{"none", "", []byte(text), text, ""},
		{"identity", "identity", []byte(text), text, ""},
		{"gzip", "gzip", zip(t, []byte(text)), text, ""},
		{"x-gzip", "X-GZIP", zip(t, []byte(text)), text, ""},
		{"brotli", "br", []byte(text), "", ReasonGarbage},
		{"two", "gzip, gzip", zip(t, zip(t, []byte(text))), "", ReasonGarbage},
		{"a lie", "gzip", []byte(text), "", ReasonGarbage},
		{"bad checksum", "gzip", append(zip(t, []byte(text))[:60], "garbage"...), "", ReasonGarbage},
		{"cut", "gzip", zip(t, []byte(text))[:40], "", ReasonCut},
		{"empty", "gzip", nil, "", ReasonEmpty},
		{"silent bomb", "gzip", zip(t, make([]byte, 4<<20)), "", ReasonTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			up := startUpstream(t, answering(fmt.Sprintf(
				"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s", c.encoding, len(c.body), c.body)))
			cl := newTestClient(t, Config{BaseURL: up.url()}, Options{})
			words, f := callAndWalk(t.Context(), cl, plain())
			if got := strings.Join(words, ""); got != c.want {
				t.Errorf("got %.50q, want %.50q", got, c.want)
			}
			if (f == nil) != (c.reason == "") || (f != nil && f.Reason != c.reason) {
				t.Errorf("failure %v, want %q", f, c.reason)
			}
		})
	}
}

// An error in an encoding that nobody asked for is that error still.
func TestStatusBeatsEncoding(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, answering("HTTP/1.1 503 Busy\r\nContent-Encoding: br\r\nContent-Length: 4\r\n\r\n\x01\x02\x03\x04"))
	cl := newTestClient(t, Config{BaseURL: up.url()}, Options{})
	if _, f := callAndWalk(t.Context(), cl, plain()); f == nil || f.Reason != ReasonStatus || f.Status != 503 {
		t.Errorf("got %v", f)
	}
}

// S18, security 19: a bomb in a stream, of which nobody caps the sum, stops at the ratio, and memory stays flat.
// It is not parallel because it counts what is allocated.
func TestGzipBomb(t *testing.T) {
	bomb := zip(t, make([]byte, 32<<20))
	resp := &http.Response{Header: http.Header{"Content-Encoding": {"gzip"}}, Body: io.NopCloser(bytes.NewReader(bomb))}
	if err := decodeBody(resp); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(io.Discard, resp.Body)
	runtime.ReadMemStats(&after)
	var f *Failure
	if !errors.As(err, &f) || f.Reason != ReasonTooLarge {
		t.Errorf("error %v", err)
	}
	if n > 4*freeDecoded {
		t.Errorf("%d bytes came out", n)
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}
