//go:build unix

package store

import (
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// engines runs a test on each engine, with the address of a store that is not there yet.
func engines(t *testing.T, test func(t *testing.T, address string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite:"+filepath.Join(t.TempDir(), "penstock.db"))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, pgtest.Database(t))
	})
}

// migrateTo makes a store of an older schema.
func migrateTo(t *testing.T, address string, schema int64) {
	t.Helper()
	d, driver, name := &postgresDialect, "pgx", address
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		d, driver, name = &sqliteDialect, "sqlite", path
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	files, err := fs.Sub(migrations, d.migrations)
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(d.goose, db, files, goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), schema); err != nil {
		t.Fatal(err)
	}
}

// run runs a statement on a store, past everything that is tested.
func run(t *testing.T, address, query string) {
	t.Helper()
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		execute(t, path, query)
		return
	}
	pgtest.Execute(t, address, query)
}

func TestCheckUpgrade(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, address string) {
		check := func(schema int64, pending int) *Upgrade {
			t.Helper()
			u, err := CheckUpgrade(t.Context(), address, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if u.Schema != schema || len(u.Migrations) != pending {
				t.Errorf("schema %d, %d pending; want %d, %d", u.Schema, len(u.Migrations), schema, pending)
			}
			return u
		}
		knows, err := Schema()
		if err != nil {
			t.Fatal(err)
		}
		if u := check(0, int(knows)); len(u.Obstacles()) != 0 || u.Knows != knows {
			t.Errorf("an empty store: %v", u.Obstacles())
		}
		path, isFile := strings.CutPrefix(address, "sqlite:")
		if _, err := os.Stat(path); isFile && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("looking has made a file: %v", err)
		}
		migrateTo(t, address, 1)
		u := check(1, int(knows)-1)
		if u.Bytes == 0 || len(u.Migrations) == 0 || u.Migrations[0].Name != "cost unknown" {
			t.Errorf("%+v", u)
		}
		if slow := len(u.Obstacles()) > 0; slow != isFile {
			t.Errorf("obstacles: %v", u.Obstacles())
		}
		check(1, int(knows)-1) // looking has changed nothing

		s := openAt(t, address) // and is allowed while somebody serves
		if err := s.Appear(t.Context(), Replica{ID: "rep_1", Name: "here", Version: "v1", Knows: knows, Started: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if u := check(knows, 0); len(u.Obstacles()) != 0 || len(u.Replicas) != 1 || u.Replicas[0].Name != "here" {
			t.Errorf("%+v", u)
		}
	})
}

// A schema that a newer version has made is taken if that one says so, and refused in words else.
func TestNewerSchemas(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, address string) {
		knows, err := Schema()
		if err != nil {
			t.Fatal(err)
		}
		migrateTo(t, address, knows)
		run(t, address, "INSERT INTO "+versionTable+" (version_id, is_applied) VALUES (9000, "+map[bool]string{true: "1", false: "true"}[strings.HasPrefix(address, "sqlite:")]+")")
		run(t, address, "INSERT INTO settings (name, value) VALUES ('compatible_from', '1')")
		again, err := Open(t.Context(), address, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if u, err := CheckUpgrade(t.Context(), address, Options{}); err != nil || u.Schema != 9000 || len(u.Migrations) != 0 || len(u.Obstacles()) != 0 {
			t.Errorf("compatible: %+v, %v", u, err)
		}
		if err := again.AddRecords(t.Context(), "j", 1, workloads(0, 3)); err != nil {
			t.Errorf("compatible, written: %v", err)
		}
		if err := again.Appear(t.Context(), Replica{ID: "rep_1"}); err != nil {
			t.Errorf("compatible: %v", err)
		}
		run(t, address, "UPDATE settings SET value = '9000' WHERE name = 'compatible_from'")
		// Whoever runs already learns it too, and must stop.
		refused := again.Appear(t.Context(), Replica{ID: "rep_1"})
		_, looked := CheckUpgrade(t.Context(), address, Options{})
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		_, opened := Open(t.Context(), address, Options{})
		for what, err := range map[string]error{"appear": refused, "check": looked, "open": opened} {
			e, ok := errors.AsType[*OpenError](err)
			if !ok || !errors.Is(err, ErrUnusable) || !strings.Contains(e.Text, "was written by a newer Penstock: its schema is 9000") || e.Hint == "" {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func TestCheckUpgradeRefuses(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, address string) {
		run(t, address, "CREATE TABLE theirs (a INTEGER)")
		if _, err := CheckUpgrade(t.Context(), address, Options{}); !errors.Is(err, ErrUnusable) {
			t.Errorf("another program's: %v", err)
		}
	})
	if _, err := CheckUpgrade(t.Context(), "postgres://u@127.0.0.1:1/db", Options{}); !errors.Is(err, ErrAbsent) {
		t.Errorf("an absent server: %v", err)
	}
	if _, err := CheckUpgrade(t.Context(), "sqlite:"+t.TempDir(), Options{}); !errors.Is(err, ErrUnusable) {
		t.Errorf("a directory: %v", err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckUpgrade(t.Context(), "sqlite:"+text, Options{}); !errors.Is(err, ErrUnusable) {
		t.Errorf("a text: %v", err)
	}
}

func TestObstacles(t *testing.T) {
	t.Parallel()
	online, long := Migration{Number: 8, Name: "x", Online: true}, Migration{Number: 7, Name: "costs", Why: "reads every exchange"}
	old, gone := Replica{Name: "a", Version: "v1", Knows: 5}, Replica{Name: "b", Knows: 5, Ago: time.Hour}
	for name, tt := range map[string]struct {
		u    Upgrade
		want string
	}{
		"nothing":              {Upgrade{Schema: 7, Knows: 8, From: 5, Migrations: []Migration{online}, Replicas: []Replica{old}, Free: 1}, ""},
		"long":                 {Upgrade{Schema: 6, From: 1, Migrations: []Migration{long, online}, Free: -1}, "migration 7 (costs) is not done while Penstock serves: it reads every exchange"},
		"nothing to be long":   {Upgrade{Migrations: []Migration{long}, Free: -1}, ""},
		"no room":              {Upgrade{Schema: 6, Need: 10, Free: 9}, "may take 10 bytes, and the disk has 9"},
		"room unknown":         {Upgrade{Schema: 6, Need: 10, Free: -1}, ""},
		"an old one runs":      {Upgrade{Schema: 7, Knows: 8, From: 6, Migrations: []Migration{online}, Replicas: []Replica{old}, Free: -1}, "a runs version v1, which knows schema 5 and cannot go on with 8"},
		"an old one is gone":   {Upgrade{Schema: 7, From: 6, Migrations: []Migration{online}, Replicas: []Replica{gone}, Free: -1}, ""},
		"an old one, and done": {Upgrade{Schema: 8, From: 6, Replicas: []Replica{old}, Free: -1}, ""},
	} {
		got := strings.Join(tt.u.Obstacles(), "; ")
		if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// Both engines have the same migrations, and each says what it asks of whoever upgrades.
func TestMigrationsSayWhatTheyAsk(t *testing.T) {
	t.Parallel()
	var names [2][]string
	for i, d := range []*dialect{&sqliteDialect, &postgresDialect} {
		all, err := (&Store{d: d}).migrations()
		if err != nil {
			t.Fatal(err)
		}
		for n, m := range all {
			if m.Number != int64(n+1) {
				t.Errorf("%s: migration %d is number %d", d.name, n+1, m.Number)
			}
			if m.Why == unsaid {
				t.Errorf(`%s: migration %d (%s) does not say what it asks of whoever upgrades: begin it with "-- Upgrade: online" or "-- Upgrade: what makes it long"`,
					d.name, m.Number, m.Name)
			}
			names[i] = append(names[i], m.Name)
		}
	}
	if a, b := strings.Join(names[0], ", "), strings.Join(names[1], ", "); a != b {
		t.Errorf("SQLite has %s; PostgreSQL has %s", a, b)
	}
	for text, want := range map[string]Migration{
		"-- Upgrade: online\n":                                   {Number: 1, Name: "a b", Online: true},
		"-- x\n-- Upgrade: online; disk 10% of exchanges\n":      {Number: 1, Name: "a b", Online: true, Percent: 10, Table: "exchanges"},
		"-- Upgrade: reads all; disk 100% of exchange_records\n": {Number: 1, Name: "a b", Why: "reads all", Percent: 100, Table: "exchange_records"},
	} {
		if m, err := describe("00001_a_b.sql", []byte(text)); err != nil || m != want {
			t.Errorf("%q: %+v, %v", text, m, err)
		}
	}
	if m, err := describe("00001_a.sql", []byte("-- upgrade: online")); err != nil || m.Online || m.Why != unsaid {
		t.Errorf("one that says nothing: %+v, %v", m, err)
	}
	for _, text := range []string{"-- Upgrade: online; disk much", "-- Upgrade: online; disk x% of y"} {
		if m, err := describe("00001_a.sql", []byte(text)); err == nil {
			t.Errorf("%q: %+v", text, m)
		}
	}
}

func TestReplicasAppearAndLeave(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, address string) {
		ahead := 3 * time.Minute
		s, err := Open(t.Context(), address, Options{Now: func() time.Time { return time.Now().Add(ahead) }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		a := Replica{ID: "rep_a", Name: "a", Version: "v1.2.3", Knows: 6, Config: "c1", Started: time.Now().UTC().Truncate(time.Microsecond)}
		b := a
		b.ID, b.Name = "rep_b", "b"
		for _, r := range []Replica{b, a} {
			if err := s.Appear(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		a.Config = "c2"
		if err := s.Appear(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(address, "sqlite:") { // b was killed, or a could not have the file
			if got, err := s.Replicas(t.Context()); err != nil || len(got) != 1 || got[0].ID != "rep_a" {
				t.Errorf("%+v, %v", got, err)
			}
			return
		}
		run(t, address, "UPDATE replicas SET seen = seen - 3600000000 WHERE id = 'rep_b'")
		got, err := s.Replicas(t.Context())
		if err != nil || len(got) != 2 {
			t.Fatalf("%+v, %v", got, err)
		}
		if r := got[0]; r.Ago < 0 || r.Ago > Gone || (r.ClockOff-ahead).Abs() > 10*time.Second {
			t.Errorf("%+v", r)
		}
		if r := got[1]; r.Name != "b" || r.Ago < time.Hour || r.Ago > time.Hour+Gone {
			t.Errorf("%+v", r)
		}
		got[0].Ago, got[0].ClockOff = 0, 0
		if got[0] != a {
			t.Errorf("%+v, want %+v", got[0], a)
		}
		run(t, address, "UPDATE replicas SET seen = seen - 86400000000 WHERE id = 'rep_b'")
		if err := errors.Join(s.Appear(t.Context(), a), s.Leave(t.Context(), "rep_a"), s.Leave(t.Context(), "rep_none")); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Replicas(t.Context()); err != nil || len(got) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// TestClocksAreComparedByTheMachinesOwn: what is held against the database's clock is not what has been corrected by it.
func TestClocksAreComparedByTheMachinesOwn(t *testing.T) {
	t.Parallel()
	engines(t, func(t *testing.T, address string) {
		fast := func() time.Time { return time.Now().Add(90 * time.Second) }
		s, err := Open(t.Context(), address, Options{Local: fast})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		want := -90 * time.Second
		if strings.HasPrefix(address, "sqlite:") { // a file has no clock of its own
			want = 0
		}
		if offset, within, err := s.ClockOffset(t.Context()); err != nil || (offset-want).Abs() > within+time.Second {
			t.Errorf("the store's clock is ahead by %v, within %v, %v; want %v", offset, within, err, want)
		}
		if err := s.Appear(t.Context(), Replica{ID: "rep_a", Name: "a", Started: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Replicas(t.Context()); err != nil || len(got) != 1 || (got[0].ClockOff-90*time.Second).Abs() > 10*time.Second {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
