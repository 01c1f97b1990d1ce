package bodies

import (
	"context"
	"crypto/rand"
	"log/slog"
	"time"

	"github.com/penstock/penstock/internal/purge"
)

// A Kept is a project that has bodies in the store.
type Kept struct {
	Project string
	// Retention is how long its bodies live; 0 is not at all: the project keeps none any more, or is gone.
	Retention time.Duration
}

const firstPurge = 5 * time.Second // after the start

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
	return purge.Loop(ctx, firstPurge, p.once, func(n int, err error) {
		switch {
		case err != nil:
			p.log.Error("bodies whose retention is over could not all be deleted: it is tried again", "deleted", n, "error", err)
		case n > 0:
			p.log.Info("deleted bodies whose retention is over", "exchanges", n)
		}
	})
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
	return deleted, purge.GiveBack(ctx, p.store.GiveBack)
}

// purge deletes what is due of one project.
func (p *Purger) purge(ctx context.Context, project string) (deleted int, mine bool, err error) {
	now := p.now()
	return purge.Rows(ctx, func(limit int) (int, bool, error) {
		n, mine, err := p.store.PurgeBodies(ctx, p.me, project, now, limit)
		p.m.purged.Add(float64(n))
		return n, mine, err
	})
}
