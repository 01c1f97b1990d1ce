package admission

import (
	"math"
	"time"
)

// A pace says how fast slots were given back, and how many came, while somebody waited. It is a ring of marks, a second apart.
type pace struct {
	marks [16]mark
	n     int // how many there were; the last is at (n-1)%len
}

type mark struct {
	at, released int64
	came         [Classes]int64
}

// begin forgets what was measured while nobody waited: then slots come back as requests come, not as the upstream can.
func (p *pace) begin(m mark) {
	p.n = 0
	p.note(m)
}

func (p *pace) note(m mark) {
	if last := &p.marks[(p.n+len(p.marks)-1)%len(p.marks)]; p.n > 0 && m.at-last.at < int64(time.Second) {
		return
	}
	p.marks[p.n%len(p.marks)] = m
	p.n++
}

// since gives the oldest mark.
func (p *pace) since() *mark {
	if p.n <= len(p.marks) {
		return &p.marks[0]
	}
	return &p.marks[p.n%len(p.marks)]
}

// mark is how things stand.
func (g *Gate) mark(now int64) mark {
	m := mark{at: now, released: g.released.Load()}
	for c := range g.lines {
		m.came[c] = g.lines[c].came
	}
	return m
}

// prior is for how long an expectation counts against what is measured.
const prior = 2.0 // seconds

// rate is how many slots a second a class gets that has all of them taken by others: those that are given back, less those
// for higher classes that come meanwhile. 0 is not known.
func (g *Gate) rate(c Class, now int64) float64 {
	hold := time.Duration(g.hold.Load()).Seconds()
	if hold == 0 {
		return 0
	}
	expected := float64(max(min(g.inflight.Load(), g.slots.Load()), 1)) / hold
	if g.waiting.Load() == 0 {
		return expected
	}
	m, from := g.mark(now), g.pace.since()
	seconds := time.Duration(now-from.at).Seconds() + prior
	rate, floor := (float64(m.released-from.released)+prior*expected)/seconds, 1.0
	left := rate
	for higher := c + 1; higher < Classes; higher++ {
		left -= float64(m.came[higher]-from.came[higher]) / seconds
		floor = g.s.o.Floor
	}
	g.pace.note(m)
	return max(left, rate*floor)
}

// longest is the longest wait that is predicted.
const longest = 5 * time.Minute

// predict says how long a waiter that is not in the queue would wait, from now; 0 if nothing is known. With several
// gates it is the lower of two views: each gate by itself, with all who stand there; and all together, where whoever
// stands at several counts for a part at each.
func (s *Scheduler) predict(w *waiter, now int64) time.Duration {
	wait, own, rate := math.Inf(1), 0.0, 0.0
	for i := range w.places {
		g := w.places[i].g
		if g.Free() {
			return 0
		}
		all, part, r := g.outlook(w, now)
		if r == 0 {
			continue
		}
		wait = min(wait, (all+1)/r)
		own += part
		rate += r
	}
	if rate == 0 {
		return 0
	}
	wait = min(wait, (own+1)/rate)
	return max(time.Millisecond, min(time.Duration(wait*float64(time.Second)), longest))
}

// refusal says that a waiter is not let in, with the wait of one that would come now.
func (s *Scheduler) refusal(w *waiter, reason string, now int64) *Refusal {
	wait := s.predict(w, now)
	if wait == 0 {
		wait = time.Second // nothing is known: none that is taken has been given back
	}
	return &Refusal{Class: w.ticket.Class, Reason: reason, Wait: wait, Waited: time.Duration(now - w.since)}
}

// outlook says how many requests of a waiter's own tenant go before it, and how many of the tenant's are let in a second:
// all of them, and each by its part if it stands at several gates.
func (g *Gate) outlook(w *waiter, now int64) (own, part, rate float64) {
	c := w.ticket.Class
	r := g.rate(c, now)
	if r == 0 {
		return 0, 0, 0
	}
	before := float64(max(0, g.inflight.Load()-g.slots.Load())) // given back to a limit that has fallen, and not on
	for higher := c + 1; higher < Classes; higher++ {
		before += float64(g.lines[higher].n)
	}
	for lower := range c {
		if g.lines[lower].n > 0 {
			r *= 1 - g.s.o.Floor
		}
	}
	l := &g.lines[c]
	t := l.tenants[w.ticket.Tenant]
	own = t.before(w)
	for _, other := range l.backlogged {
		if other != t {
			before += min(float64(len(other.places)), (own+1)*other.weight/w.ticket.Weight)
		}
	}
	rate = r * (own + 1) / (before + own + 1)
	if own > 0 { // how it went until now knows of those who come and go before it, too
		seconds := time.Duration(now - t.since).Seconds()
		rate = (t.granted + prior*rate) / (seconds + prior)
		part = own * l.load / float64(l.n)
	}
	return own, part, rate
}

// before is how many of a tenant, which may be nil, go before one more.
func (t *tenant) before(w *waiter) float64 {
	n := 0
	if t != nil {
		for _, p := range t.places {
			if p.w.until <= w.until {
				n++
			}
		}
	}
	return float64(n)
}

// grant counts a slot that a tenant got. What is long ago counts half.
func (t *tenant) grant(now int64) {
	t.granted++
	const long = int64(16 * time.Second)
	if now-t.since > long {
		t.since = now - (now-t.since)/2
		t.granted /= 2
	}
}
