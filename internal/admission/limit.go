package admission

import (
	"slices"
	"time"
)

// Learned is what a gate has seen of its upstream since its limit changed. See ADR 12 for why the rules are as they are.
type learned struct {
	ratios  [64]float64 // of the time to the first token to what an idle upstream would need; the last ones
	n       int         // how many there were
	peak    int32       // most in flight when one of them began
	since   int64       // when the first of them came
	shrunk  int64       // when the limit fell last: what began before says nothing about the limit since
	refused int64       // when the upstream last said that it has too much to do, and the limit fell
	strikes int         // how often it did that in a row
	base    float64     // the ratio where there is hardly any load: a prediction may be wrong by a factor
	idle    float64     // mean of the predicted idle times, nanoseconds
	marks   [32]flow    // a ring, of the last seconds
	marked  int
}

// A flow is what had been sent and answered by a time.
type flow struct{ at, sent, answered int64 }

// What the limit goes by.
const (
	window      = int64(time.Second)            // a change needs as long, at least
	glance      = int64(100 * time.Millisecond) // between two looks at what has not been answered
	enough      = 10                            // samples for a change
	few         = 3                             // likewise, if there are no more in a long window
	longWindow  = 10 * window
	smoothing   = 0.2  // the part of a new limit in the old, as in Gradient2
	queueSize   = 4    // slots that are added, likewise
	easy        = 1.25 // below this ratio there is room to spare, and the limit grows by a share
	growth      = 1.05 // that share
	backoff     = 0.9  // for an upstream that says that it is overloaded
	backoffWait = int64(time.Second)
	inARow      = 3 * backoffWait // between two that belong together
)

// sending is told of a request whose first token is waited for.
func (g *Gate) sending(now int64, idle time.Duration) {
	g.sent.Add(1)
	if look := g.look.Load(); now < look || !g.look.CompareAndSwap(look, now+glance) {
		return
	}
	g.learning.Lock()
	g.glance(now, float64(idle))
	g.learning.Unlock()
	g.serve()
}

// sample takes the ratio of a first token.
func (g *Gate) sample(now, taken int64, ratio float64, peak int32) {
	g.learning.Lock()
	changed := g.learn(now, taken, ratio, peak)
	g.learning.Unlock()
	if changed {
		g.serve()
	}
}

// learn changes the limit if there is enough to go by.
func (g *Gate) learn(now, taken int64, ratio float64, peak int32) bool {
	k := &g.learned
	if taken < k.shrunk {
		return false
	}
	if k.n == 0 {
		k.since = now
	}
	k.ratios[k.n%len(k.ratios)] = ratio
	k.n++
	k.peak = max(k.peak, peak)
	passed := now - k.since
	if passed < window || k.n < few || (k.n < enough && passed < longWindow) {
		return false
	}
	g.judge(now, k.median(), k.peak)
	k.n, k.peak = 0, 0
	return true
}

// median is that of the ratios: the tail of an upstream's latency is not its load.
func (k *learned) median() float64 {
	var sorted [len(k.ratios)]float64
	n := copy(sorted[:], k.ratios[:min(k.n, len(k.ratios))])
	slices.Sort(sorted[:n])
	return sorted[n/2]
}

// judge makes the next limit of a window's ratio and the most that was in flight in it.
func (g *Gate) judge(now int64, ratio float64, peak int32) {
	k, o, limit := &g.learned, &g.s.o, g.Limit()
	if int(peak) <= o.MinLimit {
		// With no less can the upstream be asked, so this is how it is, and not load.
		k.base = max(1, k.base+smoothing*(ratio-k.base))
	} else {
		k.base = max(1, min(k.base, ratio))
	}
	ratio /= k.base
	gradient := min(max(o.Tolerance/ratio, 0.5), 1)
	switch {
	case gradient < 1:
		limit = min(limit, float64(peak))
		g.setLimit((1-smoothing)*limit + smoothing*(limit*gradient+queueSize))
		k.shrunk = now
	case float64(peak) < limit/2: // it was not tried
	case ratio <= easy:
		g.setLimit(limit*growth + 1)
	default:
		g.setLimit(limit + smoothing*queueSize)
	}
}

// glance looks whether first tokens that should have come have not: an upstream that gets too much at once shows it
// first by silence, long before the late tokens come and say so.
func (g *Gate) glance(now int64, idle float64) {
	k := &g.learned
	if k.idle == 0 {
		k.idle = idle
	}
	k.idle += smoothing * (idle - k.idle)
	f := flow{now, g.sent.Load(), g.answered.Load()}
	k.marks[k.marked%len(k.marks)] = f
	k.marked++
	due := now - int64(k.idle*k.base*g.s.o.Tolerance)
	var from, to *flow // what was sent between them should have been answered by now, most of it
	for i := k.marked - 1; i >= max(0, k.marked-len(k.marks)); i-- {
		m := &k.marks[i%len(k.marks)]
		if m.at > due {
			continue
		}
		if to == nil {
			to = m
		}
		if from = m; m.at < k.shrunk || to.sent-m.sent >= 2*enough {
			break
		}
	}
	if to == nil || from.at < k.shrunk || to.sent-from.sent < 2*enough {
		return
	}
	if f.answered-from.answered >= (to.sent-from.sent)/2 {
		return
	}
	// Those that have had their first token are what the upstream works on at once. Where that cannot be told, by half.
	inflight := g.inflight.Load()
	working := float64(inflight) - float64(f.sent-f.answered)
	limit := float64(inflight) / 2
	if working >= enough {
		limit = max(working*1.1, float64(inflight)/8)
	}
	g.setLimit(min(g.Limit(), limit))
	k.shrunk, k.n, k.peak = now, 0, 0
}

// overloaded takes the upstream's own word for it.
func (g *Gate) overloaded(now int64) {
	g.learning.Lock()
	defer g.learning.Unlock()
	k := &g.learned
	if k.refused != 0 && now-k.refused < backoffWait {
		return
	}
	if k.strikes++; now-k.refused > inARow {
		k.strikes = 1
	}
	k.refused = max(now, 1)
	limit := g.Limit()
	if k.strikes > 1 {
		// Far above what is in flight, it would have to fall for a long time before anybody felt it. Once is no reason.
		limit = min(limit, 2*float64(max(g.inflight.Load(), 1)))
	}
	g.setLimit(limit * backoff)
}
