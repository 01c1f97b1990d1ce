package health

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// memory is a Store of several boards.
type memory struct {
	mu       sync.Mutex
	version  int64
	ejected  map[string]Ejection
	disabled []Disabling
	by       map[string]string // who probes
	over     map[string]time.Time
	down     error
	writes   int
}

func newMemory() *memory {
	return &memory{ejected: map[string]Ejection{}, by: map[string]string{}, over: map[string]time.Time{}}
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = err
}

// look gives how often it was written to, and what is ejected.
func (m *memory) look() (writes int, ejected map[string]Ejection) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes, maps.Clone(m.ejected)
}

// change is one transaction.
func (m *memory) change(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down != nil {
		return m.down
	}
	m.writes++
	f()
	return nil
}

func (m *memory) Eject(_ context.Context, e Ejection) (Ejection, error) {
	return e, m.change(func() {
		if was, ok := m.ejected[e.Target]; ok && was.Until.After(e.Until) {
			e.Until = was.Until
		}
		m.ejected[e.Target], m.by[e.Target] = e, ""
		m.version++
	})
}

func (m *memory) Recover(_ context.Context, target string, until time.Time) error {
	return m.change(func() {
		if e, ok := m.ejected[target]; ok && !e.Until.After(until) {
			delete(m.ejected, target)
			m.version++
		}
	})
}

func (m *memory) LeaseProbe(_ context.Context, target string, until time.Time, holder string, d time.Duration) (yes bool, err error) {
	return yes, m.change(func() {
		e, ok := m.ejected[target]
		if by := m.by[target]; ok && e.Until.Equal(until) && (by == "" || by == holder || !time.Now().Before(m.over[target])) {
			m.by[target], m.over[target], yes = holder, time.Now().Add(d), true
		}
	})
}

func (m *memory) Disable(_ context.Context, d Disabling, _ int) (Disabling, error) {
	return d, m.change(func() { m.disabled = append(m.disabled, d); m.version++ })
}

func (m *memory) Enable(_ context.Context, name string) error {
	ended := false
	err := m.change(func() {
		for i, d := range m.disabled {
			if d.Name == name {
				m.disabled, ended = append(m.disabled[:i:i], m.disabled[i+1:]...), true
				break
			}
		}
		for target := range m.ejected {
			if Covers(name, target) {
				delete(m.ejected, target)
				ended = true
			}
		}
		m.version++
	})
	if err == nil && !ended {
		return fault.New(fault.NotThere, "nothing")
	}
	return err
}

func (m *memory) HealthVersion(context.Context) (v int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version, m.down
}

func (m *memory) Health(context.Context) (Shared, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Shared{Version: m.version, Disabled: m.disabled}
	for _, e := range m.ejected {
		s.Ejections = append(s.Ejections, e)
	}
	return s, m.down
}

// replicas runs boards on one store, until the test ends.
func replicas(t *testing.T, m *memory, names ...string) []*bench {
	t.Helper()
	var all []*bench
	for _, name := range names {
		b := newBench(t, m, name)
		if err := b.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for _, b := range all {
		working.Go(func() { _ = b.Run(ctx) })
	}
	t.Cleanup(func() { cancel(); working.Wait() })
	return all
}

// soon waits for as long as a replica may take to learn of something.
func soon() { time.Sleep(1100 * time.Millisecond) }

// TestFault45OverReplicas: what one replica ejects no replica asks, one call over all of them finds out whether it is well, and
// all let it ramp then.
func TestFault45OverReplicas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		all := replicas(t, m, "a", "b", "c")
		early := all[1].Target(house).Begin()
		tries(all[0].Target(house), 5, Failed("connect_error"))
		soon()
		for _, b := range all {
			s := is(t, b.o.Instance, b.Target(house), Ejected)
			if left := time.Until(s.Until); left <= 0 || left > shortest || s.Reason != "connect_error" {
				t.Errorf("%s: %+v", b.o.Instance, s)
			}
			if b.lines() != 1 || b.story() != "ejected" {
				t.Errorf("%s: %s", b.o.Instance, b.log)
			}
		}
		all[1].Target(house).End(early, Success)
		is(t, "a late answer at another replica", all[1].Target(house), Ejected)

		probe := func(want int) (token Token, of *Target) {
			t.Helper()
			won := 0
			for began := time.Now(); time.Since(began) < 3*time.Second; time.Sleep(50 * time.Millisecond) {
				for _, b := range all {
					for range 10 {
						if x := b.Target(house); x.State(time.Now()).Kind == HalfOpen {
							if k, ok := x.Probe(time.Now()); ok {
								won++
								token, of = k, x
							}
						}
					}
				}
			}
			if won != want {
				t.Fatalf("%d probes at once, want %d", won, want)
			}
			return token, of
		}
		time.Sleep(shortest)
		k, x := probe(1)
		time.Sleep(20 * time.Second) // it takes its time, and its replica lives
		probe(0)
		x.End(k, Failed("first_token_timeout"))
		soon()
		for _, b := range all {
			if s := is(t, b.o.Instance, b.Target(house), Ejected); s.Reason != "first_token_timeout" || b.story() != "ejected probe_failed" {
				t.Errorf("%+v, %s", s, b.story())
			}
		}
		time.Sleep(shortest)
		k, x = probe(1)
		x.End(k, Success)
		soon()
		for _, b := range all {
			is(t, b.o.Instance, b.Target(house), Ramping)
		}
		time.Sleep(ramp)
		for _, b := range all {
			is(t, b.o.Instance, b.Target(house), Healthy)
			if b.story() != "ejected probe_failed ramping healthy" {
				t.Error(b.story())
			}
		}
		if writes, ejected := m.look(); len(ejected) != 0 || writes > 60 {
			t.Errorf("the store has %v after %d writes", ejected, writes)
		}
	})
}

// A replica that got the probe and has no calls for it, or is gone, does not keep it from the others.
func TestAProbeThatNobodyUses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		all := replicas(t, m, "a", "b")
		tries(all[0].Target(house), 5, Failed("cut"))
		soon()
		time.Sleep(shortest)
		all[0].Target(house).State(time.Now()) // one call wants it, and goes elsewhere
		time.Sleep(10 * time.Millisecond)
		is(t, "a may", all[0].Target(house), HalfOpen)
		all[1].Target(house).State(time.Now())
		time.Sleep(10 * time.Millisecond)
		is(t, "b may not", all[1].Target(house), Ejected)
		for range 40 {
			time.Sleep(100 * time.Millisecond)
			all[1].Target(house).State(time.Now())
		}
		if _, ok := all[1].Target(house).Probe(time.Now()); !ok {
			t.Error("b never gets it")
		}
		before, _ := m.look()
		time.Sleep(10 * time.Minute) // nobody calls
		if after, _ := m.look(); after-before > 200 {
			t.Errorf("%d writes for nothing", after-before)
		}
	})
}

// Fault 51, as far as it is about health: while the store is away each replica ejects, finds out and takes back by itself, and
// when it is there again all agree.
func TestFault51AStoreThatIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		all := replicas(t, m, "a", "b")
		a, b := all[0].Target(house), all[1].Target(house)
		tries(a, 5, Failed("cut"))
		soon()
		m.fail(errors.New("away"))
		tries(b, 5, Failed("cut"))
		other := all[1].Target("openai/gpt-5-mini")
		tries(other, 5, Failed("cut"))
		soon()
		is(t, "known before", b, Ejected)
		is(t, "ejected meanwhile", other, Ejected)
		time.Sleep(shortest)
		for i, x := range []*Target{a, b, other} {
			x.State(time.Now())
			time.Sleep(10 * time.Millisecond)
			k, ok := x.Probe(time.Now())
			if !ok {
				t.Errorf("%d cannot be found out", i)
			}
			x.End(k, map[*Target]Outcome{a: Success, b: Success, other: Failed("cut")}[x])
		}
		is(t, "taken back", a, Ramping)
		is(t, "still ejected", other, Ejected)
		m.fail(nil)
		soon()
		soon()
		is(t, "elsewhere", all[0].Target("openai/gpt-5-mini"), Ejected)
		is(t, "both are well", a, Ramping)
		if _, ejected := m.look(); len(ejected) != 1 {
			t.Errorf("the store has %v", ejected)
		}
		if n := strings.Count(all[0].log.String(), "each goes on by itself"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// Fault 77, as far as it is about health: a civil clock that is set moves nothing that is known.
func TestFault77TheClockIsSet(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			var off time.Duration
			b := newBench(t, m, "a")
			b.o.Now = func() time.Time { return time.Now().Add(off) }
			x := b.Target(house)
			tries(x, 5, Failed("cut"))
			if _, err := b.Disable(t.Context(), Disabling{Name: "openai"}, time.Minute); err != nil {
				t.Fatal(err)
			}
			until := is(t, "before", x, Ejected).Until
			off = step
			if err := b.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if s := is(t, "after", x, Ejected); !s.Until.Equal(until) {
				t.Errorf("%v, was %v", s.Until, until)
			}
			is(t, "disabled", b.Target("openai/gpt-5-mini"), Disabled)
			time.Sleep(shortest)
			x.State(time.Now())
			if err := b.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			is(t, "its time is over", x, HalfOpen)
			time.Sleep(time.Minute - shortest)
			is(t, "enabled by time", b.Target("openai/gpt-5-mini"), Healthy)

			// Another that learns of an ejection with a wrong clock waits for no longer than any may last.
			tries(b.Target("anthropic/claude"), 5, Failed("cut"))
			if err := b.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			other := newBench(t, m, "b")
			if err := other.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(longest)
			other.Target("anthropic/claude").State(time.Now())
			if err := other.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			is(t, "at another", other.Target("anthropic/claude"), HalfOpen)
		})
	}
}

// What an operator says holds on all replicas, over a restart, until it is taken back or its time is over.
func TestOperators(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		all := replicas(t, m, "a", "b")
		for _, b := range all {
			b.Target(house)
		}
		if _, err := all[0].Disable(t.Context(), Disabling{Name: "house", Reason: "new disk", ByName: "ops"}, time.Hour); err != nil {
			t.Fatal(err)
		}
		if s := is(t, "here at once", all[0].Target(house), Disabled); s.Reason != "new disk" || time.Until(s.Until) != time.Hour {
			t.Errorf("%+v", s)
		}
		soon()
		is(t, "there", all[1].Target(house), Disabled)
		is(t, "one that nobody has asked for yet", all[1].Target("house/new"), Disabled)
		is(t, "of another provider", all[1].Target("openai/gpt-5-mini"), Healthy)
		tries(all[1].Target(house), 5, Failed("cut")) // what ran when it was disabled
		soon()
		is(t, "and ejected", all[0].Target(house), Disabled)
		restarted := replicas(t, m, "c")[0]
		is(t, "after a restart", restarted.Target(house), Disabled)

		if err := all[1].Enable(t.Context(), "house"); err != nil {
			t.Fatal(err)
		}
		is(t, "enabled, and no longer ejected", all[1].Target(house), Ramping)
		soon()
		for _, b := range append(all, restarted) {
			is(t, b.o.Instance, b.Target(house), Ramping)
		}
		if err := all[1].Enable(t.Context(), "house"); err == nil {
			t.Error("there was nothing to enable")
		}
		if got := all[1].story(); got != "disabled ejected ramping enabled" {
			t.Error(got)
		}

		if _, err := all[0].Disable(t.Context(), Disabling{Name: house}, time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		soon()
		is(t, "its time is over", all[1].Target(house), Healthy)
		if len(all[1].Disabled()) != 0 {
			t.Error(all[1].Disabled())
		}
		for name, d := range map[string]struct {
			d    Disabling
			span time.Duration
		}{
			"nothing": {Disabling{}, 0}, "two": {Disabling{Name: "a,b"}, 0}, "lines": {Disabling{Name: "a", Reason: "x\ny"}, 0},
			"essay": {Disabling{Name: "a", Reason: strings.Repeat("x", 201)}, 0}, "past": {Disabling{Name: "a"}, -1}, "far": {Disabling{Name: "a"}, 400 * 24 * time.Hour},
		} {
			_, err := all[0].Disable(t.Context(), d.d, d.span)
			if f, ok := errors.AsType[*fault.Error](err); !ok || f.Code != fault.InvalidRequest {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Names that callers make up are no business of other replicas, and no labels.
func TestStrangersNamesStayHere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		all := replicas(t, m, "a", "b")
		x := all[0].Target("openai/made-up")
		tries(x, 5, Failed("cut"))
		soon()
		is(t, "here", x, Ejected)
		time.Sleep(shortest)
		is(t, "found out without anybody", x, HalfOpen)
		tries(all[0].Target(house), 5, Failed("cut"))
		soon()
		families, err := all[0].registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprint(families)
		if _, ejected := m.look(); len(ejected) != 1 || strings.Contains(got, "made-up") || !strings.Contains(got, house) {
			t.Errorf("%v, %s", ejected, got)
		}
	})
}

// A probe of ours that fails keeps calls away, one that is answered after that lets a call find out, and none heals.
func TestActiveProbes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, "")
		x, other := b.Target(house), b.Target("openai/gpt-5-mini")
		for range 4 {
			b.Heard("house", "", "connect_error")
		}
		is(t, "four", x, Healthy)
		b.Heard("house", "", "connect_error")
		is(t, "five", x, Ejected)
		is(t, "another's", other, Healthy)
		time.Sleep(2 * shortest)
		if _, ok := x.Probe(time.Now()); ok {
			t.Error("a call was spent on what is down")
		}
		is(t, "down", x, Ejected)
		b.Heard("house", "", "")
		is(t, "it answers", x, HalfOpen)
		k, _ := x.Probe(time.Now())
		x.End(k, Failed("first_token_timeout"))
		until := is(t, "but not calls", x, Ejected).Until
		b.Heard("house", "", "")
		if s := is(t, "it answers still", x, Ejected); !s.Until.Equal(until) {
			t.Errorf("%+v", s)
		}
		at := b.Target(house + "@10.0.0.7:8000")
		for range 5 {
			b.Heard("house", "10.0.0.7:8000", "connect_error")
		}
		is(t, "one address", at, Ejected)
		b.Heard("house", "10.0.0.7:8000", "connect_error")
		b.Heard("house", "10.0.0.8:8000", "")
		is(t, "another address", at, Ejected)
	})
}
