package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/usage"
)

var latencyRanges = []string{"1h", "24h", "7d", "30d", customRange}

var latencyBys = []dimension{
	{"model", "model asked for", "target", "model"}, {"target", "target that answered", "model", "target"}, {"project", "project", "model", "project"},
}

// A latencyPart is one of the durations of which there are percentiles. name is that of penstock latency --of.
type latencyPart struct {
	name, label, means string
	of                 func(*usage.Latency) usage.Quantiles
}

var latencyParts = []latencyPart{
	{"total", "whole answer", "until the last event", func(l *usage.Latency) usage.Quantiles { return l.Total }},
	{"first-token", "first token", "of streams, until there was something to read", func(l *usage.Latency) usage.Quantiles { return l.First }},
	{"own", "Penstock's own time", "the whole less all tries at providers", func(l *usage.Latency) usage.Quantiles { return l.Overhead }},
	{"per-token", "output token", "of streams, between two tokens after the first", func(l *usage.Latency) usage.Quantiles { return l.PerToken }},
}

// A latencyView answers: how long do callers wait, for whom, and since when?
type latencyView struct {
	Period                       period
	By                           dimension
	Part, Means                  string
	Ranges, Bys, Parts, Projects []choice
	Chosen                       []chosenName
	All                          usage.Latency
	Of                           usage.Quantiles // of All, the part that is shown
	Percentiles, Groups          plot
	Rows                         []latencyRow
	More                         int
	Behind, Empty                bool
	CSV, Words                   string
}

// A latencyRow is a group of the table. Its bar goes from the median to the 95th percentile, the line on to the 99th.
type latencyRow struct {
	Text, Class        string
	Of                 usage.Quantiles
	First, Own         usage.Quantiles
	BarX, BarWidth, To string
	Down, Exchanges    string
}

// A latencyAsk is what a page of latencies was asked for.
type latencyAsk struct {
	period period
	by     dimension
	part   latencyPart
	q      usage.LatencyQuery // without By
	step   string
}

func latencyAskOf(v *visit) (*latencyAsk, error) {
	q := v.r.URL.Query()
	p, err := periodOf(v, latencyRanges, "24h")
	if err != nil {
		return nil, err
	}
	a := &latencyAsk{period: p, by: latencyBys[0], part: latencyParts[0], step: "day"}
	for _, by := range latencyBys {
		if by.Name == q.Get("by") {
			a.by = by
		}
	}
	for _, part := range latencyParts {
		if part.name == q.Get("of") {
			a.part = part
		}
	}
	switch length := p.To.Sub(p.From); {
	case length <= 2*time.Hour:
		a.step = "minute"
	case length <= 49*time.Hour:
		a.step = "hour"
	}
	a.q = usage.LatencyQuery{From: p.From, To: p.To, Project: q.Get("project"), Model: q.Get("model"), Target: q.Get("target")}
	return a, nil
}

func (a *latencyAsk) read(ctx context.Context, s usage.Store, by ...string) ([]usage.Latency, error) {
	q := a.q
	q.By = by
	return s.Latencies(ctx, q)
}

func (c *Console) latency(v *visit) error {
	a, err := latencyAskOf(v)
	if err != nil {
		return err
	}
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	d := &latencyView{
		Period: a.period, By: a.by, Part: a.part.label, Means: a.part.means, Ranges: a.period.choices(latencyRanges), Words: a.period.words(), Behind: c.catchUp(ctx),
	}
	if err := c.fillLatency(ctx, v, a, d); err != nil {
		return err
	}
	f := c.frame(v, "latency", "Latency", d)
	f.Command = a.command()
	return c.send(v, http.StatusOK, "frame.html", f)
}

func (c *Console) fillLatency(ctx context.Context, v *visit, a *latencyAsk, d *latencyView) error {
	whole, err := a.read(ctx, c.o.Records)
	if err != nil {
		return err
	}
	if d.Empty = len(whole) == 0; !d.Empty {
		d.All = whole[0]
		d.Of = a.part.of(&d.All)
		if err := c.readLatency(ctx, v, a, d); err != nil {
			return err
		}
	}
	for _, by := range latencyBys {
		d.Bys = append(d.Bys, choice{by.Name, by.Label, by.Name == a.by.Name})
	}
	for _, p := range latencyParts {
		d.Parts = append(d.Parts, choice{p.name, p.label, p.name == a.part.name})
	}
	only := a.only()
	for i := 0; i < len(only); i += 2 {
		if name, value := only[i], only[i+1]; value != "" {
			d.Chosen = append(d.Chosen, chosenName{name, value, c.valueName(name, value), "latency?" + a.query(name, "").Encode()})
		}
	}
	d.CSV = "latency.csv?" + a.query("of", "").Encode()
	d.Projects, err = c.projectChoices(ctx, v, a.q.Project)
	return err
}

// readLatency reads the groups, and how all of them and the most used went over time.
func (c *Console) readLatency(ctx context.Context, v *visit, a *latencyAsk, d *latencyView) error {
	groups, err := a.read(ctx, c.o.Records, a.by.Name)
	if err != nil {
		return err
	}
	groups = slices.DeleteFunc(groups, func(l usage.Latency) bool { return a.part.of(&l).Count == 0 })
	slices.SortStableFunc(groups, func(x, y usage.Latency) int { return cmp.Compare(a.part.of(&y).Count, a.part.of(&x).Count) })
	longest := int64(1)
	for i := range groups[:min(len(groups), maxRows)] {
		longest = max(longest, a.part.of(&groups[i]).P99)
	}
	for i := range groups {
		if i >= maxRows {
			d.More++
			continue
		}
		d.Rows = append(d.Rows, a.row(c, &groups[i], i, len(groups), longest))
	}
	over, err := a.read(ctx, c.o.Records, a.step)
	if err != nil {
		return err
	}
	s := a.steps(v)
	d.Percentiles = a.percentiles(s, over)
	if len(groups) < 2 {
		return nil
	}
	if over, err = a.read(ctx, c.o.Records, a.step, a.by.Name); err != nil {
		return err
	}
	d.Groups = a.groups(c, s, groups, over)
	return nil
}

func (a *latencyAsk) row(c *Console, l *usage.Latency, i, n int, longest int64) latencyRow {
	value, of := l.Group[a.by.Name], a.part.of(l)
	r := latencyRow{Text: c.valueName(a.by.Name, value), Of: of, First: l.First, Own: l.Overhead}
	if n > 1 {
		r.Class = seriesClass(i)
	}
	at := func(ns int64) string { return share(float64(ns), float64(longest)) }
	r.BarX, r.BarWidth, r.To = at(of.P50), at(max(of.P95-of.P50, longest/200)), at(of.P99)
	if value == "" {
		return r
	}
	r.Down = "latency?" + a.query("by", a.by.next, a.by.Name, value).Encode()
	r.Exchanges = "exchanges?" + a.query("by", "", "of", "", a.by.filter, value).Encode()
	return r
}

// steps are the spans of time of the page.
func (a *latencyAsk) steps(v *visit) *steps {
	s := &steps{name: a.step, at: map[string]int{}, zone: v.zone}
	form, width := time.RFC3339, time.Minute
	switch a.step {
	case "hour":
		width = time.Hour
	case "day":
		form, width = time.DateOnly, 24*time.Hour
	}
	if a.step != "day" {
		s.width = width
	}
	for at := a.period.From.UTC().Truncate(width); at.Before(a.period.To) && len(s.keys) < maxSteps; at = at.Add(width) {
		s.at[at.Format(form)] = len(s.keys)
		s.keys = append(s.keys, at.Format(form))
	}
	return s
}

// percentiles draws those of everything that is chosen.
func (a *latencyAsk) percentiles(s *steps, over []usage.Latency) plot {
	p := a.plot(s, upper(a.part.label)+", per "+a.step)
	p.Series = []plotSeries{{"p50", "q50"}, {"p90", "q90"}, {"p95", "q95"}, {"p99", "q99"}}
	values := newLines(4, len(s.keys))
	for i := range over {
		at, ok := s.at[over[i].Group[a.step]]
		if q := a.part.of(&over[i]); ok && q.Count > 0 {
			values[0][at], values[1][at], values[2][at], values[3][at] = q.P50, q.P90, q.P95, q.P99
		}
	}
	p.lines(values, func(i int) string { return s.label(s.keys[i]) }, span)
	return p
}

// groups draws the 95th percentile of the most used groups.
func (a *latencyAsk) groups(c *Console, s *steps, groups, over []usage.Latency) plot {
	p := a.plot(s, "95th percentile of the "+a.part.label+", by "+a.by.Label)
	shown := groups[:min(len(groups), topSeries)]
	for i := range shown {
		name := c.valueName(a.by.Name, shown[i].Group[a.by.Name])
		if name == "" {
			name = "none"
		}
		p.Series = append(p.Series, plotSeries{name, seriesClass(i)})
	}
	values := newLines(len(shown), len(s.keys))
	for i := range over {
		j := slices.IndexFunc(shown, func(l usage.Latency) bool { return l.Group[a.by.Name] == over[i].Group[a.by.Name] })
		at, ok := s.at[over[i].Group[a.step]]
		if q := a.part.of(&over[i]); ok && j >= 0 && q.Count > 0 {
			values[j][at] = q.P95
		}
	}
	p.lines(values, func(i int) string { return s.label(s.keys[i]) }, span)
	return p
}

func (a *latencyAsk) plot(s *steps, caption string) plot {
	p := plot{Caption: caption, Partial: a.period.open}
	if a.step == "day" {
		p.Caption += " (UTC)"
	}
	if n := len(s.keys); n > 0 {
		p.From, p.To = s.label(s.keys[0]), s.label(s.keys[n-1])
	}
	return p
}

func newLines(series, steps int) [][]int64 {
	all := make([][]int64, series)
	for i := range all {
		all[i] = make([]int64, steps)
	}
	return all
}

// upper begins a text with a capital.
func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (a *latencyAsk) only() []string {
	return []string{"project", a.q.Project, "model", a.q.Model, "target", a.q.Target}
}

// query is the page's own, with some pairs set anew; "" leaves one out.
func (a *latencyAsk) query(pairs ...string) url.Values {
	return pairsOf([]string{"by", a.by.Name, "of", a.part.name}, a.period.Query(), a.only(), pairs)
}

// command is the page on the command line.
func (a *latencyAsk) command() string {
	words := []string{
		"penstock latency --by", a.by.Name, "--of", a.part.name, "--from", a.period.From.UTC().Format(time.RFC3339), "--to", a.period.To.UTC().Format(time.RFC3339),
	}
	only := a.only()
	for i := 0; i < len(only); i += 2 {
		if only[i+1] != "" {
			words = append(words, "--"+only[i], quoteWord(only[i+1]))
		}
	}
	return strings.Join(words, " ")
}

// latencyCSV is the table for other programs: what penstock latency --csv prints.
func (c *Console) latencyCSV(v *visit) error {
	a, err := latencyAskOf(v)
	if err != nil {
		return err
	}
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	_ = c.catchUp(ctx) // the page from which this is got says so
	all, err := a.read(ctx, c.o.Records, a.by.Name)
	if err != nil {
		return err
	}
	head, rows := usage.LatencyTable([]string{a.by.Name}, all)
	return c.sendCSV(v, "latency-by-"+a.by.Name, head, rows)
}
