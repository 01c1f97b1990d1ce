package escrow_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/escrow/escrowtest"
)

// A losing store loses the reply of the first trade that gives back of several pools.
type losing struct {
	escrow.Store
	lost bool
}

func (l *losing) Trade(ctx context.Context, h escrow.Holder, trades []escrow.Trade) ([]escrow.Result, error) {
	results, err := l.Store.Trade(ctx, h, trades)
	if !l.lost && len(trades) > 1 && !slices.ContainsFunc(trades, func(t escrow.Trade) bool { return t.Back == 0 }) {
		l.lost = true
		return nil, escrowtest.ErrDown
	}
	return results, err
}

// A trade that came into force although its reply was lost is tried again in halves: what it gave back is not given back twice, for the
// second time it would be what calls hold.
func TestHalvesGiveNothingBackTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		way := &losing{}
		b := start(t, &s, "j", "1", 1, func(o *escrow.Options) { way.Store, o.Store = o.Store, way })
		for _, k := range []escrow.Key{{Rule: "one"}, {Rule: "two"}} {
			p := b.Pool(k, terms(100_000))
			for range 300 {
				b.must(p, 10)
			}
		}
		for range 60 {
			time.Sleep(time.Second)
			synctest.Wait()
			for _, h := range b.Hands() {
				if left, _ := s.Left(h.Key, h.Lease); h.Free < 0 || h.Free+h.Held > left {
					t.Fatalf("%+v is had here, and the store has %d", h, left)
				}
			}
		}
		if !way.lost {
			t.Error("no trade that gave back both lost its reply: this test tests nothing")
		}
	})
}

// What was promised to a call that goes without it is there for the next at once.
func TestALeaverFreesWhatWasPromised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		small, large := b.Pool(escrow.Key{Rule: "small"}, terms(10)), b.Pool(escrow.Key{Rule: "large"}, terms(1000))
		err := b.Fund(context.Background(), []escrow.Want{{Pool: small, Need: 50}, {Pool: large, Need: 900}})
		if short(t, err).Key.Rule != "small" {
			t.Error(err)
		}
		if got := large.Spare(); got < 900 {
			t.Errorf("%d are to be had, and nobody has any of 1000", got)
		}
	})
}

// What there is once is promised once.
func TestWhatIsThereIsPromisedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(100))
		b.link.Delay(5 * time.Millisecond)
		said := make(chan error, 2)
		for range 2 {
			go func() { said <- b.Fund(context.Background(), []escrow.Want{{Pool: p, Need: 60}}) }()
		}
		if one, other := <-said, <-said; (one == nil) == (other == nil) {
			t.Errorf("of two calls that need 60 of 100, one was told %v and the other %v", one, other)
		}
	})
}

// A process that ends gives back what it owes for an overrun, too.
func TestTheEndGivesBackWhatIsOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s escrowtest.Store
		b := start(t, &s, "j", "1", 1)
		p := b.Pool(key, terms(2000))
		over := b.must(p, 100)
		b.must(p, 100) // runs on
		synctest.Wait()
		p.Settle(over, 100, 150)
		s.Tell(key, over, 100, 150, false)
		if h := b.Hands()[0]; h.Owed != 50 {
			t.Fatalf("%+v", h)
		}
		b.end()
		if got := s.State(key); got.Held != 100 {
			t.Errorf("%d are held, and the call that runs has 100: %+v", got.Held, got)
		}
	})
}
