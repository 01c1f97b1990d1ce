package openai

import (
	"strconv"

	"github.com/penstock/penstock/internal/llm"
)

// maxCount is the largest number of tokens that is believed.
const maxCount = 1 << 40

// maxDigits is more digits than maxCount has.
const maxDigits = 20

// unreported is a count that the provider did not give.
const unreported = -1

// counts are the numbers of a usage object as the provider gave them.
type counts struct {
	prompt, completion, total       int64
	cached, cacheWritten, reasoning int64
	parts                           llm.Parts // 0 where they were not given
}

// usage reads the next value as a usage object, if it is one. One that is not in its proper place gives way to one that is.
func (s *scan) usage(proper bool) {
	if s.Kind() != '{' || !proper && s.bill {
		return
	}
	c := counts{
		prompt: unreported, completion: unreported, total: unreported, cached: unreported, cacheWritten: unreported, reasoning: unreported,
	}
	for name := range s.Members() {
		switch string(name) {
		case "prompt_tokens":
			s.count(&c.prompt)
		case "completion_tokens":
			s.count(&c.completion)
		case "total_tokens":
			s.count(&c.total)
		case "prompt_cache_hit_tokens", "cached_tokens": // DeepSeek, Moonshot
			s.count(&c.cached)
		case "prompt_tokens_details":
			s.details(&c, &c.parts.InputAudio, nil)
		case "completion_tokens_details":
			s.details(&c, &c.parts.OutputAudio, &c.parts.OutputImage)
		case "num_search_queries": // Perplexity
			s.count(&c.parts.Searches)
		}
	}
	if u, ok := c.usage(s.op); ok {
		s.ev.Usage = u
		s.ev.Has |= llm.UsageIn
	}
}

// details reads the parts of a count. Sound and pictures are those of what it is a part of; pictures of a prompt cost what its text does.
func (s *scan) details(c *counts, sound, pictures *int64) {
	for name := range s.Members() {
		switch string(name) {
		case "cached_tokens":
			s.count(&c.cached)
		case "cache_write_tokens":
			s.count(&c.cacheWritten)
		case "reasoning_tokens":
			s.count(&c.reasoning)
		case "audio_tokens":
			s.count(sound)
		case "image_tokens":
			if pictures != nil {
				s.count(pictures)
			}
		case "cached_tokens_details":
			for name := range s.Members() {
				if string(name) == "audio_tokens" {
					s.count(&c.parts.CachedAudio)
				}
			}
		}
	}
}

// count reads a value into n if it can be a number of tokens.
func (s *scan) count(n *int64) {
	value := s.Value()
	if v, err := strconv.ParseInt(string(value[:min(len(value), maxDigits)]), 10, 64); err == nil && v >= 0 && v <= maxCount {
		*n = v
	}
}

// usage makes of the counts what they mean; ok is false if neither of the two main counts is known.
//
// A whole is made to hold its parts: some providers leave cached tokens out of prompt_tokens, or reasoning out of
// completion_tokens, and only total_tokens, or the parts themselves, tell.
func (c counts) usage(op llm.Operation) (u llm.Usage, ok bool) {
	if op != llm.OpChat {
		c.completion, c.total = 0, unreported
	}
	if c.prompt == unreported && (c.completion == unreported || op != llm.OpChat) {
		return u, false
	}
	switch {
	case c.completion == unreported && c.total >= c.prompt:
		c.completion = c.total - c.prompt
	case c.prompt == unreported && c.total >= c.completion:
		c.prompt = c.total - c.completion
	}
	u = llm.Usage{
		Input: max(c.prompt, 0), Output: max(c.completion, 0),
		CachedInput: max(c.cached, 0), CacheWrite: max(c.cacheWritten, 0), Reasoning: max(c.reasoning, 0),
		Estimated: c.prompt == unreported || c.completion == unreported, Parts: c.parts,
	}
	cache, missing := u.CachedInput+u.CacheWrite, c.total-u.Input-u.Output
	switch {
	case missing > 0 && missing == cache, cache > u.Input:
		u.Input += cache
	case missing > 0:
		u.Output += missing
	case u.Reasoning > u.Output:
		u.Output += u.Reasoning
	}
	u.Input, u.Output = max(u.Input, cache), max(u.Output, u.Reasoning) // also where the numbers contradict each other
	return u, true
}
