package stop

import (
	"context"
	"fmt"
	"time"
)

// Refresh looks whether stops have changed, and takes them over. It is for the start, and after a change made here; Run
// does it by itself.
func (b *Board) Refresh(ctx context.Context) error {
	b.reading.Lock()
	defer b.reading.Unlock()
	began := time.Since(b.born)
	ctx, cancel := context.WithTimeout(ctx, b.o.MaxStale) // a look that began longer ago says nothing any more
	defer cancel()
	version, err := b.o.Store.StopVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the version of stops: %w", err)
	}
	if version != b.known.Load().version {
		next := &known{}
		if next.version, next.stops, err = b.o.Store.Stops(ctx); err != nil {
			return fmt.Errorf("read the stops: %w", err)
		}
		b.known.Store(next)
		b.sweep(next.stops)
	}
	b.readAt.Store(int64(began))
	return nil
}

// Run keeps what is known young, until ctx ends. It returns nil.
func (b *Board) Run(ctx context.Context) error {
	tick := time.NewTicker(b.o.Poll)
	defer tick.Stop()
	fails := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := b.Refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !fails:
			b.o.Log.Error("stops cannot be read; those known before stay in force", "error", err)
		case err == nil && fails:
			b.o.Log.Info("stops can be read again")
		}
		fails = err != nil
	}
}
