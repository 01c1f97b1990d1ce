package catalog

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// A Variant is a price that holds instead of a target's usual one for some calls: those of a service tier, those with one of the
// provider's credentials (another contract), those at some hours. All conditions that are set must hold.
type Variant struct {
	Tier       string // service_tier that the provider was asked for, such as flex, priority or batch; "" is any
	Credential int    // which of the provider's, counted from 1; 0 is any
	Hours      Hours
	Price      llm.Price
}

// Hours are a span of each day, from one minute until before another, which may be of the next day. The zero value is all day.
type Hours struct {
	From, To int // minutes of the civil day, 0 to 1439
	Zone     string
	zone     *time.Location
}

// ReadHours reads "HH:MM-HH:MM" in a named time zone, "" being UTC. A text of "" is all day.
func ReadHours(text, zone string) (Hours, error) {
	if text == "" {
		if zone != "" {
			return Hours{}, fmt.Errorf("a zone is for hours, and there are none")
		}
		return Hours{}, nil
	}
	from, to, ok := strings.Cut(text, "-")
	a, okA := minuteOf(from)
	b, okB := minuteOf(to)
	if !ok || !okA || !okB || a == b {
		return Hours{}, fmt.Errorf("%s are no hours: write HH:MM-HH:MM, such as 16:30-00:30", quote(text))
	}
	return NewHours(a, b, zone)
}

// NewHours makes hours of minutes of the day, which must differ.
func NewHours(from, to int, zone string) (Hours, error) {
	at, err := time.LoadLocation(cmp.Or(zone, "UTC"))
	if err != nil || zone == "Local" {
		return Hours{}, fmt.Errorf("%s is not a time zone: write a name such as Europe/Berlin", quote(zone))
	}
	return Hours{from, to, zone, at}, nil
}

func minuteOf(text string) (int, bool) {
	t, err := time.Parse("15:04", text)
	return t.Hour()*60 + t.Minute(), err == nil && len(text) == len("15:04")
}

// String writes hours as ReadHours reads them, without their zone.
func (h Hours) String() string {
	if h.zone == nil {
		return ""
	}
	return fmt.Sprintf("%02d:%02d-%02d:%02d", h.From/60, h.From%60, h.To/60, h.To%60)
}

// Equal reports whether hours are the same.
func (h Hours) Equal(o Hours) bool {
	return h.From == o.From && h.To == o.To && h.Zone == o.Zone && (h.zone == nil) == (o.zone == nil)
}

// Has reports whether an instant is within.
func (h Hours) Has(t time.Time) bool {
	if h.zone == nil {
		return true
	}
	local := t.In(h.zone)
	m := local.Hour()*60 + local.Minute()
	if h.From < h.To {
		return h.From <= m && m < h.To
	}
	return m >= h.From || m < h.To
}

// A Dispatch is what the price of a try depends on besides its target.
type Dispatch struct {
	Tier       string // service_tier that is asked for, "" if none is
	Region     llm.Region
	Credential int // counted from 1
	At         time.Time
}

func (v *Variant) fits(d *Dispatch) bool {
	return v.tierFits(d.Tier) && (v.Credential == 0 || v.Credential == d.Credential) && v.Hours.Has(d.At)
}

// tierFits reports whether a tier is the variant's, which may have several names.
func (v *Variant) tierFits(tier string) bool {
	if v.Tier == "" || v.Tier == tier {
		return true
	}
	name := llm.TierOf(v.Tier)
	return name != "" && name == llm.TierOf(tier)
}

// conditions is how many there are.
func (v *Variant) conditions() (n int) {
	for _, set := range [...]bool{v.Tier != "", v.Credential != 0, v.Hours.zone != nil} {
		if set {
			n++
		}
	}
	return n
}

// same reports whether two variants are for the same calls.
func (v *Variant) same(w *Variant) bool {
	return v.Tier == w.Tier && v.Credential == w.Credential && v.Hours.Equal(w.Hours)
}

// For is the price of a try: of the variants that fit, the one with the most conditions, of as many the first; else the usual one.
func (o *Override) For(d Dispatch) llm.Price {
	price, most := &o.Price, 0
	for i := range o.Variants {
		if v := &o.Variants[i]; v.conditions() > most && v.fits(&d) {
			price, most = &v.Price, v.conditions()
		}
	}
	return *price
}

// tiers are the prices of a try by the tiers that its provider may say it was served by; nil if tiers have no prices. What is left to
// the provider may be served by any, for its account may have one; what asks for one may be served by that or as usual.
func (o *Override) tiers(d Dispatch) (all []llm.TierPrice) {
	asked := llm.TierOf(d.Tier)
	add := func(tier, word string) {
		if tier == "" || slices.ContainsFunc(all, func(t llm.TierPrice) bool { return t.Tier == tier }) {
			return
		}
		d.Tier = word
		all = append(all, llm.TierPrice{Tier: tier, May: asked == "" || tier == asked || tier == llm.UsualTier, Price: o.For(d)})
	}
	for i := range o.Variants {
		add(llm.TierOf(o.Variants[i].Tier), o.Variants[i].Tier)
	}
	if all != nil {
		add(llm.UsualTier, llm.UsualTier)
	}
	return all
}

// A VariantText is a variant as a person sets it; see [OverrideText].
type VariantText struct {
	Tier, Hours, Zone                      string
	Credential                             int
	Input, Output, CachedInput, CacheWrite string
	PartTexts                                     // those that are empty are those of the usual price
	PerCall                                string // "" is that of the usual price
}

// Bounds of variants.
const (
	maxVariants   = 32
	maxCredential = 1000
)

// readVariants reads variants, and reports what is wrong with them. What they do not say of parts and
// fees is as in the usual price: too high rather than silently too low.
func readVariants(in []VariantText, usual *llm.Price, add func(path, text, hint string)) []Variant {
	if len(in) > maxVariants {
		add("variants", fmt.Sprintf("are more than %d", maxVariants), "")
		return nil
	}
	var all []Variant
	for i, text := range in {
		at := "variants[" + strconv.Itoa(i) + "]"
		v := Variant{Tier: text.Tier, Credential: text.Credential}
		var err error
		if v.Hours, err = ReadHours(text.Hours, text.Zone); err != nil {
			add(at+".hours", err.Error(), "")
		}
		if !shown(v.Tier, 64) {
			add(at+".tier", "is not up to 64 characters that can be seen", "")
		}
		if v.Credential < 0 || v.Credential > maxCredential {
			add(at+".credential", fmt.Sprintf("is not one of a provider's credentials, which are counted from 1 (to %d)", maxCredential), "")
		}
		if err == nil && v.conditions() == 0 {
			add(at, "is for all calls", "give it a tier, a credential or hours; what all calls cost is the price itself")
		}
		for j := range all {
			if all[j].same(&v) {
				add(at, fmt.Sprintf("is for the same calls as variants[%d]", j), "keep one of them")
			}
		}
		var problems []fault.Problem
		v.Price, problems = readRates(text.Input, text.Output, text.CachedInput, text.CacheWrite)
		TakeParts(&v.Price, usual)
		problems = append(problems, text.read(&v.Price)...)
		if text.PartTexts != (PartTexts{}) {
			problems = append(problems, checkParts(&v.Price)...)
		}
		for _, p := range problems {
			add(at+"."+p.Path, p.Text, p.Hint)
		}
		if v.Price.Call = usual.Call; text.PerCall != "" {
			if v.Price.Call, err = readFee(text.PerCall, "call"); err != nil {
				add(at+".per_call", err.Error(), "")
			}
		}
		all = append(all, v)
	}
	return all
}

// When says of which calls a variant is, for people: "tier flex, 16:30-00:30 UTC".
func (v *VariantText) When() string {
	var all []string
	if v.Tier != "" {
		all = append(all, "tier "+v.Tier)
	}
	if v.Credential != 0 {
		all = append(all, "credential "+strconv.Itoa(v.Credential))
	}
	if v.Hours != "" {
		all = append(all, v.Hours+" "+cmp.Or(v.Zone, "UTC"))
	}
	return strings.Join(all, ", ")
}

// TextOf writes a variant as it is set.
func (v *Variant) TextOf() VariantText {
	return VariantText{
		Tier: v.Tier, Credential: v.Credential, Hours: v.Hours.String(), Zone: v.Hours.Zone, Input: v.Price.Input.PerMillion(),
		Output: v.Price.Output.PerMillion(), CachedInput: v.Price.CachedInput.PerMillion(), CacheWrite: v.Price.CacheWrite.PerMillion(),
		PartTexts: PartsOf(&v.Price), PerCall: v.Price.Call.String(),
	}
}
