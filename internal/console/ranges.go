package console

import (
	"net/url"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// customRange is the range that from and to give.
const customRange = "custom"

// ranges are all that pages offer.
var ranges = []struct {
	name, label string
	length      time.Duration // until now; 0 is told by bounds
}{
	{"15m", "last 15 minutes", 15 * time.Minute},
	{"1h", "last hour", time.Hour},
	{"24h", "last 24 hours", 24 * time.Hour},
	{"today", "today", 0},
	{"7d", "last 7 days", 7 * 24 * time.Hour},
	{"30d", "last 30 days", 30 * 24 * time.Hour},
	{"month", "this month", 0},
	{"last-month", "last month", 0},
	{"all", "all there is", 0},
	{customRange, "from … to …", 0},
}

// A period is what a page is about: from an instant until before another.
type period struct {
	Name     string
	From, To time.Time // From is zero if it is not bounded; To is the end of this second if it is now
	open     bool      // To is now
	zone     *time.Location
}

// periodOf reads a page's range, of those that it offers; what is none of them is the one named otherwise.
func periodOf(v *visit, offered []string, otherwise string) (period, error) {
	q := v.r.URL.Query()
	p := period{Name: q.Get("range"), zone: v.zone}
	if !slices.Contains(offered, p.Name) {
		p.Name = otherwise
	}
	now := v.now.In(v.zone)
	p.To, p.open = now.Truncate(time.Second).Add(time.Second), true
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, v.zone)
	month := midnight.AddDate(0, 0, 1-midnight.Day())
	switch p.Name {
	case "today":
		p.From = midnight
	case "month":
		p.From = month
	case "last-month":
		p.From, p.To, p.open = month.AddDate(0, -1, 0), month, false
	case customRange:
		return p, p.custom(q)
	}
	for _, r := range ranges {
		if r.name == p.Name && r.length > 0 {
			p.From = now.Truncate(time.Second).Add(-r.length) // whole, as the page and its commands write it
			if r.length >= 24*time.Hour {
				p.From = p.From.Truncate(time.Hour) // sums are kept of whole hours
			}
		}
	}
	return p, nil
}

// custom takes the range from the query. A page that was asked for the range, but not yet for its ends, shows the last day.
func (p *period) custom(q url.Values) (err error) {
	p.From = p.To.Add(-24 * time.Hour)
	if text := q.Get("from"); text != "" {
		if p.From, err = instantIn("from", text, p.zone); err != nil {
			return err
		}
	}
	if text := q.Get("to"); text != "" {
		if p.To, err = instantIn("to", text, p.zone); err != nil {
			return err
		}
		p.open = false
	}
	if !p.From.Before(p.To) {
		f := fault.New(fault.InvalidRequest, "There is nothing from %s to %s.", p.From.Format(time.RFC3339), p.To.Format(time.RFC3339))
		f.Param, f.Hint = "from", "The end is not part of the range: for one day, choose the day after it as the end."
		return f
	}
	return nil
}

// fieldTime is how fields for times write them, in the viewer's zone.
const fieldTime = "2006-01-02T15:04:05"

func instantIn(name, text string, zone *time.Location) (time.Time, error) {
	for _, layout := range []string{fieldTime, "2006-01-02T15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || t.Year() < 1970 || t.Year() > 2200 {
		f := fault.New(fault.InvalidRequest, "%q is not a time.", clip(text))
		f.Param, f.Hint = name, "Write 2026-11-24 or 2026-11-24T09:00."
		return t, f
	}
	return t.In(zone), nil
}

// clip keeps what somebody typed from filling a message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}

// Query is the range as pairs of a query.
func (p period) Query() []string {
	if p.Name != customRange {
		return []string{"range", p.Name}
	}
	pairs := []string{"range", p.Name, "from", p.From.Format(time.RFC3339)}
	if !p.open {
		pairs = append(pairs, "to", p.To.Format(time.RFC3339))
	}
	return pairs
}

// FieldFrom and FieldTo are the ends as fields show them.
func (p period) FieldFrom() string { return p.field(p.From) }

// FieldTo is the end as a field shows it.
func (p period) FieldTo() string { return p.field(p.To) }

func (p period) field(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(p.zone).Format(fieldTime)
}

// Choices are the ranges that a page offers.
func (p *period) choices(offered []string) (all []choice) {
	for _, name := range offered {
		for _, r := range ranges {
			if r.name == name {
				all = append(all, choice{r.name, r.label, r.name == p.Name})
			}
		}
	}
	return all
}

// words says the period as a colleague would: "this month, Nov 1 00:00 to now, Europe/Berlin".
func (p *period) words() string {
	const form = "Jan 2 15:04"
	from, to := "the beginning", "now"
	if !p.From.IsZero() {
		from = p.From.In(p.zone).Format(form)
	}
	if !p.open {
		to = p.To.In(p.zone).Format(form)
	}
	return from + " to " + to + ", " + p.zone.String()
}

// before is the period of the same length before it; ok is false if there is none.
func (p *period) before() (from, to time.Time, words string, ok bool) {
	switch {
	case p.From.IsZero():
		return from, to, "", false
	case p.Name == "month", p.Name == "last-month":
		from = p.From.AddDate(0, -1, 0)
		to = from.Add(p.To.Sub(p.From))
		if to.After(p.From) {
			to = p.From
		}
		return from, to, "the same days of " + from.Format("January"), true
	case p.Name == "today":
		from = p.From.AddDate(0, 0, -1)
		return from, from.Add(p.To.Sub(p.From)), "yesterday until this time", true
	}
	return p.From.Add(-p.To.Sub(p.From)), p.From, "the same time before", true
}

// spans are the ranges until now that need no zone, the default first.
var spans = []string{"24h", "15m", "1h", "7d", "30d", "all"}

func rangeChoices(chosen string) []choice {
	p := period{Name: chosen}
	return p.choices(spans)
}

// rangeOf reads the query's range, one of spans. What is not one of them is the one named otherwise.
func rangeOf(q url.Values, now time.Time, otherwise string) (name string, from time.Time) {
	if name = q.Get("range"); !slices.Contains(spans, name) {
		name = otherwise
	}
	for _, r := range ranges {
		if r.name == name && r.length > 0 {
			from = now.Add(-r.length)
		}
	}
	return name, from
}
