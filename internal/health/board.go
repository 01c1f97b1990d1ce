package health

import (
	"context"
	"crypto/rand"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	mathrand "math/rand/v2"
)

// Options are what a Board works with. Those without a default are needed.
type Options struct {
	Store    Store // nil: nothing is shared, kept or disabled
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Instance string         // what this replica is called, for people
	Rand     func() float64 // chance, from 0 to 1, asked by one at a time; nil is a generator of its own
	// OnChange is told of every change, after it; it must not wait. May be nil.
	OnChange func(Event)
	Poll     time.Duration    // between two looks at the store; 1 s
	Now      func() time.Time // civil time, the store's; nil is time.Now
}

// A Change is what happened to a target.
type Change string

// The changes.
const (
	WasEjected    Change = "ejected"
	ProbeFailed   Change = "probe_failed" // it stays ejected, for longer
	BeganRamp     Change = "ramping"
	BecameHealthy Change = "healthy"
	WasDisabled   Change = "disabled"
	WasEnabled    Change = "enabled"
)

// An Event is one change of one target.
type Event struct {
	Target  string // or a provider, of what operators said
	Change  Change
	Reason  string
	Failing time.Duration // how long it has been failing, or was
	For     time.Duration // how long it is ejected now, at most
	By      string        // which replica or person brought it about; "" for this replica
}

type changes []Event

func (c changes) and(more changes) changes { return append(c, more...) }

// maxTargets bounds what a board remembers. Callers may make names up where no models are configured, so others than the
// configured are forgotten first.
const maxTargets = 4096

// A Board knows all targets. It is safe for concurrent use.
type Board struct {
	o       Options
	holder  string // this process, among those that share the store
	metrics *metrics
	wake    chan struct{}

	random sync.Mutex // one at a time asks Options.Rand

	mu         sync.RWMutex // guards the fields below
	targets    map[string]*Target
	configured map[string]bool

	working sync.Mutex             // one round of work at a time
	version int64                  // that the targets show; guarded by working
	anew    atomic.Bool            // what the store has is to be read whatever its version
	words   atomic.Pointer[[]word] // what operators disabled
}

// A word is a disabling, with its instants in terms of this process.
type word struct {
	Disabling
	shut *shut
}

// New makes a board on which every target is well.
func New(o Options) (*Board, error) {
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Rand == nil {
		o.Rand = mathrand.Float64 //nolint:gosec // chance is no secret
	}
	b := &Board{
		o: o, holder: "hb_" + ulid.MustNew(ulid.Now(), rand.Reader).String(), wake: make(chan struct{}, 1),
		targets: map[string]*Target{}, configured: map[string]bool{}, version: -1,
	}
	b.words.Store(&[]word{})
	var err error
	b.metrics, err = newMetrics(o.Metrics, b)
	return b, err
}

// Use says which targets are configured, as PROVIDER/MODEL: these are shared between replicas and become labels. Those at one
// address each, PROVIDER/MODEL@ADDRESS, are with them.
func (b *Board) Use(targets []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.configured = make(map[string]bool, len(targets))
	for _, t := range targets {
		b.configured[t] = true
	}
	for key, t := range b.targets {
		t.known.Store(b.isConfigured(key))
	}
	b.anew.Store(true) // the store may have more to say of these
	b.poke()
}

// isConfigured is called with the lock held.
func (b *Board) isConfigured(key string) bool {
	if b.configured[key] {
		return true
	}
	at := strings.LastIndexByte(key, '@')
	return at > 0 && b.configured[key[:at]]
}

// Target gives the target of a key, PROVIDER/MODEL or PROVIDER/MODEL@ADDRESS, always the same. What is more than a board
// remembers is well whatever happens, unless it is disabled.
func (b *Board) Target(key string) *Target {
	b.mu.RLock()
	t := b.targets[key]
	b.mu.RUnlock()
	if t != nil {
		return t
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.targets[key]; t != nil {
		return t
	}
	known := b.isConfigured(key)
	t = &Target{key: strings.Clone(key), board: b}
	t.seen.Store(&seen{epoch: 1})
	t.known.Store(known)
	if len(b.targets) >= maxTargets && !b.forget() && !known {
		t.deaf = true
		return t
	}
	b.targets[t.key] = t
	return t
}

// forget drops what is not configured and says nothing, and reports whether there is room now. It is called with the lock held.
func (b *Board) forget() bool {
	maps.DeleteFunc(b.targets, func(_ string, t *Target) bool { return !t.known.Load() && t.seen.Load().kind == Healthy })
	return len(b.targets) < maxTargets
}

// all lists the targets, by key.
func (b *Board) all() []*Target {
	b.mu.RLock()
	defer b.mu.RUnlock()
	list := slices.Collect(maps.Values(b.targets))
	slices.SortFunc(list, func(x, y *Target) int { return strings.Compare(x.key, y.key) })
	return list
}

// A Standing is a target as operators see it.
type Standing struct {
	Target string
	State
	Configured bool   // others are names that callers made up, where they may
	By         string // who disabled it
	OK, Failed int    // outcomes within the last half minute, since the last change
}

// Standings lists the targets that something is known of, by name.
func (b *Board) Standings() []Standing {
	now := time.Now()
	all := b.all()
	list := make([]Standing, len(all))
	for i, t := range all {
		list[i] = t.Standing(now)
	}
	return list
}

// Look is how a target is that need not be known yet, without making it known.
func (b *Board) Look(key string, now time.Time) Standing {
	b.mu.RLock()
	t := b.targets[key]
	b.mu.RUnlock()
	if t == nil {
		t = &Target{key: key, board: b}
		t.seen.Store(&seen{epoch: 1})
	}
	return t.Standing(now)
}

// Standing is how the target is now, and what its last tries said.
func (t *Target) Standing(now time.Time) Standing {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.past.born.IsZero() {
		t.past.turn(now)
	}
	out := Standing{Target: t.key, State: t.State(now), Configured: t.known.Load(), OK: int(t.past.ok), Failed: int(t.past.failed)}
	if out.Kind == Disabled {
		_, out.By = wordOn(*t.board.words.Load(), t.key)
	}
	return out
}

func (b *Board) chance() float64 {
	b.random.Lock()
	defer b.random.Unlock()
	return b.o.Rand()
}

// shared reports whether other replicas are told of the target.
func (t *Target) shared() bool { return t.board.o.Store != nil && t.known.Load() }

// poke wakes the worker.
func (b *Board) poke() {
	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
}

// tell makes changes known: one log line, one count and one event for each, and the worker for the store.
func (b *Board) tell(name string, done changes) {
	if len(done) == 0 {
		return
	}
	for _, e := range done {
		e.Target = name
		b.metrics.count(e)
		b.log(e)
		if b.o.OnChange != nil {
			b.o.OnChange(e)
		}
	}
	b.poke()
}

func (b *Board) log(e Event) {
	attrs := []any{"target", e.Target, "reason", e.Reason}
	if e.Failing > 0 {
		attrs = append(attrs, "failing", e.Failing.Round(time.Millisecond))
	}
	if e.For > 0 {
		attrs = append(attrs, "for", e.For.Round(time.Millisecond))
	}
	if e.By != "" {
		attrs = append(attrs, "by", e.By)
	}
	switch e.Change {
	case WasEjected:
		level := slog.LevelWarn
		if e.By != "" {
			level = slog.LevelInfo // that replica has warned
		}
		b.o.Log.Log(context.Background(), level, "a target is ejected", attrs...)
	case ProbeFailed:
		b.o.Log.Info("a target stays ejected", attrs...)
	case BeganRamp:
		b.o.Log.Info("a target is taken back, little by little", attrs...)
	case BecameHealthy:
		b.o.Log.Info("a target is healthy again", attrs...)
	case WasDisabled:
		b.o.Log.Warn("a target is disabled", attrs...)
	case WasEnabled:
		b.o.Log.Info("a target is enabled", attrs...)
	}
}
