package admission

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// atRest checks that nothing is left of requests that are over.
func atRest(t testing.TB, s *Scheduler, gates []*Gate) {
	t.Helper()
	for _, g := range gates {
		if g.Inflight() != 0 || g.Waiting() != 0 {
			t.Errorf("%s: %d in flight, %d waiting", g.Key(), g.Inflight(), g.Waiting())
		}
		if sent, answered := g.sent.Load(), g.answered.Load(); sent != answered {
			t.Errorf("%s: %d sent, %d answered", g.Key(), sent, answered)
		}
		for c := range g.lines {
			if l := &g.lines[c]; l.n != 0 || l.load != 0 || len(l.backlogged) != 0 {
				t.Errorf("%s: line of %v is not empty", g.Key(), Class(c))
			}
		}
	}
	for c := range Class(Classes) {
		if n := s.Waiting(c); n != 0 {
			t.Errorf("%d of %v wait", n, c)
		}
	}
}

// A visit is one request of a random run.
type visit struct {
	ticket          Ticket
	gates           []*Gate
	comes, stays    time.Duration
	leaves          time.Duration // its caller does, after so long; 0 stays
	patience        time.Duration // its deadline
	sends, answered bool
	outcome         Outcome
	cost            int64
	twice           bool // gives back twice
}

func visits(r *rapid.T, gates []*Gate) []visit {
	ms := func(most int, name string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(r, name)) * time.Millisecond
	}
	return rapid.SliceOfN(rapid.Custom(func(r *rapid.T) visit {
		v := visit{
			ticket: Ticket{
				Class: Class(rapid.IntRange(0, Classes-1).Draw(r, "class")), Tenant: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "tenant"),
				Weight: float64(rapid.IntRange(0, 3).Draw(r, "weight")), Cost: int64(rapid.IntRange(0, 1000).Draw(r, "cost")),
			},
			comes: ms(300, "comes"), stays: ms(50, "stays"), leaves: ms(200, "leaves"), patience: ms(2000, "patience"),
			sends: rapid.Bool().Draw(r, "sends"), answered: rapid.Bool().Draw(r, "answered"),
			outcome: Outcome(rapid.IntRange(0, int(Canceled)).Draw(r, "outcome")), cost: int64(rapid.IntRange(-1, 1000).Draw(r, "actual")),
			twice: rapid.Bool().Draw(r, "twice"),
		}
		from := rapid.IntRange(0, len(gates)-1).Draw(r, "first gate")
		v.gates = gates[from:rapid.IntRange(from+1, len(gates)).Draw(r, "last gate")]
		return v
	}), 1, 120).Draw(r, "visits")
}

// TestSlotsNeverLeak is fault 20 for this package: whichever way requests end, nothing is left; never more than the limit
// get in; nobody waits while a slot is free.
func TestSlotsNeverLeak(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		o := Options{MinLimit: 1, MaxLimit: rapid.IntRange(1, 5).Draw(r, "limit"), MaxWaiting: rapid.IntRange(1, 60).Draw(r, "may wait"),
			QueuePerSlot: float64(rapid.IntRange(1, 10).Draw(r, "per slot"))}
		s := newScheduler(t, o)
		gates := []*Gate{s.Gate("p/a"), s.Gate("p/b"), s.Gate("p/c")}[:rapid.IntRange(1, 3).Draw(r, "gates")]
		all := visits(r, gates)
		limits := rapid.SliceOfN(rapid.IntRange(1, o.MaxLimit), 1, 20).Draw(r, "limits") // every 30 ms another
		wrong := ""
		synctest.Test(t, func(t *testing.T) {
			s.born = time.Now().Add(-1) // of the bubble
			var wg sync.WaitGroup
			for _, v := range all {
				wg.Go(func() { v.run(t, s) })
			}
			for ms := range 600 {
				if ms%30 == 0 {
					g := gates[ms/30%len(gates)]
					g.setLimit(float64(limits[ms/30%len(limits)]))
					g.serve()
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				if wrong == "" {
					wrong = broken(s, gates)
				}
			}
			wg.Wait()
			atRest(t, s, gates)
		})
		if wrong != "" || t.Failed() {
			r.Fatal(wrong)
		}
	})
}

// broken says which promise does not hold at a moment at which nobody runs, "" if all do.
func broken(s *Scheduler, gates []*Gate) string {
	for _, g := range gates {
		taken, slots := int(g.inflight.Load()), int(g.slots.Load())
		switch {
		case taken > s.o.MaxLimit:
			return fmt.Sprintf("%s: %d in flight", g.Key(), taken)
		case g.Waiting() > 0 && taken < slots:
			return fmt.Sprintf("%s: %d wait although %d of %d slots are taken", g.Key(), g.Waiting(), taken, slots)
		}
		for c := range g.lines {
			if n := g.lines[c].n; float64(n) > float64(s.o.MaxLimit)*s.o.QueuePerSlot {
				return fmt.Sprintf("%s: %d wait in the line of %v", g.Key(), n, Class(c))
			}
		}
	}
	if n := s.Waiting(Flex) + s.Waiting(Default) + s.Waiting(Priority); n > s.o.MaxWaiting {
		return fmt.Sprintf("%d wait in all", n)
	}
	return ""
}

func (v *visit) run(t *testing.T, s *Scheduler) {
	time.Sleep(v.comes)
	ctx := t.Context()
	if v.leaves > 0 {
		c, cancel := context.WithTimeout(ctx, v.leaves)
		defer cancel()
		ctx = c
	}
	ticket := v.ticket
	if v.patience > 0 {
		ticket.Deadline = time.Now().Add(v.patience)
	}
	var slot Slot
	if _, err := s.Acquire(ctx, v.gates, ticket, &slot); err != nil {
		if slot.Gate() != nil {
			t.Error("refused, with a slot")
		}
		return
	}
	if v.sends {
		slot.Sent(100)
	}
	time.Sleep(v.stays / 2)
	if v.answered {
		slot.FirstToken()
		slot.FirstToken()
	}
	time.Sleep(v.stays / 2)
	slot.Done(v.outcome, v.cost)
	if v.twice {
		slot.Done(v.outcome, v.cost)
	}
}

// TestNoWakeupIsLost has real parallelism: whoever waits is woken, or the test hangs until the patience ends.
func TestNoWakeupIsLost(t *testing.T) {
	t.Parallel()
	before := runtime.NumGoroutine()
	s := newScheduler(t, Options{MinLimit: 1, MaxLimit: 2, QueuePerSlot: 100, MaxWait: [Classes]time.Duration{time.Minute, time.Minute, time.Minute}})
	gates := []*Gate{s.Gate("p/a"), s.Gate("p/b")}
	var inside [2]atomic.Int32
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(n)))
			for range 3000 {
				var slot Slot
				from := random.IntN(2)
				i, err := s.Acquire(context.Background(), gates[from:], Ticket{Class: Class(n % Classes), Tenant: "t", Cost: 1}, &slot)
				if err != nil {
					t.Error(err)
					return
				}
				if inside[from+i].Add(1) > 2 {
					t.Error("over the limit")
				}
				if random.IntN(4) == 0 {
					runtime.Gosched()
				}
				inside[from+i].Add(-1)
				slot.Done(OK, 1)
			}
		})
	}
	wg.Wait()
	atRest(t, s, gates)
	for range 100 {
		if runtime.NumGoroutine() <= before {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

// stand puts a waiter into the queue of a gate that has no free slot.
func stand(t testing.TB, s *Scheduler, g *Gate, ticket Ticket) *waiter {
	t.Helper()
	w := s.newWaiter(ticket)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.enter(w, []*Gate{g}); r != nil {
		t.Fatal(r)
	}
	return w
}

// next gives one slot to who comes first.
func next(s *Scheduler, g *Gate) Ticket {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := g.pick()
	s.charge(p, float64(p.w.ticket.Cost))
	s.remove(p.w)
	return p.w.ticket
}

// busy is a gate without a free slot.
func busy(t testing.TB, s *Scheduler) *Gate {
	t.Helper()
	g := s.Gate("p/m")
	g.inflight.Store(g.slots.Load())
	return g
}

// TestTenantsAreServedByTheirWeights: of tenants that all wait, none is ahead of another by more than one of its requests,
// counted by weight; neither are those that come later, or go and come back.
func TestTenantsAreServedByTheirWeights(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := newScheduler(t, Options{})
		g := busy(t, s)
		weights := map[string]float64{"a": 1, "b": float64(rapid.IntRange(1, 4).Draw(r, "weight")), "c": 0.5}
		const largest = 1000
		served, since := map[string]float64{}, map[string]map[string]float64{} // since both wait: what each was ahead by then
		waits := map[string]int{}
		for range rapid.IntRange(10, 200).Draw(r, "steps") {
			if name := rapid.SampledFrom([]string{"a", "b", "c", ""}).Draw(r, "comes"); name != "" {
				if waits[name] == 0 {
					since[name] = map[string]float64{}
					for other := range weights {
						since[name][other] = served[name] - served[other]
						if since[other] != nil {
							since[other][name] = served[other] - served[name]
						}
					}
				}
				waits[name]++
				stand(t, s, g, Ticket{Class: Default, Tenant: name, Weight: weights[name], Cost: int64(rapid.IntRange(1, largest).Draw(r, "cost"))})
				continue
			}
			if waits["a"]+waits["b"]+waits["c"] == 0 {
				continue
			}
			ticket := next(s, g)
			served[ticket.Tenant] += float64(ticket.Cost) / ticket.Weight
			waits[ticket.Tenant]--
			for one := range weights {
				for other := range weights {
					if one == other || waits[one] == 0 || waits[other] == 0 {
						continue
					}
					ahead := served[one] - served[other] - since[one][other]
					if most := largest/weights[one] + largest/weights[other]; ahead > most {
						r.Fatalf("%s is ahead of %s by %v, over %v", one, other, ahead, most)
					}
				}
			}
		}
	})
}

// TestLowerClassesGetTheirFloor, and no more while higher ones wait.
func TestLowerClassesGetTheirFloor(t *testing.T) {
	t.Parallel()
	s := newScheduler(t, Options{})
	g := busy(t, s)
	got := [Classes]int{}
	for c := range Class(Classes) {
		for range 10 {
			stand(t, s, g, Ticket{Class: c, Tenant: "a", Cost: 10})
		}
	}
	const grants = 1000
	for n := 1; n <= grants; n++ {
		c := next(s, g).Class
		got[c]++
		stand(t, s, g, Ticket{Class: c, Tenant: "a", Cost: 10})
		for lower := range Priority {
			if least := int(math.Floor(0.05*float64(n))) - 1; got[lower] < least {
				t.Fatalf("%v has %d of %d", lower, got[lower], n)
			}
		}
	}
	if got[Priority] < 900 {
		t.Errorf("priority has only %d of %d", got[Priority], grants)
	}
}

// TestNearestDeadlineFirst holds within a tenant; who has none comes last, in the order of coming.
func TestNearestDeadlineFirst(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := newScheduler(t, Options{})
		g := busy(t, s)
		start := time.Now()
		for _, ms := range rapid.SliceOfN(rapid.IntRange(100, 9000), 1, 40).Draw(r, "deadlines") {
			stand(t, s, g, Ticket{Class: Default, Tenant: "a", Deadline: start.Add(time.Duration(ms) * time.Millisecond)})
		}
		last := start
		for g.Waiting() > 0 {
			d := next(s, g).Deadline
			if d.Before(last) {
				r.Fatalf("%v after %v", d.Sub(start), last.Sub(start))
			}
			last = d
		}
	})
}

// TestOneTenantDoesNotFillTheQueue: who has little in a full queue takes the place of who has most.
func TestOneTenantDoesNotFillTheQueue(t *testing.T) {
	t.Parallel()
	s := newScheduler(t, Options{MinLimit: 5, MaxLimit: 5})
	g := busy(t, s)
	var flood []*waiter
	for range 10 {
		flood = append(flood, stand(t, s, g, Ticket{Class: Default, Tenant: "flood", Cost: 1}))
	}
	w := s.newWaiter(Ticket{Class: Default, Tenant: "flood"})
	s.mu.Lock()
	r := s.enter(w, []*Gate{g})
	s.mu.Unlock()
	if r == nil || r.Reason != Full {
		t.Fatalf("the eleventh: %v", r)
	}
	stand(t, s, g, Ticket{Class: Default, Tenant: "other", Cost: 1})
	if last := flood[9]; last.refused == nil || last.refused.Reason != Displaced {
		t.Errorf("the newest of the flood still waits")
	}
	if g.Waiting() != 10 {
		t.Errorf("%d wait", g.Waiting())
	}
}

// TestLowestClassIsShedFirst where no more may wait in all.
func TestLowestClassIsShedFirst(t *testing.T) {
	t.Parallel()
	s := newScheduler(t, Options{MaxWaiting: 2})
	g := busy(t, s)
	flex := stand(t, s, g, Ticket{Class: Flex})
	normal := stand(t, s, g, Ticket{Class: Default})
	stand(t, s, g, Ticket{Class: Priority})
	if flex.refused == nil || normal.refused != nil {
		t.Error("not the flex one was shed")
	}
	stand(t, s, g, Ticket{Class: Priority})
	if normal.refused == nil {
		t.Error("the default one was not shed")
	}
	w := s.newWaiter(Ticket{Class: Default})
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.enter(w, []*Gate{g}); r == nil || r.Reason != Full {
		t.Errorf("let in beside higher ones: %v", r)
	}
}

// TestTenantsAreForgotten: what is remembered of tenants does not grow with how many there ever were.
func TestTenantsAreForgotten(t *testing.T) {
	t.Parallel()
	s := newScheduler(t, Options{})
	g := busy(t, s)
	name := make([]byte, 2)
	for n := range 20_000 {
		name[0], name[1] = byte(n), byte(n>>8)
		stand(t, s, g, Ticket{Class: Default, Tenant: string(name), Cost: int64(n % 7)})
		if n%2 == 1 {
			next(s, g)
			next(s, g)
		}
	}
	if n := len(g.lines[Default].tenants); n > maxIdleTenants+2 {
		t.Errorf("%d tenants are remembered", n)
	}
}
