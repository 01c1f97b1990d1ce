package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// listPrices lists what the models in use cost, and every price that an operator set besides.
func (a *API) listPrices(_ context.Context, c *call) (list[Price], error) {
	missing, err := c.query.flag("missing")
	if err != nil {
		return list[Price]{}, err
	}
	prices := map[string]Price{}
	for _, r := range a.o.Routes() {
		for _, t := range r.Targets {
			prices[t.Target] = Price{Target: t.Target, Unpriced: true}
			if t.Price != nil {
				prices[t.Target] = *t.Price
			}
		}
	}
	for _, o := range a.o.Catalog.Overrides() {
		prices[o.Target.String()] = a.setPrice(o)
	}
	out := list[Price]{Data: []Price{}}
	for _, p := range prices {
		if p.Unpriced || !missing {
			out.Data = append(out.Data, p)
		}
	}
	slices.SortFunc(out.Data, func(x, y Price) int { return strings.Compare(x.Target, y.Target) })
	return out, nil
}

// setPrice shows a price that an operator set.
func (a *API) setPrice(o catalog.Override) Price {
	p := PriceOf(o.Target, o.Price)
	p.Variants, p.Hourly = variantsOf(&o), hourlyOf(&o)
	p.Source, p.Set, p.Unused = o.Source, instant(o.Set), !a.o.Configured(o.Target.Provider)
	return p
}

func (a *API) setPrices(ctx context.Context, _ *call, in PricesInput) (list[Price], error) {
	overrides, err := overridesOf(in.Data, a.o.Now())
	if err != nil {
		return list[Price]{}, err
	}
	if err := a.o.Catalog.Set(ctx, overrides); err != nil {
		return list[Price]{}, err
	}
	out := list[Price]{Data: []Price{}}
	for _, o := range overrides {
		out.Data = append(out.Data, a.setPrice(o))
	}
	return out, nil
}

// maxMistakes is how many mistakes of one request are told.
const maxMistakes = 20

// overridesOf reads prices, or says all that is wrong with them.
func overridesOf(in []PriceInput, now time.Time) ([]catalog.Override, error) {
	if len(in) == 0 {
		return nil, badParam("data", "data is empty; send at least one price.")
	}
	out := make([]catalog.Override, len(in))
	seen := map[llm.Target]int{}
	var mistakes []string
	for i, p := range in {
		var problems []fault.Problem
		out[i], problems = overrideOf(p, now)
		if first, twice := seen[out[i].Target]; twice && len(problems) == 0 {
			problems = append(problems, fault.Problem{Path: "target", Text: fmt.Sprintf("%s is in data[%d] already", p.Target, first)})
		}
		seen[out[i].Target] = i
		for _, problem := range problems {
			mistakes = append(mistakes, fmt.Sprintf("data[%d].%v", i, problem))
		}
	}
	if len(mistakes) == 0 {
		return out, nil
	}
	more := ""
	if n := len(mistakes) - maxMistakes; n > 0 {
		mistakes, more = mistakes[:maxMistakes], fmt.Sprintf("; and %d more", n)
	}
	f := badParam("data", "%s%s.", strings.Join(mistakes, "; "), more)
	f.Hint = "Nothing was changed."
	return nil, f
}

func overrideOf(p PriceInput, now time.Time) (catalog.Override, []fault.Problem) {
	text := catalog.OverrideText{
		Target: p.Target, Input: p.Input, Output: p.Output, CachedInput: p.CachedInput, CacheWrite: p.CacheWrite, Source: p.Source,
		PartTexts: p.PartTexts, PerCall: p.PerCall, Hourly: p.Hourly,
	}
	for _, v := range p.Variants {
		text.Variants = append(text.Variants, catalog.VariantText{
			Tier: v.Tier, Credential: v.Credential, Hours: v.Hours, Zone: v.Zone,
			Input: v.Input, Output: v.Output, CachedInput: v.CachedInput, CacheWrite: v.CacheWrite, PartTexts: v.PartTexts, PerCall: v.PerCall,
		})
	}
	return catalog.ReadOverride(text, now)
}
