// Package load is the client of the benchmark: prepared requests over kept connections, in a closed loop (each connection
// sends when it has its answer) or an open one (at fixed times, whatever the answers do). Every answer is checked: its
// text, its length, and the end of a stream.
//
// It is not an HTTP client: it knows what the benchmark's targets send and takes anything else for a mistake of theirs.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// patience is how much longer than its own time a run may take before the connections give up.
const patience = 30 * time.Second

// A Result is what a run has seen. A run with a wrong answer has no Result but an error.
type Result struct {
	Answers int64
	Elapsed time.Duration
	// Latency is in microseconds: of an open loop from the time that a request was due.
	Latency *hdrhistogram.Histogram
}

// Rate is answers a second.
func (r Result) Rate() float64 { return float64(r.Answers) / r.Elapsed.Seconds() }

// Quantile is the latency at a percentile, 0 to 100.
func (r Result) Quantile(p float64) time.Duration {
	return time.Duration(r.Latency.ValueAtPercentile(p)) * time.Microsecond
}

// newHistogram holds 1 µs to one minute with three digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, time.Minute.Microseconds(), 3)
}

// For sends calls over so many connections for a time, each as soon as the last one is answered.
func For(ctx context.Context, addr string, call *Call, conns int, d time.Duration) (Result, error) {
	end := time.Now().Add(d)
	return run(ctx, addr, conns, d, func(ctx context.Context, w *worker) error {
		for time.Now().Before(end) {
			if err := w.timed(ctx, call, time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Count sends n calls over so many connections, each as soon as the last one is answered.
func Count(ctx context.Context, addr string, call *Call, conns int, n int64) (Result, error) {
	var sent atomic.Int64
	return run(ctx, addr, conns, time.Hour, func(ctx context.Context, w *worker) error {
		for sent.Add(1) <= n {
			if err := w.timed(ctx, call, time.Now()); err != nil {
				return err
			}
		}
		return nil
	})
}

// At sends calls at a fixed rate (a second) for a time. Latency counts from when a call was due: a target that stalls is
// charged for all calls that it kept waiting.
func At(ctx context.Context, addr string, call *Call, conns int, rate float64, d time.Duration) (Result, error) {
	var next atomic.Int64
	start := time.Now().Add(10 * time.Millisecond) // when the connections are open
	n := int64(rate * d.Seconds())
	return run(ctx, addr, conns, d, func(ctx context.Context, w *worker) error {
		for {
			i := next.Add(1) - 1
			if i >= n {
				return nil
			}
			due := start.Add(time.Duration(float64(i) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			if err := w.timed(ctx, call, due); err != nil {
				return err
			}
		}
	})
}

// A worker is one connection with what it has seen.
type worker struct {
	conn    *Conn
	answers int64
	latency *hdrhistogram.Histogram
}

// timed makes a call and counts it.
func (w *worker) timed(ctx context.Context, call *Call, due time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.conn.Do(call); err != nil {
		return err
	}
	w.answers++
	return w.latency.RecordValue(max(time.Since(due).Microseconds(), 1))
}

// run opens the connections, has each do its work, and adds up. The first mistake ends all.
func run(ctx context.Context, addr string, conns int, d time.Duration, work func(context.Context, *worker) error) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, d+patience)
	defer cancel()
	workers := make([]*worker, conns)
	for i := range workers {
		conn, err := Dial(ctx, addr)
		if err != nil {
			return Result{}, err
		}
		defer conn.Close()
		workers[i] = &worker{conn: conn, latency: newHistogram()}
	}
	start := time.Now()
	errs := make([]error, conns)
	var all sync.WaitGroup
	for i, w := range workers {
		all.Go(func() {
			if errs[i] = work(ctx, w); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	result := Result{Elapsed: time.Since(start), Latency: newHistogram()}
	for _, w := range workers {
		result.Answers += w.answers
		result.Latency.Merge(w.latency)
	}
	return result, first(errs)
}

// first is the mistake that ended a run, not the cancellations that followed from it.
func first(errs []error) error {
	var ended error
	for _, err := range errs {
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		if err != nil {
			ended = fmt.Errorf("the run was stopped: %w", err)
		}
	}
	return ended
}
