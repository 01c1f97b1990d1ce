package limit

import (
	"math/bits"
	"time"
)

// RunOut is when the window is used up if what was used until now goes on at the same pace until its end; ok is false if it is
// not used up by then, or if nothing is known yet. What is unknown counts as used, and what is only held does not.
func (s *Standing) RunOut(now time.Time) (at time.Time, ok bool) {
	used, elapsed := max(s.Settled, 0)+max(s.Unknown, 0), now.Sub(s.Start)
	if used <= 0 || elapsed <= 0 || s.Limit < 0 {
		return time.Time{}, false
	}
	hi, lo := bits.Mul64(uint64(elapsed), uint64(s.Limit))
	if hi >= uint64(used) {
		return time.Time{}, false // centuries
	}
	after, _ := bits.Div64(hi, lo, uint64(used))
	if after >= uint64(s.End.Sub(s.Start)) {
		return time.Time{}, false
	}
	return s.Start.Add(time.Duration(after)).Truncate(time.Second), true
}
