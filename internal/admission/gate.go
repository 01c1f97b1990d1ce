package admission

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A Gate is the door of one upstream. Its methods are lock-free.
type Gate struct {
	s   *Scheduler
	key string

	inflight atomic.Int32
	slots    atomic.Int32  // the limit, rounded down
	limit    atomic.Uint64 // the bits of a float64
	waiting  atomic.Int32  // requests that would take a slot of this gate
	hold     atomic.Int64  // the mean time that slots are held, in nanoseconds; 0 is not known
	released atomic.Int64  // slots that were given back, ever
	used     atomic.Int64  // when a slot was last taken
	sent     atomic.Int64  // requests whose first token was waited for, ever
	answered atomic.Int64  // of those, the ones that have it, or ended without
	unheard  atomic.Int64  // likewise, the ones that ended without
	look     atomic.Int64  // when the limit is to be looked at again
	good     atomic.Int64  // when an answer last came to its end

	learning sync.Mutex // guards learned
	learned  learned

	lines [Classes]line // guarded by Scheduler.mu
	pace  pace          // likewise
}

func newGate(s *Scheduler, key string) *Gate {
	g := &Gate{s: s, key: key}
	g.used.Store(s.now())
	g.learned.base, g.learned.idle = 1, newIdle()
	g.setLimit(float64(s.o.MaxLimit))
	return g
}

// Key is the upstream's.
func (g *Gate) Key() string { return g.key }

// Inflight is how many slots are taken.
func (g *Gate) Inflight() int { return int(g.inflight.Load()) }

// Limit is how many calls the upstream may have at once, as learned up to now.
func (g *Gate) Limit() float64 { return math.Float64frombits(g.limit.Load()) }

// Waiting is how many requests wait that accept this gate.
func (g *Gate) Waiting() int { return int(g.waiting.Load()) }

// Free reports whether a request would get a slot at once.
func (g *Gate) Free() bool { return g.waiting.Load() == 0 && g.inflight.Load() < g.slots.Load() }

// Hold is the mean time that a slot is held; 0 is not known.
func (g *Gate) Hold() time.Duration { return time.Duration(g.hold.Load()) }

// Expect says how many calls the upstream is said to work on at once, and the limit begins there. It changes nothing once
// something has been learned, or for 0.
func (g *Gate) Expect(slots int) {
	g.learning.Lock()
	defer g.learning.Unlock()
	if k := &g.learned; k.shrunk == 0 && k.refused == 0 && slots > 0 && int(g.slots.Load()) == g.s.o.MaxLimit {
		k.told = float64(slots)
		g.setLimit(k.told)
	}
}

func (g *Gate) setLimit(limit float64) {
	limit = min(max(limit, float64(g.s.o.MinLimit)), float64(g.s.o.MaxLimit))
	g.limit.Store(math.Float64bits(limit))
	g.slots.Store(int32(limit))
}

// take takes a slot if there is one.
func (g *Gate) take() bool {
	for {
		n := g.inflight.Load()
		if n >= g.slots.Load() {
			return false
		}
		if g.inflight.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a slot back, and hands it on if somebody waits. Whoever begins to wait counts itself first and then looks
// for a free slot; here it is the other way round. So one of the two sees the other.
func (g *Gate) release() {
	g.released.Add(1)
	g.inflight.Add(-1)
	g.serve()
}

// serve grants what is free to who waits.
func (g *Gate) serve() {
	if g.waiting.Load() == 0 {
		return
	}
	g.s.mu.Lock()
	g.s.dispatch(g)
	g.s.mu.Unlock()
}

// held counts how long a slot was held.
func (g *Gate) held(d int64) {
	const part = 32
	old := g.hold.Load()
	mean := d
	if old != 0 {
		mean = old + (d-old)/part
	}
	g.hold.CompareAndSwap(old, max(mean, 1)) // if another was quicker, this one does not count
}
