package route

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/quota"
)

// An upstream is what a try is sent to: a target, or one server of it. What is known of it by itself, whatever model name
// it answers for, is in its shared part, which outlives reloads.
type upstream struct {
	llm.Target
	*shared
	key      string         // Target.String(), with "@HOST:PORT" behind it for one server of several
	name     string         // Target.String()
	endpoint string         // HOST:PORT, "" if the target is one address
	account  *quota.Account // at the provider; nil knows no limits
	provider Provider
	place    int // in the order of the pool
	origin   int // in the order of the configuration
	bit      int // of the pool's prefixes, or noBit
	weight   float64
	region   string
	private  bool
	slots    int
	// Of the catalogue's model, as far as it is known.
	lacks   needs
	context int64
}

// A shared is what is learnt of an upstream. It is safe for concurrent use.
type shared struct {
	load   load
	budget budget
	health *health.Target
	gate   *admission.Gate
}

// State is what is learnt of upstreams, for the life of the process.
type State struct {
	// Health and Admission are asked for each upstream; nil is none.
	Health    *health.Board
	Admission *admission.Scheduler

	mu    sync.Mutex // guards the fields below
	all   map[string]*shared
	swept time.Time // when idle ones were forgotten last
}

// maxShared bounds how many upstreams are remembered: without configured models, callers name them, and servers come and go. Those
// that have not been used for idleShared are forgotten if there is need; whoever still has one goes on with it.
const (
	maxShared  = 10_000
	idleShared = 10 * time.Minute
)

// of gives the shared part of an upstream. If there are too many, it is one that is not remembered.
func (s *State) of(key string) *shared {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one != nil {
		return one
	}
	one = &shared{}
	one.load.init()
	if s.Health != nil {
		one.health = s.Health.Target(key)
	}
	if s.Admission != nil {
		one.gate = s.Admission.Gate(key)
	}
	if s.all == nil {
		s.all = map[string]*shared{}
	}
	if len(s.all) < maxShared || s.forget(time.Now()) {
		s.all[key] = one
	}
	return one
}

// forget drops those that nobody uses, a minute after it did so last at the earliest, and reports whether there is room. The caller
// holds mu.
func (s *State) forget(now time.Time) bool {
	if !s.swept.IsZero() && now.Sub(s.swept) < time.Minute {
		return false
	}
	s.swept = now
	for key, one := range s.all {
		idle := min(one.load.pace[streamed].age(now), one.load.pace[plain].age(now))
		if one.load.inflight.Load() == 0 && idle >= idleShared.Seconds() {
			delete(s.all, key)
		}
	}
	return len(s.all) < maxShared
}

// A pool is what answers for one name.
type pool struct {
	upstreams []*upstream
	policy    policy
	rules     []rule
	low       *rule // while a budget of the caller runs out, nil if nothing changes then
	lowAt     int   // percent
	lowOutput int64
	output    int64 // the cap of calls that name none
	tries     int
	retryWait time.Duration
	hedge     *hedging
	// onContext and onPolicy are asked where a target refuses the request for that.
	onContext, onPolicy []*upstream
	words               string // for the record, where nothing was out of the ordinary
	chosen              bool   // there is something to choose
	// finds says that servers of a target are looked for, and found is the pool with them in place of it.
	finds  bool
	found  atomic.Pointer[found]
	prefix *prefixes
}

// targets are the targets of the pool, each once.
func (p *pool) targets() []llm.Target {
	var all []llm.Target
	for _, u := range p.upstreams {
		if !slices.Contains(all, u.Target) {
			all = append(all, u.Target)
		}
	}
	return all
}
