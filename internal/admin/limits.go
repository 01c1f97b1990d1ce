package admin

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/limit"
)

// A Rate is so much a minute, or at once.
type Rate struct {
	Measure string `json:"measure"`       // requests, input_tokens, output_tokens or tokens a minute; concurrent: calls at once
	Amount  int64  `json:"amount"`        // at least 1
	Mode    string `json:"mode,omitzero"` // enforce (the default): calls over it are refused; observe: they are told of
}

// A LimitInput makes a limit, or changes the one with the same scope and measure.
type LimitInput struct {
	ScopeInput
	Rate
}

// A Limit is a rate for a scope.
type Limit struct {
	ID string `json:"id"`
	Scope
	Rate
	Set time.Time `json:"set"` // when it was set last
}

func (r Rate) rate() limit.Rate {
	return limit.Rate{Measure: limit.Measure(r.Measure), Amount: r.Amount, Mode: limit.Mode(cmp.Or(r.Mode, string(limit.Enforce)))}
}

func rateOf(r limit.Rate) Rate {
	return Rate{Measure: string(r.Measure), Amount: r.Amount, Mode: string(r.Mode)}
}

func (t tenants) limitOf(l limit.Limit) Limit {
	return Limit{ID: l.ID, Scope: t.scopeOf(l.Scope), Rate: rateOf(l.Rate), Set: l.Set}
}

func (a *API) setLimit(ctx context.Context, _ *call, in LimitInput) (Limit, error) {
	l := limit.Limit{Rate: in.rate()}
	var err error
	if l.Scope, err = a.scope(ctx, in.ScopeInput); err != nil {
		return Limit{}, err
	}
	if err := limit.Refusal(l.Mistakes()); err != nil {
		return Limit{}, err
	}
	if l, err = a.o.Limits.SetLimit(ctx, l); err != nil {
		return Limit{}, err
	}
	return a.changedLimit(ctx, l)
}

func (a *API) deleteLimit(ctx context.Context, c *call) (Limit, error) {
	l, err := a.o.Limits.DeleteLimit(ctx, c.id)
	if err != nil {
		return Limit{}, err
	}
	return a.changedLimit(ctx, l)
}

func (a *API) changedLimit(ctx context.Context, l limit.Limit) (Limit, error) {
	a.limitsChanged(ctx)
	t, err := a.tenants(ctx)
	if err != nil {
		return Limit{}, err
	}
	return t.limitOf(l), nil
}

func (a *API) listLimits(ctx context.Context, c *call) (list[Limit], error) {
	q, err := a.defined(ctx, c)
	if err != nil {
		return list[Limit]{}, err
	}
	rows := slices.DeleteFunc(q.Limits, func(l limit.Limit) bool { return !q.of(l.Project) || l.ID <= q.after })
	return page(rows, q.most, func(l limit.Limit) string { return l.ID }, q.limitOf), nil
}
