package fresh

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A source is a store that has something of a version.
type source struct {
	sync.Mutex
	version int64
	err     error
	reads   int
	slow    time.Duration
	taken   []int64
}

func (s *source) options(said *strings.Builder) Options[int64] {
	return Options[int64]{
		What: "things",
		Version: func(context.Context) (int64, error) {
			s.Lock()
			defer s.Unlock()
			return s.version, s.err
		},
		Read: func(ctx context.Context) (int64, *int64, error) {
			s.Lock()
			defer s.Unlock()
			s.reads++
			select {
			case <-time.After(s.slow):
			case <-ctx.Done():
				return 0, nil, ctx.Err()
			}
			return s.version, new(10 * s.version), s.err
		},
		Taken: func(of *int64) {
			s.Lock()
			defer s.Unlock()
			s.taken = append(s.taken, *of)
		},
		Log: slog.New(slog.NewTextHandler(said, nil)),
	}
}

// A copy is ready once it was read and as long as looks succeed, has what there is within a second, reads only what has changed, and is
// relied on for five seconds without the store.
func TestACopyIsYoungOrSaysThatItIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, said := &source{version: 1}, &strings.Builder{}
		c := New(s.options(said), new(int64(-1)))
		if _, ok := c.Age(); ok || c.Ready() || *c.Load() != -1 {
			t.Error("it is ready before it was read")
		}
		if err := c.Refresh(t.Context()); err != nil || !c.Ready() || *c.Load() != 10 {
			t.Fatalf("%v, ready %v, has %d", err, c.Ready(), *c.Load())
		}
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		// pass has time pass, with the source unlocked.
		pass := func(d time.Duration) {
			s.Unlock()
			time.Sleep(d)
			synctest.Wait()
			s.Lock()
		}
		s.Lock()
		pass(10500 * time.Millisecond)
		s.version = 2
		pass(time.Second)
		if *c.Load() != 20 || s.reads != 2 || len(s.taken) != 2 || s.taken[1] != 20 {
			t.Errorf("it has %d after %d reads, told of %v", *c.Load(), s.reads, s.taken)
		}
		s.err = errors.New("away")
		pass(4 * time.Second)
		if !c.Ready() {
			t.Error("it is not relied on 4 s after the store went away")
		}
		pass(1600 * time.Millisecond)
		if c.Ready() || *c.Load() != 20 {
			t.Error("it is relied on more than 5 s after the last good look")
		}
		s.err, s.version = nil, 3
		pass(time.Second)
		if !c.Ready() || *c.Load() != 30 {
			t.Error("it is not ready again")
		}
		s.Unlock()
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if text := said.String(); strings.Count(text, "\n") != 2 || strings.Count(text, "what=things") != 2 || !strings.Contains(text, "cannot be read") || !strings.Contains(text, "can be read again") {
			t.Errorf("it said %s", text)
		}
	})
}

// The age of a copy counts from the beginning of the look that read it, and one that takes longer than it may be old is given up.
func TestAgeIsFromTheBeginningOfALook(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{version: 1, slow: 3 * time.Second}
		c := New(s.options(&strings.Builder{}), nil)
		if err := c.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if age, ok := c.Age(); !ok || age < 3*time.Second || !c.Ready() {
			t.Errorf("its age is %v", age)
		}
		time.Sleep(2100 * time.Millisecond)
		if c.Ready() {
			t.Error("it is ready 5.1 s after its look began")
		}
		s.version, s.slow = 2, time.Minute
		if err := c.Refresh(t.Context()); !errors.Is(err, context.DeadlineExceeded) || c.Ready() || *c.Load() != 10 {
			t.Errorf("%v", err)
		}
	})
}
