package retention

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/penstock/penstock/internal/purge"
)

// memory is a store of blocks that hold exchanges by when they began; those before a block's hold are on hold.
type memory struct {
	mu      sync.Mutex
	blocks  map[int64][]time.Time
	held    map[int64]bool
	version int64
	holder  string // of the lease, "" if it is free
	fails   error
	looked  []int64 // blocks that were asked for
	gave    int
}

func (m *memory) Due(_ context.Context, now time.Time, keep time.Duration) (Due, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	due := Due{Policy: Policy{Now: now, Keep: keep}, Version: m.version}
	for n, rows := range m.blocks {
		if len(rows) > 0 && rows[0].Before(due.Policy.Before(false)) {
			due.Blocks = append(due.Blocks, Block{N: n, Oldest: rows[0]})
		}
	}
	slices.SortFunc(due.Blocks, func(a, b Block) int { return int(a.N - b.N) })
	return due, m.fails
}

func (m *memory) PurgeBlock(_ context.Context, holder string, block int64, p Policy, limit int) (done Done, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looked = append(m.looked, block)
	if m.holder != "" && m.holder != holder {
		return Done{}, m.fails
	}
	done.Mine = true
	if m.held[block] {
		return done, m.fails
	}
	rows := m.blocks[block]
	for done.Deleted < limit && len(rows) > 0 && rows[0].Before(p.Before(false)) {
		rows, done.Deleted = rows[1:], done.Deleted+1
	}
	m.blocks[block] = rows
	if len(rows) > 0 {
		done.More, done.Next = rows[0].Before(p.Before(false)), rows[0].Add(p.Keep)
	}
	return done, m.fails
}

func (m *memory) GiveBack(context.Context) (bool, error) { m.gave++; return false, nil }

// took is how many exchanges are left, and the blocks that were looked at since it was asked last.
func (m *memory) took() (left int, looked []int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rows := range m.blocks {
		left += len(rows)
	}
	looked, m.looked = m.looked, nil
	return left, slices.Compact(looked)
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// What is due goes, batch by batch; what is on hold is not looked at again before something changes; and nothing is done
// without the lease, or where all is kept.
func TestPurger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		m := &memory{blocks: map[int64][]time.Time{}, held: map[int64]bool{2: true}, holder: "another"}
		for b := range int64(4) {
			for i := range 1000 {
				m.blocks[b] = append(m.blocks[b], begin.Add(time.Duration(b)*time.Hour+time.Duration(i)*time.Millisecond))
			}
		}
		var keep atomic.Int64
		var log strings.Builder
		p, err := NewPurger(Options{Store: m, Keep: func() time.Duration { return time.Duration(keep.Load()) }, Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		after := func(d time.Duration, wantLeft int, wantLooked ...int64) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if left, looked := m.took(); left != wantLeft || !slices.Equal(looked, wantLooked) {
				t.Errorf("%d are left, want %d; looked at %v, want %v", left, wantLeft, looked, wantLooked)
			}
		}
		after(270*time.Minute, 4000)
		keep.Store(int64(24 * time.Hour))
		after(20*time.Hour, 4000, 0)
		m.set(func() { m.holder = "" })
		after(2*purge.Every, 3000, 0)
		after(time.Hour, 2000, 1)
		after(time.Hour, 2000, 2)
		after(time.Hour, 1000, 3)
		if n := testutil.ToFloat64(p.purged); n != 3000 {
			t.Errorf("%v were counted", n)
		}
		m.set(func() { m.version++ }) // somebody holds or lifts
		after(2*purge.Every, 1000, 2)
		after(time.Hour, 1000)
		m.set(func() { m.held, m.version, m.fails = nil, m.version+1, errors.New("away") })
		after(10*purge.Every, 1000)
		m.set(func() { m.fails = nil })
		after(2*purge.Every, 0, 2)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "away"); n != 1 {
			t.Errorf("that the store is away was logged %d times:\n%s", n, &log)
		}
		if n := strings.Count(log.String(), "deleted exchanges"); n < 2 || n > 4 {
			t.Errorf("that it deletes was logged %d times:\n%s", n, &log)
		}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"400d": 400 * 24 * time.Hour, "1d": 24 * time.Hour, "36h": 36 * time.Hour, "forever": 0,
		"0": -1, "0d": -1, "23h": -1, "-400d": -1, "always": -1, "": -1, "400": -1, "never": -1,
	} {
		c := Config{Records: text}
		problems := c.Validate()
		if bad := len(problems) > 0; bad != (want < 0) {
			t.Errorf("%q: %v", text, problems)
		} else if !bad && c.Keep() != want {
			t.Errorf("%q is %v", text, c.Keep())
		}
	}
}

func TestStrictFloor(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, c := range []struct{ keep, usual, strict time.Duration }{
		{time.Hour, time.Hour, StrictFloor}, {StrictFloor + 1, StrictFloor + 1, StrictFloor + 1},
	} {
		p := Policy{Now: now, Keep: c.keep}
		if !p.Before(false).Equal(now.Add(-c.usual)) || !p.Before(true).Equal(now.Add(-c.strict)) {
			t.Errorf("%v: %v, %v", c.keep, p.Before(false), p.Before(true))
		}
	}
}

// Who deletes gently and falls behind all the same goes on briskly, until nothing is late.
func TestLag(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var l lag
	for i, step := range []struct {
		after, late time.Duration
		behind      bool
	}{
		{0, 90 * time.Hour, false}, {30 * time.Minute, 95 * time.Hour, false}, {30 * time.Minute, 80 * time.Hour, false}, {time.Hour, 80 * time.Hour, true},
		{time.Minute, 70 * time.Hour, true}, {time.Hour, 60 * time.Hour, true}, {time.Hour, time.Hour, false}, {time.Hour, 3 * time.Hour, true}, {time.Second, 0, false},
	} {
		now = now.Add(step.after)
		if l.look(now, step.late); l.behind != step.behind {
			t.Errorf("step %d: behind %t", i, l.behind)
		}
	}
}
