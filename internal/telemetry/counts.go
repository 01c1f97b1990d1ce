package telemetry

import "github.com/prometheus/client_golang/prometheus"

// counts are what the exporter tells of itself.
type counts struct {
	spans    outcomes
	requests *prometheus.CounterVec
}

// outcomes count spans by what became of them.
type outcomes struct{ *prometheus.CounterVec }

func (o outcomes) lost(how string, n int) {
	if n > 0 {
		o.WithLabelValues(how).Add(float64(n))
	}
}

func newCounts(reg prometheus.Registerer, q *queue) *counts {
	c := &counts{
		spans: outcomes{prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_telemetry_spans_total",
			Help: "Spans, by outcome: sent, refused by the collector, dropped because too many waited or none took them.",
		}, []string{"outcome"})},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_telemetry_requests_total", Help: "Requests to the collector, by signal and outcome: sent, failed.",
		}, []string{"signal", "outcome"}),
	}
	for _, how := range []string{"sent", "refused", "dropped"} {
		c.spans.WithLabelValues(how)
	}
	for _, s := range Signals() {
		c.requests.WithLabelValues(s, "sent")
		c.requests.WithLabelValues(s, "failed")
	}
	reg.MustRegister(c.spans, c.requests, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "penstock_telemetry_queue_bytes", Help: "Bytes of spans that wait for the collector.",
	}, func() float64 { return float64(q.size()) }))
	return c
}
