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

// columns are what usage can be summed by, beside labels; latencyColumns what latencies can.
var (
	columns        = []string{"org", "project", "key", "user", "model", "target", "provider", "tag", "day", "hour"}
	latencyColumns = []string{"project", "model", "target", "day", "hour"}
)

func (a *API) usage(ctx context.Context, c *call) (Usage, error) {
	q, err := a.usageQuery(ctx, c.query)
	if err != nil {
		return Usage{}, err
	}
	behind, err := a.catchUp(ctx)
	if err != nil {
		return Usage{}, err
	}
	asked := q.By
	q.By = usage.Columns(asked)
	sums, err := a.o.Records.Sums(ctx, q)
	if err != nil {
		return Usage{}, err
	}
	names, label, err := a.names(ctx, sums)
	if err != nil {
		return Usage{}, err
	}
	sums = usage.ByLabels(sums, asked, label)
	return Usage{
		From: q.From, To: q.To, GroupBy: asked,
		Data: append([]usage.Sum{}, sums...), Names: names, Behind: behind,
	}, nil
}

// usageQuery reads what is to be summed: by default this month until now, by model.
func (a *API) usageQuery(ctx context.Context, q query) (out usage.Query, err error) {
	if out.By, err = groupBy(q, columns, "label:NAME"); err != nil {
		return out, err
	}
	if out.From, out.To, err = q.span(); err != nil {
		return out, err
	}
	if name := q["zone"]; name != "" {
		if out.Zone, err = time.LoadLocation(name); err != nil || name == "Local" {
			return out, badParam("zone", "%s is not a zone that is known here; send a name such as Europe/Berlin.", quote(name))
		}
	}
	out.Org, out.Key, out.User, out.Model, out.Target, out.Tag = q["org"], q["key"], q["user"], q["model"], q["target"], q["tag"]
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

// groupBy reads what is told apart: some of known, or labels where more names those, each once; by default models.
func groupBy(q query, known []string, more ...string) ([]string, error) {
	if q["group_by"] == "" {
		return []string{"model"}, nil
	}
	all := strings.Split(q["group_by"], ",")
	for i, by := range all {
		_, label := usage.LabelOf(by)
		times := (by == "day" || by == "hour") && slices.ContainsFunc(all[:i], func(had string) bool { return had == "day" || had == "hour" })
		if !slices.Contains(known, by) && !(label && len(more) > 0) || slices.Contains(all[:i], by) || times {
			return nil, badParam("group_by", "group_by has %s; send some of %s, each once, and only one of day and hour.",
				quote(by), strings.Join(slices.Concat(known, more), ", "))
		}
	}
	return all, nil
}

// names gives the projects and keys in sums their names by their ids, and what the labels of those projects are.
func (a *API) names(ctx context.Context, sums []usage.Sum) (names map[string]string, label func(project, label string) string, err error) {
	names, labels := map[string]string{}, map[string]map[string]string{}
	label = func(project, name string) string { return labels[project][name] }
	for _, s := range sums {
		for _, by := range []string{"project", "key"} {
			if id := s.Group[by]; id != "" {
				names[id] = id
			}
		}
	}
	if len(names) == 0 {
		return names, label, nil
	}
	_, projects, keys, err := a.o.Tenants.Store.AllKeys(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range projects {
		if names[p.ID] != "" {
			names[p.ID], labels[p.ID] = p.Name, p.Labels
		}
	}
	for _, k := range keys {
		if names[k.ID] != "" {
			names[k.ID] = k.Name
		}
	}
	return names, label, nil
}

// latency tells how long answers took: by default those of the last 24 hours, by model.
func (a *API) latency(ctx context.Context, c *call) (Latencies, error) {
	by, err := groupBy(c.query, latencyColumns)
	if err != nil {
		return Latencies{}, err
	}
	q := usage.LatencyQuery{By: by, Model: c.query["model"], Target: c.query["target"]}
	if q.From, q.To, err = c.query.span(); err != nil {
		return Latencies{}, err
	}
	now := a.o.Now().UTC()
	if q.To.IsZero() {
		q.To = now.Truncate(time.Second).Add(time.Second)
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-24 * time.Hour)
	}
	if err := checkSpan(q.From, q.To); err != nil {
		return Latencies{}, err
	}
	if q.Project, err = a.projectID(ctx, c.query["project"]); err != nil {
		return Latencies{}, err
	}
	behind, err := a.catchUp(ctx)
	if err != nil {
		return Latencies{}, err
	}
	all, err := a.o.Records.Latencies(ctx, q)
	if err != nil {
		return Latencies{}, err
	}
	groups := make([]usage.Sum, len(all))
	for i, l := range all {
		groups[i].Group = l.Group
	}
	names, _, err := a.names(ctx, groups)
	if err != nil {
		return Latencies{}, err
	}
	return Latencies{From: q.From, To: q.To, GroupBy: by, Data: append([]usage.Latency{}, all...), Names: names, Behind: behind}, nil
}

func (a *API) routes(context.Context, *call) (list[Route], error) {
	return list[Route]{Data: a.o.Routes()}, nil
}

func (a *API) replicas(ctx context.Context, _ *call) (list[Replica], error) {
	all, err := a.o.Replicas(ctx)
	return list[Replica]{Data: all}, err
}

func (a *API) status(context.Context, *call) (Status, error) { return a.o.Status(), nil }
