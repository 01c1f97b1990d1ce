package route

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"strings"
	"time"

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
	// Count counts the tokens of a request for a model, where its provider does not; exact says that it is no estimate.
	Count func(model string, r *llm.Request) (n int64, exact bool)
	// Trace says what the provider of a try is told of the trace that it is part of; nil, or the zero Context, is nothing.
	Trace func(x *pipeline.Exchange, t llm.Target, try *pipeline.Try) w3c.Context
}

// A Router is the innermost handler of the pipeline.
type Router struct{ o Options }

// New makes a router.
func New(o Options) *Router { return &Router{o} }

// Handle answers an exchange by trying the targets of its model. The error, if all fail, says what became of each.
func (r *Router) Handle(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
	c, ok := r.o.Table.find(x.Request.Model)
	if !ok { // the gateway has checked it, so this is for callers within Penstock
		return nil, r.o.Table.NotFound(x.Request.Model, func(string) bool { return true })
	}
	x.Note("route", c.words, 0)
	if x.Op == llm.OpCount {
		return r.count(ctx, x, c.targets)
	}
	failures := make([]*provider.Failure, 0, 2)
	var refusal error // of the last target that is stopped
	for _, target := range c.targets {
		if err := ctx.Err(); err != nil {
			return nil, stopped(ctx, err)
		}
		if r.o.Stops != nil {
			if err := r.o.Stops.Try(x, target); err != nil {
				refusal = err
				continue
			}
		}
		resp, err := r.try(ctx, x, target)
		if err == nil {
			return resp, nil
		}
		var f *provider.Failure
		if !errors.As(err, &f) {
			return nil, err
		}
		failures = append(failures, f)
		if f.Reason == provider.ReasonCanceled {
			return nil, stopped(ctx, err)
		}
		if !f.Fallback() {
			break
		}
	}
	if len(failures) == 0 {
		return nil, refusal
	}
	return nil, explain(x, failures)
}

// stopped says why no further target was asked, or an answer ended early: whoever ended ctx may have left a fault as its
// cause (the caller's deadline, a shutdown); otherwise the caller left.
func stopped(ctx context.Context, err error) error {
	var f *fault.Error
	if errors.As(context.Cause(ctx), &f) {
		return f
	}
	return fault.Wrap(fault.ClientGone, err, "The client closed the connection.")
}

// try makes one attempt. A *provider.Failure means that the next target may be asked; any other error ends the exchange.
// A try that failed is settled here; one that answers, or during which something panics, is left to the stage usage.
func (r *Router) try(ctx context.Context, x *pipeline.Exchange, target llm.Target) (*llm.Response, error) {
	index := len(x.Tries)
	x.Tries = append(x.Tries, pipeline.Try{
		ID:      x.ID + "-" + strconv.Itoa(index+1),
		Target:  target.String(),
		StartNS: int64(time.Since(x.Received)),
		Outcome: pipeline.Unknown,
	})
	try := &x.Tries[index]
	if price, ok := r.o.Prices.Price(target); ok {
		try.Price = &price
	}
	if x.Op == llm.OpCount {
		try.Price = &llm.Price{} // vendors count for nothing
	}
	var err error
	if try.Held, err = r.o.Reserver.Reserve(ctx, x, target, try); err != nil {
		x.Tries = x.Tries[:index]
		return nil, err
	}
	if err := r.o.Journal.Intent(ctx, x, try); err != nil {
		try.Outcome = pipeline.Released
		try.Settle()
		x.Tries = x.Tries[:index]
		return nil, err
	}
	x.Request.Adapted = nil // what an earlier target would have been asked
	resp, err := r.o.Table.providers[target.Provider].Do(r.traced(ctx, x, target, try), provider.Via{}, target, x.Request)
	if err != nil {
		f := failure(err)
		record(x, try, f)
		err := r.o.Journal.Outcome(x, try)
		try.Settle()
		if err != nil {
			return nil, err
		}
		return nil, f
	}
	if adapted := x.Request.Adapted; len(adapted) > 0 {
		x.Note("adapted", target.String()+" does not take "+strings.Join(adapted, ", ")+": left out or bent", 0)
	}
	x.Answering = index
	try.Upstream = resp.UpstreamID
	try.Status = 200
	resp.Events = finish(ctx, x, index, resp.Events)
	return resp, nil
}

// traced is the context of a try, with what its provider is told of the trace.
func (r *Router) traced(ctx context.Context, x *pipeline.Exchange, target llm.Target, try *pipeline.Try) context.Context {
	if r.o.Trace == nil {
		return ctx
	}
	c := r.o.Trace(x, target, try)
	if c.IsZero() {
		return ctx
	}
	return w3c.With(ctx, c)
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

// record writes a failed try down.
func record(x *pipeline.Exchange, try *pipeline.Try, f *provider.Failure) {
	try.TookNS = int64(time.Since(x.Received)) - try.StartNS
	try.Status = f.Status
	try.Upstream = f.UpstreamID
	try.Reason = string(f.Reason)
	try.Detail = f.Error()
	try.Unpriced = try.Price == nil && !f.NothingBilled
	if f.NothingBilled {
		try.Outcome = pipeline.Released
	}
}

// finish passes the events of the answering try on, and turns a failure in their midst into words for the caller. How the
// try ended is for the stage usage to say, outside of this: it sees every end, and settles the try.
func finish(ctx context.Context, x *pipeline.Exchange, index int, events iter.Seq2[llm.Event, error]) iter.Seq2[llm.Event, error] {
	return func(yield func(llm.Event, error) bool) {
		try := &x.Tries[index]
		for ev, err := range events {
			if err == nil {
				if !yield(ev, nil) {
					return
				}
				continue
			}
			f := failure(err)
			try.Status, try.Reason, try.Detail = f.Status, string(f.Reason), f.Error()
			yield(llm.Event{}, interrupted(ctx, x, try, f))
			return
		}
	}
}
