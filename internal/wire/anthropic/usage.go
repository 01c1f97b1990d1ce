package anthropic

import (
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// maxCount is the largest number of tokens that is believed.
const maxCount = 1 << 40

// counts are the numbers of usage objects as the provider gave them; of a stream, the last of each. -1 was not given.
type counts struct {
	input, cacheRead, cacheWrite, output, thinking int64
	hour, minutes, searches                        int64     // of cacheWrite, what is kept so long; searches of the vendor's
	compacted                                      llm.Usage // of calls that the vendor made to compact the prompt
}

var nothingCounted = counts{input: -1, cacheRead: -1, cacheWrite: -1, output: -1, thinking: -1, hour: -1, minutes: -1, searches: -1}

// read reads the next value as a usage object, if it is one. meta, which may be nil, is told how and where the answer was served.
func (c *counts) read(at *rawjson.Cursor, meta *llm.Meta) {
	for name := range at.Members() {
		switch string(name) {
		case "iterations":
			c.iterations(at)
		case "service_tier":
			meta.ServedBy(word(at), nil)
		case "inference_geo":
			meta.ServedBy(nil, word(at))
		default:
			c.member(at, string(name))
		}
	}
}

// word reads a value that is a string, else nothing.
func word(at *rawjson.Cursor) []byte {
	if at.Kind() != '"' {
		return nil
	}
	return rawjson.Unquoted(at.Value())
}

func (c *counts) member(at *rawjson.Cursor, name string) {
	switch name {
	case "input_tokens":
		count(at, &c.input)
	case "cache_read_input_tokens":
		count(at, &c.cacheRead)
	case "cache_creation_input_tokens":
		count(at, &c.cacheWrite)
	case "output_tokens":
		count(at, &c.output)
	case "cache_creation":
		for name := range at.Members() {
			switch string(name) {
			case "ephemeral_1h_input_tokens":
				count(at, &c.hour)
			case "ephemeral_5m_input_tokens":
				count(at, &c.minutes)
			}
		}
	case "server_tool_use":
		for name := range at.Members() {
			if string(name) == "web_search_requests" {
				count(at, &c.searches)
			}
		}
	case "output_tokens_details":
		for name := range at.Members() {
			if string(name) == "thinking_tokens" {
				count(at, &c.thinking)
			}
		}
	}
}

// iterations reads what a call consisted of. What was compacted is billed, and not in the counts of the whole (the vendor's own SDKs
// say so); all else is in them.
func (c *counts) iterations(at *rawjson.Cursor) {
	c.compacted = llm.Usage{}
	for range at.Elements() {
		one, kind := nothingCounted, ""
		whole := *at
		for name := range whole.Members() {
			if string(name) == typeField {
				kind = str(whole.Value())
			}
		}
		if kind != "compaction" {
			continue
		}
		for name := range at.Members() {
			one.member(at, string(name))
		}
		if u, ok := one.usage(); ok {
			c.compacted = c.compacted.Add(u)
		}
	}
}

// count reads a value into n if it can be a number of tokens.
func count(at *rawjson.Cursor, n *int64) {
	value := at.Value()
	if v, err := strconv.ParseInt(string(value[:min(len(value), 20)]), 10, 64); err == nil && v >= 0 && v <= maxCount {
		*n = v
	}
}

// usage is what the counts mean: the dialect counts cached tokens beside the others, and llm among them. ok is false if neither
// of the two main counts is known.
func (c counts) usage() (u llm.Usage, ok bool) {
	if c.input < 0 && c.output < 0 {
		return u, false
	}
	u = llm.Usage{
		CachedInput: max(c.cacheRead, 0), CacheWrite: max(c.cacheWrite, 0), Output: max(c.output, 0), Reasoning: max(c.thinking, 0),
		Estimated: c.input < 0 || c.output < 0,
	}
	u.Parts = llm.Parts{CacheWriteHour: max(c.hour, 0), CacheWriteMinutes: max(c.minutes, 0), Searches: max(c.searches, 0)}
	u.CacheWrite = max(u.CacheWrite, u.CacheWriteHour+u.CacheWriteMinutes) // also where the numbers contradict each other
	u.Input = max(c.input, 0) + u.CachedInput + u.CacheWrite
	u.Output = max(u.Output, u.Reasoning)
	return u.Add(c.compacted), true
}
