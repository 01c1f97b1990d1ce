package bodies

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"
)

// A Kept is a project that has bodies in the store.
type Kept struct {
	Project string
	// Retention is how long its bodies live; 0 is not at all: the project keeps none any more, or is gone.
	Retention time.Duration
}

// How the purger goes about it: little at a time, and resting longer than it works, so that others hardly notice. How many
// rows are little depends on their size and on the store, so it finds out.
const (
	purgeEvery = time.Minute
	firstPurge = 5 * time.Second // after the start
	fewRows    = 16              // of the first batch
	manyRows   = 1024            // of any
	rests      = 4               // times as long as the work took
	short      = 15 * time.Millisecond
	long       = 40 * time.Millisecond
)

// next is how many rows to delete in the next batch, when so many took so long.
func next(rows int, took time.Duration) int {
	switch {
	case took > long:
		return max(rows/2, 1)
	case took < short:
		return min(2*rows, manyRows)
	}
	return rows
}

// LeaseFor is how long a replica may purge without saying that it lives.
const LeaseFor = 2 * time.Minute

// A Purger deletes bodies whose retention is over. Replicas have one each; a lease in the store lets one of them work.
type Purger struct {
	store Store
	m     *metrics
	log   *slog.Logger
	me    string           // as the lease knows it
	now   func() time.Time // civil time
}

// NewPurger makes the purger for a keeper. now may be nil.
func NewPurger(k *Keeper, store Store, now func() time.Time) *Purger {
	if now == nil {
		now = time.Now
	}
	return &Purger{store: store, m: k.m, log: k.o.Log, me: rand.Text(), now: now}
}

// Run purges every minute until ctx ends.
func (p *Purger) Run(ctx context.Context) error {
	timer := time.NewTimer(firstPurge)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		n, err := p.once(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			p.log.Error("bodies whose retention is over could not all be deleted: it is tried again", "deleted", n, "error", err)
		case n > 0:
			p.log.Info("deleted bodies whose retention is over", "exchanges", n)
		}
		timer.Reset(purgeEvery)
	}
}

// once deletes all that is due, and says how much that was; then it gives back the space. Another replica that has the lease
// is no error.
func (p *Purger) once(ctx context.Context) (deleted int, err error) {
	kept, err := p.store.KeptBodies(ctx)
	if err != nil {
		return 0, err
	}
	for _, k := range kept {
		n, mine, err := p.purge(ctx, k.Project)
		deleted += n
		if err != nil || !mine {
			return deleted, err
		}
	}
	for more := true; more; {
		begun := time.Now()
		if more, err = p.store.GiveBack(ctx); err != nil {
			return deleted, err
		}
		if err := rest(ctx, rests*time.Since(begun)); err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// purge deletes what is due of one project.
func (p *Purger) purge(ctx context.Context, project string) (deleted int, mine bool, err error) {
	now, limit := p.now(), fewRows
	for {
		begun := time.Now()
		n, mine, err := p.store.PurgeBodies(ctx, p.me, project, now, limit)
		if err != nil || !mine {
			return deleted, mine, err
		}
		deleted += n
		p.m.purged.Add(float64(n))
		took := time.Since(begun)
		if n < limit {
			return deleted, true, nil
		}
		limit = next(limit, took)
		if err := rest(ctx, rests*took); err != nil {
			return deleted, true, err
		}
	}
}

func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
