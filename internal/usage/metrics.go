package usage

import (
	"errors"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/pipeline"
)

// metrics counts exchanges. Labels are ids and configured names, never tenants' names or what callers made up.
type metrics struct {
	inFlight prometheus.Gauge
	overhead prometheus.Histogram
	refused  prometheus.Counter

	requests, errors, tokens, cached, cost, unpriced, tries *prometheus.CounterVec
	duration, first, perToken                               *prometheus.HistogramVec

	labelCap int
	known    atomic.Pointer[handles]
	mu       sync.Mutex // serialises changes of known
}

// labels tell exchanges apart.
type labels struct{ project, model, target string }

// others are the labels of all that is not told apart.
var others = labels{other, other, other}

const other = "other"

func (l labels) with(more ...string) []string {
	return append([]string{l.project, l.model, l.target}, more...)
}

// handles are resolved metrics. Snapshots are immutable, so that finding one is a lookup and no lock.
type handles struct {
	labels  map[labels]bool
	targets map[string]bool
	series  map[seriesKey]*series
	tries   map[tryKey]prometheus.Counter
}

type seriesKey struct {
	labels
	status int
	code   string
}

type series struct {
	requests                    prometheus.Counter
	errors                      prometheus.Counter // nil if there was none
	input, output, cached, cost prometheus.Counter
	unpriced                    prometheus.Counter
	duration, first, perToken   prometheus.Observer
}

type tryKey struct{ target, reason string }

func newMetrics(reg prometheus.Registerer, labelCap int) (*metrics, error) {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_" + name, Help: help},
			append([]string{"project", "model", "target"}, more...))
	}
	histogram := func(name, help string, buckets ...float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "penstock_" + name, Help: help, Buckets: buckets},
			[]string{"project", "model", "target"})
	}
	m := &metrics{
		labelCap: labelCap,
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "penstock_in_flight", Help: "Exchanges that have begun and not ended."}),
		overhead: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "penstock_overhead_seconds", Help: "Penstock's own time of an exchange: without its tries at providers.",
			Buckets: []float64{.00005, .0001, .0002, .0005, .001, .002, .005, .01, .025, .05, .1, .5, 1}}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_journal_failures_total", Help: "Entries that the journal did not take; what they belonged to was refused."}),
		requests: counter("requests_total", "Exchanges, by the HTTP status that the client was sent (499: it left).", "status"),
		errors:   counter("errors_total", "Exchanges without a whole answer, by error code.", "code"),
		tokens:   counter("tokens_total", "Tokens; input holds cached ones, output holds reasoning.", "direction"),
		cached:   counter("cached_input_tokens_total", "Prompt tokens that the provider had in its cache."),
		cost:     counter("cost_dollars_total", "Cost of priced tries in US dollars."),
		unpriced: counter("unpriced_total", "Exchanges whose cost is not, or not wholly, known."),
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_tries_total", Help: "Upstream attempts, by how they ended."}, []string{"target", "reason"}),
		duration: histogram("request_duration_seconds", "From a request's head to the last event of its answer.",
			.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600),
		first: histogram("time_to_first_token_seconds", "From a request's head to the first content of a stream.",
			.05, .1, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60, 120),
		perToken: histogram("time_per_output_token_seconds", "Mean time between the output tokens of a stream, after the first.",
			.001, .0025, .005, .01, .02, .03, .05, .075, .1, .15, .2, .3, .5, 1),
	}
	m.known.Store(&handles{})
	err := register(reg, m.inFlight, m.overhead, m.refused, m.requests, m.errors, m.tokens, m.cached, m.cost, m.unpriced,
		m.tries, m.duration, m.first, m.perToken)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func register(reg prometheus.Registerer, all ...prometheus.Collector) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}

// observe counts an exchange that is over.
func (m *metrics) observe(rec *Record) {
	code := ""
	if rec.Error != nil {
		code = rec.Error.Code
	}
	s := m.series(labelsOf(rec), rec.Status, code)
	s.requests.Inc()
	if s.errors != nil {
		s.errors.Inc()
	}
	s.duration.Observe(seconds(rec.Timings.TotalNS))
	m.overhead.Observe(seconds(rec.Timings.OverheadNS))
	if rec.Stream && rec.Timings.FirstNS > 0 {
		s.first.Observe(seconds(rec.Timings.FirstNS))
		if rec.Usage.Output > 1 && rec.Error == nil {
			s.perToken.Observe(seconds(rec.Timings.TotalNS-rec.Timings.FirstNS) / float64(rec.Usage.Output-1))
		}
	}
	s.input.Add(float64(max(rec.Usage.Input, 0)))
	s.output.Add(float64(max(rec.Usage.Output, 0)))
	s.cached.Add(float64(max(rec.Usage.CachedInput, 0)))
	s.cost.Add(float64(max(rec.CostNano, 0)) / 1e9)
	if rec.Unpriced {
		s.unpriced.Inc()
	}
	for i := range rec.Tries {
		m.try(&rec.Tries[i]).Inc()
	}
}

func seconds(ns int64) float64 { return float64(ns) / float64(time.Second) }

// labelsOf are the labels of an exchange. One that came to no provider has no model: its name may be the caller's
// invention.
func labelsOf(rec *Record) labels {
	if len(rec.Tries) == 0 && rec.Target == "" {
		return labels{project: rec.Project}
	}
	return labels{rec.Project, rec.Model, rec.Target}
}

// series finds the handles of an exchange, and makes them when labels, status or code are new. New labels come only from
// exchanges that did not end with the caller's mistake, so that made-up models do not use up the cap.
func (m *metrics) series(l labels, status int, code string) *series {
	known := m.known.Load()
	if s := known.series[seriesKey{l, status, code}]; s != nil {
		return s
	}
	if !known.labels[l] && (len(known.labels) >= m.labelCap || callersMistake(status) && l.model != "") {
		l = others
		if s := known.series[seriesKey{l, status, code}]; s != nil {
			return s
		}
	}
	return m.addSeries(seriesKey{l, status, code})
}

func callersMistake(status int) bool {
	return status >= http.StatusBadRequest && status < http.StatusInternalServerError
}

func (m *metrics) addSeries(k seriesKey) *series {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := *m.known.Load()
	if s := next.series[k]; s != nil {
		return s
	}
	l := k.with()
	s := &series{
		requests: m.requests.WithLabelValues(k.with(strconv.Itoa(k.status))...),
		input:    m.tokens.WithLabelValues(k.with("input")...), output: m.tokens.WithLabelValues(k.with("output")...),
		cached: m.cached.WithLabelValues(l...), cost: m.cost.WithLabelValues(l...), unpriced: m.unpriced.WithLabelValues(l...),
		duration: m.duration.WithLabelValues(l...), first: m.first.WithLabelValues(l...), perToken: m.perToken.WithLabelValues(l...),
	}
	if k.code != "" {
		s.errors = m.errors.WithLabelValues(k.with(k.code)...)
	}
	next.series = with(next.series, k, s)
	if k.labels != others {
		next.labels = with(next.labels, k.labels, true)
	}
	m.known.Store(&next)
	return s
}

// try finds the counter of a try. As with labels, a target of which nothing but a refusal of the request is known is
// "other".
func (m *metrics) try(t *pipeline.Try) prometheus.Counter {
	known := m.known.Load()
	k := tryKey{t.Target, t.Reason}
	if c := known.tries[k]; c != nil {
		return c
	}
	if !known.targets[k.target] && (len(known.targets) >= m.labelCap || callersMistake(t.Status)) {
		k.target = other
		if c := known.tries[k]; c != nil {
			return c
		}
	}
	return m.addTry(k)
}

func (m *metrics) addTry(k tryKey) prometheus.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := *m.known.Load()
	if c := next.tries[k]; c != nil {
		return c
	}
	c := m.tries.WithLabelValues(k.target, k.reason)
	next.tries = with(next.tries, k, c)
	if k.target != other {
		next.targets = with(next.targets, k.target, true)
	}
	m.known.Store(&next)
	return c
}

// with copies a map and adds an entry.
func with[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	next := make(map[K]V, len(m)+1)
	maps.Copy(next, m)
	next[k] = v
	return next
}
