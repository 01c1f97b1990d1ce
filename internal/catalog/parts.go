package catalog

import (
	"fmt"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// PartTexts are the rates of parts of a usage that have their own, as a person sets them: US dollars per million tokens, as decimal text,
// "0" for what costs nothing. Those that are empty have none.
type PartTexts struct {
	CacheWriteHour string `json:"cache_write_1h,omitzero" yaml:"cache_write_1h,omitempty" kind:"decimal"` // prompt tokens kept in the provider's cache for an hour; 1.6 times cache_write if it is left out
	InputAudio     string `json:"input_audio,omitzero" yaml:"input_audio,omitempty" kind:"decimal"`       // sound that is heard; as input if it is left out
	CachedAudio    string `json:"cached_audio,omitzero" yaml:"cached_audio,omitempty" kind:"decimal"`     // the same from the provider's cache; as cached_input if it is left out
	OutputAudio    string `json:"output_audio,omitzero" yaml:"output_audio,omitempty" kind:"decimal"`     // sound that is spoken; as output if it is left out
	OutputImage    string `json:"output_image,omitzero" yaml:"output_image,omitempty" kind:"decimal"`     // pictures that are made; as output if it is left out
	PerSearch      string `json:"per_search,omitzero" yaml:"per_search,omitempty" kind:"decimal"`         // US dollars for each search that the provider makes, beside its tokens; not known if it is left out
}

// A Part is a rate with its name in files and in the API.
type Part struct {
	Name, Meaning string
	Text          *string
}

// All are the parts, always in this order; the last is no rate of tokens.
func (t *PartTexts) All() [6]Part {
	return [...]Part{
		{"cache_write_1h", "kept for an hour", &t.CacheWriteHour}, {"input_audio", "sound heard", &t.InputAudio},
		{"cached_audio", "sound cached", &t.CachedAudio}, {"output_audio", "sound spoken", &t.OutputAudio},
		{"output_image", "pictures made", &t.OutputImage}, {"per_search", "each search", &t.PerSearch},
	}
}

// Pairs are the names and values of all parts, one behind the other.
func (t PartTexts) Pairs() (all []string) {
	for _, p := range t.All() {
		all = append(all, p.Name, *p.Text)
	}
	return all
}

// Words are those parts that there are, for a person: "$20 kept for an hour".
func (t PartTexts) Words() (all []string) {
	for _, p := range t.All() {
		if *p.Text != "" {
			all = append(all, "$"+*p.Text+" "+p.Meaning)
		}
	}
	return all
}

// Keep takes what is not said from what was.
func (t *PartTexts) Keep(was PartTexts) {
	old := was.All()
	for i, p := range t.All() {
		if *p.Text == "" {
			*p.Text = *old[i].Text
		}
	}
}

// partRates are the parts of a price that are rates, in the order of [PartTexts.All].
func partRates(p *llm.Price) [5]*llm.Rate {
	return [...]*llm.Rate{&p.CacheWriteHour, &p.InputAudio, &p.CachedAudio, &p.OutputAudio, &p.OutputImage}
}

// PartsOf writes the rates of parts.
func PartsOf(p *llm.Price) (t PartTexts) {
	texts := t.All()
	for i, r := range partRates(p) {
		if *r != 0 {
			*texts[i].Text = max(*r, 0).PerMillion()
		}
	}
	if p.Search != 0 {
		t.PerSearch = max(p.Search, 0).String()
	}
	return t
}

// Beside are the parts of a price for some calls that are not as usual.
func (t PartTexts) Beside(usual PartTexts) PartTexts {
	old := usual.All()
	for i, p := range t.All() {
		if *p.Text == *old[i].Text {
			*p.Text = ""
		}
	}
	return t
}

// read puts the parts that are set into a price.
func (t PartTexts) read(p *llm.Price) (problems []fault.Problem) {
	texts := t.All()
	for i, to := range partRates(p) {
		text := *texts[i].Text
		if text == "" {
			continue
		}
		r, err := llm.ParseRate(text)
		if err != nil {
			problems = append(problems, fault.Problem{Path: texts[i].Name, Text: err.Error()})
		}
		if *to = r; r == 0 {
			*to = llm.Nothing
		}
	}
	if t.PerSearch == "" {
		return problems
	}
	fee, err := readFee(t.PerSearch, "search")
	if err != nil {
		problems = append(problems, fault.Problem{Path: "per_search", Text: err.Error()})
	}
	if p.Search = fee; fee == 0 {
		p.Search = llm.Money(llm.Nothing)
	}
	return problems
}

// TakeParts gives a price the rates of parts of another.
func TakeParts(p, from *llm.Price) {
	old := partRates(from)
	for i, r := range partRates(p) {
		*r = *old[i]
	}
	p.Search = from.Search
}

// SameParts takes those rates of parts of a price for some calls from the new usual price that were as in the old one.
func SameParts(v, was, is *llm.Price) {
	old, now := partRates(was), partRates(is)
	for i, r := range partRates(v) {
		if *r == *old[i] {
			*r = *now[i]
		}
	}
	if v.Search == was.Search {
		v.Search = is.Search
	}
	if v.Call == was.Call {
		v.Call = is.Call
	}
}

// checkParts lists what is wrong with rates of parts.
func checkParts(p *llm.Price) (list []fault.Problem) {
	names := (&PartTexts{}).All()
	for i, r := range partRates(p) {
		if *r > MaxRate {
			list = append(list, fault.Problem{
				Path: names[i].Name, Text: fmt.Sprintf("$%s is over $10,000 per million tokens", r.PerMillion()), Hint: mixedUp,
			})
		}
	}
	return list
}
