package health

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const house = "house/qwen3-32b"

// A bench is a board with what it wrote.
type bench struct {
	*Board
	registry *prometheus.Registry
	log      *bytes.Buffer
	events   []Event
	mu       sync.Mutex
}

func newBench(t interface {
	Helper()
	Fatal(...any)
}, store Store, name string) *bench {
	t.Helper()
	n := &bench{log: &bytes.Buffer{}, registry: prometheus.NewRegistry()}
	var err error
	n.Board, err = New(Options{
		Store: store, Log: slog.New(slog.NewTextHandler(n.log, nil)), Metrics: n.registry, Instance: name,
		Rand: func() float64 { return 0 },
		OnChange: func(e Event) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.events = append(n.events, e)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Use([]string{house, "openai/gpt-5-mini", "anthropic/claude"})
	return n
}

// story is what has happened, in short.
func (n *bench) story() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var words []string
	for _, e := range n.events {
		words = append(words, string(e.Change))
	}
	return strings.Join(words, " ")
}

func (n *bench) lines() int { return strings.Count(n.log.String(), "\n") }

// tries sends so many tries, one after the other.
func tries(t *Target, n int, o Outcome) {
	for range n {
		t.End(t.Begin(), o)
	}
}

func is(t *testing.T, what string, target *Target, want Kind) State {
	t.Helper()
	s := target.State(time.Now())
	if s.Kind != want {
		t.Errorf("%s: %s, want %s (%+v)", what, s.Kind, want, s)
	}
	return s
}

func TestWhatEjects(t *testing.T) {
	t.Parallel()
	fails := Failed("connect_error")
	for name, c := range map[string]struct {
		tries func(*Target)
		want  Kind
	}{
		"four in a row":              {func(x *Target) { tries(x, 4, fails) }, Healthy},
		"five in a row":              {func(x *Target) { tries(x, 5, fails) }, Ejected},
		"five, one answered between": {func(x *Target) { tries(x, 4, fails); tries(x, 1, Success); tries(x, 1, fails) }, Healthy},
		"ignored between changes no": {func(x *Target) { tries(x, 4, fails); tries(x, 9, Ignored); tries(x, 1, fails) }, Ejected},
		"refusals of the request":    {func(x *Target) { tries(x, 1000, Ignored) }, Healthy},
		"nine, two in three of them": {func(x *Target) { mix(x, 3) }, Healthy},
		"twelve, two in three":       {func(x *Target) { mix(x, 4) }, Ejected},
		"half, slowly":               {func(x *Target) { slowly(x, 4*time.Second) }, Healthy},
		"half, fast enough":          {func(x *Target) { slowly(x, 2*time.Second) }, Ejected},
		"one in three": {func(x *Target) {
			for range 100 {
				tries(x, 2, Success)
				tries(x, 1, fails)
			}
		}, Healthy},
		"long ago well, then in half": {func(x *Target) { tries(x, 1000, Success); time.Sleep(31 * time.Second); slowly(x, time.Second) }, Ejected},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, nil, "")
				c.tries(b.Target(house))
				is(t, name, b.Target(house), c.want)
				if n := b.lines(); (n == 1) != (c.want == Ejected) || n > 1 {
					t.Errorf("%d lines: %s", n, b.log)
				}
			})
		})
	}
}

// mix sends two that fail and one that does not, so often.
func mix(x *Target, n int) {
	for range n {
		tries(x, 1, Success)
		tries(x, 2, Failed("status"))
	}
}

func slowly(x *Target, gap time.Duration) {
	for i := 0; i < 20 && x.State(time.Now()).Kind == Healthy; i++ {
		tries(x, 1, []Outcome{Success, Failed("status")}[i%2])
		time.Sleep(gap)
	}
}

// The life of an outage of a minute at 50 calls a second: how often it is asked, how soon it is back.
func TestOutageOfAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, "")
		x := b.Target(house)
		tries(x, 100, Success)
		began, probes := time.Now(), 0
		call := func(o Outcome) {
			now := time.Now()
			switch x.State(now).Kind {
			case Healthy, Ramping:
				x.End(x.Begin(), o)
			case HalfOpen:
				if k, ok := x.Probe(now); ok {
					probes++
					x.End(k, o)
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
		for time.Since(began) < time.Minute {
			call(Failed("status_503"))
		}
		if s := is(t, "out", x, Ejected); s.Reason != "status_503" || s.Failing.Before(began) || time.Since(s.Failing) < 59*time.Second {
			t.Errorf("%+v", s)
		}
		if probes < 9 || probes > 12 {
			t.Errorf("%d calls were spent on finding out", probes)
		}
		if n := b.lines(); n != 1+probes {
			t.Errorf("%d lines: %s", n, b.log)
		}
		recovered, last := time.Now(), 0.0
		for x.State(time.Now()).Kind != Healthy && time.Since(recovered) < time.Hour {
			call(Success)
			s := x.State(time.Now())
			if s.Share < last || last == 0 && s.Share > 0.11 || s.Share-last > 0.11 {
				t.Fatalf("the share went from %v to %v", last, s.Share)
			}
			last = s.Share
		}
		if took := time.Since(recovered); took > 15*time.Second {
			t.Errorf("all of its share after %s", took)
		}
		x.End(x.Begin(), Success)
		if !strings.HasSuffix(b.story(), " ramping healthy") || strings.Count(b.story(), "ramping") != 1 {
			t.Error(b.story())
		}
	})
}

// TestFault45 has a hundred calls wait for a target to be half-open, and an answer from before it was ejected come late.
func TestFault45(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, "")
		x := b.Target(house)
		early := make([]Token, 50)
		for i := range early {
			early[i] = x.Begin()
		}
		tries(x, 5, Failed("gap_timeout"))
		until := is(t, "tripped", x, Ejected).Until
		for _, k := range early[:25] {
			x.End(k, Success)
		}
		for _, k := range early[25:] {
			x.End(k, Failed("gap_timeout"))
		}
		if s := is(t, "late ones", x, Ejected); !s.Until.Equal(until) {
			t.Errorf("moved to %v from %v", s.Until, until)
		}
		time.Sleep(time.Until(until))
		is(t, "its time is over", x, HalfOpen)

		var won atomic.Int32
		var token Token
		start := make(chan struct{})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				<-start
				if k, ok := x.Probe(time.Now()); ok {
					won.Add(1)
					token = k
				}
			})
		}
		synctest.Wait()
		close(start)
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d of 100 got the probe", won.Load())
		}
		for _, k := range early { // twice told, and late
			x.End(k, Success)
		}
		is(t, "while one probes", x, HalfOpen)
		if _, ok := x.Probe(time.Now()); ok {
			t.Error("a second probe")
		}
		x.End(token, Failed("gap_timeout"))
		is(t, "it is not well", x, Ejected)
		x.End(token, Success)
		is(t, "the same told again", x, Ejected)
		if got := b.story(); got != "ejected probe_failed" {
			t.Error(got)
		}
	})
}

func TestAProbeThatSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, "")
		x := b.Target(house)
		tries(x, 5, Failed("empty"))
		time.Sleep(shortest)
		k, ok := x.Probe(time.Now())
		x.End(k, Ignored)
		if _, again := x.Probe(time.Now()); !ok || again {
			t.Errorf("probe %v, the very next %v", ok, again)
		}
		time.Sleep(again)
		if _, ok = x.Probe(time.Now()); !ok {
			t.Error("nobody may probe any more")
		}
		time.Sleep(lost) // nobody tells
		if k, ok = x.Probe(time.Now()); !ok {
			t.Error("a probe was lost, and with it the target")
		}
		x.End(k, Success)
		is(t, "answered", x, Ramping)
		if got := b.story(); got != "ejected ramping" {
			t.Error(got)
		}
	})
}

// A target that fails again as soon as it gets more than one call is not asked every few seconds for ever.
func TestARelapseIsTheOldTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, "")
		x := b.Target(house)
		tries(x, 5, Failed("status"))
		began := time.Now()
		rounds := 0
		for time.Since(began) < 20*time.Minute {
			s := x.State(time.Now())
			if s.Kind == HalfOpen {
				k, _ := x.Probe(time.Now())
				x.End(k, Success)
				rounds++
				time.Sleep(ramp + time.Second)
				tries(x, 5, Failed("status"))
			}
			time.Sleep(100 * time.Millisecond)
		}
		if s := x.State(time.Now()); time.Since(s.Failing) < 19*time.Minute || rounds > 45 {
			t.Errorf("%d rounds, %+v", rounds, s)
		}
		for x.State(time.Now()).Kind != HalfOpen {
			time.Sleep(time.Second)
		}
		k, _ := x.Probe(time.Now())
		x.End(k, Success)
		time.Sleep(ramp + relapse)
		tries(x, 5, Failed("status"))
		if s := is(t, "a minute later", x, Ejected); time.Until(s.Until) > shortest {
			t.Errorf("it was well for a minute: %+v", s)
		}
	})
}

// The ramp ends sooner than it took to eject the target.
func TestFailuresOnTheRamp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, "")
		x := b.Target(house)
		tries(x, 5, Failed("status"))
		time.Sleep(shortest)
		k, _ := x.Probe(time.Now())
		x.End(k, Success)
		time.Sleep(ramp / 2)
		if s := is(t, "half way", x, Ramping); s.Share < 0.54 || s.Share > 0.56 {
			t.Errorf("%+v", s)
		}
		tries(x, 2, Failed("status"))
		is(t, "two", x, Ramping)
		tries(x, 1, Failed("status"))
		is(t, "three", x, Ejected)
	})
}

// The only target of a model is used although it is ejected. It comes back when its answers say so, and not for one that got
// through.
func TestTheOnlyTarget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, "")
		x := b.Target(house)
		for range 10 * 60 * 100 { // ten minutes of a brown-out at 100 calls a second: one in two fails
			tries(x, 1, Success)
			tries(x, 1, Failed("status"))
			time.Sleep(20 * time.Millisecond)
		}
		if n := len(b.events); n > 150 {
			t.Errorf("%d changes", n)
		}
		began := time.Now()
		for x.State(time.Now()).Kind != Healthy && time.Since(began) < time.Minute {
			tries(x, 1, Success)
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("well again after %s", took)
		}
	})
}

// TestFault46 has an ejected target asked 500 times a second for a minute.
func TestFault46(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, "")
		x, calls := b.Target(house), 0
		for began := time.Now(); time.Since(began) < time.Minute; calls++ {
			now := time.Now()
			switch x.State(now).Kind {
			case Healthy, Ramping:
				x.End(x.Begin(), Failed("connect_error"))
			case HalfOpen:
				if k, ok := x.Probe(now); ok {
					x.End(k, Failed("connect_error"))
				}
			}
			time.Sleep(2 * time.Millisecond)
		}
		if b.lines() != len(b.events) || len(b.events) > 13 || strings.Count(b.story(), "ejected") != 1 {
			t.Errorf("%d calls, %d lines for %d changes: %s", calls, b.lines(), len(b.events), b.story())
		}
	})
}
