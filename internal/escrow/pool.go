package escrow

import (
	"crypto/rand"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Pool is what is shared, as this process knows it: its terms, how it stood when the store was last asked, and the lease here.
type Pool struct {
	bank    *Bank
	key     Key
	next    *Pool        // of the same hash; guarded by its shard
	version atomic.Int64 // of terms
	used    atomic.Int32 // when it was asked for, in seconds of the bank's clock; forgotten for good if it is that

	mu    sync.Mutex // guards what follows
	terms Terms
	state State // as of the last good trade
	lease *lease
	wait  []*waiter
	// Less than short is not asked for again before the lapse of a while after shortAt, since it was refused then.
	short, shortAt int64
	known          bool // that state is
	tail           bool // what is free is to be given back at once
	refill         bool // it is asked for
	excess         bool // more was had than the limit is, for it was lowered
	recall         bool // what is free is to be given back
	unsure         bool // it was, by a trade of which it is not known whether it came into force
	later          bool // it will be asked for again in a moment

	// Guarded by the bank's lock.
	at     int32 // in the list of those with a lease, -1 if it is in none
	queued rank
	again  rank // it is to be queued once what runs for it is done
	busy   bool // a trade runs
}

// A lease is a part of a pool that this process may spend.
//
// What is free follows from what the store said last, and from what was done here since:
//
//	free = what it was granted, less what it gave back - held - spent - owed - what is on its way back
//
// The store knows the first two exactly. Of held and spent it knows nothing until calls are written, which changes neither: the record of a
// call takes from the lease in the store what the call was settled with here. So free, held and what is settled and not written yet
// are together never more than the lease has in the store, whichever trades came into force: one whose reply was lost counts as
// given back and as not granted, until the next that succeeds says what is so.
type lease struct {
	id    string
	told  int64 // of spent, what was in the books at the last good trade
	free  int64
	held  int64 // reserved by calls that run
	spent int64 // what calls came to that were settled, at most what they had reserved
	owed  int64 // of what was free: what calls came to beyond what they had reserved, to be given back
	// unsure is of owed what trades took with them of which it is not known whether they came into force. It counts as given back
	// until the next good trade, and then as owed still, for nothing says whether it was: once too often does no harm, and it is free
	// to whoever asks for it; not at all would let as much be spent again.
	unsure int64
	over   int64 // what they came to beyond, since the last good trade
	until  int64 // when it must not be spent from any more, unless it is renewed: a while after the last good trade began; at first 0
	// promised is for calls that have been told that it is there and have not taken it yet, if they take it soon after promisedAt.
	promised, promisedAt int64
	slice                int64 // what was free after the last grant
	typical              int64 // what a call reserves, rather more than less
	demand               meter
	shown                int64 // spent, when Changed was last called
	used                 int32 // when it was last used, in seconds
	trading              bool  // a trade of it runs
}

const (
	grace   = int64(300 * time.Millisecond)           // how long what was promised is kept
	fresh   = int64(Life - StopBefore)                // how long a lease may be spent from after the beginning of a renewal
	idle    = int32(60)                               // how many seconds an unused lease is kept
	keep    = int32(180)                              // how many an unused pool without a lease is
	refused = int64(500 * time.Millisecond)           // how long what was refused is refused without asking
	span    = int64(5 * time.Second)                  // over which demand is counted
	renew   = fresh - int64(RenewEvery-time.Second/2) // a lease that has less to go is renewed with the next look
)

// newLease makes one with an id of 80 random bits: of a thousand million leases, two are the same with a probability of one in two
// million. It is in the journal and the record of each call, so it is no longer than that.
func newLease() *lease { return &lease{id: "ls_" + rand.Text()[:16]} }

// Hold reserves an amount for a call, from the lease alone, and returns the id of the lease. It is false if the lease has too little
// free or was not renewed in time: then Fund may help.
func (p *Pool) Hold(amount int64) (id string, ok bool) {
	if amount < 0 {
		return "", false
	}
	p.mu.Lock()
	l := p.lease
	if l == nil || amount > l.free {
		p.mu.Unlock()
		return "", false
	}
	now := p.bank.now()
	if now >= l.until {
		p.mu.Unlock()
		return "", false
	}
	l.free -= amount
	l.held += amount
	l.promised = max(l.promised-amount, 0)
	l.used = p.bank.second.Load()
	l.demand.add(now, amount)
	l.typical = max(amount, l.typical-l.typical/16)
	id = l.id
	low := !p.refill && !p.tail && l.free < l.slice/2
	if low {
		p.refill = true
	}
	p.mu.Unlock()
	if low {
		p.bank.queue(background, p)
	}
	return id, true
}

// Settle ends what Hold began: the call came to spent, and the rest of what it held is free again. It must be called once for each
// Hold, with what the record of the call will say.
//
// If a call came to more than it held, the surplus is taken from what is free, as far as that goes, and given back to the pool. In
// the store the record books it as spent and as over, and leaves the lease alone: so the pool is not charged twice, and what would
// have been spent beyond the limit is made up for where something is left.
//
// If the lease was lost meanwhile, nothing returns: whoever settled it by hand has decided what became of all that was in it.
func (p *Pool) Settle(id string, held, spent int64) {
	held, spent = max(held, 0), max(spent, 0)
	p.mu.Lock()
	l := p.lease
	if l == nil || l.id != id {
		p.mu.Unlock()
		return
	}
	held = min(held, l.held) // a second Settle must not make money
	took := min(spent, held)
	l.held -= held
	l.spent += took
	l.free += held - took
	if over := spent - held; over > 0 {
		made := max(min(over, l.free), 0)
		l.free -= made
		l.owed += made
		l.over = plus(l.over, over)
	}
	l.used = p.bank.second.Load()
	var ask rank
	if held > took {
		p.short = 0
		if p.excess { // what comes back is not there to be spent again
			p.revoke(l)
		}
		switch {
		case len(p.wait) > 0:
			ask = urgent
		case p.tail && spent > 0: // nothing was sent otherwise, and it may be held again at once; the next look gives it back
			ask = background
		}
	}
	p.mu.Unlock()
	if ask != none {
		p.bank.queue(ask, p)
	}
}

// State is how the pool stands as far as that is known here: as the store said last, and with what was settled here since. It is
// false if the store was not asked yet. What others did is as old as the last trade, at most 10 s while the pool is in use.
func (p *Pool) State() (State, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stands(), p.known
}

// Used is what of State is settled and unknown: how far the pool is used. It is false if the store was not asked yet.
func (p *Pool) Used() (used int64, known bool) {
	p.mu.Lock()
	used, known = plus(p.state.Settled, p.state.Unknown), p.known
	if l := p.lease; l != nil {
		used = plus(used, plus(min(max(l.spent-l.told, 0), p.state.Held), l.over))
	}
	p.mu.Unlock()
	return used, known
}

// stands is State, with the lock held.
func (p *Pool) stands() State {
	s := p.state
	if l := p.lease; l != nil {
		untold := min(max(l.spent-l.told, 0), s.Held)
		s.Held -= untold
		s.Settled = plus(s.Settled, plus(untold, l.over))
		s.Over = plus(s.Over, l.over)
	}
	return s
}

// Spare is how much of the pool this process holds and no call has reserved: for whoever tells people how a pool stands, it is free.
func (p *Pool) Spare() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.bank.now()
	if l := p.lease; l != nil && now < l.until {
		return l.spare(now)
	}
	return 0
}

// spare is what is free and promised to nobody.
func (l *lease) spare(now int64) int64 {
	if now-l.promisedAt >= grace {
		l.promised = 0
	}
	return max(l.free-l.promised, 0)
}

// lowered is the time until which a lease may be spent from that was had of a higher limit: long ago.
const lowered = 1

// revoke has what is free in a lease go back, what was promised of it as well, and nothing spent from it before the store has said what
// is left. The lock is held.
func (p *Pool) revoke(l *lease) {
	p.recall = true
	l.until, l.promised = lowered, 0
}

// newTerms replaces the terms by newer ones.
func (p *Pool) newTerms(t Terms) {
	p.mu.Lock()
	if t.Version <= p.terms.Version {
		p.mu.Unlock()
		return
	}
	lower := t.Limit < p.terms.Limit || t.Version > p.terms.Version+1 // one between may have allowed more, to others
	p.terms, p.short = t, 0
	p.version.Store(t.Version)
	ask := p.lease != nil
	if ask && lower {
		// What is free was had of more, or may be needed by others who have more than there is.
		p.revoke(p.lease)
	}
	p.mu.Unlock()
	if ask {
		p.bank.queue(background, p)
	}
}

// forgotten is the second that a pool was asked for which its bank knows no longer.
const forgotten = math.MinInt32

// Stay has the bank remember the pool for some minutes from now on. It is false if the bank has forgotten it: then there may be another
// one of its key.
func (p *Pool) Stay() bool {
	for second := p.bank.second.Load(); ; {
		switch used := p.used.Load(); {
		case used == second:
			return true
		case used == forgotten:
			return false
		case p.used.CompareAndSwap(used, second):
			return true
		}
	}
}

// forget reports whether nobody used the pool for a while and it has no lease: then it is not to be found from here on. It is asked with
// the lock of its shard held; who has the pool still and asks the store again through it is served as before.
func (p *Pool) forget(second int32) bool {
	used := p.used.Load()
	if second-used < keep {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lease == nil && len(p.wait) == 0 && p.used.CompareAndSwap(used, forgotten)
}

// A meter counts what was reserved in the last five seconds.
type meter struct{ since, now, before int64 }

func (m *meter) add(at, amount int64) {
	m.turn(at)
	m.now = plus(m.now, amount)
}

func (m *meter) turn(at int64) {
	switch past := at - m.since; {
	case past < span:
	case past < 2*span:
		m.since, m.before, m.now = m.since+span, m.now, 0
	default:
		m.since, m.before, m.now = at, 0, 0
	}
}

// sum is what was reserved in the last five seconds, if it was reserved evenly before.
func (m *meter) sum(at int64) int64 {
	m.turn(at)
	left := (span - (at - m.since)) / int64(time.Millisecond)
	return plus(m.now, m.before/(span/int64(time.Millisecond))*left)
}

// plus adds amounts that are not negative, and stays at the largest there is.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}
