package telemetry

import (
	"math"

	dto "github.com/prometheus/client_model/go"

	"github.com/penstock/penstock/internal/wire/otlp"
)

// appendFamilies appends what /metrics shows as items of a request, under the same names. Times are nanoseconds since
// 1970.
func appendFamilies(b []byte, families []*dto.MetricFamily, start, now int64) []byte {
	for _, f := range families {
		m := otlp.Metric{Name: f.GetName(), Description: f.GetHelp()}
		for _, one := range f.GetMetric() {
			addPoint(&m, one, start, now)
		}
		b = m.Append(b)
	}
	return b
}

func addPoint(m *otlp.Metric, one *dto.Metric, start, now int64) {
	p := otlp.Point{Start: start, Time: now}
	for _, l := range one.GetLabel() {
		p.Attrs = append(p.Attrs, otlp.String(l.GetName(), l.GetValue()))
	}
	switch {
	case one.GetCounter() != nil:
		m.Sum = append(m.Sum, otlp.Number{Point: p, Value: one.GetCounter().GetValue()})
	case one.GetHistogram() != nil:
		m.Histogram = append(m.Histogram, histogramOf(p, one.GetHistogram()))
	case one.GetSummary() != nil:
		m.Summary = append(m.Summary, summaryOf(p, one.GetSummary()))
	case one.GetGauge() != nil:
		p.Start = 0
		m.Gauge = append(m.Gauge, otlp.Number{Point: p, Value: one.GetGauge().GetValue()})
	default:
		p.Start = 0
		m.Gauge = append(m.Gauge, otlp.Number{Point: p, Value: one.GetUntyped().GetValue()})
	}
}

// histogramOf takes the buckets apart that Prometheus has added up.
func histogramOf(p otlp.Point, from *dto.Histogram) otlp.Histogram {
	h := otlp.Histogram{Point: p, Count: from.GetSampleCount(), Sum: from.GetSampleSum()}
	below := uint64(0)
	for _, bucket := range from.GetBucket() {
		if math.IsInf(bucket.GetUpperBound(), 1) {
			continue
		}
		h.Bounds = append(h.Bounds, bucket.GetUpperBound())
		h.Counts = append(h.Counts, bucket.GetCumulativeCount()-below)
		below = bucket.GetCumulativeCount()
	}
	h.Counts = append(h.Counts, h.Count-below)
	return h
}

func summaryOf(p otlp.Point, from *dto.Summary) otlp.Summary {
	s := otlp.Summary{Point: p, Count: from.GetSampleCount(), Sum: from.GetSampleSum()}
	for _, q := range from.GetQuantile() {
		s.Quantiles = append(s.Quantiles, otlp.Quantile{Rank: q.GetQuantile(), Value: q.GetValue()})
	}
	return s
}
