package route

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what choices come to, for the life of the process. A nil *Metrics counts nothing.
type Metrics struct {
	excluded [unwell + 1]prometheus.Counter
	hedges   [2]prometheus.Counter
	denied   prometheus.Counter
}

// How races between a try and its hedge end.
const (
	hedgeLost = iota // the first try answered
	hedgeWon
)

// NewMetrics makes and registers the metrics. There is a series of each reason from the beginning.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	excluded := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_route_excluded_total", Help: "Targets that a call could not be sent to, by why."}, []string{"reason"})
	hedges := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_route_hedges_total",
		Help: "Tries that were sent beside one that was late, by which of the two was used: won if it was the later one."}, []string{"outcome"})
	m := &Metrics{denied: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "penstock_route_retries_denied_total", Help: "Calls that were tried no further because too many are being retried already."})}
	for e := byRule; e <= unwell; e++ {
		m.excluded[e] = excluded.WithLabelValues(e.word())
	}
	m.hedges[hedgeLost], m.hedges[hedgeWon] = hedges.WithLabelValues("lost"), hedges.WithLabelValues("won")
	return m, errors.Join(reg.Register(excluded), reg.Register(hedges), reg.Register(m.denied))
}

// word is what metrics call an exclusion.
func (e exclusion) word() string {
	switch e {
	case byRule:
		return "rule"
	case stopped:
		return "stopped"
	case disabled:
		return "disabled"
	case misplaced:
		return "place"
	case unnamed:
		return "unnamed"
	case unpaid:
		return "budget"
	case exhausted:
		return "credential"
	case limited:
		return "rate_limit"
	case unable:
		return "ability"
	case tooSmall:
		return "context"
	case unwell:
		return "ejected"
	}
	return "other"
}

// leftOut counts somebody that was left out after the choice.
func (m *Metrics) leftOut(why exclusion) {
	if m != nil {
		m.excluded[why].Inc()
	}
}

// count counts whom a choice left out.
func (m *Metrics) count(all []candidate) {
	if m == nil {
		return
	}
	for i := range all {
		if out := all[i].out; out != eligible {
			m.excluded[out].Inc()
		}
	}
}

func (m *Metrics) deny() {
	if m != nil {
		m.denied.Inc()
	}
}

func (m *Metrics) hedge(outcome int) {
	if m != nil {
		m.hedges[outcome].Inc()
	}
}
