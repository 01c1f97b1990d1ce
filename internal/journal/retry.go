package journal

import (
	"context"
	"log/slog"
	"time"
)

// How long whoever brings a journal to a store is patient.
const (
	firstRetry = 100 * time.Millisecond // after the first failure; doubles up to lastRetry
	lastRetry  = 5 * time.Second
	// Attempt bounds one try, so that a store that hangs is asked again.
	Attempt = time.Minute
)

// A Retry does for whoever brings a journal to a store what may fail for a while: again and again, with longer pauses, told
// of once. It belongs to one goroutine.
type Retry struct {
	Log     *slog.Logger
	Waiting string // told at the first failure: what waits in the journal
	Again   string // told when it works again
	Paused  func() // after each pause; may be nil
	pause   time.Duration
}

// Do does something until it succeeds or ctx ends, which is its one error.
func (r *Retry) Do(ctx context.Context, what string, do func(context.Context) error) error {
	for {
		bounded, cancel := context.WithTimeout(ctx, Attempt)
		err := do(bounded)
		cancel()
		if err == nil {
			r.Recovered()
			return nil
		}
		if err := r.BackOff(ctx, what, err); err != nil {
			return err
		}
	}
}

// BackOff waits after a failure, longer each time, until ctx ends, which is its one error.
func (r *Retry) BackOff(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r.pause == 0 {
		r.Log.Error(r.Waiting, "trouble", what, "error", err) //nolint:sloglint // each journal has its own words, which are constants
	}
	r.pause = min(max(2*r.pause, firstRetry), lastRetry)
	timer := time.NewTimer(r.pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		if r.Paused != nil {
			r.Paused()
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Recovered ends the pauses, and tells that trouble is over if there was any.
func (r *Retry) Recovered() {
	if r.pause > 0 {
		r.pause = 0
		r.Log.Info(r.Again) //nolint:sloglint // as above
	}
}

// Outlive gives a context that ends some time after ctx does: the time to drain what is left.
func Outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-out.Done():
		}
	})
	return out, func() { stop(); cancel() }
}
