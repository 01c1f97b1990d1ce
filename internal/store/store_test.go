package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/store/storetest"
	"github.com/penstock/penstock/internal/usage"
)

// asChild is what a copy of this test binary is told to do instead of testing.
const asChild = "PENSTOCK_STORE_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(asChild) {
	case "open":
		childOpens()
	case "write":
		childWrites()
	case "sum":
		childSums()
	default:
		goleak.VerifyTestMain(m)
	}
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store {
		s := openTest(t)
		s.atOnce = 16 // so that little is enough to be summed up
		checked(t, s)
		return s
	})
}

// checked has a store checked at the end of a test: whatever was done, its sums are those of its exchanges.
func checked(t *testing.T, s *Store) {
	t.Helper()
	t.Cleanup(func() {
		if _, err := s.Check(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

func TestUnusableStores(t *testing.T) {
	t.Parallel()
	garbage := []byte(strings.Repeat("this is not a database. ", 500))
	for _, tt := range []struct {
		name string
		make func(t *testing.T, path string)
		want string
	}{
		{"not a database", func(t *testing.T, path string) { write(t, path, garbage) }, "damaged, or no SQLite database"},
		{"damaged", func(t *testing.T, path string) {
			t.Helper()
			seed(t, path)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			copy(text[100:], garbage[:3000]) // the table of tables
			write(t, path, text)
		}, "damaged, or no SQLite database"},
		{"another program's", func(t *testing.T, path string) { execute(t, path, "CREATE TABLE theirs (a)") }, "it is a database of another program"},
		{"newer", func(t *testing.T, path string) {
			t.Helper()
			seed(t, path)
			execute(t, path, "INSERT INTO "+versionTable+" (version_id, is_applied) VALUES (9000, 1); UPDATE settings SET value = '9000' WHERE name = 'compatible_from'")
		}, "was written by a newer Penstock: its schema is 9000, this version knows "},
		{"a directory", func(t *testing.T, path string) {
			t.Helper()
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is a directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "penstock.db")
			tt.make(t, path)
			before, _ := os.ReadFile(path)
			_, err := Open(t.Context(), "sqlite:"+path, Options{})
			var e *OpenError
			if !errors.As(err, &e) || !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), tt.want) ||
				!strings.HasPrefix(err.Error(), path) || e.Hint == "" {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if after, _ := os.ReadFile(path); !slices.Equal(before, after) {
				t.Error("the file was changed")
			}
		})
	}
	if _, err := Open(t.Context(), "sqlite:"+filepath.Join(os.DevNull, "x"), Options{}); !errors.Is(err, ErrUnusable) {
		t.Errorf("a path that cannot be: got %v", err)
	}
	for _, address := range []string{"", "sqlite:", "penstock.db", "mysql://host/db", "SQLITE:x"} {
		if _, err := Open(t.Context(), address, Options{}); err == nil || !strings.Contains(err.Error(), "write sqlite:PATH") {
			t.Errorf("%q: got %v", address, err)
		}
	}
}

func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// seed makes a store with a project in it, and closes it.
func seed(t *testing.T, path string) {
	t.Helper()
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err == nil {
		err = errors.Join(s.CreateProject(t.Context(), auth.Project{ID: "prj_1", Org: "default", Name: "checkout"}), s.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// execute runs SQL on a file, past the store.
func execute(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), query); err != nil {
		t.Fatal(err)
	}
}

// TestUnknownCostsFromBeforeTheirColumn: what was written at schema 1 is counted like all else.
func TestUnknownCostsFromBeforeTheirColumn(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "penstock.db")
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	known := usage.Record{ID: "ex_1", Model: `","outcome":"unknown"`, Tries: []pipeline.Try{{Outcome: pipeline.Released, Reason: `"outcome":"unknown"`}}}
	unknown := usage.Record{ID: "ex_2", Tries: []pipeline.Try{{Outcome: pipeline.Unknown}, {Outcome: pipeline.SettledActual}}}
	if err := errors.Join(s.AddRecords(t.Context(), "j", 1, []*usage.Record{&known, &unknown}), s.Close()); err != nil {
		t.Fatal(err)
	}
	path = asOf(t, path, 1)
	s, err = Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sums, err := s.Sums(t.Context(), usage.Query{})
	if err != nil || sums[0].Requests != 2 || sums[0].Unknown != 1 {
		t.Errorf("%+v, %v", sums, err)
	}
}

// asOf gives a database of an older schema with what the one at path has of it.
func asOf(t *testing.T, path string, schema int64) string {
	t.Helper()
	old := filepath.Join(t.TempDir(), "old.db")
	db, err := sql.Open("sqlite", old)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // what is attached is attached to one connection
	files, err := fs.Sub(migrations, sqliteDialect.migrations)
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(sqliteDialect.goose, db, files, goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "ATTACH ? AS new", path); err != nil {
		t.Fatal(err)
	}
	rows, err := db.QueryContext(t.Context(), `SELECT t.name, group_concat(c.name) FROM main.sqlite_schema t, pragma_table_info(t.name) c
		WHERE t.type = 'table' AND t.name NOT IN ('`+versionTable+`', 'sqlite_sequence') AND t.name NOT LIKE 'audit%' GROUP BY t.name`)
	copies, err := collect(rows, err, func(r scanner) (string, error) {
		var table, columns string
		err := r.Scan(&table, &columns)
		return fmt.Sprintf("DELETE FROM main.%[1]s; INSERT INTO main.%[1]s (%[2]s) SELECT %[2]s FROM new.%[1]s", table, columns), err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range copies {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatal(statement, err)
		}
	}
	return old
}

// A database from before sums is answered from at once, and the same while they are made. Numbers below zero, which it
// took from confused providers, count as nothing; how long Penstock itself took is not known.
func TestRecordsFromBeforeSums(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "penstock.db")
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err == nil {
		err = errors.Join(s.AddRecords(t.Context(), "j", 1, workloads(0, 100)), s.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	old := asOf(t, path, 3)
	execute(t, old, "UPDATE exchanges SET input = -7, output = 3 WHERE seq = 50")
	if s, err = Open(t.Context(), "sqlite:"+old, Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var input, output int64
	for i, r := range workloads(0, 100) {
		if i != 49 {
			input, output = input+r.Usage.Input, output+r.Usage.Output
		}
	}
	s.atOnce = 30
	for left := int64(100); left >= 0; left -= 30 {
		sums, err := s.Sums(t.Context(), usage.Query{})
		if err != nil || sums[0].Requests != 100 || sums[0].Usage.Input != input || sums[0].Usage.Output != output+3 {
			t.Errorf("%+v, %v", sums, err)
		}
		latencies, err := s.Latencies(t.Context(), usage.LatencyQuery{})
		if err != nil || latencies[0].Total.Count != 100-sums[0].Errors || latencies[0].Overhead.Count != 0 {
			t.Errorf("%+v, %v", latencies, err)
		}
		if behind, _, err := s.SumUp(t.Context()); err != nil || behind != max(left-30, 10) {
			t.Errorf("%d behind, %v", behind, err)
		}
	}
}

func TestPathsAreTakenLiterally(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a b.db", "a?mode=memory", "a#b", "a%20b", "a&b=c", "données.db", "deep/er/x.db", "file:x"} {
		path := filepath.Join(dir, name)
		seed(t, path)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v", name, info, err)
		}
		for _, left := range []string{"-wal", "-shm"} {
			if info, err := os.Stat(path + left); err == nil && info.Size() > 0 {
				t.Errorf("%q: %d bytes of %s are left after Close", name, info.Size(), left)
			}
		}
		seed2(t, path)
	}
}

// seed2 finds what seed made.
func seed2(t *testing.T, path string) {
	t.Helper()
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.FindProject(t.Context(), "", "checkout"); err != nil {
		t.Errorf("%q: %v", path, err)
	}
}

// Fault: a full disk. Nothing is half written, the error says so, and the store mends itself when there is room again.
func TestAFullDiskIsSaidAndMended(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	ctx := t.Context()
	if err := s.AddRecords(ctx, "j", 100, workloads(0, 100)); err != nil || s.Healthy() != nil {
		t.Fatalf("%v, %v", err, s.Healthy())
	}
	limit := func(pages int) {
		t.Helper()
		if _, err := s.write.ExecContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // no more than there are
	for range 3 {
		err := s.AddRecords(ctx, "j", 5000, workloads(100, 2000))
		if err == nil || !strings.Contains(err.Error(), "full") {
			t.Fatalf("got %v", err)
		}
		if err := s.Healthy(); err == nil || !strings.Contains(err.Error(), "full") || s.Status().Err == nil {
			t.Errorf("healthy says %v", err)
		}
		if upTo, err := s.ReadUpTo(ctx, "j"); err != nil || upTo != 100 {
			t.Errorf("position %d, %v", upTo, err)
		}
	}
	limit(1 << 30)
	if err := s.AddRecords(ctx, "j", 2100, workloads(100, 2000)); err != nil || s.Healthy() != nil {
		t.Fatalf("%v, %v", err, s.Healthy())
	}
	got, err := s.Records(ctx, usage.Filter{Project: workload(2099).Project, Model: workload(2099).Model, Limit: 1})
	if err != nil || len(got) != 1 || got[0].ID != workload(2099).ID {
		t.Errorf("names and blocks after it: %v, %v", got, err)
	}
	sums, err := s.Sums(ctx, usage.Query{By: []string{"org"}})
	if err != nil || len(sums) != 1 || sums[0].Requests != 2100 {
		t.Errorf("%+v, %v", sums, err)
	}
}

// A batch that its caller gave up in the middle is undone whole, and what was remembered of it with it.
func TestAWriteThatIsGivenUpIsUndone(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	given := 0
	for n := 0; n < 3000; n += 300 {
		for limit := 100 * time.Microsecond; ; limit *= 2 {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			err := s.AddRecords(ctx, "j", int64(n+300), workloads(n, 300))
			cancel()
			if err == nil {
				break
			}
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			given++
			if upTo, err := s.ReadUpTo(t.Context(), "j"); err != nil || upTo != int64(n) {
				t.Fatalf("position %d, %v, want %d", upTo, err, n)
			}
		}
	}
	if given == 0 {
		t.Error("no write was given up: this test tests nothing")
	}
	sums, err := s.Sums(t.Context(), usage.Query{})
	if err != nil || sums[0].Requests != 3000 {
		t.Errorf("%+v, %v", sums, err)
	}
	for n := 0; n < 3000; n += 97 {
		w := workload(n)
		got, err := s.Records(t.Context(), usage.Filter{Key: w.Key, Model: w.Model, From: w.Time, To: w.Time.Add(time.Millisecond)})
		if err != nil || len(got) != 1 || got[0].ID != w.ID {
			t.Errorf("%s: %v, %v", w.ID, got, err)
		}
	}
}

func TestALongReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	for n := 0; n < 20_000; n += 2000 {
		if err := s.AddRecords(t.Context(), "j", int64(n), workloads(n, 2000)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Millisecond)
	defer cancel()
	reads := map[string]func() error{
		"Sums": func() error {
			_, err := s.Sums(ctx, usage.Query{By: []string{"key", "model", "user", "tag"}})
			return err
		},
		"Records": func() error { _, err := s.Records(ctx, usage.Filter{Limit: 20_000}); return err },
	}
	for name, read := range reads {
		if err := read(); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v, want %v", name, err, context.DeadlineExceeded)
		}
	}
	if _, err := s.Sums(t.Context(), usage.Query{}); err != nil {
		t.Errorf("the next read: %v", err)
	}
}

// What an engine promises depends on settings that it forgets at every new connection.
func TestEveryConnectionHasItsSettings(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	if _, err := s.KeyVersion(t.Context()); err != nil { // a connection sees at its next read in which mode the file is
		t.Fatal(err)
	}
	for pragma, want := range map[string][2]string{ // of the writing one, of reading ones
		"journal_mode": {"wal", "wal"}, "synchronous": {"2", "2"}, "foreign_keys": {"1", "1"}, "trusted_schema": {"0", "0"},
		"query_only": {"0", "1"}, "busy_timeout": {"5000", "5000"},
	} {
		for i, db := range []*sql.DB{s.write, s.read} {
			var got string
			if err := db.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want[i] {
				t.Errorf("%s of pool %d: %s, %v, want %s", pragma, i, got, err, want[i])
			}
		}
	}
	if _, err := s.read.ExecContext(t.Context(), "DELETE FROM versions"); err == nil {
		t.Error("a reading connection can write")
	}
	// In double quotes a word that names nothing would be a text to SQLite as it comes.
	if _, err := s.query(t.Context(), `SELECT "nothing"`); err == nil { //nolint:rowserrcheck,sqlclosecheck // there are none
		t.Error("a column that is not there can be read")
	}
}

// A refusal is not a failure: a name that is taken says nothing about the disk.
func TestRefusalsAreNoFailures(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	p := auth.Project{ID: "prj_1", Org: "default", Name: "checkout"}
	if err := s.CreateProject(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateProject(t.Context(), p); err == nil {
		t.Fatal("the same project twice")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.CreateProject(gone, p); err == nil {
		t.Fatal("for nobody")
	}
	if err := s.Healthy(); err != nil {
		t.Error(err)
	}
	st := s.Status()
	if st.Engine != "SQLite" || st.Schema < 1 || st.Bytes == 0 || st.LastWrite.IsZero() || st.Err != nil {
		t.Errorf("%+v", st)
	}
}

// A restart goes on with the block that was begun, and with the numbers that names have.
func TestWhatIsRememberedIsNotNeeded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "penstock.db")
	for n := 0; n < 1200; n += 300 {
		s, err := Open(t.Context(), "sqlite:"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddRecords(t.Context(), "j", int64(n), workloads(n, 300)); err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, n, n + 299} {
			w := workload(at)
			got, err := s.Records(t.Context(), usage.Filter{Key: w.Key, Model: w.Model, From: w.Time, To: w.Time.Add(time.Millisecond)})
			if err != nil || len(got) != 1 || got[0].ID != w.ID {
				t.Errorf("after %d: %v, %v", n, got, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// With more names than are remembered, each still has one number.
func TestNamesAreRememberedWithinBounds(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	records := workloads(0, 300)
	for i, r := range records {
		r.User = fmt.Sprint("user-", i%150)
	}
	for i := range maxNames - 100 {
		s.records.names[fmt.Sprint("filler", i)] = int64(-i)
	}
	if err := s.AddRecords(t.Context(), "j", 1, records); err != nil {
		t.Fatal(err)
	}
	if n := len(s.records.names); n > 1000 {
		t.Errorf("%d names are remembered", n)
	}
	sums, err := s.Sums(t.Context(), usage.Query{By: []string{"user"}})
	if err != nil || len(sums) != 150 || sums[0].Requests != 2 {
		t.Errorf("%d users, %v", len(sums), err)
	}
}
