package admission

import (
	"math"
	"time"
)

// A pace says how fast slots were given back while somebody waited. It is a ring of marks, a second apart.
type pace struct {
	marks [16]mark
	n     int // how many there were; the last is at (n-1)%len
}

type mark struct{ at, released int64 }

// begin forgets what was measured while nobody waited: then slots come back as requests come, not as the upstream can.
func (p *pace) begin(now, released int64) {
	p.n = 0
	p.note(now, released)
}

func (p *pace) note(now, released int64) {
	if last := &p.marks[(p.n+len(p.marks)-1)%len(p.marks)]; p.n > 0 && now-last.at < int64(time.Second) {
		return
	}
	p.marks[p.n%len(p.marks)] = mark{now, released}
	p.n++
}

// since gives the oldest mark.
func (p *pace) since() mark {
	if p.n <= len(p.marks) {
		return p.marks[0]
	}
	return p.marks[p.n%len(p.marks)]
}

// prior is for how long what is known of the time that slots are held counts, against what is measured.
const prior = 2.0 // seconds

// rate is how many slots a second are given back, as long as all are taken; 0 is not known.
func (g *Gate) rate(now int64) float64 {
	hold := time.Duration(g.hold.Load()).Seconds()
	if hold == 0 {
		return 0
	}
	expected := float64(max(min(g.inflight.Load(), g.slots.Load()), 1)) / hold
	if g.waiting.Load() == 0 {
		return expected
	}
	released := g.released.Load()
	from := g.pace.since()
	g.pace.note(now, released)
	seconds := time.Duration(now - from.at).Seconds()
	return (float64(released-from.released) + prior*expected) / (seconds + prior)
}

// longest is the longest wait that is predicted.
const longest = 5 * time.Minute

// predict says how long a waiter that is not in the queue would wait, from now; 0 if nothing is known. With several
// gates it is the lower of two views: each gate by itself, with all who stand there; and all together, where whoever
// stands at several counts for a part at each.
func (s *Scheduler) predict(w *waiter, now int64) time.Duration {
	wait, ahead, rate := math.Inf(1), 0.0, 0.0
	for i := range w.places {
		g := w.places[i].g
		r := g.rate(now)
		if g.Free() {
			return 0
		}
		if r == 0 {
			continue
		}
		all, part := g.ahead(w)
		wait = min(wait, (all+1)/r)
		ahead += part
		rate += r
	}
	if rate == 0 {
		return 0
	}
	wait = min(wait, (ahead+1)/rate)
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

// ahead is how many slots have to be given back before it is a waiter's turn: counting all who stand before it, and each
// by its part.
func (g *Gate) ahead(w *waiter) (all, part float64) {
	c := w.ticket.Class
	inflated := 1.0
	for lower := range c {
		if g.lines[lower].n > 0 {
			inflated += g.s.o.Floor
		}
	}
	for higher := c + 1; higher < Classes; higher++ {
		l := &g.lines[higher]
		all += float64(l.n)
		part += l.load
	}
	l := &g.lines[c]
	if l.n > 0 {
		own := l.own(w)
		peers := own
		for _, t := range l.backlogged {
			if t.name != w.ticket.Tenant {
				peers += min(float64(len(t.places)), (own+1)*t.weight/w.ticket.Weight)
			}
		}
		all += peers
		part += peers * l.load / float64(l.n)
	}
	owed := float64(max(0, g.inflight.Load()-g.slots.Load())) // given back to a limit that has fallen, and not on
	return all*inflated + owed, part*inflated + owed
}

// own is how many of the same tenant go before.
func (l *line) own(w *waiter) float64 {
	n := 0
	if t := l.tenants[w.ticket.Tenant]; t != nil {
		for _, p := range t.places {
			if p.w.until <= w.until {
				n++
			}
		}
	}
	return float64(n)
}
