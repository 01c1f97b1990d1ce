package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/usage"
)

// A demoSummary is what the demo shows at its end. Its JSON is for scripts.
type demoSummary struct {
	Seconds      float64     `json:"seconds"`
	Requests     int64       `json:"requests"`
	ClientErrors int64       `json:"client_errors"`
	Hidden       int64       `json:"hidden_failures"` // answered, after a try had failed
	Keys         []usage.Sum `json:"keys"`
	Models       []usage.Sum `json:"models"`
	// LedgerNano is the money in Penstock's records, BillNano what the providers charged; Records counts the records.
	LedgerNano llm.Money `json:"ledger_nano"`
	BillNano   llm.Money `json:"bill_nano"`
	Records    int64     `json:"records"`
	OverheadNS struct {
		P50 int64 `json:"p50"`
		P99 int64 `json:"p99"`
	} `json:"overhead_ns"`
	FirstTokenNS struct {
		P50 int64 `json:"p50"`
		P99 int64 `json:"p99"`
	} `json:"first_token_ns"`
	Outage struct {
		Provider string  `json:"provider"`
		Seconds  float64 `json:"seconds"`
		Failed   int64   `json:"failed_tries"`
	} `json:"outage"`
	Data string `json:"data"`
	Look string `json:"look"` // an exchange worth explaining
}

// makeKey makes a project with one key of the same name.
func (c *adminClient) makeKey(ctx context.Context, project string) (string, error) {
	if err := c.call(ctx, http.MethodPost, "/projects", nil, admin.ProjectInput{Name: project}, nil); err != nil {
		return "", err
	}
	var key admin.NewKey
	err := c.call(ctx, http.MethodPost, "/keys", nil, admin.KeyInput{Project: project, Name: project}, &key)
	return key.Key, err
}

// setPrices gives Penstock the prices that simulated providers charge.
func (c *adminClient) setPrices(ctx context.Context, providers sim.Config) error {
	prices := admin.PricesInput{}
	for name, p := range providers.Providers {
		for model, m := range p.Models {
			price := admin.PriceInput{Target: name + "/" + model, Input: m.Price.Input, Output: m.Price.Output, CachedInput: m.Price.Cached}
			if price.Output == "" {
				price.Output = "0"
			}
			prices.Data = append(prices.Data, price)
		}
	}
	return c.call(ctx, http.MethodPut, "/prices", nil, prices, nil)
}

// summary reads the books, Penstock's and the providers'.
func (t *theatre) summary(ctx context.Context) (*demoSummary, error) {
	waiting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := t.sim.Idle(waiting); err != nil {
		return nil, fail(exitFailure, "", "The simulated providers do not come to rest: %v", err)
	}
	out := &demoSummary{
		Seconds: time.Since(t.begun).Seconds(), Requests: t.seen.sent, ClientErrors: t.seen.failed, Hidden: t.seen.hidden,
		Data: t.dir, Look: t.saved, BillNano: t.sim.Bill().Total.Cost,
	}
	out.Outage.Provider, out.Outage.Seconds = "sim-a", t.outage.length.Seconds()
	for by, into := range map[string]*[]usage.Sum{"key": &out.Keys, "model": &out.Models} {
		var u admin.Usage
		if err := t.client.call(ctx, http.MethodGet, "/usage", url.Values{"group_by": {by}}, nil, &u); err != nil {
			return nil, err
		}
		*into = named(u, by)
	}
	for _, s := range out.Models {
		out.LedgerNano += s.CostNano
		out.Records += s.Requests
	}
	if t.saved != "" {
		t.look = &usage.Record{}
		if err := t.client.call(ctx, http.MethodGet, "/exchanges/"+url.PathEscape(t.saved), nil, nil, t.look); err != nil {
			return nil, err
		}
	}
	out.FirstTokenNS.P50, out.FirstTokenNS.P99 = t.hits.first.ValueAtQuantile(50), t.hits.first.ValueAtQuantile(99)
	return out, t.overhead(ctx, out)
}

// named replaces ids by names and puts the largest first.
func named(u admin.Usage, by string) []usage.Sum {
	for i, s := range u.Data {
		if n := u.Names[s.Group[by]]; n != "" {
			u.Data[i].Group = map[string]string{by: n}
		}
	}
	slices.SortFunc(u.Data, func(x, y usage.Sum) int { return int(y.Requests - x.Requests) })
	return u.Data
}

// overhead reads Penstock's own time from the last records, and counts the failed tries of the outage.
func (t *theatre) overhead(ctx context.Context, out *demoSummary) error {
	var own []int64
	query := url.Values{"limit": {"1000"}}
	const most = 20_000 // records are enough for a p99
	for len(own) < most {
		var p page[usage.Record]
		if err := t.client.call(ctx, http.MethodGet, "/exchanges", query, nil, &p); err != nil {
			return err
		}
		for _, r := range p.Data {
			own = append(own, r.Timings.OverheadNS)
			for _, try := range r.Tries {
				if try.Reason != "ok" {
					out.Outage.Failed++
				}
			}
		}
		if p.Next == "" {
			break
		}
		query.Set("after", p.Next)
	}
	slices.Sort(own)
	if len(own) > 0 {
		out.OverheadNS.P50, out.OverheadNS.P99 = own[len(own)/2], own[len(own)*99/100]
	}
	return nil
}

// printDemo prints the summary, and fails if the books do not agree or callers saw errors.
func (a *app) printDemo(f *demoFlags, t *theatre, s *demoSummary) error {
	if f.json {
		if err := a.printJSON(s); err != nil {
			return err
		}
		return demoVerdict(s)
	}
	p := func(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }
	p("%s", a.paint(a.tty, bold, fmt.Sprintf("%s requests answered, %d errors seen by callers.", figure.Count(t.seen.answered), s.ClientErrors)))
	for _, line := range t.seen.errorLines() {
		p("%s", line)
	}
	if s.Outage.Failed > 0 {
		p("%s was down for %s: %s tries failed and went to the next target instead.", s.Outage.Provider,
			figure.Duration(time.Duration(s.Outage.Seconds*float64(time.Second))), figure.Count(s.Outage.Failed))
	}
	p("Penstock's own time p50 %s, p99 %s; first token p50 %s, p99 %s.", figure.Duration(time.Duration(s.OverheadNS.P50)),
		figure.Duration(time.Duration(s.OverheadNS.P99)), figure.Duration(time.Duration(s.FirstTokenNS.P50)), figure.Duration(time.Duration(s.FirstTokenNS.P99)))
	p("")
	if err := a.demoTable("KEY", "key", s.Keys); err != nil {
		return err
	}
	p("")
	if err := a.demoTable("MODEL", "model", s.Models); err != nil {
		return err
	}
	p("")
	p("Money check: Penstock's records $%s, the providers' own bill $%s.", s.LedgerNano, s.BillNano)
	if s.Look != "" {
		p("")
		p("A call that fallback saved (penstock explain %s):", s.Look)
		a.explain(a.out, t.look)
	}
	p("")
	p("Data in %s.   Next: penstock serve -c %s/penstock.yaml, and beside it: penstock usage --by key,model -c %s/penstock.yaml", s.Data, s.Data, s.Data)
	return demoVerdict(s)
}

func (a *app) demoTable(head, by string, sums []usage.Sum) error {
	t := table{head: []string{head, "REQUESTS", "TOKENS IN", "TOKENS OUT", "COST"}, right: []string{"REQUESTS", "TOKENS IN", "TOKENS OUT", "COST"}}
	var total usage.Sum
	for _, s := range sums {
		t.add("  "+s.Group[by], figure.Count(s.Requests), figure.Tokens(s.Usage.Input), figure.Tokens(s.Usage.Output), figure.Fixed(s.CostNano, 4))
		total.Requests += s.Requests
		total.CostNano += s.CostNano
		total.Usage = total.Usage.Add(s.Usage)
	}
	t.add("  total", figure.Count(total.Requests), figure.Tokens(total.Usage.Input), figure.Tokens(total.Usage.Output), figure.Fixed(total.CostNano, 4))
	t.head[0] = "  " + head
	return t.print(a.out)
}

// demoVerdict makes the demo a test too.
func demoVerdict(s *demoSummary) error {
	switch {
	case s.ClientErrors > 0:
		return fail(exitFailure, "", "%d callers saw errors.", s.ClientErrors)
	case s.LedgerNano != s.BillNano:
		return fail(exitFailure, "this is a defect of Penstock: report it with --seed and the directory", "The records say $%s and the bill says $%s.", s.LedgerNano, s.BillNano)
	case s.Records != s.Requests:
		return fail(exitFailure, "this is a defect of Penstock: report it with --seed and the directory", "%d requests have %d records.", s.Requests, s.Records)
	}
	return nil
}
