package admission

import (
	"context"
	"time"
)

// A waiter is a request in the queue. Its fields are guarded by Scheduler.mu, once it is in it.
type waiter struct {
	ticket Ticket
	seq    uint64
	since  int64   // when it came
	until  int64   // when it can wait no longer
	places []place // one for each gate
	// ready is sent to once, when it has been granted or refused.
	ready   chan struct{}
	granted *place
	peak    int32
	refused *Refusal
}

// A place is where a waiter stands at one gate.
type place struct {
	w      *waiter
	g      *Gate
	index  int // of the gate, among those of Acquire
	tenant *tenant
	at     int // among those of the tenant, -1 if it has left
}

// load is what a place counts for: a waiter at several gates is a part of each one's work.
func (p *place) load() float64 { return 1 / float64(len(p.w.places)) }

// queue waits for a slot. It is the slow path of Acquire.
func (s *Scheduler) queue(ctx context.Context, gates []*Gate, t Ticket, slot *Slot) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	w := s.newWaiter(t)
	s.mu.Lock()
	if r := s.enter(w, gates); r != nil {
		s.mu.Unlock()
		s.metrics.shed[t.Class].Inc()
		return 0, r
	}
	for i := range w.places {
		s.dispatch(w.places[i].g) // one may have been freed before it was seen that somebody waits
	}
	s.mu.Unlock()
	timer := time.NewTimer(time.Duration(w.until - w.since))
	defer timer.Stop()
	select {
	case <-w.ready:
	case <-timer.C:
	case <-ctx.Done():
	}
	return s.leave(ctx, w, slot)
}

func (s *Scheduler) newWaiter(t Ticket) *waiter {
	if t.Weight <= 0 {
		t.Weight = 1
	}
	now := s.now()
	w := &waiter{ticket: t, since: now, until: now + int64(s.o.MaxWait[t.Class]), ready: make(chan struct{}, 1)}
	if !t.Deadline.IsZero() {
		w.until = min(w.until, int64(t.Deadline.Sub(s.born)))
	}
	return w
}

// leave ends a wait in one of the ways that it can end, of which several may have come to pass by now.
func (s *Scheduler) leave(ctx context.Context, w *waiter, slot *Slot) (int, error) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	gone := ctx.Err() != nil
	switch p := w.granted; {
	case p != nil && gone: // it goes to the next
		s.charge(p, -float64(w.ticket.Cost))
		p.g.inflight.Add(-1)
		s.dispatch(p.g)
		return 0, context.Cause(ctx)
	case p != nil:
		slot.open(p.g, now)
		slot.peak, slot.wait = w.peak, time.Duration(now-w.since)
		slot.charged, slot.class, slot.tenant, slot.weight, slot.cost = true, w.ticket.Class, w.ticket.Tenant, w.ticket.Weight, w.ticket.Cost
		s.metrics.wait.Observe(slot.wait.Seconds())
		return p.index, nil
	case gone:
		if w.refused == nil { // else it is out already
			s.remove(w)
		}
		return 0, context.Cause(ctx)
	case w.refused == nil:
		s.remove(w)
		w.refused = s.refusal(w, Late, now)
	}
	s.metrics.shed[w.ticket.Class].Inc()
	return 0, w.refused
}

// enter puts a waiter into the queues of its gates, or says why not.
func (s *Scheduler) enter(w *waiter, gates []*Gate) *Refusal {
	c, now := w.ticket.Class, w.since
	s.seq++
	w.seq = s.seq
	w.places = make([]place, len(gates))
	for i, g := range gates {
		w.places[i] = place{w: w, g: g, index: i, at: -1}
	}
	if s.predict(w, now) > time.Duration(w.until-now) {
		return s.refusal(w, TooLong, now)
	}
	if s.waiting[Flex]+s.waiting[Default]+s.waiting[Priority] >= s.o.MaxWaiting && !s.displaceLower(c, gates) {
		return s.refusal(w, Full, now)
	}
	room := w.places[:0]
	for i := range w.places {
		if p := &w.places[i]; p.g.lines[c].n < p.g.room() || s.displacePeer(p.g, w) {
			room = append(room, *p)
		}
	}
	if w.places = room; len(room) == 0 {
		return s.refusal(w, Full, now)
	}
	s.waiting[c]++
	for i := range w.places {
		w.places[i].g.join(&w.places[i], now)
	}
	return nil
}

// room is how many of a class may wait.
func (g *Gate) room() int { return int(g.Limit() * g.s.o.QueuePerSlot) }

// remove takes a waiter out of the queues.
func (s *Scheduler) remove(w *waiter) {
	for i := range w.places {
		w.places[i].g.part(&w.places[i])
	}
	s.waiting[w.ticket.Class]--
}

// dispatch grants what is free at a gate to who comes first.
func (s *Scheduler) dispatch(g *Gate) {
	if g.waiting.Load() == 0 {
		return
	}
	now := s.now()
	for g.waiting.Load() > 0 && g.take() {
		p := g.pick()
		s.charge(p, float64(p.w.ticket.Cost))
		p.tenant.grant(now)
		s.remove(p.w)
		p.w.granted, p.w.peak = p, g.inflight.Load()
		p.w.ready <- struct{}{}
	}
}

// shed refuses one who waits.
func (s *Scheduler) shed(w *waiter) {
	s.remove(w)
	w.refused = s.refusal(w, Displaced, s.now())
	w.ready <- struct{}{}
}

// displaceLower sheds the newest of the lowest class below c that waits at one of the gates.
func (s *Scheduler) displaceLower(c Class, gates []*Gate) bool {
	for lower := Flex; lower < c; lower++ {
		for _, g := range gates {
			if p := g.lines[lower].newest(); p != nil {
				s.shed(p.w)
				return true
			}
		}
	}
	return false
}

// displacePeer sheds the newest of the tenant that has most in a full queue, if that is at least two more than the
// tenant has that wants in, in proportion to their weights: so one tenant does not keep others out by being early.
func (s *Scheduler) displacePeer(g *Gate, w *waiter) bool {
	l := &g.lines[w.ticket.Class]
	own := 0
	if t := l.tenants[w.ticket.Tenant]; t != nil {
		own = len(t.places)
	}
	var most *tenant
	for _, t := range l.backlogged {
		if most == nil || float64(len(t.places))/t.weight > float64(len(most.places))/most.weight {
			most = t
		}
	}
	if most == nil || most.name == w.ticket.Tenant || float64(len(most.places)-1)/most.weight < float64(own+1)/w.ticket.Weight {
		return false
	}
	s.shed(most.newest().w)
	return true
}
