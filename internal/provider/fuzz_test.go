package provider

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// FuzzTransport lets an upstream answer whatever: reading it neither panics nor hangs, and a connection that is used
// again has nothing left of the answer before.
func FuzzTransport(f *testing.F) {
	for _, s := range []string{
		hello, hello + hello, streamHead + word("one") + lastChunk, streamHead + lastChunk + "x", "HTTP/1.1 204 No\r\n\r\nrest",
		"HTTP/1.1 100 Continue\r\n\r\n" + hello, "HTTP/1.0 200 OK\r\n\r\nbody", "SSH-2.0\r\n", "",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: a\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "HTTP/1.1 101 S\r\nUpgrade: x\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		tr := newTestTransport(t, Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				defer func() { _ = far.Close() }()
				p := newPeer(&upstream{}, far)
				if _, _, ok := p.request(); !ok {
					return
				}
				if len(answer) > 0 {
					_, _ = far.Write(answer)
				}
				// What comes second, comes as an answer to the second request. It is waited for only shortly: an answer may
				// have no end but that of its connection.
				_ = far.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if _, _, ok := p.request(); ok {
					p.say("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
				}
			}()
			return near, nil
		}})
		resp, err := tr.RoundTrip(post(t.Context(), "http://up", []byte("x")))
		if err != nil {
			return
		}
		if resp.StatusCode < 200 || resp.StatusCode > 999 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		if err := decodeBody(resp); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		_ = resp.Body.Close()
		kept := tr.idle.pop(way{scheme: "http", addr: "up:80"})
		if kept == nil {
			return
		}
		tr.idle.put(kept)
		again, err := tr.RoundTrip(post(t.Context(), "http://up", []byte("x")))
		if err != nil {
			t.Fatalf("a connection was kept that is of no use: %v", err)
		}
		b, err := io.ReadAll(again.Body)
		if again.StatusCode != http.StatusOK || string(b) != "second" || err != nil {
			t.Fatalf("the second answer is %d %q, %v", again.StatusCode, b, err)
		}
	})
}
