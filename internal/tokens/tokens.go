// Package tokens counts tokens where the provider did not, and bounds them where nobody can count before a call.
//
// Texts for OpenAI's models are counted with OpenAI's own vocabularies. For all other models there is no public vocabulary
// that one could rely on: they are estimated from the count that OpenAI's newest vocabulary gives, by factors that were
// measured per family of models and kind of script ([family]). Every function says whether its number is exact.
//
// Counting is for the rare call whose usage is missing. It is not for billing what a provider has reported, and knows no
// prices (catalog). It is safe for concurrent use, and slow texts cannot hold up a request: the time grows with the length
// of a text and not faster, and beyond [MaxExact] a text is measured by samples, so that a count takes 50 ms at the very
// most.
package tokens

import "github.com/penstock/penstock/internal/llm"

// MaxExact is how many bytes of text are counted whole; of longer texts samples of so many bytes in all are counted.
// OpenAI's vocabulary takes about 8 ms for so much prose, and three to four times as long for the worst texts that are
// known. What the samples give is within 3 % for texts that are mixed of different things.
const MaxExact = 64 << 10

// Count counts the tokens of a text for a model, under whatever name its provider knows it. exact says that it is no
// estimate.
func Count[T string | []byte](model string, text T) (n int64, exact bool) {
	v, own := vocabularyOf(model)
	s := string(text)
	if len(s) > MaxExact {
		n = sampled(s, v.count)
	} else {
		n = v.count(s)
	}
	if own {
		return n, len(s) <= MaxExact
	}
	return min(familyOf(model).scale(n, s), int64(len(s))), false
}

// Bound is an upper bound of the tokens of a prompt whose text has so many bytes in so many messages, before anything is
// known of the model: no vocabulary in use makes more tokens than bytes, and no chat format known adds more than 16 to a
// message. Pictures come on top ([MaxImage]).
func Bound(bytes, messages int64) int64 {
	const perMessage = 16
	return bytes + perMessage*(messages+1) // one for the beginning of the answer
}

// Warm loads the vocabularies, which takes some 30 ms and 11 MB. Without it the first call that needs one waits for it.
func Warm() {
	for _, v := range []*vocabulary{o200k, cl100k} {
		v.count("")
	}
}

// A Counter is the package as a value.
type Counter struct{}

// Count is [Count].
func (Counter) Count(model string, text []byte) (n int64, exact bool) { return Count(model, text) }

// Prompt is [Prompt].
func (Counter) Prompt(model string, r *llm.Request) (n int64, exact bool) { return Prompt(model, r) }
