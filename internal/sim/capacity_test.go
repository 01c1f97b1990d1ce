package sim_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/sim/simtest"
)

func withCapacity(slots, prefill int) sim.Config {
	c := simtest.Config()
	c.Providers["default"].Models[simtest.Model] = sim.Model{
		Price: sim.Price{Input: "1", Output: "4"}, Output: "8", FirstToken: "100ms", Gap: "100ms", Slots: slots, Prefill: prefill,
	}
	return c
}

// longChat has a prompt of exactly so many tokens.
func longChat(tokens int) string {
	return `{"model":"` + simtest.Model + `","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("abcd", tokens) + `"}]}`
}

func TestSlotsAreAQueue(t *testing.T) {
	t.Parallel()
	bubble(t, withCapacity(2, 0), func(t *testing.T, b *bench) {
		took := make([]time.Duration, 6)
		var wg sync.WaitGroup
		for i := range took {
			wg.Go(func() { took[i] = b.post(t.Context(), "/v1/chat/completions", longChat(3)).took })
			synctest.Wait() // so that they come in their order
		}
		all, _ := b.sim.Peak()
		is(t, "in passage", all.Peak, 6)
		wg.Wait()
		for i, d := range took { // 100 ms and seven gaps each, two at once
			is(t, "took", d, time.Duration(i/2+1)*800*time.Millisecond)
		}
	})
}

// TestWhoLeavesTheQueuePaysNothing, and holds nobody up; who leaves while being served frees the slot.
func TestWhoLeavesTheQueuePaysNothing(t *testing.T) {
	t.Parallel()
	bubble(t, withCapacity(1, 1000), func(t *testing.T, b *bench) {
		var wg sync.WaitGroup
		leaveAfter := func(d time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			wg.Go(func() {
				defer cancel()
				b.post(ctx, "/v1/chat/completions", longChat(100))
			})
			synctest.Wait()
		}
		leaveAfter(300 * time.Millisecond) // is served: prompt 100 ms, first token at 200 ms, second at 300 ms
		leaveAfter(250 * time.Millisecond) // waits
		third := b.post(t.Context(), "/v1/chat/completions", longChat(100))
		wg.Wait()
		is(t, "third", third.took, 300*time.Millisecond+100*time.Millisecond+800*time.Millisecond)
		bill := b.bill()
		is(t, "calls", bill.Total.Calls, 3)
		is(t, "prompts billed", bill.Total.Prompt, 2*100)
		for _, call := range bill.Calls {
			if call.Ended.Sub(call.Started) == 250*time.Millisecond {
				is(t, "cost of the one who waited", call.Cost, 0)
			}
		}
	})
}

func TestPromptsAreReadOneAfterTheOther(t *testing.T) {
	t.Parallel()
	bubble(t, withCapacity(0, 1000), func(t *testing.T, b *bench) {
		var wg sync.WaitGroup
		first := make([]time.Duration, 3)
		for i := range first {
			wg.Go(func() {
				first[i] = b.post(t.Context(), "/v1/chat/completions", longChat(500)).took - 700*time.Millisecond // less the gaps
			})
			synctest.Wait()
		}
		wg.Wait()
		for i, d := range first {
			is(t, "first token", d, time.Duration(i+1)*500*time.Millisecond+100*time.Millisecond)
		}
		is(t, "an idle server", b.post(t.Context(), "/v1/chat/completions", longChat(50)).took, 50*time.Millisecond+800*time.Millisecond)
	})
}
