package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// A liteEntry is what is read of an entry of LiteLLM's table. Costs are US dollars per token.
type liteEntry struct {
	Provider   string         `json:"litellm_provider"`
	Input      jsontext.Value `json:"input_cost_per_token"`
	Output     jsontext.Value `json:"output_cost_per_token"`
	CacheRead  jsontext.Value `json:"cache_read_input_token_cost"`
	CacheWrite jsontext.Value `json:"cache_creation_input_token_cost"`
	Request    jsontext.Value `json:"input_cost_per_request"`
	Hour       jsontext.Value `json:"cache_creation_input_token_cost_above_1hr"`
	Heard      jsontext.Value `json:"input_cost_per_audio_token"`
	HeardRead  jsontext.Value `json:"cache_read_input_audio_token_cost"`
	Spoken     jsontext.Value `json:"output_cost_per_audio_token"`
	Pictures   jsontext.Value `json:"output_cost_per_image_token"`
	Search     jsontext.Value `json:"search_context_cost_per_query"`
	Above128k  jsontext.Value `json:"input_cost_per_token_above_128k_tokens"`
	Above200k  jsontext.Value `json:"input_cost_per_token_above_200k_tokens"`
}

// sampleEntry is the entry of LiteLLM's table that explains it.
const sampleEntry = "sample_spec"

// liteLLM reads LiteLLM's table: an object with an entry per model. What has no price by token is skipped, and so is what
// costs nothing in both directions: there zero means as often that it is priced otherwise.
func (p *importer) liteLLM(raw []byte) {
	d := jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true)) // add finds those, with their places
	if _, err := d.ReadToken(); err != nil {                                           // the opening brace
		p.broken(raw, d, err)
		return
	}
	for d.PeekKind() == '"' {
		key, err := d.ReadToken()
		if err != nil {
			p.broken(raw, d, err)
			return
		}
		name := key.String() // copied: the token is gone with the next read
		where := fmt.Sprintf("line %d, %s", lineAt(raw, d.InputOffset()), clip(name))
		value, err := d.ReadValue()
		if err != nil {
			p.broken(raw, d, err)
			return
		}
		var e liteEntry
		if name == sampleEntry {
			continue
		}
		if err := json.Unmarshal(value, &e); err != nil {
			p.problem(where, "is not an entry of LiteLLM's table: "+plain(err), "")
			continue
		}
		p.liteEntry(where, name, &e)
	}
	if _, err := d.ReadToken(); err != nil {
		p.broken(raw, d, err)
		return
	}
	if len(bytes.TrimSpace(raw[d.InputOffset():])) > 0 {
		p.problem(fmt.Sprintf("line %d", lineAt(raw, d.InputOffset())), "something follows the table", "")
	}
}

func (p *importer) broken(raw []byte, d *jsontext.Decoder, err error) {
	p.problem(fmt.Sprintf("line %d", lineAt(raw, d.InputOffset())), "is not JSON: "+plain(err), "")
}

func (p *importer) liteEntry(where, key string, e *liteEntry) {
	if e.Input == nil && e.Output == nil {
		p.Skipped = append(p.Skipped, key)
		return
	}
	target := llm.Target{Provider: e.Provider, Model: strings.TrimPrefix(key, e.Provider+"/")}
	ok := target.Provider != "" && target.Model != ""
	if e.Provider == "" {
		target, ok = llm.ParseTarget(key)
	}
	if !ok {
		p.problem(where, "names no provider", `write "provider/model" as its key, or give it a litellm_provider`)
	}
	var given [9]*llm.Rate
	for i, f := range [...]struct {
		member string
		value  jsontext.Value
	}{
		{"input_cost_per_token", e.Input}, {"output_cost_per_token", e.Output},
		{"cache_read_input_token_cost", e.CacheRead}, {"cache_creation_input_token_cost", e.CacheWrite},
		{"cache_creation_input_token_cost_above_1hr", e.Hour}, {"input_cost_per_audio_token", e.Heard},
		{"cache_read_input_audio_token_cost", e.HeardRead}, {"output_cost_per_audio_token", e.Spoken}, {"output_cost_per_image_token", e.Pictures},
	} {
		rate, err := literalRate(f.value)
		if err != nil {
			p.liteRate(where+", "+f.member, f.value, err)
			ok = false
		}
		given[i] = rate
	}
	if !ok {
		return
	}
	var none llm.Rate
	input, output := orElse(given[0], &none), orElse(given[1], &none)
	if input == 0 && output == 0 {
		p.Skipped = append(p.Skipped, key)
		return
	}
	if e.Request != nil && e.Request.Kind() == '0' && strings.Trim(string(e.Request), "0.") != "" {
		p.warn(where, "costs something for each call, which this does not import", "set it: penstock price set "+target.String()+" --per-call DOLLARS")
	}
	if e.Above128k != nil || e.Above200k != nil {
		p.warn(where, "costs more for long prompts, which a price that is set cannot say",
			"all prompts will cost the base price; leave the model out to keep the catalogue's")
	}
	price := NewPrice(input, output, given[2], given[3])
	for i, to := range partRates(&price) { // zeros are as often what is not known
		*to = orElse(given[4+i], &none)
	}
	if fee, told := searchFee(e.Search); fee > 0 {
		price.Search = fee
	} else if told {
		p.warn(where, "has several prices for a search, which this does not import", "set the one that holds: penstock price set "+target.String()+" --per-search DOLLARS")
	}
	p.add(where, target, price)
}

// searchFee reads what a search costs if that is the same however much is found, in US dollars.
func searchFee(v jsontext.Value) (fee llm.Money, told bool) {
	var bySize map[string]jsontext.Value
	if v == nil || json.Unmarshal(v, &bySize) != nil || len(bySize) == 0 {
		return 0, false
	}
	first := true
	for _, text := range bySize {
		m, err := llm.ParseMoney(string(text))
		if err != nil || m > maxFee || !first && m != fee {
			return 0, true
		}
		fee, first = m, false
	}
	return fee, true
}

// literalRate reads a rate, nil if there is none.
func literalRate(v jsontext.Value) (*llm.Rate, error) {
	if v == nil || v.Kind() == 'n' {
		return nil, nil
	}
	if v.Kind() != '0' {
		return nil, errNotNumber
	}
	rate, err := RatePerToken(string(v))
	if err != nil {
		return nil, err
	}
	return &rate, nil
}

func (p *importer) liteRate(path string, v jsontext.Value, err error) {
	hint := "write US dollars per token, for example 1.5e-07"
	if errors.Is(err, errTooDear) {
		hint = mixedUp
	}
	p.problem(path, clip(string(v))+" "+err.Error(), hint)
}

func orElse(r, other *llm.Rate) llm.Rate {
	if r == nil {
		r = other
	}
	return *r
}

func lineAt(raw []byte, offset int64) int {
	return 1 + bytes.Count(raw[:min(offset, int64(len(raw)))], []byte("\n"))
}

// plain is an error of the JSON library without its own name.
func plain(err error) string {
	s := err.Error()
	for _, prefix := range []string{"jsontext: ", "json: "} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}
