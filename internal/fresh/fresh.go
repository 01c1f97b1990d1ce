// Package fresh keeps copies in memory of what replicas share through the store, such as keys, stops and limits: so that no call waits
// for the store, a change is known here within a second, and nobody relies on a copy of which nobody knows any more whether it holds.
//
// It does not know what it keeps, and what becomes of calls while that is not known is for whoever has the copy. Where replicas tell
// each other things, instead of being told what operators set, more is needed: see health.
package fresh

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Copy works with. Those without a default are needed.
type Options[T any] struct {
	What string // "keys": what it is, in logs and errors
	// Version is asked at each look, and Read if it is another than that of the copy. Read gives what is of one version, and which; what it
	// gives must not change any more.
	Version func(ctx context.Context) (int64, error)
	Read    func(ctx context.Context) (version int64, of *T, err error)
	Taken   func(of *T) // is told of a new copy when it is in force; nil is nobody
	Log     *slog.Logger
	// MaxStale is how long after the beginning of the last good look the copy is relied on; 5 s.
	MaxStale time.Duration
	Poll     time.Duration // between two looks; 1 s
}

// A Copy is what the store had at the last good look. It is safe for concurrent use.
type Copy[T any] struct {
	o    Options[T]
	born time.Time // what ages are counted from

	// readAt is when the last good look began, in nanoseconds since born; 0 if there was none. It is stored after the copy and loaded
	// before it, so that a copy is never taken for younger than it is.
	readAt atomic.Int64
	of     atomic.Pointer[T]

	reading sync.Mutex // one look at a time, so that an older answer never replaces a newer one
	version int64      // of the copy; guarded by reading
	read    bool       // there is one; guarded by reading
}

// New makes a copy that is not ready before its first Refresh; until then it has what is given here, which may be nil.
func New[T any](o Options[T], before *T) *Copy[T] {
	if o.MaxStale == 0 {
		o.MaxStale = 5 * time.Second
	}
	if o.Poll == 0 {
		o.Poll = time.Second
	}
	// A nanosecond back, so that a look that begins at once is not taken for none.
	c := &Copy[T]{o: o, born: time.Now().Add(-1)}
	c.of.Store(before)
	return c
}

// Load is the copy, however old it is. To rely on it, ask Ready before.
func (c *Copy[T]) Load() *T { return c.of.Load() }

// Ready reports whether the copy is young enough to be relied on.
func (c *Copy[T]) Ready() bool {
	age, ok := c.Age()
	return ok && age <= c.o.MaxStale
}

// Age is how long ago the last good look began; false if there was none.
func (c *Copy[T]) Age() (time.Duration, bool) {
	readAt := c.readAt.Load()
	return time.Since(c.born) - time.Duration(readAt), readAt != 0
}

// Refresh looks whether there is another version, and takes it over. It is for the start, and after a change made here; Run does it by
// itself.
func (c *Copy[T]) Refresh(ctx context.Context) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	began := time.Since(c.born)
	ctx, cancel := context.WithTimeout(ctx, c.o.MaxStale) // a look that began longer ago says nothing any more
	defer cancel()
	version, err := c.o.Version(ctx)
	if err != nil {
		return fmt.Errorf("read the version of %s: %w", c.o.What, err)
	}
	if !c.read || version != c.version {
		version, of, err := c.o.Read(ctx)
		if err != nil {
			return fmt.Errorf("read the %s: %w", c.o.What, err)
		}
		c.of.Store(of)
		c.version, c.read = version, true
		if c.o.Taken != nil {
			c.o.Taken(of)
		}
	}
	c.readAt.Store(int64(began))
	return nil
}

// Run keeps the copy young, until ctx ends. It returns nil.
func (c *Copy[T]) Run(ctx context.Context) error {
	tick := time.NewTicker(c.o.Poll)
	defer tick.Stop()
	fails := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := c.Refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return nil // to end is no failure
		case err != nil && !fails: // not a line a second
			c.o.Log.LogAttrs(ctx, slog.LevelError, "the store cannot be read; what was known before stays in force for a moment", slog.String("what", c.o.What), slog.Any("error", err))
		case err == nil && fails:
			c.o.Log.LogAttrs(ctx, slog.LevelInfo, "the store can be read again", slog.String("what", c.o.What))
		}
		fails = err != nil
	}
}
