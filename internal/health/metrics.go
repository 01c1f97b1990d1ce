package health

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics show configured targets only: where callers may make names up, these are no labels.
type metrics struct {
	board   *Board
	state   *prometheus.Desc
	share   *prometheus.Desc
	changes *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, b *Board) (*metrics, error) {
	m := &metrics{
		board: b,
		state: prometheus.NewDesc("penstock_target_state", "1 for the state that a target is in, as this replica sees it: healthy, ramping, half_open, ejected, disabled.",
			[]string{"target", "state"}, nil),
		share: prometheus.NewDesc("penstock_target_share", "What a target may get of its full share, 0 to 1.", []string{"target"}, nil),
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_target_changes_total",
			Help: "Changes of targets, by what happened (ejected, probe_failed, ramping, healthy, disabled, enabled) and why.",
		}, []string{"target", "change", "reason"}),
	}
	return m, errors.Join(r.Register(m), r.Register(m.changes))
}

// Describe implements [prometheus.Collector].
func (m *metrics) Describe(to chan<- *prometheus.Desc) { to <- m.state; to <- m.share }

// Collect implements [prometheus.Collector].
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	now := time.Now()
	for _, t := range m.board.all() {
		s := t.State(now)
		if !t.known.Load() || !t.tried.Load() && s.Kind == Healthy { // of a whole catalogue few are used
			continue
		}
		for _, k := range Kinds() {
			is := 0.0
			if k == s.Kind {
				is = 1
			}
			to <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, is, t.key, k.String())
		}
		to <- prometheus.MustNewConstMetric(m.share, prometheus.GaugeValue, s.Share, t.key)
	}
}

// count counts a change. What an operator wrote is no label.
func (m *metrics) count(e Event) {
	reason := e.Reason
	if e.Change == WasDisabled || e.Change == WasEnabled {
		reason = "operator"
	}
	if name := m.board.label(e.Target); name != "" {
		m.changes.WithLabelValues(name, string(e.Change), reason).Inc()
	}
}

// label is the name of a configured target, or of the provider of one, as it may be a label; "" of all others.
func (b *Board) label(name string) string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.isConfigured(name) {
		return name
	}
	for t := range b.configured {
		if Covers(name, t) {
			return name
		}
	}
	return ""
}
