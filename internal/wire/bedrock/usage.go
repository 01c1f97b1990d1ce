package bedrock

import (
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// maxCount is the largest number of tokens that is believed.
const maxCount = 1 << 40

// usageOf reads a usage object. The dialect counts cached tokens beside the others, and llm among them; it does not count those of
// reasoning. ok is false if neither of the two main counts is there.
func usageOf(value []byte) (u llm.Usage, ok bool) {
	input, output, total, read, write := int64(-1), int64(-1), int64(-1), int64(0), int64(0)
	var parts llm.Parts
	c := rawjson.Cursor{Text: value}
	for name := range c.Members() {
		switch string(name) {
		case "inputTokens":
			count(&c, &input)
		case "outputTokens":
			count(&c, &output)
		case "totalTokens":
			count(&c, &total)
		case "cacheReadInputTokens":
			count(&c, &read)
		case "cacheWriteInputTokens":
			count(&c, &write)
		case "cacheDetails":
			written(&c, &parts)
		}
	}
	if input < 0 && output < 0 {
		return u, false
	}
	write = max(write, parts.CacheWriteHour+parts.CacheWriteMinutes)
	u = llm.Usage{CachedInput: read, CacheWrite: write, Estimated: input < 0 || output < 0, Parts: parts}
	u.Input, u.Output = max(input, 0)+read+write, max(output, 0)
	if output < 0 && total >= u.Input {
		u.Output, u.Estimated = total-u.Input, false
	}
	return u, true
}

// written reads for how long what was written to the cache is kept.
func written(c *rawjson.Cursor, parts *llm.Parts) {
	for range c.Elements() {
		n, ttl := int64(0), ""
		for name := range c.Members() {
			switch string(name) {
			case "inputTokens":
				count(c, &n)
			case "ttl":
				if c.Kind() == '"' {
					ttl = string(rawjson.Unquoted(c.Value()))
				}
			}
		}
		switch ttl {
		case "1h":
			parts.CacheWriteHour = llm.Sum(parts.CacheWriteHour, n)
		case "5m":
			parts.CacheWriteMinutes = llm.Sum(parts.CacheWriteMinutes, n)
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
