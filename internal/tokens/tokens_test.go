package tokens

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Texts whose number of tokens OpenAI's own documentation gives, or that anyone can look up with its tokenizer.
func TestCountIsExactForOpenAI(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model, text string
		want        int64
	}{
		{"gpt-4o", "", 0},
		{"gpt-4o", "hello world", 2},
		{"gpt-4", "hello world", 2},
		{"gpt-4", "tiktoken is great!", 6},
		{"gpt-4", "antidisestablishmentarianism", 6},
		{"gpt-4o", "antidisestablishmentarianism", 6},
		{"gpt-4", "2 + 2 = 4", 7},
		{"gpt-4o", "2 + 2 = 4", 7},
		{"gpt-4", "お誕生日おめでとう", 9},
		{"gpt-4o", "お誕生日おめでとう", 8},
		{"text-embedding-3-small", "お誕生日おめでとう", 9},
		{"gpt-4o", "a\x7fb", 3},
		{"gpt-4o", "<|endoftext|>", 7}, // a caller's text is never taken for a mark of the format
	} {
		if n, exact := Count(c.model, c.text); n != c.want || !exact {
			t.Errorf("%s: %q has %d tokens, exact %t; want %d, exactly", c.model, c.text, n, exact, c.want)
		}
		if n, _ := Count(c.model, []byte(c.text)); n != c.want {
			t.Errorf("%s: the bytes of %q have %d tokens, want %d", c.model, c.text, n, c.want)
		}
	}
}

func TestVocabularies(t *testing.T) {
	t.Parallel()
	for model, want := range map[string]*vocabulary{
		"gpt-5": o200k, "gpt-5.4-mini-2026-03-17": o200k, "gpt-4.1-nano": o200k, "gpt-4o-mini": o200k,
		"chatgpt-4o-latest": o200k, "o1": o200k, "o3-mini": o200k, "o4-mini-2025-04-16": o200k, "gpt-oss-120b": o200k,
		"openai/gpt-oss-20b": o200k, "openai.gpt-oss-120b-1:0": o200k, "GPT-4o": o200k,
		"ft:gpt-4o-mini-2024-07-18:acme::9Xyz": o200k,
		"gpt-4":                                cl100k, "gpt-4-0613": cl100k, "gpt-4-turbo": cl100k, "gpt-3.5-turbo-0125": cl100k,
		"gpt-35-turbo": cl100k, "ft:gpt-3.5-turbo-0125:acme::9Xyz": cl100k, "text-embedding-3-large": cl100k,
		"text-embedding-ada-002": cl100k,
	} {
		if got, own := vocabularyOf(model); got != want || !own {
			t.Errorf("%s has the wrong vocabulary, or is not taken for OpenAI's", model)
		}
	}
	for _, model := range []string{"", "claude-haiku-4-5", "o1js", "o30", "gpt-6", "gpt-4x", "gpt-neo-2.7b", "llama-3", "text-embedding-004"} {
		if _, own := vocabularyOf(model); own {
			t.Errorf("%s is taken for OpenAI's", model)
		}
	}
}

// The true counts were made with each family's published vocabulary, without marks for beginning and end.
func TestEstimatesAreNear(t *testing.T) {
	t.Parallel()
	files := []string{"english.txt", "code.txt", "data.txt", "german.txt", "russian.txt", "chinese.txt", "japanese.txt"}
	bounds := []float64{0.15, 0.15, 0.15, 0.15, 0.15, 0.15, 0.20}
	for model, want := range map[string][]int64{
		"meta-llama/Llama-3.3-70B-Instruct": {336, 319, 241, 179, 150, 147, 133},
		"qwen3-32b":                         {338, 320, 341, 177, 161, 112, 124},
		"deepseek-chat":                     {337, 332, 251, 169, 156, 105, 126},
		"gemma-3-27b-it":                    {340, 388, 350, 149, 138, 125, 106},
		"mistral-small-latest":              {342, 330, 353, 148, 145, 159, 135},
		"open-mixtral-8x7b":                 {365, 415, 359, 196, 193, 195, 196},
	} {
		for i, file := range files {
			n, exact := Count(model, read(t, file))
			if off := float64(n)/float64(want[i]) - 1; exact || off < -bounds[i] || off > bounds[i] {
				t.Errorf("%s, %s: estimated %d tokens, counted %d: %+.1f %% (exact: %t)", model, file, n, want[i], 100*off, exact)
			}
		}
	}
}

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnknownModelsAreEstimatedOnTheHighSide(t *testing.T) {
	t.Parallel()
	text := read(t, "english.txt")
	base, _ := Count("gpt-4o", text)
	for _, model := range []string{"claude-haiku-4-5", "command-a-03-2025", "house-model", ""} {
		n, exact := Count(model, text)
		if off := float64(n)/float64(base) - 1; exact || off < 0.05 || off > 0.15 {
			t.Errorf("%q: %d tokens (exact: %t), where gpt-4o has %d", model, n, exact, base)
		}
	}
}

func TestSamplesAreNear(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for range 100 {
		b.WriteString(read(t, "english.txt") + read(t, "code.txt"))
	}
	for range 25 {
		b.WriteString(read(t, "chinese.txt") + read(t, "data.txt"))
	}
	long := b.String()
	for _, model := range []string{"gpt-4o", "gpt-4"} {
		var want int64
		for part := range strings.SplitSeq(long, "\n\n") {
			n, _ := Count(model, part)
			want += n
		}
		n, exact := Count(model, long)
		if off := float64(n)/float64(want) - 1; exact || off < -0.03 || off > 0.03 {
			t.Errorf("%s: %d kB are estimated to have %d tokens and have about %d: %+.1f %% (exact: %t)",
				model, len(long)>>10, n, want, 100*off, exact)
		}
	}
}

// Texts that make some tokenizers take quadratic time or worse. Prose of the same length is the measure, so that a slow
// machine or the race detector does not matter.
func TestTimeIsLinear(t *testing.T) {
	Warm()
	const size = 20_000 // the worst of these would take 300 ms if it were quadratic
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	// measure gives the best of some times; it goes on while it is more than allowed, for somebody else may have had the processor.
	measure := func(v *vocabulary, text string, allowed time.Duration) time.Duration {
		best := time.Hour
		for try := 0; try < 2 || try < 12 && best > allowed; try++ {
			begin := time.Now()
			v.count(text)
			best = min(best, time.Since(begin))
		}
		return best
	}
	for name, v := range map[string]*vocabulary{"o200k": o200k, "cl100k": cl100k} {
		prose := measure(v, fill("The quick brown fox jumps over the lazy dog. "), 20*time.Millisecond)
		allowed := max(100*time.Millisecond, 20*prose)
		for _, s := range []string{
			"a", "A", "aA", "1", "1a", " ", "\t", "\n", "\r\n", "\n ", " \n", "\t\n", "\n\u00a0", "  \n", "\u2003\n", "\n\n \n",
			"!", "/!", "'", "'s", "!\n", "漢", "漢字仮名", "😀", "👩‍👧", "e\u0301", "\u0301", "ǅ", "ʰ", "\x00", "\xff", "\xe2\x80",
			"\u200b", "가나다", "qzxjkvwp", "AbCdEfGh0/+", "<|endoftext|>", "{\"a\":[", "\\u0041",
		} {
			if took := measure(v, fill(s), allowed); took > allowed {
				t.Errorf("%s: %d bytes of %q took %v, as long a prose %v", name, size, s, took, prose)
			}
		}
		for _, s := range []string{strings.Repeat("a", 50_000), fill(" ") + "x", fill("\n ") + "x", "x" + fill(" \n"), fill("a") + "1", fill("\n") + " x"} {
			allowed := allowed * time.Duration(len(s)) / size
			if took := measure(v, s, allowed); took > allowed {
				t.Errorf("%s: a long run that begins with %q and ends with %q took %v", name, s[:2], s[len(s)-2:], took)
			}
		}
	}
}

// Cutting long runs of white space must not change what is counted.
func TestCutsChangeNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SampledFrom([]string{" ", "  ", "\t", "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u3000", "x", "ab", "."}), 0, 300)
		text := strings.Join(pieces.Draw(t, "pieces"), "")
		if rapid.Bool().Draw(t, "blank") {
			text = strings.NewReplacer("x", " ", "ab", "\n ", ".", "\n").Replace(text)
		}
		for name, v := range map[string]*vocabulary{"o200k": o200k, "cl100k": cl100k} {
			want, err := v.load().Count(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := v.count(text); got != int64(want) {
				t.Fatalf("%s: %q has %d tokens in one piece and %d cut", name, text, want, got)
			}
		}
	})
}

func TestCountsAreBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		for _, model := range []string{"gpt-5", "gpt-4", "claude-haiku-4-5", "mixtral-8x7b", "qwen3-32b", "x"} {
			if n, _ := Count(model, text); n < 0 || n > int64(len(text)) || n > Bound(int64(len(text)), 1) || n == 0 && text != "" {
				t.Fatalf("%s: %q has %d tokens", model, text, n)
			}
		}
	})
}

func FuzzCount(f *testing.F) {
	for _, s := range []string{"", "hello world", "\n \n \n", "\xff\xfe", "漢字", strings.Repeat("\n ", 200), "a\u0301", "<|endoftext|>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, model := range []string{"gpt-5", "gpt-4", "gemma-3-27b-it"} {
			if n, _ := Count(model, text); n < 0 || n > int64(len(text)) {
				t.Errorf("%s: %q has %d tokens", model, text, n)
			}
		}
	})
}

func TestConcurrentCounts(t *testing.T) {
	t.Parallel()
	text := read(t, "english.txt")
	want, _ := Count("gpt-4o", text)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			Warm()
			if n, _ := (Counter{}).Count("gpt-4o", []byte(text)); n != want {
				t.Errorf("%d tokens, want %d", n, want)
			}
		})
	}
	wg.Wait()
}

func BenchmarkCount(b *testing.B) {
	text := read(b, "english.txt")
	long := strings.Repeat(text, MaxExact/len(text))
	for name, c := range map[string]struct{ model, text string }{
		"prose":      {"gpt-4o", text},
		"estimate":   {"claude-haiku-4-5", text},
		"longest":    {"gpt-4o", long},
		"sampled":    {"gpt-4o", strings.Repeat(long, 8)},
		"worst text": {"gpt-4o", strings.Repeat(" ", MaxExact)},
		"worst cut":  {"gpt-4o", strings.Repeat("\n ", MaxExact/2)},
	} {
		b.Run(name, func(b *testing.B) {
			Warm()
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				Count(c.model, c.text)
			}
		})
	}
}
