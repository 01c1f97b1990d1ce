package console

import (
	"context"
	"net/http"
	"net/url"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// pageSize is how many exchanges are on a page.
const pageSize = 50

// maxChoices bounds the projects that a filter offers; others are reached from their own pages.
const maxChoices = 200

var exchangeRanges = []string{"24h", "15m", "1h", "today", "7d", "30d", "month", "last-month", "all", customRange}

// A choice is one of the values that a filter offers.
type choice struct {
	Value, Label string
	Chosen       bool
}

// An exchangesView answers: what just happened, and which went wrong?
type exchangesView struct {
	Filters  exchangeFilters
	Period   period
	Rows     []exchangeRow
	Older    string // address of the next page, "" at the end
	Newest   string // address of the first page, "" if this is it
	Filtered bool
	Behind   bool
}

type exchangeFilters struct {
	Projects, Ranges, Statuses                    []choice
	Key, KeyName, Model, Target, User, Tag, Trace string
}

type exchangeRow struct {
	*usage.Record
	ProjectName, KeyName string
}

// Cost is the exchange's money as a cell shows it.
func (r exchangeRow) Cost() string {
	switch {
	case r.Unpriced:
		return figure.Unpriced
	case r.CostUnknown():
		return figure.Unknown
	case r.CostNano == 0 && r.Usage.Input+r.Usage.Output == 0:
		return figure.None
	}
	return figure.Money(r.CostNano)
}

// Class is how the exchange went: ok, warn if it took more than one try, bad.
func (r exchangeRow) Class() string {
	switch {
	case r.Error != nil || r.Replayed:
		return "bad"
	case r.FailedTries() > 0:
		return "warn"
	}
	return "ok"
}

// Outcome is the same in a word.
func (r exchangeRow) Outcome() string {
	switch {
	case r.Error != nil && r.Error.Code == string(fault.ClientGone):
		return "client left"
	case r.Error != nil && r.Status < 400 && r.Status > 0:
		return "broke off"
	case r.Replayed:
		return "unknown"
	case r.Error != nil:
		return "failed"
	case r.FailedTries() > 0:
		return "ok after failure"
	}
	return "ok"
}

var statusChoices = []choice{
	{"", "any status", false}, {"ok", "answered", false}, {"error", "failed", false}, {"4xx", "4xx: the caller's", false}, {"5xx", "5xx: not the caller's", false},
	{"429", "429: over a limit", false}, {"499", "499: the client left", false},
}

func (c *Console) exchanges(v *visit) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	q := v.r.URL.Query()
	p, err := periodOf(v, exchangeRanges, "24h")
	if err != nil {
		return err
	}
	filter := usage.Filter{
		Key: q.Get("key"), Model: q.Get("model"), Target: q.Get("target"), User: q.Get("user"), Tag: q.Get("tag"), Status: q.Get("status"),
		From: p.From, After: q.Get("after"), Limit: pageSize + 1, Project: q.Get("project"),
	}
	if !p.open {
		filter.To = p.To
	}
	if trace := q.Get("trace"); trace != "" {
		var ok bool
		if filter.Trace, ok = w3c.ParseTraceID(trace); !ok {
			f := fault.New(fault.InvalidRequest, "That is not a trace id.")
			f.Param, f.Hint = "trace", "A W3C trace id has 32 hexadecimal digits."
			return f
		}
	}
	data := exchangesView{Period: p, Behind: c.catchUp(ctx)}
	data.Filters, err = c.exchangeFilters(ctx, v, filter, &p)
	if err != nil {
		return err
	}
	records, err := c.o.Records.Records(ctx, filter)
	if err != nil {
		return err
	}
	data.turn(q, len(records), records)
	for _, r := range records[:min(len(records), pageSize)] {
		data.Rows = append(data.Rows, exchangeRow{r, c.o.Keys.Name(r.Project), c.o.Keys.Name(r.Key)})
	}
	for name := range q {
		data.Filtered = data.Filtered || name != "after" && q.Get(name) != ""
	}
	f := c.frame(v, "exchanges", "Exchanges", data)
	f.Command = "penstock explain EXCHANGE"
	return c.send(v, http.StatusOK, "frame.html", f)
}

// turn makes the addresses of the pages before and behind.
func (d *exchangesView) turn(q url.Values, n int, records []*usage.Record) {
	if q.Get("after") != "" {
		q.Del("after")
		d.Newest = "exchanges?" + q.Encode()
	}
	if n > pageSize {
		q.Set("after", records[pageSize-1].ID)
		d.Older = "exchanges?" + q.Encode()
		q.Del("after")
	}
}

func (c *Console) exchangeFilters(ctx context.Context, v *visit, f usage.Filter, p *period) (out exchangeFilters, err error) {
	out = exchangeFilters{Key: f.Key, Model: f.Model, Target: f.Target, User: f.User, Tag: f.Tag, Trace: v.r.URL.Query().Get("trace"), Ranges: p.choices(exchangeRanges)}
	if f.Key != "" {
		out.KeyName = c.o.Keys.Name(f.Key)
	}
	known := false
	for _, s := range statusChoices {
		s.Chosen = s.Value == f.Status
		known = known || s.Chosen
		out.Statuses = append(out.Statuses, s)
	}
	if !known {
		out.Statuses = append(out.Statuses, choice{f.Status, f.Status, true})
	}
	out.Projects, err = c.projectChoices(ctx, v, f.Project)
	return out, err
}

// projectChoices offers the projects.
func (c *Console) projectChoices(ctx context.Context, v *visit, chosen string) ([]choice, error) {
	all := []choice{{"", "all projects", chosen == ""}}
	if !v.may(auth.ReadTenants) {
		return all, nil
	}
	rows, err := c.o.Tenants.Store.Projects(ctx, "", maxChoices)
	if err != nil {
		return nil, err
	}
	found := chosen == ""
	for _, p := range rows {
		all = append(all, choice{p.ID, p.Name, p.ID == chosen})
		found = found || p.ID == chosen
	}
	if !found {
		all = append(all, choice{chosen, c.o.Keys.Name(chosen), true})
	}
	return all, nil
}
