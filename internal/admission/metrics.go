package admission

import (
	"errors"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what an operator sees. What gates know is gathered when it is asked for.
type metrics struct {
	s    *Scheduler
	wait prometheus.Histogram
	shed [Classes]prometheus.Counter

	limit, inflight, waiting *prometheus.Desc

	mu     sync.Mutex // guards labels
	labels map[string]bool
}

func newMetrics(s *Scheduler, reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		s: s, labels: map[string]bool{},
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "penstock_admission_wait_seconds", Help: "How long requests waited for a slot, of those that waited and got one.",
			Buckets: []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}}),
		limit:    prometheus.NewDesc("penstock_admission_limit", "Calls that an upstream may have at once, as learned.", []string{"target"}, nil),
		inflight: prometheus.NewDesc("penstock_admission_in_flight", "Calls that an upstream has.", []string{"target"}, nil),
		waiting:  prometheus.NewDesc("penstock_admission_waiting", "Requests that wait for a slot.", []string{"class"}, nil),
	}
	shed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_admission_shed_total", Help: "Requests that were refused because they would have waited too long."}, []string{"class"})
	for c := range Class(Classes) {
		m.shed[c] = shed.WithLabelValues(c.String())
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.wait), reg.Register(shed), reg.Register(m))
}

// maxLabels bounds the series; gates beyond are one, "other".
const maxLabels = 500

// label is what a gate is called in metrics.
func (s *Scheduler) label(key string) string {
	if s.o.Label != nil {
		return s.o.Label(key)
	}
	name, _, _ := strings.Cut(key, "@")
	s.metrics.mu.Lock()
	defer s.metrics.mu.Unlock()
	if !s.metrics.labels[name] {
		if len(s.metrics.labels) >= maxLabels {
			return "other"
		}
		s.metrics.labels[name] = true
	}
	return name
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.limit
	ch <- m.inflight
	ch <- m.waiting
}

// Collect implements prometheus.Collector. Gates with one label, such as the addresses of one target, are one.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	limit, inflight := map[string]float64{}, map[string]float64{}
	m.s.gates.Range(func(_, v any) bool {
		g := v.(*Gate)
		label := m.s.label(g.key)
		limit[label] += g.Limit()
		inflight[label] += float64(g.Inflight())
		return true
	})
	gauge := func(d *prometheus.Desc, v float64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, label)
	}
	for label, v := range limit {
		gauge(m.limit, v, label)
		gauge(m.inflight, inflight[label], label)
	}
	for c := range Class(Classes) {
		gauge(m.waiting, float64(m.s.Waiting(c)), c.String())
	}
}
