package rate

import (
	"slices"
	"time"
)

const (
	second = int64(time.Second)
	counts = int64(Span + Slack) // how long a use counts, in nanoseconds
)

// A Window is what was used in the last minute, in buckets of a second each.
//
// Each bucket knows when it last got something, and counts as a whole for Span and Slack from then on. So whatever was added in any
// span of that length, wherever it begins, is in the sum when the last of it is added: where each addition is made only if the sum
// stays within a limit, no such span has more. In return the first use of a second may count up to a second longer than it need.
//
// Times are nanoseconds of a monotonic clock, and never negative. What is added at an earlier time than something before counts from
// that on. The zero Window is empty. It is not safe for concurrent use.
type Window struct {
	at   int64  // when the newest bucket last got something
	n    int64  // what is in it
	more *older // the buckets before, nil if there was never more than one
}

// older are the buckets before the newest.
type older struct {
	sum     int64
	buckets []bucket // the oldest first, at most 62
}

type bucket struct{ at, n int64 }

// Used is the sum of what counts at an instant.
func (w *Window) Used(now int64) int64 {
	if w.more == nil {
		if now-w.at >= counts {
			w.n = 0
		}
		return w.n
	}
	w.trim(now)
	return w.n + w.more.sum
}

// trim forgets what does not count any more.
func (w *Window) trim(now int64) {
	if now-w.at >= counts {
		w.n = 0
	}
	m, gone := w.more, 0
	for gone < len(m.buckets) && now-m.buckets[gone].at >= counts {
		m.sum -= m.buckets[gone].n
		gone++
	}
	if gone > 0 {
		m.buckets = m.buckets[:copy(m.buckets, m.buckets[gone:])]
	}
}

// Add adds n, whatever that comes to, and gives the second that it is in.
func (w *Window) Add(now, n int64) (at int64) {
	now = max(now, w.at)
	if w.n != 0 && now/second != w.at/second {
		w.push(now)
		w.n = 0
	}
	w.at, w.n = now, clamp(w.n+n)
	return now / second
}

// push puts the newest bucket among the older ones, if it still counts.
func (w *Window) push(now int64) {
	if now-w.at >= counts {
		return
	}
	if w.more == nil {
		w.more = &older{}
	}
	w.more.sum += w.n
	w.more.buckets = append(w.more.buckets, bucket{w.at, w.n})
}

// Adjust changes what was taken in a second from reserved to actual. Nothing is changed if that does not count any more.
func (w *Window) Adjust(now, at, reserved, actual int64) {
	w.Used(now)
	if w.at/second == at {
		w.n = clamp(w.n + actual - reserved)
		return
	}
	i := 0
	if w.more != nil {
		i = len(w.more.buckets)
		for i > 0 && w.more.buckets[i-1].at/second >= at {
			i--
		}
		if i < len(w.more.buckets) && w.more.buckets[i].at/second == at {
			b := &w.more.buckets[i]
			is := clamp(b.n + actual - reserved)
			w.more.sum += is - b.n
			b.n = is
			return
		}
	}
	if reserved > 0 || actual <= 0 || now-at*second >= counts {
		return
	}
	if w.more == nil { // nothing was taken, so there may be no bucket
		w.more = &older{}
	}
	w.more.sum += clamp(actual)
	w.more.buckets = slices.Insert(w.more.buckets, i, bucket{(at+1)*second - 1, clamp(actual)})
}

// RetryAfter is after how long n fit into a limit, if nothing else is added: 0 if they fit now. n is at most the limit.
func (w *Window) RetryAfter(now, limit, n int64) time.Duration {
	used := w.Used(now)
	if used <= limit-n {
		return 0
	}
	if w.more != nil {
		for _, b := range w.more.buckets {
			used -= b.n
			if used <= limit-n {
				return time.Duration(b.at + counts - now)
			}
		}
	}
	return time.Duration(w.at + counts - now)
}

// Next is after how long the first of what was used comes back: 0 if nothing counts.
func (w *Window) Next(now int64) time.Duration {
	if w.Used(now) == 0 {
		return 0
	}
	if w.more != nil {
		for _, b := range w.more.buckets {
			if b.n > 0 {
				return time.Duration(b.at + counts - now)
			}
		}
	}
	return time.Duration(w.at + counts - now)
}

// Reset is after how long the last of what was used comes back: 0 if nothing counts.
func (w *Window) Reset(now int64) time.Duration {
	used := w.Used(now)
	if used == 0 {
		return 0
	}
	if w.n == 0 && w.more != nil { // the newest was given back
		for i := len(w.more.buckets) - 1; i >= 0; i-- {
			if b := w.more.buckets[i]; b.n > 0 {
				return time.Duration(b.at + counts - now)
			}
		}
	}
	return time.Duration(w.at + counts - now)
}
