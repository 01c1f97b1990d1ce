package idempotency

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

// A Call is an exchange with a key. It is for the goroutine of the exchange; Claimed may be asked by any.
type Call struct {
	k       *Keeper
	x       *pipeline.Exchange
	name    name
	request string
	claimed atomic.Bool
	settled bool
	replay  *Answer
	told    *fault.Error  // the error of the answer that is given again
	done    chan struct{} // closed when the call does not stand in the way of its twins any more
}

// Begin implements [pipeline.Once]: it claims the key, or gives the answer of the first call again, waiting for it if it still
// runs. Neither means that the call is the first. Errors are faults.
func (c *Call) Begin(ctx context.Context) (*llm.Response, error) {
	begun := time.Now()
	row, mine, err := c.claim(ctx)
	took := time.Since(begun)
	switch {
	case err != nil:
		return nil, err
	case mine:
		c.k.count("first")
		c.x.Note("idempotency", "the first call with this key", took)
		return nil, nil //nolint:nilnil // said in the comment
	case row.State == Unkept:
		c.k.count("unkept")
		return nil, unkept(row.Exchange)
	case row.State == Lost:
		c.k.count("unknown")
		return nil, unknown(row.Exchange)
	}
	a, outcome, err := c.k.open(row)
	c.k.count(outcome)
	if err != nil {
		return nil, err
	}
	c.x.Note("idempotency", "the answer of exchange "+row.Exchange+" is given again", took)
	c.replay = a
	return c.again()
}

// again is the answer that is given again, as the pipeline knows answers: what the client is sent are its bytes.
func (c *Call) again() (*llm.Response, error) {
	a := c.replay
	if a.Code != "" {
		c.told = fault.New(a.Code, "%s", a.Message)
		c.told.Status = a.Status
		if !a.Stream {
			return nil, c.told
		}
	}
	return &llm.Response{Target: a.Target, Stream: a.Stream, Events: func(yield func(llm.Event, error) bool) {
		if c.told != nil {
			yield(llm.Event{}, c.told)
			return
		}
		yield(llm.Event{Has: llm.End}, nil)
	}}, nil
}

// claim claims the key, or gives it as the first call left it.
func (c *Call) claim(ctx context.Context) (row Row, mine bool, err error) {
	var over <-chan time.Time
	defer c.leave()
	for look := firstLook; ; {
		wait := c.join()
		if wait == nil {
			if row, mine, err = c.ask(ctx); mine || err != nil || row.State != Running {
				return row, mine, err
			}
		} else if wait.claimed.Load() && wait.request != c.request {
			c.k.count("mismatch")
			return row, false, mismatch()
		}
		if over == nil {
			if !c.k.wait(1) {
				c.k.count("busy")
				return row, false, busy()
			}
			defer c.k.wait(-1)
			timer := time.NewTimer(patience)
			defer timer.Stop()
			over = timer.C
		}
		if err := c.await(ctx, wait, &look, over); err != nil {
			return row, false, err
		}
	}
}

// await waits for a twin here, or looks whether one elsewhere has ended.
func (c *Call) await(ctx context.Context, twin *Call, look *time.Duration, over <-chan time.Time) error {
	for {
		var done <-chan struct{}
		var tick <-chan time.Time
		if twin != nil {
			done = twin.done
		} else {
			timer := time.NewTimer(*look)
			defer timer.Stop()
			tick = timer.C
			*look = min(*look*3/2, lastLook)
		}
		select {
		case <-done:
			return nil
		case <-over:
			c.k.count("busy")
			return busy()
		case <-ctx.Done():
			return gone(ctx)
		case <-tick:
			is, err := c.k.o.Store.KeyBusy(ctx, c.name.project, c.name.key)
			if err != nil && ctx.Err() == nil {
				c.k.count("unavailable")
				return unavailable(err)
			}
			if !is {
				return nil
			}
		}
	}
}

func gone(ctx context.Context) error {
	if f, ok := errors.AsType[*fault.Error](context.Cause(ctx)); ok {
		return f
	}
	return ctx.Err()
}

// ask asks the store for the key. If it has been used for another request, or that is not known, the error says so.
func (c *Call) ask(ctx context.Context) (Row, bool, error) {
	r := Row{Project: c.name.project, Key: c.name.key, Request: c.request, Exchange: c.x.ID}
	is, mine, err := c.k.o.Store.ClaimKey(ctx, r, lease, KeepFor)
	switch {
	case err != nil:
		// It may have been made all the same: the caller is told that nothing was sent, so the claim must not stay.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), storing)
		defer cancel()
		_ = c.k.o.Store.ReturnKey(back, r.Project, r.Key, r.Exchange) // if it cannot be asked now, the claim runs out
		if ctx.Err() != nil {
			return Row{}, false, gone(ctx)
		}
		c.k.count("unavailable")
		return Row{}, false, unavailable(err)
	case mine:
		c.take()
	case is.Request != c.request:
		c.k.count("mismatch")
		return Row{}, false, mismatch()
	}
	return is, mine, nil
}

// join makes the call the one that asks the store for its key, or gives the one that does, or has it.
func (c *Call) join() *Call {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	if other := c.k.here[c.name]; other != c && other != nil {
		return other
	}
	c.k.here[c.name] = c
	return nil
}

// take notes that the call has its key.
func (c *Call) take() {
	c.claimed.Store(true)
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	c.k.claims[c.x.ID] = true
}

// leave lets twins go on, unless the call has its key.
func (c *Call) leave() {
	if !c.claimed.Load() {
		c.part()
	}
}

// part lets twins go on.
func (c *Call) part() {
	c.k.mu.Lock()
	defer c.k.mu.Unlock()
	delete(c.k.claims, c.x.ID)
	if c.k.here[c.name] == c {
		delete(c.k.here, c.name)
		close(c.done)
	}
}

// wait counts a call that waits; false if there are too many.
func (k *Keeper) wait(n int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if n > 0 && k.waiting >= mostWaiting {
		return false
	}
	k.waiting += n
	return true
}

// Claimed reports whether the call is the first with its key, and has been let through.
func (c *Call) Claimed() bool { return c.claimed.Load() }

// Replay is the answer that is given again, nil if there is none; told is the error that it was, nil if it was none.
func (c *Call) Replay() (a *Answer, told *fault.Error) { return c.replay, c.told }

// Final reports whether an error that the call ends in is the key's for good. It is not if nothing was sent to a provider; nor if
// nothing was billed and the error is one after which a repeat helps.
func (c *Call) Final(f *fault.Error) bool {
	if len(c.x.Tries) == 0 {
		return false
	}
	for i := range c.x.Tries {
		if c.x.Tries[i].Outcome != pipeline.Released {
			return true
		}
	}
	switch status := f.HTTPStatus(); status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	default:
		return status < 500
	}
}

// Settle keeps the answer for repeats of the call, and must be called before its client is told the end. If it cannot be kept, the
// answer stands all the same, and repeats are told that its outcome is not known.
func (c *Call) Settle(ctx context.Context, a *Answer) {
	if !c.claimed.Load() || c.settled {
		return
	}
	row := Row{State: Unkept}
	if !c.x.Caller.Stateless && !a.Over {
		row = c.k.seal(c.name, a)
	}
	c.end(ctx, row)
}

// Return gives the key back: the next call with it is the first.
func (c *Call) Return(ctx context.Context) {
	if !c.claimed.Load() || c.settled {
		return
	}
	c.settled = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storing)
	defer cancel()
	if err := c.k.o.Store.ReturnKey(ctx, c.name.project, c.name.key, c.x.ID); err != nil {
		c.k.o.Log.Error("an idempotency key could not be given back: repeats are told that its outcome is not known", "exchange", c.x.ID, "error", err)
	}
	c.k.count("returned")
	c.part()
}

// End ends the call, however it ended. One that nobody has settled is given back if nothing was sent to a provider; else its
// outcome is not known.
func (c *Call) End(ctx context.Context) {
	if !c.claimed.Load() || c.settled {
		return
	}
	if len(c.x.Tries) == 0 {
		c.Return(ctx)
		return
	}
	c.end(ctx, Row{State: Lost})
}

func (c *Call) end(ctx context.Context, row Row) {
	c.settled = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storing)
	defer cancel()
	row.Project, row.Key, row.Exchange = c.name.project, c.name.key, c.x.ID
	if err := c.k.o.Store.SettleKey(ctx, row); err != nil {
		c.k.count("unsettled")
		c.k.o.Log.Error("the answer to a call with an idempotency key could not be kept: repeats are told that its outcome is not known", "exchange", c.x.ID, "error", err)
	}
	c.part()
}

// Stay gives a context for the exchange that goes on when its client leaves, if the call has its key by then: somebody may ask for
// the answer again. It goes on for a minute at most, with 63 others, and until cut is closed. Whoever is done calls end.
func (c *Call) Stay(client context.Context, cut <-chan struct{}) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(client))
	left := make(chan struct{})
	stop := context.AfterFunc(client, func() {
		defer close(left)
		cause := context.Cause(client)
		if _, said := errors.AsType[*fault.Error](cause); said || !c.claimed.Load() {
			cancel(cause)
			return
		}
		defer c.k.staying.Add(-1)
		if c.k.staying.Add(1) > mostStaying {
			cancel(cause)
			return
		}
		timer := time.NewTimer(stayFor)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(cause)
		case <-cut:
			cancel(fault.New(fault.ShuttingDown, "This Penstock is stopping, and your answer did not end in time."))
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(context.Canceled)
		if !stop() {
			<-left
		}
	}
}
