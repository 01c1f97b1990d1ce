package auth

import (
	"context"
	"fmt"
	"time"
)

// Refresh reads the store's version, and all keys if it has changed. It is for the start, and after a change made here;
// Run does it by itself.
func (k *Keys) Refresh(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	began := time.Since(k.born)
	ctx, cancel := context.WithTimeout(ctx, k.o.MaxStale) // a read that began longer ago says nothing any more
	defer cancel()
	version, err := k.store.KeyVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the version of keys: %w", err)
	}
	if s := k.snapshot.Load(); s == nil || s.version != version {
		if err := k.load(ctx); err != nil {
			return err
		}
	}
	k.readAt.Store(int64(began))
	return nil
}

func (k *Keys) load(ctx context.Context) error {
	version, projects, keys, err := k.store.AllKeys(ctx)
	if err != nil {
		return fmt.Errorf("read all keys: %w", err)
	}
	admin, _, err := k.store.AdminKeyHash(ctx, Hash{})
	if err != nil {
		return fmt.Errorf("read the admin key's hash: %w", err)
	}
	k.snapshot.Store(newSnapshot(version, projects, keys, admin, k.used))
	return nil
}

// Run keeps the snapshot young and writes times of last use back, until ctx ends; then it writes a last time. It returns
// nil.
func (k *Keys) Run(ctx context.Context) error {
	tick := time.NewTicker(k.o.Poll)
	defer tick.Stop()
	wrote := time.Now()
	var readFails, writeFails bool
	for {
		select {
		case <-ctx.Done():
			stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.o.MaxStale)
			defer cancel()
			k.report(stopping, "writing times of last use", k.writeUses(stopping), &writeFails)
			return nil
		case <-tick.C:
		}
		k.report(ctx, "reading keys", k.Refresh(ctx), &readFails)
		if time.Since(wrote) >= k.o.Write {
			wrote = time.Now()
			k.report(ctx, "writing times of last use", k.writeUses(ctx), &writeFails)
		}
	}
}

// report logs the first failure of a row, and the first success behind it: not a line a second.
func (k *Keys) report(ctx context.Context, work string, err error, fails *bool) {
	switch {
	case ctx.Err() != nil:
		return // stopping is no failure
	case err != nil && !*fails:
		k.log.Error("the store does not answer; trying again", "work", work, "error", err)
	case err == nil && *fails:
		k.log.Info("the store answers again", "work", work)
	}
	*fails = err != nil
}

// writeUses tells the store which keys were used since it was last told.
func (k *Keys) writeUses(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := map[string]time.Time{}
	for id, u := range k.used {
		if at := u.at.Load(); at > u.written {
			last[id] = time.UnixMicro(at).UTC()
		}
	}
	if len(last) == 0 {
		return nil
	}
	if err := k.store.TouchKeys(ctx, last); err != nil {
		return fmt.Errorf("write times of last use: %w", err)
	}
	for id, at := range last {
		k.used[id].written = at.UnixMicro()
	}
	return nil
}
