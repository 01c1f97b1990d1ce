package window

import (
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	u, err := time.Parse("2006-01-02T15:04Z", text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestResets has the instants at which windows begin and end, as the zones' rules give them.
func TestResets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ per, zone, at, start, end, label string }{
		{"day", "", "2026-11-29T12:00Z", "2026-11-29T00:00Z", "2026-11-30T00:00Z", "2026-11-29"},
		// 23 and 25 hours.
		{"day", "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z", "2026-03-29"},
		{"day", "Europe/Berlin", "2026-10-25T12:00Z", "2026-10-24T22:00Z", "2026-10-25T23:00Z", "2026-10-25"},
		{"day", "America/New_York", "2026-03-08T12:00Z", "2026-03-08T05:00Z", "2026-03-09T04:00Z", "2026-03-08"},
		{"day", "America/New_York", "2026-11-01T12:00Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z", "2026-11-01"},
		// Midnight is skipped.
		{"day", "America/Sao_Paulo", "2018-11-04T12:00Z", "2018-11-04T03:00Z", "2018-11-05T02:00Z", "2018-11-04"},
		{"day", "America/Sao_Paulo", "2018-11-04T02:59Z", "2018-11-03T03:00Z", "2018-11-04T03:00Z", "2018-11-03"},
		{"day", "America/Sao_Paulo", "2018-11-04T03:00Z", "2018-11-04T03:00Z", "2018-11-05T02:00Z", "2018-11-04"},
		{"day", "Asia/Beirut", "2026-03-29T12:00Z", "2026-03-28T22:00Z", "2026-03-29T21:00Z", "2026-03-29"},
		{"day", "America/Havana", "2026-03-08T12:00Z", "2026-03-08T05:00Z", "2026-03-09T04:00Z", "2026-03-08"},
		{"day", "Atlantic/Azores", "2026-03-29T12:00Z", "2026-03-29T01:00Z", "2026-03-30T00:00Z", "2026-03-29"},
		// The clock goes back from midnight to 23:00: the day before has 25 hours.
		{"day", "America/Sao_Paulo", "2018-02-18T02:30Z", "2018-02-17T02:00Z", "2018-02-18T03:00Z", "2018-02-17"},
		{"day", "Asia/Beirut", "2026-10-24T21:30Z", "2026-10-23T21:00Z", "2026-10-24T22:00Z", "2026-10-24"},
		// It goes back from 01:00 to midnight: that is there twice, and the day begins at the first.
		{"day", "America/Havana", "2026-11-01T05:30Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z", "2026-11-01"},
		{"day", "Atlantic/Azores", "2026-10-25T01:30Z", "2026-10-25T00:00Z", "2026-10-26T01:00Z", "2026-10-25"},
		// From 00:01 to 23:01: a day that has begun stays, though the clock shows the one before again.
		{"day", "America/St_Johns", "2010-11-07T03:00Z", "2010-11-07T02:30Z", "2010-11-08T03:30Z", "2010-11-07"},
		{"day", "America/St_Johns", "2010-11-07T02:29Z", "2010-11-06T02:30Z", "2010-11-07T02:30Z", "2010-11-06"},
		// A day that is not there at all.
		{"day", "Pacific/Apia", "2011-12-30T09:59Z", "2011-12-29T10:00Z", "2011-12-30T10:00Z", "2011-12-29"},
		{"day", "Pacific/Apia", "2011-12-30T10:00Z", "2011-12-30T10:00Z", "2011-12-31T10:00Z", "2011-12-31"},
		// Half hours.
		{"day", "Asia/Kolkata", "2026-11-28T18:30Z", "2026-11-28T18:30Z", "2026-11-29T18:30Z", "2026-11-29"},
		{"day", "Asia/Kathmandu", "2026-11-28T18:15Z", "2026-11-28T18:15Z", "2026-11-29T18:15Z", "2026-11-29"},
		{"day", "Australia/Lord_Howe", "2026-10-03T20:00Z", "2026-10-03T13:30Z", "2026-10-04T13:00Z", "2026-10-04"},
		{"day", "Australia/Lord_Howe", "2026-04-04T20:00Z", "2026-04-04T13:00Z", "2026-04-05T13:30Z", "2026-04-05"},
		// Leap days, and ends of months.
		{"day", "", "2028-02-29T23:59Z", "2028-02-29T00:00Z", "2028-03-01T00:00Z", "2028-02-29"},
		{"month", "", "2028-02-29T23:59Z", "2028-02-01T00:00Z", "2028-03-01T00:00Z", "2028-02"},
		{"month", "", "2100-02-28T23:59Z", "2100-02-01T00:00Z", "2100-03-01T00:00Z", "2100-02"},
		{"month", "Europe/Berlin", "2026-03-31T21:59Z", "2026-02-28T23:00Z", "2026-03-31T22:00Z", "2026-03"},
		{"month", "Europe/Berlin", "2026-03-31T22:00Z", "2026-03-31T22:00Z", "2026-04-30T22:00Z", "2026-04"},
		{"month", "Asia/Tokyo", "2026-12-31T15:00Z", "2026-12-31T15:00Z", "2027-01-31T15:00Z", "2027-01"},
		{"month", "America/Asuncion", "2017-10-01T04:00Z", "2017-10-01T04:00Z", "2017-11-01T03:00Z", "2017-10"},
		// After 2037 the standard library says of the last day of a leap year that its offset ends before it.
		{"day", "Europe/Berlin", "2040-12-31T12:00Z", "2040-12-30T23:00Z", "2040-12-31T23:00Z", "2040-12-31"},
		{"month", "Australia/Lord_Howe", "2040-12-31T12:30Z", "2040-11-30T13:00Z", "2040-12-31T13:00Z", "2040-12"},
		// Weeks over the ends of years.
		{"week", "", "2027-01-03T23:59Z", "2026-12-28T00:00Z", "2027-01-04T00:00Z", "2026-W53"},
		{"week", "", "2024-12-30T00:00Z", "2024-12-30T00:00Z", "2025-01-06T00:00Z", "2025-W01"},
		{"week", "", "2021-01-03T12:00Z", "2020-12-28T00:00Z", "2021-01-04T00:00Z", "2020-W53"},
		{"week", "Europe/Berlin", "2026-03-29T12:00Z", "2026-03-22T23:00Z", "2026-03-29T22:00Z", "2026-W13"},
		// Hours.
		{"hour", "", "2026-11-29T14:59Z", "2026-11-29T14:00Z", "2026-11-29T15:00Z", "2026-11-29 14:00 +0000"},
		{"hour", "Asia/Kolkata", "2026-11-29T10:45Z", "2026-11-29T10:30Z", "2026-11-29T11:30Z", "2026-11-29 16:00 +0530"},
		{"hour", "Europe/Berlin", "2026-10-25T00:30Z", "2026-10-25T00:00Z", "2026-10-25T01:00Z", "2026-10-25 02:00 +0200"},
		{"hour", "Europe/Berlin", "2026-10-25T01:30Z", "2026-10-25T01:00Z", "2026-10-25T02:00Z", "2026-10-25 02:00 +0100"},
		{"hour", "Europe/Berlin", "2026-03-29T01:00Z", "2026-03-29T01:00Z", "2026-03-29T02:00Z", "2026-03-29 03:00 +0200"},
		{"hour", "Australia/Lord_Howe", "2026-10-03T15:40Z", "2026-10-03T15:30Z", "2026-10-03T16:00Z", "2026-10-04 02:30 +1100"},
		{"hour", "Australia/Lord_Howe", "2026-04-04T14:30Z", "2026-04-04T14:00Z", "2026-04-04T15:00Z", "2026-04-05 01:00 +1100"},
		{"hour", "Australia/Lord_Howe", "2026-04-04T15:10Z", "2026-04-04T15:00Z", "2026-04-04T15:30Z", "2026-04-05 01:30 +1030"},
	} {
		cal := Calendar{Per: Per(c.per)}
		if c.zone != "" {
			cal.Zone = zone(t, c.zone)
		}
		w := cal.At(at(t, c.at))
		if !w.Start.Equal(at(t, c.start)) || !w.End.Equal(at(t, c.end)) || w.Label != c.label {
			t.Errorf("%s %s at %s: got %s, %s to %s; want %s, %s to %s", c.per, c.zone, c.at,
				w.Label, w.Start.UTC().Format(time.RFC3339), w.End.UTC().Format(time.RFC3339), c.label, c.start, c.end)
		}
	}
}

var odd = []string{
	"", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Beirut", "America/Havana", "Atlantic/Azores", "America/St_Johns",
	"Pacific/Apia", "Pacific/Kwajalein", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Casablanca", "Europe/Dublin",
	"Antarctica/Troll", "Asia/Pyongyang", "America/Caracas", "Africa/Monrovia", "Pacific/Chatham", "America/Nuuk", "Asia/Gaza", "Asia/Tehran",
	"America/Asuncion", "Asia/Manila", "America/Juneau",
}

// TestWindowsTile has a window begin where the one before ended, each instant in exactly one, and none without an instant.
func TestWindowsTile(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		c := Calendar{Per: rapid.SampledFrom([]Per{Hour, Day, Week, Month}).Draw(r, "per")}
		if name := rapid.SampledFrom(odd).Draw(r, "zone"); name != "" {
			c.Zone = zone(t, name)
		}
		// From 1800 to 2100, and often near a change of the clock.
		instant := time.Unix(rapid.Int64Range(-5_364_662_400, 4_102_444_800).Draw(r, "second"), rapid.Int64Range(0, 999_999_999).Draw(r, "nano"))
		if c.Zone != nil && rapid.Bool().Draw(r, "near a change") {
			if _, end := instant.In(c.Zone).ZoneBounds(); !end.IsZero() {
				instant = end.Add(time.Duration(rapid.Int64Range(-int64(26*time.Hour), int64(26*time.Hour)).Draw(r, "off")))
			}
		}
		w := c.At(instant)
		if !w.Has(instant) {
			r.Fatalf("%v is not in its window %+v", instant.In(w.Start.Location()), w)
		}
		for _, other := range []time.Time{w.Start, w.End.Add(-1)} {
			if again := c.At(other); !again.Start.Equal(w.Start) || !again.End.Equal(w.End) || again.Label != w.Label {
				r.Fatalf("%v is in %+v, of which %v is", other, again, w)
			}
		}
		if c.Per != Hour {
			z := w.Start.Location()
			date := c.Per.begin(instant.In(z))
			if plain, ok := c.Per.plain(instant.In(z), date); ok && (plain != w || !plain.Start.Equal(first(date, z)) || !plain.End.Equal(first(c.Per.next(date), z))) {
				r.Fatalf("the short way finds %+v, and the long one %+v", plain, w)
			}
		}
		next, before := c.At(w.End), c.At(w.Start.Add(-1))
		if !next.Start.Equal(w.End) || !before.End.Equal(w.Start) {
			r.Fatalf("%+v is between %+v and %+v", w, before, next)
		}
		if next.Label == w.Label || before.Label == w.Label {
			r.Fatalf("%+v has the label of a neighbour: %+v, %+v", w, before, next)
		}
		most := map[Per]time.Duration{Hour: time.Hour, Day: 48 * time.Hour, Week: 8 * 24 * time.Hour, Month: 32 * 24 * time.Hour}[c.Per]
		if long := w.End.Sub(w.Start); long <= 0 || long > most {
			r.Fatalf("%+v is %v long", w, long)
		}
	})
}

func TestTerm(t *testing.T) {
	t.Parallel()
	c := Calendar{Per: Term, From: at(t, "2026-01-01T00:00Z"), To: at(t, "2026-07-01T00:00Z")}
	for _, instant := range []string{"2025-12-31T23:59Z", "2026-01-01T00:00Z", "2026-08-01T00:00Z"} {
		if w := c.At(at(t, instant)); !w.Start.Equal(c.From) || !w.End.Equal(c.To) || w.Label != "2026-01-01/2026-07-01" {
			t.Errorf("at %s: %+v", instant, w)
		}
	}
	w := c.At(c.From)
	if w.Has(c.From.Add(-1)) || !w.Has(c.From) || !w.Has(c.To.Add(-1)) || w.Has(c.To) {
		t.Error("a window has its beginning and not its end")
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-01-01T00:00Z")
	for _, c := range []struct {
		calendar Calendar
		good     bool
	}{
		{Calendar{Per: Day}, true},
		{Calendar{Per: Term, From: now, To: now.Add(1)}, true},
		{Calendar{Per: "year"}, false},
		{Calendar{}, false},
		{Calendar{Per: Term}, false},
		{Calendar{Per: Term, From: now, To: now}, false},
		{Calendar{Per: Day, From: now}, false},
		{Calendar{Per: Month, To: now}, false},
	} {
		if err := c.calendar.Check(); (err == nil) != c.good {
			t.Errorf("%+v: %v", c.calendar, err)
		}
	}
}

func BenchmarkAt(b *testing.B) {
	c := Calendar{Per: Day, Zone: zone(b, "Europe/Berlin")}
	now := at(b, "2026-11-29T12:00Z")
	for b.Loop() {
		c.At(now)
	}
}
