package health

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Target is one unit of choice: a model at a provider, or at one address of it. It is safe for concurrent use.
type Target struct {
	key   string
	board *Board
	deaf  bool                 // nothing is seen of it: there are too many
	seen  atomic.Pointer[seen] // what everybody reads
	said  atomic.Pointer[said] // by operators
	ask   atomic.Int32         // whether somebody would probe
	tried atomic.Bool          // it has been used
	known atomic.Bool          // it is configured: replicas share it, and metrics have it as a label

	mu    sync.Mutex    // guards the fields below, and changes of seen
	past  window        // of this epoch
	run   int           // so many tries in a row were answered, or failed if negative, in this epoch
	first time.Time     // the first failure of the run
	claim time.Time     // when the probe was claimed, zero if it is free
	well  time.Time     // when the last outage ended; zero if there was none
	sick  time.Duration // how long that was
	store stored
}

// seen is how a target is. It is immutable, and an epoch is one time between two changes.
type seen struct {
	kind    Kind // Healthy, Ramping or Ejected; the rest is told by time
	epoch   uint64
	since   time.Time
	until   time.Time
	failing time.Time
	reason  string
	lease   bool // this replica is the one that may find out
	leased  time.Time
	down    bool // an active probe was not answered: no call need find that out
}

// shut is a disabling in terms of this process.
type shut struct {
	since, until time.Time // with monotonic readings; until is zero for one without end
	reason       string
}

// Whether somebody would probe a target that this replica may not probe yet: values of Target.ask.
const (
	wantsNot int32 = iota
	wants
	mustWait // another replica probes; the worker asks again by itself
)

// said is what operators have said of a target, of all that they have.
type said struct {
	words *[]word // all
	shut  *shut   // of this target; nil if there is nothing
}

// shut is what an operator's word does to the target, nil if there is none. Handles that the board has forgotten hear of words, too.
func (t *Target) shut() *shut {
	words := t.board.words.Load()
	s := t.said.Load()
	if s == nil || s.words != words {
		s = &said{words: words}
		s.shut, _ = wordOn(*words, t.key)
		t.said.Store(s)
	}
	return s.shut
}

// stored is what the store is thought to have of an ejection.
type stored struct {
	until time.Time // of what it has, by its clock; zero if it has none
	dirty bool      // it has to be told
}

// Key is the name by which the board knows the target.
func (t *Target) Key() string { return t.key }

// State is how the target is now. It takes no lock and allocates nothing.
func (t *Target) State(now time.Time) State {
	if off := t.shut(); off != nil && (off.until.IsZero() || now.Before(off.until)) {
		return State{Kind: Disabled, Since: off.since, Until: off.until, Reason: off.reason}
	}
	v := t.seen.Load()
	switch v.kind {
	case Ramping:
		if !now.Before(v.until) {
			return State{Kind: Healthy, Share: 1, Since: v.until}
		}
		return State{Kind: Ramping, Share: share(now.Sub(v.since)), Since: v.since, Until: v.until, Reason: v.reason}
	case Ejected:
		s := State{Kind: Ejected, Since: v.since, Until: v.until, Failing: v.failing, Reason: v.reason}
		if !now.Before(v.until) {
			switch {
			case v.down:
			case v.lease:
				s.Kind = HalfOpen
			case t.ask.CompareAndSwap(wantsNot, wants):
				t.board.poke()
			}
		}
		return s
	}
	return State{Kind: Healthy, Share: 1, Since: v.since}
}

// Probe gives the right to find out whether a half-open target is well: to one caller, over all replicas, until [Target.End]
// is told how that went. Whoever does not send the try after all ends it as [Ignored]. No, if another has it.
func (t *Target) Probe(now time.Time) (Token, bool) {
	if t.State(now).Kind != HalfOpen { // without the lock, since this is what most find
		return Token{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.seen.Load()
	if v.kind != Ejected || now.Before(v.until) || !v.lease || v.down || !t.claim.IsZero() && now.Sub(t.claim) < lost {
		return Token{}, false
	}
	t.claim = now
	return Token{epoch: v.epoch, probe: true, due: true}, true
}

// Begin is told of a try before it is sent, unless Probe was.
func (t *Target) Begin() Token {
	if v := t.seen.Load(); v.kind != Ejected {
		return Token{epoch: v.epoch}
	}
	return t.begin(time.Now())
}

func (t *Target) begin(now time.Time) Token {
	v := t.seen.Load()
	return Token{epoch: v.epoch, due: v.kind == Ejected && !now.Before(v.until)}
}

// End is told once what became of a try, as soon as that is known. A try that began before the last change of the target says
// nothing of how it is now, and is forgotten.
func (t *Target) End(k Token, o Outcome) {
	if k.epoch == 0 || t.deaf || o == Ignored && !k.probe {
		return
	}
	t.end(k, o, time.Now())
}

func (t *Target) end(k Token, o Outcome, now time.Time) {
	t.mu.Lock()
	done := t.take(k, o, now)
	t.mu.Unlock()
	t.board.tell(t.key, done)
}

// take is End under the lock. It gives what has changed.
func (t *Target) take(k Token, o Outcome, now time.Time) changes {
	t.tried.Store(true)
	done := t.settle(now)
	v := t.seen.Load()
	if k.epoch != v.epoch {
		return done
	}
	if k.probe {
		t.claim = time.Time{}
	}
	switch {
	case o == Ignored: // a probe that said nothing; the next may not be the very next call, or a target that is asked too much would be asked on
		t.swap(func(v *seen) { v.until = now.Add(again) })
		return done
	case v.kind == Ejected && k.due && o == Success:
		return done.and(t.recover(now, "probe"))
	case v.kind == Ejected && k.due:
		return done.and(t.eject(now, string(o), ProbeFailed))
	}
	t.count(o, now)
	switch {
	case v.kind == Ejected:
		if t.run >= goodInARow && now.Sub(v.since) >= shortest {
			return done.and(t.recover(now, "answers"))
		}
	case o != Success && t.unwell(v.kind):
		return done.and(t.eject(now, string(o), WasEjected))
	}
	return done
}

// count takes an outcome into the window and the run.
func (t *Target) count(o Outcome, now time.Time) {
	t.past.add(now, o != Success)
	if o == Success {
		t.run = max(t.run, 0) + 1
		return
	}
	if t.run >= 0 {
		t.first = now
	}
	t.run = min(t.run, 0) - 1
}

// unwell reports whether the last failure was one too many.
func (t *Target) unwell(k Kind) bool {
	return t.run <= -inARow || k == Ramping && t.run <= -inARowRamping || t.past.bad()
}

// settle brings about what time alone does: a ramp that is over.
func (t *Target) settle(now time.Time) changes {
	v := t.seen.Load()
	if v.kind != Ramping || now.Before(v.until) {
		return changes{}
	}
	t.well = v.until
	t.sick = v.since.Sub(v.failing)
	// The epoch stays: tries of the ramp say what they say.
	t.seen.Store(&seen{kind: Healthy, epoch: v.epoch, since: v.until})
	return changes{{Change: BecameHealthy, Reason: v.reason, Failing: t.sick}}
}

// eject takes the target out.
func (t *Target) eject(now time.Time, reason string, c Change) changes {
	v := t.seen.Load()
	failing := v.failing
	if v.kind == Healthy {
		failing = t.outage(now)
	}
	out := now.Sub(failing)
	d := span(out, t.board.chance())
	since := now
	if v.kind == Ejected {
		since = v.since
	}
	t.next(&seen{kind: Ejected, since: since, until: now.Add(d), failing: failing, reason: reason, lease: !t.shared(), down: v.down})
	t.store.dirty = t.shared()
	return changes{{Change: c, Reason: reason, Failing: out, For: d}}
}

// outage is when the trouble of a target began that was well until now. One that fails again before it was well for as long as
// it had been failing, or a minute, has not recovered: it is the old trouble.
func (t *Target) outage(now time.Time) time.Time {
	if !t.well.IsZero() && now.Sub(t.well) < min(t.sick, relapse) {
		return t.well.Add(-ramp - t.sick)
	}
	if t.run <= -inARow {
		return t.first
	}
	return t.past.begin(now)
}

// recover lets the target have a little, and more from then on.
func (t *Target) recover(now time.Time, why string) changes {
	v := t.seen.Load()
	t.next(&seen{kind: Ramping, since: now, until: now.Add(ramp), failing: v.failing, reason: why})
	t.store.dirty = t.shared()
	return changes{{Change: BeganRamp, Reason: why, Failing: now.Sub(v.failing)}}
}

// next begins an epoch.
func (t *Target) next(v *seen) {
	v.epoch = t.seen.Load().epoch + 1
	t.seen.Store(v)
	t.past.clear()
	t.run, t.claim = 0, time.Time{}
	t.ask.Store(wantsNot)
}

// swap changes something within an epoch.
func (t *Target) swap(change func(*seen)) {
	v := *t.seen.Load()
	change(&v)
	t.seen.Store(&v)
}
