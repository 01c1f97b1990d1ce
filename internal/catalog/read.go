package catalog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// An OverrideText is a price as a person sets it: in US dollars per million tokens, as decimal text. CachedInput and
// CacheWrite are as Input if they are empty, Source is "set" then.
type OverrideText struct {
	Target, Input, Output, CachedInput, CacheWrite, Source string

	PartTexts
	PerCall  string // US dollars, "" is nothing
	Hourly   string // US dollars, "" is nothing
	Variants []VariantText
}

// ReadOverride reads a price that is set now, or lists all that is wrong with it. Paths of problems are "target", "input",
// "output", "cached_input", "cache_write", those of [PartTexts], "per_call", "source" and those below "variants[N]".
func ReadOverride(in OverrideText, now time.Time) (o Override, problems []fault.Problem) {
	add := func(path, text, hint string) {
		problems = append(problems, fault.Problem{Path: path, Text: text, Hint: hint})
	}
	o = Override{Source: "set", Set: now.UTC().Truncate(time.Microsecond)} // as the store keeps it
	var ok bool
	if o.Target, ok = llm.ParseTarget(in.Target); !ok || !shown(in.Target, 256) {
		add("target", quote(in.Target)+" is not PROVIDER/MODEL", "")
	}
	if in.Source != "" {
		o.Source = in.Source
	}
	if !shown(o.Source, 128) {
		add("source", "is not up to 128 characters that can be seen", "")
	}
	var wrong []fault.Problem
	o.Price, wrong = readRates(in.Input, in.Output, in.CachedInput, in.CacheWrite)
	problems = append(problems, wrong...)
	problems = append(problems, in.read(&o.Price)...)
	problems = append(problems, checkParts(&o.Price)...)
	fee, err := readFee(in.PerCall, "call")
	if o.Price.Call = fee; err != nil {
		add("per_call", err.Error(), "")
	}
	if in.Hourly != "" {
		var err error
		if o.Hourly, err = llm.ParseMoney(in.Hourly); err != nil {
			add("hourly", err.Error(), "")
		} else if o.Hourly > maxHourly {
			add("hourly", "$"+o.Hourly.String()+" is over a million", "")
		}
		if o.Hourly > 0 && o.Price.Input == 0 && o.Price.Output == 0 && len(wrong) == 0 {
			add("hourly", "needs rates that say what a prompt token weighs against a generated one", "such as input 1 and output 4")
		}
	}
	o.Variants = readVariants(in.Variants, &o.Price, add)
	return o, problems
}

// maxFee is the most that can be set for each call, or search.
const maxFee = 1000 * llm.Dollar

// readFee reads what each call, or each of something else, costs beside its tokens; a text of "" is nothing.
func readFee(text, each string) (fee llm.Money, err error) {
	if text == "" {
		return 0, nil
	}
	if fee, err = llm.ParseMoney(text); err == nil && fee > maxFee {
		return 0, fmt.Errorf("$%s for each %s is over a thousand", fee, each)
	}
	return fee, err
}

// readRates reads the rates of a price, or lists all that is wrong with them.
func readRates(input, output, cachedInput, cacheWrite string) (p llm.Price, problems []fault.Problem) {
	add := func(path, text, hint string) {
		problems = append(problems, fault.Problem{Path: path, Text: text, Hint: hint})
	}
	var rates [4]*llm.Rate
	for i, part := range [...]struct{ name, text string }{
		{"input", input}, {"output", output}, {"cached_input", cachedInput}, {"cache_write", cacheWrite},
	} {
		must := i < 2
		switch {
		case part.text == "" && must:
			add(part.name, "is missing", "write 0 if it is free")
		case part.text != "":
			rate, err := llm.ParseRate(part.text)
			if err != nil {
				add(part.name, err.Error(), "")
			}
			rates[i] = &rate
		}
	}
	if len(problems) > 0 {
		return p, problems
	}
	p = NewPrice(*rates[0], *rates[1], rates[2], rates[3])
	return p, CheckPrice(p)
}

// shown reports whether a text can be shown in one line of a table: up to so many characters, all of which can be seen.
func shown(s string, most int) bool {
	return utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// quote writes what somebody sent so that it is seen whole and harmless, and not at any length.
func quote(s string) string {
	if len(s) > 128 {
		s = s[:128] + "..."
	}
	return strconv.Quote(s)
}
