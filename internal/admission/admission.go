// Package admission decides when a request may go to an upstream, and who goes first if not all may.
//
// Each upstream has a [Gate]: so many calls at once and no more. The limit is learned from the time to the first token
// against what the upstream would need if it were idle. While a gate has a free slot, a request passes with a few atomic
// operations. Otherwise it waits in a bounded queue: strictly by class, with a small share for the lower ones; in a class
// the tenant first that has been served least for its weight (virtual token counters); of a tenant the request whose
// deadline is nearest. A request that would wait longer than it can is refused at once, with the wait that is predicted.
//
// A request may accept any of several gates; the first that frees takes it. Counters are those of one gate, so that who
// is served much by an upstream that nobody else wants has no less of another.
//
// It does not choose upstreams (route), knows no providers' rate limits, and is local to a process: replicas learn their
// limits each for itself, and an upstream's overload is seen by all of them.
package admission

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a Scheduler works with. The zero value of each is its default.
type Options struct {
	// MinLimit and MaxLimit bound how many calls an upstream has at once; 4 and 1024. Limits begin at MaxLimit.
	MinLimit, MaxLimit int
	// Tolerance is how many times the idle time to the first token is still good; 1.5.
	Tolerance float64
	// Floor is the share of grants that a class gets although higher ones wait; 0.05.
	Floor float64
	// QueuePerSlot is how many may wait for a gate in each class, per slot of its limit; 2.
	QueuePerSlot float64
	// MaxWaiting is how many may wait in all; 10,000.
	MaxWaiting int
	// MaxWait is the longest wait of a request, by class, whatever its deadline; 10 s, of flex 60 s.
	MaxWait [Classes]time.Duration
	// Metrics is where the metrics are registered; nil is nowhere.
	Metrics prometheus.Registerer
	// Label makes a metric's label of a gate's key, whenever metrics are read. Its values must be few. nil: the key up to an "@".
	Label func(key string) string
}

func (o *Options) fill() {
	def(&o.MinLimit, 4)
	def(&o.MaxLimit, 1024)
	def(&o.Tolerance, 1.5)
	def(&o.Floor, 0.05)
	def(&o.QueuePerSlot, 2)
	def(&o.MaxWaiting, 10_000)
	def(&o.MaxWait[Flex], time.Minute)
	def(&o.MaxWait[Default], 10*time.Second)
	def(&o.MaxWait[Priority], 10*time.Second)
	o.MaxLimit = max(o.MaxLimit, o.MinLimit)
}

// def sets what has not been set.
func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// A Scheduler has the gates of all upstreams and the queue before them. It is safe for concurrent use, and needs no
// goroutine of its own.
type Scheduler struct {
	o       Options
	born    time.Time
	gates   sync.Map     // key -> *Gate
	made    atomic.Int64 // how many gates, ever
	metrics *metrics

	mu      sync.Mutex // guards the queues of all gates, and the fields below
	seq     uint64
	waiting [Classes]int
}

// New makes a scheduler. The error is that of registering its metrics.
func New(o Options) (*Scheduler, error) {
	o.fill()
	s := &Scheduler{o: o, born: time.Now().Add(-1)} // so that no time is 0, which means none
	m, err := newMetrics(s, o.Metrics)
	s.metrics = m
	return s, err
}

// now is the time since the scheduler was made, by the monotonic clock.
func (s *Scheduler) now() int64 { return int64(time.Since(s.born)) }

// Bounds of gates: keys may come from names that callers make up, or addresses that come and go.
const (
	sweepEvery = 4096 // gates made
	gateIdle   = int64(10 * time.Minute)
	blankIdle  = int64(time.Second)
)

// Gate gives the gate of an upstream: the same for the same key, as long as it is used. Among thousands, one that nobody has
// used for ten minutes is forgotten; for a second, if it has learned nothing.
func (s *Scheduler) Gate(key string) *Gate {
	if g, ok := s.gates.Load(key); ok {
		return g.(*Gate)
	}
	g, loaded := s.gates.LoadOrStore(key, newGate(s, key))
	if !loaded && s.made.Add(1)%sweepEvery == 0 {
		s.forget()
	}
	return g.(*Gate)
}

// forget drops gates that are not used.
func (s *Scheduler) forget() {
	now := s.now()
	s.gates.Range(func(key, v any) bool {
		g := v.(*Gate)
		idle := now - g.used.Load()
		blank := int(g.slots.Load()) == s.o.MaxLimit
		if g.inflight.Load() == 0 && g.waiting.Load() == 0 && (idle > gateIdle || blank && idle > blankIdle) {
			s.gates.Delete(key)
		}
		return true
	})
}

// Waiting is how many requests of a class wait now, for whichever gate.
func (s *Scheduler) Waiting(c Class) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting[c]
}

// Acquire takes a slot of the first of the gates, which are in order of preference, that is free; if none is, it waits
// for whichever is first. It gives the index of the gate and fills slot, whose Done must be called. An error is a
// *Refusal, or the cause of ctx. The gates are not kept, and are different from each other.
func (s *Scheduler) Acquire(ctx context.Context, gates []*Gate, t Ticket, slot *Slot) (int, error) {
	for i, g := range gates {
		// Where somebody waits, whoever comes first is for the queue to say.
		if g.waiting.Load() == 0 && g.take() {
			slot.open(g, s.now())
			return i, nil
		}
	}
	return s.queue(ctx, gates, t, slot)
}
