package catalog

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// An Import is what a file with prices holds.
type Import struct {
	// Prices are in the order of the file. There are none if there are Problems.
	Prices []Override
	// Problems are all mistakes in the file; with even one of them nothing is to be imported.
	Problems []fault.Problem
	// Warnings are what should be looked at before the prices are used.
	Warnings []fault.Problem
	// Skipped are the entries of a LiteLLM table without a price by token.
	Skipped []string
}

// Bounds of an imported file. No price list comes near them; they keep a wrong file from filling memory.
const (
	maxImportBytes = 64 << 20
	maxProblems    = 1000
)

// ParseImport reads a file with prices whole, in one of two forms:
//
//   - CSV, a line "provider/model,input,output,cached_input,cache_write,per_call" and the parts of [PartTexts] per price in US dollars
//     per million tokens, and for each call or search. Those after output may be empty or left out; a line that names the columns may
//     come first.
//   - LiteLLM's price table, a JSON object with an entry per model, in US dollars per token.
//
// source and now go into the overrides.
func ParseImport(r io.Reader, source string, now time.Time) Import {
	p := importer{source: source, now: now, seen: map[llm.Target]string{}}
	raw, err := io.ReadAll(io.LimitReader(r, maxImportBytes+1))
	raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
	switch {
	case err != nil:
		p.problem("", "cannot be read: "+err.Error(), "")
	case len(raw) > maxImportBytes:
		p.problem("", fmt.Sprintf("is over %d MB", maxImportBytes>>20), "import it in parts")
	case bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")):
		p.liteLLM(raw)
	default:
		p.csv(raw)
	}
	if len(p.Problems) == 0 && len(p.Prices) == 0 {
		p.problem("", "there is no price in it", "")
	}
	if len(p.Problems) > 0 {
		p.Prices = nil
	}
	return p.Import
}

// An importer gathers what it finds in a file.
type importer struct {
	Import
	source string
	now    time.Time
	seen   map[llm.Target]string // where a target was first
}

func (p *importer) problem(path, text, hint string) {
	if len(p.Problems) == maxProblems {
		text, path, hint = "there are more problems, which are not shown", "", ""
	}
	if len(p.Problems) <= maxProblems {
		p.Problems = append(p.Problems, fault.Problem{Path: path, Text: text, Hint: hint})
	}
}

func (p *importer) warn(path, text, hint string) {
	p.Warnings = append(p.Warnings, fault.Problem{Path: path, Text: text, Hint: hint})
}

// add takes a price over unless its target was there before.
func (p *importer) add(path string, t llm.Target, price llm.Price) {
	if before, ok := p.seen[t]; ok {
		p.problem(path, fmt.Sprintf("%s has a price already, at %s", t, before), "keep one of them")
		return
	}
	p.seen[t] = path
	if cheap(price.Input) || cheap(price.Output) {
		p.warn(path, fmt.Sprintf("%s costs less than any known model (input $%s, output $%s per million tokens)",
			t, price.Input.PerMillion(), price.Output.PerMillion()), mixedUp)
	}
	p.Prices = append(p.Prices, Override{Target: t, Price: price, Set: p.now, Source: p.source})
}

// mixedUp is the commonest mistake with prices, and off by a million.
const mixedUp = "are prices per token and per million tokens mixed up?"

// cheap reports rates that are above nothing and still lower than those of any model: the cheapest there is costs some
// thousand pico-dollars.
func cheap(r llm.Rate) bool { return r > 0 && r < 1000 }

// Suspicious compares prices with those that are in force and reports each that is over a hundred times higher or lower:
// most likely somebody has mixed up prices per token and per million. now gives the price in force, as [View.Price] does.
func Suspicious(prices []Override, now func(llm.Target) (llm.Price, bool)) []fault.Problem {
	var list []fault.Problem
	for _, o := range prices {
		present, ok := now(o.Target)
		if !ok {
			continue
		}
		for _, r := range [...]struct {
			what     string
			old, new llm.Rate
		}{{"input", present.Input, o.Price.Input}, {"output", present.Output, o.Price.Output}} {
			if r.old == 0 || r.new == 0 || r.old/100 <= r.new && r.new/100 <= r.old {
				continue
			}
			list = append(list, fault.Problem{
				Path: o.Target.String(),
				Text: fmt.Sprintf("%s goes from $%s to $%s per million tokens", r.what, r.old.PerMillion(), r.new.PerMillion()),
				Hint: mixedUp,
			})
		}
	}
	return list
}

// NewPrice makes a price from the rates that somebody gave; those for cached and cache-written tokens that are nil are
// the input rate, so that what is not known is not billed too low.
func NewPrice(input, output llm.Rate, cached, cacheWrite *llm.Rate) llm.Price {
	p := llm.Price{Input: input, Output: output, CachedInput: input, CacheWrite: input}
	if cached != nil {
		p.CachedInput = *cached
	}
	if cacheWrite != nil {
		p.CacheWrite = *cacheWrite
	}
	return p
}

// CheckPrice lists what is wrong with a price that somebody wants to set: rates that are negative or over [MaxRate].
func CheckPrice(p llm.Price) []fault.Problem {
	var list []fault.Problem
	for _, r := range [...]struct {
		name string
		rate llm.Rate
	}{{"input", p.Input}, {"output", p.Output}, {"cached_input", p.CachedInput}, {"cache_write", p.CacheWrite}} {
		switch {
		case r.rate < 0:
			list = append(list, fault.Problem{Path: r.name, Text: strconv.FormatInt(int64(r.rate), 10) + " is negative"})
		case r.rate > MaxRate:
			list = append(list, fault.Problem{
				Path: r.name, Text: "$" + r.rate.PerMillion() + " is over $10,000 per million tokens", Hint: mixedUp,
			})
		}
	}
	return list
}
