package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/journal"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/store"
)

// TakeStopped writes a backup of the store of a Penstock that does not serve. The store stays as it is: it is not migrated,
// so that a new version can back up what an old one wrote, and no act is added to its audit chain.
func TakeStopped(ctx context.Context, cfg *config.File, version string, w io.Writer) (m backup.Manifest, err error) {
	for _, path := range []string{cfg.StorePath(), cfg.KeyringPath()} {
		if _, err := os.Stat(path); path != "" && err != nil {
			return m, fault.Problem{Path: path, Text: "is not there, so there is nothing to back up", Hint: "name the Penstock with -c, --data or --admin-url"}
		}
	}
	ring, _, err := seal.Load(ctx, cfg.KeyringPath(), seal.Options{Wrapper: cfg.KeyringWrapper()})
	if err != nil {
		return m, err
	}
	reached := cfg.StoreOptions()
	reached.AsItIs = true
	s, err := store.Open(ctx, cfg.Store, reached)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := written(ctx, cfg, s); err != nil {
		return m, err
	}
	t, err := Take(ctx, s, ring, version)
	if err != nil {
		return m, err
	}
	_, err = t.Write(ctx, w)
	return t.Manifest, err
}

// written makes sure that nothing lies in the journals that the store does not have, as after a process was killed.
func written(ctx context.Context, cfg *config.File, s *store.Store) error {
	for name, what := range map[string]string{"journal": "records", "bodies": "bodies"} {
		if err := writtenOf(ctx, filepath.Join(cfg.Data, name), what, s); err != nil {
			return err
		}
	}
	return nil
}

func writtenOf(ctx context.Context, dir, what string, s *store.Store) (err error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	j, err := journal.Open(dir, journal.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	kept, err := s.ReadUpTo(ctx, j.ID())
	if err != nil {
		return err
	}
	if kept < j.End() && j.Behind(kept) > 0 {
		return fault.Problem{
			Path: dir, Text: fmt.Sprintf("holds %s that the store does not have yet (%d bytes)", what, j.Behind(kept)),
			Hint: "start Penstock, which writes them, and take the backup while it serves",
		}
	}
	return nil
}
