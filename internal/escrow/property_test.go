package escrow_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
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
	die  context.CancelFunc
	book []*entry

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

func (w *world) begin(name string, run int) *member {
	m := &member{process: start(w.t, w.store, name, fmt.Sprint(run), w.n), name: name, run: run}
	m.link.Delay(w.delay)
	m.alive, m.die = context.WithCancel(context.Background())
	return m
}

// call makes a call with one process.
func (w *world) call(m *member, s *step) {
	wants := make([]escrow.Want, len(w.keys))
	w.mu.Lock()
	for i, k := range w.keys {
		wants[i] = escrow.Want{Pool: m.Pool(k, w.terms), Need: s.amounts[i]}
	}
	w.mu.Unlock()
	for range 5 {
		var book []*entry
		for i := range wants {
			id, ok := wants[i].Pool.Hold(wants[i].Need)
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
		w.mu.Lock()
		w.terms = escrow.Terms{Limit: s.limit, Version: w.terms.Version + 1}
		w.mu.Unlock()
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
			w := &world{t: t, store: &escrowtest.Store{}, n: n, delay: delay, terms: terms(limit), taken: map[string]bool{}}
			for i := range pools {
				w.keys = append(w.keys, escrow.Key{Rule: fmt.Sprint("budget_", i)})
			}
			for i := range n {
				w.members = append(w.members, w.begin(fmt.Sprint("replica-", i), 1))
			}
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
