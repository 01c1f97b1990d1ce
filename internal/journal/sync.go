package journal

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"time"
)

// A group lets callers at the same time share one sync: those that arrive while one is running share the next, which
// begins after all of their appends.
type group struct {
	flush func() error

	mu      sync.Mutex // guards the fields below
	next    *round     // has not begun; nil if nobody waits for it
	running bool
	stopped bool
	done    sync.WaitGroup
}

// A round is one sync.
type round struct {
	over chan struct{} // closed when err is set
	err  error
}

// wait returns when a sync that began after the call is over.
func (g *group) wait(ctx context.Context, most time.Duration) error {
	r := g.join()
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-r.over:
		return r.err
	case <-timer.C:
		return ErrSyncTimeout
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *group) join() *round {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		r := &round{over: make(chan struct{}), err: ErrClosed}
		close(r.over)
		return r
	}
	if g.next == nil {
		g.next = &round{over: make(chan struct{})}
	}
	if !g.running {
		g.running = true
		g.done.Go(g.run)
	}
	return g.next
}

// run syncs until nobody waits.
func (g *group) run() {
	for {
		g.mu.Lock()
		r := g.next
		g.next = nil
		g.running = r != nil
		g.mu.Unlock()
		if r == nil {
			return
		}
		r.err = g.flush()
		close(r.over)
	}
}

// stop lets nobody join any more, and waits for those who have.
func (g *group) stop() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.done.Wait()
}

// flush syncs all segments that the disk has not confirmed, and their names.
func (j *Journal) flush() error {
	if j.o.BeforeSync != nil {
		if err := j.o.BeforeSync(); err != nil {
			return err
		}
	}
	dirty, names := j.unsynced()
	for _, s := range dirty {
		if err := j.syncSegment(s); err != nil {
			j.mu.Lock()
			defer j.mu.Unlock()
			// After a failed sync the kernel may count lost pages as written, and a second sync would succeed for nothing:
			// what comes from now on goes to another file.
			j.retire()
			j.newFiles = j.newFiles || names
			return err
		}
	}
	if names {
		if err := j.o.disk.SyncDir(j.dir); err != nil {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.newFiles = true
			return err
		}
	}
	j.markSynced(dirty)
	return nil
}

// unsynced takes stock of what the disk has not confirmed. The caller syncs it.
func (j *Journal) unsynced() (dirty []segment, names bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, s := range j.segments {
		if s.synced < s.end && s.start >= j.begin {
			dirty = append(dirty, s)
		}
	}
	names, j.newFiles = j.newFiles, false
	return dirty, names
}

func (j *Journal) syncSegment(s segment) error {
	f, err := j.o.disk.Open(j.path(s.start), os.O_WRONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // trimmed since
	}
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// markSynced notes up to where the disk has confirmed the segments.
func (j *Journal) markSynced(confirmed []segment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.segments {
		for _, c := range confirmed {
			if s := &j.segments[i]; s.start == c.start {
				s.synced = max(s.synced, c.end)
			}
		}
	}
}
