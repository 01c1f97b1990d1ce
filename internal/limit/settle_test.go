package limit

import (
	"testing"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// pool is that of a charge.
func (b *bench) pool(c *pipeline.Charge) *escrow.Pool {
	b.t.Helper()
	p := b.o.Bank.Lookup(escrow.Key{Rule: c.Budget, Subject: c.Subject, Start: c.Start})
	if p == nil {
		b.t.Fatalf("no pool of %+v", c)
	}
	return p
}

// spentOf is what is settled of the pool of a charge, as this process knows it.
func (b *bench) spentOf(c *pipeline.Charge) int64 {
	b.t.Helper()
	s, known := b.pool(c).State()
	if !known {
		b.t.Fatal("nothing is known of the pool")
	}
	return s.Settled
}

// What a call comes to beyond what it reserved is settled as well, and counts from then on.
func TestOverrunsAreSettledWhole(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(USD, 1_000_000)}})
	try, err := b.call(exchange(llm.OpEmbeddings, 36), target, 250, 0)
	if err != nil || try.Charges[0].Held != 100 {
		t.Fatalf("%v, %+v", err, try)
	}
	if got := b.spentOf(&try.Charges[0]); got != 250 {
		t.Errorf("%d are settled, want the 250 that it came to", got)
	}
}

// A budget in force caps a call and has its overruns told, whichever budgets that only observe stand beside it, before it or behind.
func TestOneBudgetInForceIsEnough(t *testing.T) {
	t.Parallel()
	observe := func(b *Budget) { b.Mode = Observe }
	for _, all := range [][]Budget{
		{daily(USD, 1_000_000), daily(USD, 2_000_000, observe)},
		{daily(USD, 1_000_000, observe), daily(USD, 2_000_000)},
	} {
		b := onBench(t, Definitions{Budgets: all})
		try, err := b.call(exchange(llm.OpChat, 36), target, 1, 1)
		if err != nil || try.MaxOutput != usualOutput {
			t.Errorf("%v, cap %d, want %d", err, try.MaxOutput, usualOutput)
		}
		if _, err := b.call(exchange(llm.OpEmbeddings, 36), target, 101, 0); err != nil || len(b.over) != 1 {
			t.Errorf("%v, overruns told: %q", err, b.over)
		}
	}
}

// Of a budget that only observes, a call that comes to more takes what it came to, once.
func TestWhatIsObservedTakesWhatItComesTo(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(TokenCount, 1_000_000, func(b *Budget) { b.Mode = Observe })}})
	first, err := b.call(exchange(llm.OpEmbeddings, 36), target, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := b.pool(&first.Charges[0])
	before := p.Spare()
	try, err := b.call(exchange(llm.OpEmbeddings, 36), target, 250, 0)
	if c := try.Charges[0]; err != nil || c.Held != 250 {
		t.Fatalf("%v, %+v", err, try)
	}
	if took := before - p.Spare(); took != 250 {
		t.Errorf("%d are taken, want 250", took)
	}
	// If the lease that it reserved from was settled by hand, it takes nothing from the next.
	held := pipeline.Try{ID: "t", Target: target.String(), Price: b.price}
	x := exchange(llm.OpEmbeddings, 36)
	x.Allowance = b.allowanceOf(b.o.Board.inForce.Load(), x)
	r, err := b.Reserve(t.Context(), x, target, &held)
	if err != nil {
		t.Fatal(err)
	}
	c := held.Charges[0]
	b.store.Take(escrow.Key{Rule: c.Budget, Subject: c.Subject, Start: c.Start}, held.Charges[0].Lease)
	var other pipeline.Try
	for other.ID == "" || other.Charges[0].Lease == held.Charges[0].Lease {
		if other, err = b.call(exchange(llm.OpEmbeddings, 5000), target, 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	before = p.Spare()
	held.Outcome, held.Usage = pipeline.SettledActual, llm.Usage{Input: 400}
	r.Settle(&held)
	if got := p.Spare(); got != before {
		t.Errorf("%d are free of the new lease, and were %d", got, before)
	}
}
