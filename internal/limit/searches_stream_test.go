package limit

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// searching is a call that may generate 100 tokens, whose provider may search twice for it: that is 11 rounds.
func searching() *pipeline.Exchange {
	x := exchange(llm.OpChat, 36)
	x.Request.Dialect, x.Request.MaxOutput = llm.Anthropic, 100
	x.Request.Set("tools", []byte(`[{"type":"web_search_20250305","name":"web_search","max_uses":2}]`))
	return x
}

// TestAStreamThatSearchesHasItsCapInEachRound: so much is reserved, so much is let through, and no more.
func TestAStreamThatSearchesHasItsCapInEachRound(t *testing.T) {
	t.Parallel()
	for words, cut := range map[int]bool{300: false, 5000: true} {
		b := onBench(t, Definitions{Budgets: []Budget{daily(USD, 1_000_000_000)}})
		b.known, b.price.Search = Known{Context: 1000}, 1
		x := searching()
		resp, err := b.Stage()(func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			x.Tries = []pipeline.Try{{ID: "t", Target: target.String(), Price: b.price, Outcome: pipeline.Unknown}}
			held, err := b.Reserve(ctx, x, target, &x.Tries[0])
			if err != nil {
				return nil, err
			}
			x.Tries[0].Held = held
			return &llm.Response{Target: target, Stream: true, Events: func(yield func(llm.Event, error) bool) {
				for range words {
					if !yield(llm.Event{Has: llm.Content, Dialect: llm.Anthropic, Name: "content_block_delta", Text: []byte(" word")}, nil) {
						return
					}
				}
				yield(llm.Event{Has: llm.End, Dialect: llm.Anthropic, Name: "message_stop"}, nil)
			}}, nil
		})(t.Context(), x)
		if err != nil {
			t.Fatal(err)
		}
		said := 0
		for ev := range resp.Events {
			if ev.Is(llm.Content) {
				said++
			}
		}
		if x.Tries[0].Cut != cut || !cut && said != words || said > 1200 || x.Tries[0].MaxOutput != 100 {
			t.Errorf("of %d words %d came, cut %v at a cap of %d", words, said, x.Tries[0].Cut, x.Tries[0].MaxOutput)
		}
	}
}

// TestAnObservedBudgetCountsTheRoundsOfACallThatSearches: it would have been refused, for what is left buys no cap that holds in each.
func TestAnObservedBudgetCountsTheRoundsOfACallThatSearches(t *testing.T) {
	t.Parallel()
	b := onBench(t, Definitions{Budgets: []Budget{daily(TokenCount, 11_100, func(b *Budget) { b.Mode = Observe })}})
	b.known, b.price.Search = Known{Context: 1000}, 1
	if _, err := b.call(searching(), target, 5, 5); err != nil {
		t.Fatal(err)
	}
	if n := testutil.ToFloat64(b.m.observed); n != 1 {
		t.Errorf("%v calls would have been refused", n)
	}
}
