package console

import (
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/usage"
)

// maxSteps bounds the bars of a plot; ranges and steps are chosen so that there are fewer.
const maxSteps = 1000

// Steps are the spans of time of a page of usage, in order, those without an exchange too.
type steps struct {
	name  string // "day", "hour" or "month"
	keys  []string
	at    map[string]int // by key
	zone  *time.Location // that labels are in
	of    map[string]map[string]usage.Sum
	width time.Duration // of an hour; 0 of others
}

// steps puts sums by step and group where they belong.
func (a *usageAsk) steps(v *visit, cells []usage.Sum) *steps {
	s := &steps{name: a.step, at: map[string]int{}, zone: v.zone, of: map[string]map[string]usage.Sum{}}
	from, zone := a.period.From, a.q.Zone
	if from.IsZero() && len(cells) > 0 {
		first := slices.MinFunc(cells, func(x, y usage.Sum) int { return strings.Compare(x.Group[a.step], y.Group[a.step]) })
		from = startOf(first.Group[a.step], zone)
	}
	if from.IsZero() {
		from = a.period.To.Add(-24 * time.Hour)
	}
	next := func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }
	form := time.DateOnly
	local := from.In(zone)
	at := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, zone)
	switch {
	case a.step == "hour":
		s.width = time.Hour
		form, at = time.RFC3339, from.UTC().Truncate(time.Hour)
		next = func(t time.Time) time.Time { return t.Add(time.Hour) }
	case a.months:
		s.name, form, at = "month", "2006-01", at.AddDate(0, 0, 1-at.Day())
		next = func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }
	}
	for ; at.Before(a.period.To) && len(s.keys) < maxSteps; at = next(at) {
		key := at.Format(form)
		s.at[key] = len(s.keys)
		s.keys = append(s.keys, key)
	}
	for _, cell := range cells {
		step, value := s.key(cell.Group[a.step]), cell.Group[a.by.Name]
		if a.by.Name == a.step {
			value = ""
		}
		if s.of[value] == nil {
			s.of[value] = map[string]usage.Sum{}
		}
		s.of[value][step] = s.of[value][step].Plus(cell)
	}
	return s
}

// key is the step in which a day or an hour is.
func (s *steps) key(step string) string {
	if s.name == "month" && len(step) > len("2006-01") {
		return step[:len("2006-01")]
	}
	return step
}

func (s *steps) count() int { return len(s.keys) }

// startOf is the instant at which a step begins.
func startOf(key string, zone *time.Location) time.Time {
	for _, form := range []string{time.RFC3339, time.DateOnly, "2006-01"} {
		if t, err := time.ParseInLocation(form, key, zone); err == nil {
			return t
		}
	}
	return time.Time{}
}

// label is a step as a page shows it.
func (s *steps) label(key string) string {
	t := startOf(key, s.zone)
	switch {
	case s.width > 0 && len(s.keys) > 25:
		return t.In(s.zone).Format("Mon Jan 2 15:04")
	case s.width > 0:
		return t.In(s.zone).Format("15:04")
	case len(key) == len("2006-01"):
		return t.Format("January 2006")
	}
	return t.Format("Mon Jan 2")
}

// values are the amounts of a group, step by step.
func (s *steps) values(a *usageAsk, value string) []float64 {
	all := make([]float64, len(s.keys))
	for key, sum := range s.of[value] {
		if i, ok := s.at[key]; ok {
			all[i] = float64(a.amount(sum))
		}
	}
	return all
}

// exchanges is the address of the exchanges of a step, as far as it is in the page's period; "" as with usageAsk.exchanges.
func (s *steps) exchanges(a *usageAsk, key string) string {
	from := startOf(key, a.q.Zone)
	to := from.Add(s.width)
	if s.width == 0 {
		to = from.AddDate(0, 0, 1)
	}
	if from.Before(a.period.From) {
		from = a.period.From
	}
	if to.After(a.period.To) {
		to = a.period.To
	}
	return a.exchanges("range", customRange, "from", from.Format(time.RFC3339), "to", to.Format(time.RFC3339))
}

// draw plots what the groups amount to, step by step: the largest apart, the rest together.
func (a *usageAsk) draw(c *Console, s *steps, groups []group) plot {
	p := plot{Caption: strings.ToUpper(a.measure[:1]) + a.measure[1:] + " per " + s.name, Tall: true, Partial: a.period.open}
	if n := len(s.keys); n > 0 {
		p.From, p.To = s.label(s.keys[0]), s.label(s.keys[n-1])
	}
	shown := groups
	if a.by.Name == a.step {
		shown = []group{{}}
	} else {
		p.Caption += ", by " + a.by.Label
	}
	rest := 0
	if len(shown) > topSeries+1 {
		shown, rest = shown[:topSeries], len(shown)-topSeries
	}
	for i, g := range shown {
		name := c.valueName(a.by.Name, g.value)
		switch {
		case a.by.Name == a.step:
			name = a.measure
		case name == "":
			name = "none"
		}
		p.Series = append(p.Series, plotSeries{name, seriesClass(i)})
	}
	if rest > 0 {
		p.Series = append(p.Series, plotSeries{figure.Count(int64(rest)) + " others", "rest"})
	}
	stacks := make([]stack, len(s.keys))
	for i := range stacks {
		stacks[i] = stack{place: i, amounts: make([]int64, len(p.Series))}
	}
	for value, of := range s.of {
		j := slices.IndexFunc(shown, func(g group) bool { return g.value == value })
		if j < 0 {
			j = len(p.Series) - 1
		}
		for key, sum := range of {
			if i, ok := s.at[key]; ok {
				stacks[i].amounts[j] += a.amount(sum)
			}
		}
	}
	p.stack(stacks, len(s.keys), func(i int) string { return s.label(s.keys[i]) }, a.write)
	return p
}

// seriesClass is how the i-th series of a plot is drawn.
func seriesClass(i int) string {
	if i >= topSeries {
		return "rest"
	}
	return "s" + string(rune('1'+i))
}
