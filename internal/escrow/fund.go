package escrow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A Want is what a call needs of a pool.
type Want struct {
	Pool *Pool
	Need int64 // at least 0; of 0, the lease is renewed if it has to be, and the state is known afterwards
}

// Short says that a pool has too little for a call.
type Short struct {
	Key   Key
	State State
	Need  int64
	Free  int64 // what a call that needs no more than this can hope for: what nobody has, and what is free here
}

func (s *Short) Error() string {
	return fmt.Sprintf("escrow: %s has %d free of %d, and %d is needed", s.Key.Rule, s.Free, s.State.Limit, s.Need)
}

const (
	patience = int64(1200 * time.Millisecond) // how long others are given to give back
	bound    = 2 * time.Second                // how long Fund, or a trade, may take
)

// errSlow is a store that does not answer in time.
var errSlow = errors.New("escrow: the store did not answer in time")

// A waiter is a call that needs something of one pool.
type waiter struct {
	need   int64
	since  int64
	failed bool       // a trade for it failed already
	done   chan error // has room for the one answer
}

// Fund brings at least what is needed into the lease of each pool, so that Hold will do; it asks the store for all of them at once,
// and for calls that come at the same time together. What it brought is kept for the caller for 0.3 s; if Hold fails still, for
// another call was faster or the lease was lost, ask again.
//
// Where a pool has too little it waits 1.2 s at most for other replicas to give back what is free in their leases, if that can be of
// use. Then it returns a *Short, of the first such pool in the order of the wants. Any other error, within 2 s, means that the store
// could not be asked or that ctx ended.
func (b *Bank) Fund(ctx context.Context, wants []Want) error {
	if b.isClosed() {
		return errClosed
	}
	type entry struct {
		p *Pool
		w *waiter
	}
	now := b.now()
	var waits []entry
	var pools []*Pool
	leave := func() {
		for _, e := range waits {
			e.p.leave(e.w)
		}
	}
	for _, want := range wants {
		w, err := want.Pool.join(want.Need, now)
		if err != nil {
			b.m.short.Inc()
			leave()
			return err
		}
		if w != nil {
			waits = append(waits, entry{want.Pool, w})
			pools = append(pools, want.Pool)
		}
	}
	if len(waits) == 0 {
		return nil
	}
	b.m.asked.Inc()
	b.queue(urgent, pools...)
	timer := time.NewTimer(bound)
	defer timer.Stop()
	for _, e := range waits {
		var err error
		select {
		case err = <-e.w.done:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-timer.C:
			err = errSlow
		case <-b.closed:
			err = errClosed
		}
		if err != nil {
			if _, ok := errors.AsType[*Short](err); ok {
				b.m.short.Inc()
			}
			leave()
			return err
		}
	}
	return nil
}

// join makes a waiter, or none if what is needed is there.
func (p *Pool) join(need, now int64) (*waiter, error) {
	need = max(need, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	var spare int64
	if l := p.lease; l != nil && now < l.until {
		if spare = l.spare(now); need <= spare && len(p.wait) == 0 {
			return nil, nil
		}
	}
	if p.short > 0 && need >= p.short && now-p.shortAt < refused {
		s := p.stands()
		return nil, &Short{Key: p.key, State: s, Need: need, Free: plus(s.Free(), spare)}
	}
	w := &waiter{need: need, since: now, done: make(chan error, 1)}
	p.wait = append(p.wait, w)
	return w, nil
}

// leave takes a waiter out. What was promised to it is anyone's again.
func (p *Pool) leave(w *waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.wait, w); i >= 0 {
		p.drop(i)
		return
	}
	select {
	case err := <-w.done:
		if l := p.lease; err == nil && l != nil {
			l.promised = max(l.promised-w.need, 0)
		}
	default:
	}
}

// drop takes the waiter at an index out. The lock is held.
func (p *Pool) drop(i int) {
	if p.wait = slices.Delete(p.wait, i, i+1); len(p.wait) == 0 {
		p.wait = nil
	}
}

// serve tells waiters what is there for them already, in the order of their coming. The lock is held.
func (p *Pool) serve(now int64) {
	l := p.lease
	if l == nil || now >= l.until {
		return
	}
	spare := l.spare(now)
	for i := 0; i < len(p.wait); {
		w := p.wait[i]
		if w.need > spare {
			i++
			continue
		}
		spare -= w.need
		l.promised, l.promisedAt = plus(l.promised, w.need), now
		w.done <- nil
		p.drop(i)
	}
}

// needs are what the least of the waiters needs, and all of them. The lock is held.
func (p *Pool) needs() (least, all int64) {
	least = p.wait[0].need
	for _, w := range p.wait {
		least, all = min(least, w.need), plus(all, w.need)
	}
	return least, all
}

// refuse decides what becomes of those who wait still after a trade that succeeded, and when they are to be asked for again, if at
// all. The lock is held; progress says that the next trade may do better at once.
func (p *Pool) refuse(now, left int64, progress bool) (again rank) {
	free := p.state.Free()
	var spare int64
	if l := p.lease; l != nil {
		spare = l.spare(now)
	}
	reach := plus(free, spare)
	hope := plus(reach, max(p.state.Held-left, 0)) // others may give back all that they have
	for i := 0; i < len(p.wait); {
		w := p.wait[i]
		switch {
		case w.need <= reach && progress:
			again = urgent
			i++
		case w.need > hope || now-w.since >= patience:
			s := p.stands()
			w.done <- &Short{Key: p.key, State: s, Need: w.need, Free: plus(s.Free(), spare)}
			if p.short == 0 || w.need < p.short || now-p.shortAt >= refused {
				p.short, p.shortAt = w.need, now
			}
			p.drop(i)
		default:
			p.askLater()
			i++
		}
	}
	return again
}

// askLater asks for the waiters again in a moment. The lock is held.
func (p *Pool) askLater() {
	if p.later {
		return
	}
	p.later = true
	time.AfterFunc(100*time.Millisecond+rand.N(100*time.Millisecond), func() {
		p.mu.Lock()
		p.later = false
		p.mu.Unlock()
		p.bank.queue(urgent, p)
	})
}

// fail is what becomes of waiters when a trade failed: those of the first failure are tried once more. The lock is held.
func (p *Pool) fail(err error, first bool) {
	for i := 0; i < len(p.wait); {
		if w := p.wait[i]; w.failed || !first {
			w.done <- err
			p.drop(i)
			continue
		}
		p.wait[i].failed = true
		p.askLater()
		i++
	}
}
