package sim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/sim/simtest"
)

// A naive client's own sum of what it was told is the bill, whatever mix of calls there was.
func TestBillIsTheSumOfWhatWasReported(t *testing.T) {
	t.Parallel()
	c := simtest.Config()
	price := sim.Price{Input: "0.15", Cached: "0.075", Output: "0.601"}
	c.Providers["other"] = sim.Provider{Models: map[string]sim.Model{"*": {Price: price, Output: "uniform(0, 40)", CachedShare: 0.3}}}
	b := setup(t, c)
	rates := llm.Price{Input: 150_000, CachedInput: 75_000, Output: 601_000}
	rapid.Check(t, func(rt *rapid.T) {
		b.sim.Reset()
		want, calls := sim.Totals{}, rapid.IntRange(1, 12).Draw(rt, "calls")
		for range calls {
			stream := rapid.Bool().Draw(rt, "stream")
			do := rapid.SampledFrom([]string{"a=", "status=503", "status=429", "usage=zero", "usage=huge", "reasoning=5", "n2"}).Draw(rt, "do")
			more := fmt.Sprintf(`"messages":[{"role":"user","content":%q}]`, strings.Repeat("x", rapid.IntRange(1, 4000).Draw(rt, "size")))
			switch do {
			case "a=":
				do = ""
			case "n2":
				do, more = "", more+`,"n":2`
			}
			g := b.post(t.Context(), "/other/v1/chat/completions", chatBody(do, stream, more))
			want.Calls++
			if g.status != 200 {
				want.Errors++
				continue
			}
			var u *usage
			if stream {
				all := g.stream()
				last := all.usages()
				u = &last[len(last)-1]
			} else {
				u = g.plain(t).Usage
			}
			want.Prompt += u.Prompt
			want.Cached += u.Input.Cached
			want.Completion += u.Completion
			want.Cost += rates.Cost(llm.Usage{Input: u.Prompt, CachedInput: u.Input.Cached, Output: u.Completion})
		}
		bill := b.bill()
		if bill.Total != want || bill.Providers["other"] != want || bill.Models["other/"+simtest.Model] != want || len(bill.Calls) != calls {
			rt.Fatalf("bill %+v, want %+v", bill, want)
		}
	})
}

func TestCancelIsNoticedWithinASecond(t *testing.T) {
	t.Parallel()
	b := setup(t, fastConfig()) // so that connections come to net/http by way of the front
	for _, c := range []struct {
		do     string
		stream bool
	}{{"drip=5ms", true}, {"stall=headers", true}, {"stall=body", true}, {"stall=2", true}, {"first=1h", false}, {"stall=headers", false}, {"status=hang", false}, {"stall=body", false}, {"stall=1", false}} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		b.post(ctx, "/v1/chat/completions", chatBody(c.do, c.stream))
		left := time.Now()
		cancel()
		line := b.last()
		if line.Canceled.IsZero() || line.Canceled.Sub(left) > time.Second {
			t.Errorf("%+v: left at %v, noticed at %v", c, left, line.Canceled)
		}
	}
	for _, r := range b.sim.Requests() {
		is(t, "log and bill agree on cancels", r.Canceled.IsZero(), false)
	}
}

func TestPeakCountsWhatIsOpenAtOnce(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 7 {
		wg.Go(func() { b.post(ctx, "/v1/chat/completions", chatBody("stall=headers", false)) })
	}
	untilOpen(b.sim, 7)
	cancel()
	wg.Wait()
	b.bill()
	all, providers := b.sim.Peak()
	is(t, "all", all, sim.Peak{Open: 0, Peak: 7})
	is(t, "provider", providers["default"], sim.Peak{Open: 0, Peak: 7})
	b.sim.Reset()
	all, _ = b.sim.Peak()
	is(t, "after a reset", all.Peak, 0)
}

// get reads one of the simulator's own routes.
func (b *bench) get(path string, into any) int {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.base+path, http.NoBody)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	if into != nil {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			b.t.Fatalf("%s: %v", path, err)
		}
	}
	return resp.StatusCode
}

func TestBillRoute(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	b.post(t.Context(), "/v1/chat/completions", chatBody("events=2", true), sim.TryHeader, "try-1")
	middle := time.Now()
	b.chat("status=500", false)
	b.bill()
	var bill sim.Bill
	is(t, "status", b.get("/_bill", &bill), 200)
	is(t, "calls", len(bill.Calls), 2)
	is(t, "errors", bill.Total.Errors, 1)
	first := bill.Calls[0]
	is(t, "seq", first.Seq, 1)
	is(t, "try", first.Try, "try-1")
	is(t, "model", first.Model, simtest.Model)
	is(t, "do", first.Do, "events=2")
	is(t, "operation", first.Operation, "chat")
	is(t, "stream", first.Stream, true)
	is(t, "cost", first.Cost, llm.Money(3*1000+2*4000))
	is(t, "bytes", first.Bytes > 500, true)
	is(t, "canceled", first.Canceled.IsZero(), true)
	for query, want := range map[string]int{"?since=1": 1, "?since=2": 0, "?calls=0": 0, "?since=" + middle.UTC().Format(time.RFC3339Nano): 1} {
		is(t, query, b.get("/_bill"+query, &bill), 200)
		is(t, query, len(bill.Calls), want)
		is(t, query+" total", bill.Total.Calls, 2)
	}
	is(t, "bad since", b.get("/_bill?since=x", nil), 400)
	is(t, "bad wait", b.get("/_bill?wait=x", nil), 400)
	ctx, cancel := context.WithCancel(t.Context())
	go b.post(ctx, "/v1/chat/completions", chatBody("stall=headers", false))
	untilOpen(b.sim, 1)
	b.get("/_bill?wait=10ms", &bill)
	is(t, "still open", bill.Open, 1)
	cancel()
	b.get("/_bill?wait=10s", &bill)
	is(t, "ended", bill.Open, 0)
	is(t, "calls", bill.Total.Calls, 3)
	is(t, "reset", b.post(t.Context(), "/_reset", "").status, 204)
	b.get("/_bill", &bill)
	is(t, "after reset", bill.Total.Calls, 0)
}

func TestRequestsRouteHidesCredentials(t *testing.T) {
	t.Parallel()
	b := setup(t, simtest.Config())
	long := strings.Repeat("y", 100_000)
	b.post(t.Context(), "/v1/chat/completions", chatBody("", false), "Api-Key", "other-secret", "Cookie", "a=secret-too", "X-Custom", "seen")
	b.post(t.Context(), "/default/v1/nowhere?q=1", long)
	var out struct {
		Requests []sim.Request `json:"requests"`
	}
	b.bill()
	is(t, "status", b.get("/_requests", &out), 200)
	is(t, "requests", len(out.Requests), 2)
	text, _ := json.Marshal(out)
	for _, hidden := range []string{"sk-sim-0123456789abcdef", "other-secret", "secret-too"} {
		is(t, hidden, strings.Contains(string(text), hidden), false)
	}
	r := out.Requests[0]
	is(t, "authorization", strings.HasPrefix(r.Header.Get("Authorization"), "Bearer sha256:"), true)
	is(t, "header", r.Header.Get("X-Custom"), "seen")
	is(t, "body", r.Body, chatBody("", false))
	is(t, "path", r.Path, "/v1/chat/completions")
	is(t, "status", r.Status, 200)
	is(t, "id", r.ID, b.last().ID)
	is(t, "404", out.Requests[1].Status, 404)
	is(t, "path", out.Requests[1].Path, "/default/v1/nowhere?q=1")
	is(t, "kept", len(out.Requests[1].Body), 64<<10)
	is(t, "size", out.Requests[1].Size, 100_000)
	b.get("/_requests?n=1", &out)
	is(t, "n", len(out.Requests), 1)
	is(t, "calls billed", b.bill().Total.Calls, 1)
}

func TestDoor(t *testing.T) {
	t.Parallel()
	c := simtest.Config()
	c.Providers["locked"] = sim.Provider{Key: "sk-sim-abcdefghijklmnop", Models: map[string]sim.Model{"m": {}}}
	b := setup(t, c)
	ask := func(header ...string) got {
		return b.post(t.Context(), "/locked/v1/chat/completions", strings.Replace(chatBody("", false), "gpt-x", "m", 1), header...)
	}
	g := ask()
	is(t, "wrong key", g.status, 401)
	is(t, "code", *g.plain(t).Error.Code, "invalid_api_key")
	is(t, "echoes the key's ends", strings.Contains(g.body, "sk-sim-0") && strings.Contains(g.body, "cdef"), true)
	is(t, "and no more", secret.New("sk-sim-0123456789abcdef").Redact(g.body), g.body)
	is(t, "right key", ask("Authorization", "Bearer sk-sim-abcdefghijklmnop").status, 200)
	is(t, "api-key", ask("Api-Key", "sk-sim-abcdefghijklmnop").status, 200)
	g = b.post(t.Context(), "/locked/v1/chat/completions", chatBody("", false), "Api-Key", "sk-sim-abcdefghijklmnop")
	is(t, "unknown model", g.status, 404)
	is(t, "code", *g.plain(t).Error.Code, "model_not_found")

	is(t, "no such provider", b.get("/nobody/v1/models", nil), 404)
	is(t, "no such route", b.get("/default/v1/x", nil), 404)
	is(t, "own route", b.get("/_nowhere", nil), 404)
	is(t, "health", b.get("/_health", nil), 200)
	var models struct {
		Data []struct{ ID string } `json:"data"`
	}
	is(t, "models", b.get("/v1/models", &models), 200)
	is(t, "models", len(models.Data) == 1 && models.Data[0].ID == simtest.Model, true)
	var help struct{ Knobs []sim.Knob }
	b.get("/_knobs", &help)
	is(t, "knobs", len(help.Knobs), len(sim.Knobs()))
	for _, bad := range []string{``, `{`, `{"model":"gpt-x"}`, `{"messages":[{"role":"user","content":"a"}]}`, `[]`,
		`{"model":"gpt-x","messages":[{"role":"user","content":"a"}],"stream_options":{"include_usage":true}}`,
		chatBody("", false, `"n":0`), chatBody("", false, `"max_tokens":0`)} {
		is(t, bad, b.post(t.Context(), "/v1/chat/completions", bad).status, 400)
	}
}
