package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/penstock/penstock/internal/backup"
)

// ErrNotEmpty says that there is something already where a backup should go.
var ErrNotEmpty = errors.New("store not empty")

// Load makes a store at an address of what a backup holds: in a file that is not there, or in a database that is empty. The
// engine may be another than that of the backup. What was written is read back before it stands, so that it is what the
// backup says, row by row; else the error is what differs, and nothing is left but an empty database, or a file to be removed.
//
// The store has the schema of the backup then: [Open] brings it up.
func Load(ctx context.Context, address string, from *backup.Reader, o Options) error {
	s, err := New(address, o)
	if err != nil {
		return err
	}
	defer func() { _ = s.pools.close() }() // what could be lost was committed
	if err := s.checkLoadable(&from.Manifest); err != nil {
		return err
	}
	if s.d == &postgresDialect {
		err = s.greetEmpty(ctx)
	} else {
		err = s.openNew()
	}
	if err != nil {
		return err
	}
	p, err := s.provider()
	if err != nil {
		return err
	}
	if _, err := p.UpTo(ctx, from.Manifest.Schema); err != nil {
		return fmt.Errorf("make the tables: %w", err)
	}
	c, err := s.schemas.Conn(ctx)
	if err != nil {
		return s.failed(err)
	}
	err = errors.Join((&loading{s.d, c}).all(ctx, from), c.Close())
	if err == nil && s.d == &sqliteDialect {
		err = errors.Join(s.pools.close(), syncFile(s.path))
	}
	return err
}

func (s *Store) checkLoadable(m *backup.Manifest) error {
	knows, err := Schema()
	switch {
	case err != nil:
		return err
	case m.Schema > knows:
		return &OpenError{
			Kind: ErrUnusable, Text: fmt.Sprintf("the backup was made by a newer Penstock (%s): its schema is %d, this version knows %d", m.Version, m.Schema, knows),
			Hint: "restore it with that version",
		}
	case m.Schema < 1:
		return &OpenError{Kind: ErrUnusable, Text: fmt.Sprintf("the backup says that its schema is %d", m.Schema), Hint: "take another copy of it"}
	}
	return nil
}

// openNew opens a file that is not there for one writer that nobody else sees. What is lost with the machine is made anew.
func (s *Store) openNew() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s is there", ErrNotEmpty, s.path)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return unusable(s.path, err)
	}
	db, err := sql.Open("sqlite", address(s.path, url.Values{
		"_error_rc": {"1"}, "_dqs": {"0"},
		"_pragma": {"auto_vacuum(incremental)", "journal_mode(off)", "synchronous(off)", "locking_mode(exclusive)", "trusted_schema(0)", "temp_store(memory)", "cache_size(-65536)"},
	}))
	if err != nil {
		return unusable(s.path, err)
	}
	db.SetMaxOpenConns(1)
	s.pools = pools{write: db, read: db, watch: db, schemas: db}
	return nil
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// greetEmpty makes sure that a database is there, and that nothing is in it. Tables without a tenant, an act or an exchange
// are what a restore that failed has left.
func (s *Store) greetEmpty(ctx context.Context) error {
	if err := s.greet(ctx); err != nil {
		return err
	}
	if _, err := s.checkOwner(ctx); err != nil {
		return err
	}
	for _, table := range []string{"exchanges", "projects", "audit_entries"} {
		var some bool
		err := s.schemas.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM "+table+")").Scan(&some)
		switch {
		case postgresCode(err) == "42P01": // there is no such table
		case err != nil:
			return s.failed(err)
		case some:
			return fmt.Errorf("%w: %s has something in it: a backup goes into an empty database", ErrNotEmpty, s.path)
		}
	}
	return nil
}

// loading is one connection on which a store is filled.
type loading struct {
	d *dialect
	*sql.Conn
}

func (l *loading) exec(ctx context.Context, query string, args ...any) error {
	if _, err := l.ExecContext(ctx, l.d.rebind(query), args...); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(strings.Fields(query), " "), err)
	}
	return nil
}

// all fills the tables in one transaction, and reads them back.
func (l *loading) all(ctx context.Context, from *backup.Reader) error {
	there, err := tablesOf(ctx, l.d, l)
	if err != nil {
		return err
	}
	if err := l.exec(ctx, "BEGIN"); err != nil {
		return err
	}
	err = l.guarded(ctx, there, func() error { return l.fill(ctx, from, there) })
	if err == nil {
		return l.exec(ctx, "COMMIT")
	}
	return errors.Join(err, l.exec(context.WithoutCancel(ctx), "ROLLBACK"))
}

// guarded does something while no trigger watches: those of the audit chain would refuse that it is put there as it was.
func (l *loading) guarded(ctx context.Context, tables []backup.Table, do func() error) error {
	var before, after []string
	if l.d == &postgresDialect {
		for _, t := range tables {
			before = append(before, "ALTER TABLE "+t.Name+" DISABLE TRIGGER USER")
			after = append(after, "ALTER TABLE "+t.Name+" ENABLE TRIGGER USER")
		}
	} else {
		names, err := textsOf(ctx, l, "SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")
		if err != nil {
			return err
		}
		if after, err = textsOf(ctx, l, "SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"); err != nil {
			return err
		}
		for _, name := range names {
			before = append(before, "DROP TRIGGER "+name)
		}
	}
	run := func(all []string) error {
		for _, query := range all {
			if err := l.exec(ctx, query); err != nil {
				return err
			}
		}
		return nil
	}
	if err := run(before); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return run(after)
}

func (l *loading) fill(ctx context.Context, from *backup.Reader, there []backup.Table) error {
	for _, t := range slices.Backward(there) { // what migrations put there is in the backup too
		if err := l.exec(ctx, "DELETE FROM "+t.Name); err != nil {
			return err
		}
	}
	var want []backup.TableSum
	for {
		t, err := from.NextTable()
		if err != nil {
			return err
		}
		if t == nil {
			break
		}
		if !slices.ContainsFunc(there, func(has backup.Table) bool { return has.Name == t.Name && slices.Equal(has.Columns, t.Columns) }) {
			return fmt.Errorf("the backup has a table %s (%s), which schema %d does not have so", t.Name, strings.Join(t.Columns, ", "), from.Manifest.Schema)
		}
		sum, err := l.table(ctx, *t, from)
		if err != nil {
			return err
		}
		want = append(want, sum)
	}
	if err := l.readBack(ctx, there, want); err != nil {
		return err
	}
	if err := l.afterwards(ctx, there); err != nil {
		return err
	}
	return l.exec(ctx, "INSERT INTO settings (name, value) VALUES ('"+restoringName+"', ?)", from.Manifest.ID)
}

// table fills one, and gives what should be in it then: what the engine took, which is not all that another engine takes.
func (l *loading) table(ctx context.Context, t backup.Table, from *backup.Reader) (sum backup.TableSum, err error) {
	d := backup.NewDigest(t)
	next := func() (backup.Row, error) {
		row, err := from.NextRow()
		if err != nil || row == nil {
			return nil, err
		}
		row = l.d.args(row)
		return row, d.Add(row)
	}
	if l.d == &postgresDialect {
		err = l.Raw(func(c any) error {
			conn, ok := c.(*stdlib.Conn)
			if !ok {
				return fmt.Errorf("the connection is a %T", c)
			}
			_, err := conn.Conn().CopyFrom(ctx, pgx.Identifier{t.Name}, t.Columns, pgx.CopyFromFunc(func() ([]any, error) { return next() }))
			return err
		})
	} else {
		err = l.insert(ctx, t, next)
	}
	if err != nil {
		return sum, fmt.Errorf("table %s: %w", t.Name, err)
	}
	return d.Sum(), nil
}

func (l *loading) insert(ctx context.Context, t backup.Table, next func() (backup.Row, error)) error {
	query := "INSERT INTO " + t.Name + " (" + strings.Join(t.Columns, ", ") + ") VALUES (?" + strings.Repeat(", ?", len(t.Columns)-1) + ")"
	stmt, err := l.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = stmt.Close() }() // what failed has said so
	for {
		row, err := next()
		if err != nil || row == nil {
			return err
		}
		if _, err := stmt.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
}

// readBack compares what is in the tables with what was put there.
func (l *loading) readBack(ctx context.Context, there []backup.Table, want []backup.TableSum) error {
	for _, t := range there {
		d := backup.NewDigest(t)
		if err := eachRow(ctx, l.d, l, t, d.Add); err != nil {
			return err
		}
		i := slices.IndexFunc(want, func(w backup.TableSum) bool { return w.Name == t.Name })
		got := d.Sum()
		switch {
		case i < 0 && got.Rows > 0:
			return fmt.Errorf("table %s has %d rows, and the backup does not know it", t.Name, got.Rows)
		case i >= 0 && got != want[i]:
			return fmt.Errorf("table %s was read back otherwise than it was written: %d rows of %d", t.Name, got.Rows, want[i].Rows)
		}
	}
	return nil
}

// afterwards lets numbers that the engine draws go on behind those that are there, and holds references against each other
// where the engine has not done so.
func (l *loading) afterwards(ctx context.Context, there []backup.Table) error {
	if l.d == &sqliteDialect {
		broken, err := textsOf(ctx, l, `SELECT DISTINCT "table" FROM pragma_foreign_key_check`)
		if err == nil && len(broken) > 0 {
			err = fmt.Errorf("the backup has rows that refer to rows that it does not have: in %s", strings.Join(broken, ", "))
		}
		return err
	}
	for _, t := range there {
		drawn, err := textsOf(ctx, l, "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 AND is_identity = 'YES'", t.Name)
		if err != nil {
			return err
		}
		for _, column := range drawn {
			err := l.exec(ctx, fmt.Sprintf("SELECT setval(pg_get_serial_sequence('%[1]s', '%[2]s'), GREATEST(MAX(%[2]s), 1)) FROM %[1]s", t.Name, column))
			if err != nil {
				return err
			}
		}
	}
	return nil
}
