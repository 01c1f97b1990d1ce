//go:build !race

package limit

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
	"github.com/penstock/penstock/internal/window"
)

// A plenty is a store in which every pool has what is wanted.
type plenty struct {
	Store
	d      Definitions
	trades atomic.Int64
}

func (p *plenty) LimitVersion(context.Context) (int64, error)      { return p.d.Version, nil }
func (p *plenty) Definitions(context.Context) (Definitions, error) { return p.d, nil }

func (p *plenty) Trade(_ context.Context, _ escrow.Holder, trades []escrow.Trade) ([]escrow.Result, error) {
	p.trades.Add(1)
	out := make([]escrow.Result, len(trades))
	for i, t := range trades {
		out[i] = escrow.Result{Granted: t.Want, Net: t.Want, Left: t.Want, State: escrow.State{Limit: 1 << 60, Highest: 1 << 60, Held: t.Want}}
	}
	return out, nil
}

func (p *plenty) Wanted(context.Context, escrow.Holder, time.Time) (time.Time, []escrow.Key, error) {
	return time.Now(), nil, nil
}

func (p *plenty) ReleaseOlder(context.Context, escrow.Holder) error { return nil }

// BenchmarkAdmission is what limits cost a call in the steady state, from the stage to the settlement of its one try: nothing at all,
// and four nested budgets with requests and tokens a minute and calls at once. Their difference is the cost: at most 3 us of processor
// time, and trades with the store only ahead of need, which calls do not wait for.
func BenchmarkAdmission(b *testing.B) {
	b.Run("nothing", func(b *testing.B) { benchmarkAdmission(b, Definitions{Version: 1}) })
	b.Run("budgets=4,rates=3", func(b *testing.B) { benchmarkAdmission(b, nested()) })
}

// nested are budgets of an organisation, a project, a key and each end user, and three rates.
func nested() Definitions {
	d := Definitions{Version: 1}
	day := Terms{Unit: USD, Amount: 1 << 60, Per: window.Day, Mode: Enforce}
	for i, s := range []Scope{{Org: "acme"}, {Project: "prj"}, {Project: "prj", Key: "key"}, {Project: "prj", User: Each}} {
		d.Budgets = append(d.Budgets, Budget{ID: fmt.Sprintf("bgt_%d", i), Scope: s, Terms: day, Version: 1})
	}
	for i, m := range []Measure{Requests, Tokens, Concurrent} {
		d.Limits = append(d.Limits, Limit{ID: fmt.Sprintf("lim_%d", i), Scope: Scope{Project: "prj"}, Rate: Rate{Measure: m, Amount: 1 << 50, Mode: Enforce}})
	}
	return d
}

func benchmarkAdmission(b *testing.B, d Definitions) {
	store := &plenty{d: d}
	l, counts := limiter(b, store)
	handle := served(l)
	raw := make([]byte, 1000)
	caller := &pipeline.Caller{Org: "acme", Project: "prj", Key: "key"}
	call := func() {
		x := &pipeline.Exchange{Caller: caller, Op: llm.OpChat, Received: time.Now()}
		x.Time = x.Received
		x.Request = &llm.Request{Dialect: llm.OpenAI, Op: llm.OpChat, Model: "support", Raw: raw, MaxOutput: 500, User: "anna"}
		resp, err := handle(b.Context(), x)
		if err != nil {
			b.Fatal(err)
		}
		for range resp.Events {
		}
	}
	heap := make([]byte, 64<<20) // that of a gateway at work; with next to none, the collector would run all the time
	for range 1000 {             // the first have to ask
		call()
	}
	asked, trades := counts(), store.trades.Load()
	b.ReportAllocs()
	used := cpuTime()
	for b.Loop() {
		call()
	}
	b.ReportMetric(float64(cpuTime()-used)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(counts()-asked), "waits")
	b.ReportMetric(float64(store.trades.Load()-trades), "trades")
	runtime.KeepAlive(heap)
}

// served is the stage before a handler that has every call answered by its first try.
func served(l *Limiter) pipeline.Handler {
	price := &llm.Price{Input: 150_000, CachedInput: 75_000, CacheWrite: 150_000, Output: 600_000}
	return l.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		try := &pipeline.Try{Price: price}
		held, err := l.Reserve(ctx, x, llm.Target{Provider: "openai", Model: "gpt-5-mini"}, try)
		if err != nil {
			return nil, err
		}
		try.Outcome, try.Usage = pipeline.SettledActual, llm.Usage{Input: 250, Output: 120}
		try.CostNano = price.Cost(try.Usage)
		held.Settle(try)
		return &llm.Response{Events: func(yield func(llm.Event, error) bool) { yield(llm.Event{Has: llm.End}, nil) }}, nil
	})
}

// limiter is one over a store, and a count of the calls that had to wait for it.
func limiter(tb testing.TB, store *plenty) (l *Limiter, asked func() int64) {
	tb.Helper()
	board := NewBoard(store, slog.New(slog.DiscardHandler), time.Hour)
	if err := board.Refresh(tb.Context()); err != nil {
		tb.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	l, err := New(Options{
		Board: board, Bank: escrow.New(escrow.Options{Store: store, Holder: escrow.Holder{Journal: "j", Run: "r"}, Metrics: registry}),
		Rates: rate.New(rate.Options{}), Learned: rate.NewLearned(), Log: slog.New(slog.DiscardHandler), Metrics: registry,
		Model: func(llm.Target) Known { return Known{Context: 128_000, MaxOutput: 16_000} },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return l, func() (n int64) {
		families, err := registry.Gather()
		if err != nil {
			tb.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "penstock_escrow_calls_that_asked_total" {
				n = int64(f.GetMetric()[0].GetCounter().GetValue())
			}
		}
		return n
	}
}

// cpuTime is what the process has used: it counts on a machine that others use as well.
func cpuTime() time.Duration {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// TestMillionUsers is what end users cost that are known, each with a budget and two rates of its own: while they have called within
// the minute and have a lease each, and at rest, once their leases were given back. PENSTOCK_MILLION has a million of them.
func TestMillionUsers(t *testing.T) {
	n := 20_000
	if os.Getenv("PENSTOCK_MILLION") != "" {
		n = 1_000_000
	}
	each := Scope{Project: "prj", User: Each}
	store := &plenty{d: Definitions{Version: 1,
		Budgets: []Budget{{ID: "bgt_each", Scope: each, Terms: Terms{Unit: USD, Amount: 1_000_000_000, Per: window.Day, Mode: Enforce}, Version: 1}},
		Limits: []Limit{
			{ID: "lim_requests", Scope: each, Rate: Rate{Measure: Requests, Amount: 20, Mode: Enforce}},
			{ID: "lim_tokens", Scope: each, Rate: Rate{Measure: Tokens, Amount: 40_000, Mode: Enforce}},
		},
	}}
	caller := &pipeline.Caller{Org: "acme", Project: "prj", Key: "key"}
	raw := make([]byte, 1000)
	cost := func(op llm.Operation) int64 {
		l, _ := limiter(t, store)
		handle := served(l)
		before := inUse()
		for i := range n {
			x := &pipeline.Exchange{Caller: caller, Op: op, Received: time.Now()}
			x.Time = x.Received
			x.Request = &llm.Request{Dialect: llm.OpenAI, Op: op, Model: "support", Raw: raw, MaxOutput: 500, User: fmt.Sprintf("user-%07d@example.com", i)}
			resp, err := handle(t.Context(), x)
			if err != nil {
				t.Fatal(err)
			}
			for range resp.Events {
			}
		}
		all := inUse() - before
		runtime.KeepAlive(l)
		return all / int64(n)
	}
	leased, resting := cost(llm.OpChat), cost(llm.OpCount)
	t.Logf("%d users: %d bytes each, %d with a lease", n, resting, leased)
	if resting > 500 || leased > 850 {
		t.Errorf("%d bytes for each user, %d with a lease; at most 500 and 850", resting, leased)
	}
}

// inUse is the heap after a collection.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
