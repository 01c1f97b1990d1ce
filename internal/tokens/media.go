package tokens

import (
	"bytes"
	"image"
	_ "image/gif"  // the formats of which the size is read
	_ "image/jpeg" //
	_ "image/png"  //
	"strings"

	"github.com/penstock/penstock/internal/llm"
)

// An imageRule is how a family of models turns a picture into tokens, as its maker documents it. All of them are rough
// here: pictures are scaled first, and rules change from model to model.
type imageRule struct {
	prefix string // of the model's name
	// Tiles of 512 pixels after scaling to 2,048 pixels and then to 768 on the shorter side: base + tile for each.
	base, tile int64
	// Patches of 32 pixels, at most 1,536 of them, times patch in hundredths.
	patch int64
}

// imageRules has longer names before shorter ones. The last is taken for models that are not listed.
var imageRules = []imageRule{
	{prefix: "gpt-5-mini", patch: 162},
	{prefix: "gpt-5-nano", patch: 246},
	{prefix: "gpt-5", base: 70, tile: 140},
	{prefix: "gpt-4.1-mini", patch: 162},
	{prefix: "gpt-4.1-nano", patch: 246},
	{prefix: "gpt-4o-mini", base: 2833, tile: 5667},
	{prefix: "o4-mini", patch: 172},
	{prefix: "o1", base: 75, tile: 150},
	{prefix: "o3", base: 75, tile: 150},
	{base: 85, tile: 170},
}

// Sizes of a picture that is not at hand, and the largest that is believed.
const (
	usualSide   = 1024
	longestSide = 1 << 15
)

// Medium estimates an image, a recording or a document, as [Prompt] does.
func Medium(model string, p *llm.Part) int64 {
	switch p.Kind {
	case llm.PartImage:
		return imageTokens(model, p)
	case llm.PartAudio:
		return audioTokens(p)
	case llm.PartFile:
		return fileTokens(p)
	}
	return 0
}

// imageTokens estimates a picture. Its size is read from its first bytes where they are at hand.
func imageTokens(model string, p *llm.Part) int64 {
	w, h := int64(usualSide), int64(usualSide)
	if c, _, err := image.DecodeConfig(bytes.NewReader(p.Data)); err == nil && c.Width > 0 && c.Height > 0 {
		w, h = min(int64(c.Width), longestSide), min(int64(c.Height), longestSide)
	}
	m := baseName(model)
	switch {
	case strings.Contains(m, "claude"): // scaled to 1,568 pixels on the longer side and about 1.15 megapixels
		return min(w*h/750+1, 1600)
	case strings.Contains(m, "gemini"), strings.Contains(m, "gemma"):
		if w <= 384 && h <= 384 {
			return 258
		}
		return min(258*ceil(w, 768)*ceil(h, 768), MaxImage(model))
	}
	rule := imageRuleOf(m)
	if rule.patch > 0 {
		return scaled(min(ceil(w, 32)*ceil(h, 32), 1536), rule.patch, 100)
	}
	if p.Detail == "low" {
		return rule.base
	}
	w, h = fit(w, h, 2048, max(w, h))
	w, h = fit(w, h, 768, min(w, h))
	return rule.base + rule.tile*ceil(w, 512)*ceil(h, 512)
}

func imageRuleOf(model string) imageRule {
	for _, r := range imageRules {
		if strings.HasPrefix(model, r.prefix) {
			return r
		}
	}
	return imageRules[len(imageRules)-1] // not reached: the last has no prefix
}

// MaxImage is an upper bound of the tokens of one picture for a model of OpenAI, and an estimate of that for others.
func MaxImage(model string) int64 {
	m := baseName(model)
	switch rule := imageRuleOf(m); {
	case strings.Contains(m, "gemini"), strings.Contains(m, "gemma"):
		return 258 * 64 // eight by eight tiles: larger ones are scaled
	case strings.Contains(m, "claude"):
		return 5000 // the newest read more closely than the rule above says
	case rule.patch > 0:
		return scaled(1536, rule.patch, 100)
	default:
		return rule.base + rule.tile*8 // four by two tiles
	}
}

// fit scales a picture down so that side, which is one of its sides, is no longer than limit.
func fit(w, h, limit, side int64) (width, height int64) {
	if side <= limit {
		return w, h
	}
	return max(w*limit/side, 1), max(h*limit/side, 1)
}

func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }

// audioTokens estimates sound: ten tokens a second, with 16 kB a second as for a common MP3.
func audioTokens(p *llm.Part) int64 { return ceil(int64(len(p.Data)), 1600) + 1 }

// fileTokens estimates a document: a page of text or two if it is not at hand, else a token for 20 bytes, as for PDF files
// with more text than pictures.
func fileTokens(p *llm.Part) int64 {
	if len(p.Data) == 0 {
		return 1500
	}
	return ceil(int64(len(p.Data)), 20)
}
