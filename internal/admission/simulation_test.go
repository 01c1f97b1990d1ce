package admission

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// An upstream is a server with so many slots behind a queue without end, as engines have it: more than it can take makes it
// late, and no error tells.
type upstream struct {
	mu      sync.Mutex
	slots   int
	waiting []chan struct{}
	random  *rand.Rand
	first   time.Duration // median of the idle time to the first token
	spread  float64       // sigma of its logarithm
	decode  time.Duration // mean of the time after that
	// predicted is what the gate is told of first.
	predicted time.Duration
}

func (u *upstream) enter() {
	u.mu.Lock()
	if u.slots > 0 {
		u.slots--
		u.mu.Unlock()
		return
	}
	turn := make(chan struct{})
	u.waiting = append(u.waiting, turn)
	u.mu.Unlock()
	<-turn
}

func (u *upstream) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.waiting) == 0 {
		u.slots++
		return
	}
	close(u.waiting[0])
	u.waiting = u.waiting[1:]
}

// draw gives the times of one call.
func (u *upstream) draw() (first, decode time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first = time.Duration(float64(u.first) * math.Exp(u.spread*u.random.NormFloat64()))
	return first, time.Duration(float64(u.decode) * (0.2 + 0.8*u.random.ExpFloat64()))
}

// capacity is how many calls a second it can answer.
func (u *upstream) capacity() float64 {
	mean := u.first.Seconds()*math.Exp(u.spread*u.spread/2) + u.decode.Seconds()
	return float64(u.slots) / mean
}

// A load is an open one: requests come whether others are answered or not.
type load struct {
	class   Class
	tenant  string
	rate    float64 // requests a second
	from    time.Duration
	until   time.Duration
	patient time.Duration // its deadline; 0 is the class's
}

// A result is what became of the requests of one load.
type result struct {
	came, refused, late int             // late waited for nothing
	slowest             time.Duration   // refusal at the door
	first, at           []time.Duration // of those with an answer: its first token, and when they had come
	whole               []time.Duration // when answers were
	good                []time.Duration // likewise, of those whose first token came within patience
}

// quantile is that of the times to the first token, of those who came at or after a time.
func (r *result) quantile(q float64, from time.Duration) time.Duration {
	var all []time.Duration
	for i, d := range r.first {
		if r.at[i] >= from {
			all = append(all, d)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(int(q*float64(len(all))), len(all)-1)].Round(time.Millisecond)
}

// within counts those in a part of the time.
func within(times []time.Duration, from, until time.Duration) int {
	n := 0
	for _, at := range times {
		if at >= from && at < until {
			n++
		}
	}
	return n
}

// patience is what an answer is worth waiting for.
const patience = 11 * time.Second

// play runs loads against an upstream through a gate, or without one if there is none. The limit is looked at each second.
func play(t *testing.T, seed uint64, u *upstream, o *Options, each func(now time.Duration, g *Gate), loads ...load) []*result {
	t.Helper()
	results := make([]*result, len(loads))
	synctest.Test(t, func(t *testing.T) {
		var s *Scheduler
		var gates []*Gate
		if o != nil {
			s = newScheduler(t, *o)
			gates = []*Gate{s.Gate("p/m")}
		}
		start := time.Now()
		var mu sync.Mutex // guards the results
		var wg sync.WaitGroup
		end := time.Duration(0)
		for i, l := range loads {
			r := &result{}
			results[i] = r
			end = max(end, l.until)
			wg.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				time.Sleep(l.from)
				for time.Since(start) < l.until {
					time.Sleep(time.Duration(random.ExpFloat64() / l.rate * float64(time.Second)))
					wg.Go(func() { call(s, gates, u, l, start, &mu, r) })
				}
			})
		}
		if each != nil {
			for time.Since(start) < end {
				time.Sleep(time.Second)
				each(time.Since(start), gates[0])
			}
		}
		wg.Wait()
		if s != nil {
			atRest(t, s, gates)
		}
	})
	return results
}

func call(s *Scheduler, gates []*Gate, u *upstream, l load, start time.Time, mu *sync.Mutex, r *result) {
	came := time.Now()
	var slot Slot
	if s != nil {
		ticket := Ticket{Class: l.class, Tenant: l.tenant, Cost: 1000}
		if l.patient > 0 {
			ticket.Deadline = came.Add(l.patient)
		}
		_, err := s.Acquire(context.Background(), gates, ticket, &slot)
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			r.came++
			r.refused++
			if refusal, ok := errors.AsType[*Refusal](err); ok && refusal.Reason != TooLong && refusal.Reason != Full {
				r.late++
			} else {
				r.slowest = max(r.slowest, time.Since(came))
			}
			return
		}
	}
	slot.Sent(u.predicted)
	first, decode := u.draw()
	u.enter()
	time.Sleep(first)
	took := time.Since(came)
	slot.FirstToken()
	time.Sleep(decode)
	u.leave()
	slot.Done(OK, -1)
	mu.Lock()
	defer mu.Unlock()
	r.came++
	r.whole = append(r.whole, time.Since(start))
	r.first, r.at = append(r.first, took), append(r.at, came.Sub(start))
	if took <= patience {
		r.good = append(r.good, time.Since(start))
	}
}

func newUpstream(seed uint64, slots int) *upstream {
	return &upstream{slots: slots, random: rand.New(rand.NewPCG(seed, 99)), first: 400 * time.Millisecond,
		predicted: 400 * time.Millisecond, spread: 0.5, decode: 3 * time.Second}
}

const (
	seed   = 1 // of what the tests below draw
	minute = time.Minute
	warm   = 15 * time.Second // from when on the burst at the start has been worked off
)

// TestOverload is fault 47 for this package: ten times what an upstream can do, for a minute, from a cold start.
func TestOverload(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{64, 256} {
		capacity := newUpstream(seed, slots).capacity()
		priority := load{class: Priority, tenant: "a", rate: 0.3 * capacity, until: minute}
		loads := []load{
			priority,
			{class: Default, tenant: "a", rate: 4 * capacity, until: minute},
			{class: Default, tenant: "b", rate: 1.7 * capacity, until: minute},
			{class: Flex, tenant: "a", rate: 4 * capacity, until: minute},
		}
		alone := play(t, seed, newUpstream(seed, slots), &Options{}, nil, priority)[0]
		var limits []int
		got := play(t, seed, newUpstream(seed, slots), &Options{}, func(_ time.Duration, g *Gate) { limits = append(limits, int(g.Limit())) }, loads...)
		whole, good := 0, 0
		for _, r := range got {
			good += within(r.good, 0, minute)
			whole += within(r.whole, 0, minute)
		}
		throughput, inTime := float64(whole)/(capacity*60), float64(good)/(capacity*60)
		t.Logf("%d slots, seed %d: throughput %.2f of what it can do, in time %.2f; priority's first token p50 %v p99 %v, alone %v and %v", slots, seed,
			throughput, inTime, got[0].quantile(.5, warm), got[0].quantile(.99, warm), alone.quantile(.5, warm), alone.quantile(.99, warm))
		for i, r := range got {
			t.Logf("  %-8v %s: %5d came, %5d refused, %d of them late; first token p50 %v p99 %v", loads[i].class, loads[i].tenant,
				r.came, r.refused, r.late, r.quantile(.5, warm), r.quantile(.99, warm))
			if r.slowest > 0 {
				t.Errorf("a refusal at the door took %v", r.slowest)
			}
			if r.late*20 > r.came {
				t.Errorf("%d of %d waited for nothing", r.late, r.came)
			}
		}
		t.Logf("  limit, each second: %v", limits)
		if inTime < 0.8 {
			t.Errorf("goodput %.2f", inTime)
		}
		if p99 := got[0].quantile(.99, warm); p99 > alone.quantile(.99, warm)*12/10 {
			t.Errorf("priority's p99 is %v", p99)
		}
		a, b := within(got[1].good, warm, minute), within(got[2].good, warm, minute)
		if math.Abs(float64(a-b)) > 0.1*float64(a+b) {
			t.Errorf("the tenants were served %d and %d", a, b)
		}
		if refused := got[3].refused; refused*got[1].came < got[1].refused*got[3].came {
			t.Error("flex was refused less than default")
		}
	}
}

// TestWithoutAdmissionOverloadIsLate shows that the tests above are not won by the upstream.
func TestWithoutAdmissionOverloadIsLate(t *testing.T) {
	t.Parallel()
	capacity := newUpstream(seed, 64).capacity()
	got := play(t, seed, newUpstream(seed, 64), nil, nil, load{class: Default, tenant: "a", rate: 10 * capacity, until: minute})[0]
	inTime := float64(within(got.good, 0, minute)) / (capacity * 60)
	t.Logf("seed %d: in time %.2f of what it can do; first token p50 %v", seed, inTime, got.quantile(.5, 0))
	if inTime > 0.5 {
		t.Error("it was")
	}
}

// TestOneTenantFloods: the other one, which wants less than its half, has all it wants.
func TestOneTenantFloods(t *testing.T) {
	t.Parallel()
	capacity := newUpstream(seed, 64).capacity()
	got := play(t, seed, newUpstream(seed, 64), &Options{}, nil,
		load{class: Default, tenant: "flood", rate: 10 * capacity, until: minute},
		load{class: Default, tenant: "other", rate: 0.4 * capacity, from: warm, until: minute})
	other := got[1]
	t.Logf("seed %d: the other had %d, of which %d were refused; first token p50 %v p99 %v (the flood's %v, %v)", seed, other.came, other.refused,
		other.quantile(.5, warm), other.quantile(.99, warm), got[0].quantile(.5, warm), got[0].quantile(.99, warm))
	if other.refused > 0 || other.quantile(.99, warm) > 3*time.Second {
		t.Error("it is held up by the flood")
	}
}

// TestLastingOverloadIsNotLearnedAsNormal: an average of the ratio over a long time as the base would rise with the overload,
// and the limit after it. Ours has to stay where it is for ten minutes.
func TestLastingOverloadIsNotLearnedAsNormal(t *testing.T) {
	t.Parallel()
	capacity := newUpstream(seed, 64).capacity()
	most := 0.0
	got := play(t, seed, newUpstream(seed, 64), &Options{}, func(now time.Duration, g *Gate) {
		if now > minute {
			most = max(most, g.Limit())
		}
	}, load{class: Default, tenant: "a", rate: 3 * capacity, until: 10 * minute})[0]
	t.Logf("seed %d: highest limit after the first minute %.0f, first token p99 %v", seed, most, got.quantile(.99, minute))
	if most > 80 {
		t.Error("the limit crept up")
	}
}

// TestLimitFollowsCapacity, down within seconds and up within a minute, and is never the bottleneck of an upstream without load.
func TestLimitFollowsCapacity(t *testing.T) {
	t.Parallel()
	u := newUpstream(seed, 32)
	capacity := u.capacity()
	var limits []int
	got := play(t, seed, u, &Options{}, func(now time.Duration, g *Gate) {
		limits = append(limits, int(g.Limit()))
		if now == minute {
			for range 96 {
				u.leave() // it is scaled up to four times
			}
		}
	}, load{class: Default, tenant: "a", rate: 8 * capacity, until: 3 * minute})[0]
	t.Logf("seed %d: limit, each second: %v", seed, limits)
	before := float64(within(got.whole, 30*time.Second, minute)) / (30 * capacity)
	after := float64(within(got.whole, 2*minute, 3*minute)) / (60 * 4 * capacity)
	t.Logf("throughput %.2f of what it can do before, %.2f after", before, after)
	if before < 0.9 || after < 0.9 {
		t.Error("too low")
	}
}

// TestCalmUpstreamIsNotLimited: noise is not load.
func TestCalmUpstreamIsNotLimited(t *testing.T) {
	t.Parallel()
	u := newUpstream(seed, 10_000)
	u.spread = 0.7
	least := math.Inf(1)
	got := play(t, seed, u, &Options{}, func(_ time.Duration, g *Gate) { least = min(least, g.Limit()) },
		load{class: Default, tenant: "a", rate: 30, until: 10 * minute})[0]
	t.Logf("seed %d: lowest limit %.0f, %d of %d refused, first token p99 %v", seed, least, got.refused, got.came, got.quantile(.99, 0))
	if least < 1024 || got.refused > 0 {
		t.Error("it was limited")
	}
}

// TestPredictionThatIsWrong by a factor of four holds up what comes in the first seconds, until it is seen that less is no
// faster; then nothing more.
func TestPredictionThatIsWrong(t *testing.T) {
	t.Parallel()
	u := newUpstream(seed, 10_000)
	u.predicted = u.first / 4
	open := time.Duration(0) // until when it is limited
	got := play(t, seed, u, &Options{}, func(now time.Duration, g *Gate) {
		if g.Limit() < 500 {
			open = now
		}
	}, load{class: Default, tenant: "a", rate: 30, until: 5 * minute})[0]
	t.Logf("seed %d: limited until %v, %d of %d refused, first token p99 %v, after the first minute %v", seed, open, got.refused, got.came,
		got.quantile(.99, 0), got.quantile(.99, minute))
	if open > 30*time.Second || got.refused*20 > got.came {
		t.Error("it was limited for longer")
	}
}
