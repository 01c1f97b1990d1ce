package health

import "time"

// When a target is ejected, and for how long. docs/adr/0011 has the reasons.
const (
	// inARow is how many tries must fail one after the other, and inARowRamping of a target that was ejected until a moment
	// ago: it has failed before, so less is needed to believe it, and while it gets a small share five would be long in coming.
	inARow, inARowRamping = 5, 3
	// Or so many tries within the window, and such a share of them failed.
	windowTries, windowShare = 10, 0.5
	// goodInARow is how many tries one after the other must be answered for an ejection to end before its time. Only a target
	// that cannot be done without gets any then.
	goodInARow = 10

	shortest = 5 * time.Second
	longest  = 5 * time.Minute
	fraction = 10  // of the outage
	jitter   = 0.2 // at most so much less

	ramp      = 8 * time.Second
	firstStep = 0.1 // the share with which the ramp begins

	// relapse is how long a target must be well, at most, for its next failure to be another outage.
	relapse = time.Minute
	// again is how long to wait after a probe that said nothing.
	again = time.Second
	// lost is after how long a probe that nobody has told of is taken for lost: longer than any wait for a first token.
	lost = 3 * time.Minute
)

// span is how long a target is ejected that has been failing for so long: a tenth of it, within bounds, up to a fifth less by
// chance so that targets which failed together are not tried together. Never more, so that what is promised of recovery holds.
func span(failing time.Duration, chance float64) time.Duration {
	d := min(max(failing/fraction, shortest), longest)
	return d - time.Duration(jitter*chance*float64(d))
}

// share is that of a target that has been ramping for so long.
func share(ramping time.Duration) float64 {
	return min(1, firstStep+(1-firstStep)*max(0, float64(ramping)/float64(ramp)))
}

// A window counts the outcomes of the last half minute. It is not safe for concurrent use.
type window struct {
	buckets [windowSeconds]struct{ ok, failed int32 }
	ok      int32 // sum of the buckets
	failed  int32
	second  int64     // of the newest bucket, counted from born
	born    time.Time // when the first outcome came, zero before
}

const windowSeconds = 30

// turn drops what is too old.
func (w *window) turn(now time.Time) {
	if w.born.IsZero() {
		w.born = now
	}
	second := int64(now.Sub(w.born) / time.Second)
	for n := max(w.second+1, second-windowSeconds+1); n <= second; n++ {
		b := &w.buckets[n%windowSeconds]
		w.ok -= b.ok
		w.failed -= b.failed
		b.ok, b.failed = 0, 0
	}
	w.second = max(w.second, second)
}

func (w *window) add(now time.Time, failed bool) {
	w.turn(now)
	b := &w.buckets[w.second%windowSeconds]
	if !failed {
		b.ok++
		w.ok++
		return
	}
	b.failed++
	w.failed++
}

// bad reports whether the window alone is reason enough.
func (w *window) bad() bool {
	all := w.ok + w.failed
	return all >= windowTries && float64(w.failed) >= windowShare*float64(all)
}

// begin is when the oldest outcome can have come.
func (w *window) begin(now time.Time) time.Time {
	if old := now.Add(-windowSeconds * time.Second); old.After(w.born) {
		return old
	}
	return w.born
}

// clear empties the window.
func (w *window) clear() { *w = window{} }
