package limit

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// leaving is an exchange that a budget pays for and whose client may leave.
func (b *bench) leaving(ctx context.Context, tries ...int) (a *allowance, inner context.Context, over func()) {
	b.t.Helper()
	a = &allowance{l: b.Limiter, plan: &plan{all: make([]held, 1)}}
	for _, charges := range tries {
		a.opened(charges)
	}
	inner, over = alive(ctx, b.t, a)
	return a, inner, over
}

// alive begins the life of an exchange that an allowance takes part in.
func alive(ctx context.Context, t *testing.T, a *allowance) (inner context.Context, over func()) {
	t.Helper()
	x := &pipeline.Exchange{}
	resp, err := pipeline.Living(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		inner, a.d.life = ctx, &x.Life
		x.Life.Join(a)
		return &llm.Response{Events: func(func(llm.Event, error) bool) {}}, nil
	})(ctx, x)
	if err != nil {
		t.Fatal(err)
	}
	return inner, func() { resp.Events(nil) }
}

// TestAClientThatLeaves: what it left goes on for a minute if something is under way, and ends at once if nothing is, if it was ended
// for another reason, or if too many others go on already.
func TestAClientThatLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := onBench(t, Definitions{})
		for _, c := range []struct {
			name   string
			tries  []int // by how many budgets pay for each
			why    error
			goesOn bool
		}{
			{"leaves", []int{1}, nil, true}, {"nothing runs", nil, nil, false}, {"nothing is paid", []int{0}, nil, false}, {"one is", []int{0, 2}, nil, true},
			{"was stopped", []int{1}, fault.New(fault.Stopped, "by an operator"), false}, {"is late", []int{1}, context.DeadlineExceeded, false},
		} {
			ctx, cancel := context.WithCancelCause(t.Context())
			a, inner, over := b.leaving(ctx, c.tries...)
			cancel(c.why)
			synctest.Wait()
			if goesOn := inner.Err() == nil; goesOn != c.goesOn || (a.d.place.Load() == hasPlace) != c.goesOn {
				t.Errorf("%s: goes on %v", c.name, goesOn)
			}
			time.Sleep(drainTime - time.Second)
			synctest.Wait()
			if goesOn := inner.Err() == nil; goesOn != c.goesOn {
				t.Errorf("%s: goes on %v after most of a minute", c.name, goesOn)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if inner.Err() == nil || c.why != nil && !errors.Is(context.Cause(inner), c.why) {
				t.Errorf("%s: after a minute it ended for %v", c.name, context.Cause(inner))
			}
			over()
			if n := b.drains.Load(); n != 0 {
				t.Errorf("%s: %d places are taken, and nothing runs", c.name, n)
			}
		}
		var all []func()
		goOn := 0
		ctx, cancel := context.WithCancel(t.Context())
		for range drainMost + 10 {
			a, inner, over := b.leaving(ctx, 1)
			all = append(all, func() {
				if a.Stays(nil); inner.Err() == nil {
					goOn++
				}
				over()
			})
		}
		cancel()
		synctest.Wait()
		if n := b.drains.Load(); n != drainMost {
			t.Errorf("%d places are taken of %d", n, drainMost)
		}
		for _, one := range all {
			one()
		}
		synctest.Wait()
		if n := b.drains.Load(); n != 0 || goOn < drainMost {
			t.Errorf("%d places are taken, and nothing runs; %d went on", n, goOn)
		}
	})
}

// TestNobodyElseIsAskedForAClientThatLeft: a try that is read to its end for what it costs may fail, and a retry, a fallback or a hedge
// would spend money for nobody.
func TestNobodyElseIsAskedForAClientThatLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := onBench(t, Definitions{Budgets: []Budget{daily(TokenCount, 1_000_000)}})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		x := exchange(llm.OpChat, 100)
		_, err := b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			try := pipeline.Try{ID: "1", Price: b.price, Outcome: pipeline.Unknown}
			held, err := b.Reserve(ctx, x, target, &try)
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			synctest.Wait()
			if ctx.Err() != nil {
				t.Fatal("the try is not read to its end")
			}
			try.Outcome = pipeline.Released
			held.Settle(&try)
			if _, err = b.Reserve(ctx, x, another, &pipeline.Try{ID: "2", Price: b.price}); err == nil {
				t.Error("another target is asked for nobody")
			}
			return nil, err
		})(ctx, x)
		if f := fault.From(err); f == nil || f.Code != fault.ClientGone {
			t.Errorf("got %v", err)
		}
		if n := b.drains.Load(); n != 0 {
			t.Errorf("%d places are taken, and nothing runs", n)
		}
	})
}

// TestNoPlaceIsTakenAfterTheEnd: who looks late finds that the exchange is over, although its try is not settled yet.
func TestNoPlaceIsTakenAfterTheEnd(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{})
	a, _, over := b.leaving(t.Context(), 1)
	over()
	if a.Stays(nil) || b.drains.Load() != 0 {
		t.Errorf("%d places are taken for good", b.drains.Load())
	}
	a, _, over = b.leaving(t.Context(), 1)
	for range 2 {
		if !a.Stays(nil) || b.drains.Load() != 1 {
			t.Errorf("%d places", b.drains.Load())
		}
	}
	over()
	over()
	if b.drains.Load() != 0 {
		t.Errorf("%d places", b.drains.Load())
	}
}

// TestRatesAreToldOnce: when the answer has ended and its tries are settled, whichever is last, of what was used; a call that was not
// sent has used nothing.
func TestRatesAreToldOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(b *bench, held pipeline.Reservation, try *pipeline.Try, over func())
		used int64
	}{
		"settled first": {func(_ *bench, held pipeline.Reservation, try *pipeline.Try, over func()) { held.Settle(try); over() }, 70},
		"ended first":   {func(_ *bench, held pipeline.Reservation, try *pipeline.Try, over func()) { over(); held.Settle(try) }, 70},
		"ended twice": {func(_ *bench, held pipeline.Reservation, try *pipeline.Try, over func()) {
			over()
			held.Settle(try)
			over()
		}, 70},
		"released": {func(_ *bench, held pipeline.Reservation, try *pipeline.Try, over func()) {
			try.Outcome = pipeline.Released
			held.Settle(try)
			over()
		}, 0},
	} {
		b := onBench(t, Definitions{Limits: []Limit{
			{ID: "tokens", Scope: Scope{Project: "prj"}, Rate: Rate{Measure: Tokens, Amount: 10_000, Mode: Enforce}},
			{ID: "once", Scope: Scope{Project: "prj"}, Rate: Rate{Measure: Concurrent, Amount: 1, Mode: Enforce}},
		}})
		x := exchange(llm.OpChat, 400)
		a := b.allowanceOf(b.o.Board.inForce.Load(), x)
		x.Allowance = a
		if err := a.take(t.Context(), x); err != nil {
			t.Fatal(err)
		}
		_, over := alive(t.Context(), t, a)
		try := pipeline.Try{Price: b.price, Outcome: pipeline.SettledActual, Usage: llm.Usage{Input: 50, Output: 20}}
		held, err := b.Reserve(t.Context(), x, target, &try)
		if err != nil {
			t.Fatal(err)
		}
		c.end(b, held, &try, over)
		for _, s := range b.o.Rates.Standing(a.rates) {
			if used := s.Limit - s.Left; s.Rule.ID == "tokens" && used != c.used || s.Rule.ID == "once" && used != 0 {
				t.Errorf("%s: %d of %s are used", name, used, s.Rule.ID)
			}
		}
	}
}

// TestAPanicHoldsNothing: when the context of a call whose handler panicked has ended, its slot is free.
func TestAPanicHoldsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := onBench(t, Definitions{
			Budgets: []Budget{daily(USD, 1_000_000)}, Limits: []Limit{{ID: "once", Scope: Scope{Project: "prj"}, Rate: Rate{Measure: Concurrent, Amount: 1, Mode: Enforce}}},
		})
		ctx, cancel := context.WithCancel(t.Context())
		x := exchange(llm.OpChat, 36)
		var try pipeline.Try
		func() {
			defer func() {
				if recover() == nil {
					t.Error("nothing panicked")
				}
				try.Outcome = pipeline.Unknown // as the stage usage has it, which settles what it finds
				try.Settle()
				cancel()
			}()
			_, _ = b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
				try = pipeline.Try{Price: b.price}
				held, err := b.Reserve(ctx, x, target, &try)
				if err != nil {
					t.Fatal(err)
				}
				try.Held = held
				panic("boom")
			})(ctx, x)
		}()
		synctest.Wait()
		if _, err := b.call(exchange(llm.OpChat, 36), target, 1, 1); err != nil {
			t.Errorf("the next: %v", err)
		}
		if b.drains.Load() != 0 {
			t.Error("a place is taken")
		}
	})
}

// Fault 77: an hour that a machine's clock goes forth and back moves no rate, and a budget only where another day begins; who comes back
// to the day finds what was used of it.
func TestFault77ClockSteps(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{
		Budgets: []Budget{daily(TokenCount, 300)}, Limits: []Limit{{ID: "lim", Scope: Scope{Project: "prj"}, Rate: Rate{Measure: Requests, Amount: 5, Mode: Enforce}}},
	})
	at := func(clock time.Time) error {
		x := exchange(llm.OpEmbeddings, 36)
		b.o.Now = func() time.Time { return clock }
		x.Time = clock
		_, err := b.call(x, target, 100, 0)
		return err
	}
	late := noon.Add(11*time.Hour + 30*time.Minute)
	for i, step := range []time.Duration{0, 0, -time.Hour} {
		if err := at(late.Add(step)); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
	}
	refused(t, at(late))
	if err := at(late.Add(time.Hour)); err != nil {
		t.Errorf("the next day: %v", err)
	}
	refused(t, at(late))
	if err := at(late.Add(time.Hour)); err != nil { // the fifth: what was refused took none
		t.Errorf("the next day: %v", err)
	}
	if f := fault.From(at(late.Add(2 * time.Hour))); f == nil || f.Code != fault.RateExceeded {
		t.Errorf("the sixth request of this minute, whatever the clock says: %v", f)
	}
}
