package sim

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

// TestTheBillIsWorkedOutTwice: the provider's own arithmetic and Penstock's price have one result for whatever a provider may report, and
// neither is made of the other.
func TestTheBillIsWorkedOutTwice(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		rate := func(name string) llm.Rate { return llm.Rate(rapid.Int64Range(1, 10_000_000_000).Draw(r, name)) }
		of := func(name string, whole int) int { return rapid.IntRange(0, whole).Draw(r, name) }
		prompt, completion := of("prompt", 2_000_000), of("completion", 2_000_000)
		u := usage{prompt: prompt, completion: completion, searches: of("searches", 100)}
		u.cached = of("cached", prompt)
		u.written = of("written", prompt-u.cached)
		u.hour = of("hour", u.written)
		u.heard = of("heard", prompt-u.cached-u.written)
		u.spoken = of("spoken", completion)
		u.pictures = of("pictures", completion-u.spoken)
		theirs := price{
			rate("input"), rate("cached"), rate("written"), rate("hour"), rate("heard"), rate("output"), rate("spoken"), rate("picture"),
			llm.Money(of("call", 1000)), llm.Money(1 + of("search", 1_000_000)),
		}
		ours := llm.Price{
			Input: theirs.input, CachedInput: theirs.cached, CacheWrite: theirs.written, CacheWriteHour: theirs.hour, InputAudio: theirs.heard,
			Output: theirs.output, OutputAudio: theirs.spoken, OutputImage: theirs.picture, Call: theirs.call, Search: theirs.search,
		}
		counted := llm.Usage{
			Input: int64(u.prompt), CachedInput: int64(u.cached), CacheWrite: int64(u.written), Output: int64(u.completion), Parts: u.parts(),
		}
		if billed, booked := theirs.cost(u), ours.ForCall(counted); billed != booked {
			r.Fatalf("billed %d, booked %d for %+v", billed, booked, u)
		}
	})
}
