package health

// Available says which targets of a pool may be used: it sets in[i] to whether states[i] may, and reports how many ejected ones
// had to be taken back. in has the length of states. It allocates nothing.
//
// An ejected target is left out, and a half-open one is (for all but the one call that gets its probe), as long as no more than
// half of those that operators left in are: beyond that, what has been failing for the shortest time is taken back first. How
// long an outage has lasted is the best guess of how long it still will, so that is the likeliest to be over; and its failures
// cost the least, for it has had the fewest tries. Of equals the one that stands first is, as the operator put it there. What is
// disabled stays out always: if all are, nothing is available.
func Available(states []State, in []bool) (takenBack int) {
	left, ejected := 0, 0
	for i := range states {
		in[i] = states[i].Kind == Healthy || states[i].Kind == Ramping
		if states[i].Kind != Disabled {
			left++
			if !in[i] {
				ejected++
			}
		}
	}
	for ; ejected > left/2; ejected-- {
		best := -1
		for i := range states {
			s := &states[i]
			if in[i] || s.Kind == Disabled {
				continue
			}
			if best < 0 || s.Failing.After(states[best].Failing) {
				best = i
			}
		}
		in[best] = true
		takenBack++
	}
	return takenBack
}
