package provider

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTransportKeepsConnections(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, answering(hello))
	tr := newTestTransport(t, Options{})
	for range 5 {
		if status, body, err := exchange(t, tr, up.url()); status != 200 || body != "hello" || err != nil {
			t.Fatalf("got %d %q %v", status, body, err)
		}
	}
	if n := up.conns.Load(); n != 1 {
		t.Errorf("5 requests took %d connections, want 1", n)
	}
}

// Every row says what an upstream answers, what of it is taken for the answer, and whether the connection may be used
// again.
func TestTransportFraming(t *testing.T) {
	t.Parallel()
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct {
		name, answer, body string
		fails              string // part of the error, "" if there is none
		again              bool
	}{
		{name: "length", answer: hello, body: "hello", again: true},
		{name: "length 0", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", again: true},
		{name: "chunked", answer: chunked + "5\r\nhello\r\n0\r\n\r\n", body: "hello", again: true},
		{name: "chunk extension", answer: chunked + "5;a=b\r\nhello\r\n0\r\n\r\n", body: "hello", again: true},
		{name: "trailer", answer: chunked + "5\r\nhello\r\n0\r\nX-A: b\r\nAuthorization: c\r\n\r\n", body: "hello", again: true},
		{name: "until close", answer: "HTTP/1.1 200 OK\r\n\r\nhello", body: "hello"},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\n\r\nhello", body: "hello"},
		{name: "HTTP/1.0 keep-alive", answer: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", body: "hello", again: true},
		{name: "close", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", body: "hello"},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", again: true},
		{name: "204 with a body", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", again: true},
		{name: "206", answer: "HTTP/1.1 206 Partial\r\nContent-Length: 5\r\n\r\nhello", body: "hello", again: true},
		{name: "interim", answer: "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + hello, body: "hello", again: true},
		{name: "5 interim", answer: strings.Repeat("HTTP/1.1 102 P\r\n\r\n", 5) + hello, body: "hello", again: true},
		{name: "6 interim", answer: strings.Repeat("HTTP/1.1 102 P\r\n\r\n", 6) + hello, fails: "interim"},
		{name: "switching", answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", fails: "switched"},
		{name: "length too long", answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", body: "hello", fails: "unexpected EOF"},
		{name: "length too short", answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhello", body: "hel"},
		{name: "two answers", answer: hello + hello, body: "hello"},
		{name: "two lengths", answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nhello", fails: "Content-Length"},
		{name: "negative length", answer: "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello", fails: "Content-Length"},
		{name: "odd length", answer: "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", fails: "Content-Length"},
		{name: "length and chunked", answer: "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", body: "hello", again: true},
		{name: "unknown transfer coding", answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhello", fails: "transfer encoding"},
		{name: "bad chunk length", answer: chunked + "xyz\r\nhello\r\n0\r\n\r\n", fails: "chunk"},
		{name: "chunk cut", answer: chunked + "5\r\nhel", body: "hel", fails: "unexpected EOF"},
		{name: "no last chunk", answer: chunked + "5\r\nhello\r\n", body: "hello", fails: "unexpected EOF"},
		{name: "nothing", answer: "", fails: "no answer"},
		{name: "head cut", answer: "HTTP/1.1 200 OK\r\nContent-", fails: "EOF"},
		{name: "another protocol", answer: "SSH-2.0-OpenSSH_9.2\r\n", fails: "malformed"},
		{name: "HTTP/2", answer: "HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", fails: "HTTP/2.0"},
		{name: "status of two digits", answer: "HTTP/1.1 20 OK\r\n\r\n", fails: "status"},
		{name: "status 000", answer: "HTTP/1.1 000 OK\r\n\r\n", fails: "switched"},
		{name: "header without colon", answer: "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n", fails: "malformed"},
		{name: "header of 1 MB", answer: "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", fails: "over 64 KB"},
		{name: "20,000 headers", answer: "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: b\r\n", 20_000) + "\r\n", fails: "over 64 KB"},
		{name: "status line of 1 MB", answer: "HTTP/1.1 200 " + strings.Repeat("a", 1<<20) + "\r\n\r\n", fails: "over 64 KB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			up := startUpstream(t, func(p *peer) {
				if _, _, ok := p.request(); !ok {
					return
				}
				p.say(c.answer)
				if c.again {
					answering(hello)(p)
				}
			})
			tr := newTestTransport(t, Options{})
			_, body, err := exchange(t, tr, up.url())
			if body != c.body {
				t.Errorf("body %q, want %q", body, c.body)
			}
			if (c.fails == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("error %v, want one with %q", err, c.fails)
			}
			if err != nil && len(err.Error()) > 2000 {
				t.Errorf("the error repeats what the upstream sent: %d bytes", len(err.Error()))
			}
			if _, _, err := exchange(t, tr, up.url()); c.again && err != nil {
				t.Errorf("second exchange: %v", err)
			}
			if n := up.conns.Load(); (n == 1) != c.again {
				t.Errorf("two exchanges took %d connections, so the first was used again: %t, want %t", n, n == 1, c.again)
			}
		})
	}
}

// An upstream that closes a connection while it is idle, or talks on it, has it discarded before the next request.
func TestTransportChecksIdleConnections(t *testing.T) {
	t.Parallel()
	const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	for name, idle := range map[string]func(p *peer){
		"closed":                             func(*peer) {},
		"answers a request that nobody made": func(p *peer) { p.say(poison); p.gone(5 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := make(chan struct{})
			up := startUpstream(t, func(p *peer) {
				if p.n > 1 {
					answering(hello)(p)
					return
				}
				_, _, _ = p.request()
				p.say(hello)
				<-kept
				idle(p)
			})
			tr := newTestTransport(t, Options{})
			if _, _, err := exchange(t, tr, up.url()); err != nil {
				t.Fatal(err)
			}
			close(kept)
			w, err := tr.dialer.way(post(t.Context(), up.url(), nil).URL)
			if err != nil {
				t.Fatal(err)
			}
			c := tr.idle.idle[w][0]
			for c.quiet() { // until what the upstream did has arrived
				runtime.Gosched()
			}
			if _, body, err := exchange(t, tr, up.url()); body != "hello" || err != nil {
				t.Errorf("got %q %v", body, err)
			}
			if up.asked.Load() != 2 || up.conns.Load() != 2 {
				t.Errorf("the upstream saw %d requests on %d connections, want 2 on 2", up.asked.Load(), up.conns.Load())
			}
		})
	}
}

func TestTransportEarlyAnswer(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(p *peer) {
		if _, err := http.ReadRequest(p.r); err != nil {
			return
		}
		p.say("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
		_ = p.Conn.(*net.TCPConn).CloseWrite()
		_, _ = io.CopyN(io.Discard, p.r, 1<<20)
	})
	tr := newTestTransport(t, Options{})
	resp, err := tr.RoundTrip(post(t.Context(), up.url(), make([]byte, 20<<20)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != 413 || string(body) != "big" || err != nil {
		t.Errorf("got %d %q %v", resp.StatusCode, body, err)
	}
}

func TestTransportCancel(t *testing.T) {
	t.Parallel()
	why := errors.New("client left")
	for name, answer := range map[string]string{
		"before the head": "",
		"in the head":     "HTTP/1.1 200 OK\r\n",
		"in the body":     "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan struct{})
			closed := make(chan bool, 1)
			up := startUpstream(t, func(p *peer) {
				_, _, _ = p.request()
				p.say(answer)
				close(asked)
				closed <- p.gone(time.Second)
			})
			tr := newTestTransport(t, Options{})
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				<-asked
				cancel(why)
			}()
			resp, err := tr.RoundTrip(post(ctx, up.url(), []byte("x")))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
			}
			if !errors.Is(err, why) {
				t.Errorf("error %v, want %v", err, why)
			}
			if !<-closed {
				t.Error("the upstream was not cancelled within a second")
			}
		})
	}
}

// Closing a body before its end is how an answer is broken off: the upstream must learn of it, whatever it still sends.
func TestTransportCloseCancels(t *testing.T) {
	t.Parallel()
	closed := make(chan bool, 1)
	up := startUpstream(t, func(p *peer) {
		_, _, _ = p.request()
		p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		_ = p.SetWriteDeadline(time.Now().Add(5 * time.Second))
		for {
			if _, err := io.WriteString(p.Conn, "5\r\nhello\r\n"); err != nil {
				var n net.Error
				closed <- !(asNet(err, &n) && n.Timeout())
				return
			}
		}
	})
	tr := newTestTransport(t, Options{})
	resp, err := tr.RoundTrip(post(t.Context(), up.url(), []byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 1)); err == nil {
		t.Error("a closed body can be read")
	}
	if !<-closed {
		t.Error("the upstream could go on writing")
	}
}

// counting counts the writes on a connection.
type counting struct {
	net.Conn
	writes *int
}

func (c counting) Write(p []byte) (int, error) {
	*c.writes++
	return c.Conn.Write(p)
}

func TestTransportSendsHeadAndBodyAtOnce(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, answering(hello))
	writes := 0
	tr := newTestTransport(t, Options{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counting{c, &writes}, err
	}})
	resp, err := tr.RoundTrip(post(t.Context(), up.url(), bytes.Repeat([]byte("x"), 10<<10)))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if writes != 1 {
		t.Errorf("a request of 10 KB took %d writes, want 1", writes)
	}
}

// What a codec or a credential's file holds cannot make a second header or a second request.
func TestTransportRefusesInjection(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, answering(hello))
	tr := newTestTransport(t, Options{})
	for _, h := range []http.Header{
		{"Authorization": {"Bearer a\r\nX-Evil: 1"}}, {"Authorization": {"Bearer a\n"}}, {"Authorization": {"a\x00"}},
		{"X-A: b\r\nX-Evil": {"1"}}, {"": {"1"}},
	} {
		req := post(t.Context(), up.url(), []byte("x"))
		req.Header = h
		if _, err := tr.RoundTrip(req); err == nil {
			t.Errorf("header %q was sent", h)
		}
	}
	req := post(t.Context(), up.url(), []byte("x"))
	req.ContentLength = -1
	if _, err := tr.RoundTrip(req); err == nil {
		t.Error("a request of unknown length was sent")
	}
	if up.conns.Load() != 0 {
		t.Error("a connection was made")
	}
}

// What comes behind the end mark of a stream is waited for, but not long, and not for much of it.
func TestTransportDrain(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
	for _, c := range []struct {
		name  string
		rest  func(p *peer)
		again bool
	}{
		{"the last chunk comes a little later", func(p *peer) {
			time.Sleep(drainTime / 2)
			p.say(lastChunk)
			answering(hello)(p)
		}, true},
		{"the stream is held open", func(p *peer) { _, _ = io.Copy(io.Discard, p.r) }, false},
		{"the stream goes on and on", func(p *peer) {
			for p.n > 0 {
				if _, err := io.WriteString(p.Conn, "5\r\nhello\r\n"); err != nil {
					return
				}
			}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tr := newTestTransport(t, Options{DialContext: pipes(func(p *peer) {
					_, _, _ = p.request()
					p.say(head)
					c.rest(p)
				})})
				resp, err := tr.RoundTrip(post(t.Context(), "http://up", []byte("x")))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(resp.Body, make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				resp.Body.(*body).drain()
				if took := time.Since(began); took > drainTime {
					t.Errorf("draining took %v", took)
				}
				if kept := len(tr.idle.idle[way{scheme: "http", addr: "up:80"}]); (kept == 1) != c.again {
					t.Errorf("%d connections were kept, want one: %t", kept, c.again)
				}
				time.Sleep(drainTime) // a deadline that was left behind would end the second exchange
				if c.again {
					if _, body, err := exchange(t, tr, "http://up"); body != "hello" || err != nil {
						t.Errorf("second exchange: %q %v", body, err)
					}
				}
			})
		})
	}
}

// pipes dials in-memory connections, which work in a synctest bubble; serve has the other end of each.
func pipes(serve func(p *peer)) func(context.Context, string, string) (net.Conn, error) {
	return pipesTo(&upstream{}, 0, serve)
}

// pipesTo is pipes to an upstream that counts, with the time that a dial takes.
func pipesTo(u *upstream, dial time.Duration, serve func(p *peer)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		time.Sleep(dial)
		near, far := net.Pipe()
		p := newPeer(u, far)
		go func() {
			defer func() { _ = far.Close() }()
			serve(p)
		}()
		return near, nil
	}
}
