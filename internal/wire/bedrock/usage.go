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
		}
	}
	if input < 0 && output < 0 {
		return u, false
	}
	u = llm.Usage{CachedInput: read, CacheWrite: write, Estimated: input < 0 || output < 0}
	u.Input, u.Output = max(input, 0)+read+write, max(output, 0)
	if output < 0 && total >= u.Input {
		u.Output, u.Estimated = total-u.Input, false
	}
	return u, true
}

// count reads a value into n if it can be a number of tokens.
func count(at *rawjson.Cursor, n *int64) {
	value := at.Value()
	if v, err := strconv.ParseInt(string(value[:min(len(value), 20)]), 10, 64); err == nil && v >= 0 && v <= maxCount {
		*n = v
	}
}
