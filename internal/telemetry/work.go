package telemetry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// What the workers wait for.
const (
	linger     = time.Second // for more spans, before a batch that is not full is sent
	firstRetry = time.Second // after the collector failed; doubles up to lastRetry
	lastRetry  = 30 * time.Second
	// giveUp is how long one batch is offered: a collector may refuse just this one, in words that mean "later".
	giveUp    = 5 * time.Minute
	flushTime = 5 * time.Second // for all that is left when the process stops
)

// Run sends until ctx ends, and then what is left, for at most five seconds. It returns nil always.
func (e *Exporter) Run(ctx context.Context) error {
	flushing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(flushTime, cancel) })
	defer stop()
	var workers errgroup.Group
	workers.Go(func() error { e.sendSpans(ctx, flushing); return nil })
	workers.Go(func() error { e.sendMetrics(ctx, flushing); return nil })
	return workers.Wait()
}

// sendSpans sends batches as they fill, and every second what there is. After ctx ends it sends what is left until
// flushing ends.
func (e *Exporter) sendSpans(ctx, flushing context.Context) {
	tick := time.NewTicker(linger)
	defer tick.Stop()
	for last := false; !last; {
		select {
		case <-tick.C:
		case <-e.queue.full:
		case <-ctx.Done():
			last = true
		}
		for {
			b, ok := e.queue.take()
			if !ok {
				break
			}
			e.deliver(ctx, flushing, b)
		}
	}
}

// deliver sends a batch, again and again if the collector may take it later.
func (e *Exporter) deliver(ctx, flushing context.Context, b batch) {
	select {
	case <-e.spansWake: // what the first try takes anyway
	default:
	}
	pause := firstRetry
	for until := time.Now().Add(giveUp); ; {
		s := e.inForce.Load()
		if s == nil || s.traces == nil {
			e.counts.spans.lost("dropped", b.spans)
			return
		}
		rejected, err := s.traces.send(flushing, e.source(s).AppendRequest(nil, b.items))
		e.note(traces, err)
		if err == nil {
			refused := min(max(int(rejected), 0), b.spans)
			e.counts.spans.lost("refused", refused)
			e.counts.spans.lost("sent", b.spans-refused)
			return
		}
		f, _ := errors.AsType[*failure](err)
		switch {
		case f == nil || !f.retry:
			e.counts.spans.lost("refused", b.spans)
			return
		case flushing.Err() != nil, ctx.Err() != nil, time.Now().After(until):
			e.counts.spans.lost("dropped", b.spans)
			return
		}
		e.pause(ctx, max(f.after, pause/2+rand.N(pause/2)))
		pause = min(2*pause, lastRetry)
	}
}

// pause waits, less if ctx ends or the settings change.
func (e *Exporter) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-e.spansWake:
	}
}

// sendMetrics sends all metrics now and then, and once more after ctx ends.
func (e *Exporter) sendMetrics(ctx, flushing context.Context) {
	for last := false; !last; {
		timer := time.NewTimer(e.interval())
		select {
		case <-timer.C:
		case <-e.metricsWake:
			timer.Stop()
			continue // with the interval of these settings
		case <-ctx.Done():
			last = true
		}
		timer.Stop()
		if s := e.inForce.Load(); s != nil && s.metrics != nil {
			_, err := s.metrics.send(flushing, e.source(s).AppendRequest(nil, e.collect()))
			e.note(meters, err)
		}
	}
}

// idle is how often settings are looked at while no metrics are sent.
const idle = 5 * time.Second

func (e *Exporter) interval() time.Duration {
	if s := e.inForce.Load(); s != nil && s.metrics != nil {
		return s.every
	}
	return idle
}

// collect encodes all metrics as they are now.
func (e *Exporter) collect() []byte {
	now := time.Now().UnixNano()
	families, err := e.o.Gather.Gather()
	if err != nil { // the rest is there all the same
		e.o.Log.Warn("some metrics cannot be collected", "error", err)
	}
	return appendFamilies(e.meter.append(nil, e.started, now), families, e.started, now)
}

// note tells of how a request went.
func (e *Exporter) note(s signal, err error) {
	if err != nil {
		e.counts.requests.WithLabelValues(s.name, "failed").Inc()
		e.failed(s, err)
		return
	}
	e.counts.requests.WithLabelValues(s.name, "sent").Inc()
	e.well(s)
}
