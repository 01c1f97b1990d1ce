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
	first   time.Duration // median of the idle time to the first token, without the prompt's
	speed   float64       // prompt tokens a second
	spread  float64       // sigma of its logarithm
	decode  time.Duration // mean of the time after that
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

// promptOf draws a prompt's tokens: half of them have at least 800, one in a hundred 8,000.
func (u *upstream) promptOf() int64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return int64(800 * math.Exp(u.random.NormFloat64()))
}

// draw gives the times of one call.
func (u *upstream) draw(tokens int64) (first, decode time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first = time.Duration((float64(u.first) + float64(tokens)/u.speed*1e9) * math.Exp(u.spread*u.random.NormFloat64()))
	return first, time.Duration(float64(u.decode) * (0.2 + 0.8*u.random.ExpFloat64()))
}

// capacity is how many calls a second it can answer.
func (u *upstream) capacity() float64 {
	prompt := 800 * math.Exp(0.5) / u.speed
	mean := (u.first.Seconds()+prompt)*math.Exp(u.spread*u.spread/2) + u.decode.Seconds()
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
				for l.rate > 0 && time.Since(start) < l.until {
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
	tokens := u.promptOf()
	slot.Sent(tokens)
	first, decode := u.draw(tokens)
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
	return &upstream{slots: slots, random: rand.New(rand.NewPCG(seed, 99)), first: 250 * time.Millisecond,
		speed: 6000, spread: 0.4, decode: 3 * time.Second}
}

const (
	seed   = 1 // of what the tests below draw
	minute = time.Minute
	warm   = 30 * time.Second // of half the load, before what a test is about
)

// TestOverload is fault 47 for this package: ten times what an upstream can do, for a minute. Cold is a process that has
// just begun, and told is one that begins with the number of slots; the others have had half a minute of half the load.
func TestOverload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		slots      int
		cold, told bool
		lasts      time.Duration // 0 is a minute
		most       float64       // of priority's p99 against that of an unloaded upstream; 0 is not looked at
	}{{slots: 256, most: 1.2, lasts: 3 * minute}, {slots: 64, most: 1.2, lasts: 10 * minute}, {slots: 256, cold: true}, {slots: 64, cold: true}, {slots: 8, cold: true, told: true}} {
		from := warm
		if c.cold {
			from = 0
		}
		// The burst until it is seen that there is an overload has to be worked off, and those behind it wait.
		settled, until := from+15*time.Second, from+max(c.lasts, minute)
		capacity := newUpstream(seed, c.slots).capacity()
		priority := load{class: Priority, tenant: "a", rate: 0.3 * capacity, from: from, until: until}
		loads := []load{
			priority,
			{class: Default, tenant: "a", rate: 4 * capacity, from: from, until: until},
			{class: Default, tenant: "b", rate: 1.7 * capacity, from: from, until: until},
			{class: Flex, tenant: "a", rate: 4 * capacity, from: from, until: until},
			{class: Default, tenant: "a", rate: 0.5 * capacity, until: from},
		}
		alone := play(t, seed, newUpstream(seed, c.slots), &Options{}, nil, priority)[0]
		var limits []int
		o := Options{}
		if c.told {
			o.MaxLimit = c.slots * 4
		}
		got := play(t, seed, newUpstream(seed, c.slots), &o, func(now time.Duration, g *Gate) {
			if limits = append(limits, int(g.Limit())); c.told && len(limits) == 1 {
				g.Expect(c.slots)
			}
		}, loads...)
		whole, good := 0, 0
		for _, r := range got {
			good += within(r.good, from, until)
			whole += within(r.whole, from, until)
		}
		throughput, inTime := float64(whole)/(capacity*(until-from).Seconds()), float64(good)/(capacity*(until-from).Seconds())
		p99, unloaded := got[0].quantile(.99, settled), alone.quantile(.99, settled)
		t.Logf("%d slots, cold %v, told %v, seed %d: throughput %.2f of what it can do, in time %.2f; priority's first token p50 %v p99 %v, %.2f of what it is alone",
			c.slots, c.cold, c.told, seed, throughput, inTime, got[0].quantile(.5, settled), p99, float64(p99)/float64(unloaded))
		for i, r := range got[:4] {
			t.Logf("  %-8v %s: %5d came, %5d refused, %d of them late; first token p50 %v p99 %v", loads[i].class, loads[i].tenant,
				r.came, r.refused, r.late, r.quantile(.5, settled), r.quantile(.99, settled))
			if r.slowest > 0 {
				t.Errorf("a refusal at the door took %v", r.slowest)
			}
			if r.late*10 > r.came {
				t.Errorf("%d of %d waited for nothing", r.late, r.came)
			}
		}
		t.Logf("  limit, each second: %v", limits)
		if inTime < 0.8 {
			t.Errorf("goodput %.2f", inTime)
		}
		if c.most > 0 && float64(p99) > c.most*float64(unloaded) {
			t.Errorf("priority's p99 is %v", p99)
		}
		a, b := within(got[1].good, settled, until), within(got[2].good, settled, until)
		if math.Abs(float64(a-b)) > 0.15*float64(a+b) {
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
	if other.refused > 0 || other.quantile(.99, warm) > 4*time.Second {
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

// TestSlowUpstreamIsNotLimited although it takes ten times what is thought at first, because of no load.
func TestSlowUpstreamIsNotLimited(t *testing.T) {
	t.Parallel()
	u := newUpstream(seed, 10_000)
	u.first = 4 * time.Second
	least := math.Inf(1)
	got := play(t, seed, u, &Options{}, func(_ time.Duration, g *Gate) { least = min(least, g.Limit()) },
		load{class: Default, tenant: "a", rate: 30, until: 5 * minute})[0]
	t.Logf("seed %d: lowest limit %.0f, %d of %d refused", seed, least, got.refused, got.came)
	if least < 500 || got.refused > 0 {
		t.Error("it was limited")
	}
}

// TestUpstreamThatGetsSlow for no load of ours, by a factor of four, is limited for a while, until it is seen that less is
// no faster.
func TestUpstreamThatGetsSlow(t *testing.T) {
	t.Parallel()
	u := newUpstream(seed, 10_000)
	most := make([]int, 5) // refused, by the minute
	last := 0
	one := load{class: Default, tenant: "a", rate: 30}
	var loads []load
	for i := range most {
		one.from, one.until = time.Duration(i)*minute, time.Duration(i+1)*minute
		loads = append(loads, one)
	}
	var limits []int
	got := play(t, seed, u, &Options{}, func(now time.Duration, g *Gate) {
		if limits = append(limits, int(g.Limit())); now == minute {
			u.mu.Lock()
			u.first *= 4
			u.speed /= 4
			u.mu.Unlock()
		}
	}, loads...)
	for i, r := range got {
		most[i], last = r.refused, r.refused
	}
	t.Logf("seed %d: refused of 1,800 by the minute: %v; limit, each second: %v", seed, most, limits)
	if most[0] > 0 || most[1] > 900 || last > 0 {
		t.Error("it was limited for longer")
	}
}

// TestSlowRamp: an overload that comes on slowly is one all the same.
func TestSlowRamp(t *testing.T) {
	t.Parallel()
	capacity := newUpstream(seed, 64).capacity()
	var loads []load
	for i := range 30 { // from half of what it can do to twice
		from := time.Duration(i) * 10 * time.Second
		loads = append(loads, load{class: Default, tenant: "a", rate: capacity * (0.5 + float64(i)/20), from: from, until: from + 10*time.Second})
	}
	var limits []int
	got := play(t, seed, newUpstream(seed, 64), &Options{}, func(now time.Duration, g *Gate) {
		if now%(10*time.Second) == 0 {
			limits = append(limits, int(g.Limit()))
		}
	}, loads...)
	late := time.Duration(0)
	for _, r := range got {
		late = max(late, r.quantile(.5, 0))
	}
	t.Logf("seed %d: limit, each ten seconds: %v; highest median of the first token %v", seed, limits, late)
	if limits[len(limits)-1] > 100 || late > 12*time.Second {
		t.Error("it was learned as normal")
	}
}
