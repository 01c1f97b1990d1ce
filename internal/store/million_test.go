package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// TestMillion is how the store feels with a million exchanges in it. It takes minutes and 2 GB of disk, so it runs only
// with PENSTOCK_SLOW=1. PENSTOCK_MILLION may name a file, or a database in PostgreSQL, that is kept for the next run.
func TestMillion(t *testing.T) {
	if os.Getenv("PENSTOCK_SLOW") == "" {
		t.Skip("PENSTOCK_SLOW is not set")
	}
	path := os.Getenv("PENSTOCK_MILLION")
	if path == "" {
		path = filepath.Join(t.TempDir(), "penstock.db")
	}
	if !postgresURL(path) {
		path = "sqlite:" + path
	}
	feel(t, path)
}

// feel fills a store with a million exchanges, unless it has them, and uses it.
func feel(t *testing.T, address string) {
	t.Helper()
	fill(t, address, 1_000_000)

	began := time.Now()
	s, err := Open(t.Context(), address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	took(t, "open", began, time.Second)
	for more := true; more; {
		if _, more, err = s.SumUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	first, middle := workload(10), workload(500_000)
	rare := workload(123_456)
	rare.ID, rare.User, rare.Model, rare.Tags = "ex_rare", "rare", "rare", []string{"rare"}
	alone := *rare
	alone.ID, alone.Trace = pipeline.NewID(rare.Time)
	if err := s.AddRecords(t.Context(), "j", 1, []*usage.Record{rare, &alone}); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]usage.Filter{
		"newest":                       {},
		"deep page":                    {After: middle.ID},
		"oldest page":                  {After: first.ID},
		"project":                      {Project: first.Project},
		"project, deep":                {Project: first.Project, After: projectMate(first).ID},
		"key":                          {Key: first.Key},
		"model":                        {Model: first.Model},
		"a user of 500":                {User: "user-77"},
		"tag":                          {Tag: "team-1"},
		"errors":                       {Status: "error"},
		"429, of which there are none": {Status: "429"},
		"a model that is nowhere":      {Model: "nowhere"},
		"a rare user":                  {User: "rare"},
		"a rare model, as an error":    {Model: "rare", Status: "error"},
		"a user of one project":        {User: "user-77", Project: first.Project},
		"a caller's trace":             {Trace: workload(600_000).Trace},
		"an exchange's own trace":      {Trace: alone.Trace},
		"a trace that is nowhere":      {Trace: w3c.TraceID{1}},
		"a day long ago":               {From: first.Time, To: first.Time.Add(time.Minute)},
		"project's errors of a minute": {Project: first.Project, Status: "5xx", From: middle.Time, To: middle.Time.Add(time.Minute)},
	} {
		began := time.Now()
		got, err := s.Records(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		took(t, fmt.Sprintf("records: %s (%d)", name, len(got)), began, 100*time.Millisecond)
	}
	for _, q := range []usage.Query{
		{}, {By: []string{"project"}}, {By: []string{"key", "model"}}, {By: []string{"day"}}, {By: []string{"tag"}}, {By: []string{"user"}},
		{By: []string{"model"}, User: "user-77"}, {By: []string{"model"}, Tag: "team-1"}, {By: []string{"hour", "user"}, Users: []string{"user-77", "user-78"}},
		{By: []string{"model"}, Project: first.Project}, {By: []string{"model"}, From: middle.Time, To: middle.Time.Add(time.Minute)},
	} {
		began := time.Now()
		if _, err := s.Sums(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		took(t, fmt.Sprintf("sums: %v", q), began, 0)
	}
	began = time.Now()
	if _, err := s.Record(t.Context(), first.Project, first.ID); err != nil {
		t.Fatal(err)
	}
	took(t, "record", began, 10*time.Millisecond)
	t.Logf("%d MB", s.Status().Bytes>>20)
}

// projectMate is an exchange of the same project in the middle.
func projectMate(w *usage.Record) *usage.Record {
	for n := 500_000; ; n++ {
		if mate := workload(n); mate.Project == w.Project {
			return mate
		}
	}
}

func took(t *testing.T, what string, began time.Time, most time.Duration) {
	t.Helper()
	d := time.Since(began)
	t.Logf("%-60s %v", what, d.Round(10*time.Microsecond))
	if most > 0 && d > most {
		t.Errorf("%s took %v, limit %v", what, d, most)
	}
}

// fill writes n exchanges, unless the file has them.
func fill(t *testing.T, address string, n int) {
	t.Helper()
	s, err := Open(t.Context(), address, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Record(t.Context(), "", workload(n-1).ID); err == nil {
		return
	}
	began, spent := time.Now(), time.Duration(0)
	for i := 0; i < n; i += 500 {
		records := workloads(i, 500)
		at := time.Now()
		if err := s.AddRecords(context.WithoutCancel(t.Context()), "j", int64(i), records); err != nil {
			t.Fatal(err)
		}
		spent += time.Since(at)
	}
	t.Logf("%d exchanges written in %v, %v each", n, time.Since(began).Round(time.Second), spent/time.Duration(n))
}
