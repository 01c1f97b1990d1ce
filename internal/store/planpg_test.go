//go:build unix

package store

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/store/pgtest"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// TestSearchesAreNotSorted on PostgreSQL: blocks are taken from the newest on, what is in them is found by its key, and
// only what one block has is sorted. The table is read as a whole for no search.
func TestSearchesAreNotSortedOnPostgreSQL(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	s := openAt(t, address)
	for n := 0; n < 20_000; n += 4000 {
		if err := s.AddRecords(t.Context(), "j", int64(n+1), workloads(n, 4000)); err != nil {
			t.Fatal(err)
		}
	}
	run(t, address, "ANALYZE")
	w := workload(1)
	for name, f := range map[string]usage.Filter{
		"all":     {},
		"after":   {After: workload(10_000).ID},
		"project": {Project: w.Project},
		"many":    {Project: w.Project, Key: w.Key, Model: w.Model, Target: w.Target, Status: "error", From: w.Time, To: w.Time.Add(time.Hour)},
		"times":   {From: w.Time, To: w.Time.Add(time.Hour)},
		"tag":     {Tag: "team-1"},
		"trace":   {Trace: w3c.TraceID{1}},
	} {
		q, err := s.search(t.Context(), f)
		if err != nil || q == nil {
			t.Fatalf("%s: %v, %v", name, q, err)
		}
		rows, err := s.query(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF) "+recordsQuery(q), append(q.args, 50)...)
		plan, err := collect(rows, err, func(r scanner) (detail string, err error) { return detail, r.Scan(&detail) })
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(plan, "\n")
		t.Logf("%s: %s", name, plan[len(plan)-1])
		sorted := strings.Contains(got, "  Sort (") || strings.Contains(got, "->  Sort ")
		if sorted && f.Trace.IsZero() || strings.Contains(got, "Seq Scan on exchange") || strings.Contains(got, "Hash Join") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}
