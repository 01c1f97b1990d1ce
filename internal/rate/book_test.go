package rate

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

var one = Need{Requests: 1, Input: 10, Output: 20}

func admit(t testing.TB, b *Book, need Need, rules ...Rule) (*Admission, *Exceeded) {
	t.Helper()
	var a Admission
	err := b.Admit(t.Context(), rules, need, &a)
	var over *Exceeded
	if err != nil && !errors.As(err, &over) {
		t.Fatal(err)
	}
	return &a, over
}

func TestEachMeasure(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		measure string
		n       int64
	}{{Requests, 1}, {InputTokens, 10}, {OutputTokens, 20}, {Tokens, 30}, {Concurrent, 1}} {
		t.Run(test.measure, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := New(Options{})
				rule := Rule{ID: "r", Measure: test.measure, Amount: 2*test.n + test.n/2}
				first, over := admit(t, b, one, rule)
				if over != nil {
					t.Fatal(over)
				}
				time.Sleep(10 * time.Second)
				second, over := admit(t, b, one, rule)
				if over != nil {
					t.Fatal(over)
				}
				_, over = admit(t, b, one, rule)
				if over == nil || over.Rule != rule || over.Need != test.n || over.Limit != rule.Amount || over.Left != test.n/2 || over.Never {
					t.Fatalf("%+v", over)
				}
				s := b.Standing([]Rule{rule})[0]
				if s.Left != test.n/2 || s.Limit != rule.Amount {
					t.Errorf("%+v", s)
				}
				first.Done(one)
				second.Done(one)
				second.Done(Need{}) // does nothing
				if test.measure == Concurrent {
					if over.RetryAfter != guess || b.Standing([]Rule{rule})[0].Left != 2 {
						t.Errorf("%+v", b.Standing([]Rule{rule})[0])
					}
					return
				}
				if want := 50*time.Second + Slack; over.RetryAfter != want || s.Next != want || s.Reset != want+10*time.Second {
					t.Errorf("retry after %v; %+v", over.RetryAfter, s)
				}
				time.Sleep(over.RetryAfter - 1)
				if _, over := admit(t, b, one, rule); over == nil || over.RetryAfter != 1 {
					t.Errorf("too early: %+v", over)
				}
				time.Sleep(time.Nanosecond)
				if _, over := admit(t, b, one, rule); over != nil {
					t.Error(over)
				}
			})
		})
	}
}

// A call that is larger than a limit is told so at once, and whoever needs nothing of a rule is not refused by it.
func TestNeverAndNothing(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	_, over := admit(t, b, one, Rule{ID: "r", Measure: InputTokens, Amount: 9})
	if over == nil || !over.Never || over.RetryAfter != 0 || over.Left != 9 {
		t.Errorf("%+v", over)
	}
	if _, over := admit(t, b, Need{Requests: 1}, Rule{ID: "r", Measure: InputTokens, Amount: 0}); over != nil {
		t.Error(over)
	}
	if _, over := admit(t, b, Need{Requests: -5, Input: -1}, Rule{ID: "r", Measure: Requests}, Rule{ID: "x", Measure: "other"}); over != nil {
		t.Error(over)
	}
	if _, over := admit(t, b, one, Rule{ID: "none", Measure: Requests, Amount: 0}); over == nil || !over.Never {
		t.Errorf("%+v", over)
	}
}

// A refused call uses nothing: concurrency 1, A runs, B is refused, C passes after A. (Fault 22.)
func TestRefusedUsesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		rules := []Rule{
			{ID: "rpm", Measure: Requests, Amount: 2}, {ID: "tokens", Measure: Tokens, Amount: 60}, {ID: "once", Measure: Concurrent, Amount: 1},
		}
		a, over := admit(t, b, one, rules...)
		if over != nil {
			t.Fatal(over)
		}
		before := b.Standing(rules)
		for range 5 {
			refused, over := admit(t, b, one, rules...)
			if over == nil || over.Rule.ID != "once" {
				t.Fatal(over)
			}
			refused.Done(one) // took nothing, so it gives nothing back
		}
		for i, s := range b.Standing(rules) {
			if s != before[i] {
				t.Errorf("%+v came to be %+v", before[i], s)
			}
		}
		a.Done(one)
		c, over := admit(t, b, one, rules...)
		if over != nil {
			t.Fatal(over)
		}
		c.Done(Need{}) // it came to nothing
		if _, over = admit(t, b, one, rules...); over != nil {
			t.Fatal(over)
		}
	})
}

func TestObserve(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	watched := Rule{ID: "watched", Measure: Requests, Amount: 1, Observe: true}
	kept := Rule{ID: "kept", Measure: Requests, Amount: 10}
	for i := range 10 {
		a, over := admit(t, b, one, watched, kept)
		if over != nil || len(a.Over) != min(i, 1) {
			t.Fatalf("call %d: %v, over %v", i, over, a.Over)
		}
		if i > 0 && (a.Over[0].Rule != watched || a.Over[0].Left != 0) {
			t.Errorf("%+v", a.Over)
		}
	}
	if _, over := admit(t, b, one, watched, kept); over == nil || over.Rule != kept {
		t.Error(over)
	}
}

// The same rule twice is taken from once, and the stricter amount holds.
func TestTwice(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	loose, strict := Rule{ID: "r", Measure: Requests, Amount: 10}, Rule{ID: "r", Measure: Requests, Amount: 2}
	for i := range 3 {
		if _, over := admit(t, b, one, loose, strict, loose); (over != nil) != (i == 2) {
			t.Fatalf("call %d: %v", i, over)
		}
	}
}

// A limit that is lowered below what is in use refuses, has no negative room, and lets what runs end. (Fault 19.)
func TestLowered(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	rule := Rule{ID: "r", Measure: Concurrent, Amount: 3}
	var running []*Admission
	for range 3 {
		a, _ := admit(t, b, one, rule)
		running = append(running, a)
	}
	rule.Amount = 1
	if _, over := admit(t, b, one, rule); over == nil || over.Left != 0 || over.Never {
		t.Errorf("%+v", over)
	}
	if s := b.Standing([]Rule{rule})[0]; s.Left != 0 {
		t.Errorf("%+v", s)
	}
	for _, a := range running {
		a.Done(one)
	}
	if _, over := admit(t, b, one, rule); over != nil {
		t.Error(over)
	}
}

// Calls of many goroutines against an oracle for each window: at the end all slots are free, and nothing was over.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	rules := []Rule{{ID: "all", Measure: Concurrent, Amount: 4}, {ID: "rpm", Measure: Requests, Amount: 500}, {ID: "tokens", Measure: Tokens, Amount: 1 << 40}}
	var running, most, passed atomic.Int64
	var wait sync.WaitGroup
	for worker := range 16 {
		wait.Go(func() {
			var a Admission
			mine := append(rules[:3:3], Rule{ID: "user", Subject: fmt.Sprint(worker), Measure: Requests, Amount: 400})
			for i := range 500 {
				if b.Admit(t.Context(), mine, one, &a) != nil {
					continue
				}
				n := running.Add(1)
				for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
				}
				passed.Add(1)
				if i%3 == 0 {
					runtime.Gosched()
				}
				running.Add(-1)
				a.Done(one)
			}
		})
	}
	wait.Wait()
	if most.Load() > 4 || passed.Load() != 500 {
		t.Errorf("%d at once, %d passed", most.Load(), passed.Load())
	}
	if s := b.Standing(rules); s[0].Left != 4 || s[1].Left != 0 || s[2].Left != 1<<40-500*30 {
		t.Errorf("%+v", s)
	}
}

// Ten thousand ends in any order leave no slot taken. (Fault 20.)
func TestSlotsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		b := New(Options{})
		rules := []Rule{{ID: "a", Measure: Concurrent, Amount: 5}, {ID: "b", Subject: "u", Measure: Concurrent, Amount: 3}, {ID: "c", Measure: Requests, Amount: 50}}
		var running []*Admission
		for range rapid.IntRange(1, 200).Draw(rt, "steps") {
			if rapid.Bool().Draw(rt, "begin") {
				a := &Admission{}
				mine := rules[rapid.IntRange(0, 2).Draw(rt, "from"):]
				if b.Admit(t.Context(), mine, one, a) == nil {
					running = append(running, a)
				}
			} else if len(running) > 0 {
				i := rapid.IntRange(0, len(running)-1).Draw(rt, "which")
				running[i].Done(one)
				if rapid.Bool().Draw(rt, "twice") {
					running[i].Done(Need{})
				}
				running = append(running[:i], running[i+1:]...)
			}
		}
		for _, a := range running {
			a.Done(Need{Requests: 1})
		}
		if s := b.Standing(rules); s[0].Left != 5 || s[1].Left != 3 {
			rt.Fatalf("%+v", s)
		}
	})
}

// What is not in use is forgotten; what runs is not.
func TestForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		go func() { _ = b.Run(t.Context()) }()
		slot := Rule{ID: "slot", Measure: Concurrent, Amount: 1}
		running, _ := admit(t, b, one, slot)
		for i := range 10_000 {
			admit(t, b, one, Rule{ID: "rpm", Subject: fmt.Sprint(i), Measure: Requests, Amount: 5})
		}
		if n := b.entries(); n != 10_001 {
			t.Errorf("%d entries", n)
		}
		time.Sleep(80 * time.Second)
		synctest.Wait()
		if n := b.entries(); n != 1 {
			t.Errorf("%d entries", n)
		}
		if _, over := admit(t, b, one, slot); over == nil {
			t.Error("the slot was forgotten")
		}
		running.Done(one)
		if _, over := admit(t, b, one, slot); over != nil {
			t.Error(over)
		}
	})
}

func (b *Book) entries() (n int) {
	for i := range b.table.shards {
		b.table.shards[i].mu.Lock()
		n += b.table.shards[i].used
		b.table.shards[i].mu.Unlock()
	}
	return n
}

// The table against a map, with windows that come and go.
func TestTableAgainstMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var s shard
		has := map[uint64]int64{}
		for range rapid.IntRange(1, 300).Draw(rt, "steps") {
			name := rapid.Uint64Range(1, 40).Draw(rt, "name")*0x9e3779b97f4a7c15&^kindBits | uint64(concurrent)
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0, 1:
				s.room(0, 1)
				s.get(name).n++
				has[name]++
			case 2:
				if e := s.find(name); e != nil {
					e.n = 0
				}
				delete(has, name)
			case 3:
				s.sweep(0)
			}
			for name, n := range has {
				if e := s.find(name); e == nil || e.n != n {
					rt.Fatalf("%d: %+v, want %d", name, e, n)
				}
			}
			if s.used > len(s.entries)*3/4 {
				rt.Fatalf("%d of %d", s.used, len(s.entries))
			}
		}
	})
}

func four(b testing.TB) []Rule {
	b.Helper()
	return []Rule{
		{ID: "lim_01JD0000000000000000000001", Measure: Requests, Amount: 1 << 40},
		{ID: "lim_01JD0000000000000000000002", Subject: "prj_01JD0000000000000000000001", Measure: Tokens, Amount: 1 << 50},
		{ID: "lim_01JD0000000000000000000003", Subject: "key_01JD0000000000000000000001", Measure: OutputTokens, Amount: 1 << 50},
		{ID: "lim_01JD0000000000000000000004", Subject: "user-4711", Measure: Concurrent, Amount: 1 << 20},
	}
}

func TestAllocations(t *testing.T) {
	b := New(Options{})
	rules, used := four(t), Need{Requests: 1, Input: 10, Output: 3}
	var a Admission
	call := func() {
		if err := b.Admit(t.Context(), rules, one, &a); err != nil {
			t.Fatal(err)
		}
		a.Done(used)
	}
	call()
	if n := testing.AllocsPerRun(1000, call); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdmit(b *testing.B) {
	book := New(Options{})
	rules, used := four(b), Need{Requests: 1, Input: 10, Output: 3}
	var a Admission
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		if err := book.Admit(ctx, rules, one, &a); err != nil {
			b.Fatal(err)
		}
		a.Done(used)
	}
}

func BenchmarkAdmitParallel(b *testing.B) {
	book := New(Options{})
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		rules, used := four(b), Need{Requests: 1, Input: 10, Output: 3}
		rules[3].Subject = fmt.Sprint(n.Add(1))
		var a Admission
		for pb.Next() {
			if err := book.Admit(b.Context(), rules, one, &a); err != nil {
				b.Fatal(err)
			}
			a.Done(used)
		}
	})
}

// BenchmarkUsers has a million end users with a limit on requests and one on tokens, who make one to three calls each within a
// minute; it reports what is kept of each.
func BenchmarkUsers(b *testing.B) {
	for b.Loop() {
		before := heap()
		book := New(Options{})
		born := book.born
		for i := range 1_000_000 {
			rules := []Rule{
				{ID: "tier_free_requests", Subject: fmt.Sprint("user-", i), Measure: Requests, Amount: 20},
				{ID: "tier_free_tokens", Subject: fmt.Sprint("user-", i), Measure: Tokens, Amount: 40_000},
			}
			for call := range 1 + i%3 {
				book.born = born.Add(-time.Duration(call) * 10 * time.Second)
				var a Admission
				if err := book.Admit(b.Context(), rules, one, &a); err != nil {
					b.Fatal(err)
				}
				a.Done(one)
			}
		}
		b.ReportMetric(float64(heap()-before)/1e6, "B/user")
		runtime.KeepAlive(book)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
