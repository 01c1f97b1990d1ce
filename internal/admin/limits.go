package admin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/fault"
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
	OnVersion
}

// LimitsInput are limits that are made or changed together.
type LimitsInput struct {
	Data []LimitInput `json:"data"` // at most 100, each of another scope or measure
}

// maxLimits is how many limits one request sets.
const maxLimits = 100

// A Limit is a rate for a scope.
type Limit struct {
	ID string `json:"id"`
	Scope
	Rate
	Version int64     `json:"version"` // grows with every change
	Set     time.Time `json:"set"`     // when it was set last
}

func (r Rate) rate() limit.Rate {
	return limit.Rate{Measure: limit.Measure(r.Measure), Amount: r.Amount, Mode: limit.Mode(cmp.Or(r.Mode, string(limit.Enforce)))}
}

func rateOf(r limit.Rate) Rate {
	return Rate{Measure: string(r.Measure), Amount: r.Amount, Mode: string(r.Mode)}
}

func (t tenants) limitOf(l limit.Limit) Limit {
	return Limit{ID: l.ID, Scope: t.scopeOf(l.Scope), Rate: rateOf(l.Rate), Version: l.Version, Set: l.Set}
}

func (a *API) setLimit(ctx context.Context, _ *call, in LimitInput) (Limit, error) {
	l := limit.Limit{Rate: in.rate()}
	var err error
	if l.Scope, err = a.scope(ctx, in.ScopeInput); err != nil {
		return Limit{}, err
	}
	was, wrong := in.was("")
	if err := limit.Refusal(append(l.Mistakes(), wrong...)); err != nil {
		return Limit{}, err
	}
	if l, err = a.o.Limits.SetLimit(ctx, l, was); err != nil {
		return Limit{}, err
	}
	return a.changedLimit(ctx, l)
}

func (a *API) setLimits(ctx context.Context, _ *call, in LimitsInput) (list[Limit], error) {
	if n := len(in.Data); n == 0 || n > maxLimits {
		return list[Limit]{}, badParam("data", "data has %d limits; send from 1 to %d.", n, maxLimits)
	}
	all, was := make([]limit.Limit, len(in.Data)), make([]limit.Was, len(in.Data))
	var problems []fault.Problem
	for i := range in.Data {
		var err error
		all[i].Rate = in.Data[i].rate()
		if all[i].Scope, err = a.scope(ctx, in.Data[i].ScopeInput); err != nil {
			return list[Limit]{}, err
		}
		for _, p := range all[i].Mistakes() {
			p.Path = fmt.Sprintf("data[%d].%s", i, p.Path)
			problems = append(problems, p)
		}
		var wrong []fault.Problem
		was[i], wrong = in.Data[i].was(fmt.Sprintf("data[%d].", i))
		problems = append(problems, wrong...)
		same := func(other limit.Limit) bool { return other.Scope == all[i].Scope && other.Measure == all[i].Measure }
		if first := slices.IndexFunc(all[:i], same); first >= 0 {
			problems = append(problems, fault.Problem{Path: fmt.Sprintf("data[%d]", i), Text: fmt.Sprintf("it is of the same scope and measure as data[%d]", first)})
		}
	}
	if err := limit.Refusal(problems); err != nil {
		return list[Limit]{}, err
	}
	all, err := a.o.Limits.SetLimits(ctx, all, was)
	if err != nil {
		return list[Limit]{}, err
	}
	a.limitsChanged(ctx)
	t, err := a.tenants(ctx)
	if err != nil {
		return list[Limit]{}, err
	}
	out := list[Limit]{Data: make([]Limit, len(all))}
	for i := range all {
		out.Data[i] = t.limitOf(all[i])
	}
	return out, nil
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
