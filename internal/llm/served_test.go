package llm

import (
	"testing"

	"pgregory.net/rapid"
)

// flat is a price of so many dollars for a million tokens of any kind.
func flat(dollars int64) Price {
	r := Rate(dollars) * perMillion
	return Price{Input: r, CachedInput: r, CacheWrite: r, Output: r}
}

// TestServedOtherwise: what is billed is what was served, and as much was reserved for it.
func TestServedOtherwise(t *testing.T) {
	t.Parallel()
	usual, flex, priority := flat(10), flat(5), flat(20)
	tiers := func(mayFlex, mayPriority bool) []TierPrice {
		return []TierPrice{{Tier: UsualTier, May: true, Price: usual}, {Tier: "flex", May: mayFlex, Price: flex}, {Tier: "priority", May: mayPriority, Price: priority}}
	}
	with := func(p Price, s Served) Price { p.Served = &s; return p }
	const million = 1_000_000
	for name, c := range map[string]struct {
		price        Price
		tier, region string
		cost, most   Money
		unknown      bool
	}{
		"as usual":             {price: usual, cost: 10, most: 10},
		"a name of it":         {price: usual, tier: "on_demand", cost: 10, most: 10},
		"no price":             {price: usual, tier: "priority", cost: 10, most: 10, unknown: true},
		"left to it":           {price: with(usual, Served{Tiers: tiers(true, true)}), tier: "auto", cost: 10, most: 20},
		"left to it, served":   {price: with(usual, Served{Tiers: tiers(true, true)}), tier: "priority", cost: 20, most: 20},
		"cheap, but usual":     {price: with(flex, Served{Tiers: tiers(true, false)}), tier: "standard", cost: 10, most: 10},
		"cheap":                {price: with(flex, Served{Tiers: tiers(true, false)}), tier: "FLEX", cost: 5, most: 10},
		"cheap, nothing told":  {price: with(flex, Served{Tiers: tiers(true, false)}), cost: 5, most: 10},
		"dear, but usual":      {price: with(priority, Served{Tiers: tiers(false, true)}), tier: "default", cost: 10, most: 20},
		"not one of them":      {price: with(usual, Served{Tiers: tiers(true, true)}), tier: "scale", cost: 10, most: 20, unknown: true},
		"anywhere":             {price: with(usual, Served{Regional: 110, Asked: RegionNone}), region: "global", cost: 10, most: 10},
		"anywhere, told other": {price: with(usual, Served{Regional: 110, Asked: RegionNone}), region: "us", cost: 11, most: 10},
		"region not said":      {price: with(usual, Served{Regional: 110}), cost: 10, most: 11},
		"region by account":    {price: with(usual, Served{Regional: 110}), tier: "standard", region: "us", cost: 11, most: 11},
		"region kept":          {price: with(usual, Served{Regional: 110, Asked: RegionKept}), cost: 11, most: 11},
		"region not there":     {price: with(usual, Served{Regional: 110, Asked: RegionKept}), region: "not_available", cost: 10, most: 11},
		"both":                 {price: with(usual, Served{Tiers: tiers(true, true), Regional: 110}), tier: "priority", region: "us", cost: 22, most: 22},
	} {
		p, known := c.price.As(c.tier, c.region)
		if got := p.Cost(Usage{Input: million}); got != c.cost*Dollar || known == c.unknown || p.Served != nil && c.price.Served != nil {
			t.Errorf("%s: %v, known %t; want %d", name, got, known, c.cost)
		}
		if got := c.price.Most(million, 0); got != c.most*Dollar {
			t.Errorf("%s: at most %v, want %d", name, got, c.most)
		}
	}
}

// TestServedIsReservedFor: however a call is served that may be, it costs no more than was reserved.
func TestServedIsReservedFor(t *testing.T) {
	t.Parallel()
	price := rapid.Custom(func(t *rapid.T) Price {
		rate := rapid.Map(rapid.Int64Range(0, 1e9), func(n int64) Rate { return Rate(n) })
		p := Price{Input: rate.Draw(t, "in"), CachedInput: rate.Draw(t, "cached"), CacheWrite: rate.Draw(t, "write"), Output: rate.Draw(t, "out")}
		if rapid.Bool().Draw(t, "long") {
			p.LongOver, p.Long = 1000, &Price{Input: rate.Draw(t, "long in"), Output: rate.Draw(t, "long out")}
		}
		return p
	})
	rapid.Check(t, func(t *rapid.T) {
		p := price.Draw(t, "price")
		s := Served{Regional: rapid.SampledFrom([]int64{0, 110, 133}).Draw(t, "percent"), Asked: rapid.SampledFrom([]Region{RegionUnsaid, RegionNone, RegionKept}).Draw(t, "asked")}
		for _, tier := range []string{UsualTier, "flex", "priority"} {
			if rapid.Bool().Draw(t, "there") {
				s.Tiers = append(s.Tiers, TierPrice{Tier: tier, May: rapid.Bool().Draw(t, "may"), Price: price.Draw(t, "tier")})
			}
		}
		p.Served = &s
		if rapid.Bool().Draw(t, "hour") {
			p.May.Hour = true
		}
		input, output := rapid.Int64Range(0, 3000).Draw(t, "input"), rapid.Int64Range(0, 3000).Draw(t, "output")
		cached := rapid.Int64Range(0, input).Draw(t, "cached")
		used := Usage{Input: input, CachedInput: cached, CacheWrite: rapid.Int64Range(0, input-cached).Draw(t, "write"), Output: output}
		served := []string{""}
		for _, tier := range p.Served.Tiers {
			if tier.May {
				served = append(served, tier.Tier)
			}
		}
		regions := []string{"", "global", "us"}
		if s.Asked == RegionNone {
			regions = regions[:2]
		}
		now, _ := p.As(rapid.SampledFrom(served).Draw(t, "served"), rapid.SampledFrom(regions).Draw(t, "region"))
		if cost, most := now.Cost(used), p.Most(input, output); cost > most {
			t.Fatalf("%v were billed and %v reserved", cost, most)
		}
	})
}

func TestTierOf(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"": "", "auto": "", "AUTO": "", "default": UsualTier, "standard": UsualTier, "standard_only": UsualTier, "flex": "flex", "priority": "priority",
		"fast": "priority", "scale": "scale", "ON_DEMAND": UsualTier, "ON_DEMAND_FLEX": "flex", "batch": "batch",
	} {
		if got := TierOf(word); got != want {
			t.Errorf("%q is %q", word, got)
		}
	}
}
