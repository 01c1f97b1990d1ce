package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/penstock/penstock/internal/fault"
)

// query reads with a connection that never waits for a write.
func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx, cancel := s.bounded(ctx)
	if s.d.patience > 0 {
		context.AfterFunc(ctx, cancel) // rows are read after this returns; what is left of it is a timer
	}
	return s.read.QueryContext(ctx, s.d.rebind(query), s.d.args(args)...)
}

func (s *Store) row(ctx context.Context, query string, args ...any) scanner {
	return s.rowOf(ctx, s.read, query, args...)
}

// watched is row for what must not wait behind reports.
func (s *Store) watched(ctx context.Context, query string, args ...any) scanner {
	return s.rowOf(ctx, s.watch, query, args...)
}

func (s *Store) rowOf(ctx context.Context, db *sql.DB, query string, args ...any) scanner {
	ctx, cancel := s.bounded(ctx)
	return boundedRow{db.QueryRowContext(ctx, s.d.rebind(query), s.d.args(args)...), cancel}
}

// A boundedRow is a row whose context ends with it.
type boundedRow struct {
	*sql.Row
	cancel context.CancelFunc
}

// Scan reads the row.
func (r boundedRow) Scan(into ...any) error {
	defer r.cancel()
	return r.Row.Scan(into...)
}

func (s *Store) version(ctx context.Context, name string) (v int64, err error) {
	err = s.watched(ctx, "SELECT version FROM versions WHERE name = ?", name).Scan(&v)
	return v, err
}

// A scanner is a row, the only one or one of many.
type scanner interface{ Scan(into ...any) error }

// unread is the error of a read that failed, for the one who asked for it.
func (s *Store) unread(ctx context.Context, what string, err error) error {
	var told *fault.Error
	switch {
	case errors.As(err, &told):
		return err // a refusal, not a failure
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err()) // as in change
	}
	said, hint := "The store could not be read.", s.d.hintRead
	if errors.Is(err, errPatience) {
		said = fmt.Sprintf("The store did not answer within %v.", s.d.patience)
		hint = "Ask for a shorter time or for less at once, or look at the load of the database server."
	}
	f := fault.Wrap(fault.StoreFailed, fmt.Errorf("%s: %w", what, err), "%s", said)
	f.Hint = hint
	if s.Away(err) {
		f.RetryAfter = retryAfter
	}
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
