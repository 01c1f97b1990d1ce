package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

const (
	// topSeries is how many groups a plot tells apart; the rest is one more.
	topSeries = 5
	// maxRows is how many groups a table shows; the CSV has all.
	maxRows = 100
)

var usageRanges = []string{"today", "24h", "7d", "30d", "month", "last-month", "all", customRange}

// A dimension is something by which usage is told apart.
type dimension struct {
	Name, Label string
	next        string // what one asks next about one of its values
	filter      string // the page of exchanges filters by it under this name; "" if it cannot
}

var dimensionsOfUsage = []dimension{
	{"model", "model asked for", "project", "model"}, {"target", "target that answered", "model", "target"},
	{"provider", "provider that answered", "target", ""},
	{"project", "project", "key", "project"}, {"key", "key", "model", "key"}, {"user", "end user", "model", "user"},
	{"tag", "tag", "model", "tag"}, {"org", "organisation", "project", ""}, {"day", "day", "", ""}, {"hour", "hour", "", ""},
}

// measures are what a plot of usage can show.
var measures = []choice{{"money", "money", false}, {"tokens", "tokens", false}, {"requests", "requests", false}}

// A usageView answers: who spends what, and is it changing?
type usageView struct {
	Period                             period
	By                                 dimension
	Ranges, Bys, Measures, Projects    []choice
	Chosen                             []chosenName
	Total                              usage.Sum
	Parts                              string // of its usage, "" if providers counted none apart
	Words, Change                      string
	Plot                               plot
	Rows                               []usageRow
	More                               int // groups that are not in Rows
	Rest                               usage.Sum
	Overlap                            bool // a exchange may be in several groups
	Utc                                bool // days are those of UTC though the viewer's are not
	Behind, Empty                      bool
	CSV, StepsCSV, Exchanges, StepName string
	Measure                            string
	LabelNames                         []string
}

// A chosenName is a filter that is set, and the address of the page without it.
type chosenName struct{ Name, Value, Text, Without string }

// A usageRow is a group of the table.
type usageRow struct {
	Text            string // "" is none
	Value           string
	Sum             usage.Sum
	Share, Trend    string
	Bar             string
	Class           string
	Down, Exchanges string // addresses: told apart further, and its exchanges
}

// A usageAsk is what a page of usage was asked for.
type usageAsk struct {
	period  period
	by      dimension
	q       usage.Query // without By
	made    []madeFilter
	measure string
	step    string // day or hour
	months  bool   // days are shown as months
	list    bool   // the viewer may see exchanges
}

func (c *Console) usageAsk(v *visit) (*usageAsk, error) {
	q := v.r.URL.Query()
	p, err := periodOf(v, usageRanges, "month")
	if err != nil {
		return nil, err
	}
	a := &usageAsk{period: p, by: dimensionsOfUsage[0], measure: "money", step: "day", list: v.may(auth.ReadExchanges)}
	if err := a.told(q); err != nil {
		return nil, err
	}
	a.made = madeFiltersOf(q)
	a.q = usage.Query{
		From: p.From, To: p.To, Zone: v.zone, Org: q.Get("org"), Project: q.Get("project"), Key: q.Get("key"), Model: q.Get("model"),
		Target: q.Get("target"), User: q.Get("user"), Tag: q.Get("tag"),
	}
	length := p.To.Sub(p.From)
	switch {
	case a.by.Name == "day" || a.by.Name == "hour":
		a.step = a.by.Name
	case !p.From.IsZero() && length <= 49*time.Hour:
		a.step = "hour"
	}
	if a.step == "hour" && (p.From.IsZero() || length > 32*24*time.Hour) {
		f := fault.New(fault.InvalidRequest, "Hours can be told apart over 32 days at most.")
		f.Param, f.Hint = "by", "Choose a shorter range, or days."
		return nil, f
	}
	a.months = a.step == "day" && a.by.Name != "day" && (p.From.IsZero() || length > 100*24*time.Hour)
	if a.step == "day" && a.many() {
		a.q.Zone = time.UTC // of users and tags there are sums of such days only
	}
	return a, nil
}

// many reports whether groups are of what there may be as many of as exchanges.
func (a *usageAsk) many() bool {
	return a.by.Name == "user" || a.by.Name == "tag" || a.q.User != "" || a.q.Tag != ""
}

func (c *Console) usage(v *visit) error {
	a, err := c.usageAsk(v)
	if err != nil {
		return err
	}
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	data := &usageView{Period: a.period, By: a.by, Measure: a.measure, Ranges: a.period.choices(usageRanges), Behind: c.catchUp(ctx)}
	groups, cells, err := c.usageCells(ctx, a)
	if err != nil {
		return err
	}
	if err := c.fillUsage(ctx, v, a, data, groups, cells); err != nil {
		return err
	}
	f := c.frame(v, "usage", "Usage and money", data)
	f.Command = a.command()
	return c.send(v, http.StatusOK, "frame.html", f)
}

// rest is the value of cells that are not told apart. No text that callers send begins like it.
const rest = "\x00"

// usageCells reads the groups, and what each is step by step. Of users there may be as many as exchanges: then only those that
// the table shows are told apart in each step.
func (c *Console) usageCells(ctx context.Context, a *usageAsk) (groups []group, cells []usage.Sum, err error) {
	columns := []string{a.step}
	if a.by.Name != a.step {
		columns = append(columns, a.by.Name)
	}
	if a.by.Name != "user" || a.q.User != "" {
		cells, err = c.sums(ctx, a, a.q, columns...)
		return groupsOf(cells, a.by.Name), cells, err
	}
	all, err := c.sums(ctx, a, a.q, a.by.Name)
	if err != nil {
		return nil, nil, err
	}
	groups = groupsOf(all, a.by.Name)
	if len(groups) <= topSeries+1 {
		cells, err = c.sums(ctx, a, a.q, columns...)
		return groupsOf(cells, a.by.Name), cells, err
	}
	a.order(groups)
	whole, err := c.sums(ctx, a, a.q, a.step)
	if err != nil {
		return nil, nil, err
	}
	q := a.q
	for _, g := range groups[:min(len(groups), maxRows)] {
		q.Users = append(q.Users, g.value)
	}
	if cells, err = c.sums(ctx, a, q, columns...); err != nil {
		return nil, nil, err
	}
	left := map[string]int64{}
	for _, of := range whole {
		left[of.Group[a.step]] = a.amount(of)
	}
	for _, of := range cells {
		left[of.Group[a.step]] -= a.amount(of)
	}
	for step, n := range left {
		n = max(n, 0) // what came in between two questions
		cells = append(cells, usage.Sum{
			Group: map[string]string{a.step: step, a.by.Name: rest}, Requests: n, CostNano: llm.Money(n), Usage: llm.Usage{Input: n}, // of which one is the amount
		})
	}
	return groups, cells, nil
}

// order puts the largest groups first, and time backwards.
func (a *usageAsk) order(groups []group) {
	if a.by.Name == "day" || a.by.Name == "hour" {
		slices.SortFunc(groups, func(x, y group) int { return strings.Compare(y.value, x.value) })
		return
	}
	slices.SortStableFunc(groups, func(x, y group) int { return cmp.Compare(a.amount(y.sum), a.amount(x.sum)) })
}

// fillUsage makes the page of groups and their steps: the table, the plot and the total are of the same numbers.
func (c *Console) fillUsage(ctx context.Context, v *visit, a *usageAsk, d *usageView, groups []group, cells []usage.Sum) (err error) {
	for _, g := range groups {
		d.Total = d.Total.Plus(g.sum)
	}
	if d.Overlap = a.by.Name == "tag"; d.Overlap {
		whole, err := c.sums(ctx, a, a.q)
		if err != nil {
			return err
		}
		d.Total = whole[0]
	}
	d.Empty = d.Total.Requests == 0
	d.Parts = strings.Join(usage.PartWords(d.Total.Usage), ", ")
	if d.Change, err = c.changeSince(ctx, a, d.Total); err != nil {
		return err
	}
	d.Utc = a.step == "day" && a.many() && v.zone != time.UTC && v.zone.String() != "UTC"
	d.Words = a.period.words()
	a.order(groups)
	s := a.steps(v, cells)
	d.StepName = s.name
	d.Plot = a.draw(c, s, groups)
	for i, g := range groups {
		if i >= maxRows {
			d.More, d.Rest = d.More+1, d.Rest.Plus(g.sum)
			continue
		}
		d.Rows = append(d.Rows, a.row(c, s, g, i, d.Total))
	}
	return c.usageChoices(ctx, v, a, d)
}

// A group is the sum of one value over all steps.
type group struct {
	value string
	sum   usage.Sum
}

// groupsOf puts sums by step and group together by group.
func groupsOf(cells []usage.Sum, by string) (all []group) {
	at := map[string]int{}
	for _, s := range cells {
		value := s.Group[by]
		i, had := at[value]
		if !had {
			i = len(all)
			at[value] = i
			all = append(all, group{value: value})
		}
		all[i].sum = all[i].sum.Plus(s)
	}
	return all
}

// amount is what a sum is measured by.
func (a *usageAsk) amount(s usage.Sum) int64 {
	switch a.measure {
	case "tokens":
		return s.Usage.Add(llm.Usage{Input: s.Usage.Output}).Input
	case "requests":
		return s.Requests
	}
	return int64(s.CostNano)
}

// write writes an amount.
func (a *usageAsk) write(n int64) string {
	switch a.measure {
	case "tokens":
		return figure.Tokens(n)
	case "requests":
		return figure.Count(n)
	}
	return figure.Money(llm.Money(n))
}

// changeSince compares the total with the period before.
func (c *Console) changeSince(ctx context.Context, a *usageAsk, now usage.Sum) (string, error) {
	from, to, words, ok := a.period.before()
	if !ok {
		return "", nil
	}
	q := a.q
	q.From, q.To = from, to
	sums, err := c.sums(ctx, a, q)
	if err != nil || len(sums) == 0 {
		return "", err
	}
	before, after := a.amount(sums[0]), a.amount(now)
	switch change := float64(after-before) / float64(max(before, 1)) * 100; {
	case before == 0:
		return "", nil
	case change >= 1000:
		return "more than ten times " + words, nil
	case change >= .5:
		return "+" + figure.Count(int64(change+.5)) + " % on " + words, nil
	case change <= -.5:
		return "−" + figure.Count(int64(.5-change)) + " % on " + words, nil
	}
	return "as much as " + words, nil
}

// name is how a value of a dimension is shown.
func (c *Console) valueName(by, value string) string {
	switch by {
	case "project", "key":
		return c.o.Keys.Name(value)
	}
	return value
}

func (a *usageAsk) row(c *Console, s *steps, g group, i int, total usage.Sum) usageRow {
	r := usageRow{Value: g.value, Text: c.valueName(a.by.Name, g.value), Sum: g.sum, Class: "rest"}
	if i < topSeries {
		r.Class = "s" + string(rune('1'+i))
	}
	amount, whole := a.amount(g.sum), a.amount(total)
	r.Share, r.Bar = figure.Percent(amount, whole), share(float64(amount), float64(max(whole, 1)))
	if s.count() > 1 && a.by.Name != a.step {
		r.Trend = sparkline(s.values(a, g.value))
	}
	if a.by.Name == a.step {
		r.Text, r.Class = s.label(g.value), ""
		r.Exchanges = s.exchanges(a, g.value)
		return r
	}
	if g.value == "" {
		return r
	}
	r.Down = "usage?" + a.query("by", a.by.next, a.by.Name, g.value).Encode()
	if a.by.filter != "" {
		r.Exchanges = a.exchanges(a.by.filter, g.value)
	}
	return r
}

// exchanges is the address of the exchanges that a number is of, the page's own with some pairs set anew. It is "" if the
// viewer may not see them, or the list cannot be narrowed down to them: it knows no organisations, providers and labels.
func (a *usageAsk) exchanges(pairs ...string) string {
	q := a.query(append([]string{"by", "", "show", "", "org", ""}, pairs...)...)
	wider := false
	for _, f := range a.made {
		q.Del(f.name)
		wider = wider || !f.within(q)
	}
	if !a.list || wider || a.q.Org != "" && q.Get("project") == "" && q.Get("key") == "" {
		return ""
	}
	return "exchanges?" + q.Encode()
}

// query is the page's own, with some pairs set anew; "" leaves one out.
func (a *usageAsk) query(pairs ...string) url.Values {
	show := a.measure
	if show == "money" {
		show = ""
	}
	return pairsOf([]string{"by", a.by.Name, "show", show}, a.period.Query(), a.only(), pairs)
}

// pairsOf makes a query of pairs of names and values, of which later ones replace earlier ones; "" leaves one out.
func pairsOf(lists ...[]string) url.Values {
	q := url.Values{}
	for _, pairs := range lists {
		for i := 0; i+1 < len(pairs); i += 2 {
			if q.Del(pairs[i]); pairs[i+1] != "" {
				q.Set(pairs[i], pairs[i+1])
			}
		}
	}
	return q
}

// only are the filters, as pairs.
func (a *usageAsk) only() []string {
	q := a.q
	only := []string{"org", q.Org, "project", q.Project, "key", q.Key, "model", q.Model, "target", q.Target, "user", q.User, "tag", q.Tag}
	for _, f := range a.made {
		only = append(only, f.name, f.value)
	}
	return only
}

// usageChoices are what can be set on the page, and where else its numbers are to be had.
func (c *Console) usageChoices(ctx context.Context, v *visit, a *usageAsk, d *usageView) (err error) {
	for _, dim := range dimensionsOfUsage {
		if dim.Name == "hour" && a.period.To.Sub(a.period.From) > 32*24*time.Hour {
			continue
		}
		d.Bys = append(d.Bys, choice{dim.Name, dim.Label, dim.Name == a.by.Name})
	}
	for _, m := range measures {
		d.Measures = append(d.Measures, choice{m.Value, m.Label, m.Value == a.measure})
	}
	if d.Projects, err = c.projectChoices(ctx, v, a.q.Project); err != nil {
		return err
	}
	if v.may(auth.ReadTenants) {
		rows, err := c.o.Tenants.Store.Projects(ctx, "", maxChoices)
		if err != nil {
			return err
		}
		names := map[string]bool{}
		for _, p := range rows {
			for name := range p.Labels {
				names[name] = true
			}
		}
		for name := range names {
			d.Bys = append(d.Bys, choice{"label:" + name, "label " + name, "label:"+name == a.by.Name})
		}
		slices.SortFunc(d.Bys[len(d.Bys)-len(names):], func(x, y choice) int { return strings.Compare(x.Value, y.Value) })
	}
	only := a.only()
	for i := 0; i < len(only); i += 2 {
		if name, value := only[i], only[i+1]; value != "" {
			d.Chosen = append(d.Chosen, chosenName{name, value, c.valueName(name, value), "usage?" + a.query(name, "").Encode()})
		}
	}
	d.CSV = "usage.csv?" + a.query("show", "").Encode()
	d.StepsCSV = "usage.csv?" + a.query("show", "", "steps", a.step).Encode()
	d.Exchanges = a.exchanges()
	return nil
}
