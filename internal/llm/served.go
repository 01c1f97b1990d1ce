package llm

import (
	"slices"
	"strings"
)

// UsualTier is the tier of service that is priced as usual.
const UsualTier = "default"

// TierOf gives a tier of service one name, whatever a provider calls it: [UsualTier], or a word such as flex or priority. "" is one that is
// left to the provider, or that it did not tell.
func TierOf(word string) string {
	switch word = strings.ToLower(word); word {
	case "auto", "unspecified", "traffic_type_unspecified":
		return ""
	case "standard", "standard_only", "on_demand": // Anthropic and Gemini; Groq and Vertex
		return UsualTier
	case "fast", "on_demand_priority": // OpenAI's newer name of it; Vertex
		return "priority"
	case "on_demand_flex":
		return "flex"
	}
	return word
}

// A Region says whether a call was asked to be kept to a region.
type Region uint8

// What may be asked. Where nothing is, the account at the provider may have a region that holds for all of its calls.
const (
	RegionUnsaid Region = iota
	RegionNone
	RegionKept
)

// keptTo reports whether a provider says that it kept a call to a region; told is false if it says nothing.
func keptTo(region string) (kept, told bool) {
	switch region {
	case "":
		return false, false
	case "global", "not_available":
		return false, true
	}
	return true, true
}

// Served is what a call costs that its provider may serve otherwise than as usual: how it did, the provider says with the answer.
type Served struct {
	// Tiers are the prices of tiers of service, the usual one among them. Without any, all cost the same.
	Tiers []TierPrice
	// Regional is what a call costs that was kept to a region, in percent; 0 is as much as elsewhere. Asked is what the call says of that.
	Regional int64
	Asked    Region
}

// A TierPrice is what a call costs that was served by a tier.
type TierPrice struct {
	Tier  string // as TierOf gives it
	May   bool   // what was asked for may be served so
	Price Price
}

// As is the price of a call that was served by a tier and in a region, as its provider told them; "" is not told, and then as it was
// asked for. known is false if the tier is one that has no price here: what was asked for holds then.
func (p Price) As(tier, region string) (price Price, known bool) {
	s := p.Served
	if s == nil {
		tier = TierOf(tier)
		return p, tier == "" || tier == UsualTier
	}
	p.Served = nil
	price, known = p, true
	if tier = TierOf(tier); tier != "" {
		i := slices.IndexFunc(s.Tiers, func(t TierPrice) bool { return t.Tier == tier })
		switch {
		case i >= 0:
			price = s.Tiers[i].Price
			price.May = p.May
		case tier != UsualTier:
			known = false
		}
	}
	kept, told := keptTo(region)
	if s.Regional > 0 && (kept || !told && s.Asked == RegionKept) {
		price = price.Times(Money(s.Regional), 100)
	}
	return price, known
}

// Sounds reports whether sound has rates of its own, however a call is served.
func (p *Price) Sounds() bool {
	for q := p; q != nil; q = q.Long {
		if q.InputAudio > 0 || q.CachedAudio > 0 || q.OutputAudio > 0 {
			return true
		}
	}
	return p.Served != nil && slices.ContainsFunc(p.Served.Tiers, func(t TierPrice) bool { return t.Price.Sounds() })
}

// Searched reports whether a search costs something, however a call is served.
func (p *Price) Searched() bool {
	return p.Search > 0 || p.Served != nil && slices.ContainsFunc(p.Served.Tiers, func(t TierPrice) bool { return t.Price.Search > 0 })
}

// most is the price's Most over all ways in which the call may be served.
func (s *Served) most(p Price, input, output int64) Money {
	p.Served = nil
	regional := s.Regional > 0 && s.Asked != RegionNone
	most := s.dearest(p, regional, input, output)
	for i := range s.Tiers {
		if t := &s.Tiers[i]; t.May {
			tier := t.Price
			tier.May = p.May
			most = max(most, s.dearest(tier, regional, input, output))
		}
	}
	return most
}

func (s *Served) dearest(p Price, regional bool, input, output int64) Money {
	most := p.Most(input, output)
	if regional {
		most = max(most, p.Times(Money(s.Regional), 100).Most(input, output))
	}
	return most
}
