//go:build unix

package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/store/pgtest"
	"github.com/penstock/penstock/internal/store/storetest"
	"github.com/penstock/penstock/internal/usage"
)

// The suite runs with the fewest connections: so nothing can hold one and ask for another. Whole servers have the default.
func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) storetest.Store {
		s := openWith(t, pgtest.Database(t), Options{Connections: leastConnections})
		s.atOnce = 16 // so that little is enough to be summed up
		checked(t, s)
		return s
	})
}

// openAt opens a store and closes it when the test ends.
func openAt(t testing.TB, address string) *Store {
	t.Helper()
	return openWith(t, address, Options{})
}

func openWith(t testing.TB, address string, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestUnusableDatabases(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ prepare, want string }{
		"another program's": {"CREATE TABLE theirs (a int)", "it is a database of another program"},
		"newer": {"CREATE TABLE " + versionTable + " (id int generated always as identity, version_id bigint, is_applied boolean, tstamp timestamp default now()); " +
			"INSERT INTO " + versionTable + " (version_id, is_applied) VALUES (0, true), (9000, true); CREATE TABLE settings (name text, value text); " +
			"INSERT INTO settings VALUES ('compatible_from', '9000')", "was written by a newer Penstock: its schema is 9000, this version knows "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := pgtest.Database(t)
			pgtest.Execute(t, address, tt.prepare)
			_, err := Open(t.Context(), address, Options{})
			var e *OpenError
			if !errors.As(err, &e) || !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), tt.want) || e.Hint == "" {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	_, err := Open(t.Context(), "postgres://penstock:hunter2@127.0.0.1:1/db", Options{})
	if !errors.Is(err, ErrAbsent) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("an absent server: %v", err)
	}
	for _, address := range []string{"postgres://host", "postgres://host/db?sslmode=perhaps", "postgres://u:hunter2@host:x/db"} {
		if err := CheckPostgres(address); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A server that is frozen says nothing at all: no read, report or write may wait for it for ever, and none is needed to be
// begun anew by hand when it goes on.
func TestAFrozenServerIsGivenUp(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t)
	s := openAt(t, server.Database(t))
	hasty := *s.d
	hasty.patience = time.Second
	s.d = &hasty
	project := auth.Project{ID: "prj_1", Org: "default", Name: "checkout"}
	calls := map[string]func() error{
		"row":     func() error { _, err := s.FindKey(t.Context(), "key_1"); return err },
		"query":   func() error { _, err := s.Projects(t.Context(), "", 1); return err },
		"report":  func() error { _, err := s.Sums(t.Context(), usage.Query{}); return err },
		"keys":    func() error { _, _, _, err := s.AllKeys(t.Context()); return err },
		"act":     func() error { return s.CreateProject(t.Context(), project) },
		"records": func() error { return s.AddRecords(t.Context(), "j", 1, workloads(0, 3)) },
	}
	server.Freeze(t)
	for name, call := range calls {
		begun := time.Now()
		if err := call(); !s.Away(err) || time.Since(begun) > 5*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begun))
		}
	}
	server.Thaw(t)
	if err := s.AddRecords(t.Context(), "j", 1, workloads(0, 3)); err != nil {
		t.Error(err)
	}
	if _, err := s.Sums(t.Context(), usage.Query{}); err != nil {
		t.Error(err)
	}
}
