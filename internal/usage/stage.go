package usage

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// Stage is the outermost stage. Every exchange that enters it leaves exactly one record: when it is refused or fails, at
// the event that ends the answer (in the journal before that event is passed on), when the answer breaks or its reader
// leaves, when something panics, and when nobody walks the answer before ctx ends.
func (r *Recorder) Stage() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			r.m.inFlight.Inc()
			a := &answer{r: r, x: x}
			resp, err := a.call(ctx, next)
			if err != nil {
				return nil, a.fail(err)
			}
			a.watch(ctx, resp)
			return resp, nil
		}
	}
}

// An answer is what the stage knows of an exchange on its way out. It belongs to one goroutine at a time.
type answer struct {
	r    *Recorder
	x    *pipeline.Exchange
	done bool // the record is made

	answered bool // a target gave a response
	stream   bool
	begun    bool // the client was sent something
	content  bool // something generated was seen
	first    int64

	usage    llm.Usage // as reported last
	reported bool
	finished bool // a finish reason was seen
	final    bool // usage came after it, and nothing generated since
	target   llm.Target
	meta     *llm.Meta

	text *[]byte // what was generated, for counting
	over int64   // bytes of it beyond maxCounted

	leaving sync.WaitGroup // the end of ctx, while nobody walks the answer
}

// call hands the exchange on. If that panics, the exchange has its record all the same.
func (a *answer) call(ctx context.Context, next pipeline.Handler) (*llm.Response, error) {
	returned := false
	defer func() {
		if !returned {
			_ = a.finish(panicked())
		}
	}()
	resp, err := next(ctx, a.x)
	returned = true
	if resp == nil && err == nil {
		err = errors.New("a stage gave neither an answer nor an error")
	}
	return resp, err
}

func panicked() *fault.Error {
	return fault.New(fault.InternalError, "Penstock met an error of its own.")
}

// watch looks at the answer as it passes.
func (a *answer) watch(ctx context.Context, resp *llm.Response) {
	a.answered, a.stream, a.target, a.meta = true, resp.Stream, resp.Target, resp.Meta
	a.begun = resp.Stream // its status goes out before the first event
	events := resp.Events
	// Until somebody walks the answer, the end of ctx ends the exchange. stop says who has it.
	a.leaving.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer a.leaving.Done()
		if a.drains(ctx) {
			a.drink(events)
		}
		_ = a.finish(whyLeft(ctx))
	})
	resp.Events = func(yield func(llm.Event, error) bool) {
		if !stop() {
			a.leaving.Wait() // or the request would be over before its record
			yield(llm.Event{}, whyLeft(ctx))
			return
		}
		a.leaving.Done()
		a.walk(ctx, events, yield)
	}
}

// whyLeft is why nobody takes more of the answer: whoever ended ctx may have said so, else the client is gone.
func whyLeft(ctx context.Context) *fault.Error {
	cause := context.Cause(ctx)
	if f, ok := errors.AsType[*fault.Error](cause); ok {
		return f
	}
	if errors.Is(cause, context.DeadlineExceeded) {
		return fault.From(cause)
	}
	return fault.New(fault.ClientGone, "The client closed the connection before the answer was whole.")
}

func (a *answer) walk(ctx context.Context, events iter.Seq2[llm.Event, error], yield func(llm.Event, error) bool) {
	left := false
	defer func() {
		switch {
		case a.done:
		case left:
			_ = a.finish(whyLeft(ctx))
		default:
			_ = a.finish(panicked())
		}
	}()
	for ev, err := range events {
		if left { // what it costs is said at the end
			if err != nil {
				return
			}
			a.note(ev)
			if ev.Is(llm.End) {
				return
			}
			continue
		}
		if err == nil {
			err = a.pass(ev)
		}
		if err != nil {
			yield(llm.Event{}, a.fail(err))
			return
		}
		if !yield(ev, nil) {
			left = true
			if a.done || !a.drains(ctx) {
				return
			}
		}
	}
	if !a.done && !left {
		yield(llm.Event{}, a.fail(fault.New(fault.StreamCut, "The answer ended before its end.")))
	}
}

// drains reports whether the answer is to be read to its end although its client has left: not if it was ended for another reason.
func (a *answer) drains(ctx context.Context) bool {
	return whyLeft(ctx).Kind == fault.Canceled && a.x.Life.Stays(context.Cause(ctx))
}

// drink reads what is left of an answer, for what it costs.
func (a *answer) drink(events iter.Seq2[llm.Event, error]) {
	defer func() {
		if p := recover(); p != nil { // the record counts what was seen until then
			a.r.o.Log.Error("panic while an answer was read for its client that left", "exchange", a.x.ID, "panic", p, "stack", string(debug.Stack()))
		}
	}()
	for ev, err := range events {
		if err != nil {
			return
		}
		a.note(ev)
	}
}

// fail makes the record of an exchange that failed, if it has none yet, and gives the error to pass on: err, or why there
// is no record.
func (a *answer) fail(err error) error {
	if a.done {
		return err
	}
	if unrecorded := a.finish(fault.From(err)); unrecorded != nil {
		return unrecorded
	}
	return err
}

// pass takes note of an event. At the end of the answer it makes the record; its error means that the end must not be
// passed on.
func (a *answer) pass(ev llm.Event) error {
	a.note(ev)
	if ev.Is(llm.End) {
		return a.finish(nil)
	}
	if !ev.Is(llm.Hidden) {
		a.begun = true
	}
	return nil
}

// note takes from an event what the record wants to know.
func (a *answer) note(ev llm.Event) {
	if ev.Is(llm.Content) {
		if !a.content {
			a.content = true
			a.first = int64(time.Since(a.x.Received))
		}
		a.final = false
	}
	a.finished = a.finished || ev.Is(llm.Finish)
	if ev.Is(llm.UsageIn) {
		a.usage, a.reported, a.final = ev.Usage, true, a.finished
	}
	switch {
	case len(ev.Text) > 0:
		a.keep(ev.Text)
	case ev.Is(llm.Content) && !a.stream && !a.reported:
		a.keep(a.plainText(ev))
	}
}

// plainText is what a plain answer says.
func (a *answer) plainText(ev llm.Event) []byte {
	switch {
	case a.x.Op != llm.OpChat:
		return nil // vectors and counts are no generated tokens
	case a.r.o.AnswerText != nil:
		return a.r.o.AnswerText(ev)
	}
	return ev.Raw
}

// maxCounted is how much of an answer is kept for counting, in bytes; the rest is counted in proportion.
const maxCounted = 1 << 20

// keepText is the largest text buffer that is kept for another answer.
const keepText = 64 << 10

var texts = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}

func (a *answer) keep(text []byte) {
	if a.text == nil {
		a.text = texts.Get().(*[]byte)
	}
	n := min(len(text), maxCounted-len(*a.text))
	*a.text = append(*a.text, text[:n]...)
	a.over += int64(len(text) - n)
}

func (a *answer) freeText() {
	if a.text == nil {
		return
	}
	if cap(*a.text) <= keepText {
		*a.text = (*a.text)[:0]
		texts.Put(a.text)
	}
	a.text = nil
}

// finish makes the record; f is why the answer is not whole, nil if it is. If the record cannot be written, the error
// says so, and is what the client must be told instead of whatever else.
func (a *answer) finish(f *fault.Error) error {
	a.done = true
	_ = failpoint.Pass(failpoint.Settling)
	now := int64(time.Since(a.x.Received))
	a.settle(now, f)
	rec := a.record(now, f)
	var unrecorded *fault.Error
	if !a.r.o.Off {
		if err := a.r.end(&rec, a.x.Caller.Strict); err != nil {
			unrecorded = unavailable(err, len(a.x.Tries) > 0)
			rec.Status, rec.Error = a.status(unrecorded), told(unrecorded)
			if len(a.x.Tries) > 0 && !errors.Is(err, journal.ErrNotSynced) { // one not synced is in the journal
				a.r.late.add(&rec)
			}
		}
	}
	_ = failpoint.Pass(failpoint.RecordWritten)
	a.freeText()
	a.r.m.observe(&rec)
	if a.r.o.Seen != nil {
		a.r.o.Seen(&rec)
	}
	a.r.log(&rec)
	a.r.m.inFlight.Dec() // last: whoever sees none in flight sees all of them counted
	if unrecorded != nil {
		return unrecorded
	}
	return nil
}

func (a *answer) record(now int64, f *fault.Error) Record {
	x := a.x
	rec := header(x)
	rec.Status, rec.Error = a.status(f), told(f)
	rec.Tries, rec.Stages, rec.Choice = x.Tries, x.Decisions, x.Choice
	rec.Timings = Timings{TotalNS: now, FirstNS: a.first, OverheadNS: now}
	for i := range x.Tries {
		try := &x.Tries[i]
		rec.Usage = rec.Usage.Add(try.Usage)
		rec.CostNano = rec.CostNano.Plus(try.CostNano)
		rec.Unpriced = rec.Unpriced || try.Unpriced
		rec.Timings.OverheadNS -= try.TookNS
	}
	rec.Timings.OverheadNS = max(rec.Timings.OverheadNS, 0)
	switch n := len(x.Tries); {
	case a.answered && n > 0:
		rec.Target = x.Tries[x.Answering].Target
	case a.answered:
		rec.Target = a.target.String()
	}
	return rec
}

// status is the one that the client was sent.
func (a *answer) status(f *fault.Error) int {
	switch {
	case f == nil:
		return http.StatusOK
	case f.Kind == fault.Canceled:
		return fault.StatusClosed
	case a.begun || a.x.Begun.Load():
		return http.StatusOK
	}
	return f.HTTPStatus()
}

func told(f *fault.Error) *Error {
	if f == nil {
		return nil
	}
	e := &Error{Code: string(f.Code), Message: f.Message}
	if f.Err != nil {
		e.Detail = f.Err.Error()
	}
	return e
}
