package limit

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
)

// A slowRates is a store that does not answer what rates are asked of it.
type slowRates struct{ rate.Store }

func (slowRates) RenewRates(context.Context, rate.Holder) (bool, error) { return true, nil }

func (slowRates) TradeRates(ctx context.Context, _ rate.Holder, _ []rate.Trade) ([]rate.Result, bool, error) {
	<-ctx.Done()
	return nil, false, ctx.Err()
}

func (slowRates) WantedRates(context.Context, rate.Holder, time.Time) (time.Time, []rate.Key, error) {
	return time.Now(), nil, nil
}

func (slowRates) LeaveRates(context.Context, rate.Holder) error { return nil }

// TestTheCallersDeadlineWhileRatesAreAsked: a call that waits for the store as its deadline passes, or as it is stopped, is told so, and
// not cut off as if its client had left.
func TestTheCallersDeadlineWhileRatesAreAsked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := onBench(t, Definitions{Limits: []Limit{{ID: "lim_1", Scope: Scope{Project: "prj"}, Rate: Rate{Measure: Requests, Amount: 5, Mode: Enforce}}}})
		b.o.Rates = rate.New(rate.Options{Store: slowRates{}, Holder: "a", Replicas: func() int { return 2 }})
		running, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = b.o.Rates.Run(running) }()
		synctest.Wait()
		ctx, cancel := context.WithDeadlineCause(t.Context(), time.Now().Add(100*time.Millisecond), fault.New(fault.DeadlinePassed, "late"))
		defer cancel()
		_, err := b.Stage()(func(context.Context, *pipeline.Exchange) (*llm.Response, error) {
			t.Error("it was let through")
			return nil, context.Canceled
		})(ctx, exchange(llm.OpChat, 100))
		if f := fault.From(err); f == nil || f.Code != fault.DeadlinePassed {
			t.Errorf("got %v", err)
		}
	})
}
