package tokens

import (
	"strings"
	"sync"
	"unicode"

	"github.com/tiktoken-go/tokenizer"
)

// A vocabulary counts tokens by one of OpenAI's vocabularies. It is loaded when first used.
type vocabulary struct{ load func() tokenizer.Codec }

var (
	o200k  = &vocabulary{lazily(tokenizer.O200kBase)}
	cl100k = &vocabulary{lazily(tokenizer.Cl100kBase)}
)

func lazily(e tokenizer.Encoding) func() tokenizer.Codec {
	return sync.OnceValue(func() tokenizer.Codec {
		c, err := tokenizer.Get(e)
		if err != nil {
			panic("the vocabulary " + string(e) + " is not in the binary") // a test loads it
		}
		return c
	})
}

// vocabularyOf gives the vocabulary for a model. own is false for models that are not OpenAI's; the vocabulary is then the
// one that estimates start from.
func vocabularyOf(model string) (v *vocabulary, own bool) {
	m := baseName(model)
	for _, x := range openAI {
		if rest, ok := strings.CutPrefix(m, x.prefix); ok && (rest == "" || !x.whole || rest[0] == '-') {
			return x.vocabulary, true
		}
	}
	return o200k, false
}

// openAI has the beginnings of OpenAI's names of models, longer ones before shorter ones. whole ones end at a hyphen.
var openAI = []struct {
	prefix     string
	whole      bool
	vocabulary *vocabulary
}{
	{"gpt-5", false, o200k},
	{"gpt-4o", false, o200k},
	{"gpt-4.1", false, o200k},
	{"gpt-4.5", false, o200k},
	{"gpt-oss", true, o200k},
	{"gpt-audio", true, o200k},
	{"gpt-realtime", true, o200k},
	{"chatgpt", true, o200k},
	{"codex-mini", true, o200k},
	{"computer-use-preview", true, o200k},
	{"o1", true, o200k},
	{"o3", true, o200k},
	{"o4", true, o200k},
	{"gpt-4", true, cl100k},
	{"gpt-3.5-turbo", true, cl100k},
	{"gpt-35-turbo", true, cl100k}, // Azure's spelling
	{"text-embedding-3", true, cl100k},
	{"text-embedding-ada-002", true, cl100k},
	{"babbage-002", true, cl100k},
	{"davinci-002", true, cl100k},
}

// baseName takes off what providers put before the name that a model's maker gave it: "openai/gpt-oss-120b",
// "openai.gpt-oss-120b-1:0", "ft:gpt-4o-mini-2024-07-18:acme::x".
func baseName(model string) string {
	m := strings.ToLower(model)
	m = m[strings.LastIndexByte(m, '/')+1:]
	m = strings.TrimPrefix(m, "ft:")
	return strings.TrimPrefix(m, "openai.")
}

// count counts a text whole.
func (v *vocabulary) count(text string) int64 {
	c := v.load()
	n := int64(strings.Count(text, "\x7f")) // a token of its own, which the library leaves out
	for len(text) > 0 {
		cut := cutBlank(text)
		k, err := c.Count(text[:cut])
		if err != nil {
			return n + int64(len(text)) // only a matcher with a timeout fails, and this one has none
		}
		n += int64(k)
		text = text[cut:]
	}
	return n
}

// longestBlank is how long a run of white space may grow before it is cut.
const longestBlank = 64

// cutBlank gives where to end a piece of text, most often at its end. The vocabularies' way of splitting text takes
// quadratic time for long runs of white space in which line breaks and blanks alternate (two seconds for 50,000 bytes).
// Between a line break and a blank a cut changes nothing, because no token spans them.
func cutBlank(text string) int {
	begin, broken := -1, false // where the run began, and whether the character before was a line break
	for i, r := range text {
		if !unicode.IsSpace(r) {
			begin, broken = -1, false
			continue
		}
		if begin < 0 {
			begin = i
		}
		isBreak := r == '\n' || r == '\r'
		if broken && !isBreak && i-begin >= longestBlank {
			return i
		}
		broken = isBreak
	}
	return len(text)
}

// sampled estimates a count of a long text from windows that lie evenly over it and have [MaxExact] bytes in all.
func sampled(text string, count func(string) int64) int64 {
	const windows = 32
	const size = MaxExact / windows
	var tokens, bytes int64
	for i := range windows {
		begin := (len(text) - size) / (windows - 1) * i
		window := text[wordStart(text, begin):wordStart(text, begin+size)]
		tokens += count(window)
		bytes += int64(len(window))
	}
	return scaled(tokens, int64(len(text)), bytes)
}

// wordStart is where the next word begins at or soon after i, so that windows do not cut words and characters apart.
func wordStart(text string, i int) int {
	const far = 64
	end := min(i+far, len(text))
	if blank := strings.IndexByte(text[i:end], ' '); blank >= 0 {
		return i + blank
	}
	for i < end && text[i]&0xC0 == 0x80 { // inside a character
		i++
	}
	return i
}

// scaled is n times up over down, rounded up.
func scaled(n, up, down int64) int64 {
	if down == 0 {
		return 0
	}
	return (n*up + down - 1) / down
}
