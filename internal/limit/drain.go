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
	taken atomic.Bool // of the places
	timer atomic.Pointer[time.Timer]
}

// detach makes the context of what is inside: it ends when ctx does, but for a client that leaves while something is under way that
// a budget pays for. over is to be called when the exchange is.
func (l *Limiter) detach(ctx context.Context, a *allowance) (inner context.Context, over func()) {
	d := &a.d
	d.a = a
	if len(a.all) == 0 {
		unwatch := context.AfterFunc(ctx, a.finish)
		return ctx, func() {
			if unwatch() {
				a.finish()
			}
		}
	}
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	unwatch := context.AfterFunc(ctx, func() {
		why := context.Cause(ctx)
		var told *fault.Error
		if errors.As(why, &told) || errors.Is(why, context.DeadlineExceeded) || !d.begin() {
			cancel(why)
			a.finish()
			return
		}
		d.timer.Store(time.AfterFunc(drainTime, func() {
			cancel(why)
			a.finish()
		}))
	})
	return inner, func() {
		unwatch()
		if t := d.timer.Load(); t != nil {
			t.Stop()
		}
		cancel(nil)
		a.finish()
		d.free()
	}
}

// begin takes a place, if something is under way. It may be asked again.
func (d *drain) begin() bool {
	if d.taken.Load() {
		return true
	}
	if !d.a.running() {
		return false
	}
	if d.a.l.drains.Add(1) > drainMost {
		d.a.l.drains.Add(-1)
		return false
	}
	if !d.taken.CompareAndSwap(false, true) {
		d.a.l.drains.Add(-1) // somebody else has just taken it
	}
	return true
}

func (d *drain) free() {
	if d.taken.CompareAndSwap(true, false) {
		d.a.l.drains.Add(-1)
	}
}

// running reports whether a try is under way.
func (a *allowance) running() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open > 0
}
