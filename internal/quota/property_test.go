package quota

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
)

func drawLimit(t *rapid.T, name string) llm.Limit {
	return llm.Limit{
		Told: rapid.Bool().Draw(t, name+" told"),
		Left: rapid.Int64Range(0, 1<<50).Draw(t, name+" left"), Most: rapid.SampledFrom([]int64{0, 1, 3, 1000, 160_000, 1 << 50}).Draw(t, name+" most"),
		Reset: time.Duration(rapid.Int64Range(0, int64(25*time.Hour)).Draw(t, name+" reset")),
	}
}

// Whatever is drawn and told, in whatever order: nothing is below nothing or above all, and the mirror is never above what the
// provider said last, plus what has come back since.
func TestBucketProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var b bucket
		now := start
		var drawn []float64
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				before, rate := b.left, b.rate
				passed := time.Duration(rapid.Int64Range(0, int64(2*time.Minute)).Draw(rt, "passed"))
				now = now.Add(passed)
				b.fill(now)
				if b.left < before || b.left > before+passed.Seconds()*rate+1e-6*b.most {
					rt.Fatalf("%v came to be %v in %v at %v a second", before, b.left, passed, rate)
				}
			case 1:
				amount := rapid.Float64Range(0, 1e6).Draw(rt, "amount")
				before := b
				before.fill(now)
				b.draw(now, amount)
				drawn = append(drawn, amount)
				if b.left > before.left {
					rt.Fatal("drawing gave something")
				}
			case 2:
				l := drawLimit(rt, "limit")
				before := b
				before.fill(now)
				b.hear(now, l)
				if !l.Told {
					break
				}
				if l.Most > 0 && b.most != float64(l.Most) || b.left > float64(l.Left) {
					rt.Fatalf("told %+v, have %+v", l, b)
				}
				known := before.most > 0 && b.most == before.most
				if known && before.left >= float64(l.Left)-b.flying && b.left > before.left { // the mirror knew better
					rt.Fatalf("told %+v: %v became %v, with %v under way", l, before.left, b.left, b.flying)
				}
				if b.flying == 0 && b.most > 0 && b.left != min(float64(l.Left), b.most) {
					rt.Fatalf("told %+v, nothing is under way, and %v are left", l, b.left)
				}
			case 3:
				if len(drawn) > 0 {
					b.landed(drawn[0])
					drawn = drawn[1:]
				}
			case 4:
				b.correct(now, rapid.Float64Range(-1e6, 1e6).Draw(rt, "over"))
			}
			if b.left < 0 || b.left > b.most || b.flying < 0 || b.most > 0 && b.rate <= 0 || b.left != b.left {
				rt.Fatalf("%+v", b)
			}
			amount := rapid.Float64Range(0, 1e7).Draw(rt, "asked")
			wait := b.wait(now, amount)
			if wait < 0 || wait > maxWait {
				rt.Fatalf("wait %v", wait)
			}
			if later := b; wait > 0 && wait < maxWait && later.wait(now.Add(wait+time.Millisecond), amount) > 2*time.Millisecond {
				rt.Fatalf("after %v there is still no room for %v in %+v", wait, amount, b)
			}
		}
	})
}

// Whatever happens to an account, it says what to do, within bounds, and one call at most tries a credential that is out.
func TestAccountProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 4).Draw(rt, "credentials")
		refs := []string{"env:A", "env:B", "env:C", "env:D"}[:n]
		marks := make([]uint64, n)
		random := rapid.Float64Range(0, 0.999).Draw(rt, "random")
		a := New(Options{Random: func() float64 { return random }}).Account(Provider{
			Name: "p", References: refs, Mark: func(i int) uint64 { return marks[i] }, AtOnce: rapid.Bool().Draw(rt, "at once"),
		})
		for i := range marks {
			marks[i] = uint64(i + 1)
		}
		now := start
		var open []Ticket
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(rt, "passed")))
			model := rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "model")
			need := Need{1, rapid.Int64Range(-1, 1e6).Draw(rt, "input"), rapid.Int64Range(-1, 1e5).Draw(rt, "output")}
			index, wait, reason := a.Pick(now, model, need)
			if index < 0 || index >= n || wait < 0 || wait > outMost || wait > 0 && reason == "" {
				rt.Fatalf("%d %v %q", index, wait, reason)
			}
			if wait > maxWait && a.credentials[index].out.class == "" {
				rt.Fatalf("%v for a rate limit", wait)
			}
			if i2, w2, r2 := a.Pick(now, model, need); i2 != index || w2 != wait || r2 != reason {
				rt.Fatalf("asked again: %d %v %q, before %d %v %q", i2, w2, r2, index, wait, reason)
			}
			if wait == 0 {
				open = append(open, a.Take(now, index, model, need))
				if reason == Probing {
					if i2, w2, r2 := a.Pick(now, model, need); i2 == index && w2 == 0 {
						rt.Fatalf("two calls try a credential that is out: %q", r2)
					}
				}
			}
			if len(open) > 0 && rapid.Bool().Draw(rt, "ends") {
				i := rapid.IntRange(0, len(open)-1).Draw(rt, "which")
				ticket := &open[i]
				switch rapid.IntRange(0, 4).Draw(rt, "end") {
				case 0:
					ticket.Failed(now, Failure{Status: 429, RetryAfter: time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(rt, "after")), Limits: llm.Limits{Tokens: drawLimit(rt, "t")}})
				case 1:
					ticket.Failed(now, Failure{Class: rapid.SampledFrom([]string{Exhausted, Refused, "permission", "context_length", ""}).Draw(rt, "class")})
				default:
					ticket.Answered(now, llm.Limits{Requests: drawLimit(rt, "r"), Tokens: drawLimit(rt, "t"), InputTokens: drawLimit(rt, "i"), OutputTokens: drawLimit(rt, "o")})
					ticket.Done(now, rapid.Int64Range(-1, 1e6).Draw(rt, "in"), rapid.Int64Range(-1, 1e6).Draw(rt, "out"))
				}
				open = append(open[:i], open[i+1:]...)
			}
			if rapid.IntRange(0, 9).Draw(rt, "rotates") == 0 {
				marks[rapid.IntRange(0, n-1).Draw(rt, "rotated")] += 10
			}
		}
		for i := range open {
			open[i].Failed(now, Failure{})
		}
		for _, c := range a.credentials {
			for name, m := range c.models {
				for i := range m.buckets {
					if f := m.buckets[i].flying; f > 1e-3 {
						rt.Fatalf("%s: %v of %s are under way for ever", name, f, kindNames[i])
					}
				}
			}
		}
	})
}
