package escrow_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/escrow/escrowtest"
)

// A process is one bank that runs.
type process struct {
	t *testing.T
	*escrow.Bank
	link *escrowtest.Link
	end  func()
}

// start makes a bank on a store and runs it until end or the end of the test. To be called in a bubble.
func start(t *testing.T, s *escrowtest.Store, journal, run string, replicas int, change ...func(*escrow.Options)) *process {
	t.Helper()
	p := &process{t: t, link: &escrowtest.Link{Store: s}}
	o := escrow.Options{
		Store: p.link, Holder: escrow.Holder{Journal: journal, Run: run}, Replicas: func() int { return replicas },
	}
	for _, f := range change {
		f(&o)
	}
	p.Bank = escrow.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	p.end = func() {
		cancel()
		<-done
	}
	t.Cleanup(func() {
		p.link.Thaw()
		p.end()
	})
	return p
}

func terms(limit int64) escrow.Terms { return escrow.Terms{Limit: limit, Version: 1} }

var key = escrow.Key{Rule: "budget_1", Subject: "alice", Start: 5}

// take holds an amount, and asks the store if it has to.
func (p *process) take(pool *escrow.Pool, amount int64) (string, error) {
	for range 20 {
		if id, ok := pool.Hold(amount); ok {
			return id, nil
		}
		if err := p.Fund(context.Background(), []escrow.Want{{Pool: pool, Need: amount}}); err != nil {
			return "", err
		}
	}
	return "", errors.New("it was funded 20 times and could not be held")
}

func (p *process) must(pool *escrow.Pool, amount int64) string {
	p.t.Helper()
	id, err := p.take(pool, amount)
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func short(t *testing.T, err error) *escrow.Short {
	t.Helper()
	s, ok := errors.AsType[*escrow.Short](err)
	if !ok {
		t.Fatalf("got error %v, want a Short", err)
	}
	return s
}

func TestFundHoldSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1000))
		if _, ok := p.Hold(1); ok {
			t.Fatal("something could be held without a lease")
		}
		if _, known := p.State(); known {
			t.Fatal("a state is known that nobody asked for")
		}
		id := b.must(p, 100)
		if got := s.State(key).Held; got < 100 || got > 500 {
			t.Errorf("the lease has %d, want the 100 that are needed and at most half of all", got)
		}
		p.Settle(id, 100, 30)
		s.Tell(key, id, 100, 30, false)
		if state, _ := p.State(); state.Settled != 30 {
			t.Errorf("settled is %d here, want 30", state.Settled)
		}
		before := s.Trades()
		for range 20 {
			id := b.must(p, 50)
			p.Settle(id, 50, 1)
		}
		p.Settle(id, 100, 0) // twice
		if h := b.Hands()[0]; h.Held != 0 || h.Free+h.Spent != s.State(key).Held+30 {
			t.Errorf("settling twice made money: %+v of %+v", h, s.State(key))
		}
		if after := s.Trades(); after > before+2 {
			t.Errorf("20 calls took %d trades", after-before)
		}
	})
}

func TestShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p, other := b.Pool(key, terms(100)), b.Pool(escrow.Key{Rule: "other"}, terms(1000))
		began := time.Now()
		err := b.Fund(context.Background(), []escrow.Want{{Pool: other, Need: 10}, {Pool: p, Need: 101}})
		got := short(t, err)
		if got.Key != key || got.Free != 100 || got.Need != 101 || got.State.Limit != 100 {
			t.Errorf("got %+v", got)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v to refuse what nobody could give back", took)
		}
		before := s.Trades()
		for range 100 {
			short(t, b.Fund(context.Background(), []escrow.Want{{Pool: p, Need: 200}}))
		}
		if n := s.Trades() - before; n > 0 {
			t.Errorf("100 refusals at once took %d trades", n)
		}
		b.must(p, 100)
		p = b.Pool(key, escrow.Terms{Limit: 300, Version: 2})
		b.must(p, 200)
	})
}

func TestGrantsAndReturnsWhoseReplyIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1000))
		n := 0
		b.link.Lose(nil, func() bool { n++; return n == 1 })
		id := b.must(p, 100) // the second try
		p.Settle(id, 100, 100)
		s.Tell(key, id, 100, 100, false)
		time.Sleep(11 * time.Second)
		h := b.Hands()[0]
		if left, _ := s.Left(key, id); h.Free != left || h.Held != 0 {
			t.Errorf("it has %+v, the store says %d: nothing must be lost by a lost reply", h, left)
		}
		// What is given back and whose reply is lost is not free until it is known.
		n = 0
		b.Pool(key, escrow.Terms{Limit: 900, Version: 2})
		synctest.Wait()
		if h := b.Hands()[0]; h.Free != 0 {
			t.Errorf("%d are free that may have been given back", h.Free)
		}
		time.Sleep(12 * time.Second)
		if left, ok := s.Left(key, id); ok && b.Hands()[0].Free != left {
			t.Errorf("it has %+v, the store says %d", b.Hands()[0], left)
		}
		// Not given back, since the request was lost: free again when it is known.
		b.must(p, 200)
		n = 0
		b.link.Lose(func() bool { n++; return n == 1 }, nil)
		b.Pool(key, escrow.Terms{Limit: 800, Version: 3})
		time.Sleep(12 * time.Second)
		h = b.Hands()[0]
		if left, _ := s.Left(key, h.Lease); h.Free+h.Held != left || h.Held != 200 {
			t.Errorf("it has %+v, the store says %d", h, left)
		}
	})
}

func TestAStoppedProcessRefusesUntilItRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1000))
		id := b.must(p, 100)
		b.link.Freeze()
		time.Sleep(27 * time.Second)
		if _, ok := p.Hold(1); !ok {
			t.Error("27 s after a renewal nothing can be held")
		}
		time.Sleep(2 * time.Second)
		if _, ok := p.Hold(1); ok {
			t.Error("29 s after a renewal something can be held")
		}
		began := time.Now()
		err := b.Fund(context.Background(), []escrow.Want{{Pool: p, Need: 1}})
		if _, is := errors.AsType[*escrow.Short](err); err == nil || is {
			t.Errorf("got %v, want an error that says that the store does not answer", err)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("it took %v to say so", took)
		}
		time.Sleep(3 * time.Second)
		if got := s.State(key); got.Unknown == 0 || got.Held != 0 {
			t.Errorf("the store shows %+v, want the lease as unknown", got)
		}
		b.link.Thaw()
		b.must(p, 1)
		p.Settle(id, 100, 10)
		s.Tell(key, id, 100, 10, false)
		if got := s.State(key); got.Unknown != 0 {
			t.Errorf("the store shows %+v after the renewal", got)
		}
	})
}

func TestALostLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1000))
		id := b.must(p, 100)
		s.Take(key, id)
		time.Sleep(11 * time.Second)
		if _, ok := p.Hold(1); ok {
			t.Error("a lost lease is spent from")
		}
		if now := b.must(p, 100); now == id {
			t.Error("the lost lease is used again")
		}
		before := b.Hands()[0]
		p.Settle(id, 100, 10)
		s.Tell(key, id, 100, 10, false)
		if after := b.Hands()[0]; after != before {
			t.Errorf("what was held of the lost lease went from %+v to %+v", before, after)
		}
	})
}

func TestOtherReplicasGiveBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		a, b := start(t, &s, "a", "1", 2), start(t, &s, "b", "1", 2)
		pa, pb := a.Pool(key, terms(1000)), b.Pool(key, terms(1000))
		id := a.must(pa, 150)
		pa.Settle(id, 150, 0) // a has some free
		s.Tell(key, id, 150, 0, false)
		time.Sleep(time.Second)
		began := time.Now()
		b.must(pb, 950)
		if took := time.Since(began); took > 1200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		began = time.Now()
		short(t, a.Fund(context.Background(), []escrow.Want{{Pool: pa, Need: 51}}))
		if took := time.Since(began); took < time.Second || took > 1400*time.Millisecond {
			t.Errorf("it took %v to find that b gives nothing back", took)
		}
		a.must(pa, 50)
	})
}

// What another replica lacks is given back with the next look, also if the trade that gave it back failed: nobody waits for a renewal.
func TestOthersAreGivenBackToAlthoughATradeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		a, b := start(t, &s, "a", "1", 2), start(t, &s, "b", "1", 2)
		pa, pb := a.Pool(key, terms(1000)), b.Pool(key, terms(1000))
		id := a.must(pa, 150)
		time.Sleep(time.Second)
		b.must(pb, 600)
		var n atomic.Int32
		a.link.Lose(func() bool { return n.Add(1) == 1 }, nil)
		pa.Settle(id, 150, 1) // what it came to less goes back at once, for little is left
		s.Tell(key, id, 150, 1, false)
		time.Sleep(2500 * time.Millisecond)
		if got := s.State(key); n.Load() < 2 || got.Free() < 350 {
			t.Errorf("after %d trades %+v, and %+v here", n.Load(), got, a.Hands())
		}
	})
}

func TestIdleLeasesAreGivenUpAndPoolsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1000))
		id := b.must(p, 100)
		p.Settle(id, 100, 40)
		time.Sleep(80 * time.Second)
		if left, ok := s.Left(key, id); !ok || left != 40 {
			t.Errorf("the lease has %d (there: %v), want what is not told yet", left, ok)
		}
		s.Tell(key, id, 100, 40, false)
		time.Sleep(15 * time.Second)
		if ids := s.Leases(key); len(ids) != 0 {
			t.Errorf("leases %v are kept", ids)
		}
		if got := s.State(key); got.Held != 0 || got.Settled != 40 {
			t.Errorf("got %+v", got)
		}
		time.Sleep(5 * time.Minute)
		if n := b.Known(); n != 0 {
			t.Errorf("%d pools are remembered", n)
		}
		if p.Stay() {
			t.Error("what is forgotten says that it stays")
		}
		if again := b.Pool(key, terms(1000)); again == p || !again.Stay() {
			t.Error("there is none in its place")
		}
		b.must(p, 10) // who has it still can use it
		b.end()
		if got := s.State(key); got.Held != 10 {
			t.Errorf("after the end %d are held, want what the call that runs holds", got.Held)
		}
		if _, ok := p.Hold(1); ok {
			t.Error("something can be held after the end")
		}
		c := start(t, &s, "j", "2", 1)
		if err := c.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got := s.State(key); got.Held != 0 {
			t.Errorf("after the release %d are held", got.Held)
		}
	})
}

func TestOverrun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1000))
		id := b.must(p, 100)
		free := b.Hands()[0].Free
		p.Settle(id, 100, 130)
		s.Tell(key, id, 100, 130, false)
		if state, _ := p.State(); state.Settled != 130 || state.Over != 30 {
			t.Errorf("it stands at %+v", state)
		}
		time.Sleep(12 * time.Second)
		if got, h := s.State(key), b.Hands()[0]; got.Held != free-30 || h.Free != free-30 || got.Settled != 130 || got.Over != 30 {
			t.Errorf("the store has %+v, the bank %+v; free was %d", got, h, free)
		}
	})
}

// What calls came to beyond what they had reserved is made up for, also if the trade that gives it back fails, or its reply is lost.
func TestAnOverrunIsMadeUpForAlthoughATradeFails(t *testing.T) {
	for name, lose := range map[string]func(*escrowtest.Link, func() bool){
		"request lost": func(l *escrowtest.Link, f func() bool) { l.Lose(f, nil) },
		"reply lost":   func(l *escrowtest.Link, f func() bool) { l.Lose(nil, f) },
	} {
		for _, times := range []int32{1, 2, 5} {
			t.Run(fmt.Sprint(name, " ", times), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var s escrowtest.Store
					b := start(t, &s, "j", "1", 1)
					p := b.Pool(key, terms(1000))
					id := b.must(p, 100)
					free := b.Hands()[0].Free
					var n atomic.Int32
					lose(b.link, func() bool { return n.Add(1) <= times })
					p.Settle(id, 100, 130)
					s.Tell(key, id, 100, 130, false)
					time.Sleep(20 * time.Second)
					if n.Load() <= times {
						t.Fatalf("%d trades in 20 s", n.Load())
					}
					left, _ := s.Left(key, id)
					if h := b.Hands()[0]; left > free-30 || h.Free != left {
						t.Errorf("the lease has %d in the store and %+v here, want at most %d: 30 were spent of nothing", left, h, free-30)
					}
					if got := s.State(key); got.Settled != 130 || got.Over != 30 {
						t.Errorf("the store has %+v", got)
					}
				})
			})
		}
	}
}

func TestWhatTheStoreDoesNotTakeHurtsNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		b.link.Refuse(func(t escrow.Trade) bool { return t.Key.Rule == "bad" })
		var wants []escrow.Want
		for i := range 20 {
			wants = append(wants, escrow.Want{Pool: b.Pool(escrow.Key{Rule: "good", Start: int64(i)}, terms(100)), Need: 10})
		}
		bad := escrow.Want{Pool: b.Pool(escrow.Key{Rule: "bad"}, terms(100)), Need: 10}
		if err := b.Fund(context.Background(), append([]escrow.Want{bad}, wants...)); err == nil {
			t.Fatal("the bad one was funded")
		}
		for _, w := range wants {
			if _, ok := w.Pool.Hold(10); !ok {
				t.Errorf("%v was not funded", w.Pool.Key())
			}
		}
	})
}

func TestChangedAndAlerts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		told := make(chan escrow.State, 100)
		b := start(t, &s, "j", "1", 1, func(o *escrow.Options) { o.Changed = func(_ escrow.Key, s escrow.State) { told <- s } })
		p := b.Pool(key, terms(1000))
		id := b.must(p, 100)
		p.Settle(id, 100, 60)
		time.Sleep(1100 * time.Millisecond)
		var last escrow.State
		for len(told) > 0 {
			last = <-told
		}
		if last.Settled != 60 {
			t.Errorf("a second after a call was settled it was told of %+v", last)
		}
	})
}

// TestABurstFindsItsSlice: of a replica that begins to serve many calls, few have a trade made, and what it holds then is no more than
// it spends in some seconds.
func TestABurstFindsItsSlice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1<<50))
		const amount, calls = 10, 4000
		for range calls { // within a second
			p.Settle(b.must(p, amount), amount, amount)
			time.Sleep(time.Second / calls)
		}
		synctest.Wait()
		if n := s.Trades(); n > 10 {
			t.Errorf("%d trades were made for a burst, want at most 10", n)
		}
		if held := s.State(key).Held - calls*amount; held > 8*calls*amount { // what was spent is not told yet
			t.Errorf("%d are free in the lease, and a second needs %d", held, calls*amount)
		}
	})
}
