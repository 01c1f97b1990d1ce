package rate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var seed = flag.Uint64("seed", 0, "of the one run of replicas that is to be repeated")

// A judge sees every call that is let through, on all replicas.
type judge struct {
	mu      sync.Mutex
	born    time.Time
	used    []event // requests
	tokens  []event
	running int64
	most    int64 // that ran at once
	refused int
	unknown int // could not be decided
	waits   []time.Duration
}

func (j *judge) lets(tokens int64) (done func(actual int64)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	at := int64(time.Since(j.born))
	j.used = append(j.used, event{at, 1})
	i := len(j.tokens)
	j.tokens = append(j.tokens, event{at, tokens})
	j.running++
	j.most = max(j.most, j.running)
	return func(actual int64) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.running--
		j.tokens[i].n = actual
	}
}

// peak is the largest sum of any Span.
func peak(events []event) (most int64) {
	sum, from := int64(0), 0
	for _, e := range events {
		sum += e.n
		for e.at-events[from].at >= int64(Span) {
			sum -= events[from].n
			from++
		}
		most = max(most, sum)
	}
	return most
}

// A replica is a book with its way to the store, and the calls that it lets through.
type replica struct {
	book *Book
	wire *wire
	life context.Context
	kill context.CancelFunc
	all  sync.WaitGroup
}

func startReplica(ctx context.Context, m Store, id string, n int) *replica {
	r := &replica{wire: &wire{Store: m}}
	r.life, r.kill = context.WithCancel(ctx)
	r.book = New(Options{Store: r.wire, Holder: id, Replicas: func() int { return n }})
	r.all.Go(func() { _ = r.book.Run(r.life) })
	return r
}

// dies ends it without a word to the store.
func (r *replica) dies() {
	r.wire.set(true)
	r.kill()
	r.all.Wait()
}

// ends ends it in good order.
func (r *replica) ends() {
	r.kill()
	r.all.Wait()
}

// calls makes calls, one after the other, until the replica dies.
func (r *replica) calls(j *judge, rules []Rule, rnd *rand.Rand, pause, length time.Duration) {
	for r.life.Err() == nil {
		pass(r.life, rnd, pause)
		need := Need{Requests: 1, Input: 1 + rnd.Int64N(20), Output: rnd.Int64N(20)}
		var a Admission
		err := r.book.Admit(r.life, rules, need, &a)
		var over *Exceeded
		switch {
		case r.life.Err() != nil:
			a.Done(Need{})
			return
		case errors.As(err, &over):
			j.mu.Lock()
			j.refused++
			j.waits = append(j.waits, over.RetryAfter)
			j.mu.Unlock()
			continue
		case err != nil:
			j.mu.Lock()
			j.unknown++
			j.mu.Unlock()
			continue
		}
		done := j.lets(need.Input + need.Output)
		pass(r.life, rnd, length)
		used := Need{Requests: 1, Input: need.Input, Output: rnd.Int64N(need.Output + 1)} // never more than was reserved
		done(used.Input + used.Output)
		a.Done(used)
	}
}

func pass(ctx context.Context, rnd *rand.Rand, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(rnd.Int64N(int64(d))) + 1):
	}
}

// Over replicas that are killed, cut off from the store and started anew, with a store that is away now and then, no 60 seconds have
// more than the limit, no more run at once than may, and all comes back in the end. (Faults 21, 23, 24.)
func TestReplicasAgainstJudge(t *testing.T) {
	t.Parallel()
	if *seed != 0 {
		replicasAgainstJudge(t, *seed)
		return
	}
	runs := 40
	if testing.Short() {
		runs = 5
	}
	for range runs {
		replicasAgainstJudge(t, rand.Uint64())
	}
}

func replicasAgainstJudge(t *testing.T, seed uint64) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		m, j, n := newMemory(), &judge{born: time.Now()}, 1+rnd.IntN(4)
		rules := []Rule{
			{ID: "rpm", Measure: Requests, Amount: 1 + rnd.Int64N(200)}, {ID: "tokens", Subject: "u", Measure: Tokens, Amount: 40 + rnd.Int64N(4000)},
			{ID: "slots", Measure: Concurrent, Amount: 1 + rnd.Int64N(12)},
		}
		born := 0
		start := func() *replica {
			born++
			r := startReplica(t.Context(), m, fmt.Sprint("r", born), n)
			for range 1 + rnd.IntN(6) {
				mine := rand.New(rand.NewPCG(seed, rnd.Uint64()))
				// A call of a replica that is cut off ends before others get its slots.
				r.all.Go(func() { r.calls(j, rules, mine, time.Second, StopBefore-time.Second/2) })
			}
			return r
		}
		replicas := make([]*replica, n)
		for i := range replicas {
			replicas[i] = start()
		}
		for range 30 {
			time.Sleep(time.Duration(rnd.Int64N(int64(20 * time.Second))))
			i := rnd.IntN(n)
			switch rnd.IntN(6) {
			case 0:
				replicas[i].dies()
				replicas[i] = start()
			case 1: // in good order
				replicas[i].ends()
				replicas[i] = start()
			case 2:
				replicas[i].wire.set(true)
			case 3, 4:
				replicas[i].wire.set(false)
			case 5:
				m.mu.Lock()
				m.down = !m.down
				m.mu.Unlock()
			}
		}
		m.mu.Lock()
		m.down = false
		m.mu.Unlock()
		for _, r := range replicas {
			r.wire.set(rnd.IntN(2) == 0)
			r.ends()
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		if got := peak(j.used); got > rules[0].Amount {
			t.Errorf("seed %d: %d requests within a minute, limit %d", seed, got, rules[0].Amount)
		}
		if got := peak(j.tokens); got > rules[1].Amount {
			t.Errorf("seed %d: %d tokens within a minute, limit %d", seed, got, rules[1].Amount)
		}
		if j.most > rules[2].Amount || j.running != 0 {
			t.Errorf("seed %d: %d at once, limit %d", seed, j.most, rules[2].Amount)
		}
		if len(j.used) == 0 {
			t.Errorf("seed %d: no call passed", seed)
		}
		// All comes back.
		last := startReplica(t.Context(), m, "last", n)
		defer last.ends()
		var a Admission
		_ = last.book.Admit(t.Context(), rules, Need{Requests: 1}, &a)
		a.Done(Need{})
		time.Sleep(2 * (KeepUses + RenewEvery))
		if err := last.book.Admit(t.Context(), rules[:2], Need{Requests: rules[0].Amount, Input: rules[1].Amount}, &a); err != nil {
			t.Errorf("seed %d: not all came back: %v", seed, err)
		}
		for i := range rules[2].Amount {
			if err := last.book.Admit(t.Context(), rules[2:], one, &Admission{}); err != nil {
				t.Errorf("seed %d: slot %d did not come back: %v", seed, i, err)
			}
		}
	})
}

// In normal work hardly a call asks the store, and an amount that all replicas lack is used up.
func TestSharingIsCheapAndComplete(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		limit  int64
		pause  time.Duration // between the calls of each of 12 workers, twice the mean
		trades float64       // at most, for each call
		used   float64       // at least, of the limit
	}{
		{"well below the limit", 10_000, 200 * time.Millisecond, 0.02, 0},
		{"far above the limit", 1200, 100 * time.Millisecond, 0.2, 0.97},
		{"a small limit", 20, 2 * time.Second, 1, 0.95},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m, j := newMemory(), &judge{born: time.Now()}
				rules := []Rule{{ID: "rpm", Measure: Requests, Amount: test.limit}}
				var all []*replica
				for i := range 3 {
					r := startReplica(t.Context(), m, fmt.Sprint(i), 3)
					for k := range 4 {
						rnd := rand.New(rand.NewPCG(uint64(i), uint64(k)))
						r.all.Go(func() { r.calls(j, rules, rnd, test.pause, time.Millisecond) })
					}
					all = append(all, r)
				}
				time.Sleep(10 * time.Minute)
				for _, r := range all {
					r.kill()
					r.all.Wait()
				}
				offered := float64(len(j.used) + j.refused)
				if got := float64(m.trades) / offered; got > test.trades {
					t.Errorf("%.3f trades for each call (%d trades)", got, m.trades)
				}
				if got := float64(len(j.used)) / float64(10*test.limit); got < test.used {
					t.Errorf("%.3f of the limit used, %d refused", got, j.refused)
				}
				if got := peak(j.used); got > test.limit || j.unknown > 0 {
					t.Errorf("%d in a minute, limit %d; %d unknown", got, test.limit, j.unknown)
				}
				t.Logf("%d passed, %d refused, %d trades", len(j.used), j.refused, m.trades)
			})
		})
	}
}

// While the store is away, what is held can be used until it is stale; after that nothing can be decided. Rules that only observe never
// refuse.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startReplica(t.Context(), newMemory(), "a", 2)
		defer r.ends()
		rule, watched := Rule{ID: "rpm", Measure: Requests, Amount: 100}, Rule{ID: "w", Measure: Requests, Amount: 3, Observe: true}
		var a Admission
		if err := r.book.Admit(t.Context(), []Rule{rule, watched}, one, &a); err != nil {
			t.Fatal(err)
		}
		r.wire.set(true)
		time.Sleep(20 * time.Second)
		if err := r.book.Admit(t.Context(), []Rule{rule, watched}, one, &a); err != nil || len(a.Over) > 0 {
			t.Errorf("held, and not stale: %v, %v", err, a.Over)
		}
		if err := r.book.Admit(t.Context(), []Rule{{ID: "other", Measure: Requests, Amount: 100}}, one, &a); !errors.Is(err, ErrUnavailable) {
			t.Errorf("not held: %v", err)
		}
		time.Sleep(8 * time.Second)
		began := time.Now()
		if err := r.book.Admit(t.Context(), []Rule{rule}, one, &a); !errors.Is(err, ErrUnavailable) || time.Since(began) > 0 {
			t.Errorf("stale: %v after %v", err, time.Since(began))
		}
		if err := r.book.Admit(t.Context(), []Rule{watched}, one, &a); err != nil || len(a.Over) > 0 {
			t.Errorf("observed: %v, %v", err, a.Over)
		}
		r.wire.set(false)
		time.Sleep(5 * time.Second)
		if err := r.book.Admit(t.Context(), []Rule{rule}, one, &a); err != nil {
			t.Errorf("back: %v", err)
		}
	})
}

// A call that waits for the store hears why its context ended: of its caller's deadline, or of an operator's stop, and not that its
// caller has left.
func TestWaitingEndsWithACause(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startReplica(t.Context(), newMemory(), "a", 2)
		defer r.ends()
		var a Admission
		if err := r.book.Admit(t.Context(), []Rule{{ID: "rpm", Measure: Requests, Amount: 100}}, one, &a); err != nil {
			t.Fatal(err)
		}
		r.wire.set(true)
		defer r.wire.set(false)
		why := errors.New("its deadline passed")
		ctx, end := context.WithCancelCause(t.Context())
		time.AfterFunc(100*time.Millisecond, func() { end(why) })
		if err := r.book.Admit(ctx, []Rule{{ID: "other", Measure: Requests, Amount: 100}}, one, &a); !errors.Is(err, why) {
			t.Errorf("got %v, want %v", err, why)
		}
	})
}

// A replica that is killed with all slots has them back within 30 s, and not before its calls could still run. (Fault 21.)
func TestKilledWithSlots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a, b := startReplica(t.Context(), m, "a", 2), startReplica(t.Context(), m, "b", 2)
		defer b.ends()
		rules := []Rule{{ID: "slots", Measure: Concurrent, Amount: 20}}
		for range 20 {
			if err := a.book.Admit(t.Context(), rules, one, &Admission{}); err != nil {
				t.Fatal(err)
			}
		}
		_ = b.book.Admit(t.Context(), rules, one, &Admission{})
		time.Sleep(40 * time.Second)
		if err := b.book.Admit(t.Context(), rules, one, &Admission{}); err == nil {
			t.Error("a slot of a replica that runs")
		}
		a.dies()
		killed := time.Now()
		for b.book.Admit(t.Context(), rules, one, &Admission{}) != nil {
			time.Sleep(time.Second / 10)
		}
		if took := time.Since(killed); took > 30*time.Second || took < Life-RenewEvery-lookEvery {
			t.Errorf("back after %v", took)
		}
	})
}

// What a lowered limit leaves is kept to as soon as replicas know of it.
func TestLoweredOverReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a, b := startReplica(t.Context(), m, "a", 2), startReplica(t.Context(), m, "b", 2)
		defer a.ends()
		defer b.ends()
		passed := 0
		call := func(r *replica, amount int64) {
			if r.book.Admit(t.Context(), []Rule{{ID: "rpm", Measure: Requests, Amount: amount}}, one, &Admission{}) == nil {
				passed++
			}
		}
		for range 30 {
			call(a, 1000)
			call(b, 1000)
		}
		for range 300 {
			call(a, 100)
			call(b, 100)
			time.Sleep(20 * time.Millisecond)
		}
		if passed > 100 || passed < 95 {
			t.Errorf("%d passed", passed)
		}
	})
}

// What is granted is free, is what is needed or nothing, and is more only if that is welcome and there is enough for all.
func TestGrant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		trade := Trade{
			Limit: rapid.Int64Range(0, most).Draw(rt, "limit"), Replicas: rapid.IntRange(0, 1000).Draw(rt, "replicas"),
			Need: rapid.OneOf(rapid.Int64Range(0, 10), rapid.Int64Range(0, most)).Draw(rt, "need"), More: rapid.Bool().Draw(rt, "more"),
		}
		trade.All = trade.Need + rapid.Int64Range(0, most).Draw(rt, "others")
		free := rapid.OneOf(rapid.Int64Range(-10, 100), rapid.Int64Range(-most, most)).Draw(rt, "free")
		granted, tail := trade.Grant(free)
		switch {
		case granted < 0 || granted > max(free, 0):
			rt.Fatalf("%d of %d", granted, free)
		case granted < trade.Need && (granted > 0 || free >= trade.Need):
			rt.Fatalf("%d of %d, needed %d", granted, free, trade.Need)
		case granted > trade.All && (tail || !trade.More || granted > free/2):
			rt.Fatalf("%d of %d, all need %d", granted, free, trade.All)
		}
	})
}

// One that was cut off for so long that others got what it held has nothing when it comes back.
func TestZombie(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		a, b := startReplica(t.Context(), m, "a", 2), startReplica(t.Context(), m, "b", 2)
		defer a.ends()
		defer b.ends()
		rules := []Rule{{ID: "slots", Measure: Concurrent, Amount: 20}}
		var first Admission
		if err := a.book.Admit(t.Context(), rules, one, &first); err != nil { // and holds a slice
			t.Fatal(err)
		}
		a.wire.set(true)
		got := 0
		for range 300 {
			if b.book.Admit(t.Context(), rules, one, &Admission{}) == nil {
				got++
			}
			time.Sleep(200 * time.Millisecond)
		}
		if got != 20 {
			t.Fatalf("the other got %d", got)
		}
		a.wire.set(false)
		time.Sleep(5 * time.Second)
		first.Done(one)
		if err := a.book.Admit(t.Context(), rules, one, &first); err == nil {
			t.Error("21 at once")
		}
	})
}

// What a holder goes on holding: all of it while it is new; what it uses and some more; what it uses alone if somebody lacks it or little
// is left.
func TestTarget(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		share  share
		used   int64
		wanted bool
		want   int64
	}{
		{share{amount: 100, grown: 5 * second}, 8, false, 100},
		{share{amount: 100}, 8, false, 11},
		{share{amount: 9}, 8, false, 9},
		{share{amount: 100}, 0, false, 0},
		{share{amount: 100, grown: 5 * second}, 8, true, 8},
		{share{amount: 100, grown: 5 * second, tail: true}, 8, false, 8},
		{share{amount: 5, tail: true}, 8, false, 5},
	} {
		if got := c.share.target(c.used, 10*second, c.wanted); got != c.want {
			t.Errorf("%+v, used %d, wanted %v: %d, want %d", c.share, c.used, c.wanted, got, c.want)
		}
	}
}
