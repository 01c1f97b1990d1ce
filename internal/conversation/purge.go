package conversation

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/penstock/penstock/internal/purge"
)

const firstPurge = 6 * time.Second // after the start

// Run deletes every minute what is kept too long, until ctx ends. Replicas do it one at a time.
func (k *Keeper) Run(ctx context.Context) error {
	me := rand.Text()
	return purge.Loop(ctx, firstPurge, func(ctx context.Context) (int, error) { return k.purge(ctx, me) }, func(n int, err error) {
		switch {
		case err != nil:
			k.o.Log.Error("responses whose time is over could not all be deleted: it is tried again", "deleted", n, "error", err)
		case n > 0:
			k.o.Log.Info("deleted responses whose time is over", "responses", n)
		}
	})
}

// purge deletes all that is due, and says how much that was. Another replica that has the lease is no error.
func (k *Keeper) purge(ctx context.Context, me string) (deleted int, err error) {
	projects, err := k.o.Store.ResponseProjects(ctx)
	if err != nil {
		return 0, err
	}
	for _, project := range projects {
		n, mine, err := purge.Rows(ctx, func(limit int) (int, bool, error) {
			n, mine, err := k.o.Store.PurgeResponses(ctx, me, project, k.o.Now(), KeepFor, limit)
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
