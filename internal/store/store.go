// Package store keeps what must last: tenants and their keys, prices, and the record of every exchange. It implements the
// Store interface of each feature, one file for each.
//
// The SQL is written once and stands beside the Go that runs it; what engines do differently is in one small struct. The
// one engine of this version is SQLite. The package decides nothing: it holds no rules about tenants or money, and it
// keeps no bodies.
//
// One file belongs to one process. Writes go through one connection and are on the disk when a method returns; reads have
// their own connections and never wait for a write.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/usage"
)

// What the store promises, and to whom.
var (
	_ auth.Store    = (*Store)(nil)
	_ usage.Store   = (*Store)(nil)
	_ usage.Summer  = (*Store)(nil)
	_ catalog.Store = (*Store)(nil)
	_ audit.Store   = (*Store)(nil)
)

// What Open can fail with, besides an address that is none; see OpenError.
var (
	ErrLocked   = errors.New("store in use")
	ErrUnusable = errors.New("store unusable")
)

// An OpenError says why a store could not be opened, and what to do.
type OpenError struct {
	Kind error  // ErrLocked or ErrUnusable
	Text string // what and where: "penstock-data/penstock.db is in use by process 4121 since 13:40"
	Hint string // what to do
	Err  error  // the cause, nil if there is nothing to add
}

// Error is the text, and the cause if there is one.
func (e *OpenError) Error() string {
	if e.Err == nil {
		return e.Text
	}
	return e.Text + ": " + e.Err.Error()
}

// Unwrap gives kind and cause.
func (e *OpenError) Unwrap() []error { return []error{e.Kind, e.Err} }

func unusable(shown string, err error) error {
	return &OpenError{
		Kind: ErrUnusable, Text: shown + " cannot be used", Err: err,
		Hint: "put back a backup of it, or move it away to begin with an empty store",
	}
}

// Options are what a Store needs besides its address; zero fields take the defaults.
type Options struct {
	Log *slog.Logger     // nil: silence
	Now func() time.Time // civil time; nil: time.Now
}

// A Store is an open store. It is safe for concurrent use.
type Store struct {
	d     *dialect
	path  string
	lock  *fileLock
	log   *slog.Logger
	now   func() time.Time
	write *sql.DB // one connection
	read  *sql.DB

	schema  int64
	records recorder
	atOnce  int64 // exchanges that are summed up in one transaction
	last    atomic.Pointer[attempt]
}

// An attempt is how the last write ended.
type attempt struct {
	at  time.Time
	err error
}

// Open opens the store at an address, "sqlite:PATH", makes it if there is none, and brings it up to this version's schema.
// The error is an *OpenError if the store is in use or unusable.
func Open(ctx context.Context, address string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	path, ok := strings.CutPrefix(address, "sqlite:")
	if !ok || path == "" {
		return nil, fmt.Errorf("store %q is not known: write sqlite:PATH", address)
	}
	s := &Store{d: &sqliteDialect, path: path, log: o.Log, now: o.Now, atOnce: summedAtOnce}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	file, err := prepareFile(s.path)
	if err != nil {
		return unusable(s.path, err)
	}
	if s.lock, err = lockFile(file, s.path, s.now()); err != nil {
		return err
	}
	if s.write, s.read, err = openSQLite(file); err != nil {
		return unusable(s.path, err)
	}
	if err := s.migrate(ctx); err != nil {
		return err
	}
	return s.records.prepare(ctx, s.d, s.write)
}

// Close ends all work, folds what was written into one file and gives the store free.
func (s *Store) Close() error {
	var errs []error
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.write != nil {
		errs = append(errs, s.records.close())
		if s.schema > 0 { // it was ours
			s.fold()
		}
		errs = append(errs, s.write.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.free())
	}
	return errors.Join(errs...)
}

// fold brings what lies in the write-ahead log into the database. What cannot be folded now is not lost; the next start
// does it.
func (s *Store) fold() {
	if _, err := s.write.ExecContext(context.Background(), "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		s.log.Warn("the write-ahead log stays for the next start", "error", err)
	}
}

// Healthy says why the store could not write when it last tried; nil if it could, or has not tried yet. The next write
// that succeeds mends it.
func (s *Store) Healthy() error {
	a := s.last.Load()
	if a == nil || a.err == nil {
		return nil
	}
	return fmt.Errorf("the last write, %v ago, failed: %w", s.now().Sub(a.at).Round(time.Millisecond), a.err)
}

// A Status says how the store is.
type Status struct {
	Engine    string
	Path      string
	Schema    int64 // number of the last migration
	Bytes     int64 // on the disk
	LastWrite time.Time
	Err       error // of the last write, nil if it succeeded
}

// Status looks at the store without reading its tables.
func (s *Store) Status() Status {
	st := Status{Engine: s.d.name, Path: s.path, Schema: s.schema}
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(s.path + suffix); err == nil {
			st.Bytes += info.Size()
		}
	}
	if a := s.last.Load(); a != nil {
		st.LastWrite, st.Err = a.at, a.err
	}
	return st
}

// A tx is a transaction that writes.
type tx struct {
	*sql.Tx
	d *dialect
}

func (t tx) exec(ctx context.Context, query string, args ...any) (changed int64, err error) {
	r, err := t.ExecContext(ctx, t.d.rebind(query), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t tx) row(ctx context.Context, query string, args ...any) *sql.Row {
	return t.QueryRowContext(ctx, t.d.rebind(query), args...)
}

// change runs f in one transaction, which is on the disk when change returns nil, and undone else.
func (s *Store) change(ctx context.Context, what string, f func(tx) error) error {
	err := s.attempt(ctx, f)
	var told *fault.Error
	switch {
	case errors.As(err, &told):
		return err // a refusal, not a failure
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err()) // what the engine says of it depends on the moment
	}
	s.last.Store(&attempt{s.now(), err})
	if err != nil {
		return fault.Wrap(fault.StoreFailed, fmt.Errorf("%s: %w", what, err), "The store could not be written; nothing was changed.")
	}
	return nil
}

func (s *Store) attempt(ctx context.Context, f func(tx) error) error {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx{t, s.d}); err != nil {
		_ = t.Rollback() // err is what there is to say
		return err
	}
	return t.Commit()
}

// bump raises one of the versions by which others see that something has changed.
func (t tx) bump(ctx context.Context, name string) error {
	_, err := t.exec(ctx, "UPDATE versions SET version = version + 1 WHERE name = ?", name)
	return err
}

// query reads with a connection that never waits for a write.
func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.read.QueryContext(ctx, s.d.rebind(query), args...)
}

func (s *Store) row(ctx context.Context, query string, args ...any) *sql.Row {
	return s.read.QueryRowContext(ctx, s.d.rebind(query), args...)
}

func (s *Store) version(ctx context.Context, name string) (v int64, err error) {
	err = s.row(ctx, "SELECT version FROM versions WHERE name = ?", name).Scan(&v)
	return v, err
}

// A scanner is a row, the only one or one of many.
type scanner interface{ Scan(into ...any) error }

// unread is the error of a read that failed, for the one who asked for it.
func unread(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, ctx.Err()) // as in change
	}
	f := fault.Wrap(fault.StoreFailed, fmt.Errorf("%s: %w", what, err), "The store could not be read.")
	f.Hint = "Look at its disk and retry."
	return f
}

// collect reads all rows, and closes them.
func collect[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what there is to say
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// each calls do for each row, and closes them.
func each(rows *sql.Rows, err error, do func(scanner) error) error {
	_, err = collect(rows, err, func(r scanner) (struct{}, error) { return struct{}{}, do(r) })
	return err
}

// micros is how times are kept; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
