package storetest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

func limited(limit int64) escrow.Terms { return escrow.Terms{Limit: limit, Version: 1, End: 2000} }

// trade makes one trade.
func trade(t testing.TB, s Store, h escrow.Holder, tr escrow.Trade) escrow.Result {
	t.Helper()
	all, err := s.Trade(context.WithoutCancel(t.Context()), h, []escrow.Trade{tr})
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("%d results", len(all))
	}
	return all[0]
}

// charged is the record of a call of one try that counted for budgets.
func charged(id string, outcome pipeline.Outcome, cost llm.Money, charges ...pipeline.Charge) *usage.Record {
	r := record(id)
	r.CostNano = cost
	r.Tries = []pipeline.Try{{
		ID: "try_" + id, Target: "openai/gpt-5", Reason: "ok", Outcome: outcome, CostNano: cost, BoundNano: 1000, Charges: charges,
		Usage: llm.Usage{Input: int64(cost)},
	}}
	return r
}

func testEscrow(t *testing.T, s Store) {
	ctx := t.Context()
	a, b := escrow.Holder{Journal: "j_a", Run: "1"}, escrow.Holder{Journal: "j_b", Run: "1"}
	key := escrow.Key{Rule: "bud_1", Subject: "user-1", Start: 1000}
	begun, none, err := s.Wanted(ctx, a, time.Time{})
	must(t, err)
	same(t, "wanted by nobody", len(none), 0)

	// A slice is half of each one's share of what is free, unless more is needed.
	got := trade(t, s, a, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_a", Need: 10, Want: 900, Replicas: 2})
	same(t, "first", got, escrow.Result{Granted: 250, Net: 250, Left: 250, State: escrow.State{Limit: 1000, Highest: 1000, Held: 250}})
	got = trade(t, s, b, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_b", Need: 300, Want: 300, Replicas: 2})
	same(t, "second", got, escrow.Result{Granted: 300, Net: 300, Left: 300, Tail: true, State: escrow.State{Limit: 1000, Highest: 1000, Held: 550}})
	// Near the end there is what is needed, or nothing; then others learn of it.
	got = trade(t, s, b, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_b", Need: 300, Want: 800, Replicas: 2})
	same(t, "third", got, escrow.Result{Granted: 300, Net: 600, Left: 600, Tail: true, State: escrow.State{Limit: 1000, Highest: 1000, Held: 850}})
	got = trade(t, s, b, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_b", Need: 151, Want: 800, Replicas: 2})
	same(t, "refused", got, escrow.Result{Net: 600, Left: 600, Tail: true, State: escrow.State{Limit: 1000, Highest: 1000, Held: 850}})
	_, keys, err := s.Wanted(ctx, a, begun)
	must(t, err)
	same(t, "wanted", keys, []escrow.Key{key})
	_, keys, err = s.Wanted(ctx, escrow.Holder{Journal: "j_c", Run: "1"}, begun)
	must(t, err)
	same(t, "wanted of somebody who has nothing of it", len(keys), 0)
	got = trade(t, s, a, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_a", Back: 100, Replicas: 2})
	same(t, "back", got, escrow.Result{Net: 150, Left: 150, Tail: true, State: escrow.State{Limit: 1000, Highest: 1000, Held: 750}})

	// What calls came to goes over with their records, and only once.
	from := func(lease string, held int64) pipeline.Charge {
		return pipeline.Charge{Budget: key.Rule, Subject: key.Subject, Start: key.Start, Lease: lease, Held: held}
	}
	records := []*usage.Record{
		charged("ex_1", pipeline.SettledActual, 40, from("l_a", 50)), charged("ex_2", pipeline.Released, 0, from("l_a", 50)),
		charged("ex_3", pipeline.SettledEstimated, 70, from("l_b", 60)), charged("ex_4", pipeline.Unknown, 0, from("l_b", 30)),
	}
	for range 2 {
		must(t, s.AddRecords(ctx, "j_a", 1, records))
		got = trade(t, s, a, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_a", Replicas: 2})
		want := escrow.State{Limit: 1000, Highest: 1000, Held: 110 + 510, Settled: 110, Unknown: 30, Over: 10}
		same(t, "after the records", got, escrow.Result{Net: 150, Left: 110, State: want, Tail: got.Tail})
	}

	// Terms change by their version; the highest limit stays.
	got = trade(t, s, a, escrow.Trade{Key: key, Terms: escrow.Terms{Limit: 500, Version: 3}, Lease: "l_a", Need: 1, Want: 1, Replicas: 2})
	same(t, "lowered", got.State.Limit, 500)
	same(t, "lowered, highest", got.State.Highest, 1000)
	same(t, "granted", got.Granted, 0)
	got = trade(t, s, a, escrow.Trade{Key: key, Terms: escrow.Terms{Limit: 5000, Version: 2}, Lease: "l_a", Replicas: 2})
	same(t, "older terms", got.State.Limit, 500)

	// What is left of an earlier run goes back, of its own journal only; a lease that is given up goes back whole.
	must(t, s.ReleaseOlder(ctx, escrow.Holder{Journal: "j_b", Run: "2"}))
	got = trade(t, s, a, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_a", Back: 7, End: true, Replicas: 2})
	same(t, "at the end", got.State, escrow.State{Limit: 500, Highest: 1000, Settled: 110, Unknown: 30, Over: 10})
	got = trade(t, s, a, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_a", End: true, Replicas: 2})
	same(t, "twice", got.State.Held, 0)

	// A lease that is gone covers nothing; a budget that only observes needs none, and neither does a pool that nobody has made.
	other := pipeline.Charge{Budget: "bud_2", Start: 5}
	must(t, s.AddRecords(ctx, "j_a", 2, []*usage.Record{
		charged("ex_5", pipeline.SettledActual, 9, from("l_a", 20), other), charged("ex_6", pipeline.SettledActual, 1, from("", 0)),
	}))
	got = trade(t, s, a, escrow.Trade{Key: key, Terms: limited(1000), Lease: "l_c", Replicas: 2})
	same(t, "without a lease", got.State, escrow.State{Limit: 500, Highest: 1000, Settled: 120, Unknown: 30, Over: 19})
	got = trade(t, s, a, escrow.Trade{Key: escrow.Key{Rule: "bud_2", Start: 5}, Terms: limited(4), Lease: "l_d", Need: 1, Want: 1, Replicas: 1})
	same(t, "without a pool", got.State, escrow.State{Limit: 4, Highest: 9, Settled: 9})
}

// A heldCall is one that runs in a model of a process.
type heldCall struct {
	id      string
	charges []pipeline.Charge
}

// A holding is a model of a process: what is free in its leases by pool, its calls, and what it has journalled.
type holding struct {
	escrow.Holder

	leases  map[int]string
	free    map[int]int64
	calls   []heldCall
	journal []*usage.Record
}

// testEscrowAgainstModel lets several processes trade, call, write and die, and compares after each commit.
func testEscrowAgainstModel(t *testing.T, s Store) {
	ctx := context.WithoutCancel(t.Context())
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		if run++; run > checks {
			return
		}
		m := leaseModel{T: rt, s: s, run: run, keys: []escrow.Key{{Rule: fmt.Sprint("bud_", run, "a")}, {Rule: fmt.Sprint("bud_", run, "b"), Subject: "é", Start: 7}}}
		for range m.keys {
			limit := rapid.Int64Range(0, 3000).Draw(rt, "limit")
			m.terms = append(m.terms, escrow.Terms{Limit: limit, Version: 1})
			m.want = append(m.want, escrow.State{Limit: limit, Highest: limit})
		}
		for i := range 3 {
			m.holders = append(m.holders, &holding{Holder: escrow.Holder{Journal: fmt.Sprint("j_", run, "_", i)}})
			m.holders[i].begin(run, i, 0)
		}
		m.check(ctx) // the pools are made
		for n := range rapid.IntRange(5, 40).Draw(rt, "steps") {
			m.step(ctx, n)
			m.check(ctx)
		}
		report, err := ledger.CheckAlone(ctx, s)
		m.must(err)
		if len(report.Findings) > 0 {
			rt.Fatalf("%+v", report.Findings)
		}
	})
}

func (h *holding) begin(run, i, n int) {
	h.Run = fmt.Sprint(n)
	h.leases, h.free, h.calls = map[int]string{}, map[int]int64{}, nil
	for p := range 2 {
		h.leases[p] = fmt.Sprint("l_", run, "_", i, "_", p, "_", n)
	}
}

type leaseModel struct {
	*rapid.T

	s       Store
	run     int
	keys    []escrow.Key
	terms   []escrow.Terms
	want    []escrow.State
	holders []*holding
	unknown []*pipeline.Try // that are written, and nobody has settled
}

func (m *leaseModel) must(err error) {
	if err != nil {
		m.Fatal(err)
	}
}

func (m *leaseModel) step(ctx context.Context, n int) {
	i := rapid.IntRange(0, len(m.holders)-1).Draw(m.T, "holder")
	h := m.holders[i]
	p := rapid.IntRange(0, 1).Draw(m.T, "pool")
	w := &m.want[p]
	switch rapid.IntRange(0, 10).Draw(m.T, "step") {
	case 10: // somebody learns what a try came to
		m.settles(ctx)
	case 0, 1, 2: // trade
		tr := escrow.Trade{Key: m.keys[p], Terms: m.terms[p], Lease: h.leases[p], Replicas: len(m.holders)}
		tr.Need = rapid.Int64Range(0, 400).Draw(m.T, "need")
		tr.Want = tr.Need + rapid.Int64Range(0, 2000).Draw(m.T, "want")
		tr.Back = rapid.Int64Range(0, h.free[p]).Draw(m.T, "back")
		got, err := m.s.Trade(ctx, h.Holder, []escrow.Trade{tr})
		m.must(err)
		h.free[p] -= tr.Back
		w.Held -= tr.Back
		free := w.Free()
		if g := got[0].Granted; g < 0 || g > free || g > 0 && g < tr.Need || g > max(tr.Need, tr.Want) || g == 0 && tr.Need > 0 && tr.Need <= free {
			m.Fatalf("granted %d of %d free for %+v", g, free, tr)
		}
		h.free[p] += got[0].Granted
		w.Held += got[0].Granted
	case 3, 4: // a call
		c := heldCall{id: fmt.Sprintf("ex_%d_%d", m.run, n)}
		for p, key := range m.keys {
			if h.free[p] == 0 {
				continue
			}
			held := rapid.Int64Range(1, h.free[p]).Draw(m.T, "held")
			h.free[p] -= held
			c.charges = append(c.charges, pipeline.Charge{Budget: key.Rule, Subject: key.Subject, Start: key.Start, Lease: h.leases[p], Held: held, Tokens: p == 1})
		}
		h.calls = append(h.calls, c)
	case 5: // a call ends
		if len(h.calls) > 0 {
			m.ends(h, rapid.SampledFrom([]pipeline.Outcome{pipeline.SettledActual, pipeline.SettledEstimated, pipeline.Released, pipeline.Unknown}).Draw(m.T, "outcome"))
		}
	case 6, 7: // what is journalled is written, perhaps twice
		for range rapid.IntRange(1, 2).Draw(m.T, "times") {
			m.must(m.s.AddRecords(ctx, h.Journal, int64(n), h.journal))
		}
		for _, r := range h.journal {
			m.book(&r.Tries[0])
		}
		h.journal = nil
	case 8: // it dies, and comes again
		for len(h.calls) > 0 {
			m.ends(h, pipeline.Unknown)
		}
		for range rapid.IntRange(1, 2).Draw(m.T, "times") {
			m.must(m.s.AddRecords(ctx, h.Journal, int64(n), h.journal))
		}
		for _, r := range h.journal {
			m.book(&r.Tries[0])
		}
		h.journal = nil
		for p := range m.want {
			m.want[p].Held -= h.free[p]
		}
		h.begin(m.run, i, n+1)
		m.must(m.s.ReleaseOlder(ctx, h.Holder))
	case 9:
		m.terms[p] = escrow.Terms{Limit: rapid.Int64Range(0, 3000).Draw(m.T, "limit"), Version: m.terms[p].Version + 1}
		w.Limit = m.terms[p].Limit
		w.Highest = max(w.Highest, w.Limit)
	}
}

// ends lets end the first call of a holder.
func (m *leaseModel) ends(h *holding, outcome pipeline.Outcome) {
	c := h.calls[0]
	h.calls = h.calls[1:]
	var cost llm.Money
	if outcome == pipeline.SettledActual || outcome == pipeline.SettledEstimated {
		cost = llm.Money(rapid.Int64Range(0, 500).Draw(m.T, "cost"))
	}
	r := charged(c.id, outcome, cost, c.charges...)
	for i := range c.charges {
		if left := c.charges[i].Held - c.charges[i].Spent(&r.Tries[0]); left > 0 {
			h.free[m.pool(&c.charges[i])] += left
		}
	}
	h.journal = append(h.journal, r)
}

func (m *leaseModel) pool(c *pipeline.Charge) int {
	if c.Budget == m.keys[0].Rule {
		return 0
	}
	return 1
}

// settles says what came of the first try whose end is unknown.
func (m *leaseModel) settles(ctx context.Context) {
	if len(m.unknown) == 0 {
		return
	}
	t := m.unknown[0]
	m.unknown = m.unknown[1:]
	r := ledger.Resolution{Try: t.ID, Void: rapid.Bool().Draw(m.T, "void"), Reason: "the bill", Tokens: rapid.Int64Range(-1, 500).Draw(m.T, "tokens")}
	r.Amount = llm.Money(rapid.Int64Range(0, 500).Draw(m.T, "came to"))
	_, err := m.s.SettleTry(ctx, r)
	m.must(err)
	for i := range t.Charges {
		c := &t.Charges[i]
		w, came := &m.want[m.pool(c)], int64(r.Amount)
		switch {
		case r.Void:
			came = 0
		case c.Tokens && r.Tokens < 0:
			came = c.Held
		case c.Tokens:
			came = r.Tokens
		}
		w.Unknown -= c.Held
		w.Settled += came
		w.Over += max(came-c.Held, 0)
	}
}

// book moves what a try came to.
func (m *leaseModel) book(t *pipeline.Try) {
	if t.Outcome == pipeline.Unknown {
		m.unknown = append(m.unknown, t)
	}
	for i := range t.Charges {
		c := &t.Charges[i]
		w, spent := &m.want[m.pool(c)], c.Spent(t)
		w.Held -= min(spent, c.Held)
		if t.Outcome == pipeline.Unknown {
			w.Unknown += spent
			continue
		}
		w.Settled += spent
		w.Over += max(spent-c.Held, 0)
	}
}

func (m *leaseModel) check(ctx context.Context) {
	for p, w := range m.want {
		got, err := m.s.Trade(ctx, escrow.Holder{Journal: "spy", Run: "1"}, []escrow.Trade{
			{Key: m.keys[p], Terms: m.terms[p], Lease: fmt.Sprint("spy_", m.run, "_", p), Replicas: 1},
		})
		m.must(err)
		if got[0].State != w {
			m.Fatalf("pool %d is %+v, want %+v", p, got[0].State, w)
		}
		if st := got[0].State; st.Settled-st.Over+st.Held+st.Unknown > st.Highest {
			m.Fatalf("over the limit: %+v", st)
		}
	}
}

// testEscrowAtOnce has many take all of several pools in all orders: nothing is given twice, and all of it is.
func testEscrowAtOnce(t *testing.T, s Store) {
	ctx := t.Context()
	const each, limit = 5, 1000
	keys := []escrow.Key{{Rule: "b1"}, {Rule: "b2"}, {Rule: "b3", Subject: "x"}}
	var got [3]atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			h := escrow.Holder{Journal: fmt.Sprint("j", i), Run: "1"}
			n := 0
			for refused := false; !refused; n++ {
				var trades []escrow.Trade
				for k := range keys {
					at := (k + i) % len(keys)
					if i%2 == 0 {
						at = len(keys) - 1 - at
					}
					trades = append(trades, escrow.Trade{Key: keys[at], Terms: limited(limit), Lease: fmt.Sprint("l", i, "_", at), Need: each, Want: 20, Replicas: 8})
				}
				results, err := s.Trade(ctx, h, trades)
				if err != nil {
					t.Error(err)
					return
				}
				id := fmt.Sprint("ex_", i, "_", n)
				var charges []pipeline.Charge
				for j, r := range results {
					for k := range keys {
						if keys[k] == trades[j].Key {
							got[k].Add(r.Granted)
						}
					}
					refused = refused || r.Granted == 0
					charges = append(charges, pipeline.Charge{Budget: trades[j].Key.Rule, Subject: trades[j].Key.Subject, Lease: trades[j].Lease, Held: r.Granted})
				}
				if err := s.AddRecords(ctx, h.Journal, int64(n), []*usage.Record{charged(id, pipeline.SettledActual, each, charges...)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for k := range keys {
		if n := got[k].Load(); n > limit || n <= limit-each*8 {
			t.Errorf("%d were given of %d", n, limit)
		}
	}
}
