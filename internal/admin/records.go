package admin

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

func (a *API) exchange(ctx context.Context, c *call) (*usage.Record, error) {
	behind := a.settle(ctx)
	r, err := a.o.Records.Record(ctx, "", c.id)
	if err != nil && behind != nil {
		return nil, behind // it may be one of those that wait
	}
	return r, err
}

func (a *API) listExchanges(ctx context.Context, c *call) (list[*usage.Record], error) {
	none := list[*usage.Record]{}
	limit, err := c.query.limit()
	if err != nil {
		return none, err
	}
	q := c.query
	f := usage.Filter{
		Key: q["key"], Model: q["model"], Target: q["target"], User: q["user"], Tag: q["tag"], Status: q["status"],
		After: q["after"], Limit: limit + 1,
	}
	if q["trace"] != "" {
		var ok bool
		if f.Trace, ok = w3c.ParseTraceID(q["trace"]); !ok {
			return none, badParam("trace", "%s is not a trace id; send its 32 hexadecimal digits.", quote(q["trace"]))
		}
	}
	if f.From, f.To, err = q.span(); err != nil {
		return none, err
	}
	if f.Project, err = a.projectID(ctx, q["project"]); err != nil {
		return none, err
	}
	behind, err := a.catchUp(ctx)
	if err != nil {
		return none, err
	}
	rows, err := a.o.Records.Records(ctx, f)
	if err != nil {
		return none, err
	}
	same := func(r *usage.Record) *usage.Record { return r }
	out := page(rows, limit, func(r *usage.Record) string { return r.ID }, same)
	out.Behind = behind
	return out, nil
}

// columns are what usage can be summed by.
var columns = []string{"org", "project", "key", "user", "model", "target", "tag", "day"}

func (a *API) usage(ctx context.Context, c *call) (Usage, error) {
	q, err := a.usageQuery(ctx, c.query)
	if err != nil {
		return Usage{}, err
	}
	behind, err := a.catchUp(ctx)
	if err != nil {
		return Usage{}, err
	}
	sums, err := a.o.Records.Sums(ctx, q)
	if err != nil {
		return Usage{}, err
	}
	names, err := a.names(ctx, sums)
	if err != nil {
		return Usage{}, err
	}
	return Usage{
		From: q.From, To: q.To, GroupBy: q.By,
		Data: append([]usage.Sum{}, sums...), Names: names, Behind: behind,
	}, nil
}

// usageQuery reads what is to be summed: by default this month until now, by model.
func (a *API) usageQuery(ctx context.Context, q query) (out usage.Query, err error) {
	out.By = []string{"model"}
	if q["group_by"] != "" {
		out.By = strings.Split(q["group_by"], ",")
	}
	for i, by := range out.By {
		if !slices.Contains(columns, by) || slices.Contains(out.By[:i], by) {
			return out, badParam("group_by", "group_by has %s; send some of %s, each once.", quote(by), strings.Join(columns, ", "))
		}
	}
	if out.From, out.To, err = q.span(); err != nil {
		return out, err
	}
	now := a.o.Now().UTC()
	if out.From.IsZero() {
		out.From = time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	if out.To.IsZero() {
		out.To = now.Truncate(time.Second).Add(time.Second)
	}
	if err := checkSpan(out.From, out.To); err != nil {
		return out, err
	}
	out.Project, err = a.projectID(ctx, q["project"])
	return out, err
}

// names gives the projects and keys in sums their names by their ids.
func (a *API) names(ctx context.Context, sums []usage.Sum) (map[string]string, error) {
	out := map[string]string{}
	for _, s := range sums {
		for _, by := range []string{"project", "key"} {
			if id := s.Group[by]; id != "" {
				out[id] = id
			}
		}
	}
	if len(out) == 0 {
		return out, nil
	}
	_, projects, keys, err := a.o.Tenants.Store.AllKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range projects {
		if out[p.ID] != "" {
			out[p.ID] = p.Name
		}
	}
	for _, k := range keys {
		if out[k.ID] != "" {
			out[k.ID] = k.Name
		}
	}
	return out, nil
}

func (a *API) routes(context.Context, *call) (list[Route], error) {
	return list[Route]{Data: a.o.Routes()}, nil
}

func (a *API) replicas(ctx context.Context, _ *call) (list[Replica], error) {
	all, err := a.o.Replicas(ctx)
	return list[Replica]{Data: all}, err
}

func (a *API) status(context.Context, *call) (Status, error) { return a.o.Status(), nil }
