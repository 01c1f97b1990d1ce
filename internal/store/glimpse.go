package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/audit"
)

// A Glimpse is what can be seen of a store without changing anything in it.
type Glimpse struct {
	Engine  string
	Path    string // the file, or the address without password
	There   bool   // there is a database that a Penstock has made
	Schema  int64  // number of the last migration that it has seen
	Knows   int64  // number of the last migration of this version
	Bytes   int64  // on the disk; 0 if that is not known
	Waiting int64  // sessions of the server that wait for a lock of others
	Losable string // by which of its settings a server may lose what it has confirmed: "fsync is off"; "" by none
	// Offset is how far the database's clock is ahead of ours, and Within how wrong that may be; 0 for a file.
	Offset, Within time.Duration
}

// Glance looks at a store, whoever else has it open. It makes nothing and migrates nothing. The error is a store that
// cannot be reached or read.
func Glance(ctx context.Context, at string, o Options) (g Glimpse, err error) {
	if g.Knows, err = Schema(); err != nil {
		return g, err
	}
	path, ok := strings.CutPrefix(at, "sqlite:")
	if ok {
		g.Engine, g.Path = sqliteDialect.name, path
		return g, g.file(ctx, path)
	}
	g.Engine, g.Path = postgresDialect.name, shownAddress(at)
	c, err := postgresConfig(at)
	if err != nil {
		return g, err
	}
	db := openPool(c, o, nil, 1)
	defer func() { _ = db.Close() }() // nothing was written
	return g, g.server(ctx, db)
}

func (g *Glimpse) file(ctx context.Context, path string) error {
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(path + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist) && suffix == "":
			return nil // it is made at the first start
		case err == nil:
			g.Bytes += info.Size()
		case suffix == "":
			return err
		}
	}
	db, err := openToGlance(path)
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return g.schema(ctx, db, "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = '"+versionTable+"'")
}

func openToGlance(path string) (*sql.DB, error) {
	return sql.Open("sqlite", address(path, url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(2000)", "query_only(1)"}}))
}

// GlanceAtChain gives the last entry of the audit chain in a file, or the one of the number if there are more. The zero Head is
// a file that is not there, or has no table of them.
func GlanceAtChain(ctx context.Context, path string, number int64) (head audit.Head, err error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return head, nil
	}
	db, err := openToGlance(path)
	if err != nil {
		return head, err
	}
	defer func() { _ = db.Close() }()
	var n int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table' AND name = 'audit_head'").Scan(&n); err != nil || n == 0 {
		return head, err
	}
	var hash []byte
	if err := db.QueryRowContext(ctx, "SELECT chain, seq, hash FROM audit_head WHERE id = 1").Scan(&head.Chain, &head.Seq, &hash); err != nil {
		return audit.Head{}, err
	}
	if head.Seq > number && number > 0 {
		head.Seq = number
		if err := db.QueryRowContext(ctx, "SELECT hash FROM audit_entries WHERE seq = ?", number).Scan(&hash); err != nil {
			return audit.Head{}, err
		}
	}
	head.Hash, err = hashOf(hash, head.Chain)
	return head, err
}

func (g *Glimpse) server(ctx context.Context, db *sql.DB) error {
	var err error
	if g.Offset, g.Within, err = clockOffset(ctx, db, time.Now); err != nil {
		return err
	}
	var commits, fsync string
	err = db.QueryRowContext(ctx, "SELECT pg_database_size(current_database()), (SELECT COUNT(*) FROM pg_locks WHERE NOT granted), "+durability).
		Scan(&g.Bytes, &g.Waiting, &commits, &fsync)
	if err != nil {
		return err
	}
	g.Losable = losable(commits, fsync)
	return g.schema(ctx, db, "SELECT COUNT(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '"+versionTable+"'")
}

func (g *Glimpse) schema(ctx context.Context, db *sql.DB, tables string) error {
	var n int
	if err := db.QueryRowContext(ctx, tables).Scan(&n); err != nil || n == 0 {
		return err
	}
	g.There = true
	return db.QueryRowContext(ctx, "SELECT COALESCE(MAX(version_id), 0) FROM "+versionTable).Scan(&g.Schema)
}

// quick is how wrong a look at the server's clock may be that is not repeated.
const quick = 5 * time.Millisecond

// clockOffset is how far the clock of a PostgreSQL server is ahead of ours, and how wrong that may be. Of three looks the
// quickest counts: the first may have to make a connection.
func clockOffset(ctx context.Context, db *sql.DB, ours func() time.Time) (offset, within time.Duration, err error) {
	for i := range 3 {
		o, w, err := lookAtClock(ctx, db, ours)
		if err != nil {
			return 0, 0, err
		}
		if i == 0 || w < within {
			offset, within = o, w
		}
		if within <= quick {
			break
		}
	}
	return offset, within, nil
}

func lookAtClock(ctx context.Context, db *sql.DB, ours func() time.Time) (offset, within time.Duration, err error) {
	var micros int64
	civil, began := ours().Round(0), time.Now()
	err = db.QueryRowContext(ctx, "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint").Scan(&micros)
	if err != nil {
		return 0, 0, fmt.Errorf("read the database's clock: %w", err)
	}
	within = time.Since(began) / 2
	return time.UnixMicro(micros).Sub(civil.Add(within)), within, nil
}

// ClockOffset is how far the database's clock is ahead of ours, and how wrong that may be. It is 0 for a file, whose clock
// is ours.
func (s *Store) ClockOffset(ctx context.Context) (offset, within time.Duration, err error) {
	if s.d != &postgresDialect || s.schema.Load() == 0 {
		return 0, 0, nil
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	return clockOffset(ctx, s.watch, s.o.Local)
}
