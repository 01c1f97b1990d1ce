// Package window cuts time into the civil windows that budgets have: hours, days, weeks and months in a named time zone, and
// fixed terms.
//
// A window begins at the first instant of its civil day, week or month, so days have 23 or 25 hours where clocks change, and ends
// where the next begins: a window that is over does not come back with a clock that goes back. The package is not for durations (time)
// and knows no amounts (limit).
package window

import (
	"fmt"
	"slices"
	"time"
)

// A Per says how long windows are.
type Per string

// The lengths. A Term is one window alone, from one instant to another.
const (
	Hour  Per = "hour"
	Day   Per = "day"
	Week  Per = "week" // from Monday on, as ISO 8601 has it
	Month Per = "month"
	Term  Per = "term"
)

// Pers are all lengths, the shortest first.
func Pers() []Per { return []Per{Hour, Day, Week, Month, Term} }

// A Calendar says which windows there are.
type Calendar struct {
	Per  Per
	Zone *time.Location // nil is UTC
	// From and To bound a Term; of other windows they are zero.
	From, To time.Time
}

// A Window is a span of time, from Start until before End.
type Window struct {
	Start, End time.Time
	// Label names it in its zone: "2026-11-29 14:00 +0100", "2026-11-29", "2026-W48", "2026-11". It stays what it is if the rules of
	// the zone change.
	Label string
}

// Has reports whether an instant is within.
func (w Window) Has(t time.Time) bool { return !t.Before(w.Start) && t.Before(w.End) }

// Check says what is wrong with a calendar, nil if nothing is.
func (c Calendar) Check() error {
	switch {
	case !slices.Contains(Pers(), c.Per):
		return fmt.Errorf("%q is no length of a window: write hour, day, week, month or term", c.Per)
	case c.Per == Term && (c.From.IsZero() || !c.From.Before(c.To)):
		return fmt.Errorf("a term needs a beginning and a later end")
	case c.Per != Term && !(c.From.IsZero() && c.To.IsZero()):
		return fmt.Errorf("only a term has a beginning and an end")
	}
	return nil
}

// At is the window that an instant is in. Of a Term it is the term, whether or not the instant is within.
func (c Calendar) At(t time.Time) Window {
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	switch c.Per {
	case Hour:
		return hourOf(t.In(zone))
	case Day, Week, Month:
	default:
		return Window{c.From, c.To, c.From.In(zone).Format(time.DateOnly) + "/" + c.To.In(zone).Format(time.DateOnly)}
	}
	local := t.In(zone)
	date := c.Per.begin(local)
	if w, ok := c.Per.plain(local, date); ok {
		return w
	}
	for {
		next := c.Per.next(date)
		// Where the clock went back to the day before, or skipped the day, it is a later window that the instant is in.
		if end := first(next, zone); t.Before(end) {
			return Window{first(date, zone), end, c.Per.label(date)}
		}
		date = next
	}
}

// plain is the window that begins on a date, if the clock does not change in it or on the day before: nearly always. It is what the
// rest finds as well, with one look at the zone.
func (p Per) plain(local, date time.Time) (w Window, ok bool) {
	begun, over := local.ZoneBounds()
	start, end := date.Add(-offset(local)), p.next(date).Add(-offset(local))
	if !begun.IsZero() && start.Sub(begun) < 26*time.Hour || !over.IsZero() && !end.Before(over) {
		return w, false
	}
	return Window{start.In(local.Location()), end.In(local.Location()), p.label(date)}, true
}

// begin is the date on which the window begins that a date is in, as a time in UTC.
func (p Per) begin(t time.Time) time.Time {
	y, m, d := t.Date()
	switch p {
	case Week:
		d -= (int(t.Weekday()) + 6) % 7
	case Month:
		d = 1
	}
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
}

// next is the date on which the next one begins.
func (p Per) next(date time.Time) time.Time {
	switch p {
	case Week:
		return date.AddDate(0, 0, 7)
	case Month:
		return date.AddDate(0, 1, 0)
	}
	return date.AddDate(0, 0, 1)
}

func (p Per) label(date time.Time) string {
	switch p {
	case Week:
		year, week := date.ISOWeek()
		return fmt.Sprintf("%04d-W%02d", year, week)
	case Month:
		return date.Format("2006-01")
	}
	return date.Format(time.DateOnly)
}

// hourOf is the civil hour: an hour that the clock shows twice is two windows, and one that it skips is none. Where the clock
// changes within an hour, a window ends and another begins.
func hourOf(local time.Time) Window {
	start := local.Add(-into(local))
	if begun, _ := local.ZoneBounds(); begun.After(start) && offset(begun.Add(-1)) != offset(begun) {
		start = begun
	}
	end := start.Add(time.Hour - into(start))
	if _, over := local.ZoneBounds(); !over.IsZero() && over.Before(end) && offset(over) != offset(local) {
		end = over
	}
	return Window{start, end, start.Format("2006-01-02 15:04 -0700")}
}

// into is how much of the hour has passed.
func into(local time.Time) time.Duration {
	return time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
}

func offset(local time.Time) time.Duration {
	_, seconds := local.Zone()
	return time.Duration(seconds) * time.Second
}

// first is the first instant at which a clock shows a date, or a later one if it never shows that. Where the clock skips midnight it
// is later than that; where it shows midnight twice it is the first.
func first(date time.Time, zone *time.Location) time.Time {
	at := date.Add(-26 * time.Hour).In(zone) // no clock is there yet
	for {
		midnight := date.Add(-offset(at))
		_, end := at.ZoneBounds()
		if !end.IsZero() && !end.After(at) { // so it is after 2037 on the last day of a leap year, though the clock does not change
			end = at.Add(time.Hour)
		}
		switch {
		case midnight.Before(at): // it was skipped when the offset changed
			return at
		case end.IsZero() || midnight.Before(end):
			return midnight.In(zone)
		}
		at = end
	}
}
