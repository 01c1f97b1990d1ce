//go:build unix

package store

import (
	"os"
	"testing"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// TestMillionPostgreSQL is TestMillion there.
func TestMillionPostgreSQL(t *testing.T) {
	if os.Getenv("PENSTOCK_SLOW") == "" {
		t.Skip("PENSTOCK_SLOW is not set")
	}
	feel(t, pgtest.Database(t))
}

// BenchmarkAddRecordsPostgreSQL is BenchmarkAddRecords there: this process's part, and not the server's.
func BenchmarkAddRecordsPostgreSQL(b *testing.B) {
	s := openAt(b, pgtest.Database(b))
	const batch = 500
	b.ReportAllocs()
	var spent float64
	for n := 0; n < b.N; n += batch {
		b.StopTimer()
		records := workloads(n, batch)
		began := cpu()
		b.StartTimer()
		if err := s.AddRecords(b.Context(), "j", int64(n), records); err != nil {
			b.Fatal(err)
		}
		spent += cpu() - began
	}
	b.ReportMetric(spent/float64(b.N), "cpu-ns/row")
}
