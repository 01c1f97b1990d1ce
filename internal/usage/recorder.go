package usage

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Options are what a Recorder works with.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Off keeps no records: only metrics and log lines. For benchmarks.
	Off bool
	// LabelCap is how many combinations of project, model and target the metrics tell apart; all further ones are
	// "other". 0 is 1000.
	LabelCap int

	// Count counts the tokens of a text for a provider's model, EstimateInput those of an exchange's prompt, and
	// AnswerText finds the generated text in a plain answer. They are asked only where the provider reported no usage.
	// Without the first two such a try is unknown; without the third the whole answer is counted, which is too much.
	Count         func(model string, text []byte) int64
	EstimateInput func(x *pipeline.Exchange) int64
	AnswerText    func(ev llm.Event) []byte

	// Seen, if set, is shown every record when its exchange is over. It is called on the request's path, and must neither
	// wait nor keep the record.
	Seen func(*Record)

	// Observe is told of every record once, by the writer, shortly before the store gets it: off the request's goroutine,
	// one call at a time, in the order of the journal. It must not block and must not change the record; it may keep it.
	// After the end of a process it may be told of the last ones again. It may be nil, and without records it is never
	// called.
	Observe func(*Record)
}

// A Recorder makes records of exchanges: its stage is the outermost of the pipeline, and route tells it of every try.
type Recorder struct {
	j       *journal.Journal // nil if records are off
	o       Options
	m       *metrics
	failing atomic.Bool // an append failed, and no probe has succeeded since
	probing sync.Mutex  // guards probed
	probed  time.Time
	late    late
}

// NewRecorder makes a recorder, one for the life of the process. The journal may be nil if records are off.
func NewRecorder(j *journal.Journal, o Options) (*Recorder, error) {
	if j == nil && !o.Off {
		return nil, errors.New("usage: records are on, and there is no journal")
	}
	if o.LabelCap <= 0 {
		o.LabelCap = 1000
	}
	m, err := newMetrics(o.Metrics, o.LabelCap)
	if err != nil {
		return nil, err
	}
	return &Recorder{j: j, o: o, m: m}, nil
}

// Intent makes a try durable before it is sent: against the end of the process, and for a caller that is strict against
// that of the machine. An error is a fault StoreDown, and means that the try must not be sent.
func (r *Recorder) Intent(ctx context.Context, x *pipeline.Exchange, try *pipeline.Try) error {
	if r.o.Off {
		return nil
	}
	rec := header(x)
	rec.Tries = []pipeline.Try{*try}
	rec.Tries[0].Unpriced = try.Price == nil
	err := r.mayBegin()
	if err == nil {
		err = r.append(ctx, kindIntent, &rec, x.Caller.Strict)
	}
	if err == nil {
		err = failpoint.Pass(failpoint.IntentWritten)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return whyLeft(ctx)
	}
	return unavailable(err, len(x.Tries) > 1)
}

// Outcome makes the end of a try that did not answer durable, and puts its cost. An error is a fault StoreDown; the
// intent stays in the journal, so the try is kept as unknown.
func (r *Recorder) Outcome(x *pipeline.Exchange, try *pipeline.Try) error {
	price(try)
	if r.o.Off {
		return nil
	}
	rec := Record{ID: x.ID, Tries: []pipeline.Try{*try}}
	if err := r.append(context.Background(), kindOutcome, &rec, false); err != nil {
		return unavailable(err, true)
	}
	if err := failpoint.Pass(failpoint.OutcomeWritten); err != nil {
		return unavailable(err, true)
	}
	return nil
}

// unavailable is what the caller is told if the journal cannot be written.
func unavailable(err error, sent bool) *fault.Error {
	f := fault.Wrap(fault.StoreDown, err, "The record of the call cannot be written at the moment.")
	f.RetryAfter = 2 * time.Second
	if sent {
		f.Hint = "A provider had been asked already and may have billed it; what is known of that is kept. Retry."
	}
	return f
}

// header is what is known of an exchange from its beginning.
func header(x *pipeline.Exchange) Record {
	at := x.Time
	if at.IsZero() {
		at = x.Received
	}
	rec := Record{
		ID: x.ID, Time: at.UTC().Truncate(time.Microsecond), ClockMS: x.Corrected.Milliseconds(),
		Org: x.Caller.Org, Project: x.Caller.Project, Key: x.Caller.Key,
		Op: x.Op, Dialect: x.Dialect, Tags: x.Tags, Class: x.Class, ClientID: x.ClientID,
		Trace: x.Trace.Trace, ParentSpan: x.Trace.Span, TraceFlags: x.Trace.Flags, TraceState: x.Trace.State,
	}
	if q := x.Request; q != nil {
		rec.User, rec.Model, rec.Stream = q.User, q.Model, q.Stream
	}
	return rec
}

// buffers holds what entries are encoded in.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 2048); return &b }}

// append writes an entry to the journal, and says once when that stops working. A disk that does not confirm an entry has
// it all the same: that is a matter of whoever asked for the confirmation, and of nobody else.
func (r *Recorder) append(ctx context.Context, kind journal.Kind, rec *Record, synced bool) error {
	b := buffers.Get().(*[]byte)
	*b = appendRecord((*b)[:0], rec)
	var err error
	if synced {
		_, err = r.j.AppendSync(ctx, kind, *b)
	} else {
		_, err = r.j.Append(kind, *b)
	}
	buffers.Put(b)
	if err != nil && !errors.Is(err, journal.ErrNotSynced) {
		r.failed(err)
	}
	return err
}

// end writes the record of an exchange; for a caller that is strict it waits for the disk, and what failed tries left in the
// journal before is synced with it. One that came to no provider has no effect to be sure of, and must not take the room
// of those that did.
func (r *Recorder) end(rec *Record, strict bool) error {
	if len(rec.Tries) == 0 {
		if err := r.mayBegin(); err != nil {
			return err
		}
	}
	return r.append(context.Background(), kindRecord, rec, strict && len(rec.Tries) > 0)
}

// late holds records that the journal would not take although their exchange had begun. The writer brings them to the
// store past the journal, so that they get there even if the disk stays full. There are few: once the journal fails, no
// exchange begins.
type late struct {
	mu       sync.Mutex // guards the fields below
	payloads []string
	size     int
}

// maxLate is how many bytes of late records are kept; what does not fit is settled as unknown at the next start.
const maxLate = 8 << 20

func (l *late) add(rec *Record) {
	payload := string(appendRecord(nil, rec))
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+len(payload) > maxLate {
		return
	}
	l.payloads = append(l.payloads, payload)
	l.size += len(payload)
}

// take hands over all of them.
func (l *late) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.payloads
	l.payloads, l.size = nil, 0
	return all
}
