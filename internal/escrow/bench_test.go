package escrow_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/escrow/escrowtest"
)

// BenchmarkCall is what budgets cost a call in normal work: four pools are looked up, held from and settled.
func BenchmarkCall(b *testing.B) {
	bank := escrow.New(escrow.Options{Store: &escrowtest.Store{}, Holder: escrow.Holder{Journal: "j", Run: "1"}})
	var keys [4]escrow.Key
	t := escrow.Terms{Limit: 1 << 60, Version: 1}
	for i := range keys {
		keys[i] = escrow.Key{Rule: fmt.Sprint("budget_", i), Subject: "alice@example.com", Start: 1_790_000_000_000_000}
		want := escrow.Want{Pool: bank.Pool(keys[i], t), Need: 1 << 50}
		if err := bank.Fund(context.Background(), []escrow.Want{want}); err != nil {
			b.Fatal(err)
		}
	}
	call := func() {
		var leases [4]string
		var pools [4]*escrow.Pool
		for i, k := range keys {
			pools[i] = bank.Pool(k, t)
			var ok bool
			if leases[i], ok = pools[i].Hold(1000); !ok {
				b.Error("nothing can be held")
			}
		}
		for i := range keys {
			pools[i].Settle(leases[i], 1000, 10)
		}
	}
	if n := testing.AllocsPerRun(100, call); n != 0 {
		b.Errorf("%v allocations", n)
	}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			call()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				call()
			}
		})
	})
	p := bank.Pool(keys[0], t)
	b.Run("hold", func(b *testing.B) {
		for b.Loop() {
			p.Hold(1)
		}
	})
}

// memory is how much the process has in use.
func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMillionPools is what a million end users cost, each with a pool: while none of them spends, and while each has a lease.
func TestMillionPools(t *testing.T) {
	n := 20_000
	if os.Getenv("PENSTOCK_MILLION") != "" {
		n = 1_000_000
	}
	bank := escrow.New(escrow.Options{Store: granting{}, Holder: escrow.Holder{Journal: "j", Run: "1"}})
	before := memory()
	fill := func() (pools []*escrow.Pool) {
		for i := range n {
			pools = append(pools, bank.Pool(escrow.Key{Rule: "budget_each", Subject: fmt.Sprintf("user-%07d@example.com", i), Start: 1}, terms(1000)))
		}
		return pools
	}
	fill()
	idle := (memory() - before) / int64(n)
	pools := fill()
	for i := 0; i < n; i += 100 {
		var wants []escrow.Want
		for _, p := range pools[i : i+100] {
			wants = append(wants, escrow.Want{Pool: p, Need: 10})
		}
		if err := bank.Fund(context.Background(), wants); err != nil {
			t.Fatal(err)
		}
	}
	clear(pools)
	pools = nil
	leased := (memory() - before) / int64(n)
	t.Logf("%d pools: %d bytes each, %d with a lease", n, idle, leased)
	if idle > 350 || leased > 700 {
		t.Errorf("%d bytes for each pool, %d with a lease", idle, leased)
	}
	runtime.KeepAlive(bank)
}

// A granting store gives what is needed, and remembers nothing.
type granting struct{ escrow.Store }

func (granting) Trade(_ context.Context, _ escrow.Holder, trades []escrow.Trade) ([]escrow.Result, error) {
	results := make([]escrow.Result, len(trades))
	for i := range trades {
		results[i] = escrow.Result{Granted: trades[i].Need, Net: trades[i].Need, Left: trades[i].Need}
	}
	return results, nil
}

// TestMillionPoolsAreForgotten has users come and go for an hour: who is away for minutes is not remembered.
func TestMillionPoolsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		for minute := range 60 {
			for i := range 2000 {
				b.Pool(escrow.Key{Rule: "each", Subject: fmt.Sprint(minute, "-", i)}, terms(1000))
			}
			time.Sleep(time.Minute)
			if n := b.Known(); n > 6*2000 {
				t.Fatalf("after %d minutes %d pools are in memory", minute+1, n)
			}
		}
	})
}

// TestMostIsUsableBeforeTheTail spends a budget with three replicas, of which one has ten times the calls of another: at least 95 %
// is spent before any of them asks the store for each call, and to a call's worth all of it in the end.
func TestMostIsUsableBeforeTheTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		const limit, needs, costs = 1_000_000, 1000, 400
		replicas := []*process{start(t, &s, "a", "1", 3), start(t, &s, "b", "1", 3), start(t, &s, "c", "1", 3)}
		calls, asked := 0, s.Trades()
		begun, tail := time.Now(), int64(-1)
		for turn := 0; ; turn++ {
			m := replicas[[]int{0, 0, 1, 0, 0, 0, 1, 0, 0, 2, 0, 1}[turn%12]]
			p := m.Pool(key, terms(limit))
			id, err := m.take(p, needs)
			if err != nil {
				short(t, err)
				break
			}
			time.Sleep(20 * time.Millisecond)
			p.Settle(id, needs, costs)
			s.Tell(key, id, needs, costs, false)
			calls++
			if tail >= 0 {
				continue
			}
			for _, r := range replicas {
				for _, h := range r.Hands() {
					if h.Tail {
						tail, asked = s.State(key).Settled, s.Trades()-asked
					}
				}
			}
			if tail >= 0 {
				t.Logf("the tail begins when %.1f %% are spent, by %d calls with %d trades in %v", float64(tail)/limit*100, calls, asked, time.Since(begun))
			}
		}
		got := s.State(key)
		if tail < limit*95/100 {
			t.Errorf("the tail begins when %d of %d are spent", tail, limit)
		}
		if got.Settled < limit-needs {
			t.Errorf("%d of %d were spent when a call was refused", got.Settled, limit)
		}
		if seconds := int(time.Since(begun).Seconds()); asked > 60+3*seconds/9+calls/20 {
			t.Errorf("%d trades for %d calls in %d s", asked, calls, seconds)
		}
	})
}
