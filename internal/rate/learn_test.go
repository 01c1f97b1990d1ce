package rate

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestSteps(t *testing.T) {
	t.Parallel()
	last := -1
	for step := range steps {
		top := topOf(step)
		if stepOf(top) != step || step+1 < steps && stepOf(top+1) != step+1 {
			t.Errorf("step %d ends at %d, which is in %d; the next is in %d", step, top, stepOf(top), stepOf(top+1))
		}
		if int(top) <= last {
			t.Errorf("step %d ends at %d", step, top)
		}
		last = int(top)
	}
	if int64(last) != atMost || stepOf(1<<62) != steps-1 || stepOf(-7) != 0 {
		t.Errorf("the last step ends at %d", last)
	}
}

// What is learned is not below the percentile of what was seen, and at most a quarter above.
func TestLearnedAgainstSorted(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		l := NewLearned()
		seen := rapid.SliceOfN(rapid.OneOf(rapid.Int64Range(0, 50), rapid.Int64Range(0, 200_000)), enough, 2*recent).Draw(rt, "seen")
		for i, n := range seen {
			if got := l.Output("m", "p", 0); i < enough && got != Likely {
				rt.Fatalf("after %d calls: %d", i, got)
			}
			l.Saw("m", "p", n)
		}
		slices.Sort(seen)
		exact := seen[(len(seen)*quant+99)/100-1]
		if got := l.Output("m", "p", 0); got < exact || got > exact+exact/4 {
			rt.Fatalf("%d, want %d to %d", got, exact, exact+exact/4)
		}
		if got := l.Output("m", "p", 7); got > 7 {
			rt.Fatalf("%d, above the cap", got)
		}
		if got := l.Output("m", "other", 0); got != Likely {
			rt.Fatalf("of another: %d", got)
		}
	})
}

// New habits replace old ones.
func TestLearnedForgets(t *testing.T) {
	t.Parallel()
	l := NewLearned()
	for range 5 * recent {
		l.Saw("m", "p", 4000)
	}
	for range 6 * recent {
		l.Saw("m", "p", 30)
	}
	if got := l.Output("m", "p", 0); got < 30 || got > 37 {
		t.Errorf("%d after calls of 30 tokens", got)
	}
}

func TestLearnedIsBounded(t *testing.T) {
	t.Parallel()
	l := NewLearned()
	var all sync.WaitGroup
	for who := range 4 {
		all.Go(func() {
			for i := range maxLearned {
				l.Saw(fmt.Sprint("m", i), fmt.Sprint(who), 1)
			}
		})
	}
	all.Wait()
	n := 0
	for i := range l.parts {
		n += len(l.parts[i].of)
	}
	if n > maxLearned {
		t.Errorf("%d pairs", n)
	}
}

func BenchmarkLearned(b *testing.B) {
	l := NewLearned()
	b.ReportAllocs()
	for b.Loop() {
		l.Saw("gpt-5-mini", "prj_01JD0000000000000000000001", 321)
		l.Output("gpt-5-mini", "prj_01JD0000000000000000000001", 4096)
	}
}
