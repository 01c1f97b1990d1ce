package console

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// maxPrices is how many prices the page shows; the others are found by its field.
const maxPrices = 200

// A pricesView answers: what does each target cost, who says so, and what is missing?
type pricesView struct {
	Find        string
	MissingOnly bool
	Rows        []Price
	More        int
	Missing     int
	MaySet      bool
	Set         string // the target whose price has just been set
	Form        priceForm
}

// A priceForm is the form as it was sent, with what is wrong with it.
type priceForm struct {
	Target, Input, Output, CachedInput, CacheWrite, PerCall, Hourly string
	catalog.PartTexts
	Mistakes []string
}

func (c *Console) prices(v *visit) error {
	q := v.r.URL.Query()
	d := &pricesView{Find: q.Get("find"), MissingOnly: q.Get("show") == "missing", Set: q.Get("set"), Form: priceForm{Target: q.Get("target")}}
	for _, p := range c.allPrices() {
		if p.Target == d.Form.Target {
			d.Form = priceForm{
				Target: p.Target, Input: p.Input, Output: p.Output, CachedInput: p.CachedInput, CacheWrite: p.CacheWrite,
				PartTexts: p.PartTexts, PerCall: p.PerCall, Hourly: p.Hourly,
			}
		}
	}
	return c.showPrices(v, http.StatusOK, d)
}

func (c *Console) showPrices(v *visit, status int, d *pricesView) error {
	d.MaySet = v.may(auth.WritePrices)
	for _, p := range c.allPrices() {
		if p.Source == "" {
			d.Missing++
		}
		if d.MissingOnly && p.Source != "" || !strings.Contains(strings.ToLower(p.Target), strings.ToLower(d.Find)) {
			continue
		}
		if len(d.Rows) == maxPrices {
			d.More++
			continue
		}
		d.Rows = append(d.Rows, p)
	}
	f := c.frame(v, "prices", "Prices", d)
	f.Command = "penstock price list"
	return c.send(v, status, "frame.html", f)
}

// allPrices are those of all targets that are configured, and those that operators set for others, by target. One without a
// source is missing.
func (c *Console) allPrices() []Price {
	all := map[string]Price{}
	for _, m := range c.o.Models() {
		for _, t := range m.Targets {
			all[t.Name] = Price{Target: t.Name}
			if t.Price != nil {
				all[t.Name] = *t.Price
			}
		}
	}
	for _, o := range c.o.Catalog.Overrides() {
		p := PriceOf(o.Target, o.Price, o.Source, o.Set)
		p.Hourly = dollarsOf(o.Hourly)
		for i := range o.Variants {
			v := o.Variants[i].TextOf()
			if o.Variants[i].Price.Call == o.Price.Call {
				v.PerCall = ""
			}
			v.PartTexts = v.Beside(p.PartTexts)
			p.Variants = append(p.Variants, v)
		}
		all[p.Target] = p
	}
	list := make([]Price, 0, len(all))
	for _, p := range all {
		list = append(list, p)
	}
	slices.SortFunc(list, func(x, y Price) int { return strings.Compare(x.Target, y.Target) })
	return list
}

// setPrice sets the price of one target, as penstock price set does.
func (c *Console) setPrice(v *visit) error {
	text := func(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }
	form := priceForm{
		Target: text("target"), Input: text("input"), Output: text("output"), CachedInput: text("cached_input"), CacheWrite: text("cache_write"),
		PerCall: text("per_call"), Hourly: text("hourly"),
	}
	for _, p := range form.All() {
		*p.Text = text(p.Name)
	}
	o, problems := catalog.ReadOverride(catalog.OverrideText{
		Target: form.Target, Input: form.Input, Output: form.Output, CachedInput: form.CachedInput, CacheWrite: form.CacheWrite,
		PartTexts: form.PartTexts, PerCall: form.PerCall, Hourly: form.Hourly,
	}, v.now)
	if len(problems) > 0 {
		for _, p := range problems {
			form.Mistakes = append(form.Mistakes, p.Error())
		}
		return c.showPrices(v, fault.New(fault.InvalidRequest, "").HTTPStatus(), &pricesView{Form: form})
	}
	for _, have := range c.o.Catalog.Overrides() {
		if have.Target == o.Target { // the form has nothing of them, nor of who says so
			if have.Price == o.Price && have.Hourly == o.Hourly {
				o.Source = have.Source
			}
			o.Variants = slices.Clone(have.Variants)
			for i := range o.Variants {
				catalog.SameParts(&o.Variants[i].Price, &have.Price, &o.Price)
			}
		}
	}
	if err := c.o.Catalog.Set(v.ctx(), []catalog.Override{o}); err != nil {
		return err
	}
	return v.redirect("prices?" + pairsOf([]string{"set", o.Target.String()}).Encode())
}

// PriceOf is a price as pages show it. An operator has set it, unless set is zero.
func PriceOf(t llm.Target, p llm.Price, source string, set time.Time) Price {
	return Price{
		Target: t.String(), Input: p.Input.PerMillion(), Output: p.Output.PerMillion(), CachedInput: p.CachedInput.PerMillion(),
		CacheWrite: p.CacheWrite.PerMillion(), PartTexts: catalog.PartsOf(&p), PerCall: dollarsOf(p.Call), Source: source, Own: !set.IsZero(), Set: set,
	}
}

// dollarsOf is an amount as it is set, "" for nothing.
func dollarsOf(m llm.Money) string {
	if m == 0 {
		return ""
	}
	return m.String()
}
