// Package telemetry tells an OpenTelemetry collector what Penstock does: a trace of each exchange and metrics, by OTLP over
// HTTP or gRPC, named by the semantic conventions for generative AI.
//
// It makes them from finished records, off the request's path: an [Exporter] is shown each record by the writer that also
// brings it to the store, encodes its spans into a queue that is bounded in bytes, and workers send what waits there. So a
// collector that is slow, hangs or is away costs telemetry and nothing else; what is lost is counted.
//
// It is not for what was asked or answered, nor for tenants' names: only ids, models, tokens, money and times leave. It does
// not read trace contexts (gateway) and does not write them (provider); what spans are called is agreed on in
// [w3c.SpanOf].
package telemetry

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/otlp"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// Options are what an Exporter works with for all of its life. All are needed.
type Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Gather gives what /metrics shows.
	Gather prometheus.Gatherer
	// Version and Instance are Penstock's version and what this replica is called.
	Version, Instance string
}

// Settings are what one configuration makes of telemetry. They are immutable.
type Settings struct {
	traces, metrics *sink // nil: not sent
	every           time.Duration
	queue           int64
	resource        []otlp.Attr
	peers           map[string]Peer
}

// NewSettings makes the settings of a section, nil if nothing is sent. peers are the configured providers by name.
func NewSettings(cfg Config, ways Ways, peers map[string]Peer) (*Settings, error) {
	if !cfg.On() {
		return nil, nil
	}
	s := &Settings{every: cfg.Metrics.Every, queue: cfg.Queue, peers: peers, resource: []otlp.Attr{otlp.String(serviceName, cfg.Service)}}
	for _, pair := range cfg.Attributes {
		key, value, _ := strings.Cut(pair, "=")
		s.resource = append(s.resource, otlp.String(strings.TrimSpace(key), strings.TrimSpace(value)))
	}
	var err, other error
	s.traces, err = newSink(cfg.traces(), traces, ways)
	s.metrics, other = newSink(cfg.metrics(), meters, ways)
	if err := errors.Join(err, other); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close closes connections that nothing uses.
func (s *Settings) Close() {
	if s != nil {
		s.traces.close()
		s.metrics.close()
	}
}

// Sampler says which of the traces that begin here are recorded, by their ids, so that whoever samples by the same rule
// keeps the same ones; nil if none is.
func (c Config) Sampler() func(w3c.TraceID) bool {
	share, err := ParseShare(c.Traces.Sample)
	if !c.TracesOn() || err != nil || share == 0 {
		return nil
	}
	const space = 1 << 56 // an id ends with seven random bytes
	least := uint64(math.Round((1 - share) * space))
	return func(t w3c.TraceID) bool { return binary.BigEndian.Uint64(t[8:])&(space-1) >= least }
}

// An Exporter sends telemetry, one for the life of the process. It is safe for concurrent use.
type Exporter struct {
	o       Options
	started int64 // nanoseconds since 1970
	queue   *queue
	meter   *meter
	counts  *counts
	inForce atomic.Pointer[Settings]

	// One for each worker, with room for one token: the settings have changed.
	spansWake, metricsWake chan struct{}

	mu       sync.Mutex // guards the fields below
	spanner  spanner
	troubles map[string]trouble // by signal
}

// A trouble is that a signal is not taken.
type trouble struct {
	since time.Time
	text  string
}

// New makes an exporter that sends nothing until [Exporter.Use].
func New(o Options) *Exporter {
	e := &Exporter{
		o: o, started: time.Now().UnixNano(), queue: newQueue(), meter: newMeter(),
		spansWake: make(chan struct{}, 1), metricsWake: make(chan struct{}, 1), troubles: map[string]trouble{},
	}
	e.counts = newCounts(o.Metrics, e.queue)
	return e
}

// Use has the exporter send by these settings from now on; nil is nowhere. What waits goes where these say.
func (e *Exporter) Use(s *Settings) {
	if s != nil {
		e.queue.bound(s.queue)
	}
	old := e.inForce.Swap(s)
	if s == nil || s.traces == nil {
		e.counts.spans.lost("dropped", e.queue.clear())
		e.well(traces)
	}
	if s == nil || s.metrics == nil {
		e.well(meters)
	}
	old.Close()
	for _, wake := range []chan struct{}{e.spansWake, e.metricsWake} {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
}

// Observe takes in a record that is over. It does not wait, and does not keep the record.
func (e *Exporter) Observe(rec *usage.Record) {
	s := e.inForce.Load()
	if s == nil {
		return
	}
	if s.metrics != nil {
		e.meter.count(rec, s.peers)
	}
	if s.traces == nil || rec.TraceFlags&w3c.Sampled == 0 || rec.Trace.IsZero() {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	dropped := e.queue.add(func(b []byte) ([]byte, int) { return e.spanner.append(b, rec, s.peers) })
	e.counts.spans.lost("dropped", dropped)
}

// Trouble says why a signal ("traces" or "metrics") is not taken, and since when; "" if all is well.
func (e *Exporter) Trouble(signal string) (text string, since time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.troubles[signal]
	return t.text, t.since
}

// Signals are the names that Trouble knows.
func Signals() []string { return []string{traces.name, meters.name} }

// source is what all requests have in common.
func (e *Exporter) source(s *Settings) *otlp.Source {
	return &otlp.Source{
		Resource: append([]otlp.Attr{otlp.String(serviceVersion, e.o.Version), otlp.String(serviceInstance, e.o.Instance)}, s.resource...),
		Scope:    scope, Version: e.o.Version, Schema: schema,
	}
}

// failed notes that a signal is not taken, and says so once.
func (e *Exporter) failed(s signal, err error) {
	e.mu.Lock()
	t, known := e.troubles[s.name]
	if !known {
		t.since = time.Now()
	}
	t.text = err.Error()
	e.troubles[s.name] = t
	e.mu.Unlock() // a log that does not take a line must not hold up Observe
	if !known {
		e.o.Log.LogAttrs(context.Background(), slog.LevelWarn, "telemetry is not taken; nothing else is affected",
			slog.String("signal", s.name), slog.String("error", t.text))
	}
}

// well notes that a signal is taken.
func (e *Exporter) well(s signal) {
	e.mu.Lock()
	t, known := e.troubles[s.name]
	delete(e.troubles, s.name)
	e.mu.Unlock()
	if !known {
		return
	}
	e.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "telemetry is taken again", slog.String("signal", s.name),
		slog.Duration("after", time.Since(t.since).Round(time.Second)))
}
