package window

import (
	"testing"
	"time"
)

// FuzzAt has any instant in windows of any length and zone. Windows tile; and a day, week or month begins where the clock first shows
// its first date, so that it is as many civil days long as it has dates, whatever hours its days have.
func FuzzAt(f *testing.F) {
	for i := range odd {
		f.Add(byte(1), byte(i), int64(1_774_746_000), int64(0)) // 2026-03-29 01:00 UTC
		f.Add(byte(3), byte(i), int64(1_792_890_000), int64(999_999_999))
	}
	f.Add(byte(1), byte(8), int64(1_325_239_200), int64(-1)) // Apia has no 2011-12-30
	f.Add(byte(0), byte(12), int64(1_775_400_000), int64(1))
	f.Add(byte(2), byte(1), int64(2_240_524_800), int64(0)) // 2040-12-31
	f.Fuzz(func(t *testing.T, per, in byte, second, off int64) {
		c := Calendar{Per: Pers()[per%4]}
		if name := odd[int(in)%len(odd)]; name != "" {
			c.Zone = zone(t, name)
		}
		const from, to = -5_364_662_400, 4_102_444_800 // 1800 to 2100
		if second %= to - from; second < 0 {
			second += to - from
		}
		instant := time.Unix(from+second, 0)
		if c.Zone != nil && off%2 == 0 { // near a change of the clock
			if _, end := instant.In(c.Zone).ZoneBounds(); !end.IsZero() {
				instant = end
			}
		}
		instant = instant.Add(time.Duration(off % int64(26*time.Hour)))
		w := c.At(instant)
		if !w.Has(instant) || !w.Start.Before(w.End) {
			t.Fatalf("%v is not in its window %+v", instant, w)
		}
		next, before := c.At(w.End), c.At(w.Start.Add(-1))
		if !next.Start.Equal(w.End) || !before.End.Equal(w.Start) || next.Label == w.Label || before.Label == w.Label {
			t.Fatalf("%+v is between %+v and %+v", w, before, next)
		}
		for _, other := range []time.Time{w.Start, w.End.Add(-1), w.Start.Add(w.End.Sub(w.Start) / 2)} {
			if again := c.At(other); again != w {
				t.Fatalf("%v is in %+v, and %v in %+v", instant, w, other, again)
			}
		}
		if c.Per == Hour {
			if w.End.Sub(w.Start) > time.Hour || w.Start.Hour() != instant.In(w.Start.Location()).Hour() {
				t.Fatalf("%v is in the hour %+v", instant.In(w.Start.Location()), w)
			}
			return
		}
		first, last := c.Per.begin(w.Start), c.Per.begin(w.End)
		if c.Per.label(first) != w.Label || !c.Per.begin(w.Start.Add(-1)).Before(first) || !c.Per.begin(w.End.Add(-1)).Before(last) {
			t.Fatalf("%+v begins at %v and ends at %v on the clock", w, w.Start, w.End)
		}
		if c.Per.begin(instant.In(w.Start.Location())).After(first) {
			t.Fatalf("%v is in %+v", instant, w)
		}
		// On the clock it is as long as it has dates, but where a date was skipped.
		skipped := offset(w.End)-offset(w.Start) > 12*time.Hour || offset(w.Start)-offset(w.End) > 12*time.Hour
		if want := c.Per.next(first); !last.Equal(want) && !skipped {
			t.Fatalf("%+v ends in the window of %v, want %v", w, last, want)
		}
		if midnight(w.Start) && midnight(w.End) && !skipped {
			if long, want := w.End.Sub(w.Start), last.Sub(first)+offset(w.Start)-offset(w.End); long != want {
				t.Fatalf("%+v is %v long, want %v", w, long, want)
			}
		}
	})
}

func midnight(t time.Time) bool { return t.Hour() == 0 && into(t) == 0 }
