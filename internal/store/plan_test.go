package store

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// The engine must take blocks from the newest on, skip those that cannot fit, and never sort what it finds: a page of a
// million exchanges then costs what a page of a thousand does.
func TestSearchesAreNotSorted(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	if err := s.AddRecords(t.Context(), "j", 1, workloads(0, 3000)); err != nil {
		t.Fatal(err)
	}
	w := workload(1)
	for name, f := range map[string]usage.Filter{
		"all":     {},
		"after":   {After: workload(2000).ID},
		"project": {Project: w.Project},
		"many":    {Project: w.Project, Key: w.Key, Model: w.Model, Target: w.Target, Status: "error", From: w.Time, To: w.Time.Add(time.Hour)},
		"tag":     {Tag: "team-1"},
		"trace":   {Trace: w3c.TraceID{1}},
		"traced":  {Trace: w3c.TraceID{1}, Project: w.Project, Status: "ok", From: w.Time},
	} {
		q, err := s.search(t.Context(), f)
		if err != nil || q == nil {
			t.Fatalf("%s: %v, %v", name, q, err)
		}
		rows, err := s.query(t.Context(), "EXPLAIN QUERY PLAN "+recordsQuery(q), append(q.args, 50)...)
		plan, err := collect(rows, err, func(r scanner) (detail string, err error) {
			var id, parent, unused int
			return detail, r.Scan(&id, &parent, &unused, &detail)
		})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(plan, "\n")
		sorted := strings.Contains(got, "TEMP B-TREE") && f.Trace.IsZero() // a trace is short, and found by an index
		if sorted || strings.Contains(got, "SCAN e") || strings.Contains(got, "SCAN n") || strings.Contains(got, "AUTOMATIC") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}
