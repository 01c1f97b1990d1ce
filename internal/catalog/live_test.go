package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// A memory is a store in memory.
type memory struct {
	mu      sync.Mutex // guards the fields below
	version int64
	prices  map[llm.Target]Override
	reads   int
	err     error
}

func (s *memory) Prices(context.Context) ([]Override, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	var list []Override
	for _, o := range s.prices {
		list = append(list, o)
	}
	return list, s.err
}

func (s *memory) SetPrices(_ context.Context, prices []Override) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.prices == nil {
		s.prices = map[llm.Target]Override{}
	}
	for _, o := range prices {
		s.prices[o.Target] = o
	}
	s.version++
	return nil
}

func (s *memory) PriceVersion(context.Context) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version, s.err
}

func (s *memory) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func setup(t *testing.T) (*Catalog, *memory, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	s := &memory{}
	c := New(Default(), s, slog.New(slog.NewTextHandler(&log, nil)))
	if err := c.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c, s, &log
}

var (
	mini  = llm.Target{Provider: "main", Model: "gpt-5-mini"}
	qwen  = llm.Target{Provider: "house", Model: "qwen3-32b"}
	house = NewPrice(1000, 2000, nil, nil)
)

func TestOverrideBeatsTable(t *testing.T) {
	t.Parallel()
	c, _, _ := setup(t)
	if p, ok := c.Price("openai", mini); !ok || p.Input.PerMillion() != "0.25" {
		t.Fatalf("before: %+v, %t; want the table's", p, ok)
	}
	if p, ok := c.Price("", qwen); ok {
		t.Fatalf("a model that nobody knows costs %+v", p)
	}
	err := c.Set(t.Context(), []Override{{Target: mini, Price: house}, {Target: qwen, Price: llm.Price{}, Source: "set"}})
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := c.Price("openai", mini); !ok || p != house {
		t.Errorf("after: %+v, %t; want the operator's", p, ok)
	}
	if p, ok := c.Price("", qwen); !ok || p != (llm.Price{}) {
		t.Errorf("a price of zero that was set is %+v, %t", p, ok)
	}
	other := llm.Target{Provider: "spare", Model: "gpt-5-mini"}
	if p, _ := c.Price("openai", other); p.Input.PerMillion() != "0.25" {
		t.Errorf("the price for main holds for spare too: %+v", p)
	}
	if m, ok := c.Model("openai", mini); !ok || *m.Price != house || m.Context != 400_000 {
		t.Errorf("the model is %+v, want the table's limits with the operator's price", m)
	}
	if m, ok := c.Model("", qwen); !ok || m.Name != "qwen3-32b" || !strings.HasPrefix(m.Source, "set by an operator (set)") {
		t.Errorf("the model is %+v, want one with the operator's price alone", m)
	}
	if got := c.Overrides(); len(got) != 2 || got[0].Target != qwen || c.Version() != 1 {
		t.Errorf("version %d has overrides %v", c.Version(), got)
	}
}

func TestModelWithoutPriceIsUnpriced(t *testing.T) {
	t.Parallel()
	c, _, _ := setup(t)
	for _, model := range []string{"gpt-5.4-2026-03-05", "no-such-model"} {
		if p, ok := c.Price("openai", llm.Target{Provider: "main", Model: model}); ok {
			t.Errorf("%s costs %+v, want unpriced", model, p)
		}
	}
}

func TestView(t *testing.T) {
	t.Parallel()
	c, _, _ := setup(t)
	v := c.View(map[string]string{"main": "openai"})
	if p, ok := v.Price(mini); !ok || p.Input == 0 {
		t.Errorf("price %+v, %t", p, ok)
	}
	if _, ok := v.Price(llm.Target{Provider: "house", Model: "gpt-5-mini"}); ok {
		t.Error("a provider of no vendor has a price")
	}
	if m, ok := v.Model(mini); !ok || m.MaxOutput != 128_000 {
		t.Errorf("model %+v, %t", m, ok)
	}
	if names := v.Names("main"); !slices.Contains(names, "gpt-5-mini") || !slices.IsSorted(names) || v.Names("house") != nil && len(v.Names("house")) > 0 {
		t.Errorf("main has %v, house has %v", names, v.Names("house"))
	}
}

func TestRunTakesOverPricesWithinASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, s, log := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()

		if err := s.SetPrices(ctx, []Override{{Target: qwen, Price: house}}); err != nil { // as another replica does it
			t.Fatal(err)
		}
		<-time.After(pollEvery)
		synctest.Wait()
		if p, ok := c.Price("", qwen); !ok || p != house {
			t.Errorf("a second later the price is %+v, %t", p, ok)
		}
		reads := s.reads
		<-time.After(10 * pollEvery)
		synctest.Wait()
		if s.reads != reads {
			t.Errorf("unchanged prices were read %d times", s.reads-reads)
		}

		s.fail(errors.New("store away"))
		<-time.After(5 * pollEvery)
		synctest.Wait()
		if p, ok := c.Price("", qwen); !ok || p != house {
			t.Errorf("with the store away the price is %+v, %t", p, ok)
		}
		s.fail(nil)
		<-time.After(2 * pollEvery)
		synctest.Wait()
		if n := strings.Count(log.String(), "cannot be read"); n != 1 || !strings.Contains(log.String(), "can be read again") {
			t.Errorf("the log has the failure %d times, want once, and its end:\n%s", n, log)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run gave %v at the end", err)
		}
	})
}

func TestSetReportsTheStoresError(t *testing.T) {
	t.Parallel()
	c, s, _ := setup(t)
	away := errors.New("store away")
	s.fail(away)
	if err := c.Set(t.Context(), []Override{{Target: qwen, Price: house}}); !errors.Is(err, away) {
		t.Errorf("the error is %v", err)
	}
	if err := c.Refresh(t.Context()); !errors.Is(err, away) {
		t.Errorf("Refresh gives %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c, _, _ := setup(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			target := llm.Target{Provider: "house", Model: fmt.Sprint(i)}
			for n := range 50 {
				if err := c.Set(t.Context(), []Override{{Target: target, Price: llm.Price{Input: llm.Rate(n)}}}); err != nil {
					t.Error(err)
				}
				c.Price("openai", mini)
				if p, ok := c.Price("", target); !ok || p.Input != llm.Rate(n) {
					t.Errorf("%s: a price of %d was set and is %d", target, n, p.Input)
				}
			}
		})
	}
	wg.Wait()
}

func TestPriceAllocatesNothing(t *testing.T) {
	c, _, _ := setup(t)
	if err := c.Set(t.Context(), []Override{{Target: qwen, Price: house}}); err != nil {
		t.Fatal(err)
	}
	v := c.View(map[string]string{"main": "openai"})
	tuned := llm.Target{Provider: "main", Model: "ft:gpt-4o-mini-2024-07-18:acme::9Xyz"}
	for _, target := range []llm.Target{mini, qwen, tuned, {Provider: "main", Model: "unknown-2024-01-01"}} {
		if n := testing.AllocsPerRun(100, func() { v.Price(target) }); n != 0 {
			t.Errorf("the price of %s takes %v allocations", target, n)
		}
	}
}

func BenchmarkPrice(b *testing.B) {
	c := New(Default(), &memory{}, slog.New(slog.DiscardHandler))
	v := c.View(map[string]string{"main": "openai"})
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := v.Price(mini); !ok {
			b.Fatal("no price")
		}
	}
}
