package limit

import (
	"context"
	"fmt"
	"log/slog"
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
	d Definitions
}

func (p *plenty) LimitVersion(context.Context) (int64, error)      { return p.d.Version, nil }
func (p *plenty) Definitions(context.Context) (Definitions, error) { return p.d, nil }

func (p *plenty) Trade(_ context.Context, _ escrow.Holder, trades []escrow.Trade) ([]escrow.Result, error) {
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
// and four nested budgets with requests and tokens a minute and calls at once. Their difference is the cost.
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
	board := NewBoard(store, slog.New(slog.DiscardHandler), time.Hour)
	if err := board.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	l, err := New(Options{
		Board: board, Bank: escrow.New(escrow.Options{Store: store, Holder: escrow.Holder{Journal: "j", Run: "r"}}), Rates: rate.New(rate.Options{}),
		Learned: rate.NewLearned(), Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Model: func(llm.Target) Known { return Known{Context: 128_000, MaxOutput: 16_000} },
	})
	if err != nil {
		b.Fatal(err)
	}
	price := &llm.Price{Input: 150_000, CachedInput: 75_000, CacheWrite: 150_000, Output: 600_000}
	target := llm.Target{Provider: "openai", Model: "gpt-5-mini"}
	handle := l.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		try := &pipeline.Try{Price: price}
		held, err := l.Reserve(ctx, x, target, try)
		if err != nil {
			return nil, err
		}
		try.Outcome, try.Usage = pipeline.SettledActual, llm.Usage{Input: 250, Output: 120}
		try.CostNano = price.Cost(try.Usage)
		held.Settle(try)
		return &llm.Response{Events: func(yield func(llm.Event, error) bool) { yield(llm.Event{Has: llm.End}, nil) }}, nil
	})
	raw := make([]byte, 1000)
	caller := &pipeline.Caller{Org: "acme", Project: "prj", Key: "key"}
	b.ReportAllocs()
	for b.Loop() {
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
}
