package escrow_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/escrow/escrowtest"
)

// A limit that is lowered binds the next call already: what the lease has free was had of the old one.
func TestALoweredLimitBindsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		id := b.must(b.Pool(key, terms(1000)), 100)
		p := b.Pool(key, escrow.Terms{Limit: 50, Version: 2})
		if _, ok := p.Hold(10); ok {
			t.Error("the lease was spent from as if nothing had changed")
		}
		if got := short(t, b.Fund(context.Background(), []escrow.Want{{Pool: p, Need: 10}})); got.Free != 0 || got.State.Limit != 50 || got.State.Held != 100 {
			t.Errorf("got %+v", got)
		}
		p.Settle(id, 100, 30)
		s.Tell(key, id, 100, 30, false)
		b.must(p, 20)
		if got := short(t, b.Fund(context.Background(), []escrow.Want{{Pool: p, Need: 1}})); got.Free != 0 {
			t.Errorf("got %+v", got)
		}
		b.must(b.Pool(key, escrow.Terms{Limit: 1000, Version: 3}), 500)
	})
}

// What was had of a higher limit goes back, also if the first trade that gives it back fails: it is not there to be spent meanwhile.
func TestALoweredLimitBindsAlthoughATradeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		id := b.must(b.Pool(key, terms(1000)), 100)
		var n atomic.Int32
		b.link.Lose(func() bool { return n.Add(1) == 1 }, nil)
		p := b.Pool(key, escrow.Terms{Limit: 50, Version: 2})
		for range 100 {
			time.Sleep(50 * time.Millisecond)
			if _, ok := p.Hold(10); ok {
				t.Fatal("what was had of the higher limit is spent")
			}
		}
		if got := s.State(key); n.Load() < 2 || got.Held != 100 {
			t.Errorf("after %d trades %+v: all but what the call holds is to be given back", n.Load(), got)
		}
		p.Settle(id, 100, 0)
	})
}

// What comes back while a trade runs was had of the higher limit as well: that trade's answer does not make it free.
func TestALoweredLimitBindsWhatComesBackDuringATrade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1000))
		first, second := b.must(p, 100), b.must(p, 100)
		b.link.Delay(20 * time.Millisecond)
		p = b.Pool(key, escrow.Terms{Limit: 50, Version: 2})
		time.Sleep(5 * time.Millisecond)
		p.Settle(first, 100, 0)
		s.Tell(key, first, 100, 0, false)
		for range 100 {
			time.Sleep(time.Millisecond)
			if _, ok := p.Hold(10); ok {
				t.Fatal("what came back while the limit was lowered is spent, and another call holds more than the limit")
			}
		}
		p.Settle(second, 100, 0)
		s.Tell(key, second, 100, 0, false)
		b.must(p, 50)
	})
}

// What was promised of a higher limit is promised no more: it goes back with the rest, and nobody asks the store again and again for as
// long as promises are kept.
func TestALoweredLimitEndsPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(1000))
		id := b.must(p, 100)
		if err := b.Fund(context.Background(), []escrow.Want{{Pool: p, Need: 700}}); err != nil {
			t.Fatal(err)
		}
		before := s.Trades()
		b.link.Delay(time.Millisecond)
		b.Pool(key, escrow.Terms{Limit: 50, Version: 2})
		time.Sleep(200 * time.Millisecond)
		if n := s.Trades() - before; n > 2 {
			t.Errorf("the store was asked %d times in 0.2 s", n)
		}
		if got := s.State(key).Held; got != 100 {
			t.Errorf("%d are held, want what the call has reserved: 100", got)
		}
		p.Settle(id, 100, 0)
	})
}

// A process that has missed a version does not know by how much the limit was lowered since: others may have had of it what there was.
func TestALoweredLimitBindsWhoeverMissedIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		one, other := start(t, &s, "one", "1", 2), start(t, &s, "other", "1", 2)
		p := one.Pool(key, terms(100))
		one.must(p, 10)
		other.must(other.Pool(key, escrow.Terms{Limit: 1000, Version: 2}), 500)
		one.Pool(key, escrow.Terms{Limit: 300, Version: 4})
		if id, ok := p.Hold(1); ok {
			t.Errorf("%s had 1 more, of %+v", id, s.State(key))
		}
		if err := one.Fund(context.Background(), []escrow.Want{{Pool: p, Need: 1}}); short(t, err).State.Limit != 300 {
			t.Error(err)
		}
		one.Pool(key, escrow.Terms{Limit: 1000, Version: 5})
		one.must(p, 1)
	})
}

// Terms that are the next, and allow as much, take nothing back: what is free here goes on being spent without asking. So a change of a
// tier that leaves a budget of it alone disturbs nobody.
func TestTheNextTermsTakeNothingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 2)
		p := b.Pool(key, escrow.Terms{Limit: 1000, Version: 41})
		id := b.must(p, 100)
		for version := int64(42); version < 50; version++ {
			held := s.State(key).Held
			b.Pool(key, escrow.Terms{Limit: 1000, Version: version})
			if _, ok := p.Hold(1); !ok {
				t.Errorf("version %d: nothing can be spent, of %+v", version, s.State(key))
			}
			time.Sleep(time.Second)
			if got := s.State(key).Held; got < held {
				t.Errorf("version %d: %d are held, before %d", version, got, held)
			}
		}
		p.Settle(id, 100, 0)
	})
}
