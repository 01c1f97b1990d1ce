package catalog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

// In an hour like the one before, calls come to the amount an hour; after a quiet one they do not pay for all of it.
func TestHourly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		target, other := llm.Target{Provider: "house", Model: "m"}, llm.Target{Provider: "house", Model: "other"}
		set := Override{Target: target, Price: NewPrice(150_000, 600_000, nil, nil), Hourly: 12*llm.Dollar + llm.Dollar/2}
		c := New(&Table{}, &memory{}, slog.New(slog.DiscardHandler))
		used := llm.Usage{Input: 10_000_000, Output: 5_000_000}
		var asked []time.Time
		var fails error
		var mu sync.Mutex // guards used, asked and fails; held but while time passes
		mu.Lock()
		pass := func(d time.Duration) {
			mu.Unlock()
			time.Sleep(d)
			synctest.Wait()
			mu.Lock()
		}
		c.Measure(func(_ context.Context, from, to time.Time) (map[llm.Target]llm.Usage, error) {
			mu.Lock()
			defer mu.Unlock()
			if asked = append(asked, from); to.Sub(from) != time.Hour {
				t.Errorf("from %v to %v", from, to)
			}
			return map[llm.Target]llm.Usage{target: used}, fails
		}, time.Now)
		ctx, end := context.WithCancel(t.Context())
		defer end()
		go func() { _ = c.Run(ctx) }()
		pass(time.Hour)
		if len(asked) > 0 {
			t.Errorf("asked at %v, and nobody has a price by the hour", asked)
		}
		if err := c.Set(t.Context(), []Override{set, {Target: other, Price: llm.Price{Input: 7}}}); err != nil {
			t.Fatal(err)
		}
		if p, _ := c.Price("", target); p != set.Price {
			t.Errorf("before an hour was measured: %+v", p)
		}
		pass(5 * time.Minute)
		p, _ := c.View(nil).PriceFor(target, Dispatch{})
		if cost := p.Cost(used); cost < set.Hourly || cost > set.Hourly+llm.Dollar/10_000 {
			t.Errorf("the same hour again costs $%s, at %+v", cost, p)
		}
		if m, _ := c.Model("", target); *m.Price != p {
			t.Errorf("%+v", m)
		}
		if p, _ := c.Price("", other); p.Input != 7 {
			t.Errorf("another: %+v", p)
		}
		before := len(asked)
		fails = errors.New("away")
		pass(time.Hour)
		if again, _ := c.Price("", target); again != p || len(asked) < before+2 {
			t.Errorf("%+v while nothing can be measured, asked %d times", again, len(asked)-before)
		}
		fails, used = nil, llm.Usage{Input: 10}
		pass(time.Minute)
		if p, _ := c.Price("", target); p.Input != 20*150_000 || p.Output != 20*600_000 {
			t.Errorf("after a quiet hour: %+v", p)
		}
		used = llm.Usage{}
		pass(time.Hour)
		if p, _ := c.Price("", target); p != set.Price {
			t.Errorf("after an hour without calls: %+v", p)
		}
		if n := len(asked); n > 4+int(time.Hour/time.Second) || !asked[n-1].Equal(time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)) {
			t.Errorf("asked %d times, last for %v", n, asked[n-1])
		}
	})
}

// Rates times n over d are never below it, and at most one above.
func TestTimes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		rate, n, d := rapid.Int64Range(0, 1<<30).Draw(rt, "rate"), rapid.Int64Range(0, 1<<30).Draw(rt, "n"), rapid.Int64Range(1, 1<<40).Draw(rt, "d")
		p := llm.Price{Input: llm.Rate(rate), Long: &llm.Price{Output: llm.Rate(rate)}}
		got := p.Times(llm.Money(n), llm.Money(d))
		if is := int64(got.Input); is*d < rate*n && d < 1<<3 || is != (rate*n+d-1)/d || got.Long.Output != got.Input || got.Output != 0 {
			rt.Fatalf("%d times %d over %d is %d", rate, n, d, is)
		}
		if p.Long.Output != llm.Rate(rate) {
			rt.Fatal("the price itself was changed")
		}
	})
	if got := (llm.Price{Input: 1 << 62}).Times(1<<62, 1); got.Input != 1<<63-1 {
		t.Errorf("%d", got.Input)
	}
}
