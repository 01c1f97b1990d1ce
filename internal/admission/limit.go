package admission

import (
	"math"
	"slices"
	"time"
)

// Learned is what a gate has seen of its upstream since its limit changed. See ADR 12 for why the rules are as they are.
type learned struct {
	ratios  [64]float64 // of the time to the first token to what an idle upstream would need; the last ones
	n       int         // how many there were
	fall                // that is under way
	total   int         // samples, of late
	fine    int         // those of them that were as was predicted
	blind   bool        // the limit fell for silence, and nothing has been heard since
	inUse   int32       // most in flight when one of them began
	since   int64       // when the first of them came
	shrunk  int64       // when the limit fell last: what began before says nothing about the limit since
	sent    int64       // what had been sent by then
	refused int64       // when the upstream last said that it has too much to do, and the limit fell
	strikes int         // how often it did that in a row
	ceiling float64     // where the limit fell to last: above, it was too much
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
	easy        = 0.25 // below this part of what is tolerated there is room to spare, and the limit grows
	growth      = 1.05 // by this, far from where it was too much the last time
	forgetting  = 0.05 // the part of a lower ratio in the base
	drain       = 0.98 // what is left of the limit where the ratio is too high, but may be so by chance
	backoff     = 0.9  // for an upstream that says that it is overloaded
	backoffWait = int64(time.Second)
	notMany     = 16              // calls at once that are hardly why an upstream is overloaded
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
	k.trust(ratio <= g.s.o.Tolerance*k.base)
	if taken < k.shrunk {
		return false
	}
	if k.n == 0 {
		k.since = now
	}
	k.ratios[k.n%len(k.ratios)] = ratio
	k.n++
	k.inUse = max(k.inUse, peak)
	passed := now - k.since
	if passed < window || k.n < few || (k.n < enough && passed < longWindow) {
		return false
	}
	g.judge(now, k.inUse)
	k.n, k.inUse = 0, 0
	return true
}

// trust counts how many predictions came true.
func (k *learned) trust(fine bool) {
	if k.total++; fine {
		k.fine++
	}
	if k.total > 1000 {
		k.total, k.fine = k.total/2, k.fine/2
	}
}

// fell notes that the limit fell, and to where.
func (k *learned) fell(now, sent int64, limit float64) {
	k.shrunk, k.sent, k.ceiling, k.n, k.inUse = now, sent, limit, 0, 0
}

// median gives that of the ratios, and the least that it may well be, with so few of them: two standard errors below. The
// mean would be one of tails, which are an upstream's and not its load's.
func (k *learned) median() (median, least float64) {
	var sorted [len(k.ratios)]float64
	n := copy(sorted[:], k.ratios[:min(k.n, len(k.ratios))])
	slices.Sort(sorted[:n])
	return sorted[n/2], sorted[max(0, n/2-int(math.Ceil(math.Sqrt(float64(n)))))]
}

// judge makes the next limit of a window's ratios and the most that was in flight in it.
func (g *Gate) judge(now int64, peak int32) {
	k, o, limit := &g.learned, &g.s.o, g.Limit()
	seen, least := k.median()
	k.blind = false
	switch {
	case int(peak) <= o.MinLimit:
		// With no less can the upstream be asked, so this is how it is, and not load.
		k.base = max(1, k.base+smoothing*(seen-k.base))
	case seen < k.base:
		k.base = max(1, k.base+forgetting*(seen-k.base))
	}
	ratio, gradient := seen/k.base, min(max(o.Tolerance*k.base/least, 0.5), 1)
	switch {
	case gradient < 1 && k.inVain(ratio):
		k.base = seen
		g.setLimit(k.before)
		k.fall = fall{}
	case gradient < 1:
		k.falls(limit, float64(peak), ratio)
		limit = min(limit, float64(peak))
		g.setLimit((1-smoothing)*limit + smoothing*(limit*gradient+queueSize))
		k.fell(now, g.sent.Load(), g.Limit())
	case float64(peak) < limit/2: // it was not tried
		k.fall = fall{}
	case ratio > o.Tolerance: // it may be chance
		k.ceiling = limit * drain
		g.setLimit(k.ceiling)
	default:
		k.fall = fall{}
		if room := 1 + (o.Tolerance-1)*easy; ratio >= room {
			break
		}
		if limit > 0.9*k.ceiling && limit < 1.1*k.ceiling { // near to where it was too much the last time
			g.setLimit(limit + smoothing*queueSize)
			break
		}
		g.setLimit(limit*growth + 1)
	}
}

// A fall is one of the limit, in one step or several, for one reason.
type fall struct {
	before float64 // the limit before it
	peak   float64 // what was in flight then; 0: the limit is not falling
	steps  int     // how often it has fallen since
	ratio  float64 // what it was then; 0 is not known yet
}

// falls notes where a fall began.
func (f *fall) falls(limit, peak, ratio float64) {
	if f.peak == 0 {
		f.before, f.peak = limit, peak
	}
	if f.ratio == 0 {
		f.ratio = ratio
	}
	f.steps++
}

// inVain reports that it falls and falls, and what gets through is no faster: with half of what the upstream had before, an
// overload of our making would be. So it is not our load that makes the upstream slow, but that of others, or it never was as
// fast as was predicted; less would only be less.
func (f *fall) inVain(ratio float64) bool { return f.steps >= 5 && f.ratio > 0 && ratio > 0.7*f.ratio }

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
	i := k.marked - 1
	for i >= 0 && i > k.marked-len(k.marks) && k.marks[i%len(k.marks)].at > due {
		i--
	}
	if i < 0 || k.marks[i%len(k.marks)].at > due {
		return
	}
	// The oldest are answered first, near enough. What was sent before the limit fell last is not held against it.
	done := max(f.answered, k.sent)
	overdue, open := k.marks[i%len(k.marks)].sent-done, f.sent-done
	if overdue < enough || overdue < open/4 || k.blind || k.fine < few || k.fine*4 < k.total {
		return
	}
	// Those that have had their first token are what the upstream works on at once. Where that cannot be told, by half.
	inflight := g.inflight.Load()
	working := float64(inflight) - float64(f.sent-f.answered)
	limit := float64(inflight) / 2
	if working >= enough {
		limit = max(working*1.02+1, float64(inflight)/8)
	}
	k.falls(g.Limit(), float64(inflight), 0)
	g.setLimit(min(g.Limit(), limit))
	k.fell(now, f.sent, g.Limit())
	k.blind = true
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
		limit = min(limit, 2*float64(max(g.inflight.Load(), notMany)))
	}
	g.setLimit(limit * backoff)
}
