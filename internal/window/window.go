// Package window cuts time into the civil windows that budgets have: hours, days, weeks and months in a named time zone, and
// fixed terms.
//
// A window begins at the first instant of its civil day, week or month, so days have 23 or 25 hours where clocks change. It is
// not for durations (time) and knows no amounts (limit).
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
	// Label names it in its zone: "2026-11-29 14:00", "2026-11-29", "2026-W48", "2026-11". It stays what it is if the rules of the
	// zone change.
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
	local := t.In(zone)
	y, m, d := local.Date()
	switch c.Per {
	case Hour:
		return hourOf(local)
	case Day:
		return Window{first(y, m, d, zone), first(y, m, d+1, zone), local.Format(time.DateOnly)}
	case Week:
		monday := d - (int(local.Weekday())+6)%7
		year, week := local.ISOWeek()
		return Window{first(y, m, monday, zone), first(y, m, monday+7, zone), fmt.Sprintf("%04d-W%02d", year, week)}
	case Month:
		return Window{first(y, m, 1, zone), first(y, m+1, 1, zone), local.Format("2006-01")}
	}
	return Window{c.From, c.To, c.From.In(zone).Format(time.DateOnly) + "/" + c.To.In(zone).Format(time.DateOnly)}
}

// hourOf is the civil hour: an hour that the clock shows twice is two windows, and one that it skips is none.
func hourOf(local time.Time) Window {
	into := time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
	start := local.Add(-into)
	if begun, _ := local.ZoneBounds(); !begun.IsZero() && begun.After(start) {
		start = begun.In(local.Location()) // the offset changed within the hour
	}
	end := start.Add(time.Hour - time.Duration(start.Minute())*time.Minute)
	if _, over := local.ZoneBounds(); !over.IsZero() && over.Before(end) {
		end = over.In(local.Location())
	}
	return Window{start, end, start.Format("2006-01-02 15:04 -0700")}
}

// first is the first instant of a civil day. Where the clock skips midnight, the day begins later.
func first(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	noon := time.Date(y, m, d, 12, 0, 0, 0, zone)
	day := noon.YearDay()
	if t.YearDay() != day { // midnight is not there, and Date gave an instant before it
		if _, end := t.ZoneBounds(); !end.IsZero() {
			return end.In(zone)
		}
	}
	// Where the clock goes back over midnight, the day has begun at the first of the two.
	if begun, _ := t.ZoneBounds(); !begun.IsZero() {
		if before := begun.Add(-time.Nanosecond).In(zone); before.YearDay() == day && t.Sub(begun) < 3*time.Hour {
			_, o1 := before.Zone()
			if earlier := time.Date(y, m, d, 0, 0, 0, 0, time.FixedZone("", o1)); earlier.Before(begun) && earlier.In(zone).YearDay() == day {
				return earlier.In(zone)
			}
		}
	}
	return t
}
