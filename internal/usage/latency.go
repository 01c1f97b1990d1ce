package usage

import "time"

// Latencies are the durations of whole answers: how long exchanges took that did not fail. Failures are counted, and kept
// apart, because a quick refusal or a timeout says nothing of how fast a model answers.
type Latencies struct {
	First    Histogram // to the first content of a stream
	Total    Histogram // to the last event
	Overhead Histogram // Penstock's own part of the total
	PerToken Histogram // mean between the output tokens of a stream, after the first
}

// A Timed is what the durations of an exchange are known from. Durations are nanoseconds.
type Timed struct {
	Failed, Stream         bool
	Total, First, Overhead int64 // Overhead is negative where it is not known
	Output                 int64 // tokens
}

// Add counts an exchange.
func (l *Latencies) Add(t Timed) {
	if t.Failed {
		return
	}
	l.Total.Add(t.Total)
	if t.Overhead >= 0 {
		l.Overhead.Add(t.Overhead)
	}
	if !t.Stream || t.First <= 0 {
		return
	}
	l.First.Add(t.First)
	if t.Output > 1 {
		l.PerToken.Add((t.Total - t.First) / (t.Output - 1))
	}
}

// Merge counts all that the other has counted.
func (l *Latencies) Merge(other *Latencies) {
	for i, h := range l.all() {
		h.Merge(other.all()[i])
	}
}

// all is the order in which they are stored.
func (l *Latencies) all() [4]*Histogram {
	return [4]*Histogram{&l.First, &l.Total, &l.Overhead, &l.PerToken}
}

// AppendBinary appends the form in which they are stored.
func (l *Latencies) AppendBinary(b []byte) (_ []byte, err error) {
	for _, h := range l.all() {
		if b, err = h.AppendBinary(b); err != nil {
			return b, err
		}
	}
	return b, nil
}

// MergeBinary merges latencies in their stored form.
func (l *Latencies) MergeBinary(b []byte) (err error) {
	for _, h := range l.all() {
		if b, err = h.MergeBinary(b); err != nil {
			return err
		}
	}
	return nil
}

// Quantiles are percentiles of durations in nanoseconds, each at most 4.5 % off, but for the longest, which is exact. All
// are 0 where nothing was counted.
type Quantiles struct {
	Count int64 `json:"count"`
	P50   int64 `json:"p50_ns"`
	P90   int64 `json:"p90_ns"`
	P95   int64 `json:"p95_ns"`
	P99   int64 `json:"p99_ns"`
	Max   int64 `json:"max_ns"`
}

// Quantiles reads the usual percentiles off a histogram.
func (h *Histogram) Quantiles() Quantiles {
	return Quantiles{
		Count: h.Count(), P50: h.Quantile(.5), P90: h.Quantile(.9), P95: h.Quantile(.95), P99: h.Quantile(.99), Max: h.Max(),
	}
}

// A LatencyQuery asks for the percentiles of exchanges between two times; zero times do not bound. By are group columns,
// in order: project, model, target, and one of day (UTC), hour and minute. Project, Model and Target, where they are set,
// choose.
type LatencyQuery struct {
	From, To               time.Time
	By                     []string
	Project, Model, Target string
}

// A Latency is one group of a LatencyQuery.
type Latency struct {
	Group    map[string]string `json:"group"`
	First    Quantiles         `json:"first_token"`
	Total    Quantiles         `json:"total"`
	Overhead Quantiles         `json:"overhead"`
	PerToken Quantiles         `json:"per_output_token"`
}

// NewLatency reads the percentiles of a group.
func NewLatency(group map[string]string, l *Latencies) Latency {
	return Latency{
		Group: group, First: l.First.Quantiles(), Total: l.Total.Quantiles(), Overhead: l.Overhead.Quantiles(), PerToken: l.PerToken.Quantiles(),
	}
}

// The steps of a series.
const (
	Minute = time.Minute
	Hour   = time.Hour
	Day    = 24 * time.Hour
)

// A SeriesQuery asks for sums in steps of time (Minute, Hour or Day, UTC) between two times; zero times do not bound. By
// is "" or one of org, project, key, model, target. Project, where it is set, chooses.
type SeriesQuery struct {
	From, To time.Time
	Step     time.Duration
	By       string
	Project  string
}

// A Point is the sum of one group of a series in one step. Steps without an exchange have no point.
type Point struct {
	Start time.Time `json:"start"`
	Sum
}
