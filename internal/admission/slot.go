package admission

import (
	"fmt"
	"sync/atomic"
	"time"
)

// A Ticket says who wants in.
type Ticket struct {
	Class  Class
	Tenant string  // who is charged for it: a project's id
	Weight float64 // of the tenant against others; 0 is 1
	// Cost is what the request is expected to take: prompt tokens and twice the output tokens.
	Cost int64
	// Deadline is when it must have its slot at the latest; the zero Time is only the class's longest wait.
	Deadline time.Time
}

// An Outcome is how the use of a slot ended.
type Outcome uint8

// The outcomes.
const (
	OK         Outcome = iota
	Overloaded         // the upstream said that it has too much to do: 429, 503, 529
	Failed             // otherwise; says nothing about load
	Canceled           // the caller left, or another try answered
)

// A Slot is the right to have one call at an upstream. It belongs to one goroutine at a time, but for Done, and must not
// be copied. The zero value is none: its methods do nothing.
type Slot struct {
	gate    atomic.Pointer[Gate] // nil when it has been given back
	at      int64                // when it was taken
	peak    int32                // how many were in flight then
	class   Class
	charged bool // the tenant's counter was charged with cost
	tenant  string
	weight  float64
	cost    int64
	sent    int64 // when the request was, if its first token is waited for
	opening bool  // it is among the first that were
	tokens  int64 // of its prompt, without cached ones
	wait    time.Duration
}

// open fills a slot that was taken from g.
func (sl *Slot) open(g *Gate, now int64) {
	sl.at, sl.peak = now, g.inflight.Load()
	sl.charged, sl.sent, sl.tokens, sl.wait = false, 0, 0, 0
	g.used.Store(now)
	sl.gate.Store(g)
}

// Gate is the gate that the slot is of, nil if it has been given back.
func (sl *Slot) Gate() *Gate { return sl.gate.Load() }

// Waited is how long the slot was waited for.
func (sl *Slot) Waited() time.Duration { return sl.wait }

// Sent says that the request goes to the upstream now, with so many prompt tokens that it has not in a cache, and that its
// answer comes in pieces: the time to the first of them says how busy the upstream is. It is not called for other answers.
// Call it at most once.
func (sl *Slot) Sent(tokens int64) {
	g := sl.gate.Load()
	if g == nil || sl.sent != 0 {
		return
	}
	sl.sent, sl.tokens = g.s.now(), max(tokens, 0)
	sl.opening = g.sending(sl.sent, float64(sl.tokens))
}

// FirstToken says that the first token has come. Only the first call after Sent counts.
func (sl *Slot) FirstToken() {
	g := sl.gate.Load()
	if g == nil || sl.sent == 0 {
		return
	}
	now := g.s.now()
	sent := sl.sent
	sl.sent = 0
	g.answered.Add(1)
	g.sample(sample{now: now, taken: sl.at, took: float64(now-sent) / 1e9, tokens: float64(sl.tokens), inUse: sl.peak, opening: sl.opening})
}

// Done gives the slot back, the first time it is called, and says how it went. Cost is what the request took, as in
// [Ticket]; below 0 it is not known, and the expectation stands.
func (sl *Slot) Done(o Outcome, cost int64) {
	g := sl.gate.Swap(nil)
	if g == nil {
		return
	}
	now := g.s.now()
	if sl.sent != 0 {
		g.answered.Add(1) // without an answer, but it waits no longer
		g.unheard.Add(1)
	}
	if o == Overloaded {
		g.overloaded(now)
	}
	if sl.charged && cost >= 0 && cost != sl.cost {
		g.s.correct(g, sl.class, sl.tenant, float64(cost-sl.cost)/sl.weight)
	}
	if o == OK {
		g.good.Store(now)
	}
	if o == OK || o == Canceled {
		g.held(now - sl.at)
	}
	g.release()
}

// A Refusal says that a request was not let in.
type Refusal struct {
	Class Class
	// Wait is how long an equal request would have to wait from now on, as predicted from the rate at which slots were
	// given back. It is above 0.
	Wait time.Duration
	// Reason is why: one of the constants below.
	Reason string
	// Waited is how long it waited before.
	Waited time.Duration
}

// The reasons of a Refusal.
const (
	TooLong   = "wait"      // the predicted wait is over what the request can wait
	Full      = "full"      // as many wait as may
	Late      = "late"      // it waited as long as it could
	Displaced = "displaced" // one of a higher class, or of a tenant with less in the queue, took its place
)

// Error is for the log; what callers are told is for others to say.
func (r *Refusal) Error() string {
	return fmt.Sprintf("not admitted (%s, class %s): the wait is predicted to be %v", r.Reason, r.Class, r.Wait.Round(time.Millisecond))
}
