package limit

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
)

// take takes what the exchange needs of its rates, or refuses it.
func (a *allowance) take(ctx context.Context, x *pipeline.Exchange) error {
	if len(a.rates) == 0 {
		return nil
	}
	need := rate.Need{Requests: 1}
	if x.Op != llm.OpCount {
		need.Input = a.likelyInput(x)
	}
	if x.Op == llm.OpChat {
		need.Output = a.l.o.Learned.Output(a.model, a.project, x.Request.MaxOutput) * max(int64(x.Request.Choices), 1)
	}
	err := a.l.o.Rates.Admit(ctx, a.rates, need, &a.admission)
	for i := range a.admission.Over {
		a.l.m.observed.Inc()
		x.Note("limit", "observed: "+a.admission.Over[i].Error(), 0)
	}
	var over *rate.Exceeded
	switch {
	case err == nil:
		return nil
	case errors.As(err, &over):
		return exceeded(x, over)
	case errors.Is(err, rate.ErrUnavailable):
		return unavailable(err, "How much your calls may use")
	}
	return err
}

// likelyInput is roughly how many tokens a prompt has: a quarter of its bytes, and media as they are usually read.
func (a *allowance) likelyInput(x *pipeline.Exchange) int64 {
	n := x.Request.Size()
	c := a.look.of(x, a.model)
	if c == nil {
		return (n + 3) / 4
	}
	return max(n-c.packed+3, 0)/4 + c.likely
}

// exceeded is the end of a call that a rate leaves no room for.
func exceeded(x *pipeline.Exchange, e *rate.Exceeded) error {
	words := strings.ReplaceAll(e.Rule.Measure, "_", " ") + " a minute"
	if e.Rule.Measure == rate.Concurrent {
		words = "calls at once"
	}
	f := fault.New(fault.RateExceeded, "Over the limit of %d %s: %d left, and this call needs %d.", e.Limit, words, e.Left, e.Need)
	f.RetryAfter = e.RetryAfter
	if e.Never {
		f.Message = fmt.Sprintf("The call needs %d %s, and the limit is %d.", e.Need, words, e.Limit)
		f.Hint, f.Spent, f.RetryAfter = "It can never pass: make it smaller, or ask whoever runs Penstock to raise the limit.", true, 0
	}
	x.Note("limit", "refused by "+e.Rule.ID+": "+e.Error(), 0)
	return f
}

func (r *rateRule) rule(subject string) rate.Rule {
	return rate.Rule{ID: r.id, Subject: subject, Measure: string(r.Measure), Amount: r.Amount, Observe: r.Mode == Observe}
}

// Rates implements [pipeline.Allowance].
func (a *allowance) Rates(dst []pipeline.RateStanding) []pipeline.RateStanding {
	for i := range a.rates {
		dst = appendStanding(dst, a.l.o.Rates, &a.rates[i])
	}
	return dst
}
