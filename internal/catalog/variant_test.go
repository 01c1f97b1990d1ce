package catalog

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

func TestHours(t *testing.T) {
	t.Parallel()
	at := func(clock string) time.Time {
		when, err := time.Parse(time.RFC3339, clock)
		if err != nil {
			t.Fatal(err)
		}
		return when
	}
	for _, test := range []struct {
		hours, zone, at string
		has             bool
	}{
		{"", "", "2026-07-01T12:00:00Z", true},
		{"09:00-17:00", "", "2026-07-01T09:00:00Z", true},
		{"09:00-17:00", "", "2026-07-01T08:59:59Z", false},
		{"09:00-17:00", "", "2026-07-01T16:59:59Z", true},
		{"09:00-17:00", "", "2026-07-01T17:00:00Z", false},
		{"16:30-00:30", "", "2026-07-01T23:59:00Z", true},
		{"16:30-00:30", "", "2026-07-01T00:29:00Z", true},
		{"16:30-00:30", "", "2026-07-01T00:30:00Z", false},
		{"09:00-17:00", "Europe/Berlin", "2026-07-01T07:00:00Z", true}, // summer
		{"09:00-17:00", "Europe/Berlin", "2026-12-01T07:00:00Z", false},
		{"09:00-17:00", "Asia/Kolkata", "2026-12-01T03:30:00Z", true}, // half an hour
	} {
		h, err := ReadHours(test.hours, test.zone)
		if err != nil {
			t.Fatal(err)
		}
		if h.Has(at(test.at)) != test.has || h.String() != test.hours {
			t.Errorf("%s %s has %s: %v; written %s", test.hours, test.zone, test.at, !test.has, h)
		}
	}
	for _, bad := range [][2]string{
		{"9-17", ""}, {"09:00", ""}, {"09:00-09:00", ""}, {"24:00-01:00", ""}, {"09:00-25:00", ""}, {"9:00-17:00", ""}, {"09:00-17:00", "Mars"},
		{"09:00-17:00", "Local"}, {"", "UTC"}, {"09:00-17:00-18:00", ""}, {"-", ""},
	} {
		if h, err := ReadHours(bad[0], bad[1]); err == nil {
			t.Errorf("%v is read as %+v", bad, h)
		}
	}
}

// What most conditions are true of counts, and the usual price where none are.
func TestVariants(t *testing.T) {
	t.Parallel()
	price := func(n llm.Rate) llm.Price { return NewPrice(n, n, nil, nil) }
	night, err := ReadHours("22:00-06:00", "")
	if err != nil {
		t.Fatal(err)
	}
	o := Override{Price: price(1), Variants: []Variant{
		{Tier: "flex", Price: price(2)}, {Credential: 2, Price: price(3)}, {Hours: night, Price: price(4)}, {Tier: "flex", Credential: 2, Price: price(5)},
	}}
	day, dark := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), time.Date(2026, 7, 1, 23, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		d    Dispatch
		want llm.Rate
	}{
		{Dispatch{At: day}, 1}, {Dispatch{At: day, Credential: 1}, 1}, {Dispatch{At: day, Tier: "priority"}, 1}, {Dispatch{At: day, Tier: "flex"}, 2},
		{Dispatch{At: day, Credential: 2}, 3}, {Dispatch{At: dark}, 4}, {Dispatch{At: dark, Tier: "flex"}, 2}, {Dispatch{At: dark, Credential: 2, Tier: "flex"}, 5},
	} {
		if got := o.For(test.d); got != price(test.want) {
			t.Errorf("%+v costs %d, want %d", test.d, got.Input, test.want)
		}
	}
}

func TestReadVariants(t *testing.T) {
	t.Parallel()
	ok := VariantText{Tier: "flex", Input: "1", Output: "2", CachedInput: "0.1"}
	read := func(all ...VariantText) (Override, string) {
		o, problems := ReadOverride(OverrideText{Target: "openai/m", Input: "2", Output: "4", Variants: all}, time.Now())
		var text []string
		for _, p := range problems {
			text = append(text, p.Error())
		}
		return o, strings.Join(text, "\n")
	}
	o, problems := read(ok, VariantText{Credential: 2, Hours: "09:00-17:00", Zone: "Europe/Berlin", Input: "1", Output: "2"})
	if problems != "" || len(o.Variants) != 2 || o.Variants[0].Price.CachedInput != 100_000 || o.Variants[0].Price.CacheWrite != 1_000_000 {
		t.Errorf("%+v, %s", o, problems)
	}
	for _, test := range []struct {
		all  []VariantText
		want string
	}{
		{[]VariantText{{Input: "1", Output: "2"}}, "variants[0]"},
		{[]VariantText{ok, ok}, "variants[1]"},
		{[]VariantText{{Tier: "flex", Output: "2"}}, "variants[0].input"},
		{[]VariantText{{Tier: "flex", Input: "-1", Output: "2"}}, "variants[0].input"},
		{[]VariantText{{Tier: "flex", Input: "1", Output: "1e9"}}, "variants[0].output"},
		{[]VariantText{{Tier: "a\nb", Input: "1", Output: "2"}}, "variants[0].tier"},
		{[]VariantText{{Credential: -1, Input: "1", Output: "2"}}, "variants[0].credential"},
		{[]VariantText{{Hours: "now", Input: "1", Output: "2"}}, "variants[0].hours"},
		{slices.Repeat([]VariantText{ok}, maxVariants+1), "variants"},
	} {
		if _, problems := read(test.all...); !strings.HasPrefix(problems, test.want) {
			t.Errorf("%+v: %q, want %s", test.all, problems, test.want)
		}
	}
}

// Whatever hours are read are written as they were, and have exactly the minutes between.
func TestHoursProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		from, length := rapid.IntRange(0, 1439).Draw(rt, "from"), rapid.IntRange(1, 1439).Draw(rt, "length")
		h, err := NewHours(from, (from+length)%1440, rapid.SampledFrom([]string{"", "UTC"}).Draw(rt, "zone"))
		if err != nil {
			rt.Fatal(err)
		}
		again, err := ReadHours(h.String(), h.Zone)
		if err != nil || again.From != h.From || again.To != h.To {
			rt.Fatalf("%s: %+v, %v", h, again, err)
		}
		n := 0
		for m := range 1440 {
			if h.Has(time.Date(2026, 7, 1, 0, m, 59, 0, time.UTC)) {
				n++
			}
		}
		if n != length {
			rt.Fatalf("%s has %d minutes, not %d", h, n, length)
		}
	})
}

// A tier counts only where the provider is asked for it; hours go by the view's clock.
func TestViewOfVariants(t *testing.T) {
	t.Parallel()
	target := llm.Target{Provider: "openai", Model: "m"}
	night, err := ReadHours("22:00-06:00", "")
	if err != nil {
		t.Fatal(err)
	}
	c := New(&Table{}, &memory{}, slog.New(slog.DiscardHandler))
	err = c.Set(t.Context(), []Override{{Target: target, Price: llm.Price{Input: 1}, Variants: []Variant{
		{Tier: "flex", Price: llm.Price{Input: 2}}, {Hours: night, Price: llm.Price{Input: 3}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	hour := 12
	now := func() time.Time { return time.Date(2026, 7, 1, hour, 0, 0, 0, time.UTC) }
	asked := c.View(nil).Dispatching(func(string) bool { return true }, now)
	deaf := c.View(nil).Dispatching(func(string) bool { return false }, now)
	for _, test := range []struct {
		view View
		hour int
		want llm.Rate
	}{{asked, 12, 2}, {deaf, 12, 1}, {deaf, 23, 3}, {asked, 23, 2}} {
		hour = test.hour
		if got, ok := test.view.PriceFor(target, Dispatch{Tier: "flex"}); !ok || got.Input != test.want {
			t.Errorf("at %d: %+v, want %d", test.hour, got, test.want)
		}
	}
	if _, ok := asked.PriceFor(llm.Target{Provider: "x", Model: "y"}, Dispatch{}); ok {
		t.Error("a price of what has none")
	}
}

// TestWhatMayBeServed: what is left to the provider may be served by any tier that has a price, what asks for one by that or as usual;
// Anthropic's own API may keep a call to a region.
func TestWhatMayBeServed(t *testing.T) {
	t.Parallel()
	tiered, plain := llm.Target{Provider: "openai", Model: "m"}, llm.Target{Provider: "claude", Model: "m"}
	c := New(&Table{}, &memory{}, slog.New(slog.DiscardHandler))
	err := c.Set(t.Context(), []Override{{Target: plain, Price: llm.Price{Input: 1}}, {Target: tiered, Price: llm.Price{Input: 10}, Variants: []Variant{
		{Tier: "flex", Price: llm.Price{Input: 5}}, {Tier: "fast", Price: llm.Price{Input: 20}}, {Credential: 2, Price: llm.Price{Input: 9}},
		{Tier: "flex", Credential: 2, Price: llm.Price{Input: 4}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	vendors := map[string]string{"claude": "anthropic"}
	asked := c.View(vendors).Dispatching(func(string) bool { return true }, time.Now)
	deaf := c.View(vendors).Dispatching(func(string) bool { return false }, time.Now)
	for _, test := range []struct {
		view View
		d    Dispatch
		want llm.Rate
		most llm.Money // of a thousand tokens
	}{
		{asked, Dispatch{}, 10, 20}, {asked, Dispatch{Tier: "auto"}, 10, 20}, {asked, Dispatch{Tier: "default"}, 10, 10}, {asked, Dispatch{Tier: "standard_only"}, 10, 10},
		{asked, Dispatch{Tier: "flex"}, 5, 10}, {asked, Dispatch{Tier: "priority"}, 20, 20}, {asked, Dispatch{Tier: "scale"}, 10, 10},
		{asked, Dispatch{Tier: "flex", Credential: 2}, 4, 9}, {deaf, Dispatch{Tier: "default"}, 10, 20},
	} {
		p, ok := test.view.PriceFor(tiered, test.d)
		if !ok || p.Input != test.want || p.Most(1000, 0) != test.most || p.Served.Regional != 0 {
			t.Errorf("%+v: %d, at most %d; want %d and %d", test.d, p.Input, p.Most(1000, 0), test.want, test.most)
		}
		if now, _ := p.As("priority", ""); now.Input != 20 {
			t.Errorf("%+v, served with priority: %d", test.d, now.Input)
		}
	}
	if p, ok := asked.PriceFor(plain, Dispatch{Region: llm.RegionKept}); !ok || p.Served == nil || p.Served.Regional != 110 || p.Served.Asked != llm.RegionKept || p.Most(1000, 0) != 2 {
		t.Errorf("%+v", p)
	}
	if p, _ := c.Price("anthropic", plain); p.Served != nil {
		t.Error("a price that nobody asked for at a time")
	}
}

// TestFees: what each call costs is set with a price; a variant has the usual one's unless it has its own.
func TestFees(t *testing.T) {
	t.Parallel()
	text := OverrideText{Target: "perplexity/sonar", Input: "1", Output: "1", PerCall: "0.005", Variants: []VariantText{
		{Tier: "flex", Input: "1", Output: "1"}, {Tier: "priority", Input: "1", Output: "1", PerCall: "0.012"}, {Tier: "batch", Input: "1", Output: "1", PerCall: "0"},
	}}
	o, problems := ReadOverride(text, time.Now())
	if len(problems) > 0 || o.Price.Call != 5_000_000 || o.Variants[0].Price.Call != 5_000_000 || o.Variants[1].Price.Call != 12_000_000 || o.Variants[2].Price.Call != 0 {
		t.Errorf("%v %+v", problems, o)
	}
	for _, bad := range []string{"-1", "x", "1000.1", "0.0000000001", "1e3"} {
		text.PerCall, text.Variants[1].PerCall = bad, bad
		if _, problems := ReadOverride(text, time.Now()); len(problems) != 2 || problems[0].Path != "per_call" || problems[1].Path != "variants[1].per_call" {
			t.Errorf("%s: %v", bad, problems)
		}
	}
}

// TestPartsOfVariants: what a price for some calls does not say of parts is as usual, and what it says holds; nothing is written "0".
func TestPartsOfVariants(t *testing.T) {
	t.Parallel()
	usual := PartTexts{CacheWriteHour: "2", InputAudio: "32", PerSearch: "0.01", OutputImage: "0"}
	text := OverrideText{Target: "a/b", Input: "1", Output: "5", PartTexts: usual, Variants: []VariantText{
		{Tier: "flex", Input: "1", Output: "1"}, {Tier: "priority", Input: "1", Output: "1", PartTexts: PartTexts{InputAudio: "0", PerSearch: "0"}},
	}}
	o, problems := ReadOverride(text, time.Now())
	if len(problems) > 0 || PartsOf(&o.Price) != usual || PartsOf(&o.Variants[0].Price) != usual {
		t.Fatalf("%v %+v", problems, o)
	}
	if v := o.Variants[1].TextOf().Beside(usual); v != text.Variants[1].PartTexts || o.Variants[1].Price.InputAudio != llm.Nothing {
		t.Errorf("%+v", v)
	}
	if p := o.Price; p.Cost(llm.Usage{Output: 1000, Parts: llm.Parts{OutputImage: 1000}}) != 0 {
		t.Error("pictures that cost nothing cost something")
	}
	for _, bad := range []string{"-1", "x", "10000.1", "1e3"} {
		text.InputAudio, text.Variants[1].OutputAudio = bad, bad
		if _, problems := ReadOverride(text, time.Now()); len(problems) < 2 || problems[0].Path != "input_audio" {
			t.Errorf("%s: %v", bad, problems)
		}
	}
}
