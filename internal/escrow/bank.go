package escrow

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are what a Bank works with. Those without a default are needed.
type Options struct {
	Store  Store
	Holder Holder
	// Replicas says how many processes share the pools at the moment; nil is one.
	Replicas func() int
	Log      *slog.Logger          // nil is silent
	Metrics  prometheus.Registerer // nil is none
	// Changed is told how a pool stands whenever that is newly known from the store, and each second while calls are settled here. It
	// is called off the path of calls, at times from several goroutines at once; nil is nobody.
	Changed func(Key, State)
}

// A Bank has the leases of one process. It is safe for concurrent use. Run must run for it to be of use: what it does not renew is
// not spent from after 28 s.
type Bank struct {
	o      Options
	born   time.Time
	seed   maphash.Seed
	shards [shards]shard
	second atomic.Int32 // of now, about: Run counts on
	m      metrics

	mu      sync.Mutex    // taken after a pool's, never before
	queues  [3][]*Pool    // what is to be traded, by its rank; of rank none is nothing
	traders [3]int        // how many are at work, by rank
	active  []*Pool       // with a lease
	ending  []Trade       // leases that are to be given up
	closed  chan struct{} // closed when no more trades begin
	working sync.WaitGroup
	failing atomic.Bool     // the last trade failed
	base    context.Context // ends when no more is to be waited for
	cut     context.CancelFunc

	// What only Run looks at.
	seen  time.Time // on the store's clock: since when it is to say what is wanted
	swept int       // the shard that was swept last
	clock atomic.Pointer[instant]
}

// An instant is one instant on both clocks.
type instant struct {
	store time.Time
	here  int64
}

const shards = 256

// A shard is a part of the pools, by the hash of their keys; those of the same hash are in a list.
type shard struct {
	sync.RWMutex
	pools map[uint64]*Pool
	n     int
}

// find is the pool of a key, nil if there is none.
func (s *shard) find(hash uint64, k *Key) *Pool {
	for p := s.pools[hash]; p != nil; p = p.next {
		if p.key == *k {
			return p
		}
	}
	return nil
}

// New makes a bank without leases.
func New(o Options) *Bank {
	if o.Replicas == nil {
		o.Replicas = func() int { return 1 }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changed == nil {
		o.Changed = func(Key, State) {}
	}
	// A nanosecond back, so that nothing happens at 0, which means never.
	b := &Bank{o: o, born: time.Now().Add(-1), seed: maphash.MakeSeed(), closed: make(chan struct{})}
	b.base, b.cut = context.WithCancel(context.Background())
	for i := range b.shards {
		b.shards[i].pools = map[uint64]*Pool{}
	}
	b.m = newMetrics(b)
	return b
}

// now is on a clock that nobody sets, in nanoseconds, more than 0. A process that was stopped finds it gone on.
func (b *Bank) now() int64 { return int64(time.Since(b.born)) }

func (b *Bank) replicas() int { return max(b.o.Replicas(), 1) }

// hash spreads keys over shards and within them.
func (b *Bank) hash(k *Key) uint64 {
	const odd = 0x9e3779b97f4a7c15
	h := maphash.String(b.seed, k.Rule)
	if k.Subject != "" {
		h = h*odd ^ maphash.String(b.seed, k.Subject)
	}
	return (h ^ uint64(k.Start)) * odd
}

// Pool is the pool of a key, which is made if it is not there. Newer terms replace those it has. It asks nobody and is cheap; a pool
// that is not asked for is forgotten after some minutes, so whoever holds on to it for longer than one call asks it to Stay with each.
func (b *Bank) Pool(k Key, t Terms) *Pool {
	hash := b.hash(&k)
	s := &b.shards[hash>>56]
	s.RLock()
	p := s.find(hash, &k)
	s.RUnlock()
	if p == nil || !p.Stay() {
		p = b.add(s, hash, &k, &t)
	}
	if t.Version > p.version.Load() {
		p.newTerms(t)
	}
	return p
}

// Lookup is the pool of a key if this process has it in memory, else nil: whoever only looks makes none.
func (b *Bank) Lookup(k Key) *Pool {
	hash := b.hash(&k)
	s := &b.shards[hash>>56]
	s.RLock()
	defer s.RUnlock()
	return s.find(hash, &k)
}

func (b *Bank) add(s *shard, hash uint64, k *Key, t *Terms) *Pool {
	s.Lock()
	defer s.Unlock()
	if p := s.find(hash, k); p != nil && p.Stay() {
		return p
	}
	p := &Pool{bank: b, key: *k, terms: *t, at: -1, next: s.pools[hash]}
	p.version.Store(t.Version)
	p.used.Store(b.second.Load())
	s.pools[hash] = p
	s.n++
	return p
}

// activate lists a pool that has a lease. Its lock is held.
func (b *Bank) activate(p *Pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.at < 0 {
		p.at = int32(len(b.active))
		b.active = append(b.active, p)
	}
}

// deactivate takes it from the list. Its lock is held.
func (b *Bank) deactivate(p *Pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p.at < 0 {
		return
	}
	last := len(b.active) - 1
	b.active[p.at] = b.active[last]
	b.active[p.at].at = p.at
	b.active[last] = nil
	b.active, p.at = b.active[:last], -1
}

// leased are the pools with a lease.
func (b *Bank) leased() []*Pool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*Pool(nil), b.active...)
}

// forget drops the pools of a shard that nobody used for a while and that have no lease.
func (b *Bank) forget(s *shard, second int32) {
	s.Lock()
	defer s.Unlock()
	before := s.n
	for hash, p := range s.pools {
		var keep *Pool
		for p != nil {
			next := p.next
			if p.forget(second) {
				s.n--
			} else {
				p.next, keep = keep, p
			}
			p = next
		}
		if keep == nil {
			delete(s.pools, hash)
		} else {
			s.pools[hash] = keep
		}
	}
	if before > 2*s.n { // a map keeps the room that it once needed
		s.pools = maps.Clone(s.pools)
	}
}

// pools is how many are known.
func (b *Bank) pools() (n int) {
	for i := range b.shards {
		s := &b.shards[i]
		s.RLock()
		n += s.n
		s.RUnlock()
	}
	return n
}

// isClosed reports whether no more trades begin.
func (b *Bank) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// errClosed is what callers are told that come when the process ends.
var errClosed = errors.New("escrow: the process ends")

type metrics struct {
	trades, failed, asked, short, lost prometheus.Counter
}

func newMetrics(b *Bank) metrics {
	count := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := metrics{
		trades: count("penstock_escrow_trades_total", "Transactions in which leases were renewed, filled or given back."),
		failed: count("penstock_escrow_trades_failed_total", "Of these, those that failed or whose outcome is not known."),
		asked:  count("penstock_escrow_calls_that_asked_total", "Calls that had to wait for the store, since the lease here had too little."),
		short:  count("penstock_escrow_short_total", "Times that a pool had too little for a call."),
		lost:   count("penstock_escrow_leases_lost_total", "Leases that were settled by hand while this process still had them."),
	}
	if b.o.Metrics == nil {
		return m
	}
	gauge := func(name, help string, value func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	b.o.Metrics.MustRegister(m.trades, m.failed, m.asked, m.short, m.lost,
		gauge("penstock_escrow_leases", "Leases that this process has.", func() int {
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.active)
		}),
		gauge("penstock_escrow_pools", "Windows of budgets that this process has in memory.", b.pools))
	return m
}
