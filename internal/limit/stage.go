package limit

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
)

// Options are what a Limiter works with. Those without a default are needed.
type Options struct {
	Board   *Board
	Bank    *escrow.Bank
	Rates   *rate.Book
	Learned *rate.Learned
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time // civil time, by which windows begin; nil is time.Now
	// Model is what is known of a target: its context and how much it can generate at once, 0 where that is not known.
	Model func(t llm.Target) Known
	// Overrun is told of a try that was billed more than was reserved for it, or may be since it had to be cut. It must not wait. It
	// may be nil.
	Overrun func(t llm.Target, try *pipeline.Try)
}

// Known is what bounds a model's calls, in tokens; 0 is not known.
type Known struct {
	Context, MaxOutput int64
	// Searches says that the provider searches unasked, as often as it likes.
	Searches bool
}

// A Limiter is the stage, and the Reserver of route.
type Limiter struct {
	o      Options
	m      metrics
	ward   ward
	watch  watch
	drains atomic.Int64
	plans  atomic.Pointer[plans]
}

type metrics struct {
	refused  *prometheus.CounterVec
	overruns prometheus.Counter
	cuts     prometheus.Counter
	observed prometheus.Counter
}

// New makes a limiter.
func New(o Options) (*Limiter, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Limiter{o: o, m: metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_budget_refusals_total", Help: "Tries that a budget had not enough left for, by unit."}, []string{"unit"}),
		overruns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_budget_overruns_total", Help: "Tries that were billed more than was reserved for them."}),
		cuts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_capped_streams_total", Help: "Streams that were ended at their cap, since their providers took no notice of it."}),
		observed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_limits_observed_total", Help: "Calls that a limit or budget would have refused, if it did not only observe."}),
	}}
	for _, c := range []prometheus.Collector{l.m.refused, l.m.overruns, l.m.cuts, l.m.observed} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Stage refuses what a caller's tier or limits do not allow, and finds out which budgets its tries count for. It belongs inside
// [pipeline.Living].
func (l *Limiter) Stage() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			if !l.o.Board.Ready() {
				return nil, unavailable(nil, "What your key may use")
			}
			c := l.o.Board.inForce.Load()
			if !c.any {
				return next(ctx, x)
			}
			a := l.allowanceOf(c, x)
			if a == nil {
				return next(ctx, x)
			}
			x.Allowance = a
			if err := a.admit(x); err != nil {
				return nil, err
			}
			return l.limited(ctx, x, a, next)
		}
	}
}

// limited hands on an exchange that something limits, if the rates leave room for it.
func (l *Limiter) limited(ctx context.Context, x *pipeline.Exchange, a *allowance, next pipeline.Handler) (*llm.Response, error) {
	if err := a.take(ctx, x); err != nil {
		return nil, err
	}
	a.d.life = &x.Life
	x.Life.Join(a)
	resp, err := next(ctx, x)
	if err != nil {
		return nil, err
	}
	if try := answering(x); resp.Stream && try != nil && try.MaxOutput > 0 && x.Op == llm.OpChat {
		m := newMeter(resp.Target, x.Request.Model, try.MaxOutput*roundsOf(x, try), x.Request.Choices)
		m.cut = func() { l.deaf(resp.Target, x, answering(x)) }
		resp.Events = m.watch(resp.Events, resp.Meta)
	}
	return resp, nil
}

// answering is the try that gives the answer, nil if none does.
func answering(x *pipeline.Exchange) *pipeline.Try {
	if x.Answering >= len(x.Tries) {
		return nil
	}
	return &x.Tries[x.Answering]
}
