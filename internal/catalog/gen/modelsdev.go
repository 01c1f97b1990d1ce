package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/llm"
)

// A devModel is a line of models.dev's table, as far as it is of use. Costs are US dollars per million tokens; they are
// kept as text, because a float has lost the exact number already.
type devModel struct {
	Provider   string   `json:"provider"`
	ID         string   `json:"id"`
	Released   string   `json:"release_date"`
	Tools      bool     `json:"tool_call"`
	Reasoning  bool     `json:"reasoning"`
	Structured bool     `json:"structured_output"`
	Cost       *devCost `json:"cost"`
	Limit      struct {
		Context int64 `json:"context"`
		Output  int64 `json:"output"`
	} `json:"limit"`
	Modalities struct {
		Input  []string `json:"input"`
		Output []string `json:"output"`
	} `json:"modalities"`
}

type devRates struct {
	Input      jsontext.Value `json:"input"`
	Output     jsontext.Value `json:"output"`
	CacheRead  jsontext.Value `json:"cache_read"`
	CacheWrite jsontext.Value `json:"cache_write"`
}

type devCost struct {
	devRates     `json:",inline"`
	CachedInput  jsontext.Value `json:"cached_input"` // what some entries call cache_read ...
	CacheInput   jsontext.Value `json:"cache_input"`
	CachedWrite  jsontext.Value `json:"cached_write"` // ... and cache_write
	Reasoning    jsontext.Value `json:"reasoning"`
	AudioInput   jsontext.Value `json:"input_audio"`
	AudioOutput  jsontext.Value `json:"output_audio"`
	PerThousand  jsontext.Value `json:"request"`
	PerCitations jsontext.Value `json:"citation"`
	Tiers        []struct {
		Tier struct {
			Size int64 `json:"size"`
		} `json:"tier"`
		devRates `json:",inline"`
	} `json:"tiers"`
}

func readModelsDev(path string) ([]catalog.Model, error) {
	raw, err := open(path)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for _, v := range all {
		names[v.modelsDev] = v.name
	}
	delete(names, "")
	var models []catalog.Model
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		var x devModel
		err := json.UnmarshalDecode(d, &x)
		if errors.Is(err, io.EOF) {
			return models, nil
		}
		if err != nil {
			return nil, err
		}
		vendor := names[x.Provider]
		if vendor == "" || !x.writes() {
			continue
		}
		m, err := x.model(vendor)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", x.Provider, x.ID, err)
		}
		models = append(models, m)
	}
}

// writes reports whether the model takes and gives text: what makes only pictures, films or speech is not called by chat.
func (x *devModel) writes() bool {
	return slices.Contains(x.Modalities.Input, "text") && slices.Contains(x.Modalities.Output, "text") && x.Limit.Output > 0
}

func (x *devModel) model(vendor string) (catalog.Model, error) {
	m := catalog.Model{
		Vendor: vendor, Name: x.ID, Context: x.Limit.Context, MaxOutput: x.Limit.Output, Abilities: x.abilities(),
		Released: x.Released, Source: sources[0].String(),
	}
	if m.Can(catalog.Embeddings) {
		m.MaxOutput = 0 // the table has the length of the vectors here
	}
	if x.Cost == nil {
		return m, nil
	}
	b := priceBuilder{text: catalog.RatePerMillion, note: &m.Note, silent: m.Can(catalog.Embeddings)}
	c := x.Cost
	c.CacheRead = first(c.CacheRead, c.CachedInput, c.CacheInput)
	c.CacheWrite = first(c.CacheWrite, c.CachedWrite)
	m.Price = b.price(c.Input, c.Output, c.CacheRead, c.CacheWrite)
	b.dearerReasoning(m.Price, c.Reasoning)
	last, over := m.Price, int64(0)
	for _, t := range c.Tiers {
		if last == nil || t.Tier.Size <= over {
			return m, fmt.Errorf("tiers without a base price or out of order")
		}
		last.Long, last.LongOver = b.price(t.Input, t.Output, t.CacheRead, t.CacheWrite), t.Tier.Size
		last, over = last.Long, t.Tier.Size
	}
	b.sound(m.Price, c.AudioInput, c.AudioOutput)
	b.apart("fee of requests", c.PerThousand, "per 1,000")
	b.apart("citations", c.PerCitations, "per million tokens")
	return m, b.err
}

func (x *devModel) abilities() []string {
	id := strings.ToLower(x.ID)
	if strings.Contains(id, "embed") || strings.HasPrefix(id, "bge-") || strings.Contains(id, "/bge-") {
		return []string{catalog.Embeddings}
	}
	takes := func(what string) bool { return slices.Contains(x.Modalities.Input, what) }
	gives := func(what string) bool { return slices.Contains(x.Modalities.Output, what) }
	return abilities(map[string]bool{
		catalog.Tools: x.Tools, catalog.Reasoning: x.Reasoning, catalog.JSONSchema: x.Structured,
		catalog.Vision: takes("image"), catalog.Audio: takes("audio"), catalog.Video: takes("video"),
		catalog.PDF: takes("pdf"), catalog.ImageOutput: gives("image"), catalog.AudioOutput: gives("audio"),
	})
}

// abilities lists those that are true, in one order for all models.
func abilities(has map[string]bool) []string {
	var list []string
	for _, a := range []string{
		catalog.Tools, catalog.Reasoning, catalog.JSONSchema, catalog.Vision, catalog.Audio, catalog.Video, catalog.PDF,
		catalog.ImageOutput, catalog.AudioOutput,
	} {
		if has[a] {
			list = append(list, a)
		}
	}
	return list
}

func first(values ...jsontext.Value) jsontext.Value {
	for _, v := range values {
		if v != nil {
			return v
		}
	}
	return nil
}

// A priceBuilder makes prices by the rules of package catalog. It keeps the first error.
type priceBuilder struct {
	text func(string) (llm.Rate, error) // reads a rate in the table's unit
	note *string
	// silent says that the model puts out no text, so that a rate of zero for output is true.
	silent bool
	err    error
}

func (b *priceBuilder) rate(v jsontext.Value) llm.Rate {
	if v == nil || v.Kind() == 'n' {
		return 0
	}
	r, err := b.text(string(v))
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("rate %s %w", v, err)
	}
	return r
}

// price is nil if a rate is zero or missing that cannot be: then it was not published, or is a fee on top of another price.
func (b *priceBuilder) price(input, output, cached, write jsontext.Value) *llm.Price {
	p := llm.Price{Input: b.rate(input), Output: b.rate(output), CachedInput: b.rate(cached), CacheWrite: b.rate(write)}
	if p.Input == 0 || p.Output == 0 && !b.silent {
		return nil
	}
	if p.CachedInput == 0 {
		p.CachedInput = p.Input
	}
	p.CacheWrite = max(p.CacheWrite, p.Input)
	return &p
}

func (b *priceBuilder) dearerReasoning(p *llm.Price, reasoning jsontext.Value) {
	if r := b.rate(reasoning); p != nil && r > p.Output {
		b.add(fmt.Sprintf("output is billed at the rate of answers with reasoning; without it is $%s", p.Output.PerMillion()))
		p.Output = r
	}
}

// sound puts in what sound costs, where that is not what text does.
func (b *priceBuilder) sound(p *llm.Price, heard, spoken jsontext.Value) {
	if p == nil {
		return
	}
	if r := b.rate(heard); r != p.Input {
		p.InputAudio = r
	}
	if r := b.rate(spoken); r != p.Output {
		p.OutputAudio = r
	}
}

// apart notes a rate that the price cannot hold.
func (b *priceBuilder) apart(what string, v jsontext.Value, unit string) {
	if r := b.rate(v); r > 0 {
		b.add(fmt.Sprintf("%s ($%s %s) not in the price", what, r.PerMillion(), unit))
	}
}

func (b *priceBuilder) add(note string) {
	if *b.note != "" {
		*b.note += "; "
	}
	*b.note += note
}
