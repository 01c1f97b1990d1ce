package limit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
)

// What is read of answers whose clients have left: a provider bills the whole of what it generates, and only says so at the end.
const (
	drainMost = 64
	drainTime = time.Minute
)

// A drain lets the tries of one exchange go on for a while after its client has left, if a budget is to be told what they cost.
type drain struct {
	life  *pipeline.Life
	place atomic.Int32 // of the places: none, taken, or over
	timer atomic.Pointer[time.Timer]
}

// Stays implements [pipeline.Party]: the exchange goes on for as long as something is under way that a budget pays for, at most a minute.
// It does not if it was ended for another reason than that its client left.
func (a *allowance) Stays(why error) bool {
	var told *fault.Error
	return len(a.all) > 0 && !errors.As(why, &told) && !errors.Is(why, context.DeadlineExceeded) && a.begin(why)
}

// Over implements [pipeline.Party].
func (a *allowance) Over() {
	if t := a.d.timer.Load(); t != nil {
		t.Stop()
	}
	a.finish()
	if a.d.place.Swap(isOver) == hasPlace {
		a.l.drains.Add(-1)
	}
}

// What has become of a drain's place.
const (
	noPlace int32 = iota
	hasPlace
	isOver // nobody takes one any more
)

// begin takes a place, if something is under way. It may be asked again.
func (a *allowance) begin(why error) bool {
	d, places := &a.d, &a.l.drains
	if d.place.Load() != noPlace {
		return d.place.Load() == hasPlace
	}
	if !a.running() {
		return false
	}
	if places.Add(1) > drainMost {
		places.Add(-1)
		return d.place.Load() == hasPlace
	}
	if !d.place.CompareAndSwap(noPlace, hasPlace) { // somebody else was faster
		places.Add(-1)
		return d.place.Load() == hasPlace
	}
	d.timer.Store(time.AfterFunc(drainTime, func() { d.life.End(why) }))
	return true
}

// running reports whether a try is under way that a budget pays for.
func (a *allowance) running() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.paid > 0
}
