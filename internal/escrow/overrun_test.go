package escrow_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/escrow/escrowtest"
)

// A surplus is a call of a random run that may come to more than it had reserved.
type surplus struct {
	who         int
	held, spent int64
	lost        int // in percent, of the trades from here on
	pause       time.Duration
}

// TestOverrunsAreMadeUpFor has calls come to more than they had reserved, and trades and their replies get lost. As far as the lease
// had anything free when that was known, no more is spent in the end than the limit; and all of it can be.
func TestOverrunsAreMadeUpFor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 2).Draw(r, "replicas")
		limit := rapid.SampledFrom([]int64{100, 300, 2000}).Draw(r, "limit")
		plan := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) surplus {
			one := func(from ...int) int { return rapid.SampledFrom(from).Draw(r, "n") }
			held := int64(one(1, 10, 50, 90))
			return surplus{
				who: one(0, 1), held: held, spent: held * int64(one(0, 50, 100, 130, 200)) / 100,
				lost: one(0, 30, 90), pause: time.Duration(one(0, 0, 100, 2000, 11_000)) * time.Millisecond,
			}
		}), 3, 20).Draw(r, "calls")
		var bad error
		synctest.Test(t, func(t *testing.T) { bad = overrun(t, plan, n, limit) })
		if bad != nil {
			r.Fatal(bad)
		}
	})
}

func overrun(t *testing.T, plan []surplus, n int, limit int64) error {
	var s escrowtest.Store
	k := escrow.Key{Rule: "budget"}
	var all []*process
	for i := range n {
		all = append(all, start(t, &s, fmt.Sprint("j", i), "1", n))
	}
	var beyond int64 // what there was nothing for
	call := func(b *process, held, spent int64) (done bool) {
		p := b.Pool(k, terms(limit))
		id, err := b.take(p, held)
		if err != nil {
			return false
		}
		synctest.Wait()
		if over := spent - held; over > 0 {
			h, now := b.Hands()[0], s.State(k)
			room := max(limit+beyond-now.Settled-now.Held-now.Unknown, 0)
			beyond += max(over-max(h.Free-h.Owed, 0)-room, 0)
		}
		p.Settle(id, held, spent)
		s.Tell(k, id, held, spent, false)
		return true
	}
	for i := range plan {
		c := &plan[i]
		b := all[c.who%n]
		random := rand.New(rand.NewPCG(1, uint64(i)))
		lost := func() bool { return random.IntN(100) < c.lost } // its link asks one at a time
		b.link.Lose(lost, lost)
		call(b, c.held, c.spent)
		time.Sleep(c.pause)
		synctest.Wait()
	}
	for _, b := range all {
		b.link.Lose(nil, nil)
	}
	time.Sleep(15 * time.Second)
	for i := 0; call(all[i%n], 1, 1) || call(all[(i+1)%n], 1, 1); i++ {
	}
	got := s.State(k)
	if got.Settled > limit+beyond || got.Settled < limit {
		return fmt.Errorf("at the end %+v: want %d settled, and at most %d more", got, limit, beyond)
	}
	return nil
}
