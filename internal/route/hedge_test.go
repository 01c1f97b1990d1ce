package route

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// hedgedPair is a model of two targets, the first of which takes 0.1 s as far as is known, so that a call is hedged after that.
func hedgedPair(tb testing.TB, a, b role, share string) *theatre {
	s := play(tb, &cast{roles: map[string]role{"a/m": a, "b/m": b}}, ModelConfig{Targets: Targets("a/m", "b/m"), Hedge: HedgeConfig{Share: share}})
	for range 50 {
		s.warm("a/m", 100*time.Millisecond)
	}
	s.pool().hedge.there = hedgeBurst
	return s
}

// warm lets a target have answered a short prompt in so much time.
func (s *theatre) warm(key string, took time.Duration) {
	u := s.upstream(key)
	t := u.load.begin(time.Now().Add(-took), 25, 0, true, false)
	t.first(time.Now())
	t.end(0, 0)
}

func TestTheFirstOfTwoAnswersAndTheOtherIsCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cancelled := make(chan error, 1)
		slow := func(ctx context.Context, _ int) (*llm.Response, error) {
			<-ctx.Done()
			cancelled <- ctx.Err()
			return nil, ctx.Err()
		}
		s := hedgedPair(t, slow, after(50*time.Millisecond), "50%")
		x := exchange(100)
		begin := time.Now()
		resp, err := s.Handle(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		if least, most := 140*time.Millisecond, 200*time.Millisecond; took < least || took > most {
			t.Errorf("answered after %v", took)
		}
		select {
		case <-cancelled:
		default:
			t.Error("the loser is not cancelled at the first token of the winner")
		}
		if len(x.Tries) != 2 || !x.Tries[1].Hedge || x.Tries[0].Hedge || x.Answering != 1 {
			t.Errorf("tries %+v, answering %d", x.Tries, x.Answering)
		}
		loser := x.Tries[0]
		if loser.Outcome != pipeline.SettledEstimated || loser.Usage.Input == 0 || loser.Reason != "canceled" {
			t.Errorf("the loser is %+v", loser)
		}
		drain(t, resp)
		settleRest(x, llm.Event{})
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// counted has each try count for a budget.
type counted struct{ Reserver }

func (c counted) Reserve(ctx context.Context, x *pipeline.Exchange, t llm.Target, try *pipeline.Try) (pipeline.Reservation, error) {
	try.Charges = []pipeline.Charge{{Budget: "b", Lease: "l", Held: 100}}
	return c.Reserver.Reserve(ctx, x, t, try)
}

// What a loser has generated before it was cancelled nobody says, thoughts before a first token least of all: a budget keeps what was
// reserved for it, or it would free what the provider bills.
func TestALoserThatABudgetPaysForIsUnknown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := func(ctx context.Context, _ int) (*llm.Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := hedgedPair(t, slow, after(50*time.Millisecond), "50%")
		s.Router.o.Reserver = counted{s.Router.o.Reserver}
		x := exchange(100)
		resp, err := s.Handle(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		loser := &x.Tries[0]
		if len(x.Tries) != 2 || loser.Outcome != pipeline.Unknown || loser.Charges[0].Spent(loser) != 100 {
			t.Errorf("the loser is %+v, and %d of 100 are kept", loser, loser.Charges[0].Spent(loser))
		}
		drain(t, resp)
		settleRest(x, llm.Event{})
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// Whatever becomes of two tries, and whenever the caller leaves, each is settled once, at most one answers, and nothing is kept.
func TestRacesBalance(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		draw := func(name string) role {
			d := time.Duration(rapid.IntRange(0, 300).Draw(rt, name+" takes")) * time.Millisecond
			switch rapid.IntRange(0, 4).Draw(rt, name+" fate") {
			case 1:
				return failsAfter(d, status(503))
			case 2:
				return failsAfter(d, status(400))
			case 3:
				return failsAfter(d, &provider.Failure{Reason: provider.ReasonConnect, NothingBilled: true})
			case 4:
				return func(ctx context.Context, n int) (*llm.Response, error) {
					if _, err := after(d)(ctx, n); err != nil {
						return nil, err
					}
					return answer(&provider.Failure{Reason: provider.ReasonCut, Message: "closed the connection"}), nil
				}
			}
			return after(d)
		}
		a, b := draw("a"), draw("b")
		leaves := time.Duration(rapid.IntRange(0, 600).Draw(rt, "the caller leaves after")) * time.Millisecond
		events := rapid.IntRange(-1, 2).Draw(rt, "events taken")
		tools := rapid.Bool().Draw(rt, "tools")
		synctest.Test(t, func(t *testing.T) {
			s := hedgedPair(t, a, b, "100%")
			ctx, cancel := context.WithTimeout(t.Context(), leaves)
			defer cancel()
			x := exchange(100)
			if tools {
				x.Request.Raw = []byte(`{"tools":[{}]}`)
				x.Request.Fields = []llm.Field{{Name: "tools", Value: llm.Span{Start: 9, End: 13}}}
			}
			_ = s.call(ctx, x, events)
			cancel()
			synctest.Wait()
			if err := s.rest(); err != nil {
				rt.Fatal(err)
			}
			hedges := 0
			for i := range x.Tries {
				if x.Tries[i].Held != nil {
					rt.Fatalf("try %d is held", i)
				}
				if x.Tries[i].Hedge {
					hedges++
				}
			}
			if hedges > 1 || tools && hedges > 0 {
				rt.Fatalf("%d hedges, tools %v", hedges, tools)
			}
		})
	})
}

// TestACallerLeavesBeforeAHedgedAnswerIsWalked: then nobody walks it, and whoever sees the end of the exchange settles both tries
// while the loser may still be on its way back. It is for the race detector.
func TestACallerLeavesBeforeAHedgedAnswerIsWalked(t *testing.T) {
	t.Parallel()
	for range 20 {
		late := func(ctx context.Context, _ int) (*llm.Response, error) {
			<-ctx.Done()
			time.Sleep(time.Millisecond)
			return answer(nil), nil // its first token was already there
		}
		s := hedgedPair(t, late, answers, "100%")
		ctx, cancel := context.WithCancel(t.Context())
		x := exchange(100)
		if _, err := s.Handle(ctx, x); err != nil {
			t.Fatal(err)
		}
		cancel()
		settleRest(x, llm.Event{})
		if err := s.rest(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAHedgeTakesAFreeSlotOrNone: a target that is busy is no help, and waiting for it must not keep the first answer back.
func TestAHedgeTakesAFreeSlotOrNone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &cast{roles: map[string]role{"a/m": after(200 * time.Millisecond)}}
		s := playWithin(t, admission.Options{MinLimit: 1, MaxLimit: 1}, c, ModelConfig{Targets: Targets("a/m", "b/m"), Hedge: HedgeConfig{Share: "100%"}})
		for range 50 {
			s.warm("a/m", 100*time.Millisecond)
		}
		s.pool().hedge.there = 1
		var busy admission.Slot
		if _, err := s.state.Admission.Acquire(t.Context(), []*admission.Gate{s.upstream("b/m").gate}, admission.Ticket{}, &busy); err != nil {
			t.Fatal(err)
		}
		x := exchange(100)
		begin := time.Now()
		if err := s.call(t.Context(), x, -1); err != nil || len(x.Tries) != 1 || time.Since(begin) != 200*time.Millisecond {
			t.Errorf("%v, %d tries, %v", err, len(x.Tries), time.Since(begin))
		}
		busy.Done(admission.OK, -1)
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

func TestHedgesAreAShareOfTheCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := hedgedPair(t, after(300*time.Millisecond), answers, "10%")
		hedged := 0
		const calls = 400
		for range calls {
			for range 20 { // its own times must not make it known for slow
				s.warm("a/m", 100*time.Millisecond)
			}
			x := exchange(100)
			if err := s.call(t.Context(), x, -1); err != nil {
				t.Fatal(err)
			}
			if len(x.Tries) == 2 {
				hedged++
			}
		}
		if least, most := calls/10-1, calls/10+hedgeBurst; hedged < least || hedged > most {
			t.Errorf("%d of %d calls were hedged, want %d to %d", hedged, calls, least, most)
		}
	})
}

func TestBothOfTwoFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := play(t, &cast{roles: map[string]role{
			"a/m": failsAfter(150*time.Millisecond, status(500)), "b/m": failsAfter(100*time.Millisecond, status(503)),
		}}, ModelConfig{Targets: Targets("a/m", "b/m", "c/m"), Hedge: HedgeConfig{Share: "100%"}})
		for range 50 {
			s.warm("a/m", 100*time.Millisecond)
		}
		s.pool().hedge.there = 1
		x := exchange(100)
		if err := s.call(t.Context(), x, -1); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(s.cast.targets()); got != "[a/m b/m c/m]" || x.Answering != 2 {
			t.Errorf("asked %s, answering %d", got, x.Answering)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

func TestOneOfTwoFailsAfterTheOtherBegan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := hedgedPair(t, failsAfter(150*time.Millisecond, status(500)), after(100*time.Millisecond), "100%")
		x := exchange(100)
		if err := s.call(t.Context(), x, -1); err != nil {
			t.Fatal(err)
		}
		if len(x.Tries) != 2 || x.Answering != 1 || x.Tries[0].Reason != "status" || x.Tries[0].Status != 500 {
			t.Errorf("tries %+v", x.Tries)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		s := hedgedPair(t, after(200*time.Millisecond), failsAfter(50*time.Millisecond, status(500)), "100%")
		x := exchange(100)
		if err := s.call(t.Context(), x, -1); err != nil || x.Answering != 0 {
			t.Errorf("%v, answering %d", err, x.Answering)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// TestAHedgedCallThatNobodyAnswers ends with what became of both.
func TestAHedgedCallThatNobodyAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := hedgedPair(t, failsAfter(150*time.Millisecond, &provider.Failure{Reason: provider.ReasonFirstToken, Timer: "first_token", Message: "sent no first token"}),
			failsAfter(100*time.Millisecond, &provider.Failure{Reason: provider.ReasonFirstToken, Timer: "first_token", Message: "sent no first token"}), "100%")
		err := s.call(t.Context(), exchange(100), -1)
		if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.TimerExpired {
			t.Errorf("%v", err)
		}
		if err := s.rest(); err != nil {
			t.Error(err)
		}
	})
}

// TestAHedgeThatWouldCostTooMuchIsNotMade: nor one of which that is not known.
func TestAHedgeThatWouldCostTooMuchIsNotMade(t *testing.T) {
	t.Parallel()
	for most, tries := range map[string]int{"0.0001": 1, "0.01": 2} { // prompt and answer are expected to cost 0.0003
		synctest.Test(t, func(t *testing.T) {
			c := &cast{roles: map[string]role{"a/m": after(300 * time.Millisecond)}}
			s := play(t, c, ModelConfig{Targets: Targets("a/m", "unpriced/m", "b/m"), Hedge: HedgeConfig{Share: "100%", Most: most}})
			s.prices["b/m"] = llm.Price{Input: 1_000_000, Output: 1_000_000}
			for range 50 {
				s.warm("a/m", 100*time.Millisecond)
			}
			s.pool().hedge.there = 1
			x := exchange(100)
			if err := s.call(t.Context(), x, -1); err != nil || len(x.Tries) != tries {
				t.Errorf("at most %s dollars: %v, %d tries, want %d", most, err, len(x.Tries), tries)
			}
		})
	}
}

// TestAPanicInARaceIsTheCallers: a goroutine of its own would take the process with it.
func TestAPanicInARaceIsTheCallers(t *testing.T) {
	t.Parallel()
	bug := func(context.Context, int) (*llm.Response, error) { panic("a bug") }
	late := func(ctx context.Context, n int) (*llm.Response, error) {
		<-ctx.Done()
		panic("a bug")
	}
	for name, pair := range map[string][2]role{"the second": {after(time.Second), bug}, "the first": {bug, answers}, "the loser": {late, answers}} {
		synctest.Test(t, func(t *testing.T) {
			s := hedgedPair(t, pair[0], pair[1], "100%")
			x := exchange(100)
			ctx, cancel := context.WithCancel(t.Context())
			defer func() {
				if p := recover(); p != "a bug" {
					t.Errorf("%s: recovered %v", name, p)
				}
				cancel()
				synctest.Wait()
			}()
			_ = s.call(ctx, x, -1)
			t.Errorf("%s: nothing happened", name)
		})
	}
}
