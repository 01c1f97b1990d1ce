package pipeline

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

func TestChainPutsTheFirstStageOutermost(t *testing.T) {
	t.Parallel()
	var order []string
	stage := func(name string) Stage {
		return func(next Handler) Handler {
			return func(ctx context.Context, x *Exchange) (*llm.Response, error) {
				order = append(order, name+" in")
				resp, err := next(ctx, x)
				order = append(order, name+" out")
				return resp, err
			}
		}
	}
	inner := func(context.Context, *Exchange) (*llm.Response, error) {
		order = append(order, "handler")
		return &llm.Response{}, nil
	}
	if _, err := Chain(inner, stage("a"), stage("b"))(t.Context(), &Exchange{}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a in", "b in", "handler", "b out", "a out"}; !slices.Equal(order, want) {
		t.Errorf("got %v, want %v", order, want)
	}
}

func TestAStageMayAnswerByItself(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	guard := func(Handler) Handler {
		return func(context.Context, *Exchange) (*llm.Response, error) { return nil, refused }
	}
	called := false
	inner := func(context.Context, *Exchange) (*llm.Response, error) { called = true; return nil, nil }
	if _, err := Chain(inner, guard)(t.Context(), &Exchange{}); !errors.Is(err, refused) || called {
		t.Errorf("error %v, handler called %v", err, called)
	}
}

func TestNote(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		x := &Exchange{Received: time.Now()}
		time.Sleep(time.Millisecond)
		x.Note("route", "failover", time.Microsecond)
		if want := (Decision{"route", "failover", 1e6, 1000}); len(x.Decisions) != 1 || x.Decisions[0] != want {
			t.Errorf("got %+v", x.Decisions)
		}
	})
}

// TestSpent: what a provider reports, be it nonsense, never makes a try come to less than nothing, for that would be all of its
// reservation given back.
func TestSpent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		outcome       Outcome
		tokens        bool
		input, output int64
		want          int64
	}{
		{Released, true, 5, 6, 0}, {Unknown, true, 5, 6, 100}, {SettledActual, true, 5, 6, 11},
		{SettledActual, true, -5, 6, 6}, {SettledActual, true, math.MaxInt64, 6, math.MaxInt64}, {SettledActual, false, 5, 6, 7},
	} {
		try := Try{Outcome: c.outcome, Usage: llm.Usage{Input: c.input, Output: c.output}, CostNano: 7}
		charge := Charge{Held: 100, Tokens: c.tokens}
		if got := charge.Spent(&try); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// TestAllThatWasReservedCounts: a budget counts all that was reserved where it is not known what a try came to, or may be more, and never less than what is.
func TestAllThatWasReservedCounts(t *testing.T) {
	t.Parallel()
	money, tokens := Charge{Held: 100}, Charge{Held: 100, Tokens: true}
	for name, c := range map[string]struct {
		charge Charge
		try    Try
		want   int64
	}{
		"actual": {money, Try{Outcome: SettledActual, CostNano: 40}, 40}, "over": {money, Try{Outcome: SettledActual, CostNano: 140}, 140},
		"released": {money, Try{Outcome: Released, Cut: true}, 0}, "unknown": {money, Try{Outcome: Unknown}, 100},
		"cut": {money, Try{Outcome: SettledEstimated, Cut: true, CostNano: 40}, 100}, "cut and over": {money, Try{Outcome: SettledEstimated, Cut: true, CostNano: 140}, 140},
		"tokens":      {tokens, Try{Outcome: SettledActual, Usage: llm.Usage{Input: 30, Output: 9}}, 39},
		"tokens, cut": {tokens, Try{Outcome: SettledEstimated, Cut: true, Usage: llm.Usage{Input: 30, Output: 9}}, 100},
	} {
		if got := c.charge.Spent(&c.try); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}
