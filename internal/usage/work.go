package usage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/journal"
)

// What the writer waits for.
const (
	linger    = 100 * time.Millisecond // for more records, after the first of a batch
	idle      = time.Second            // before it looks after the journal although that has nothing new
	drainTime = 10 * time.Second       // for the store to take what is left when the process stops
)

// maxBatch is how many records are written in one transaction.
const maxBatch = 500

// carryAfter is how many bytes an open exchange may hold back the trimming of the journal before it is written again.
const carryAfter = 64 << 20

// A Writer brings what is in the journal to the store: the journal is its queue, and the store keeps how far it has come.
// While the store is slow or away, it lags and waits; nothing is held in memory but one batch.
type Writer struct {
	r     *Recorder
	j     *journal.Journal
	store Store
	log   *slog.Logger

	// The fields below belong to Run.
	in      *journal.Reader
	kept    int64 // up to where the store had the records when Run began
	settled bool  // the exchanges of dead processes are in the batch or beyond it
	orphans int64 // behind their records in the journal
	open    openSet
	batch   []*Record
	upTo    int64 // behind the last entry that was taken
	retry   journal.Retry
	stuck   bool  // the journal could not be trimmed last time
	carry   int64 // carryAfter, smaller in tests

	caughtUp chan struct{} // closed once the store has all that lay in the journal when Run began
	hurry    chan struct{} // wakes the writer from lingering
	pending  atomic.Int64  // when the oldest record of the batch was journalled, in Unix nanoseconds; 0 if there is none
	written  prometheus.Counter
	damaged  prometheus.Counter

	mu        sync.Mutex // guards the fields below
	committed int64      // up to where the store has everything
	advanced  chan struct{}
}

// NewWriter makes the writer for a recorder that keeps records.
func NewWriter(r *Recorder, store Store) (*Writer, error) {
	if r.j == nil {
		return nil, errors.New("usage: records are off, so there is nothing to write")
	}
	w := &Writer{
		r: r, j: r.j, store: store, log: r.o.Log, open: openSet{byID: map[string]*open{}}, carry: carryAfter, caughtUp: make(chan struct{}),
		hurry: make(chan struct{}, 1), advanced: make(chan struct{}),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_records_written_total", Help: "Records that the store has taken."}),
		damaged: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_journal_damage_total", Help: "Places where the journal could not be read and was skipped."}),
	}
	w.retry = journal.Retry{
		Log: w.log, Waiting: "records wait in the journal", Again: "records are written again",
		Paused: func() { _ = r.probe() }, // for Ready
	}
	lag := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "penstock_journal_" + name, Help: help}, f)
	}
	err := register(r.o.Metrics, w.written, w.damaged,
		lag("lag_bytes", "Bytes of the journal that the store does not have yet.", func() float64 { return float64(w.LagBytes()) }),
		lag("lag_seconds", "Age of the oldest record that waits for the store.", func() float64 { return w.Lag().Seconds() }),
		lag("free_bytes", "Bytes that the journal may still grow by.", func() float64 { return float64(w.j.Room()) }))
	if err != nil {
		return nil, err
	}
	return w, nil
}

// LagBytes is how much of the journal the store does not have yet.
func (w *Writer) LagBytes() int64 {
	w.mu.Lock()
	committed := w.committed
	w.mu.Unlock()
	return w.j.Behind(committed)
}

// Lag is how long the oldest record that was read from the journal has waited for the store; 0 if none waits.
func (w *Writer) Lag() time.Duration {
	since := w.pending.Load()
	if since == 0 {
		return 0
	}
	return max(time.Since(time.Unix(0, since)), 0)
}

// Run writes until ctx ends, and then what is left, for at most ten seconds; what remains stays in the journal. At the
// start it settles the exchanges of processes that are gone. Its one error is a journal that this version cannot read.
func (w *Writer) Run(ctx context.Context) error {
	storing, cancel := journal.Outlive(ctx, drainTime)
	defer cancel()
	if err := w.begin(storing); err != nil {
		return w.stopped()
	}
	defer w.in.Close()
	for caughtUp, last := false, false; ; {
		_ = w.r.probe() // for Ready
		if err := w.pass(storing); err != nil {
			if storing.Err() != nil {
				return w.stopped()
			}
			return err
		}
		if !caughtUp && w.settled && w.upTo >= w.orphans {
			caughtUp = true
			close(w.caughtUp)
		}
		if last {
			return nil
		}
		last = w.wait(ctx)
	}
}

// stopped says what is left when the time for draining is over.
func (w *Writer) stopped() error {
	w.log.Warn("stopped before the store had all records: the rest stays in the journal", "bytes", w.LagBytes())
	return nil
}

// begin asks the store how far it is. All that is in the journal is read again, also what the store has: intents that lie
// there may have no record yet.
func (w *Writer) begin(ctx context.Context) error {
	w.pending.Store(time.Now().UnixNano())
	defer w.pending.Store(0)
	err := w.retry.Do(ctx, "read how far the store has the journal", func(ctx context.Context) (err error) {
		w.kept, err = w.store.ReadUpTo(ctx, w.j.ID())
		return err
	})
	if w.kept > w.j.End() {
		w.log.Warn("the store knows of more than is in the journal: all of it is read again", "position", w.kept, "end", w.j.End())
		w.kept = 0
	}
	w.in = w.j.Reader(0)
	return err
}

// wait returns when there is something to do: at once if somebody asked, else after some time for more to come. last
// says that nothing comes any more.
func (w *Writer) wait(ctx context.Context) (last bool) {
	waiting, cancel := context.WithTimeout(ctx, idle)
	defer cancel()
	if err := w.in.Wait(waiting); err != nil {
		return ctx.Err() != nil || errors.Is(err, journal.ErrClosed)
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

// pass brings all that is in the journal to the store, in batches, and then the records that the journal did not take:
// the intents of those lie in the journal, and have been read by then.
func (w *Writer) pass(ctx context.Context) error {
	late := w.r.late.take()
	for more := true; more; {
		var err error
		if more, err = w.fill(ctx); err != nil {
			return err
		}
		if !more {
			w.takeLate(late)
		}
		if err := w.write(ctx); err != nil {
			return err
		}
		w.advance()
		w.trim()
	}
	return nil
}

// write writes the batch to the store.
func (w *Writer) write(ctx context.Context) error {
	if len(w.batch) == 0 {
		return nil
	}
	if w.r.o.Observe != nil {
		for _, rec := range w.batch {
			w.r.o.Observe(rec)
		}
	}
	return w.retry.Do(ctx, "write records", func(ctx context.Context) error {
		return w.store.AddRecords(ctx, w.j.ID(), w.upTo, w.batch)
	})
}

// fill reads entries into the batch; more says that it is full and there may be others.
func (w *Writer) fill(ctx context.Context) (more bool, err error) {
	for len(w.batch) < maxBatch {
		e, ok, err := w.next(ctx)
		if err != nil {
			return false, err
		}
		if !w.settled && (!ok || e.Start >= w.j.Begin()) {
			w.settleOrphans()
		}
		if !ok {
			w.upTo = w.in.Position()
			return false, nil
		}
		if err := w.take(e); err != nil {
			return false, err
		}
		w.upTo = e.Position
	}
	return true, nil
}

// next reads an entry. Damage is told and left behind; what the disk will not give now is asked for again.
func (w *Writer) next(ctx context.Context) (journal.Entry, bool, error) {
	for {
		e, ok, err := w.in.Next()
		if err == nil {
			w.retry.Recovered()
			return e, ok, ctx.Err()
		}
		if damage, is := errors.AsType[*journal.DamageError](err); is {
			w.damaged.Inc()
			w.log.Error("the journal is damaged: records in it are lost",
				"segment", damage.Segment, "offset", damage.Offset, "bytes", damage.Lost)
			continue
		}
		if err := w.retry.BackOff(ctx, "read the journal", err); err != nil {
			return e, false, err
		}
	}
}

// take takes an entry into the batch, or into what is known of open exchanges.
func (w *Writer) take(e journal.Entry) error {
	id, err := entryID(e.Payload)
	if err == nil && e.Kind == kindRecord {
		w.open.remove(string(id))
		if e.Position > w.kept {
			err = w.takeRecord(string(e.Payload))
		}
	}
	switch {
	case errors.Is(err, errNewer):
		return fmt.Errorf("usage: %w", err)
	case err != nil:
		w.damaged.Inc()
		w.log.Error("an entry of the journal cannot be decoded: its record is lost", "position", e.Start, "error", err)
	case e.Kind == kindIntent:
		w.open.add(id, e.Payload, e.Start, true)
	case e.Kind == kindOutcome:
		w.open.add(id, e.Payload, e.Start, false)
	case e.Kind == kindCarried && e.Start < w.j.Begin():
		w.open.remove(string(id)) // it holds what the entries before it say
		w.open.add(id, e.Payload, e.Start, true)
	}
	return nil
}

func (w *Writer) takeRecord(payload string) error {
	rec, err := decodeRecord(payload)
	if err != nil {
		return err
	}
	if len(w.batch) == 0 {
		since := rec.Time.Add(time.Duration(rec.Timings.TotalNS))
		if rec.Replayed {
			since = time.Now() // its own end is not known, and may be long ago
		}
		w.pending.Store(since.UnixNano())
	}
	w.batch = append(w.batch, rec)
	return nil
}

// takeLate takes records that did not come through the journal.
func (w *Writer) takeLate(payloads []string) {
	for _, payload := range payloads {
		id, err := entryID([]byte(payload))
		if err == nil {
			w.open.remove(string(id))
			err = w.takeRecord(payload)
		}
		if err != nil {
			w.log.Error("a late record cannot be decoded", "error", err)
		}
	}
}

// settleOrphans makes the records of exchanges whose process is gone. They go into the journal like all others, so that
// the exchanges do not count as open after a further restart. A journal that takes nothing keeps them from no store: they
// may be there already after that restart, and then the store leaves them as they are.
func (w *Writer) settleOrphans() {
	w.settled = true
	n := 0
	for id, o := range w.open.byID {
		delete(w.open.byID, id)
		rec, err := o.orphan()
		if err != nil {
			w.damaged.Inc()
			w.log.Error("an open exchange cannot be settled", "exchange", id, "error", err)
			continue
		}
		n++
		if _, err := w.j.Append(kindRecord, appendRecord(nil, rec)); err != nil {
			w.batch = append(w.batch, rec)
		}
	}
	w.orphans = w.j.End()
	if n > 0 {
		w.log.Info("settled exchanges from the journal after a restart", "records", n)
	}
}

// advance notes that the store has the batch, and wakes who waits for that.
func (w *Writer) advance() {
	w.written.Add(float64(len(w.batch)))
	clear(w.batch) // or the array would keep the records alive
	w.batch = w.batch[:0]
	w.pending.Store(0)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.upTo > w.committed {
		w.committed = w.upTo
		close(w.advanced)
		w.advanced = make(chan struct{})
	}
}

// trim deletes what nobody needs: what the store has and no open exchange lies in. An exchange that is open for long is
// written again at the end, or the journal would grow until it ends.
func (w *Writer) trim() {
	if !w.settled {
		return
	}
	for id, o := range w.open.byID {
		if w.upTo-o.at > w.carry {
			w.writeAgain(id, o)
		}
	}
	err := w.j.Trim(w.open.oldest(w.upTo))
	if err != nil && !w.stuck {
		w.log.Error("the journal cannot be trimmed", "error", err)
	}
	w.stuck = err != nil
}

func (w *Writer) writeAgain(id string, o *open) {
	rec, err := o.soFar()
	if err != nil {
		w.log.Error("an open exchange cannot be written again", "exchange", id, "error", err)
		w.open.remove(id)
		return
	}
	payload := appendRecord(nil, rec)
	at := w.j.End()
	if _, err := w.j.Append(kindCarried, payload); err != nil {
		return // the recorder tells of a journal that cannot be written; the next pass tries again
	}
	o.at, o.texts, o.ends = at, o.texts[:0], o.ends[:0]
	o.add(payload)
}

// CaughtUp waits until all that earlier processes left in the journal is in the store: their records, and those of the exchanges
// that they did not end.
func (w *Writer) CaughtUp(ctx context.Context) error {
	select {
	case <-w.caughtUp:
		return nil
	case <-ctx.Done():
		return ctx.Err()
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
