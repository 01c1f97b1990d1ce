package gemini

import (
	"strconv"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/rawjson"
)

// maxCount is the largest number of tokens that is believed.
const maxCount = 1 << 40

// usageOf reads what was counted. The dialect counts reasoning beside the rest of what was generated, and the prompts of tools that
// it runs itself beside the caller's; llm counts both among them. Whether the first count holds the second, endpoints do not agree:
// the total tells. spoken says that something was generated, which must be counted. ok is false if no count is there.
func usageOf(value []byte, spoken bool) (u llm.Usage, ok bool) {
	const unknown = -1
	prompt, said, thought, total, cached, tools := int64(unknown), int64(unknown), int64(unknown), int64(unknown), int64(0), int64(0)
	var parts llm.Parts
	c := rawjson.Cursor{Text: value}
	for name := range c.Members() {
		switch string(name) {
		case "promptTokensDetails", "toolUsePromptTokensDetails":
			sound, _ := modalities(&c)
			parts.InputAudio += sound
		case "cacheTokensDetails":
			parts.CachedAudio, _ = modalities(&c)
		case "candidatesTokensDetails":
			parts.OutputAudio, parts.OutputImage = modalities(&c)
		case "promptTokenCount":
			count(&c, &prompt)
		case "candidatesTokenCount":
			count(&c, &said)
		case "thoughtsTokenCount":
			count(&c, &thought)
		case "totalTokenCount":
			count(&c, &total)
		case "cachedContentTokenCount":
			count(&c, &cached)
		case "toolUsePromptTokenCount":
			count(&c, &tools)
		}
	}
	if prompt == unknown && said == unknown && thought == unknown {
		return u, false
	}
	least, most := max(said, 0), max(said, 0)+max(thought, 0)
	u = llm.Usage{
		Input: max(prompt, 0) + tools, Output: most, CachedInput: cached, Reasoning: max(thought, 0),
		Estimated: prompt == unknown || spoken && said == unknown && thought == unknown, Parts: parts,
	}
	switch rest := total - u.Input; {
	case prompt == unknown:
	case rest >= least && rest <= most:
		u.Output = rest
	case said == unknown && rest > most:
		u.Output, u.Estimated = rest, false
	}
	u.Input, u.Output = max(u.Input, u.CachedInput), max(u.Output, u.Reasoning) // also where the numbers contradict each other
	return u, true
}

// modalities reads how many of some tokens are sound and pictures.
func modalities(c *rawjson.Cursor) (sound, pictures int64) {
	for range c.Elements() {
		n, kind := int64(0), byte(0)
		for name := range c.Members() {
			switch string(name) {
			case "tokenCount":
				count(c, &n)
			case "modality":
				switch string(c.Value()) {
				case `"AUDIO"`:
					kind = 'a'
				case `"IMAGE"`:
					kind = 'i'
				}
			}
		}
		switch kind {
		case 'a':
			sound = llm.Sum(sound, n)
		case 'i':
			pictures = llm.Sum(pictures, n)
		}
	}
	return sound, pictures
}

// tierOf is how an answer was served: Gemini's API names the tier, Vertex the kind of traffic. nil if neither is said.
func tierOf(value []byte) (word []byte) {
	c := rawjson.Cursor{Text: value}
	for name := range c.Members() {
		switch string(name) {
		case "serviceTier", "trafficType":
			if c.Kind() == '"' {
				word = rawjson.Unquoted(c.Value())
			}
		}
	}
	return word
}

// count reads a value into n if it can be a number of tokens.
func count(at *rawjson.Cursor, n *int64) {
	value := at.Value()
	if v, err := strconv.ParseInt(string(value[:min(len(value), 20)]), 10, 64); err == nil && v >= 0 && v <= maxCount {
		*n = v
	}
}
