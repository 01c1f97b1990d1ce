package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/rate"
)

// holder is one that others may declare gone after a span; 0 is as soon as they have renewed.
func holder(id string, life time.Duration) rate.Holder { return rate.Holder{ID: id, Life: life} }

// renews has holders renew, one after the other, at instants that the store's clock tells apart.
func renews(t *testing.T, s Store, all ...rate.Holder) {
	t.Helper()
	for _, h := range all {
		before, _, err := s.WantedRates(t.Context(), h, time.Time{})
		must(t, err)
		for now := before; !now.After(before); {
			now, _, err = s.WantedRates(t.Context(), h, time.Time{})
			must(t, err)
		}
		is, err := s.RenewRates(t.Context(), h)
		must(t, err)
		same(t, h.ID+" is there", is, true)
	}
}

// tradeRate makes one trade.
func tradeRate(t *testing.T, s Store, h rate.Holder, ask rate.Trade) rate.Result {
	t.Helper()
	results, is, err := s.TradeRates(t.Context(), h, []rate.Trade{ask})
	must(t, err)
	if !is || len(results) != 1 {
		t.Fatalf("%v, %v", results, is)
	}
	return results[0]
}

func testRates(t *testing.T, s Store) {
	ctx := t.Context()
	a, b := holder("a", time.Hour), holder("b", time.Hour)
	k := rate.Key{Rule: "rpm", Subject: "o'brien\n", Measure: rate.Requests}
	_, is, err := s.TradeRates(ctx, a, []rate.Trade{{Key: k, Limit: 100, Need: 1, All: 1}})
	must(t, err)
	same(t, "one that never renewed is there", is, false)
	renews(t, s, a, b)

	ask := rate.Trade{Key: k, Limit: 100, Replicas: 2, Keeps: time.Hour, Need: 1, All: 2, More: true}
	same(t, "a slice", tradeRate(t, s, a, ask), rate.Result{Granted: 25, Free: 75})
	same(t, "one of another measure", tradeRate(t, s, b, rate.Trade{Key: rate.Key{Rule: "rpm", Subject: k.Subject, Measure: rate.Tokens}, Limit: 7, Replicas: 2, Need: 7, All: 7}),
		rate.Result{Granted: 7, Tail: true})
	same(t, "the next slice", tradeRate(t, s, b, ask), rate.Result{Granted: 18, Free: 57, Back: time.Second})
	ask.Has, ask.Need, ask.All = 25, 57, 90
	same(t, "all that is left", tradeRate(t, s, a, ask), rate.Result{Granted: 57, Tail: true, Back: time.Second})
	ask.Has, ask.Back = 82, 30*time.Second
	ask.Need, ask.All = 1, 1
	same(t, "no more", tradeRate(t, s, a, ask), rate.Result{Tail: true, Back: time.Second})
	lacks := rate.Trade{Key: k, Limit: 100, Replicas: 2, Keeps: time.Hour, Has: 18, Need: 1, All: 1}
	r := tradeRate(t, s, b, lacks)
	if r.Back < 29*time.Second || r.Back > 30*time.Second || r.Granted > 0 || !r.Tail {
		t.Errorf("%+v", r)
	}
	now, keys, err := s.WantedRates(ctx, a, time.Time{})
	must(t, err)
	same(t, "wanted", keys, []rate.Key{k})
	_, keys, err = s.WantedRates(ctx, a, now)
	must(t, err)
	same(t, "wanted since then", keys, nil)
	_, keys, err = s.WantedRates(ctx, holder("c", time.Hour), time.Time{})
	must(t, err)
	same(t, "wanted of one that has nothing", keys, nil)

	same(t, "given back", tradeRate(t, s, a, rate.Trade{Key: k, Limit: 100, Replicas: 2, Has: 10}), rate.Result{Free: 72, Back: time.Second})
	same(t, "had by another", tradeRate(t, s, b, lacks), rate.Result{Granted: 1, Free: 71, Back: time.Second})
	same(t, "a lowered limit", tradeRate(t, s, b, rate.Trade{Key: k, Limit: 20, Replicas: 2, Has: 19, Need: 1, All: 1}), rate.Result{Tail: true, Back: time.Second})
	same(t, "all given back", tradeRate(t, s, a, rate.Trade{Key: k, Limit: 100, Replicas: 2}), rate.Result{Free: 81, Back: time.Second})
	many := make([]rate.Trade, 300)
	for i := range many {
		many[i] = rate.Trade{Key: rate.Key{Rule: "r", Subject: fmt.Sprint(i)}, Limit: 10, Replicas: 1, Need: int64(i % 12), All: int64(i % 12)}
	}
	results, is, err := s.TradeRates(ctx, a, many)
	must(t, err)
	for i, r := range results {
		if want := int64(i % 12 % 11); r.Granted != want || !is { // 11 is more than there is
			t.Errorf("trade %d: %+v", i, r)
		}
	}
}

func testRatesGone(t *testing.T, s Store) {
	a, b, old := holder("a", 0), holder("b", 0), holder("b", time.Hour)
	slots := rate.Trade{Key: rate.Key{Rule: "slots"}, Limit: 5, Replicas: 2, Need: 5, All: 5}
	uses := rate.Trade{Key: rate.Key{Rule: "uses"}, Limit: 5, Replicas: 2, Need: 5, All: 5, Keeps: time.Hour}
	renews(t, s, b, a)
	same(t, "slots", tradeRate(t, s, a, slots).Granted, 5)
	same(t, "uses", tradeRate(t, s, a, uses).Granted, 5)
	same(t, "before it has renewed", tradeRate(t, s, b, slots).Granted, 0)
	renews(t, s, old)
	same(t, "before the other's life has passed", tradeRate(t, s, old, slots).Granted, 0)
	renews(t, s, b)
	small := slots
	small.Need, small.All = 0, 0
	same(t, "one that needs nothing", tradeRate(t, s, b, small).Granted, 0)
	renews(t, s, a, b) // it is there yet
	same(t, "slots of one that is gone", tradeRate(t, s, b, slots).Granted, 5)
	same(t, "uses of one that is gone", tradeRate(t, s, b, uses).Granted, 0)
	is, err := s.RenewRates(t.Context(), a)
	must(t, err)
	same(t, "it renews", is, false)
	_, is, err = s.TradeRates(t.Context(), a, []rate.Trade{slots})
	must(t, err)
	same(t, "it trades", is, false)
	must(t, s.LeaveRates(t.Context(), a))
	must(t, s.LeaveRates(t.Context(), b))
	must(t, s.LeaveRates(t.Context(), holder("nobody", 0)))
	c := holder("c", time.Hour)
	renews(t, s, c)
	same(t, "slots of one that left", tradeRate(t, s, c, slots).Granted, 5)
	same(t, "uses of those that left", tradeRate(t, s, c, uses).Granted, 0)
}

// testRatesAtOnce has holders trade in the same amounts at once. What one holds is what it was granted, from after the trade until
// before the one that gives it back; the sum is never over the limit.
func testRatesAtOnce(t *testing.T, s Store) {
	ctx := t.Context()
	const limit, amounts = 20, 3
	var held, most [amounts]atomic.Int64
	var all sync.WaitGroup
	for n := range 5 {
		h := holder(fmt.Sprint("h", n), time.Hour)
		renews(t, s, h)
		all.Go(func() {
			var has [amounts]int64
			for range 30 {
				var trades []rate.Trade
				for _, i := range rand.Perm(amounts)[:1+rand.IntN(amounts)] { // in any order
					back := rand.Int64N(has[i] + 1)
					has[i] -= back
					held[i].Add(-back)
					need := rand.Int64N(6)
					trades = append(trades, rate.Trade{
						Key: rate.Key{Rule: "r", Subject: fmt.Sprint(i)}, Limit: limit, Replicas: 1 + rand.IntN(5), Has: has[i],
						Need: need, All: need + rand.Int64N(3), More: rand.IntN(2) == 0,
					})
				}
				results, is, err := s.TradeRates(ctx, h, trades)
				if err != nil || !is {
					t.Error(is, err)
					return
				}
				for j, r := range results {
					var i int
					_, _ = fmt.Sscan(trades[j].Subject, &i)
					has[i] += r.Granted
					atLeast(&most[i], held[i].Add(r.Granted))
				}
			}
		})
	}
	all.Wait()
	for i := range most {
		if got := most[i].Load(); got > limit || got < limit/2 {
			t.Errorf("amount %d: %d held at once, limit %d", i, got, limit)
		}
	}
}

// testRatesOverReplicas has three replicas let calls through at once. (Fault 23.)
func testRatesOverReplicas(t *testing.T, s Store) {
	ctx, end := context.WithCancel(t.Context())
	var replicas, callers sync.WaitGroup
	rules := []rate.Rule{{ID: "slots", Measure: rate.Concurrent, Amount: 10}, {ID: "rpm", Measure: rate.Requests, Amount: 60}}
	var running, most, passed, refused atomic.Int64
	for n := range 3 {
		book := rate.New(rate.Options{Store: s, Holder: fmt.Sprint("replica ", n), Replicas: func() int { return 3 }})
		replicas.Go(func() { _ = book.Run(ctx) })
		for range 8 {
			callers.Go(func() {
				var a rate.Admission
				for range 10 {
					err := book.Admit(ctx, rules, rate.Need{Requests: 1}, &a)
					var over *rate.Exceeded
					switch {
					case errors.As(err, &over):
						refused.Add(1)
						continue
					case err != nil:
						t.Error(err)
						return
					}
					atLeast(&most, running.Add(1))
					passed.Add(1)
					running.Add(-1)
					a.Done(rate.Need{Requests: 1})
				}
			})
		}
	}
	callers.Wait()
	end()
	replicas.Wait()
	if most.Load() > 10 || passed.Load() > 60 || passed.Load() < 20 || running.Load() != 0 {
		t.Errorf("%d at once, limit 10; %d passed, limit 60, %d refused", most.Load(), passed.Load(), refused.Load())
	}
	// What was used still counts, and what was not is there for others.
	last := holder("last", time.Hour)
	renews(t, s, last)
	got := tradeRate(t, s, last, rate.Trade{
		Key: rate.Key{Rule: "rpm", Measure: rate.Requests}, Limit: 60, Replicas: 1, Need: 60 - passed.Load(), All: 60 - passed.Load(),
	})
	same(t, "what is left of requests", got.Granted, 60-passed.Load())
}
