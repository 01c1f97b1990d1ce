package telemetry

import (
	"sort"
	"strings"
	"sync"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/otlp"
)

// maxSeries bounds how many series one histogram has; what is beyond is counted in one of its own.
const maxSeries = 1000

// labels tell the series of a GenAI metric apart: the configuration's names, and never a tenant's.
type labels struct {
	operation, provider, model, address string
	port                                int64
	failed                              string // why the try failed, "" if it did not
	token                               string // input or output
}

// beyond are the labels of all series that are too many.
var beyond = labels{operation: "\x00"}

// A histogram counts values of one metric in buckets, by labels.
type histogram struct {
	name, unit, description string
	bounds                  []float64
	series                  map[labels]*buckets
}

type buckets struct {
	count  uint64
	sum    float64
	counts []uint64
}

// A meter keeps the GenAI metrics: one value a try, which is the call that a client of a provider makes.
type meter struct {
	mu                           sync.Mutex // guards the fields below
	duration, firstChunk, tokens histogram
}

func newMeter() *meter {
	return &meter{
		duration:   histogram{durationMetric, "s", "GenAI operation duration", secondsBounds, map[labels]*buckets{}},
		firstChunk: histogram{firstChunkMetric, "s", "Time to receive the first chunk of a stream", secondsBounds, map[labels]*buckets{}},
		tokens:     histogram{tokensMetric, "{token}", "Number of input and output tokens used", tokensBounds, map[labels]*buckets{}},
	}
}

// count takes in the tries of a record.
func (m *meter) count(rec *usage.Record, peers map[string]Peer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range rec.Tries {
		m.try(rec, &rec.Tries[i], peers)
	}
}

func (m *meter) try(rec *usage.Record, t *pipeline.Try, peers map[string]Peer) {
	provider, model, _ := strings.Cut(t.Target, "/")
	peer := peerOf(peers, provider)
	l := labels{operation: operationOf(rec.Op).name, provider: peer.Name, model: clip(model), address: peer.Address, port: peer.Port}
	if t.Reason != answered {
		l.failed = reasonOf(t)
	}
	made := t.Status >= 400 && t.Status < 500 // the model may be the caller's invention
	m.duration.add(l, seconds(t.TookNS), made)
	l.failed = ""
	if rec.Stream && t.FirstNS > 0 {
		m.firstChunk.add(l, seconds(t.FirstNS-t.StartNS), made)
	}
	if t.Usage.Input > 0 || t.Usage.Output > 0 {
		l.token = "input"
		m.tokens.add(l, float64(t.Usage.Input), made)
		if rec.Op == llm.OpChat {
			l.token = "output"
			m.tokens.add(l, float64(t.Usage.Output), made)
		}
	}
}

// add counts a value. Labels that are made up open no series.
func (h *histogram) add(l labels, v float64, madeUp bool) {
	b := h.series[l]
	if b == nil {
		if len(h.series) >= maxSeries || madeUp {
			l = beyond
			b = h.series[l]
		}
		if b == nil {
			b = &buckets{counts: make([]uint64, len(h.bounds)+1)}
			h.series[l] = b
		}
	}
	b.count++
	b.sum += v
	b.counts[sort.SearchFloat64s(h.bounds, v)]++ // a bucket holds its upper bound
}

// append appends the metrics as items of a request. Times are nanoseconds since 1970.
func (m *meter) append(b []byte, start, now int64) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, h := range []*histogram{&m.duration, &m.firstChunk, &m.tokens} {
		if len(h.series) == 0 {
			continue
		}
		out := otlp.Metric{Name: h.name, Unit: h.unit, Description: h.description}
		for l, s := range h.series {
			out.Histogram = append(out.Histogram, otlp.Histogram{
				Point: otlp.Point{Attrs: l.attrs(), Start: start, Time: now},
				Count: s.count, Sum: s.sum, Bounds: h.bounds, Counts: s.counts,
			})
		}
		b = out.Append(b)
	}
	return b
}

func (l labels) attrs() []otlp.Attr {
	if l == beyond {
		return []otlp.Attr{otlp.Bool(overflow, true)}
	}
	a := []otlp.Attr{otlp.String(genOperation, l.operation), otlp.String(genProvider, l.provider), otlp.String(genModel, l.model)}
	if l.address != "" {
		a = append(a, otlp.String(serverAddress, l.address), otlp.Int(serverPort, l.port))
	}
	if l.failed != "" {
		a = append(a, otlp.String(errorType, l.failed))
	}
	if l.token != "" {
		a = append(a, otlp.String(genTokenType, l.token))
	}
	return a
}
