package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/llm"
)

func testPrices(t *testing.T, s Store) {
	ctx := t.Context()
	none, err := s.Prices(ctx)
	must(t, err)
	same(t, "prices of an empty store", len(none), 0)
	before, err := s.PriceVersion(ctx)
	must(t, err)
	first := catalog.Override{
		Target: llm.Target{Provider: "openai", Model: "gpt-5/é"}, Set: day, Source: "set",
		Price: llm.Price{
			Input: 150_000, CachedInput: 15_000, CacheWrite: 1, Output: 1<<62 + 1, LongOver: 200_000,
			Long: &llm.Price{Input: 300_000, Output: 2, InputAudio: 3}, Call: 1<<62 + 1,
			CacheWriteHour: 1, InputAudio: 2, CachedAudio: llm.Nothing, OutputAudio: 1<<62 + 1, OutputImage: 5, Search: 10_000_000,
		},
	}
	night, err := catalog.ReadHours("22:00-06:30", "Europe/Berlin")
	must(t, err)
	midnight, err := catalog.ReadHours("00:00-08:00", "")
	must(t, err)
	first.Hourly = 12*llm.Dollar + 1
	first.Variants = []catalog.Variant{
		{Tier: "flex", Credential: 2, Price: llm.Price{Input: 75_000, Output: 9, Call: 7, LongOver: 5, Long: &llm.Price{Output: 1}}},
		{Hours: night, Price: llm.Price{Output: 1}}, {Hours: midnight},
	}
	free := catalog.Override{Target: llm.Target{Provider: "house", Model: "qwen3-32b"}, Set: day, Source: "prices.csv"}
	must(t, s.SetPrices(ctx, []catalog.Override{first, free}))
	got, err := s.Prices(ctx)
	must(t, err)
	same(t, "prices", got, []catalog.Override{free, first})
	after, err := s.PriceVersion(ctx)
	must(t, err)
	if after <= before {
		t.Errorf("version %d, before %d", after, before)
	}
	first.Price, first.Source, first.Variants, first.Hourly = llm.Price{Input: 7}, "again", nil, 0
	must(t, s.SetPrices(ctx, []catalog.Override{first}))
	got, err = s.Prices(ctx)
	must(t, err)
	same(t, "prices", got, []catalog.Override{free, first})
}

func testPricesAgainstModel(t *testing.T, s Store) {
	ctx := context.WithoutCancel(t.Context())
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		if run++; run > checks {
			return
		}
		provider := fmt.Sprintf("p%d", run)
		model := map[string]catalog.Override{}
		for range rapid.IntRange(1, 5).Draw(rt, "calls") {
			var batch []catalog.Override
			for range rapid.IntRange(0, 4).Draw(rt, "prices") {
				o := catalog.Override{
					Target: llm.Target{Provider: provider, Model: rapid.StringMatching(`[a-c]`).Draw(rt, "model")},
					Price: llm.Price{
						Input:  llm.Rate(rapid.Int64Range(0, 1<<62).Draw(rt, "input")),
						Output: llm.Rate(rapid.Int64Range(0, 1<<62).Draw(rt, "output")),
					},
					Set: day, Source: strings.ReplaceAll(rapid.String().Draw(rt, "source"), "\x00", ""), // which no engine need keep
				}
				batch = append(batch, o)
				model[o.Target.Model] = o
			}
			if err := s.SetPrices(ctx, batch); err != nil {
				rt.Fatal(err)
			}
		}
		all, err := s.Prices(ctx)
		if err != nil {
			rt.Fatal(err)
		}
		got := slices.DeleteFunc(all, func(o catalog.Override) bool { return o.Target.Provider != provider })
		want := slices.SortedFunc(maps.Values(model), func(a, b catalog.Override) int { return strings.Compare(a.Target.Model, b.Target.Model) })
		same(rt, "prices", got, want)
	})
}
