package health

import (
	"context"
	"fmt"
	"time"
)

const (
	// leaseFor is how long a replica may probe without saying that it lives.
	leaseFor = 5 * time.Second
	// unused is how long it keeps a probe that no call of its own takes.
	unused = 2 * time.Second
	// patience is how long the store may take for one answer.
	patience = time.Second
)

// Run shares what is known with other replicas and moves on what time alone does, until ctx ends. It returns nil.
func (b *Board) Run(ctx context.Context) error {
	tick := time.NewTicker(b.o.Poll)
	defer tick.Stop()
	failed := false
	for {
		ticked := false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			ticked = true
		case <-b.wake:
		}
		err := b.round(ctx, ticked)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failed:
			b.o.Log.Warn("what replicas know of targets cannot be shared; each goes on by itself", "error", err)
		case err == nil && failed:
			b.o.Log.Info("what replicas know of targets is shared again")
		}
		failed = err != nil
	}
}

// Refresh takes over what the store has. It is for the start, and after a change made here; Run does it by itself.
func (b *Board) Refresh(ctx context.Context) error { return b.round(ctx, false) }

// round is one look at everything. What must be done goes on if the store fails; the error is the store's.
func (b *Board) round(ctx context.Context, ticked bool) error {
	b.working.Lock()
	defer b.working.Unlock()
	all := b.all()
	for _, t := range all {
		t.mu.Lock()
		done := t.settle(time.Now())
		t.mu.Unlock()
		b.tell(t.key, done)
	}
	if b.o.Store == nil {
		return nil
	}
	b.outlive()
	err := b.send(ctx, all)
	if err == nil {
		err = b.look(ctx)
	}
	for _, t := range b.all() {
		if ticked {
			t.ask.CompareAndSwap(mustWait, wantsNot)
		}
		if next := b.lease(ctx, t, err != nil); err == nil {
			err = next
		}
	}
	return err
}

// send tells the store of own changes.
func (b *Board) send(ctx context.Context, all []*Target) error {
	for _, t := range all {
		if err := b.sendOne(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (b *Board) sendOne(ctx context.Context, t *Target) error {
	t.mu.Lock()
	v, was := t.seen.Load(), t.store
	if !was.dirty {
		t.mu.Unlock()
		return nil
	}
	var e Ejection
	if v.kind == Ejected {
		e = b.ejection(t, v)
		t.store.until = e.Until // even if no answer comes, it may be there
	}
	t.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var err error
	switch {
	case v.kind == Ejected:
		e, err = b.o.Store.Eject(ctx, e)
	case !was.until.IsZero():
		err = b.o.Store.Recover(ctx, t.key, was.until)
	}
	if err != nil {
		return fmt.Errorf("tell the store of %s: %w", t.key, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.store.until = e.Until // zero after Recover
	if t.seen.Load().epoch != v.epoch {
		return nil // there is news already
	}
	t.store.dirty = false
	return nil
}

// ejection is an ejection in the store's terms.
func (b *Board) ejection(t *Target, v *seen) Ejection {
	now, civil := time.Now(), b.o.Now()
	at := func(i time.Time) time.Time { return civil.Add(i.Sub(now)).UTC().Truncate(time.Microsecond) }
	return Ejection{Target: t.key, Since: at(v.since), Until: at(v.until), Failing: at(v.failing), Reason: v.reason, Instance: b.o.Instance}
}

// look takes over what others have changed.
func (b *Board) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	version, err := b.o.Store.HealthVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the version of targets: %w", err)
	}
	anew := b.anew.Swap(false)
	if version == b.version && !anew {
		return nil
	}
	s, err := b.o.Store.Health(ctx)
	if err != nil {
		b.anew.Store(anew)
		return fmt.Errorf("read the targets: %w", err)
	}
	rows := make(map[string]*Ejection, len(s.Ejections))
	for i := range s.Ejections {
		e := &s.Ejections[i]
		b.mu.RLock()
		known := b.isConfigured(e.Target)
		b.mu.RUnlock()
		if known {
			rows[e.Target] = e
			b.Target(e.Target)
		}
	}
	for _, t := range b.all() {
		if t.shared() {
			b.tell(t.key, b.compare(t, rows[t.key]))
		}
	}
	b.heed(s.Disabled)
	b.version = s.Version
	return nil
}

// compare holds a target against what the store has of it, nil if nothing.
func (b *Board) compare(t *Target, row *Ejection) changes {
	now, civil := time.Now(), b.o.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.seen.Load()
	switch {
	case t.store.dirty: // the store does not know yet
		return nil
	case row == nil && t.store.until.IsZero():
		t.store.dirty = v.kind == Ejected // it came to be shared while it was ejected
		return nil
	case row == nil:
		t.store.until = time.Time{}
		if v.kind != Ejected {
			return nil
		}
		done := t.recover(now, "elsewhere")
		t.store.dirty = false
		return done
	case row.Until.Equal(t.store.until):
		return nil
	}
	return t.adopt(row, now, civil)
}

// adopt takes over another's ejection. How long it still lasts is counted once and held against the monotonic clock from then
// on; a civil clock that is wrong at that moment can make it a probe too early or too late, and no more.
func (t *Target) adopt(row *Ejection, now, civil time.Time) changes {
	left := min(max(row.Until.Sub(civil), 0), longest)
	before := func(i time.Time) time.Time { return now.Add(-max(civil.Sub(i), 0)) }
	c := WasEjected
	if t.seen.Load().kind == Ejected {
		c = ProbeFailed
	}
	next := &seen{kind: Ejected, since: before(row.Since), until: now.Add(left), failing: before(row.Failing), reason: row.Reason, down: t.seen.Load().down}
	t.next(next)
	t.store = stored{until: row.Until}
	return changes{{Change: c, Reason: row.Reason, Failing: now.Sub(next.failing), For: left, By: row.Instance}}
}

// lease lets this replica probe a target that some call of it would have, or keeps or gives back what it has. While the store
// is away it takes the right by itself.
func (b *Board) lease(ctx context.Context, t *Target, away bool) error {
	now := time.Now()
	t.mu.Lock()
	v, until, claim := t.seen.Load(), t.store.until, t.claim
	t.mu.Unlock()
	if !t.shared() || v.kind != Ejected || now.Before(v.until) || !v.lease && t.ask.Load() != wants {
		return nil
	}
	d := leaseFor
	if v.lease && (claim.IsZero() || now.Sub(claim) >= lost) && now.Sub(v.leased) >= unused {
		d = 0 // another may have calls for it
	}
	yes, err := away, error(nil)
	if !away {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if yes, err = b.o.Store.LeaseProbe(ctx, t.key, until, b.holder, d); err != nil {
			yes, err = true, fmt.Errorf("lease the probe of %s: %w", t.key, err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen.Load().epoch != v.epoch {
		return err
	}
	yes = yes && d > 0
	switch {
	case yes && !v.lease:
		t.swap(func(v *seen) { v.lease, v.leased = true, now })
	case !yes && v.lease:
		t.swap(func(v *seen) { v.lease = false })
	}
	switch {
	case yes || d == 0:
		t.ask.Store(wantsNot)
	default:
		t.ask.Store(mustWait)
	}
	return err
}
