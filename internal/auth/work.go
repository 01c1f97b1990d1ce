package auth

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// maxWrite is how long the store may take to write times of last use. They are worth no longer wait: what was not written
// is part of the next write.
const maxWrite = 2 * time.Second

// Refresh reads the store's version, and all keys if it has changed. It is for the start, and after a change made here;
// Run does it by itself.
func (k *Keys) Refresh(ctx context.Context) error { return k.snapshot.Refresh(ctx) }

func (k *Keys) read(ctx context.Context) (int64, *snapshot, error) {
	version, projects, keys, err := k.store.AllKeys(ctx)
	if err != nil {
		return 0, nil, err
	}
	admin, _, err := k.store.AdminKeyHash(ctx, Hash{})
	if err != nil {
		return 0, nil, fmt.Errorf("read the admin key's hash: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return version, newSnapshot(projects, keys, admin, k.used), nil
}

// Run keeps the snapshot young and writes times of last use back, until ctx ends; then it writes a last time. It returns
// nil. Reads and writes go on beside each other: a store that can only be read, because somebody else holds it for
// writing, serves keys all the same.
func (k *Keys) Run(ctx context.Context) error {
	var writer sync.WaitGroup
	writer.Go(func() { k.writeOften(ctx) })
	err := k.snapshot.Run(ctx)
	writer.Wait()
	return err
}

func (k *Keys) writeOften(ctx context.Context) {
	const work = "writing times of last use"
	tick := time.NewTicker(k.o.Write)
	defer tick.Stop()
	var fails bool
	for {
		select {
		case <-ctx.Done():
			stopping := context.WithoutCancel(ctx)
			k.report(stopping, work, k.writeUses(stopping), &fails)
			return
		case <-tick.C:
			k.report(ctx, work, k.writeUses(ctx), &fails)
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

// writeUses tells the store which keys were used since it was last told. One runs at a time.
func (k *Keys) writeUses(ctx context.Context) error {
	last := k.unwritten()
	if len(last) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxWrite)
	defer cancel()
	if err := k.store.TouchKeys(ctx, last); err != nil {
		return fmt.Errorf("write times of last use: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, at := range last {
		k.used[id].written = at.UnixMicro()
	}
	return nil
}

// unwritten are the times of last use that the store does not know of.
func (k *Keys) unwritten() map[string]time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	last := map[string]time.Time{}
	for id, u := range k.used {
		if at := u.at.Load(); at > u.written {
			last[id] = time.UnixMicro(at).UTC()
		}
	}
	return last
}
