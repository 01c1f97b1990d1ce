package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestAClockThatIsWrongIsCorrected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		right := time.Now().Round(0)
		c := &Clock{Skew: 90 * time.Second}
		if got := c.Now(); !got.Equal(right.Add(90 * time.Second)) {
			t.Errorf("before a measurement: %v, want the machine's own", got)
		}
		for _, m := range []struct {
			what          string
			ahead, within time.Duration
			changed       bool
			off           time.Duration
		}{
			{"too rough", -60 * time.Second, time.Second, false, 0},
			{"the first", -90 * time.Second, 2 * time.Millisecond, true, -90 * time.Second},
			{"noise", -90*time.Second + 40*time.Millisecond, time.Millisecond, false, -90 * time.Second},
			{"within its error", -90*time.Second + 200*time.Millisecond, 200 * time.Millisecond, false, -90 * time.Second},
			{"a drift", -90*time.Second + 60*time.Millisecond, time.Millisecond, true, -90*time.Second + 60*time.Millisecond},
			{"set right", 0, time.Millisecond, true, 0},
		} {
			if changed := c.Measured(m.ahead, m.within); changed != m.changed {
				t.Errorf("%s: changed %v", m.what, changed)
			}
			got, off := c.At(time.Now())
			if off != m.off || !got.Equal(right.Add(90*time.Second+m.off)) {
				t.Errorf("%s: %v, corrected by %v", m.what, got, off)
			}
		}
		if local := c.Local(); !local.Equal(right.Add(90 * time.Second)) {
			t.Errorf("the machine's own clock: %v", local)
		}
	})
}

// TestMonotonicReadingsAreLeftOut: a corrected time must not be taken for an instant of the monotonic clock.
func TestMonotonicReadingsAreLeftOut(t *testing.T) {
	t.Parallel()
	var none *Clock
	for _, c := range []*Clock{{}, none} {
		now := time.Now()
		if at, off := c.At(now); at != now.Round(0) || off != 0 {
			t.Errorf("%#v, %v", at, off)
		}
		if at := c.Local(); at != at.Round(0) {
			t.Errorf("%#v", at)
		}
	}
}
