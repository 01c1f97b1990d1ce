package store

import (
	"database/sql"

	"github.com/prometheus/client_golang/prometheus"
)

// What is told of connections. Whoever waits for one often has store_connections too low.
var (
	connections = prometheus.NewDesc("penstock_store_connections",
		"Connections to the store, by what they are for (write, read, watch) and state: in_use, idle.", []string{"pool", "state"}, nil)
	mostConnections = prometheus.NewDesc("penstock_store_connections_max", "Most connections to the store that there may be.", []string{"pool"}, nil)
	connectionWaits = prometheus.NewDesc("penstock_store_connection_waits_total",
		"How often somebody had to wait for a connection to the store, because all were in use.", []string{"pool"}, nil)
	connectionWaited = prometheus.NewDesc("penstock_store_connection_wait_seconds_total",
		"For how long, together, somebody waited for a connection to the store.", []string{"pool"}, nil)
)

// gauges ask the pools when somebody asks for metrics.
type gauges struct{ s *Store }

// Describe implements [prometheus.Collector].
func (gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{connections, mostConnections, connectionWaits, connectionWaited} {
		to <- d
	}
}

// Collect implements [prometheus.Collector]. It asks nobody but the process itself.
func (g gauges) Collect(to chan<- prometheus.Metric) {
	p := g.s.open.Load()
	if p == nil {
		return // a file that is not open yet
	}
	tell := func(name string, db *sql.DB) {
		st := db.Stats()
		to <- prometheus.MustNewConstMetric(connections, prometheus.GaugeValue, float64(st.InUse), name, "in_use")
		to <- prometheus.MustNewConstMetric(connections, prometheus.GaugeValue, float64(st.Idle), name, "idle")
		to <- prometheus.MustNewConstMetric(mostConnections, prometheus.GaugeValue, float64(st.MaxOpenConnections), name)
		to <- prometheus.MustNewConstMetric(connectionWaits, prometheus.CounterValue, float64(st.WaitCount), name)
		to <- prometheus.MustNewConstMetric(connectionWaited, prometheus.CounterValue, st.WaitDuration.Seconds(), name)
	}
	tell("write", p.write)
	tell("read", p.read)
	if p.watch != p.read {
		tell("watch", p.watch)
	}
}
