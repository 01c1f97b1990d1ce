package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/secret"
)

// saying is the script of an upstream that reads a request, writes the pieces, and waits to be left.
func saying(pieces ...string) func(p *peer) {
	return func(p *peer) {
		if _, _, ok := p.request(); !ok {
			return
		}
		for _, s := range pieces {
			p.say(s)
		}
		_, _ = io.Copy(io.Discard, p.r)
	}
}

func TestDo(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(p *peer) {
		for {
			_, body, ok := p.request()
			if !ok {
				return
			}
			if string(body) == "plain" {
				p.say(hello)
				continue
			}
			p.say(streamHead + word("role") + word("one", "two") + word("end") + lastChunk)
		}
	})
	c := newTestClient(t, Config{BaseURL: up.url()}, Options{})
	for range 3 {
		resp, err := c.Do(t.Context(), Via{}, house, &llm.Request{Raw: []byte("stream"), Stream: true})
		if err != nil {
			t.Fatal(err)
		}
		if words, f := walk(resp); f != nil || !slices.Equal(words, []string{"role", "one", "two", "end"}) {
			t.Fatalf("stream: %q %v", words, f)
		}
		if resp.Target != house || !resp.Stream || resp.UpstreamID != "up-1" {
			t.Errorf("response %+v", resp)
		}
		if words, f := walk(resp); words != nil || f != nil {
			t.Errorf("a second walk gave %q %v", words, f)
		}
		if words, f := callAndWalk(t.Context(), c, &llm.Request{Raw: []byte("plain")}); f != nil || !slices.Equal(words, []string{"hello"}) {
			t.Fatalf("plain: %q %v", words, f)
		}
	}
	if n := up.conns.Load(); n != 1 {
		t.Errorf("6 calls took %d connections, want 1", n)
	}
}

// Events that came together say so, and those that Do has held do too.
func TestDoSaysMore(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	up := startUpstream(t, func(p *peer) {
		_, _, _ = p.request()
		p.say(streamHead + word("role") + word("one", "two", "three"))
		<-next
		p.say(word("end") + lastChunk)
	})
	c := newTestClient(t, Config{BaseURL: up.url()}, Options{})
	resp, err := c.Do(t.Context(), Via{}, house, stream())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e, err := range resp.Events {
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Raw) == "three" {
			close(next)
		}
		got = append(got, fmt.Sprintf("%s %t", e.Raw, e.More))
	}
	if want := []string{"role true", "one true", "two true", "three false", "end false"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever goes wrong before content is an error of Do, so that another target may be asked; after it is an event.
func TestDoFailsBeforeContent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer string
		r      *llm.Request
		reason Reason
		words  []string // before it
	}{
		{"nothing", "", stream(), ReasonCut, nil},
		{"no HTTP", "SSH-2.0-x\r\n", stream(), ReasonGarbage, nil},
		{"endless head", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 1<<18), stream(), ReasonTooLarge, nil},
		{"many interim answers", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000), stream(), ReasonGarbage, nil},
		{"status", "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", stream(), ReasonStatus, nil},
		{"redirect", "HTTP/1.1 307 Go\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n", stream(), ReasonStatus, nil},
		{"head only", streamHead, stream(), ReasonCut, nil},
		{"comments only", streamHead + chunk(": a\n\n: b\n\n") + lastChunk, stream(), ReasonCut, nil},
		{"cut before content", streamHead + word("role"), stream(), ReasonCut, nil},
		{"cut after content", streamHead + word("role", "one"), stream(), ReasonCut, []string{"role", "one"}},
		{"clean end without end mark", streamHead + word("role", "one") + lastChunk, stream(), ReasonCut, []string{"role", "one"}},
		{"bad chunk after content", streamHead + word("one") + "zz\r\n", stream(), ReasonGarbage, []string{"one"}},
		{"plain cut", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", plain(), ReasonCut, nil},
		{"plain empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", plain(), ReasonEmpty, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			up := startUpstream(t, func(p *peer) {
				_, _, _ = p.request()
				p.say(c.answer)
			})
			cl := newTestClient(t, Config{BaseURL: up.url()}, Options{})
			resp, err := cl.Do(t.Context(), Via{}, house, c.r)
			if (err == nil) != (c.words != nil) {
				t.Fatalf("Do: %v; want an error: %t", err, c.words == nil)
			}
			f, _ := errors.AsType[*Failure](err)
			var words []string
			if err == nil {
				words, f = walk(resp)
			}
			if f == nil || f.Reason != c.reason || !slices.Equal(words, c.words) {
				t.Errorf("%q, then %v; want %q, then %s", words, f, c.words, c.reason)
			}
			if f != nil && (f.Message == "" || strings.Contains(f.Message, "127.0.0.1") || f.NothingBilled) {
				t.Errorf("failure %+v", f)
			}
		})
	}
}

func TestDoConnectFailures(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for name, o := range map[string]Options{
		"refused": {},
		"does not exist": {DialContext: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.DNSError{Err: "no such host", Name: "up"}
		}},
		"unreachable": {DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route") }},
	} {
		c := newTestClient(t, Config{BaseURL: "http://" + l.Addr().String()}, o)
		_, f := callAndWalk(t.Context(), c, plain())
		if f == nil || f.Reason != ReasonConnect || !f.NothingBilled || !f.Fallback() {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// Fault 35: the caller leaves, and the upstream is left at once.
func TestCancel(t *testing.T) {
	t.Parallel()
	left := errors.New("client left")
	deadline, stopped, closing := fault.New(fault.DeadlinePassed, "Late."), fault.New(fault.Stopped, "Stopped."), fault.New(fault.ShuttingDown, "Stopping.")
	for _, c := range []struct {
		name  string
		reply string
		end   func(context.Context) (context.Context, context.CancelFunc)
		cause error
		words string
	}{
		{"left before the answer", "", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(50*time.Millisecond, func() { cancel(left) })
			return ctx, func() {}
		}, left, "was not waited for: the caller left"},
		{"left in its midst", streamHead + word("one"), func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(50*time.Millisecond, func() { cancel(left) })
			return ctx, func() {}
		}, left, "was not waited for: the caller left"},
		{"deadline", streamHead + word("one"), func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		}, context.DeadlineExceeded, "was not waited for: the caller's deadline passed"},
		{"deadline with words", streamHead + word("one"), func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadlineCause(ctx, time.Now().Add(50*time.Millisecond), deadline)
		}, deadline, "was not waited for: the caller's deadline passed"},
		{"stopped", "", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(50*time.Millisecond, func() { cancel(stopped) })
			return ctx, func() {}
		}, stopped, "was ended: an operator stopped what it used"},
		{"shut down", "", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(50*time.Millisecond, func() { cancel(fmt.Errorf("drained: %w", closing)) })
			return ctx, func() {}
		}, closing, "was ended: Penstock was stopping"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gone := make(chan bool, 1)
			up := startUpstream(t, func(p *peer) {
				_, _, _ = p.request()
				p.say(c.reply)
				gone <- p.gone(time.Second)
			})
			cl := newTestClient(t, Config{BaseURL: up.url()}, Options{Defaults: Timeouts{FirstToken: time.Minute, Gap: time.Minute}})
			ctx, cancel := c.end(t.Context())
			defer cancel()
			_, f := callAndWalk(ctx, cl, stream())
			if f == nil || f.Reason != ReasonCanceled || f.Fallback() || !errors.Is(f, c.cause) || f.Message != c.words {
				t.Errorf("got %+v, want the cause %v, and %q", f, c.cause, c.words)
			}
			if !<-gone {
				t.Error("the upstream was not left within a second")
			}
		})
	}
}

// Breaking off the walk leaves the upstream too, at any event.
func TestBreakingOffLeavesTheUpstream(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 3; n++ {
		gone := make(chan bool, 1)
		up := startUpstream(t, func(p *peer) {
			_, _, _ = p.request()
			p.say(streamHead + word("role") + word("one") + word("two"))
			gone <- p.gone(time.Second)
		})
		cl := newTestClient(t, Config{BaseURL: up.url()}, Options{})
		resp, err := cl.Do(t.Context(), Via{}, house, stream())
		if err != nil {
			t.Fatal(err)
		}
		seen := 0
		for range resp.Events {
			if seen++; seen == n {
				break
			}
		}
		if !<-gone {
			t.Errorf("broken off at event %d: the upstream was not left", n)
		}
	}
}

// A stream that goes on without content is handed on at some point instead of being held for ever.
func TestDoHoldsLittle(t *testing.T) {
	t.Parallel()
	const n = 100_000
	up := startUpstream(t, saying(streamHead, strings.Repeat(word("role"), n), word("end")+lastChunk))
	cl := newTestClient(t, Config{BaseURL: up.url()}, Options{})
	resp, err := cl.Do(t.Context(), Via{}, house, stream())
	if err != nil {
		t.Fatal(err)
	}
	words, f := walk(resp)
	if len(words) != n+1 || f != nil {
		t.Errorf("%d events, then %v", len(words), f)
	}
}

// Security 18: what the upstream sees of us is this and nothing else.
func TestRequestHeaders(t *testing.T) {
	t.Parallel()
	var seen http.Header
	up := startUpstream(t, func(p *peer) {
		req, _, _ := p.request()
		seen = req.Header
		p.say(hello)
	})
	cl := newTestClient(t, Config{BaseURL: up.url(), Credential: "env:K"},
		Options{Resolve: func(string) (secret.String, error) { return secret.New(canary), nil }})
	if _, f := callAndWalk(t.Context(), cl, plain()); f != nil {
		t.Fatal(f)
	}
	var names []string
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"Accept-Encoding", "Authorization", "Content-Length", "Content-Type", "User-Agent"}; !slices.Equal(names, want) {
		t.Errorf("headers %q, want %q", names, want)
	}
	if seen.Get("Accept-Encoding") != "identity" {
		t.Errorf("asks for %q", seen.Get("Accept-Encoding"))
	}
}

func TestUpstreamID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, value, want string }{
		{"X-Request-Id", "req_1", "req_1"}, {"Request-Id", "req_2", "req_2"}, {"X-Other", "x", ""},
		{"X-Request-Id", "a b", ""}, {"X-Request-Id", "a\x1b[31m", ""}, {"X-Request-Id", strings.Repeat("a", 129), ""},
	} {
		if got := upstreamID(http.Header{c.name: {c.value}}); got != c.want {
			t.Errorf("%s: %q gives %q, want %q", c.name, c.value, got, c.want)
		}
	}
}

func TestNewWantsAResolver(t *testing.T) {
	t.Parallel()
	if _, err := New("x", Config{BaseURL: "http://up", Credential: "env:K"}, Options{Codec: wordCodec{}}); err == nil {
		t.Error("a credential that nobody can read was accepted")
	}
}
