package provider

import (
	"context"
	"sync"
	"time"
)

// A watch holds the timers of one try but for connect, which is the dialer's: first_token, then gap, and total above
// them. When one runs out, the try's context ends with a *Failure that names it as its cause.
//
// first_token and gap measure only the waiting for the provider. While an event is with whoever walks the answer, a slow
// client perhaps, they stand still; total does not.
//
// One runtime timer serves all. It is not set anew for every event: when it fires too early, because events have come
// since, it is set to what is due then.
type watch struct {
	limits Timeouts
	cancel context.CancelCauseFunc
	ended  func() error // the context's Err

	mu      sync.Mutex // guards the fields below
	timer   *time.Timer
	ends    time.Time // of total; zero: never
	due     time.Time // of the phase, while waiting; zero: never
	waiting bool
	flowing bool          // there has been content: the phase is gap
	left    time.Duration // of first_token, while not waiting
}

// startWatch begins to wait for the first token. The watch must be stopped.
func startWatch(ctx context.Context, limits Timeouts) (context.Context, *watch) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{limits: limits, cancel: cancel, ended: ctx.Err, left: limits.FirstToken}
	now := time.Now()
	if limits.Total > 0 {
		w.ends = now.Add(limits.Total)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(now)
	if next := w.next(now); next > 0 {
		w.timer = time.AfterFunc(next, w.fire)
	}
	return ctx, w
}

// wait says that the provider is waited for from now on.
func (w *watch) wait() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(time.Now())
}

// got says that an event has come. content says that it, or one before it, has content.
func (w *watch) got(content bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
	if w.flowing = w.flowing || content; !w.flowing && w.limits.FirstToken > 0 {
		w.left = max(time.Until(w.due), 1)
	}
}

// stop ends the watch and the try's context.
func (w *watch) stop() {
	w.cancel(context.Canceled)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// begin sets when the phase is over. The caller holds mu.
func (w *watch) begin(now time.Time) {
	w.waiting = true
	w.due = time.Time{}
	switch {
	case w.flowing && w.limits.Gap > 0:
		w.due = now.Add(w.limits.Gap)
	case !w.flowing && w.limits.FirstToken > 0:
		w.due = now.Add(w.left)
	}
}

// next is how long the timer may sleep, at least 1 ns; 0 if nothing will ever be due. The caller holds mu.
//
// It is never longer than the shortest wait that may begin meanwhile, so no wait needs to set the timer.
func (w *watch) next(now time.Time) time.Duration {
	var next time.Duration
	take := func(d time.Duration) {
		if d = max(d, 1); next == 0 || d < next {
			next = d
		}
	}
	if !w.ends.IsZero() {
		take(w.ends.Sub(now))
	}
	if w.waiting && !w.due.IsZero() {
		take(w.due.Sub(now))
	}
	if !w.waiting && !w.flowing && w.limits.FirstToken > 0 {
		take(w.left)
	}
	if !(w.waiting && w.flowing) && w.limits.Gap > 0 {
		take(w.limits.Gap)
	}
	return next
}

// fire runs when the timer does.
func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case w.ended() != nil: // of an answer that nobody walks too
	case !w.ends.IsZero() && !now.Before(w.ends):
		w.cancel(&Failure{Reason: ReasonTotal, Timer: "total", Message: "did not finish in " + seconds(w.limits.Total)})
	case !w.waiting || w.due.IsZero() || now.Before(w.due):
		w.timer.Reset(w.next(now))
	case w.flowing:
		w.cancel(&Failure{Reason: ReasonGap, Timer: "gap", Message: "sent nothing for " + seconds(w.limits.Gap)})
	default:
		w.cancel(&Failure{Reason: ReasonFirstToken, Timer: "first_token", Message: "sent no first token in " + seconds(w.limits.FirstToken)})
	}
}
