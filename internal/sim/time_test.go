package sim_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/sim/simtest"
)

// bubble runs f with a simulator and a client that share a fake clock.
func bubble(t *testing.T, c sim.Config, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := sim.New(c)
		if err != nil {
			t.Fatal(err)
		}
		l := sim.NewPipeListener()
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx, l) }()
		transport := &http.Transport{DialContext: l.Dial}
		f(t, &bench{t: t, sim: s, base: "http://sim", client: client(t, transport)})
		transport.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("simulator: %v", err)
		}
	})
}

// moments reads a stream and notes when each event came; it ends with the stream or with ctx.
func (b *bench) moments(ctx context.Context, do string) (headers time.Duration, events []time.Duration, comments int) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, b.base+"/v1/chat/completions", strings.NewReader(chatBody(do, true)))
	if err != nil {
		b.t.Fatal(err)
	}
	start := time.Now()
	resp, err := b.client.Do(r)
	headers = time.Since(start)
	if err != nil {
		return headers, nil, 0
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "data: "):
			events = append(events, time.Since(start))
		case strings.HasPrefix(line, ":"):
			comments++
		}
	}
	return headers, events, comments
}

func TestDelays(t *testing.T) {
	t.Parallel()
	bubble(t, simtest.Config(), func(t *testing.T, b *bench) {
		headers, events, _ := b.moments(t.Context(), "events=3&first=300ms&gap=50ms")
		is(t, "headers", headers, 300*time.Millisecond)
		for i, want := range []int64{300, 300, 350, 400, 400, 400, 400} {
			is(t, "event", events[i].Milliseconds(), want)
		}
		headers, events, _ = b.moments(t.Context(), "events=2&first=300ms&gap=50ms&early_headers=1")
		is(t, "early headers", headers, 0)
		is(t, "role event", events[0], 0)
		is(t, "first content", events[1], 300*time.Millisecond)
		is(t, "plain", b.chat("events=3&first=300ms&gap=50ms", false).took, 400*time.Millisecond)
		is(t, "embedding", b.post(t.Context(), "/v1/embeddings", `{"model":"gpt-x?first=70ms","input":"a"}`).took, 70*time.Millisecond)
	})
}

func TestStalls(t *testing.T) {
	t.Parallel()
	bubble(t, simtest.Config(), func(t *testing.T, b *bench) {
		headers, events, _ := b.moments(t.Context(), "stall=headers:30s&events=1")
		is(t, "headers", headers, 30*time.Second)
		is(t, "events", len(events), 5)
		headers, events, _ = b.moments(t.Context(), "stall=body:30s&events=1")
		is(t, "headers", headers, 0)
		is(t, "role event", events[0], 30*time.Second)
		// What comes after a stall keeps its gaps.
		_, events, _ = b.moments(t.Context(), "stall=2:30s&events=4&gap=1s")
		for i, want := range []float64{0, 0, 1, 32, 33} {
			is(t, "event", events[i].Seconds(), want)
		}
		is(t, "plain, in its middle", b.chat("stall=2:30s", false).took, 30*time.Second)
		is(t, "plain, before the headers", b.chat("stall=headers:30s", false).took, 30*time.Second)

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		headers, events, comments := b.moments(ctx, "stall=1&ping=1s&early_headers=1")
		is(t, "headers", headers, 0)
		is(t, "events before a stall for ever", len(events), 2)
		is(t, "comments in an hour", comments >= 3598 && comments <= 3600, true)
		is(t, "billed", b.last().Completion, 1)
		is(t, "noticed at once", b.last().Canceled.Equal(b.last().Ended), true)
	})
}

func TestDripNeverEnds(t *testing.T) {
	t.Parallel()
	bubble(t, simtest.Config(), func(t *testing.T, b *bench) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second+time.Millisecond)
		defer cancel()
		_, events, _ := b.moments(ctx, "events=2&drip=1s")
		is(t, "events", len(events), 1+2+10)
		is(t, "billed", b.last().Completion, 12)
	})
}

func TestClientThatLeavesPaysWhatWasGenerated(t *testing.T) {
	t.Parallel()
	bubble(t, simtest.Config(), func(t *testing.T, b *bench) {
		const slow = "events=100&first=1s&gap=100ms"
		leave := func(do string, stream bool, after time.Duration) sim.Call {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			defer cancel()
			b.post(ctx, "/v1/chat/completions", chatBody(do, stream))
			line := b.last()
			is(t, "noticed", line.Canceled.Sub(line.Started), after)
			return line
		}
		is(t, "stream", leave(slow, true, 1250*time.Millisecond).Completion, 3)
		is(t, "plain", leave(slow, false, 1250*time.Millisecond).Completion, 3)
		early := leave(slow, true, 500*time.Millisecond)
		is(t, "before the first token", early.Completion, 0)
		is(t, "the prompt is billed", early.Prompt, 3)
		is(t, "hidden reasoning", leave(slow+"&hidden_reasoning=20", false, 1250*time.Millisecond).Completion, 23)
		is(t, "before anything began", leave("stall=headers", true, time.Second).Cost, 0)
		is(t, "hang", leave("status=hang", true, time.Second).Cost, 0)
		is(t, "canceled", b.bill().Total.Cancels, 6)
	})
}

func TestOutages(t *testing.T) {
	t.Parallel()
	c := simtest.Config()
	p := c.Providers["default"]
	p.Outages = []sim.Outage{{After: "10s", For: "12s", Kind: "503"}, {After: "60s", For: "1s", Kind: "refuse"}}
	c.Providers["default"] = p
	c.Providers["other"] = sim.Provider{Models: p.Models}
	bubble(t, c, func(t *testing.T, b *bench) {
		is(t, "before", b.chat("", false).status, 200)
		time.Sleep(10 * time.Second)
		is(t, "first moment", b.chat("", false).status, 503)
		is(t, "other provider", b.post(t.Context(), "/other/v1/chat/completions", chatBody("", false)).status, 200)
		time.Sleep(12*time.Second - time.Nanosecond)
		is(t, "last moment", b.chat("", false).status, 503)
		time.Sleep(time.Nanosecond)
		is(t, "after", b.chat("", false).status, 200)
		time.Sleep(38 * time.Second)
		is(t, "refused", b.chat("", false).err != nil, true)
		is(t, "nothing billed", b.last().Cost, 0)

		time.Sleep(time.Minute)
		outage := func(body string) int { return b.post(t.Context(), "/_outage", body).status }
		is(t, "by hand", outage(`{"provider":"default","kind":"429","for":"5s"}`), 204)
		is(t, "by hand", b.chat("", false).header.Get("Retry-After"), "1")
		is(t, "ended by hand", outage(`{"provider":"default","for":"0s"}`), 204)
		is(t, "ended by hand", b.chat("", false).status, 200)
		is(t, "hang", outage(`{"provider":"default","kind":"hang","for":"1h"}`), 204)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		is(t, "hangs", b.post(ctx, "/v1/chat/completions", chatBody("", false)).took, 3*time.Second)
		for _, bad := range []string{`{"provider":"x","kind":"503","for":"1s"}`, `{"provider":"default","kind":"y","for":"1s"}`, `{"provider":"default","kind":"503","for":"1"}`, `{"a":1}`, ``} {
			is(t, bad, outage(bad), 400)
		}
	})
}

func TestRateLimitIsASlidingWindow(t *testing.T) {
	t.Parallel()
	c := simtest.Config()
	p := c.Providers["default"]
	p.RateLimit = sim.RateLimit{Requests: 2, Per: "10s"}
	c.Providers["default"] = p
	bubble(t, c, func(t *testing.T, b *bench) {
		is(t, "first", b.chat("", false).status, 200)
		time.Sleep(6 * time.Second)
		is(t, "second", b.chat("", false).status, 200)
		g := b.chat("", false)
		is(t, "third", g.status, 429)
		is(t, "Retry-After", g.header.Get("Retry-After"), "5")
		time.Sleep(4 * time.Second)
		is(t, "when the first is out of the window", b.chat("", false).status, 200)
		is(t, "and the second is not", b.chat("", false).status, 429)
	})
}

func TestDrawsDependOnSeedAndNumberAlone(t *testing.T) {
	t.Parallel()
	c := simtest.Config()
	c.Providers["default"] = sim.Provider{Models: map[string]sim.Model{simtest.Model: {
		FirstToken: "lognormal(300ms, 2s)", Gap: "exponential(20ms)", Output: "lognormal(30, 90)",
		Faults: []sim.Fault{{Share: 0.2, Do: "status=503"}, {Share: 0.2, Do: "cut=2"}},
	}}}
	record := func(seed uint64, pause time.Duration) string {
		var all strings.Builder
		c.Seed = seed
		bubble(t, c, func(t *testing.T, b *bench) {
			for range 20 {
				time.Sleep(pause)
				g := b.chat("", true)
				s := g.stream()
				all.WriteString(g.took.String() + " " + s.text(0) + " " + http.StatusText(g.status) + "\n")
			}
			for _, call := range b.bill().Calls {
				all.WriteString(call.ID + call.Do + "\n")
			}
		})
		return all.String()
	}
	first := record(1, 0)
	is(t, "has faults of both kinds", strings.Contains(first, "status=503") && strings.Contains(first, "cut=2"), true)
	is(t, "same seed, other times", record(1, 17*time.Second), first)
	if record(2, 0) == first {
		t.Error("two seeds, one behaviour")
	}
}

func TestTroubleHoldsForItsModelAndItsTime(t *testing.T) {
	t.Parallel()
	bubble(t, simtest.Config(), func(t *testing.T, b *bench) {
		trouble := func(body string) int { return b.post(t.Context(), "/_trouble", body).status }
		other := func() int {
			return b.post(t.Context(), "/v1/chat/completions", `{"model":"other","messages":[{"role":"user","content":"x"}]}`).status
		}
		if s := trouble(`{"provider":"default","model":"gpt-x","faults":[{"share":1,"do":"status=503"}],"for":"10s"}`); s != http.StatusNoContent {
			t.Fatalf("answered %d", s)
		}
		if got := b.chat("", false).status; got != 503 {
			t.Errorf("in trouble: %d", got)
		}
		if got := other(); got != 200 {
			t.Errorf("another model: %d", got)
		}
		time.Sleep(10 * time.Second)
		if got := b.chat("", false).status; got != 200 {
			t.Errorf("after it: %d", got)
		}

		// Of a model that has no section of its own.
		trouble(`{"provider":"default","model":"other","faults":[{"share":1,"do":"status=500"}],"for":"1s"}`)
		if got := other(); got != 500 {
			t.Errorf("a model of any name: %d", got)
		}
		time.Sleep(time.Second)

		// Of all models, and ended by hand.
		trouble(`{"provider":"default","faults":[{"share":1,"do":"status=429&retry_after=2"}],"for":"1h"}`)
		if got := b.post(t.Context(), "/_trouble", `{"provider":"default","model":"gpt-x","for":"0s"}`).status; got != http.StatusNoContent {
			t.Errorf("a trouble that is over is ended: %d", got)
		}
		if list := b.list(); list != 429 {
			t.Errorf("the list of models: %d", list)
		}
		if got := b.chat("", true); got.status != 429 || got.header.Get("Retry-After") != "2" || other() != 429 {
			t.Errorf("all models: %d %v", got.status, got.header)
		}
		trouble(`{"provider":"default","for":"0s"}`)
		if got := b.chat("", true).status; got != 200 {
			t.Errorf("ended: %d", got)
		}

		for _, wrong := range []string{
			`{"provider":"nobody","faults":[{"share":1,"do":"status=503"}],"for":"1s"}`,
			`{"provider":"default","faults":[{"share":2,"do":"status=503"}],"for":"1s"}`,
			`{"provider":"default","faults":[{"share":1,"do":"sing=1"}],"for":"1s"}`,
			`{"provider":"default","faults":[],"for":"1s"}`,
			`{"provider":"default","faults":[{"share":1,"do":"status=503"}],"for":"-1s"}`,
			`{"provider":"default","verse":1,"for":"1s"}`,
		} {
			if got := trouble(wrong); got != http.StatusBadRequest {
				t.Errorf("%s: %d", wrong, got)
			}
		}
	})
}

// list asks for the list of models.
func (b *bench) list() int {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.base+"/v1/models", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
