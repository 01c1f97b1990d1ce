package store

import "time"

// The group columns that are spans of time, and how long those are, in microseconds.
const (
	byDay    = "day"
	byHour   = "hour"
	byMinute = "minute"
)

var (
	sumTimes     = map[string]int64{byDay: day, byHour: hour}
	latencyTimes = map[string]int64{byDay: day, byHour: hour, byMinute: minute}
)

// in has days begin and end as they do in a zone. They are put together from hours.
func (g *grouping) in(zone *time.Location) {
	if zone == nil || zone == time.UTC || g.width != day {
		return
	}
	g.width, g.zone = hour, zone
}

// place is the number of the span, as it is shown, of which something was read as a span of the width in a piece.
func (g *grouping) place(span int64, p piece) int64 {
	if g.zone == nil {
		return span
	}
	return civilDay(max(span*g.width, p.from), g.zone)
}

// when writes the span of a group: a day, or the instant at which a shorter one begins.
func (g *grouping) when(span int64) string {
	switch {
	case g.zone != nil:
		return fromSpan(span, day).Format(time.DateOnly)
	case g.width == day:
		return fromSpan(span, g.width).Format(time.DateOnly)
	}
	return fromSpan(span, g.width).Format(time.RFC3339)
}

// civilDay is the number, since 1970, of the day that it is in a zone.
func civilDay(micros int64, zone *time.Location) int64 {
	y, m, d := time.UnixMicro(micros).In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).UnixMicro() / day
}

// spans cut a time so that hours, counted from 1970, can be put together to the days of the zone: not at all where days
// begin at whole hours, else where each begins.
func (g *grouping) spans(from, to int64) [][2]int64 {
	whole := [][2]int64{{from, to}}
	if g.zone == nil {
		return whole
	}
	odd := false
	var all [][2]int64
	for from < to {
		y, m, d := time.UnixMicro(from).In(g.zone).Date()
		next := min(time.Date(y, m, d+1, 0, 0, 0, 0, g.zone).UnixMicro(), to)
		if next <= from { // a zone that leaves out a day
			next = min(from+day, to)
		}
		odd = odd || next < to && next%hour != 0
		all = append(all, [2]int64{from, next})
		from = next
	}
	if !odd {
		return whole
	}
	return all
}
