package admin

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

// settle waits for the records of all that has been answered, so that one who got an answer finds its record.
func (a *API) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := a.o.Sync(ctx); err != nil {
		f := fault.Wrap(fault.RecordsBehind, err, "Records cannot be read at the moment: they wait in the journal for the store.")
		f.RetryAfter = 2 * time.Second
		return f
	}
	return nil
}

func (a *API) exchange(r *http.Request) (any, error) {
	if err := a.settle(r.Context()); err != nil {
		return nil, err
	}
	return a.o.Records.Record(r.Context(), "", r.PathValue("id"))
}

func (a *API) listExchanges(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	q := r.URL.Query()
	f := usage.Filter{
		Key: q.Get("key"), Model: q.Get("model"), Target: q.Get("target"), User: q.Get("user"), Tag: q.Get("tag"),
		Status: q.Get("status"), After: q.Get("after"), Limit: limit + 1,
	}
	if f.Project, err = a.projectID(r.Context(), q.Get("project")); err != nil {
		return nil, err
	}
	if f.From, err = when(q.Get("from"), time.Time{}); err != nil {
		return nil, err
	}
	if f.To, err = when(q.Get("to"), time.Time{}); err != nil {
		return nil, err
	}
	if err := a.settle(r.Context()); err != nil {
		return nil, err
	}
	rows, err := a.o.Records.Records(r.Context(), f)
	if err != nil {
		return nil, err
	}
	return cut(rows, limit, func(r *usage.Record) string { return r.ID }, func(r *usage.Record) *usage.Record { return r }), nil
}

// projectID lets callers name a project by id or name; "" is all.
func (a *API) projectID(ctx context.Context, nameOrID string) (string, error) {
	if nameOrID == "" {
		return "", nil
	}
	p, err := a.o.Tenants.Store.FindProject(ctx, "", nameOrID)
	return p.ID, err
}

// when reads an instant: RFC 3339, or a day, which is its start in UTC.
func when(s string, otherwise time.Time) (time.Time, error) {
	if s == "" {
		return otherwise, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fault.New(fault.InvalidRequest, "%q is not an instant; send 2026-11-24 or 2026-11-24T09:00:00Z.", s)
}

// Columns by which usage can be summed.
var columns = []string{"org", "project", "key", "user", "model", "target", "tag", "day"}

func (a *API) usage(r *http.Request) (any, error) {
	q := r.URL.Query()
	now := a.o.Now().UTC()
	query := usage.Query{By: strings.Split(q.Get("group_by"), ",")}
	if q.Get("group_by") == "" {
		query.By = []string{"model"}
	}
	for i, by := range query.By {
		if !slices.Contains(columns, by) || slices.Contains(query.By[:i], by) {
			return nil, fault.New(fault.InvalidRequest, "group_by has %q; send some of %s, each once.", by, strings.Join(columns, ", "))
		}
	}
	var err error
	if query.From, err = when(q.Get("from"), time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)); err != nil {
		return nil, err
	}
	if query.To, err = when(q.Get("to"), now.Add(time.Second)); err != nil {
		return nil, err
	}
	if query.Project, err = a.projectID(r.Context(), q.Get("project")); err != nil {
		return nil, err
	}
	if err := a.settle(r.Context()); err != nil {
		return nil, err
	}
	sums, err := a.o.Records.Sums(r.Context(), query)
	if err != nil {
		return nil, err
	}
	out := Usage{From: query.From.Format(time.RFC3339), To: query.To.Format(time.RFC3339), GroupBy: query.By, Data: sums, Names: map[string]string{}}
	if out.Data == nil {
		out.Data = []usage.Sum{}
	}
	return out, a.name(r.Context(), &out)
}

// name gives the sums of projects and keys their names.
func (a *API) name(ctx context.Context, out *Usage) error {
	_, projects, keys, err := a.o.Tenants.Store.AllKeys(ctx)
	if err != nil {
		return err
	}
	for _, s := range out.Data {
		for _, by := range []string{"project", "key"} {
			if id := s.Group[by]; id != "" {
				out.Names[id] = nameOf(id, projects, keys)
			}
		}
	}
	return nil
}

func nameOf(id string, projects []auth.Project, keys []auth.Key) string {
	for _, p := range projects {
		if p.ID == id {
			return p.Name
		}
	}
	for _, k := range keys {
		switch {
		case k.ID == id && k.Name != "":
			return k.Name
		case k.ID == id:
			return k.Prefix
		}
	}
	return id
}

func (a *API) routes(*http.Request) (any, error) { return list[Route]{Data: a.o.Routes()}, nil }

func (a *API) status(*http.Request) (any, error) { return a.o.Status(), nil }

// listPrices lists what the models in use cost, and every price that an operator set besides.
func (a *API) listPrices(r *http.Request) (any, error) {
	out := list[Price]{Data: []Price{}}
	seen := map[string]bool{}
	add := func(p Price) {
		if !seen[p.Target] && (r.URL.Query().Get("missing") != "true" || p.Unpriced) {
			out.Data = append(out.Data, p)
		}
		seen[p.Target] = true
	}
	for _, o := range a.o.Catalog.Overrides() {
		p := PriceOf(o.Target, o.Price)
		p.Source, p.Set = o.Source, instant(o.Set)
		add(p)
	}
	for _, route := range a.o.Routes() {
		for _, t := range route.Targets {
			if t.Price == nil {
				add(Price{Target: t.Target, Unpriced: true})
				continue
			}
			add(*t.Price)
		}
	}
	slices.SortFunc(out.Data, func(x, y Price) int { return strings.Compare(x.Target, y.Target) })
	return out, nil
}

func (a *API) setPrices(r *http.Request) (any, error) {
	var in list[Price]
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if len(in.Data) == 0 {
		return nil, fault.New(fault.InvalidRequest, "data is empty; send at least one price.")
	}
	overrides := make([]catalog.Override, len(in.Data))
	for i, p := range in.Data {
		o, err := overrideOf(p)
		if err != nil {
			return nil, fault.New(fault.InvalidRequest, "data[%d]: %v. Nothing was changed.", i, err)
		}
		o.Set = a.o.Now()
		overrides[i] = o
	}
	if err := a.o.Catalog.Set(r.Context(), overrides); err != nil {
		return nil, err
	}
	out := list[Price]{}
	for _, o := range overrides {
		p := PriceOf(o.Target, o.Price)
		p.Source, p.Set = o.Source, instant(o.Set)
		out.Data = append(out.Data, p)
	}
	return out, nil
}

func overrideOf(p Price) (catalog.Override, error) {
	target, ok := llm.ParseTarget(p.Target)
	if !ok {
		return catalog.Override{}, fault.Problem{Path: "target", Text: "not PROVIDER/MODEL"}
	}
	o := catalog.Override{Target: target, Source: "set"}
	if p.Source != "" {
		o.Source = p.Source
	}
	var rates [4]*llm.Rate
	for i, part := range [...]struct {
		name, text string
		must       bool
	}{{"input", p.Input, true}, {"output", p.Output, true}, {"cached_input", p.CachedInput, false}, {"cache_write", p.CacheWrite, false}} {
		if part.text == "" && part.must {
			return o, fault.Problem{Path: part.name, Text: "is missing", Hint: "write 0 if it is free"}
		}
		if part.text == "" {
			continue
		}
		rate, err := llm.ParseRate(part.text)
		if err != nil {
			return o, fault.Problem{Path: part.name, Text: err.Error()}
		}
		rates[i] = &rate
	}
	o.Price = catalog.NewPrice(*rates[0], *rates[1], rates[2], rates[3])
	if problems := catalog.CheckPrice(o.Price); len(problems) > 0 {
		return o, problems[0]
	}
	return o, nil
}
