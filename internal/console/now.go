package console

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/usage"
)

const (
	// window is what "now" is: figures are of this last span.
	window = 5 * time.Minute
	// lookback is how many minutes the page looks back.
	lookback = 60
	// alarm is the share of failed exchanges, in percent, from which the page says so first.
	alarm = 5
)

// A nowView answers: are we healthy, and if not, whose fault is it?
type nowView struct {
	Verdict  verdict
	Tiles    []tile
	Requests plot
	Targets  []targetRow
	Failures []*usage.Record
	Status   Status
	Empty    bool // nothing was ever asked
	Behind   bool
}

// A verdict is the first line. Class is ok, warn or bad.
type verdict struct{ Class, Word, Text string }

type tile struct {
	Label, Value, Unit string
	Note               string
	Spark              string
	Bad                bool
}

type targetRow struct {
	Name  string
	Sum   usage.Sum
	Total int64 // requests of all targets
	First usage.Quantiles
	Whole usage.Quantiles
}

// OK is how many were answered whole.
func (t targetRow) OK() int64 { return t.Sum.Requests - t.Sum.Errors }

func (c *Console) now(v *visit) error {
	data, err := c.present(v)
	if err != nil {
		return err
	}
	f := c.frame(v, "now", "Now", data)
	f.Command = "penstock status"
	return c.send(v, http.StatusOK, "frame.html", f)
}

// live is the part of the page that changes, for the page's script.
func (c *Console) live(v *visit) error {
	data, err := c.present(v)
	if err != nil {
		return err
	}
	return c.send(v, http.StatusOK, "live", c.frame(v, "now", "Now", data))
}

// A recent is what was read for the page.
type recent struct {
	points          []usage.Point // of the last hour, by minute
	today           usage.Sum
	latency         usage.Quantiles // to the first token, of the window
	targets         []usage.Sum
	targetLatencies []usage.Latency
	failures        []*usage.Record
}

func (c *Console) present(v *visit) (*nowView, error) {
	ctx, done, err := c.reading(v)
	if err != nil {
		return nil, err
	}
	defer done()
	out := &nowView{Status: c.o.Status(), Behind: c.catchUp(ctx)}
	began := v.now.Truncate(time.Minute).Add(-(lookback - 1) * time.Minute)
	r, err := c.readRecent(ctx, v, began)
	if err != nil {
		return nil, err
	}
	out.Failures = r.failures
	if len(r.points) == 0 {
		newest, err := c.o.Records.Records(ctx, usage.Filter{Limit: 1})
		if err != nil {
			return nil, err
		}
		out.Empty = len(newest) == 0
	}
	out.Requests = minutes(r.points, began, v)
	out.tell(r, began, v)
	for _, s := range r.targets {
		row := targetRow{Name: s.Group["target"], Sum: s}
		for _, l := range r.targetLatencies {
			if l.Group["target"] == row.Name {
				row.First, row.Whole = l.First, l.Total
			}
		}
		out.Targets = append(out.Targets, row)
	}
	slices.SortStableFunc(out.Targets, func(a, b targetRow) int { return int(b.Sum.Requests - a.Sum.Requests) })
	return out, nil
}

func (c *Console) readRecent(ctx context.Context, v *visit, began time.Time) (r recent, err error) {
	s := c.o.Records
	if r.points, err = s.Series(ctx, usage.SeriesQuery{From: began, Step: usage.Minute}); err != nil {
		return r, err
	}
	local := v.now.In(v.zone)
	midnight := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, v.zone)
	sums, err := s.Sums(ctx, usage.Query{From: midnight})
	if err != nil {
		return r, err
	}
	if len(sums) > 0 {
		r.today = sums[0]
	}
	first, err := s.Latencies(ctx, usage.LatencyQuery{From: v.now.Add(-window)})
	if err != nil {
		return r, err
	}
	if len(first) > 0 {
		r.latency = first[0].First
	}
	if r.targets, err = s.Sums(ctx, usage.Query{From: began, By: []string{"target"}}); err != nil {
		return r, err
	}
	if r.targetLatencies, err = s.Latencies(ctx, usage.LatencyQuery{From: began, By: []string{"target"}}); err != nil {
		return r, err
	}
	r.failures, err = s.Records(ctx, usage.Filter{Status: "error", From: began, Limit: 6})
	return r, err
}

// catchUp waits a moment for the records of what has been answered; behind says that some are still missing.
func (c *Console) catchUp(ctx context.Context) (behind bool) {
	ctx, cancel := context.WithTimeout(ctx, 250*time.Millisecond)
	defer cancel()
	return c.o.Sync(ctx) != nil
}

// minutes draws the requests of the last hour.
func minutes(points []usage.Point, began time.Time, v *visit) plot {
	p := plot{
		Caption: "Requests per minute, last hour", Series: []plotSeries{{"answered", "ok"}, {"failed", "bad"}}, Partial: true,
		From: began.In(v.zone).Format("15:04"), To: v.now.In(v.zone).Format("15:04"),
	}
	stacks := make([]stack, 0, len(points))
	for _, pt := range points {
		stacks = append(stacks, stack{int(pt.Start.Sub(began) / time.Minute), []int64{pt.Requests - pt.Errors, pt.Errors}})
	}
	p.stack(stacks, lookback, func(i int) string { return began.Add(time.Duration(i) * time.Minute).In(v.zone).Format("15:04") }, figure.Count)
	return p
}

// tell makes the verdict and the tiles.
func (n *nowView) tell(r recent, began time.Time, v *visit) {
	from := v.now.Truncate(time.Minute).Add(-window + time.Minute)
	var in usage.Sum
	requests, failures, tokens, cost := make([]float64, lookback), make([]float64, lookback), make([]float64, lookback), make([]float64, lookback)
	for _, p := range r.points {
		if i := int(p.Start.Sub(began) / time.Minute); i >= 0 && i < lookback {
			requests[i], failures[i] = float64(p.Requests), float64(p.Errors)
			tokens[i], cost[i] = float64(p.Usage.Input+p.Usage.Output), float64(p.CostNano)
		}
		if !p.Start.Before(from) {
			in.Requests, in.Errors, in.Usage = in.Requests+p.Requests, in.Errors+p.Errors, in.Usage.Add(p.Usage)
		}
	}
	seconds := max(v.now.Sub(from).Seconds(), 1)
	per := func(n int64) string { return rate(float64(n) / seconds) }
	n.Verdict = n.judge(in, per)
	spent := tile{Label: "Cost today", Value: figure.Money(r.today.CostNano), Note: figure.Count(r.today.Requests) + " requests", Spark: sparkline(cost)}
	if r.today.Unpriced > 0 {
		spent.Note = figure.Count(r.today.Unpriced) + " requests not in it: unpriced"
	}
	n.Tiles = []tile{
		{Label: "Requests", Value: per(in.Requests), Unit: "/s", Note: figure.Count(n.Status.Open) + " open", Spark: sparkline(requests)},
		{Label: "Failed", Value: figure.Percent(in.Errors, in.Requests), Note: figure.Count(in.Errors) + " of " + figure.Count(in.Requests),
			Spark: sparkline(failures), Bad: in.Errors > 0},
		{Label: "Tokens", Value: per(in.Usage.Input + in.Usage.Output), Unit: "/s",
			Note: per(in.Usage.Input) + " in, " + per(in.Usage.Output) + " out", Spark: sparkline(tokens)},
		spent,
		{Label: "First token, median", Value: span(r.latency.P50), Note: "of " + figure.Count(r.latency.Count) + " streams"},
		{Label: "First token, 95th", Value: span(r.latency.P95), Note: "longest " + span(r.latency.Max)},
	}
}

// judge says the most important thing first.
func (n *nowView) judge(in usage.Sum, per func(int64) string) verdict {
	s := n.Status
	switch {
	case s.Reason != "":
		return verdict{"bad", "Not ready", s.Reason + "."}
	case s.Store.Err != "":
		return verdict{"bad", "Store", "It cannot be written: " + s.Store.Err + ". Records wait in the journal."}
	case s.ConfigError != "":
		return verdict{"warn", "Old configuration", "The last change was not taken over: " + s.ConfigError}
	case n.Empty:
		return verdict{"ok", "Ready", "Nothing was asked yet."}
	case in.Requests == 0:
		return verdict{"ok", "Idle", "Nothing was asked in the last 5 minutes."}
	case in.Errors*100 >= in.Requests*alarm:
		return verdict{"warn", "Failures", figure.Count(in.Errors) + " of " + figure.Count(in.Requests) + " exchanges of the last 5 minutes failed (" +
			figure.Percent(in.Errors, in.Requests) + ")."}
	case in.Errors > 0:
		return verdict{"ok", "Well", per(in.Requests) + " requests a second; " + figure.Count(in.Errors) + " of " + figure.Count(in.Requests) + " failed."}
	}
	return verdict{"ok", "Well", per(in.Requests) + " requests a second, all answered (" + strconv.FormatInt(in.Requests, 10) + " in 5 minutes)."}
}
