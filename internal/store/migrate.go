package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/pressly/goose/v3"
)

// versionTable remembers which migrations a database has seen. A database that has tables but not this one is not ours.
const versionTable = "schema_versions"

// migrate brings the database up to this version's schema. It goes forward only: a database that a newer Penstock has
// written is refused, and left as it is.
func (s *Store) migrate(ctx context.Context) error {
	if err := s.checkOwner(ctx); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, s.d.migrations)
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	p, err := goose.NewProvider(s.d.goose, s.write, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("migrations: %w", err)
	}
	has, err := p.GetDBVersion(ctx)
	if err != nil {
		return s.failed(err)
	}
	sources := p.ListSources()
	knows := sources[len(sources)-1].Version
	if has > knows {
		return &OpenError{
			Kind: ErrUnusable, Text: fmt.Sprintf("%s was written by a newer Penstock: its schema is %d, this version knows %d", s.path, has, knows),
			Hint: "start the newer version, or put back the backup from before the upgrade",
		}
	}
	done, err := p.Up(ctx)
	if err != nil {
		return s.failed(fmt.Errorf("migrate from schema %d: %w", has, err))
	}
	if len(done) > 0 {
		s.log.Info("store migrated", "path", s.path, "from", has, "to", knows)
	}
	s.schema = knows
	return nil
}

// checkOwner refuses databases of other programs before anything is written into them.
func (s *Store) checkOwner(ctx context.Context) error {
	rows, err := s.query(ctx, s.d.tables) // to open it for writing would change it
	tables, err := collect(rows, err, func(r scanner) (name string, err error) { return name, r.Scan(&name) })
	if err != nil {
		return s.failed(err)
	}
	if len(tables) > 0 && !slices.Contains(tables, versionTable) {
		return unusable(s.path, errors.New("it is a database of another program"))
	}
	return nil
}

// failed makes an OpenError of an error that the engine gave, unless the caller has given up.
func (s *Store) failed(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("open %s: %w", s.path, err)
	}
	if s.d.isForeign(err) {
		err = fmt.Errorf("it is damaged, or no %s database: %w", s.d.name, err)
	}
	return unusable(s.path, err)
}
