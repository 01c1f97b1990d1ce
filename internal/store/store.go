// Package store keeps what must last: tenants and their keys, prices, and the record of every exchange. It implements the
// Store interface of each feature, one file for each.
//
// The SQL is written once and stands beside the Go that runs it; what engines do differently is in one small struct. There
// are two: SQLite, a file that belongs to one process, and PostgreSQL, which several replicas share. The package decides
// nothing: it holds no rules about tenants or money.
//
// A write is on the disk when its method returns; reads have their own connections and never wait for a write. Writers
// wait for each other: in SQLite because there is one connection for them, in PostgreSQL by lanes, which hold over all
// replicas, so that what is right for one writer is right for many.
//
// What only few exchanges have, such as parts of their usage, is in a table of its own and in columns of sums that are null
// else: a call without it is written as if there were no such thing. See usage_extras.go.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/stop"
	"github.com/penstock/penstock/internal/usage"
)

// What the store promises, and to whom.
var (
	_ auth.Store    = (*Store)(nil)
	_ usage.Store   = (*Store)(nil)
	_ usage.Summer  = (*Store)(nil)
	_ catalog.Store = (*Store)(nil)
	_ audit.Store   = (*Store)(nil)
	_ stop.Store    = (*Store)(nil)
	_ health.Store  = (*Store)(nil)
	_ bodies.Store  = (*Store)(nil)
	_ limit.Store   = (*Store)(nil)

	_ retention.Store     = (*Store)(nil)
	_ retention.HoldStore = (*Store)(nil)
)

// What Open can fail with, besides an address that is none; see OpenError.
var (
	ErrLocked   = errors.New("store in use")
	ErrUnusable = errors.New("store unusable")
	// ErrAbsent is a database that does not answer, and may later: call Connect again.
	ErrAbsent = errors.New("store absent")
)

// An OpenError says why a store could not be opened, and what to do.
type OpenError struct {
	Kind error  // ErrLocked, ErrUnusable or ErrAbsent
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
	hint := postgresHint(err)
	if !postgresURL(shown) {
		hint = "put back a backup of it, or move it away to begin with an empty store"
	}
	return &OpenError{Kind: ErrUnusable, Text: shown + " cannot be used", Err: err, Hint: hint}
}

// Options are what a Store needs besides its address; zero fields take the defaults.
type Options struct {
	Log *slog.Logger     // nil: silence
	Now func() time.Time // civil time, as records and acts have it; nil: time.Now
	// Local is what this machine's clock says, to be held against the database's; nil: Now.
	Local func() time.Time
	// AsItIs opens a store to read it: it is not migrated, and nothing is written. Its schema may be older or newer.
	AsItIs bool
	// Restoring opens a store that [Load] has made, and that is not through with [Store.Restored].
	Restoring bool
	// Password is asked for each new connection to PostgreSQL, so that it may change while we run; nil: the usual variables.
	Password func() (secret.String, error)
	// Connections is the most to PostgreSQL that there are at once, at least 4; 0: 8.
	Connections int
	// Metrics is told of the connections; nil: nobody.
	Metrics prometheus.Registerer
}

// pools are the connections of a store.
type pools struct {
	write *sql.DB // of SQLite one connection
	read  *sql.DB
	// watch is for what must not wait behind reports: versions of keys and prices, and how far things are. It is read in
	// SQLite, where reads are not few.
	watch   *sql.DB
	schemas *sql.DB // changes the schema; write in SQLite
}

// close closes each pool once.
func (p *pools) close() error {
	var errs []error
	for i, all := 0, []*sql.DB{p.read, p.watch, p.schemas, p.write}; i < len(all); i++ {
		if all[i] != nil && !slices.Contains(all[i+1:], all[i]) {
			errs = append(errs, all[i].Close())
		}
	}
	return errors.Join(errs...)
}

// A Store is an open store. It is safe for concurrent use.
type Store struct {
	d    *dialect
	o    Options
	path string // as people know it: the file, or the address without password
	lock *fileLock
	log  *slog.Logger
	now  func() time.Time
	pools
	open atomic.Pointer[pools] // the same, once there are any

	connecting sync.Mutex // held by Connect
	schema     atomic.Int64
	records    recorder
	atOnce     int64 // exchanges that are summed up in one transaction
	refill     int64 // the same, of those that lie there from before a level
	last       atomic.Pointer[attempt]
}

// An attempt is how the last write ended.
type attempt struct {
	at  time.Time
	err error
}

// New makes a store at an address, "sqlite:PATH" or "postgres://USER@HOST/DATABASE", without opening it: Connect has to
// succeed before anything else is called. Close it. The error is an address that is none.
func New(address string, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Local == nil {
		o.Local = o.Now
	}
	s := &Store{d: &sqliteDialect, o: o, log: o.Log, now: o.Now, atOnce: summedAtOnce, refill: refilledAtOnce}
	path, ok := strings.CutPrefix(address, "sqlite:")
	switch {
	case ok && path != "":
		s.path = path
		s.register(o.Metrics)
		return s, nil
	case !postgresURL(address):
		return nil, fmt.Errorf("store %q is not known: write sqlite:PATH or postgres://USER@HOST/DATABASE", address)
	}
	s.d, s.path = &postgresDialect, shownAddress(address)
	var err error
	if s.pools, err = openPostgres(address, o); err != nil {
		return nil, err
	}
	s.open.Store(&s.pools)
	s.register(o.Metrics)
	return s, nil
}

func (s *Store) register(at prometheus.Registerer) {
	if at != nil {
		at.MustRegister(gauges{s})
	}
}

// Shown is an address for people, without its password: the file, or the URL.
func Shown(address string) string {
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		return path
	}
	return shownAddress(address)
}

// Open makes a store and connects it.
func Open(ctx context.Context, address string, o Options) (*Store, error) {
	s, err := New(address, o)
	if err != nil {
		return nil, err
	}
	if err := s.Connect(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Connect opens the store, makes it if there is none, and brings it up to this version's schema; once it has, it does
// nothing. The error is an *OpenError if the store is in use, unusable or absent. After ErrAbsent it can be called again.
func (s *Store) Connect(ctx context.Context) error {
	s.connecting.Lock()
	defer s.connecting.Unlock()
	if s.schema.Load() > 0 {
		return nil
	}
	connect := s.connectFile
	if s.d == &postgresDialect {
		connect = s.greet
	}
	if err := connect(ctx); err != nil {
		return err
	}
	if s.o.AsItIs {
		return s.takeAsItIs(ctx)
	}
	schema, err := s.bringUp(ctx)
	if err != nil {
		return err
	}
	if s.d == &sqliteDialect { // not before: a file that is not ours, or newer, stays as it is
		if err := s.makeShrinkable(ctx); err != nil {
			return s.failed(err)
		}
	}
	if err := s.checkRestored(ctx); err != nil {
		return err
	}
	if err := s.records.prepare(ctx, s.d, s.write); err != nil {
		return s.failed(err)
	}
	s.records.summed = s.now()
	s.schema.Store(schema)
	return nil
}

func (s *Store) connectFile(ctx context.Context) error {
	file, err := prepareFile(s.path)
	if err != nil {
		return unusable(s.path, err)
	}
	if s.lock, err = lockFile(file, s.path, s.now()); err != nil {
		return err
	}
	if s.pools, err = openSQLite(file); err != nil {
		return unusable(s.path, err)
	}
	s.open.Store(&s.pools)
	return nil
}

// Shared reports whether several processes may use the store at once.
func (s *Store) Shared() bool { return !s.d.alone }

// Away reports that an error is a database that could not be asked, so that it may be tried again.
func (s *Store) Away(err error) bool {
	// A password that is being changed is not the same at both ends for a moment. At the start it is a mistake.
	return s.d.isAway(err) || s.schema.Load() > 0 && refused(err)
}

// Close ends all work, folds what was written into one file and gives the store free.
func (s *Store) Close() error {
	var errs []error
	if s.write != nil {
		errs = append(errs, s.records.close())
		if s.schema.Load() > 0 && s.d == &sqliteDialect && !s.o.AsItIs { // it was ours
			errs = append(errs, s.read.Close()) // or what it reads would keep the log
			s.fold()
		}
	}
	errs = append(errs, s.pools.close())
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
	Path      string // the file, or the address without password
	Schema    int64  // number of the last migration; 0 while the store was never reached
	Bytes     int64  // on the disk; 0 if that is not known
	LastWrite time.Time
	Err       error // of the last write, nil if it succeeded
}

// Status looks at the store without reading its tables. A database that does not answer within a second has no size.
func (s *Store) Status() Status {
	st := Status{Engine: s.d.name, Path: s.path, Schema: s.schema.Load()}
	switch {
	case s.d == &sqliteDialect:
		for _, suffix := range []string{"", "-wal"} {
			if info, err := os.Stat(s.path + suffix); err == nil {
				st.Bytes += info.Size()
			}
		}
	case st.Schema > 0:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if s.watch.QueryRowContext(ctx, "SELECT pg_database_size(current_database())").Scan(&st.Bytes) != nil {
			st.Bytes = 0
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
	// ctx ends with the caller's and with the engine's patience. It is what statements are to be asked with: one that got the
	// caller's would go on while database/sql has given up the transaction around it.
	ctx context.Context //nolint:containedctx // it is of the transaction, and lives as long
}

func (t tx) exec(_ context.Context, query string, args ...any) (changed int64, err error) {
	r, err := t.ExecContext(t.ctx, t.d.rebind(query), t.d.args(args)...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t tx) row(_ context.Context, query string, args ...any) *sql.Row {
	return t.QueryRowContext(t.ctx, t.d.rebind(query), t.d.args(args)...)
}

// change runs f in one transaction, which is on the disk when change returns nil, and undone else. All changes wait for
// each other, over all replicas: what f reads stays so until it has ended. f may be called more than once.
func (s *Store) change(ctx context.Context, what string, f func(tx) error) error {
	return s.changeIn(ctx, laneActs, what, f)
}

// changeIn is change in another lane.
func (s *Store) changeIn(ctx context.Context, l lane, what string, f func(tx) error) error {
	err := s.attempt(ctx, l, f)
	for again := range 3 {
		if err == nil || !s.d.isPassing(err) || !rest(ctx, passing<<again) {
			break
		}
		err = s.attempt(ctx, l, f)
	}
	var told *fault.Error
	switch {
	case errors.As(err, &told):
		return err // a refusal, not a failure
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err()) // what the engine says of it depends on the moment
	}
	s.last.Store(&attempt{s.now(), err})
	if err == nil {
		return nil
	}
	said := "The store could not be written; nothing was changed."
	switch {
	case errors.Is(err, errPatience) && !errors.Is(err, errUnsure):
		said = fmt.Sprintf("The store did not take the change within %v; nothing was changed.", s.d.patience)
	case errors.Is(err, errUnsure):
		said = "The store did not answer whether it took the change: look before you try again."
	}
	failed := fault.Wrap(fault.StoreFailed, fmt.Errorf("%s: %w", what, err), "%s", said)
	if s.Away(err) {
		failed.RetryAfter = retryAfter
	}
	return failed
}

// passing is how long whoever was given up waits, before the first time again: those for whom it was given up must get on, or
// all meet at once again.
const passing = 20 * time.Millisecond

// rest waits for about as long as d; false if ctx has ended.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryAfter is when to come again after the database was away.
const retryAfter = 2 * time.Second

// errUnsure says that a transaction's end is not known, because the connection ended with it.
var errUnsure = errors.New("commit")

func (s *Store) attempt(ctx context.Context, l lane, f func(tx) error) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return s.timed(ctx, s.transact(ctx, l, f))
}

func (s *Store) transact(ctx context.Context, l lane, f func(tx) error) error {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	inside := tx{t, s.d, ctx}
	if err = inside.join(ctx, l); err == nil {
		err = f(inside)
	}
	if err != nil {
		_ = t.Rollback() // err is what there is to say
		return err
	}
	if ctx.Err() != nil {
		_ = t.Rollback()
		return ctx.Err() // it was not asked to take the change, so that is sure
	}
	if err := t.Commit(); err != nil {
		if s.d.isAway(err) && !s.d.isPassing(err) {
			return fmt.Errorf("%w: %w", errUnsure, err)
		}
		return err
	}
	return nil
}

// bounded gives a context that ends with the engine's patience: a server that is frozen or cut off says nothing at all.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.d.patience == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.d.patience)
}

// errPatience says that work took longer than the engine's patience.
var errPatience = fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)

// timed says of an error that it is for want of time, if that of ctx, which is a bounded one, has passed. What the driver says
// depends on the moment: that rows are closed, that a transaction has ended.
func (s *Store) timed(ctx context.Context, err error) error {
	var told *fault.Error
	if err == nil || s.d.patience == 0 || !errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.As(err, &told) {
		return err
	}
	return fmt.Errorf("%w: %w", errPatience, err)
}

// bump raises one of the versions by which others see that something has changed.
func (t tx) bump(ctx context.Context, name string) error {
	_, err := t.exec(ctx, "UPDATE versions SET version = version + 1 WHERE name = ?", name)
	return err
}
