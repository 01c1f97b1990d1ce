package limit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// What is read of answers whose clients have left: a provider bills the whole of what it generates, and only says so at the end.
const (
	drainMost = 64
	drainTime = time.Minute
)

// A drain lets the tries of one exchange go on for a while after its client has left, if a budget is to be told what they cost.
type drain struct {
	a     *allowance
	place atomic.Int32 // of the places: none, taken, or over
	timer atomic.Pointer[time.Timer]

	unwatch func() bool             // the client's context
	cancel  context.CancelCauseFunc // what is inside; nil if that is bound to the client's context
}

// detach makes the context of what is inside: it ends when ctx does, but for a client that leaves while something is under way that
// a budget pays for. The drain's end is to be called when the exchange is over.
func (l *Limiter) detach(ctx context.Context, a *allowance) (inner context.Context) {
	d := &a.d
	d.a = a
	if len(a.all) == 0 {
		d.unwatch = context.AfterFunc(ctx, a.finish)
		return ctx
	}
	inner, d.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	d.unwatch = context.AfterFunc(ctx, func() {
		why := context.Cause(ctx)
		var told *fault.Error
		if errors.As(why, &told) || errors.Is(why, context.DeadlineExceeded) || !d.begin() {
			d.cancel(why)
			a.finish()
			return
		}
		d.timer.Store(time.AfterFunc(drainTime, func() {
			d.cancel(why)
			a.finish()
		}))
	})
	return inner
}

// end ends the exchange. It may be called again.
func (d *drain) end() {
	if watched := d.unwatch(); d.cancel == nil {
		if watched {
			d.a.finish()
		}
		return
	}
	if t := d.timer.Load(); t != nil {
		t.Stop()
	}
	d.cancel(nil)
	d.a.finish()
	d.free()
}

// What has become of a drain's place.
const (
	noPlace int32 = iota
	hasPlace
	isOver // nobody takes one any more
)

// begin takes a place, if something is under way. It may be asked again.
func (d *drain) begin() bool {
	if d.place.Load() != noPlace {
		return d.place.Load() == hasPlace
	}
	if !d.a.running() {
		return false
	}
	places := &d.a.l.drains
	if places.Add(1) > drainMost {
		places.Add(-1)
		return d.place.Load() == hasPlace
	}
	if !d.place.CompareAndSwap(noPlace, hasPlace) { // somebody else was faster
		places.Add(-1)
	}
	return d.place.Load() == hasPlace
}

func (d *drain) free() {
	if d.place.Swap(isOver) == hasPlace {
		d.a.l.drains.Add(-1)
	}
}

// running reports whether a try is under way that a budget pays for.
func (a *allowance) running() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paid > 0
}
