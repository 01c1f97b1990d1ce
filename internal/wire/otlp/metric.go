package otlp

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// A Metric is the points of one name. Exactly one of Sum, Gauge, Histogram and Summary has points; all of them count from
// the start of the process (cumulative).
type Metric struct {
	Name, Description, Unit string

	Sum       []Number // only grow
	Gauge     []Number
	Histogram []Histogram
	Summary   []Summary
}

// A Point is what every point has. Times are nanoseconds since 1970.
type Point struct {
	Attrs       []Attr
	Start, Time int64 // Start 0 is not written
}

// A Number is the point of a sum or a gauge.
type Number struct {
	Point
	Value float64
}

// A Histogram is a point with buckets. Counts has one more than Bounds: what is above the last. Counts are not added up.
type Histogram struct {
	Point
	Count  uint64
	Sum    float64
	Bounds []float64
	Counts []uint64
}

// A Summary is a point with quantiles.
type Summary struct {
	Point
	Count     uint64
	Sum       float64
	Quantiles []Quantile
}

// A Quantile is one of a summary; Rank is from 0 to 1.
type Quantile struct{ Rank, Value float64 }

const cumulative = 2

// Append appends the metric as an item of a request.
func (m *Metric) Append(b []byte) []byte {
	b, body := begin(b, 2)
	b = appendText(b, 1, m.Name)
	b = appendText(b, 2, m.Description)
	b = appendText(b, 3, m.Unit)
	var data int
	switch {
	case len(m.Sum) > 0:
		b, data = begin(b, 7)
		b = appendNumbers(b, m.Sum)
		b = end(appendVarint(appendVarint(b, 2, cumulative), 3, 1), data)
	case len(m.Histogram) > 0:
		b, data = begin(b, 9)
		for i := range m.Histogram {
			b = m.Histogram[i].append(b)
		}
		b = end(appendVarint(b, 2, cumulative), data)
	case len(m.Summary) > 0:
		b, data = begin(b, 11)
		for i := range m.Summary {
			b = m.Summary[i].append(b)
		}
		b = end(b, data)
	default:
		b, data = begin(b, 5)
		b = end(appendNumbers(b, m.Gauge), data)
	}
	return end(b, body)
}

func appendNumbers(b []byte, points []Number) []byte {
	for i := range points {
		p := &points[i]
		var body int
		b, body = begin(b, 1)
		b = p.appendTimes(b)
		b = appendDouble(b, 4, p.Value)
		b = end(appendAttrs(b, 7, p.Attrs), body)
	}
	return b
}

func (p *Point) appendTimes(b []byte) []byte {
	if p.Start != 0 {
		b = appendFixed64(b, 2, uint64(p.Start))
	}
	return appendFixed64(b, 3, uint64(p.Time))
}

func (p *Histogram) append(b []byte) []byte {
	b, body := begin(b, 1)
	b = p.appendTimes(b)
	b = appendFixed64(b, 4, p.Count)
	b = appendDouble(b, 5, p.Sum)
	b, packed := begin(b, 6)
	for _, n := range p.Counts {
		b = protowire.AppendFixed64(b, n)
	}
	b = end(b, packed)
	b, packed = begin(b, 7)
	for _, bound := range p.Bounds {
		b = protowire.AppendFixed64(b, math.Float64bits(bound))
	}
	b = end(b, packed)
	return end(appendAttrs(b, 9, p.Attrs), body)
}

func (p *Summary) append(b []byte) []byte {
	b, body := begin(b, 1)
	b = p.appendTimes(b)
	b = appendFixed64(b, 4, p.Count)
	b = appendDouble(b, 5, p.Sum)
	for _, q := range p.Quantiles {
		var one int
		b, one = begin(b, 6)
		b = end(appendDouble(appendDouble(b, 1, q.Rank), 2, q.Value), one)
	}
	return end(appendAttrs(b, 7, p.Attrs), body)
}
