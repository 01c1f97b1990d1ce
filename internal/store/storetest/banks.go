package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// testBanks has three replicas spend two budgets at once through their banks until one of them is short: never over, all of it is
// used but for what is too little for a call, and nothing is left held once they have ended.
func testBanks(t *testing.T, s Store) {
	const limit, need, cost = 100_000, 1000, 300
	keys := []escrow.Key{{Rule: "org"}, {Rule: "user", Subject: "alice", Start: 7}}
	var calls, asked atomic.Int64
	var ended, all sync.WaitGroup
	stop, end := context.WithCancel(t.Context())
	for replica := range 3 {
		h := escrow.Holder{Journal: fmt.Sprint("bank_", replica), Run: "1"}
		bank := escrow.New(escrow.Options{Store: s, Holder: h, Replicas: func() int { return 3 }})
		ended.Go(func() {
			if err := bank.Run(stop); err != nil {
				t.Error(err)
			}
		})
		var line sync.Mutex // one writer for each journal
		n := int64(0)
		for range 4 {
			all.Go(func() {
				for {
					wants := []escrow.Want{{Pool: bank.Pool(keys[0], limited(limit)), Need: need}, {Pool: bank.Pool(keys[1], limited(limit)), Need: need}}
					var held []string
					for _, w := range wants {
						if id, ok := w.Pool.Hold(need); ok {
							held = append(held, id)
						}
					}
					if len(held) == len(wants) {
						calls.Add(1)
						var charges []pipeline.Charge
						for i, id := range held {
							wants[i].Pool.Settle(id, need, cost)
							charges = append(charges, pipeline.Charge{Budget: keys[i].Rule, Subject: keys[i].Subject, Start: keys[i].Start, Lease: id, Held: need})
						}
						line.Lock()
						n++
						r := charged(fmt.Sprint("bank_", replica, "_", n), pipeline.SettledActual, llm.Money(cost), charges...)
						err := s.AddRecords(t.Context(), h.Journal, n-1, []*usage.Record{r})
						line.Unlock()
						if err != nil {
							t.Error(err)
							return
						}
						continue
					}
					for _, w := range wants {
						for _, id := range held {
							w.Pool.Settle(id, need, 0) // of another pool it is nothing
						}
					}
					asked.Add(1)
					if err := bank.Fund(t.Context(), wants); err != nil {
						if _, short := errors.AsType[*escrow.Short](err); !short {
							t.Error(err)
						}
						return
					}
				}
			})
		}
	}
	all.Wait()
	end()
	ended.Wait()
	for replica := range 3 {
		must(t, s.ReleaseOlder(t.Context(), escrow.Holder{Journal: fmt.Sprint("bank_", replica), Run: "2"}))
	}
	for i, k := range keys {
		got := trade(t, s, escrow.Holder{Journal: "spy", Run: "1"}, escrow.Trade{Key: k, Terms: limited(limit), Lease: fmt.Sprint("spy_", i), Replicas: 1}).State
		if want := calls.Load() * cost; got.Settled != want || got.Held != 0 || got.Over != 0 || got.Settled > limit || got.Settled <= limit-need {
			t.Errorf("%v stands at %+v after calls for %d", k, got, want)
		}
	}
	t.Logf("%d calls, of which %d times one asked the store", calls.Load(), asked.Load())
}
