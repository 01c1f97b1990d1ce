package rate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// tradedAtOnce is how many amounts one transaction is about, and patience how long one may take.
	tradedAtOnce = 256
	patience     = 3 * time.Second
	// lookEvery is how often the sharer looks after renewing, what others lack, and what can be given back at the end of an amount.
	lookEvery = time.Second
	// overlap is by how much looks at what is wanted overlap, for what is written is seen a little later.
	overlap = 2 * time.Second
)

// A sharer trades with the store for its book. All of that is done by one goroutine, one thing after the other; callers leave with it
// what they need, and wait for the batch that has it.
type sharer struct {
	o    *Options
	b    *Book
	wake chan struct{}

	mu   sync.Mutex // guards next and over
	next *batch     // what is traded next; nil if nothing is
	over bool       // Run has ended

	until  atomic.Int64 // what is held may be used until then, by the book's clock; 0 before the first renewal
	away   atomic.Bool  // the store did not answer when it was last asked
	active atomic.Bool  // something was asked for, ever

	// Of the goroutine alone.
	runs    int // of holders: each has an id of its own
	holder  Holder
	renewed int64 // when it was last tried
	looked  time.Time
	tails   map[uint64]struct{} // what is to be looked after each time
}

// A batch is what is traded at once, by the names of windows.
type batch struct {
	deals map[uint64]*deal
	done  chan struct{} // closed at the end
	err   error         // good after that
}

// A deal is what is wanted of one amount.
type deal struct {
	rule      Rule  // of what no share is held yet
	need, all int64 // the least, and the sum, of what calls wait for
	more      bool  // more would be good
	wanted    bool  // others lack it
	lacks     bool  // nobody's need was met; good after the batch
}

// A short is what a call lacks of one amount.
type short struct {
	rule *Rule
	name uint64
	n    int64
}

func newSharer(b *Book, o *Options) *sharer {
	s := &sharer{o: o, b: b, wake: make(chan struct{}, 1), tails: map[uint64]struct{}{}}
	s.begin()
	return s
}

// begin takes a new id.
func (s *sharer) begin() {
	s.runs++
	s.holder = Holder{ID: fmt.Sprintf("%s/%d", s.o.Holder, s.runs), Life: Life}
}

// fresh reports whether what is held may be used.
func (s *sharer) fresh(now int64) bool { return now < s.until.Load() }

// ask trades for what a call lacks, and reports whether it is worth looking again. The error is ErrUnavailable, or the context's.
func (s *sharer) ask(ctx context.Context, shorts []short) (bool, error) {
	if s.away.Load() {
		return false, ErrUnavailable
	}
	s.active.Store(true)
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return false, ErrUnavailable
	}
	on := s.batch()
	for i := range shorts {
		d := on.deal(shorts[i].name)
		if d.all == 0 {
			d.rule, d.need = *shorts[i].rule, shorts[i].n
		}
		d.rule.Amount = min(d.rule.Amount, shorts[i].rule.Amount)
		d.need, d.all = min(d.need, shorts[i].n), clamp(d.all+shorts[i].n)
	}
	s.mu.Unlock()
	s.kick()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-on.done:
	}
	if on.err != nil {
		return false, on.err
	}
	for i := range shorts {
		if on.deals[shorts[i].name].lacks {
			return false, nil
		}
	}
	return true, nil
}

// note has amounts looked after: those of which something can be given back, or more is wanted.
func (s *sharer) note(names []uint64, more bool) {
	s.mu.Lock()
	if !s.over {
		for _, name := range names {
			d := s.batch().deal(name)
			d.more = d.more || more
		}
	}
	s.mu.Unlock()
	s.kick()
}

func (s *sharer) kick() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// batch is what is traded next. s.mu is held.
func (s *sharer) batch() *batch {
	if s.next == nil {
		s.next = &batch{deals: map[uint64]*deal{}, done: make(chan struct{})}
	}
	return s.next
}

func (on *batch) deal(name uint64) *deal {
	d := on.deals[name]
	if d == nil {
		d = &deal{}
		on.deals[name] = d
	}
	return d
}

// run trades until ctx ends, and then gives back what is not in use.
func (s *sharer) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			s.look(ctx)
		case <-s.wake:
			s.trade(ctx)
		}
	}
	s.leave()
}

// trade makes the trades that were left to be made.
func (s *sharer) trade(ctx context.Context) {
	s.mu.Lock()
	on := s.next
	s.next = nil
	s.mu.Unlock()
	if on == nil {
		return
	}
	on.err = s.settle(ctx, on)
	close(on.done)
}

// settle makes the trades of a batch.
func (s *sharer) settle(ctx context.Context, on *batch) error {
	names := make([]uint64, 0, len(on.deals))
	for name := range on.deals {
		names = append(names, name)
	}
	slices.Sort(names)
	var err error
	if !s.fresh(s.b.now()) {
		err = s.renew(ctx)
	}
	for some := range slices.Chunk(names, tradedAtOnce) {
		if err == nil {
			err = s.exchange(ctx, on, some)
		}
		if err != nil {
			s.unasked(some)
		}
	}
	return err
}

// unasked notes that nothing is on its way.
func (s *sharer) unasked(names []uint64) {
	for _, name := range names {
		at := s.b.table.shard(name)
		at.mu.Lock()
		if e := at.find(name); e != nil && e.share != nil {
			e.share.asked = false
		}
		at.mu.Unlock()
	}
}

// exchange makes some trades of a batch, in one transaction. The error is ErrUnavailable.
func (s *sharer) exchange(ctx context.Context, on *batch, names []uint64) error {
	trades, of := make([]Trade, 0, len(names)), make([]uint64, 0, len(names))
	for again := false; ; again = true {
		for _, name := range names {
			if t, ok := s.prepare(name, on.deals[name]); ok {
				trades, of = append(trades, t), append(of, name)
			}
		}
		if len(trades) == 0 {
			return nil
		}
		results, is, err := s.tradeRates(ctx, trades)
		switch {
		case err == nil && is:
			for i, name := range of {
				d := on.deals[name]
				d.lacks = results[i].Granted < trades[i].Need
				s.apply(name, d, &trades[i], &results[i])
			}
			return nil
		case err == nil && !again: // and once more, with nothing
			s.lost()
			if err := s.renew(ctx); err != nil {
				return err
			}
			trades, of = trades[:0], of[:0]
			continue
		case err == nil:
			err = errors.New("declared gone twice")
		}
		s.failed(err)
		for i, name := range of {
			s.untold(name, &trades[i])
		}
		return ErrUnavailable
	}
}

func (s *sharer) tradeRates(ctx context.Context, trades []Trade) ([]Result, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s.o.Store.TradeRates(ctx, s.holder, trades)
}

// prepare makes a trade of a deal. What is given back is not used from now on; there is none if there is nothing to do.
func (s *sharer) prepare(name uint64, d *deal) (Trade, bool) {
	now, at := s.b.now(), s.b.table.shard(name)
	at.mu.Lock()
	defer at.mu.Unlock()
	at.room(now, 1)
	e := at.find(name)
	if e == nil || e.share == nil {
		if d.all == 0 {
			return Trade{}, false // it was forgotten
		}
		e = at.get(name)
		e.share = &share{key: Key{strings.Clone(d.rule.ID), strings.Clone(d.rule.Subject), strings.Clone(d.rule.Measure)}, grown: now}
	}
	sh, used := e.share, e.has(now)
	if d.all > 0 {
		is := clamp(d.rule.Amount)
		if is < sh.limit { // what is held may be more than there is now
			sh.amount, sh.untold = min(sh.amount, used), true
		}
		sh.limit = is
	} else if is := sh.target(used, now, d.wanted); is < sh.amount {
		sh.amount, sh.untold = is, true
	} else if !sh.untold && !d.more {
		return Trade{}, false
	}
	sh.asked = true
	t := Trade{Key: sh.key, Limit: sh.limit, Replicas: s.o.Replicas(), Keeps: KeepUses, Has: sh.amount, More: d.more || d.all > 0}
	if d.all > 0 {
		t.Need, t.All = max(used+d.need-sh.amount, 0), max(used+d.all-sh.amount, 0)
	}
	if e.kind() == concurrent {
		t.Keeps = KeepSlots
	} else if used >= sh.amount {
		t.Back = e.Next(now)
	}
	return t, true
}

// apply notes what came of a trade.
func (s *sharer) apply(name uint64, d *deal, t *Trade, r *Result) {
	now, at := s.b.now(), s.b.table.shard(name)
	at.mu.Lock()
	defer at.mu.Unlock()
	e := at.find(name)
	if e == nil || e.share == nil {
		return // it is kept as long as it is asked for
	}
	sh := e.share
	sh.amount, sh.free, sh.back, sh.untold, sh.asked = t.Has+r.Granted, r.Free, r.Back, false, false
	if r.Granted > 0 {
		sh.slice, sh.grown = r.Granted, now
	}
	if t.More {
		sh.tail = r.Tail
	}
	sh.lacked = 0
	if d.lacks {
		sh.lacked, sh.lackedAt = d.need, now
	}
	if sh.tail && sh.amount > 0 {
		s.tails[name] = struct{}{}
	} else {
		delete(s.tails, name)
	}
}

// untold notes that it is not known what the store knows after a trade that failed.
func (s *sharer) untold(name uint64, t *Trade) {
	at := s.b.table.shard(name)
	at.mu.Lock()
	defer at.mu.Unlock()
	if e := at.find(name); e != nil && e.share != nil {
		e.share.untold, e.share.asked, e.share.amount = true, false, t.Has
		s.tails[name] = struct{}{}
	}
}

// renew says that this holder is there. The error is ErrUnavailable.
func (s *sharer) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		s.renewed = s.b.now()
		is, err := s.o.Store.RenewRates(ctx, s.holder)
		switch {
		case err != nil:
			s.failed(err)
			return ErrUnavailable
		case is:
			s.until.Store(s.renewed + int64(Life-StopBefore))
			if s.away.Swap(false) {
				s.o.Log.Info("rates can be shared again")
			}
			return nil
		}
		s.lost()
	}
}

// failed notes that the store did not answer.
func (s *sharer) failed(err error) {
	if !s.away.Swap(true) {
		s.o.Log.Error("rates cannot be shared; what this replica holds can be used for a while", "error", err)
	}
}

// lost forgets all that was held: this holder was declared gone, because it did not renew for long.
func (s *sharer) lost() {
	s.o.Log.Warn("this replica's part of rates was given to others, because it did not renew it in time", "holder", s.holder.ID)
	s.until.Store(0)
	clear(s.tails)
	for i := range s.b.table.shards {
		at := &s.b.table.shards[i]
		at.mu.Lock()
		for j := range at.entries {
			if sh := at.entries[j].share; sh != nil {
				sh.amount, sh.untold, sh.asked = 0, false, false
			}
		}
		at.mu.Unlock()
	}
	s.begin()
}

// look renews, and gives back what is to be given back soon.
func (s *sharer) look(ctx context.Context) {
	if !s.active.Load() {
		return
	}
	if s.away.Load() || s.b.now()-s.renewed >= int64(RenewEvery) {
		if s.renew(ctx) != nil {
			return
		}
	}
	on := &batch{deals: map[uint64]*deal{}}
	if err := s.wanted(ctx, on); err != nil {
		s.failed(err)
		return
	}
	for name := range s.tails {
		on.deal(name)
	}
	_ = s.settle(ctx, on) // what fails is tried again
}

// wanted adds to a batch what others lack.
func (s *sharer) wanted(ctx context.Context, on *batch) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	now, keys, err := s.o.Store.WantedRates(ctx, s.holder, s.looked)
	if err != nil {
		return err
	}
	s.looked = now.Add(-overlap)
	for _, key := range keys {
		on.deal(s.b.table.nameOf(&Rule{ID: key.Rule, Subject: key.Subject, Measure: key.Measure})).wanted = true
	}
	return nil
}

// leave gives back what is not in use, and says that this holder is gone.
func (s *sharer) leave() {
	s.mu.Lock()
	on := s.next
	s.next, s.over = nil, true
	s.mu.Unlock()
	if on != nil {
		on.err = ErrUnavailable
		close(on.done)
	}
	if !s.fresh(s.b.now()) || s.away.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all := &batch{deals: map[uint64]*deal{}}
	for i := range s.b.table.shards {
		at := &s.b.table.shards[i]
		at.mu.Lock()
		for j := range at.entries {
			if e := &at.entries[j]; e.share != nil && !e.share.mayGo() {
				all.deal(e.name).wanted = true
			}
		}
		at.mu.Unlock()
	}
	if err := s.settle(ctx, all); err == nil {
		if err := s.o.Store.LeaveRates(ctx, s.holder); err != nil {
			s.failed(err)
		}
	}
	s.until.Store(0)
}

// visit gives back what has not been in use for long, of the windows of a shard.
func (s *sharer) visit(at *shard) {
	now := s.b.now()
	var spare []uint64
	at.mu.Lock()
	for i := range at.entries {
		if e := &at.entries[i]; e.share != nil && !e.share.asked && e.share.target(e.has(now), now, false) < e.share.amount*7/8 {
			spare = append(spare, e.name)
		}
	}
	at.mu.Unlock()
	if len(spare) > 0 {
		s.note(spare, false)
	}
}
