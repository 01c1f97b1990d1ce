package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/pressly/goose/v3"
)

// versionTable remembers which migrations a database has seen. A database that has tables but not this one is not ours.
const versionTable = "schema_versions"

// compatibleFrom is the oldest schema whose versions of Penstock still work with ours: they know nothing of later tables
// and columns, and what they write is right without. A migration that breaks this raises it to its own number; it stands
// in the database, so that an old version learns it from there.
const compatibleFrom = 1

// bringUp brings the database up to this version's schema, and says which it has then. It goes forward only. A database
// that a newer Penstock has migrated is taken as it is if that one says that it may be, and else refused and left alone.
func (s *Store) bringUp(ctx context.Context) (schema int64, err error) {
	if _, err := s.checkOwner(ctx); err != nil {
		return 0, err
	}
	p, err := s.provider()
	if err != nil {
		return 0, err
	}
	unlock, err := s.lockSchema(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	has, err := p.GetDBVersion(ctx)
	if err != nil {
		return 0, s.failed(err)
	}
	sources := p.ListSources()
	knows := sources[len(sources)-1].Version
	if has > knows {
		return has, s.checkNewer(ctx, has, knows)
	}
	done, err := s.up(ctx, p)
	if err != nil {
		return 0, s.failed(fmt.Errorf("migrate from schema %d: %w", has, err))
	}
	if len(done) > 0 {
		s.log.Info("store migrated", "path", s.path, "from", has, "to", knows)
	}
	return knows, s.sayCompatible(ctx)
}

func (s *Store) provider() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, s.d.migrations)
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	p, err := goose.NewProvider(s.d.goose, s.schemas, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return nil, fmt.Errorf("migrations: %w", err)
	}
	return p, nil
}

// up migrates. A lock that is not to be had at once is given up, so that nobody waits behind us, and asked for again.
func (s *Store) up(ctx context.Context, p *goose.Provider) (done []*goose.MigrationResult, err error) {
	const tries = 100
	for range tries {
		var some []*goose.MigrationResult
		some, err = p.Up(ctx)
		done = append(done, some...)
		if postgresCode(err) != "55P03" {
			return done, err
		}
		if !pause(ctx, time.Second) {
			break
		}
	}
	return done, err
}

// pause waits, and says whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// lockSchema keeps other replicas from migrating. It asks again and again instead of waiting in the server: an index that
// is made concurrently waits for all who wait there.
func (s *Store) lockSchema(ctx context.Context) (unlock func(), err error) {
	if s.d.lock == "" {
		return func() {}, nil // the file is ours
	}
	c, err := s.schemas.Conn(ctx)
	if err != nil {
		return nil, s.failed(err)
	}
	const lock = "(($1)::int, current_schema()::regnamespace::oid::int)"
	for got := false; !got; {
		if err := c.QueryRowContext(ctx, "SELECT pg_try_advisory_lock"+lock, laneClass+int64(laneSchema)).Scan(&got); err != nil {
			return nil, errors.Join(s.failed(err), c.Close())
		}
		if !got && !pause(ctx, 100*time.Millisecond) {
			return nil, errors.Join(s.failed(ctx.Err()), c.Close())
		}
	}
	return func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		// The lock ends with the connection too, so errors do not matter.
		_, _ = c.ExecContext(bounded, "SELECT pg_advisory_unlock"+lock, laneClass+int64(laneSchema))
		_ = c.Close()
	}, nil
}

const compatibleName = "compatible_from"

// checkNewer says whether this version may work with a schema that is newer than it knows.
func (s *Store) checkNewer(ctx context.Context, has, knows int64) error {
	var text string
	err := s.watched(ctx, "SELECT value FROM settings WHERE name = ?", compatibleName).Scan(&text)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return s.failed(err)
	}
	if from, err := strconv.ParseInt(text, 10, 64); err == nil && from <= knows {
		s.log.Warn("a newer Penstock has migrated the store, and this version may go on with it", "path", s.path, "schema", has, "known", knows)
		return nil
	}
	return tooNew(s.path, has, knows)
}

// sayCompatible writes compatibleFrom into the database.
func (s *Store) sayCompatible(ctx context.Context) error {
	var text string
	err := s.watched(ctx, "SELECT value FROM settings WHERE name = ?", compatibleName).Scan(&text)
	if err == nil && text == strconv.Itoa(compatibleFrom) {
		return nil
	}
	if err == nil || errors.Is(err, sql.ErrNoRows) {
		_, err = s.schemas.ExecContext(ctx, s.d.rebind("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"),
			compatibleName, strconv.Itoa(compatibleFrom))
	}
	if err != nil {
		return s.failed(err)
	}
	return nil
}

// checkOwner refuses databases of other programs before anything is written into them, and says which tables ours has.
func (s *Store) checkOwner(ctx context.Context) (tables []string, err error) {
	rows, err := s.query(ctx, s.d.tables) // to open it for writing would change it
	tables, err = collect(rows, err, func(r scanner) (name string, err error) { return name, r.Scan(&name) })
	if err != nil {
		return nil, s.failed(err)
	}
	if len(tables) > 0 && !slices.Contains(tables, versionTable) {
		return nil, unusable(s.path, errors.New("it is a database of another program"))
	}
	return tables, nil
}

// failed makes an OpenError of an error that the engine gave, unless the caller has given up.
func (s *Store) failed(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	if s.d.isAway(err) {
		return s.absent(err)
	}
	if s.d.isForeign(err) {
		err = fmt.Errorf("it is damaged, or no %s database: %w", s.d.name, err)
	}
	return unusable(s.path, err)
}
