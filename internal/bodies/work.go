package bodies

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/journal"
)

// What the writer waits for.
const (
	linger    = 100 * time.Millisecond // for more bodies, after the first of a batch
	drainTime = 10 * time.Second       // for the store to take what is left when the process stops
)

// How much is written in one transaction: so many rows, or so many bytes.
const (
	maxBatch      = 200
	maxBatchBytes = 4 << 20
)

// A Writer brings what is in the journal of bodies to the store. While the store is slow or away it waits; nothing is
// held in memory but one batch.
type Writer struct {
	k     *Keeper
	j     *journal.Journal
	store Store
	log   *slog.Logger

	// The fields below belong to Run.
	in    *journal.Reader
	batch []Row
	bytes int
	upTo  int64 // behind the last entry that was taken
	retry journal.Retry

	hurry chan struct{} // wakes the writer from lingering

	mu        sync.Mutex // guards the fields below
	committed int64      // up to where the store has everything
	advanced  chan struct{}
}

// NewWriter makes the writer for a keeper.
func NewWriter(k *Keeper, store Store) (*Writer, error) {
	w := &Writer{k: k, j: k.o.Journal, store: store, log: k.o.Log, hurry: make(chan struct{}, 1), advanced: make(chan struct{})}
	w.retry = journal.Retry{Log: w.log, Waiting: "bodies wait in their journal", Again: "bodies are written again"}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_bodies_journal_" + name, Help: help}, f)
	}
	return w, errors.Join(
		k.o.Metrics.Register(gauge("lag_bytes", "Bytes of the journal of bodies that the store does not have yet.", func() float64 { return float64(w.LagBytes()) })),
		k.o.Metrics.Register(gauge("free_bytes", "Bytes that the journal of bodies may still grow by.", func() float64 { return float64(w.j.Room()) })))
}

// LagBytes is how much of the journal the store does not have yet.
func (w *Writer) LagBytes() int64 {
	w.mu.Lock()
	committed := w.committed
	w.mu.Unlock()
	return w.j.Behind(committed)
}

// Run writes until ctx ends, and then what is left, for at most ten seconds; what remains stays in the journal. Its one
// error is a journal that this version cannot read.
func (w *Writer) Run(ctx context.Context) error {
	storing, cancel := journal.Outlive(ctx, drainTime)
	defer cancel()
	if err := w.begin(storing); err != nil {
		return w.stopped()
	}
	defer w.in.Close()
	for last := false; ; {
		if err := w.pass(storing); err != nil {
			if storing.Err() != nil {
				return w.stopped()
			}
			return err
		}
		if last {
			return nil
		}
		last = w.wait(ctx)
	}
}

func (w *Writer) stopped() error {
	w.log.Warn("stopped before the store had all bodies: the rest stays in their journal", "bytes", w.LagBytes())
	return nil
}

// begin asks the store how far it is.
func (w *Writer) begin(ctx context.Context) error {
	var kept int64
	err := w.retry.Do(ctx, "read how far the store has the bodies", func(ctx context.Context) (err error) {
		kept, err = w.store.ReadUpTo(ctx, w.j.ID())
		return err
	})
	if kept > w.j.End() { // the store is newer than the journal: rows that are there stay as they are
		kept = 0
	}
	w.in, w.upTo = w.j.Reader(kept), kept
	return err
}

// wait returns when there is something to do; last says that nothing comes any more.
func (w *Writer) wait(ctx context.Context) (last bool) {
	if err := w.in.Wait(ctx); err != nil {
		return true
	}
	timer := time.NewTimer(linger)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-w.hurry:
	case <-ctx.Done():
	}
	return ctx.Err() != nil
}

// pass brings all that is in the journal to the store, in batches.
func (w *Writer) pass(ctx context.Context) error {
	for more := true; more; {
		var err error
		if more, err = w.fill(ctx); err != nil {
			return err
		}
		if len(w.batch) > 0 {
			err := w.retry.Do(ctx, "write bodies", func(ctx context.Context) error {
				return w.store.AddBodies(ctx, w.j.ID(), w.upTo, w.batch)
			})
			if err != nil {
				return err
			}
		}
		w.advance()
		if err := w.j.Trim(w.upTo); err != nil {
			w.log.Error("the journal of bodies cannot be trimmed", "error", err)
		}
	}
	return nil
}

// fill reads entries into the batch; more says that it is full and there may be others.
func (w *Writer) fill(ctx context.Context) (more bool, err error) {
	for len(w.batch) < maxBatch && w.bytes < maxBatchBytes {
		e, ok, err := w.in.Next()
		if damage, is := errors.AsType[*journal.DamageError](err); is {
			w.k.m.damaged.Inc()
			w.log.Error("the journal of bodies is damaged: what was there is lost", "error", damage)
			continue
		}
		if err != nil {
			if err := w.retry.BackOff(ctx, "read the journal of bodies", err); err != nil {
				return false, err
			}
			continue
		}
		w.upTo = w.in.Position()
		if !ok {
			return false, nil
		}
		row, err := decodeEntry(e.Payload)
		if errors.Is(err, errNewer) {
			return false, fmt.Errorf("bodies: %w", err)
		}
		if err != nil {
			w.k.m.damaged.Inc()
			w.log.Error("an entry of the journal of bodies cannot be decoded: it is lost", "position", e.Start, "error", err)
			continue
		}
		w.batch = append(w.batch, row)
		w.bytes += len(row.Sealed)
	}
	return true, nil
}

// advance notes that the store has the batch, and wakes who waits for that.
func (w *Writer) advance() {
	w.k.m.written.Add(float64(len(w.batch)))
	clear(w.batch) // or the array would keep them alive
	w.batch, w.bytes = w.batch[:0], 0
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.upTo > w.committed {
		w.committed = w.upTo
		close(w.advanced)
		w.advanced = make(chan struct{})
	}
}

// Sync waits until the store has all that was journalled before the call, so that it can be read there.
func (w *Writer) Sync(ctx context.Context) error {
	end := w.j.End()
	for {
		w.mu.Lock()
		there, advanced := w.committed >= end, w.advanced
		w.mu.Unlock()
		if there {
			return nil
		}
		select {
		case w.hurry <- struct{}{}:
		default:
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
