package alert

import "github.com/prometheus/client_golang/prometheus"

// metrics count alerts and what becomes of messages.
type metrics struct {
	sent, failed, superseded, lost prometheus.Counter
}

var (
	openAlerts = prometheus.NewDesc("penstock_alerts_open", "Alerts that were raised and not resolved.", []string{"kind", "severity"}, nil)
	waiting    = prometheus.NewDesc("penstock_alert_messages_waiting", "Messages about alerts that the receiver has not taken yet.", nil, nil)
)

func newMetrics(reg prometheus.Registerer, b *Board) *metrics {
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "penstock_alert_messages_total",
		Help: "Attempts to tell of alerts, by outcome: sent, failed, superseded by a later message about the same, lost for want of room.",
	}, []string{"outcome"})
	reg.MustRegister(messages, gauges{b})
	return &metrics{
		sent: messages.WithLabelValues("sent"), failed: messages.WithLabelValues("failed"),
		superseded: messages.WithLabelValues("superseded"), lost: messages.WithLabelValues("lost"),
	}
}

// gauges read the board when somebody asks.
type gauges struct{ b *Board }

// Describe implements [prometheus.Collector].
func (gauges) Describe(to chan<- *prometheus.Desc) { to <- openAlerts; to <- waiting }

// Collect implements [prometheus.Collector].
func (g gauges) Collect(to chan<- prometheus.Metric) {
	open := map[Kind]int{}
	pending := 0
	g.b.mu.Lock()
	for r, it := range g.b.items {
		if it.open {
			open[r.kind]++
		}
		if it.waiting != nil {
			pending++
		}
	}
	g.b.mu.Unlock()
	for _, m := range table {
		to <- prometheus.MustNewConstMetric(openAlerts, prometheus.GaugeValue, float64(open[m.Kind]), string(m.Kind), string(m.Severity))
	}
	to <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(pending))
}
