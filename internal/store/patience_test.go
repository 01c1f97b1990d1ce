//go:build unix

package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/store/pgtest"
)

func hastyStore(t *testing.T, patience time.Duration) (*Store, string) {
	address := pgtest.Database(t)
	s := openAt(t, address)
	hasty := *s.d
	hasty.patience = patience
	s.d = &hasty
	return s, address
}

// Work that takes longer than the store's patience is told so, whatever the driver says when it is cut off: that depends on
// whether it was asking, reading or between two questions.
func TestPatienceIsTold(t *testing.T) {
	t.Parallel()
	s, _ := hastyStore(t, 500*time.Millisecond)
	over := func() { <-time.After(s.d.patience + 100*time.Millisecond) }
	const many = "SELECT n FROM generate_series(1, 100000) n"
	reads := map[string]func(view) error{
		"asking": func(v view) error { return v.row(t.Context(), "SELECT pg_sleep(5)").Scan(new(any)) },
		"reading": func(v view) error {
			rows, err := v.query(t.Context(), many)
			return each(rows, err, func(r scanner) error { over(); return r.Scan(new(int64)) })
		},
		"between": func(v view) error { over(); return v.row(t.Context(), "SELECT 1").Scan(new(int64)) },
	}
	for name, read := range reads {
		err := s.unread(t.Context(), "sum records", s.look(t.Context(), read))
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.StoreFailed || f.RetryAfter == 0 || !s.Away(err) ||
			!strings.HasPrefix(f.Text(), "The store did not answer within 500ms. ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	writes := map[string]func(tx) error{
		"asking":  func(x tx) error { _, err := x.exec(t.Context(), "SELECT pg_sleep(5)"); return err },
		"between": func(x tx) error { over(); return x.bump(t.Context(), "keys") },
		"at end":  func(tx) error { over(); return nil },
	}
	for name, write := range writes {
		err := s.change(t.Context(), "write", write)
		var f *fault.Error
		if !errors.As(err, &f) || f.RetryAfter == 0 || !s.Away(err) ||
			!strings.HasPrefix(f.Text(), "The store did not take the change within 500ms; nothing was changed.") {
			t.Errorf("write, %s: %v", name, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.unread(ended, "sum records", s.look(ended, reads["between"])); !errors.Is(err, context.Canceled) {
		t.Errorf("who asked is gone: %v", err)
	}
}

// What the server gives up because of others is tried again, a few times, and takes effect once.
func TestTransactionsThatAreGivenUpAreTriedAgain(t *testing.T) {
	t.Parallel()
	s := openAt(t, pgtest.Database(t))
	if err := s.change(t.Context(), "make", func(x tx) error {
		_, err := x.exec(t.Context(), "CREATE TABLE done (a int)")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	const raise = "DO $$ BEGIN RAISE EXCEPTION 'given up' USING ERRCODE = '%'; END $$"
	for _, code := range []string{"40001", "40P01"} {
		for _, failures := range []int{0, 1, 3, 4, 100} {
			before, tries := s.countDone(t), 0
			err := s.change(t.Context(), "write", func(x tx) error {
				tries++
				if _, err := x.exec(t.Context(), "INSERT INTO done VALUES (1)"); err != nil || tries > failures {
					return err
				}
				_, err := x.exec(t.Context(), strings.Replace(raise, "%", code, 1))
				return err
			})
			want := min(failures, 4)
			if done := s.countDone(t) - before; failures <= 3 && (err != nil || done != 1 || tries != want+1) ||
				failures > 3 && (!s.Away(err) || done != 0 || tries != 4) {
				t.Errorf("%s %d times: done %d times after %d tries, %v", code, failures, done, tries, err)
			}
		}
	}
}

func (s *Store) countDone(t *testing.T) (n int) {
	t.Helper()
	if err := s.row(t.Context(), "SELECT COUNT(*) FROM done").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// A transaction that the server gives up at its end was not done, and nobody is told that it may have been.
func TestGivenUpAtCommit(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	s := openAt(t, address)
	pgtest.Execute(t, address, `CREATE TABLE done (a int); CREATE SEQUENCE tries;
		CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF nextval('tries') <= new.a THEN RAISE EXCEPTION 'given up' USING ERRCODE = '40001'; END IF; RETURN NULL;
		END $$;
		CREATE CONSTRAINT TRIGGER give_up AFTER INSERT ON done DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION give_up()`)
	write := func(failures int) error {
		return s.change(t.Context(), "write", func(x tx) error {
			_, err := x.exec(t.Context(), "INSERT INTO done VALUES (?)", failures)
			return err
		})
	}
	if err := write(2); err != nil || s.countDone(t) != 1 {
		t.Errorf("given up twice: %v, done %d times", err, s.countDone(t))
	}
	err := write(1000)
	var f *fault.Error
	if !errors.As(err, &f) || s.countDone(t) != 1 || !strings.Contains(f.Text(), "nothing was changed") || f.RetryAfter == 0 {
		t.Errorf("given up each time: %v", err)
	}
}

// A real deadlock, with somebody who is not in our lanes.
func TestADeadlockIsSolved(t *testing.T) {
	t.Parallel()
	address := pgtest.Database(t)
	s := openAt(t, address)
	pgtest.Execute(t, address, "CREATE TABLE done (a int); CREATE TABLE two (id int, n int); INSERT INTO two VALUES (1, 0), (2, 0)")
	db, err := sql.Open("pgx", address)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.ExecContext(t.Context(), "SET LOCAL deadlock_timeout = '1h'"); err != nil { // so that we are who finds it
		t.Fatal(err)
	}
	const one, two = "UPDATE two SET n = n + 1 WHERE id = 1", "UPDATE two SET n = n + 1 WHERE id = 2"
	if _, err := other.ExecContext(t.Context(), two); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	tries := 0
	err = s.change(t.Context(), "write", func(x tx) error {
		tries++
		if _, err := x.exec(t.Context(), one); err != nil {
			return err
		}
		if tries == 1 {
			go func() {
				_, err := other.ExecContext(t.Context(), one)
				ended <- errors.Join(err, other.Commit())
			}()
		}
		_, err := x.exec(t.Context(), two)
		return err
	})
	if err := <-ended; err != nil {
		t.Errorf("the other: %v", err)
	}
	var sum int
	if err2 := s.row(t.Context(), "SELECT SUM(n) FROM two").Scan(&sum); err != nil || err2 != nil || tries != 2 || sum != 4 {
		t.Errorf("%v, %v: %d tries, %d changes instead of 4", err, err2, tries, sum)
	}
}

// A server that may lose what it has confirmed is worked with, and warned of.
func TestAServerThatMayLoseIsWarnedOf(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=on")
	for _, setting := range []string{"on", "off", "local"} {
		address := server.Database(t)
		pgtest.Execute(t, address, `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = "`+setting+`"'; END $$`)
		var said strings.Builder
		s, err := Open(t.Context(), address, Options{Log: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		want := map[string]string{"off": "synchronous_commit is off"}[setting]
		if g, err := Glance(t.Context(), address, Options{}); err != nil || g.Losable != want {
			t.Errorf("%s: %+v, %v", setting, g, err)
		}
		if warned := strings.Count(said.String(), "may lose what it has confirmed"); warned != len(want)/max(len(want), 1) {
			t.Errorf("%s: warned %d times: %s", setting, warned, said.String())
		}
	}
}
