package rate

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An event is what was added to a window once, as an oracle without buckets remembers it.
type event struct{ at, n int64 }

// within is the sum of what was added in the span that ends at an instant and includes both ends.
func within(events []event, end int64, span time.Duration) (sum int64) {
	for _, e := range events {
		if e.at <= end && e.at >= end-int64(span) {
			sum += e.n
		}
	}
	return sum
}

// Take adds n if that is within a limit, as a Book does, and gives the second that it is in.
func (w *Window) Take(now, limit, n int64) (at int64, ok bool) {
	if w.Used(now) > limit-n {
		return 0, false
	}
	return w.Add(now, n), true
}

// Whatever is taken and put right, and however instants fall: no 60 seconds have more than the limit, and nothing is refused
// that a limit over one second more would allow.
func TestWindowAgainstEvents(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var w Window
		limit := rapid.Int64Range(0, 20).Draw(rt, "limit")
		now := rapid.Int64Range(0, 3*second).Draw(rt, "begins")
		var events []event
		seconds := map[int]int64{} // of events, as Take gave them
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			now += rapid.OneOf(rapid.Int64Range(0, second), rapid.Int64Range(0, 70*second), rapid.SampledFrom([]int64{
				0, 1, second, 60*second - 1, 60 * second, counts - 1, counts, counts + 1, 61 * second,
			})).Draw(rt, "passed")
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			default:
				n := rapid.Int64Range(0, 8).Draw(rt, "n")
				wait := time.Duration(0)
				if n <= limit {
					wait = w.RetryAfter(now, limit, n)
				}
				at, ok := w.Take(now, limit, n)
				if ok {
					seconds[len(events)] = at
					events = append(events, event{now, n})
					if wait != 0 {
						rt.Fatalf("took %d though there was to be a wait of %v", n, wait)
					}
					break
				}
				if within(events, now, Span+Slack+time.Second)+n <= limit {
					rt.Fatalf("refused %d, and there is room: %v", n, events)
				}
				if n > limit {
					break
				}
				if wait <= 0 || wait > Span+Slack {
					rt.Fatalf("a wait of %v", wait)
				}
				early, late := clone(w), clone(w)
				if _, ok := early.Take(now+int64(wait)-1, limit, n); ok {
					rt.Fatalf("%d fit before %v", n, wait)
				}
				if _, ok := late.Take(now+int64(wait), limit, n); !ok {
					rt.Fatalf("%d do not fit after %v", n, wait)
				}
			case 4:
				if len(events) == 0 {
					break
				}
				i := rapid.IntRange(0, len(events)-1).Draw(rt, "which")
				actual := rapid.Int64Range(0, events[i].n).Draw(rt, "actual")
				w.Adjust(now, seconds[i], events[i].n, actual)
				events[i].n = actual
			}
			used := w.Used(now)
			if low, high := within(events, now, Span), within(events, now, Span+Slack+time.Second); used < low || used > high || used > limit {
				rt.Fatalf("used %d, between %d and %d, limit %d", used, low, high, limit)
			}
			next, reset := w.Next(now), w.Reset(now)
			if (used == 0) != (next == 0) || (used == 0) != (reset == 0) || next > reset || reset > Span+Slack {
				rt.Fatalf("used %d, next %v, reset %v", used, next, reset)
			}
			if later := clone(w); used > 0 {
				if later.Used(now+int64(next)) >= used || later.Used(now+int64(reset)) != 0 {
					rt.Fatalf("of %d nothing after %v, or not all after %v", used, next, reset)
				}
			}
			if w.more != nil && len(w.more.buckets) > 61 {
				rt.Fatalf("%d older buckets", len(w.more.buckets))
			}
		}
	})
}

func clone(w Window) Window {
	if w.more != nil {
		w.more = &older{w.more.sum, append([]bucket(nil), w.more.buckets...)}
	}
	return w
}

// A double burst over the edge of a minute, and of a second.
func TestWindowHasNoEdges(t *testing.T) {
	t.Parallel()
	for _, begins := range []int64{0, 1, second - 1, 59*second + second/2, 60*second - 1} {
		var w Window
		for range 10 {
			if _, ok := w.Take(begins, 10, 1); !ok {
				t.Fatal("refused within the limit")
			}
		}
		for _, later := range []int64{0, 1, second, 30 * second, 60 * second, counts - 1} {
			if _, ok := w.Take(begins+later, 10, 1); ok {
				t.Errorf("from %d on: the 11th passed %d later", begins, later)
			}
		}
		if _, ok := w.Take(begins+counts, 10, 10); !ok {
			t.Errorf("from %d on: refused a minute later", begins)
		}
	}
}

// What was used beyond what was reserved counts, in the second of the reservation.
func TestWindowSurplus(t *testing.T) {
	t.Parallel()
	var w Window
	at := w.Add(5*second, 10)
	w.Add(7*second, 1)
	w.Adjust(20*second, at, 10, 25)
	if used := w.Used(20 * second); used != 26 {
		t.Errorf("used %d", used)
	}
	if used := w.Used(5*second + counts); used != 1 {
		t.Errorf("used %d when the reservation does not count any more", used)
	}
	w.Adjust(200*second, at, 10, 1000)
	if used := w.Used(200 * second); used != 0 {
		t.Errorf("used %d by a call of long ago", used)
	}
	// Nothing was reserved, so there is no bucket.
	none := w.Add(300*second, 0)
	w.Add(301*second, 2)
	w.Adjust(302*second, none, 0, 7)
	if used := w.Used(302 * second); used != 9 {
		t.Errorf("used %d", used)
	}
	if used := w.Used(301*second + counts); used != 0 {
		t.Errorf("used %d at last", used)
	}
}

// Absurd numbers saturate.
func TestWindowSaturates(t *testing.T) {
	t.Parallel()
	var w Window
	for i := range int64(100) {
		at := w.Add(i*second, most)
		w.Adjust(i*second, at, 0, 1<<62)
		if used := w.Used(i * second); used < most || used > 62*most {
			t.Fatal(used)
		}
	}
}

// As much as there can be, any number of times within a second, is that.
func TestASecondSaturates(t *testing.T) {
	t.Parallel()
	var w Window
	for range 300 {
		w.Add(0, most)
		if used := w.Used(0); used != most {
			t.Fatal(used)
		}
	}
}
