package health

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestSpans(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		out := time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(t, "failing"))
		d := span(out, rapid.Float64Range(0, 1).Draw(t, "chance"))
		if d < shortest*8/10-1 || d > longest || d > max(out/fraction, shortest) {
			t.Errorf("%s after %s", d, out)
		}
		r := time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "ramping"))
		if s := share(r); s < firstStep || s > 1 || r >= ramp && s != 1 {
			t.Errorf("share %v after %s", s, r)
		}
	})
}

// The rules of a pool, for all pools.
func TestPools(t *testing.T) {
	t.Parallel()
	now := time.Now()
	rapid.Check(t, func(t *rapid.T) {
		states := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) State {
			s := State{Kind: rapid.SampledFrom(Kinds()).Draw(t, "kind")}
			if s.Kind == Ejected || s.Kind == HalfOpen {
				s.Failing = now.Add(-time.Duration(rapid.IntRange(0, 5).Draw(t, "minutes")) * time.Minute)
			}
			return s
		}), 0, 12).Draw(t, "states")
		in := rapid.SliceOfN(rapid.Bool(), len(states), len(states)).Draw(t, "before")
		taken := Available(states, in)
		left, out, some, back := 0, 0, false, 0
		for i, s := range states {
			some = some || in[i]
			switch s.Kind {
			case Disabled:
				if in[i] {
					t.Error("a disabled one is in")
				}
				continue
			case Healthy, Ramping:
				if !in[i] {
					t.Error("a healthy one is out")
				}
			default:
				if !in[i] {
					out++
				} else {
					back++
				}
				for j, other := range states { // who is taken back has not failed for longer than who is not
					if in[i] && !in[j] && other.Kind != Disabled && other.Failing.After(s.Failing) {
						t.Errorf("%d was taken back before %d", i, j)
					}
				}
			}
			left++
		}
		if left > 0 && !some || out*2 > left || back != taken || taken > 0 && (out+1)*2 <= left {
			t.Errorf("%d left in by operators, %d out, %d taken back, says %d", left, out, back, taken)
		}
	})
}

// Whatever happens in whatever order: who is asked for a state gets one that makes sense, one probe at most is out, and a
// target is never lost for good.
func TestAnyHistory(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		b := newBench(t, nil, "")
		x, now := b.Target(house), time.Now()
		var open []Token
		out := map[uint64]bool{} // epochs whose probe is out
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			s := x.State(now)
			if s.Share < 0 || s.Share > 1 || (s.Share == 0) != (s.Kind >= HalfOpen) || s.Kind == Ejected && s.Failing.IsZero() {
				t.Fatalf("%+v", s)
			}
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				open = append(open, x.begin(now))
			case 2:
				if k, ok := x.Probe(now); ok {
					if out[k.epoch] || s.Kind != HalfOpen {
						t.Fatalf("a second probe, or none was due: %+v", s)
					}
					out[k.epoch] = true
					open = append(open, k)
				}
			case 3, 4:
				if len(open) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				k, o := open[i], rapid.SampledFrom([]Outcome{Success, Ignored, Failed("a"), Failed("b"), Failed("c")}).Draw(t, "outcome")
				if k.probe {
					out[k.epoch] = false
				}
				before := x.seen.Load()
				x.end(k, o, now)
				if after := x.seen.Load(); k.epoch != before.epoch && after.epoch != before.epoch {
					t.Fatalf("a try of epoch %d changed epoch %d", k.epoch, before.epoch)
				}
				open = append(open[:i], open[i+1:]...)
			case 5:
				now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			}
		}
		for _, k := range open {
			x.end(k, Ignored, now)
		}
		for waited := time.Duration(0); x.State(now).Kind != Healthy; waited += time.Second {
			if k, ok := x.Probe(now); ok {
				x.end(k, Success, now)
			}
			if now = now.Add(time.Second); waited > longest+ramp+5*time.Second {
				t.Fatalf("%+v", x.State(now))
			}
		}
	})
}

func TestMadeUpNames(t *testing.T) {
	t.Parallel()
	b := newBench(t, nil, "")
	x := b.Target(house)
	y := b.Target("openai/sick")
	tries(y, 5, Failed("status"))
	for i := range 3 * maxTargets {
		b.Target(fmt.Sprintf("openai/made-up-%d", i))
	}
	if n := len(b.targets); n > maxTargets || b.Target(house) != x || b.Target("openai/sick") != y {
		t.Errorf("%d targets", n)
	}
	for i := range maxTargets {
		tries(b.Target(fmt.Sprintf("openai/made-up-%d", i)), 5, Failed("status"))
	}
	z := b.Target("openai/one-more")
	tries(z, 100, Failed("status"))
	is(t, "beyond the bound", z, Healthy)
	if n := len(b.targets); n > maxTargets || b.Target(house) != x {
		t.Errorf("%d targets", n)
	}
	b.speak([]word{{Disabling{Name: "openai"}, &shut{}}})
	is(t, "beyond the bound, disabled", z, Disabled)
	late := b.Target("anthropic/claude") // configured, so there is room
	tries(late, 5, Failed("status"))
	is(t, "configured", b.Target("anthropic/claude"), Ejected)
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, target string
		want         bool
	}{
		{"house", "house/m", true}, {"house", "house2/m", false}, {"house/m", "house/m", true}, {"house/m", "house/m2", false},
		{"house/m", "house/m@10.0.0.7:80", true}, {"house", "house/m@10.0.0.7:80", true}, {"house/m", "house/m/x", false}, {"ho", "house/m", false},
	} {
		if Covers(c.name, c.target) != c.want {
			t.Errorf("%s, %s", c.name, c.target)
		}
	}
}

// What is asked on the path of a request costs no allocation.
func TestNothingIsAllocated(t *testing.T) {
	b := newBench(t, nil, "")
	pool := []*Target{b.Target(house), b.Target("openai/gpt-5-mini"), b.Target("anthropic/claude")}
	tries(pool[1], 5, Failed("status"))
	states, in := make([]State, len(pool)), make([]bool, len(pool))
	if n := testing.AllocsPerRun(100, func() {
		now := time.Now()
		for i, x := range pool {
			states[i] = b.Target(x.Key()).State(now)
		}
		Available(states, in)
		_, _ = pool[1].Probe(now)
		pool[0].End(pool[0].Begin(), Success)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkChoice(b *testing.B) {
	n := newBench(b, nil, "")
	var pool [8]*Target
	for i := range pool {
		pool[i] = n.Target(fmt.Sprintf("p%d/m", i))
	}
	tries(pool[3], 5, Failed("status"))
	states, in := make([]State, len(pool)), make([]bool, len(pool))
	b.ReportAllocs()
	for b.Loop() {
		now := time.Now()
		for i, x := range pool {
			states[i] = x.State(now)
		}
		Available(states, in)
	}
}

func BenchmarkTry(b *testing.B) {
	x := newBench(b, nil, "").Target(house)
	b.ReportAllocs()
	for b.Loop() {
		x.End(x.Begin(), Success)
	}
}
