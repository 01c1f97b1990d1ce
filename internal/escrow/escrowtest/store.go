// Package escrowtest has a store of leases in memory, for tests: it keeps to what escrow.Store promises, and fails, freezes and loses
// replies as it is told. It is no model of the books: calls are told of by Tell, and nothing is kept of them but sums.
package escrowtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/escrow"
)

// A Store keeps pools and leases in memory. The zero value is empty. Its clock is time.Now.
type Store struct {
	mu     sync.Mutex
	pools  map[escrow.Key]*pool
	trades int
}

type pool struct {
	terms    escrow.Terms
	state    escrow.State // but Held, and what is Unknown for leases that are not renewed
	leases   map[string]*lease
	lackedAt time.Time
	need     int64 // what a call needed last
}

type lease struct {
	holder    escrow.Holder
	net, left int64
	renewed   time.Time
	lost      bool
}

// ErrInvalid is a trade that no holder may ask for.
var ErrInvalid = errors.New("escrowtest: invalid trade")

// Trade is escrow.Store's.
func (s *Store) Trade(ctx context.Context, h escrow.Holder, trades []escrow.Trade) ([]escrow.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trades++
	for i := range trades {
		if err := s.check(&trades[i]); err != nil {
			return nil, err
		}
	}
	results := make([]escrow.Result, len(trades))
	for i := range trades {
		results[i] = s.trade(h, &trades[i])
	}
	return results, nil
}

func (s *Store) check(t *escrow.Trade) error {
	p := s.pools[t.Key]
	bad := t.Need < 0 || t.Want < t.Need || t.Back < 0 || t.Replicas < 1 || t.Lease == "" || (t.End && t.Want > 0)
	if p != nil && p.leases[t.Lease] != nil {
		l := p.leases[t.Lease]
		bad = bad || (!l.lost && t.Back > l.left)
	} else {
		bad = bad || (t.Back > 0 && !t.End)
	}
	if bad {
		return fmt.Errorf("%w: %+v", ErrInvalid, *t)
	}
	return nil
}

func (s *Store) trade(h escrow.Holder, t *escrow.Trade) (r escrow.Result) {
	p := s.pool(t.Key)
	if t.Terms.Version >= p.terms.Version {
		p.terms = t.Terms
		p.state.Limit = t.Terms.Limit
		p.state.Highest = max(p.state.Highest, t.Terms.Limit)
	}
	l := p.leases[t.Lease]
	switch {
	case l != nil && l.lost:
		return escrow.Result{Lost: true, State: p.stand()}
	case t.End:
		if l != nil {
			delete(p.leases, t.Lease)
		}
		return escrow.Result{State: p.stand()}
	case l == nil:
		l = &lease{holder: h}
		p.leases[t.Lease] = l
	}
	l.renewed = time.Now()
	l.net -= t.Back
	l.left -= t.Back
	if t.Need > 0 {
		p.need = t.Need
	}
	switch free := p.stand().Free(); {
	case t.Need > free:
		p.lackedAt = time.Now()
	case p.tail(t):
		r.Granted = t.Need
	default:
		r.Granted = max(t.Need, min(t.Want, free/int64(2*t.Replicas)))
	}
	l.net += r.Granted
	l.left += r.Granted
	r.Net, r.Left, r.State, r.Tail = l.net, l.left, p.stand(), p.tail(t)
	return r
}

// tail reports whether little is left, by what calls need.
func (p *pool) tail(t *escrow.Trade) bool {
	return p.stand().Free()/int64(t.Replicas) < max(t.Need, p.need)
}

func (s *Store) pool(k escrow.Key) *pool {
	if s.pools == nil {
		s.pools = map[escrow.Key]*pool{}
	}
	p := s.pools[k]
	if p == nil {
		p = &pool{leases: map[string]*lease{}}
		s.pools[k] = p
	}
	return p
}

func (p *pool) stand() escrow.State {
	state := p.state
	for _, l := range p.leases {
		if time.Since(l.renewed) > escrow.Life {
			state.Unknown += l.left
		} else {
			state.Held += l.left
		}
	}
	return state
}

// Wanted is escrow.Store's.
func (s *Store) Wanted(ctx context.Context, h escrow.Holder, since time.Time) (time.Time, []escrow.Key, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys []escrow.Key
	for k, p := range s.pools {
		mine := false
		for _, l := range p.leases {
			mine = mine || l.holder == h
		}
		if mine && !since.IsZero() && !p.lackedAt.Before(since) {
			keys = append(keys, k)
		}
	}
	return time.Now(), keys, nil
}

// ReleaseOlder is escrow.Store's.
func (s *Store) ReleaseOlder(ctx context.Context, h escrow.Holder) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		maps.DeleteFunc(p.leases, func(_ string, l *lease) bool {
			return l.holder.Journal == h.Journal && l.holder.Run != h.Run && !l.lost
		})
	}
	return nil
}

// Tell books the record of a call: what it had reserved of a lease, and what it came to, or that this is unknown.
func (s *Store) Tell(k escrow.Key, id string, held, spent int64, unknown bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pool(k)
	if unknown {
		spent = held
	}
	took := min(held, spent)
	if l := p.leases[id]; l == nil || l.lost {
		took = 0
	} else {
		took = min(took, l.left)
		l.left -= took
	}
	if unknown {
		p.state.Unknown += took
		return
	}
	p.state.Settled += spent
	p.state.Over += spent - took
}

// SettleUnknown books what is unknown as spent.
func (s *Store) SettleUnknown(k escrow.Key, spent int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pool(k)
	p.state.Unknown -= spent
	p.state.Settled += spent
}

// Take settles a lease by hand: what is in it is booked as spent, and whoever has it finds it lost.
func (s *Store) Take(k escrow.Key, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pool(k)
	if l := p.leases[id]; l != nil && !l.lost {
		p.state.Settled += l.left
		l.left, l.lost = 0, true
	}
}

// State is how a pool stands.
func (s *Store) State(k escrow.Key) escrow.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pool(k).stand()
}

// Left is what a lease has, and false if it is not there.
func (s *Store) Left(k escrow.Key, id string) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.pool(k).leases[id]
	if l == nil || l.lost {
		return 0, false
	}
	return l.left, true
}

// Leases are the ids of the leases of a pool that are not lost.
func (s *Store) Leases(k escrow.Key) (ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range s.pool(k).leases {
		if !l.lost {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Trades counts the transactions that leases were traded in.
func (s *Store) Trades() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trades
}

// A Link is one process's way to a store. It may be cut, frozen and lose replies.
type Link struct {
	*Store
	mu     sync.Mutex
	frozen chan struct{} // closed when it is over, nil if it is not frozen
	down   bool
	lose   func() bool // whether the reply of a trade is lost
	drop   func() bool // whether a trade is lost
	delay  time.Duration
	late   time.Duration
	refuse func(escrow.Trade) bool
}

// ErrDown is a store that cannot be reached, or a reply that is lost.
var ErrDown = errors.New("escrowtest: the connection is lost")

// Down cuts the link, or mends it.
func (l *Link) Down(down bool) { l.set(func() { l.down = down }) }

// Lose has trades and their replies get lost, as the functions say; nil loses nothing.
func (l *Link) Lose(request, reply func() bool) { l.set(func() { l.drop, l.lose = request, reply }) }

// Delay has each answer take a while.
func (l *Link) Delay(d time.Duration) { l.set(func() { l.delay = d }) }

// Late has each trade be in force for a while before its reply comes.
func (l *Link) Late(d time.Duration) { l.set(func() { l.late = d }) }

// Refuse has trades fail of which one is as the function says.
func (l *Link) Refuse(f func(escrow.Trade) bool) { l.set(func() { l.refuse = f }) }

// Freeze keeps everything waiting until Thaw.
func (l *Link) Freeze() {
	l.set(func() {
		if l.frozen == nil {
			l.frozen = make(chan struct{})
		}
	})
}

// Thaw ends Freeze.
func (l *Link) Thaw() {
	l.set(func() {
		if l.frozen != nil {
			close(l.frozen)
		}
		l.frozen = nil
	})
}

func (l *Link) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// pass waits until the link serves.
func (l *Link) pass(ctx context.Context) error {
	l.mu.Lock()
	frozen, delay := l.frozen, l.delay
	l.mu.Unlock()
	if frozen != nil {
		select {
		case <-frozen:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return ErrDown
	}
	return nil
}

// Trade is escrow.Store's.
func (l *Link) Trade(ctx context.Context, h escrow.Holder, trades []escrow.Trade) ([]escrow.Result, error) {
	if err := l.pass(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	lost, dropped := l.lose != nil && l.lose(), l.drop != nil && l.drop()
	dropped = dropped || l.refuse != nil && slices.ContainsFunc(trades, l.refuse)
	late := l.late
	l.mu.Unlock()
	if dropped {
		return nil, ErrDown
	}
	results, err := l.Store.Trade(ctx, h, trades)
	if err == nil && late > 0 {
		select {
		case <-time.After(late):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err == nil && lost {
		return nil, ErrDown
	}
	return results, err
}

// Wanted is escrow.Store's.
func (l *Link) Wanted(ctx context.Context, h escrow.Holder, since time.Time) (time.Time, []escrow.Key, error) {
	if err := l.pass(ctx); err != nil {
		return time.Time{}, nil, err
	}
	return l.Store.Wanted(ctx, h, since)
}

// ReleaseOlder is escrow.Store's.
func (l *Link) ReleaseOlder(ctx context.Context, h escrow.Holder) error {
	if err := l.pass(ctx); err != nil {
		return err
	}
	return l.Store.ReleaseOlder(ctx, h)
}
