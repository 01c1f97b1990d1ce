package route

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// Options are what a Router works with.
type Options struct {
	Table    *Table
	Prices   Prices
	Journal  Journal
	Reserver Reserver
	Stops    Stops // nil: nothing is ever stopped
	// Admission is the queue before upstreams that have as many calls as they can take; nil lets everything through.
	Admission *admission.Scheduler
	Metrics   *Metrics
	// Count counts the tokens of a request for a model, where its provider does not; exact says that it is no estimate.
	Count func(model string, r *llm.Request) (n int64, exact bool)
	// Trace says what the provider of a try is told of the trace that it is part of; nil, or the zero Context, is nothing.
	Trace func(x *pipeline.Exchange, t llm.Target, try *pipeline.Try) w3c.Context
}

// A Router is the innermost handler of the pipeline.
type Router struct{ o Options }

// New makes a router.
func New(o Options) *Router { return &Router{o} }

// Handle answers an exchange by the targets of its model: it chooses, and tries one after the other as long as that may help.
// The error, if none answers, says what became of each.
func (r *Router) Handle(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
	p, ok := r.o.Table.find(x.Request.Model)
	if !ok { // the gateway has checked it, so this is for callers within Penstock
		return nil, r.o.Table.NotFound(x.Request.Model, func(string) bool { return true })
	}
	if x.Op == llm.OpCount {
		x.Note("route", p.words, 0)
		return r.count(ctx, x, p)
	}
	c := r.choose(x, p)
	defer c.free()
	c.record()
	return c.answer(ctx)
}

// answer tries until there is an answer, or nobody is left to be asked.
func (c *choosing) answer(ctx context.Context) (*llm.Response, error) {
	for c.tried < c.pool.tries {
		l, err := c.next(ctx)
		if err != nil {
			return nil, err
		}
		if l == nil {
			break
		}
		resp, err := c.attempt(ctx, l)
		if err == nil {
			return resp, nil
		}
		f, failed := errors.AsType[*provider.Failure](err)
		u, unpaid := errors.AsType[*pipeline.Unaffordable](err)
		switch {
		case unpaid:
			c.leave(l, u)
		case !failed:
			return nil, err
		case f.Reason == provider.ReasonCanceled:
			return nil, halted(ctx, err)
		case !c.goOn(f):
			return nil, c.explain()
		}
	}
	return nil, c.explain()
}

// leave leaves out who cannot be paid: a cheaper one may be.
func (c *choosing) leave(l *leg, u *pipeline.Unaffordable) {
	one := &c.all[l.place]
	one.tries, c.tried = one.tries-1, c.tried-1 // it was not asked
	one.exclude(unpaid, u.Why)
	c.unpaid = u.Err
	c.r.o.Metrics.leftOut(unpaid)
	if c.x.Choice != nil && l.place < len(c.x.Choice.Candidates) {
		c.x.Choice.Candidates[l.place].Excluded = u.Why
	}
}

// attempt makes one try, hedged if that is wanted.
func (c *choosing) attempt(ctx context.Context, l *leg) (*llm.Response, error) {
	if after := c.hedgeAfter(l); after > 0 {
		if err := c.prepare(ctx, l); err != nil {
			return nil, err
		}
		return c.race(ctx, l, after)
	}
	return c.ask(ctx, l)
}

// ask makes one try.
func (c *choosing) ask(ctx context.Context, l *leg) (*llm.Response, error) {
	if err := c.prepare(ctx, l); err != nil {
		return nil, err
	}
	resp, err := l.send(ctx, c.x.Request)
	return c.conclude(ctx, l, resp, err)
}

// halted says why no further target was asked, or an answer ended early: whoever ended ctx may have left a fault as its
// cause (the caller's deadline, a shutdown); otherwise the caller left.
func halted(ctx context.Context, err error) error {
	var f *fault.Error
	if errors.As(context.Cause(ctx), &f) {
		return f
	}
	return fault.Wrap(fault.ClientGone, err, "The client closed the connection.")
}

// failure makes sure that it is one: a provider that breaks its contract has failed too.
func failure(err error) *provider.Failure {
	var f *provider.Failure
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.Canceled):
		return &provider.Failure{Reason: provider.ReasonCanceled, Message: "was canceled", Err: err}
	}
	return &provider.Failure{Reason: provider.ReasonGarbage, Message: "failed", Err: err}
}

// A failed is a try that did not answer.
type failed struct {
	*provider.Failure
	target string
	place  int // among the candidates
}

// goOn reports whether another try may help after a failure, and makes room for those that only it opens.
func (c *choosing) goOn(f *provider.Failure) bool {
	switch f.Class {
	case provider.ClassContextLength:
		return c.divert(c.pool.onContext)
	case provider.ClassContentPolicy:
		return c.divert(c.pool.onPolicy)
	case provider.ClassQuota, provider.ClassCredential:
		return true // of Penstock's own account: another may do
	}
	return f.Fallback()
}

// divert leaves only these to be asked.
func (c *choosing) divert(to []*upstream) bool {
	if c.diverted || len(to) == 0 {
		return false
	}
	c.diverted = true
	c.order = c.order[:0]
	for _, u := range to {
		at := -1
		for i := range c.all {
			if c.all[i].key == u.key {
				at = i
			}
		}
		if at < 0 {
			at = len(c.all)
			c.all = append(c.all, candidate{upstream: u, share: 1})
			c.excludeForGood(&c.all[at])
		}
		if one := &c.all[at]; one.tries == 0 && !one.out.final() {
			one.out = eligible
			c.order = append(c.order, at)
		}
	}
	for i := range c.all {
		if one := &c.all[i]; !slices.Contains(c.order, i) && !one.out.final() {
			one.exclude(unnamed, "not named for what was refused")
		}
	}
	return len(c.order) > 0
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return halted(ctx, ctx.Err())
	}
}
