package provider

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/secret"
)

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
				resp, err := cl.Do(t.Context(), Via{}, house, stream())
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

// An answer that nobody walks ends with its context, timers and all.
func TestAbandonedAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cl := newTestClient(t, Config{BaseURL: "http://up"}, Options{
			Defaults:    Timeouts{Gap: time.Second},
			DialContext: pipes(saying(streamHead + word("one"))),
		})
		ctx, cancel := context.WithCancel(t.Context())
		if _, err := cl.Do(ctx, Via{}, house, stream()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait() // the bubble fails if the upstream's goroutine is left
	})
}
