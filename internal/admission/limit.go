package admission

import (
	"math"
	"slices"
	"time"
)

// Learned is what a gate has seen of its upstream since its limit changed. See ADR 12 for why the rules are as they are.
type learned struct {
	ratios   [64]float64 // of the time to the first token to what an idle upstream would need; the last ones
	n        int         // how many there were
	fall                 // that is under way
	total    int         // samples, of late
	fine     int         // those of them that were as was predicted
	blind    bool        // the limit fell for silence, and it has not been better since
	inUse    int32       // most in flight when one of them began
	since    int64       // when the first of them came
	shrunk   int64       // when the limit fell last: what began before says nothing about the limit since
	sent     int64       // what had been sent by then
	refused  int64       // when the upstream last said that it has too much to do, and the limit fell
	strikes  int         // how often it did that in a row
	ceiling  float64     // where the limit fell to last: above, it was too much
	topped   int64       // when that was
	told     float64     // the slots that the upstream is said to have; 0 is not known
	base     float64     // the ratio that is none of our load's: others may use the upstream, too
	idle     idle        // what its first tokens take without load
	expected float64     // the mean of that, of late, in seconds
	marks    [32]flow    // a ring, of the last seconds
	marked   int
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
	smoothing   = 0.2                // the part of a new limit in the old, as in Gradient2
	queueSize   = 4                  // slots that are added, likewise
	easy        = 0.35               // below this part of what is tolerated there is room to spare, and the limit grows
	remembered  = int64(time.Minute) // for how long it is remembered where it was too much
	growth      = 1.05               // by this, far from where it was too much the last time
	forgetting  = 0.05               // the part of a lower ratio in the base
	drain       = 0.98               // what is left of the limit where the ratio is too high, but may be so by chance
	backoff     = 0.9                // for an upstream that says that it is overloaded
	backoffWait = int64(time.Second)
	notMany     = 16              // calls at once that are hardly why an upstream is overloaded
	inARow      = 3 * backoffWait // between two that belong together
)

// sending is told of a request whose first token is waited for. It says whether that is one of the first.
func (g *Gate) sending(now int64, tokens float64) (opening bool) {
	opening = g.sent.Add(1) <= first+g.unheard.Load()
	if look := g.look.Load(); now < look || !g.look.CompareAndSwap(look, now+glance) {
		return opening
	}
	g.learning.Lock()
	g.glance(now, tokens)
	g.learning.Unlock()
	g.serve()
	return opening
}

// A sample is a first token.
type sample struct {
	now, taken int64   // when it came, and its slot was taken
	took       float64 // seconds
	tokens     float64 // of the prompt
	inUse      int32   // slots, when its own was taken
	opening    bool
}

func (g *Gate) sample(s sample) {
	g.learning.Lock()
	changed := g.learn(s)
	g.learning.Unlock()
	if changed {
		g.serve()
	}
}

// learn changes the limit if there is enough to go by.
func (g *Gate) learn(s sample) bool {
	k, now := &g.learned, s.now
	ratio, usable := s.took/k.idle.of(s.tokens), k.idle.known()
	k.idle.learn(now, s.tokens, s.took, s.opening, g.waiting.Load() == 0 && float64(s.inUse) <= g.Limit()/2)
	if !usable {
		return false
	}
	k.trust(ratio <= g.tolerance())
	if s.taken < k.shrunk {
		return false
	}
	if k.n == 0 {
		k.since = now
	}
	k.ratios[k.n%len(k.ratios)] = ratio
	k.n++
	k.inUse = max(k.inUse, s.inUse)
	passed := now - k.since
	if passed < window || k.n < few || (k.n < enough && passed < longWindow) {
		return false
	}
	g.judge(now, k.inUse)
	k.n, k.inUse = 0, 0
	return true
}

// tolerance is the ratio that is still good.
func (g *Gate) tolerance() float64 { return g.s.o.Tolerance * g.learned.base * g.learned.idle.doubt() }

// trust counts how many predictions came true.
func (k *learned) trust(fine bool) {
	if k.total++; fine {
		k.fine++
	}
	if k.total > 100 {
		k.total, k.fine = k.total/2, k.fine/2
	}
}

// fell notes that the limit fell, and to where.
func (k *learned) fell(now, sent int64, limit float64) {
	k.shrunk, k.sent, k.ceiling, k.topped, k.n, k.inUse = now, sent, limit, now, 0, 0
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
	switch {
	case int(peak) <= o.MinLimit:
		// With no less can the upstream be asked, so this is how it is, and not load.
		k.base = max(1, k.base+smoothing*(seen-k.base))
	case seen < k.base:
		k.base = max(1, k.base+forgetting*(seen-k.base))
	}
	ratio, tolerance := seen/k.base, g.tolerance()/k.base
	gradient := min(max(tolerance*k.base/least, 0.5), 1)
	k.blind = k.blind && ratio > tolerance
	switch {
	case gradient < 1 && k.inVain(ratio):
		k.base = seen
		g.setLimit(2 * k.before)
		k.topped = now - remembered
		k.fall = fall{}
	case gradient < 1:
		limit = min(limit, float64(peak))
		k.falls(limit, ratio)
		g.setLimit((1-smoothing)*limit + smoothing*(limit*gradient+queueSize))
		k.fell(now, g.sent.Load(), g.Limit())
	case float64(peak) < limit/2: // it was not tried
		k.fall = fall{}
	case ratio > tolerance: // it may be chance
		k.ceiling, k.topped = limit*drain, now
		g.setLimit(k.ceiling)
	default:
		k.fall = fall{}
		if k.told > 0 && limit >= k.told {
			tolerance = o.Tolerance // more than it is said to work on needs a better reason than doubt
		}
		g.grow(now, limit, ratio < 1+(tolerance-1)*easy)
	}
}

// grow raises the limit, with care near to where it was too much a short while ago.
func (g *Gate) grow(now int64, limit float64, easy bool) {
	k := &g.learned
	near := now-k.topped < remembered && limit > 0.9*k.ceiling && limit < 1.1*k.ceiling || k.told > 0 && limit >= k.told
	switch {
	case easy && !near:
		g.setLimit(limit*growth + 1)
	case easy || !near:
		g.setLimit(limit + smoothing*queueSize)
	}
}

// A fall is one of the limit, in several steps, for first tokens that come late.
type fall struct {
	before float64 // what was in flight, at most the limit, before it
	ratio  float64 // what it was then
	steps  int     // 0: the limit is not falling
}

// falls counts a step.
func (f *fall) falls(limit, ratio float64) {
	if f.steps == 0 {
		f.before, f.ratio = limit, ratio
	}
	f.steps++
}

// inVain reports that it falls and falls, and what gets through is no faster: with half of what the upstream had before, an
// overload of our making would be. So it is not our load that makes the upstream slow, but that of others, or it has become
// slow; less would only be less.
func (f *fall) inVain(ratio float64) bool { return f.steps >= 5 && ratio > 0.7*f.ratio }

// glance looks whether first tokens that should have come have not: an upstream that gets too much at once shows it
// first by silence, long before the late tokens come and say so.
func (g *Gate) glance(now int64, tokens float64) {
	k := &g.learned
	expected := k.idle.of(tokens)
	if k.expected == 0 {
		k.expected = expected
	}
	k.expected += smoothing * (expected - k.expected)
	f := flow{now, g.sent.Load(), g.answered.Load()}
	k.marks[k.marked%len(k.marks)] = f
	k.marked++
	due := now - int64(k.expected*g.tolerance()*1e9)
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
	if overdue < 2*enough || overdue < open/2 || k.blind || !k.idle.known() || k.fine*4 < k.total {
		return
	}
	// Those that have had their first token are what the upstream works on at once. Where that cannot be told, by half.
	inflight := g.inflight.Load()
	working := float64(inflight) - float64(f.sent-f.answered)
	limit := float64(inflight) / 2
	if working >= enough {
		limit = max(working*1.02+1, float64(inflight)/8)
	}
	k.fall = fall{}
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
	if k.refused != 0 && g.good.Load() <= k.refused {
		// It has answered nobody since. It is down, not overloaded: less would not help it, and be missing when it is back.
		k.refused = now
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
