package escrow

import (
	"context"
	"time"
)

// farewell is how long the end of Run may take.
const farewell = 3 * time.Second

// Run renews leases, refills them and gives back what others need or nobody uses, until ctx ends. Then it gives back all that is
// free, within 3 s; what calls that run hold stays held until they are in the books and the next run of this process releases it.
func (b *Bank) Run(ctx context.Context) error {
	defer b.cut()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			b.leave()
			return nil
		case <-tick.C:
			b.look(ctx)
		}
	}
}

// look is what is done each second.
func (b *Bank) look(ctx context.Context) {
	now := b.now()
	b.second.Store(int32(now / int64(time.Second)))
	wanted := b.wanted(ctx)
	var due []*Pool
	for _, p := range b.leased() {
		ask, changed, s := p.look(now, b.civil(now), wanted[p.key])
		if ask {
			due = append(due, p)
		}
		if changed {
			b.o.Changed(p.key, s)
		}
	}
	b.queue(background, due...)
	b.end(ctx)
	for range shards / 64 {
		b.swept = (b.swept + 1) % shards
		b.forget(&b.shards[b.swept], b.second.Load())
	}
}

// wanted are the pools that somebody lacks something of.
func (b *Bank) wanted(ctx context.Context) map[Key]bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	begun := b.now()
	now, keys, err := b.o.Store.Wanted(ctx, b.o.Holder, b.seen)
	if err != nil {
		return nil // what was not looked at will be with the next look
	}
	b.seen = now
	b.clock.Store(&instant{store: now, here: begun})
	set := make(map[Key]bool, len(keys))
	for _, k := range keys {
		set[k] = true
	}
	return set
}

// civil is what the store's clock shows, in microseconds since 1970; our own as long as that is not known.
func (b *Bank) civil(now int64) int64 {
	if c := b.clock.Load(); c != nil {
		return c.store.UnixMicro() + (now-c.here)/int64(time.Microsecond)
	}
	return time.Now().UnixMicro()
}

// look says whether the pool is to be traded, and whether calls were settled since somebody was told how it stands.
func (p *Pool) look(now, civil int64, wanted bool) (ask, changed bool, s State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lease
	if l == nil {
		return false, false, s
	}
	if l.shown != l.spent && p.known {
		l.shown, changed, s = l.spent, true, p.stands()
	}
	over := p.terms.End != 0 && civil > p.terms.End+int64(10*time.Second/time.Microsecond)
	if unused := p.bank.second.Load()-l.used >= idle || over; unused && len(p.wait) == 0 {
		if l.held == 0 && l.spent == l.told && !l.trading && l.until != 0 {
			p.lease = nil
			p.bank.give(p, l)
			return false, changed, s
		}
		p.recall = l.free > 0
	}
	if wanted || p.tail {
		p.recall = p.recall || l.spare(now) > 0
	}
	return p.recall || p.unsure || l.unsure > 0 || len(p.wait) > 0 || l.until-now < renew, changed, s
}

// give has a lease given up that all is told of. The lock of its pool is held.
func (b *Bank) give(p *Pool, l *lease) {
	b.deactivate(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ending = append(b.ending, Trade{Key: p.key, Terms: p.terms, Lease: l.id, Replicas: 1, End: true})
}

// end gives leases up. It is tried until it succeeds: until then nobody else has what is in them.
func (b *Bank) end(ctx context.Context) {
	for {
		b.mu.Lock()
		some := b.ending[:min(len(b.ending), batch)]
		b.mu.Unlock()
		if len(some) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, bound)
		_, err := b.o.Store.Trade(ctx, b.o.Holder, some)
		cancel()
		b.m.trades.Inc()
		b.mu.Lock()
		if err == nil {
			clear(some)
			if b.ending = b.ending[len(some):]; len(b.ending) == 0 {
				b.ending = nil
			}
		} else {
			b.m.failed.Inc()
		}
		b.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// leave gives back what is free, when the process ends.
func (b *Bank) leave() {
	b.mu.Lock()
	close(b.closed)
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	defer context.AfterFunc(ctx, b.cut)()
	quiet := make(chan struct{})
	go func() {
		b.working.Wait()
		close(quiet)
	}()
	select {
	case <-quiet:
	case <-ctx.Done():
		return // what trades still run for cannot be given back by another
	}
	var back []Trade
	for _, p := range b.leased() {
		if t, ok := p.last(); ok {
			back = append(back, t)
		}
	}
	for len(back) > 0 {
		some := back[:min(len(back), batch)]
		if _, err := b.o.Store.Trade(ctx, b.o.Holder, some); err != nil {
			b.o.Log.Warn("leases of budgets could not be given back: the next run of this process will", "leases", len(back), "error", err)
			return
		}
		back = back[len(some):]
	}
	b.end(ctx)
}

// last takes all that is free, for good.
func (p *Pool) last() (t Trade, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lease
	if l == nil || l.until == 0 {
		return t, false
	}
	t = Trade{Key: p.key, Terms: p.terms, Lease: l.id, Back: max(l.free, 0) + l.owed, Replicas: 1}
	t.End = l.held == 0 && l.spent == l.told
	l.free, l.owed, l.until = 0, 0, 0
	return t, t.Back > 0 || t.End
}

// Release gives back what is left in the leases of earlier runs of this process, and returns once that is done or ctx ended. It is to
// be called when all that those runs have journalled is in the store.
func (b *Bank) Release(ctx context.Context) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		once, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := b.o.Store.ReleaseOlder(once, b.o.Holder)
		cancel()
		if err == nil {
			return nil
		}
		b.o.Log.Warn("what earlier runs held of budgets cannot be given back yet", "error", err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
