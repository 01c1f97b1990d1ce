package escrow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/escrow/escrowtest"
)

// A step is something that happens in a random run.
type step struct {
	kind    string
	who     int
	pause   time.Duration // before the next step
	amounts []int64       // needed of each pool
	share   int           // of that, in percent, that the call comes to
	lasts   time.Duration
	told    time.Duration // after its end
	span    time.Duration // of a freeze, or how long something is dead
	rate    int           // in percent, of what is lost
	limit   int64
}

var kinds = []string{"call", "call", "call", "call", "calls", "calls", "calls", "kill", "freeze", "lose", "lose", "limit", "take", "leave", "wait"}

// steps are sampled, since the numbers that a range is drawn from are mostly small.
func steps(r *rapid.T, pools int) []step {
	one := func(from ...int) int { return rapid.SampledFrom(from).Draw(r, "n") }
	ms := func(from ...int) time.Duration { return time.Duration(one(from...)) * time.Millisecond }
	return rapid.SliceOfN(rapid.Custom(func(*rapid.T) step {
		s := step{kind: rapid.SampledFrom(kinds).Draw(r, "kind"), who: one(0, 1, 2)}
		switch s.kind {
		case "wait":
			s.pause = ms(100, 1500, 9000, 12_000, 31_000, 75_000, 100_000)
		case "limit":
			s.limit = int64(one(0, 300, 1000, 2000, 3000, 5000))
		case "kill", "freeze":
			s.span, s.pause = ms(10, 900, 5000, 29_000, 60_000), ms(0, 5, 500)
		case "lose":
			s.rate, s.span = one(10, 30, 60, 90), ms(1000, 10_000, 30_000, 90_000)
		case "call", "calls":
			s.pause, s.lasts, s.told = ms(0, 3, 50, 500, 1500), ms(0, 5, 300, 1200, 20_000, 100_000), ms(0, 20, 5000, 40_000)
			s.share = one(0, 1, 30, 70, 100, 120)
			for range pools {
				s.amounts = append(s.amounts, int64(one(0, 1, 10, 50, 100, 300)))
			}
		}
		return s
	}), 10, 60).Draw(r, "steps")
}

// A world is three processes on one store, and what their journals say.
type world struct {
	t     *testing.T
	store *escrowtest.Store
	keys  []escrow.Key
	n     int
	delay time.Duration // of each answer

	mu      sync.Mutex
	terms   escrow.Terms
	limits  []int64 // that there were, by version from 1 on
	bad     error   // the first reservation that should not have been
	members []*member
	entries []*entry // of all journals
	calls   sync.WaitGroup
	taken   map[string]bool // leases that were settled by hand
}

// A member is a process, and its journal.
type member struct {
	*process
	name string
	run  int
	dead bool
	// given is the version of the newest terms that it was given; what it reserves from then on is of these.
	given int64
	die   context.CancelFunc
	book  []*entry

	alive context.Context // until it is killed

	leaving bool // what happens next to it was decided already
}

// An entry is a try for one pool, in a journal.
type entry struct {
	key         escrow.Key
	lease       string
	held, spent int64
	over, told  bool // settled; in the store
}

func newWorld(t *testing.T, n, pools int, limit int64, delay time.Duration) *world {
	w := &world{
		t: t, store: &escrowtest.Store{}, n: n, delay: delay, terms: terms(limit), limits: []int64{limit}, taken: map[string]bool{},
	}
	for i := range pools {
		w.keys = append(w.keys, escrow.Key{Rule: fmt.Sprint("budget_", i)})
	}
	for i := range n {
		w.members = append(w.members, w.begin(fmt.Sprint("replica-", i), 1))
	}
	return w
}

func (w *world) begin(name string, run int) *member {
	m := &member{process: start(w.t, w.store, name, fmt.Sprint(run), w.n), name: name, run: run}
	m.link.Delay(w.delay)
	m.alive, m.die = context.WithCancel(context.Background())
	return m
}

// newTerms are in force from here on, for whoever is given them.
func (w *world) newTerms(limit int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.terms = escrow.Terms{Limit: limit, Version: w.terms.Version + 1}
	w.limits = append(w.limits, limit)
}

// pools are a process's, which is given the newest terms of each.
func (w *world) pools(m *member) (pools []*escrow.Pool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range w.keys {
		pools = append(pools, m.Pool(k, w.terms))
	}
	m.given = w.terms.Version
	return pools
}

// hold reserves an amount, and notes if it should not have been possible: for as long as more is settled (but for what is over), held
// and unknown than the limit is, a process that knows this limit reserves nothing. Its own lease is of that with all that is free in
// it, so what is free there was had of a higher limit. Another process may know newer terms already, and the store have heard them
// from it: so the limit is the highest of those from the one on that the process was given before. No trade makes more of what is used
// than that, so what is more afterwards was more when it was reserved.
func (w *world) hold(m *member, p *escrow.Pool, amount int64) (id string, ok bool) {
	w.mu.Lock()
	given := m.given
	w.mu.Unlock()
	if id, ok = p.Hold(amount); !ok || amount == 0 {
		return id, ok
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s, limit := w.store.State(p.Key()), slices.Max(w.limits[max(given, 1)-1:])
	if s.Settled-s.Over+s.Held+s.Unknown > limit && w.bad == nil {
		w.bad = fmt.Errorf("%s knows version %d, whose limit or a later one is at most %d, and reserved %d of %+v", m.name, given, limit, amount, s)
	}
	return id, ok
}

// call makes a call with one process.
func (w *world) call(m *member, s *step) {
	wants := make([]escrow.Want, len(w.keys))
	for i, p := range w.pools(m) {
		wants[i] = escrow.Want{Pool: p, Need: s.amounts[i]}
	}
	for range 5 {
		var book []*entry
		for i := range wants {
			id, ok := w.hold(m, wants[i].Pool, wants[i].Need)
			if !ok {
				break
			}
			book = append(book, &entry{key: w.keys[i], lease: id, held: wants[i].Need, spent: wants[i].Need * int64(s.share) / 100})
		}
		if len(book) == len(wants) {
			w.mu.Lock()
			m.book = append(m.book, book...)
			w.entries = append(w.entries, book...)
			w.mu.Unlock()
			time.Sleep(s.lasts)
			w.finish(m, book, wants, s)
			return
		}
		for i, e := range book {
			wants[i].Pool.Settle(e.lease, e.held, 0)
		}
		if err := m.Fund(context.Background(), wants); err != nil {
			return
		}
	}
}

func (w *world) finish(m *member, book []*entry, wants []escrow.Want, s *step) {
	w.mu.Lock()
	if m.dead {
		w.mu.Unlock()
		return
	}
	for i, e := range book {
		e.over = true
		wants[i].Pool.Settle(e.lease, e.held, e.spent)
	}
	w.mu.Unlock()
	time.Sleep(s.told)
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.dead {
		return // whoever comes back on its journal tells
	}
	for _, e := range book {
		w.tell(e)
	}
}

func (w *world) tell(e *entry) {
	if e.told {
		return
	}
	e.told = true
	w.store.Tell(e.key, e.lease, e.held, e.spent, !e.over)
}

// kill ends a process as a signal does, and has another come back on its journal.
func (w *world) kill(who int, span time.Duration) {
	w.mu.Lock()
	m := w.members[who]
	if m.dead {
		w.mu.Unlock()
		return
	}
	m.dead = true
	m.die()
	m.link.Down(true)
	w.mu.Unlock()
	w.calls.Go(func() {
		m.end()
		time.Sleep(span)
		w.again(who, m)
	})
}

// again has another process come back on the journal of one that is dead.
func (w *world) again(who int, m *member) {
	next := w.begin(m.name, m.run+1)
	w.mu.Lock()
	for _, e := range m.book {
		w.tell(e)
	}
	w.members[who] = next
	w.mu.Unlock()
	if err := next.Release(next.alive); err != nil && next.alive.Err() == nil {
		w.t.Error(err)
	}
}

// leave ends a process as it should end, but for its calls, which do not.
func (w *world) leave(who int) {
	w.mu.Lock()
	m := w.members[who]
	dead := m.dead
	w.mu.Unlock()
	if dead || m.leaving {
		return
	}
	m.leaving = true
	w.calls.Go(func() {
		m.end()
		w.mu.Lock()
		twice := m.dead
		m.dead = true
		m.die()
		w.mu.Unlock()
		if !twice {
			w.again(who, m)
		}
	})
}

// check holds what must hold at any time against what is there.
func (w *world) check() error {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bad != nil {
		return w.bad
	}
	for _, k := range w.keys {
		if s := w.store.State(k); s.Settled-s.Over+s.Held+s.Unknown > s.Highest {
			return fmt.Errorf("%v is over: %+v", k, s)
		}
	}
	for _, m := range w.members {
		if m.dead {
			continue
		}
		untold := map[string]int64{}
		for _, e := range m.book {
			if e.over && !e.told {
				untold[e.lease] += min(e.held, e.spent)
			}
		}
		for _, h := range m.Hands() {
			left, there := w.store.Left(h.Key, h.Lease)
			if has := h.Free + h.Held + untold[h.Lease]; has > left && (there || h.Free+h.Held > 0) && !w.taken[h.Lease] {
				return fmt.Errorf("%s has %+v and has %d to tell, but the store says %d (%v)", m.name, h, untold[h.Lease], left, there)
			}
			if h.Free < 0 || h.Held < 0 {
				return fmt.Errorf("%s has %+v", m.name, h)
			}
		}
	}
	return nil
}

func (w *world) do(s *step) {
	w.mu.Lock()
	m := w.members[s.who%w.n]
	dead := m.dead
	w.mu.Unlock()
	switch s.kind {
	case "call", "calls":
		if dead {
			return
		}
		for range map[string]int{"call": 1, "calls": 20}[s.kind] {
			w.calls.Go(func() { w.call(m, s) })
		}
	case "kill":
		w.kill(s.who%w.n, s.span)
	case "freeze":
		m.link.Freeze()
		w.calls.Go(func() {
			time.Sleep(s.span)
			m.link.Thaw()
		})
	case "lose":
		random := rand.New(rand.NewPCG(1, uint64(s.rate)))
		lost := func() bool { return random.IntN(100) < s.rate }
		m.link.Lose(lost, lost)
		w.calls.Go(func() {
			time.Sleep(s.span)
			m.link.Lose(nil, nil)
		})
	case "limit":
		w.newTerms(s.limit)
	case "take":
		if hands := m.Hands(); !dead && len(hands) > 0 {
			w.mu.Lock()
			w.taken[hands[0].Lease] = true
			w.store.Take(hands[0].Key, hands[0].Lease)
			w.mu.Unlock()
		}
	case "leave":
		w.leave(s.who % w.n)
	}
}

// rest ends everything, has every journal come back, and says what is not as it should be then.
func (w *world) rest() error {
	heal := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, m := range w.members {
			m.link.Thaw()
			m.link.Lose(nil, nil)
		}
	}
	heal()
	w.calls.Wait()
	heal()
	time.Sleep(3 * time.Minute)
	for _, k := range w.keys {
		if ids := w.store.Leases(k); len(ids) > 0 {
			return fmt.Errorf("when nothing was used for minutes, there are leases %v", ids)
		}
	}
	if err := w.overruns(); err != nil {
		return err
	}
	for i, m := range w.members {
		m.end()
		m.dead = true
		m.die()
		w.again(i, m)
	}
	for _, m := range w.members {
		m.end()
	}
	alone := start(w.t, w.store, "alone", "1", 1)
	for _, k := range w.keys {
		s := w.store.State(k)
		if s.Held != 0 {
			return fmt.Errorf("at the end %+v", s)
		}
		w.store.SettleUnknown(k, s.Unknown)
		if free := s.Free(); free > 0 {
			if _, err := alone.take(alone.Pool(k, w.terms), min(free, max(w.terms.Limit-s.Settled-s.Unknown, 0))); err != nil {
				return fmt.Errorf("what is left of %+v cannot be used: %w", s, err)
			}
		}
	}
	return nil
}

// overruns holds what is over against what calls came to beyond what they had reserved, and what was spent from leases that were
// settled by hand: nothing else may be.
func (w *world) overruns() error {
	for _, k := range w.keys {
		var most int64
		for _, e := range w.entries {
			switch {
			case e.key != k:
			case w.taken[e.lease]:
				most += max(e.spent, e.held)
			default:
				most += max(e.spent-e.held, 0)
			}
		}
		if s := w.store.State(k); s.Over > most {
			return fmt.Errorf("%d is over that was not expected: %+v", s.Over-most, s)
		}
	}
	return nil
}

// TestNeverOver is promise M1 for this package: whatever happens to processes, to the store, to replies and to limits, no more is
// used than was ever allowed; what a process believes to have is never more than the store says; and nothing stays held once all
// that was journalled has come back.
func TestNeverOver(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		pools := rapid.IntRange(1, 2).Draw(r, "pools")
		n, limit := rapid.IntRange(1, 3).Draw(r, "replicas"), rapid.SampledFrom([]int64{0, 100, 1000, 5000}).Draw(r, "limit")
		delay := time.Duration(rapid.SampledFrom([]int{0, 3, 40, 300}).Draw(r, "delay")) * time.Millisecond
		plan := steps(r, pools)
		var bad error
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, n, pools, limit, delay)
			for i := range plan {
				w.do(&plan[i])
				for left := plan[i].pause; bad == nil; {
					bad = w.check()
					if left <= 0 {
						break
					}
					next := min(left, 1+time.Duration(rand.Int64N(int64(700*time.Millisecond))))
					time.Sleep(next)
					left -= next
				}
				if bad != nil {
					bad = fmt.Errorf("step %d, %s: %w", i, plan[i].kind, bad)
					break
				}
			}
			bad = errors.Join(bad, w.rest())
		})
		if bad != nil {
			r.Fatal(bad)
		}
	})
}
