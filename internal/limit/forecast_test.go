package limit

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestRunOut(t *testing.T) {
	t.Parallel()
	midnight := noon.Add(-12 * time.Hour)
	for name, c := range map[string]struct {
		settled, unknown, held, limit int64
		want                          time.Time
	}{
		"nothing used":              {0, 0, 50, 100, time.Time{}},
		"half at half time":         {50, 0, 0, 100, time.Time{}},
		"a little more":             {60, 0, 0, 100, midnight.Add(20 * time.Hour)},
		"unknown counts":            {30, 30, 0, 100, midnight.Add(20 * time.Hour)},
		"held does not":             {30, 0, 100, 100, time.Time{}},
		"used up before":            {200, 0, 0, 100, midnight.Add(6 * time.Hour)},
		"a limit of nothing":        {1, 0, 0, 0, midnight},
		"the largest of all things": {math.MaxInt64, 0, 0, math.MaxInt64, noon},
		"centuries":                 {1, 0, 0, math.MaxInt64, time.Time{}},
	} {
		s := Standing{Start: midnight, End: noon.Add(12 * time.Hour), Limit: c.limit, Settled: c.settled, Unknown: c.unknown, Held: c.held}
		at, ok := s.RunOut(noon)
		if !at.Equal(c.want) || ok == c.want.IsZero() {
			t.Errorf("%s: runs out at %v, %v, want %v", name, at, ok, c.want)
		}
	}
}

// Whatever the numbers are, a window never runs out after its end, and one that is used up has run out.
func TestRunOutIsWithin(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := Standing{
			Start: noon, End: noon.Add(time.Duration(rapid.Int64Range(1, 40*24*int64(time.Hour)).Draw(t, "length"))),
			Limit: rapid.Int64Range(0, MaxAmount).Draw(t, "limit"), Settled: rapid.Int64Range(0, MaxAmount).Draw(t, "settled"),
			Unknown: rapid.Int64Range(0, MaxAmount).Draw(t, "unknown"),
		}
		now := noon.Add(time.Duration(rapid.Int64Range(0, int64(s.End.Sub(s.Start))).Draw(t, "now")))
		at, ok := s.RunOut(now)
		switch used := s.Settled + s.Unknown; {
		case ok && (at.Before(s.Start.Truncate(time.Second)) || !at.Before(s.End)):
			t.Fatalf("runs out at %v", at)
		case used >= s.Limit && used > 0 && now.After(s.Start) && now.Before(s.End) && (!ok || at.After(now)):
			t.Fatalf("is used up now, and runs out at %v, %v", at, ok)
		}
	})
}
