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
		if !t.known.Load() {
			continue
		}
		s := t.State(now)
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
func (m *metrics) count(t *Target, e Event) {
	if !t.known.Load() {
		return
	}
	reason := e.Reason
	if e.Change == WasDisabled || e.Change == WasEnabled {
		reason = "operator"
	}
	m.changes.WithLabelValues(t.key, string(e.Change), reason).Inc()
}
