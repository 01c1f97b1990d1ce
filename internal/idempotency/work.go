package idempotency

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/penstock/penstock/internal/purge"
)

const firstPurge = 7 * time.Second // after the start

// Renew renews the claims of the exchanges that run here, until ctx ends.
func (k *Keeper) Renew(ctx context.Context) error {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := k.renew(ctx); err != nil && ctx.Err() == nil {
			k.o.Log.Warn("claims of idempotency keys could not be renewed: it is tried again", "error", err)
		}
	}
}

func (k *Keeper) renew(ctx context.Context) error {
	k.mu.Lock()
	all := make([]string, 0, len(k.claims))
	for id := range k.claims {
		all = append(all, id)
	}
	k.mu.Unlock()
	const atOnce = 500
	for len(all) > 0 {
		n := min(len(all), atOnce)
		if err := k.o.Store.RenewKeys(ctx, all[:n], lease); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// Run deletes every minute the keys whose day is over, until ctx ends. Replicas do it one at a time.
func (k *Keeper) Run(ctx context.Context) error {
	me := rand.Text()
	return purge.Loop(ctx, firstPurge, func(ctx context.Context) (int, error) { return k.purge(ctx, me) }, func(n int, err error) {
		switch {
		case err != nil:
			k.o.Log.Error("idempotency keys whose day is over could not all be deleted: it is tried again", "deleted", n, "error", err)
		case n > 0:
			k.o.Log.Debug("deleted idempotency keys whose day is over", "keys", n)
		}
	})
}

// purge deletes all that is due, and says how much that was. Another replica that has the lease is no error.
func (k *Keeper) purge(ctx context.Context, me string) (deleted int, err error) {
	projects, err := k.o.Store.KeyProjects(ctx)
	if err != nil {
		return 0, err
	}
	for _, project := range projects {
		n, mine, err := purge.Rows(ctx, func(limit int) (int, bool, error) {
			n, mine, err := k.o.Store.PurgeKeys(ctx, me, project, KeepFor, limit)
			k.purged.Add(float64(n))
			return n, mine, err
		})
		deleted += n
		if err != nil || !mine {
			return deleted, err
		}
	}
	return deleted, purge.GiveBack(ctx, k.o.Store.GiveBack)
}
