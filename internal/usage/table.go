package usage

import (
	"strconv"

	"github.com/penstock/penstock/internal/llm"
)

// Table is sums as rows for other programs: the columns by which they were asked for, and exact numbers. Money is in
// dollars. Behind it are the parts of usage, each of a number before it, to which it adds nothing, and what was settled later, which
// is not in the cost.
func Table(by []string, sums []Sum) (head []string, rows [][]string) {
	head = append(append(head, by...), "requests", "errors", "input", "output", "cached_input", "cache_write", "reasoning", "cost_usd",
		"unpriced_requests", "unknown_requests")
	head = append(append(head, llm.PartNames[:]...), "settled_requests", "settled_usd")
	for _, s := range sums {
		row := make([]string, 0, len(head))
		for _, column := range by {
			row = append(row, s.Group[column])
		}
		u := s.Usage
		row = append(row, numbers(s.Requests, s.Errors, u.Input, u.Output, u.CachedInput, u.CacheWrite, u.Reasoning)...)
		row = append(append(row, s.CostNano.String()), numbers(s.Unpriced, s.Unknown)...)
		for _, part := range u.Parts.All() {
			row = append(row, numbers(*part)...)
		}
		rows = append(rows, append(append(row, numbers(s.Settled)...), s.SettledNano.String()))
	}
	return head, rows
}

// LatencyTable is latencies as rows for other programs, in nanoseconds.
func LatencyTable(by []string, all []Latency) (head []string, rows [][]string) {
	head = append(head, by...)
	for _, what := range []string{"total", "first_token", "overhead", "per_output_token"} {
		for _, of := range []string{"count", "p50_ns", "p90_ns", "p95_ns", "p99_ns", "max_ns"} {
			head = append(head, what+"_"+of)
		}
	}
	for _, l := range all {
		row := make([]string, 0, len(head))
		for _, column := range by {
			row = append(row, l.Group[column])
		}
		for _, q := range []Quantiles{l.Total, l.First, l.Overhead, l.PerToken} {
			row = append(row, numbers(q.Count, q.P50, q.P90, q.P95, q.P99, q.Max)...)
		}
		rows = append(rows, row)
	}
	return head, rows
}

func numbers(all ...int64) []string {
	texts := make([]string, len(all))
	for i, n := range all {
		texts[i] = strconv.FormatInt(n, 10)
	}
	return texts
}
