package audit

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what a scraper sees of the chain.
type metrics struct {
	entries, verified, signed, intact, unsent prometheus.Gauge
	failures                                  prometheus.Counter
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "penstock_audit_" + name, Help: help})
	}
	m := &metrics{
		entries:  gauge("entries", "Entries of the audit chain."),
		verified: gauge("verified_entry", "The entry of the audit chain that was verified last."),
		signed:   gauge("checkpoint_entry", "The entry of the audit chain that this process signed last."),
		intact:   gauge("intact", "1 if the audit chain is whole, 0 if a bad entry was found, which is always a reason to wake somebody."),
		unsent:   gauge("checkpoints_unsent", "Checkpoints that did not get where they should go yet."),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_audit_checkpoint_failures_total", Help: "Checkpoints that did not get where they should go.",
		}),
	}
	m.intact.Set(1)
	if r == nil {
		return m, nil
	}
	return m, errors.Join(r.Register(m.entries), r.Register(m.verified), r.Register(m.signed), r.Register(m.intact), r.Register(m.failures), r.Register(m.unsent))
}

func (m *metrics) setIntact(yes bool) {
	if yes {
		m.intact.Set(1)
		return
	}
	m.intact.Set(0)
}
