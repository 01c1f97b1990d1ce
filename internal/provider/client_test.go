package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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
		resp, err := c.Do(t.Context(), house, &llm.Request{Raw: []byte("stream"), Stream: true})
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
	resp, err := c.Do(t.Context(), house, stream())
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
			resp, err := cl.Do(t.Context(), house, c.r)
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

// Faults 38 and 39, S4: each timer fires on its own, at its time, and says its name; the upstream is left at that moment.
func TestTimers(t *testing.T) {
	t.Parallel()
	limits := Timeouts{Connect: 3 * time.Second, FirstToken: 20 * time.Second, Gap: 5 * time.Second, Total: time.Minute}
	every := func(d time.Duration, s string) func(*peer) {
		return func(p *peer) {
			for p.Conn != nil {
				time.Sleep(d)
				if _, err := io.WriteString(p.Conn, s); err != nil {
					return
				}
			}
		}
	}
	for _, c := range []struct {
		name   string
		answer string
		then   func(*peer)
		plain  bool
		reason Reason
		timer  string
		after  time.Duration
		text   string
	}{
		{name: "stall at headers", reason: ReasonFirstToken, timer: "first_token", after: limits.FirstToken, text: "sent no first token in 20 s"},
		{name: "stall at headers, plain", plain: true, reason: ReasonFirstToken, timer: "first_token", after: limits.FirstToken},
		{name: "stall after 200", answer: streamHead, reason: ReasonFirstToken, timer: "first_token", after: limits.FirstToken},
		{name: "stall after 200, plain", answer: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", plain: true, reason: ReasonFirstToken, timer: "first_token", after: limits.FirstToken},
		{name: "head drips", answer: "HTTP/1.1 200 OK\r\n", then: every(time.Second, "X-A: b\r\n"), reason: ReasonFirstToken, timer: "first_token", after: limits.FirstToken},
		{name: "comments before content", answer: streamHead, then: every(time.Second, chunk(": ping\n\n")), reason: ReasonFirstToken, timer: "first_token", after: limits.FirstToken},
		{name: "events without content", answer: streamHead, then: every(time.Second, word("role")), reason: ReasonFirstToken, timer: "first_token", after: limits.FirstToken},
		{name: "stall between tokens", answer: streamHead + word("one"), reason: ReasonGap, timer: "gap", after: limits.Gap, text: "sent nothing for 5 s"},
		{name: "comments between tokens", answer: streamHead + word("one"), then: every(time.Second, chunk(": ping\n\n")), reason: ReasonGap, timer: "gap", after: limits.Gap},
		{name: "half an event between tokens", answer: streamHead + word("one"), then: every(time.Second, chunk("data: x")), reason: ReasonGap, timer: "gap", after: limits.Gap},
		{name: "endless drip", answer: streamHead + word("one"), then: every(4*time.Second, word("more")), reason: ReasonTotal, timer: "total", after: limits.Total, text: "did not finish in 60 s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				left := make(chan time.Duration, 1)
				begin := time.Now()
				cl := newTestClient(t, Config{BaseURL: "http://up"}, Options{Defaults: limits, DialContext: pipes(func(p *peer) {
					_, _, _ = p.request()
					p.say(c.answer)
					if c.then != nil {
						c.then(p)
					} else {
						_, _ = io.Copy(io.Discard, p.r)
					}
					left <- time.Since(begin)
				})})
				r := stream()
				r.Stream = !c.plain
				_, f := callAndWalk(t.Context(), cl, r)
				took := time.Since(begin)
				if f == nil || f.Reason != c.reason || f.Timer != c.timer || took != c.after || (c.text != "" && f.Message != c.text) {
					t.Errorf("%+v after %v; want %s after %v", f, took, c.reason, c.after)
				}
				if f != nil && f.NothingBilled {
					t.Error("says that nothing was billed, which it cannot know")
				}
				// A writer that sleeps notices at its next write.
				if after := <-left; after > took+4*time.Second {
					t.Errorf("the upstream was left after %v, the call ended after %v", after, took)
				}
			})
		})
	}
}

// Fault 38: wherever the black hole is, the connect timer covers it.
func TestConnectTimer(t *testing.T) {
	t.Parallel()
	silent := pipes(func(p *peer) { _, _ = io.Copy(io.Discard, p.r) })
	proxied := Egress{Proxy: "env:P"}
	for _, c := range []struct {
		name, base string
		o          Options
	}{
		{"in dialing", "http://up", Options{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}},
		{"in TLS", "https://up", Options{DialContext: silent}},
		{"in TLS, HTTP/2", "https://up", Options{DialContext: silent}},
		{"in CONNECT", "https://up", Options{DialContext: silent, Egress: proxied}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.o.Defaults = Timeouts{Connect: 3 * time.Second, FirstToken: time.Minute}
				c.o.Resolve = func(string) (secret.String, error) { return secret.New("http://proxy:3128"), nil }
				cl := newTestClient(t, Config{BaseURL: c.base, HTTP2: strings.HasSuffix(c.name, "2")}, c.o)
				begin := time.Now()
				_, f := callAndWalk(t.Context(), cl, plain())
				if took := time.Since(begin); f == nil || f.Reason != ReasonConnectTimer || f.Timer != "connect" || took != 3*time.Second {
					t.Fatalf("%+v after %v", f, took)
				}
				if !f.NothingBilled || f.Message != "did not accept a connection in 3 s" {
					t.Errorf("%+v", f)
				}
			})
		})
	}
}

// The time that a slow client takes is not the provider's: gap stands still, total does not.
func TestTimersStandStillForSlowClients(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		pause  time.Duration
		reason Reason
	}{{"slow", 50 * time.Second, ""}, {"too slow", 2 * time.Minute, ReasonTotal}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cl := newTestClient(t, Config{BaseURL: "http://up"}, Options{
					Defaults: Timeouts{FirstToken: 5 * time.Second, Gap: 5 * time.Second, Total: 100 * time.Second},
					DialContext: pipes(func(p *peer) {
						_, _, _ = p.request()
						p.say(streamHead + word("one"))
						time.Sleep(4 * time.Second)
						p.say(word("two"))
						time.Sleep(4 * time.Second)
						p.say(word("end") + lastChunk)
					}),
				})
				resp, err := cl.Do(t.Context(), house, stream())
				if err != nil {
					t.Fatal(err)
				}
				var f *Failure
				for _, err := range resp.Events {
					if err != nil {
						f, _ = errors.AsType[*Failure](err)
						break
					}
					time.Sleep(c.pause / 2)
				}
				switch {
				case c.reason == "" && f != nil, c.reason != "" && (f == nil || f.Reason != c.reason):
					t.Errorf("got %v, want %q", f, c.reason)
				}
			})
		})
	}
}

// A provider's own timers beat the defaults, one by one; a timer that nobody sets does not run.
func TestTimersAreInherited(t *testing.T) {
	t.Parallel()
	got := Timeouts{Gap: time.Second}.Or(Timeouts{Connect: 2, Gap: 3, Total: 4})
	if want := (Timeouts{Connect: 2, Gap: time.Second, Total: 4}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	synctest.Test(t, func(t *testing.T) {
		cl := newTestClient(t, Config{BaseURL: "http://up"}, Options{DialContext: pipes(func(p *peer) {
			_, _, _ = p.request()
			time.Sleep(24 * time.Hour)
			p.say(streamHead + word("one"))
			time.Sleep(24 * time.Hour)
			p.say(word("end") + lastChunk)
		})})
		if words, f := callAndWalk(t.Context(), cl, stream()); f != nil {
			t.Errorf("%q, then %v", words, f)
		}
	})
}

// Fault 35: the caller leaves, and the upstream is left at once.
func TestCancel(t *testing.T) {
	t.Parallel()
	left := errors.New("client left")
	for _, c := range []struct {
		name  string
		reply string
		end   func(context.Context) (context.Context, context.CancelFunc)
		cause error
	}{
		{"left before the answer", "", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(50*time.Millisecond, func() { cancel(left) })
			return ctx, func() {}
		}, left},
		{"left in its midst", streamHead + word("one"), func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			time.AfterFunc(50*time.Millisecond, func() { cancel(left) })
			return ctx, func() {}
		}, left},
		{"deadline", streamHead + word("one"), func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		}, context.DeadlineExceeded},
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
			if f == nil || f.Reason != ReasonCanceled || f.Fallback() || !errors.Is(f, c.cause) {
				t.Errorf("got %+v, want the cause %v", f, c.cause)
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
		resp, err := cl.Do(t.Context(), house, stream())
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
	resp, err := cl.Do(t.Context(), house, stream())
	if err != nil {
		t.Fatal(err)
	}
	words, f := walk(resp)
	if len(words) != n+1 || f != nil {
		t.Errorf("%d events, then %v", len(words), f)
	}
}

const canary = "sk-canary-0123456789"

func TestCredential(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(p *peer) {
		for {
			req, _, ok := p.request()
			if !ok {
				return
			}
			v := req.Header.Get("Authorization")
			p.say("HTTP/1.1 200 OK\r\nContent-Length: " + fmt.Sprint(len(v)+1) + "\r\n\r\n." + v)
		}
	})
	file := filepath.Join(t.TempDir(), "key")
	write := func(s string) {
		if err := os.WriteFile(file, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(ref string) (secret.String, error) {
		b, err := os.ReadFile(strings.TrimPrefix(ref, "file:"))
		return secret.New(string(b)), err
	}
	r := &reference{ref: "file:" + file, resolve: read}
	cl := newTestClient(t, Config{BaseURL: up.url(), Credential: r.ref}, Options{Resolve: read})
	ask := func() string {
		// Time passes for the reference only: the test does not wait a second for each step.
		if last := cl.credential.last.Load(); last != nil {
			aged := *last
			aged.at = aged.at.Add(-lookEvery)
			cl.credential.last.Store(&aged)
		}
		words, f := callAndWalk(t.Context(), cl, plain())
		if f != nil {
			if f.Reason != ReasonCredential || !f.NothingBilled || f.Fallback() || strings.Contains(f.Error(), canary) ||
				!strings.Contains(f.Error(), "providers.house.credential") || strings.Contains(f.Message, file) {
				t.Errorf("failure %v", f)
			}
			return "!"
		}
		return strings.Join(words, "")
	}
	steps := []struct {
		do   func()
		want string
	}{
		{func() {}, "!"}, // the file is not there yet
		{func() { write("first") }, ".Bearer first"},
		{func() { write("second") }, ".Bearer second"},
		{func() { _ = os.Remove(file) }, ".Bearer second"}, // it may be being replaced
		{func() {}, "!"}, // it is gone
		{func() { write("third") }, ".Bearer third"},
		{func() { write(canary + "\r\nX-Evil: 1") }, "!"},
	}
	for i, s := range steps {
		s.do()
		if got := ask(); got != s.want {
			t.Errorf("step %d: %q, want %q", i, got, s.want)
		}
	}
}

func TestReferenceIsReadOnceASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		r := &reference{resolve: func(string) (secret.String, error) { reads++; return secret.New("s"), nil }}
		for range 100 {
			if s, err := r.read(time.Now()); s.Reveal() != "s" || err != nil {
				t.Fatal(s, err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if reads != 10 {
			t.Errorf("%d reads in 10 s, want 10", reads)
		}
	})
}

// Security 12: what a provider repeats of the credential does not come out again.
func TestFailuresAreRedacted(t *testing.T) {
	t.Parallel()
	body := `{"error":{"message":"Incorrect key ` + canary + `"}}`
	up := startUpstream(t, answering(fmt.Sprintf("HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%s", len(body), body)))
	cl := newTestClient(t, Config{BaseURL: up.url(), Credential: "env:K"},
		Options{Resolve: func(string) (secret.String, error) { return secret.New(canary), nil }})
	_, f := callAndWalk(t.Context(), cl, plain())
	if f == nil || f.Status != 400 {
		t.Fatalf("got %+v", f)
	}
	for name, text := range map[string]string{
		"Error": f.Error(), "Message": f.Message, "Code": f.Code, "Param": f.Param, "Body": string(f.Body), "Err": f.Err.Error(),
		"all": fmt.Sprintf("%+v", f),
	} {
		if strings.Contains(text, canary) {
			t.Errorf("%s has the credential: %s", name, text)
		}
	}
	if !strings.Contains(f.Message, "Incorrect key [redacted]") {
		t.Errorf("message %q", f.Message)
	}
}

// Security 17 and S15: the credential goes to the configured host only, whatever an upstream or a codec wants.
func TestCredentialIsBoundToTheHost(t *testing.T) {
	t.Parallel()
	thief := startUpstream(t, answering(hello))
	up := startUpstream(t, answering("HTTP/1.1 307 Go\r\nLocation: "+thief.url()+"/v1\r\nContent-Length: 0\r\n\r\n"))
	o := Options{Resolve: func(string) (secret.String, error) { return secret.New(canary), nil }}
	cl := newTestClient(t, Config{BaseURL: up.url(), Credential: "env:K"}, o)
	if _, f := callAndWalk(t.Context(), cl, plain()); f == nil || f.Status != 307 {
		t.Errorf("got %v", f)
	}
	o.Codec = wordCodec{elsewhere: thief.l.Addr().String()}
	cl = newTestClient(t, Config{BaseURL: up.url(), Credential: "env:K"}, o)
	if _, f := callAndWalk(t.Context(), cl, plain()); f == nil || !f.NothingBilled {
		t.Errorf("got %v", f)
	}
	if thief.conns.Load() != 0 {
		t.Error("the other host was called")
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
