package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/backup"
)

// A Snapshot is the store at one moment: what is written meanwhile is not in it. While it is open, SQLite cannot shorten its
// write-ahead log, and PostgreSQL cannot clean up, so nothing slow should hold it. Close it.
type Snapshot struct {
	d      *dialect
	tx     *sql.Tx
	tables []backup.Table
}

// Snapshot begins one. It never waits for a write, and no write waits for it.
func (s *Store) Snapshot(ctx context.Context) (*Snapshot, error) {
	tx, err := s.long().BeginTx(ctx, s.d.snapshot)
	if err != nil {
		return nil, s.unread(ctx, "begin a snapshot", err)
	}
	n := &Snapshot{d: s.d, tx: tx}
	if n.tables, err = tablesOf(ctx, s.d, tx); err != nil { // the first read: this is the moment
		n.Close()
		return nil, s.unread(ctx, "begin a snapshot", err)
	}
	return n, nil
}

// Close ends the snapshot.
func (n *Snapshot) Close() {
	_ = n.tx.Rollback() // it has only read
}

// long gives the connections on which a read may take its time.
func (s *Store) long() *sql.DB {
	if s.d == &postgresDialect {
		return s.schemas
	}
	return s.read
}

// Manifest says what the snapshot is of, but for what the store does not know: id, time, and the version of the program.
func (n *Snapshot) Manifest(ctx context.Context) (m backup.Manifest, err error) {
	m.Engine = n.d.name
	var hash []byte
	err = errors.Join(
		n.tx.QueryRowContext(ctx, "SELECT MAX(version_id) FROM "+versionTable).Scan(&m.Schema),
		n.tx.QueryRowContext(ctx, "SELECT chain, seq, hash FROM audit_head WHERE id = 1").Scan(&m.Chain.ID, &m.Chain.Seq, &hash),
		n.tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM versions WHERE name = 'epoch'").Scan(&m.Epoch),
		n.tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(value), '') FROM settings WHERE name = '"+ringName+"'").Scan(&m.Keyring),
	)
	m.Chain.Hash = hex.EncodeToString(hash)
	return m, err
}

// Tables lists the tables; those that others refer to come first.
func (n *Snapshot) Tables() []backup.Table { return n.tables }

// Each gives the rows of a table in the order of its primary key. A row, and bytes in it, are good until do returns.
func (n *Snapshot) Each(ctx context.Context, t backup.Table, do func(backup.Row) error) error {
	return eachRow(ctx, n.d, n.tx, t, do)
}

// A queryer is a connection or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// tablesOf lists the tables of a database with their columns, but for what the migrations keep for themselves; those that
// others refer to come first.
func tablesOf(ctx context.Context, d *dialect, q queryer) ([]backup.Table, error) {
	names, err := textsOf(ctx, q, d.tables)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == versionTable || strings.HasPrefix(name, "sqlite_") })
	slices.Sort(names)
	refers := map[string][]string{}
	for _, name := range names {
		if refers[name], err = textsOf(ctx, q, d.rebind(d.refers), name); err != nil {
			return nil, err
		}
	}
	var all []backup.Table
	placed := map[string]bool{}
	var place func(name string) error
	place = func(name string) error {
		if placed[name] || !slices.Contains(names, name) {
			return nil
		}
		placed[name] = true
		for _, other := range refers[name] {
			if err := place(other); err != nil {
				return err
			}
		}
		columns, err := columnsOf(ctx, q, name)
		all = append(all, backup.Table{Name: name, Columns: columns})
		return err
	}
	for _, name := range names {
		if err := place(name); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func textsOf(ctx context.Context, q queryer, query string, args ...any) ([]string, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	return collect(rows, err, func(r scanner) (text string, err error) { return text, r.Scan(&text) })
}

// columnsOf lists the columns of a table by name: migrations may have added them in another order elsewhere.
func columnsOf(ctx context.Context, q queryer, table string) ([]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 0")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what there is to say
	columns, err := rows.Columns()
	slices.Sort(columns)
	return columns, errors.Join(err, rows.Err())
}

// eachRow gives the rows of a table in the order of its primary key; texts are ordered byte by byte.
func eachRow(ctx context.Context, d *dialect, q queryer, t backup.Table, do func(backup.Row) error) error {
	order, err := textsOf(ctx, q, d.rebind(d.primary), t.Name)
	if err != nil {
		return err
	}
	query := "SELECT " + strings.Join(t.Columns, ", ") + " FROM " + t.Name
	if len(order) > 0 {
		query += " ORDER BY " + strings.Join(order, ", ")
	}
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // rows.Err has what there is to say
	row := make(backup.Row, len(t.Columns))
	into := make([]any, len(row))
	for i := range row {
		into[i] = &row[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("table %s: %w", t.Name, err)
		}
		if err := do(row); err != nil {
			return err
		}
	}
	return rows.Err()
}
