package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock/penstock/internal/audit"
)

// epochName is the version that says how often the store was put back from a backup.
const epochName = "epoch"

// Restored makes a store that was loaded one that may be worked with: in a new epoch, and with the act in its audit chain.
// act is asked with the epoch.
func (s *Store) Restored(ctx context.Context, act func(epoch int64) audit.Act) (epoch int64, err error) {
	err = s.act(ctx, "begin a new epoch", func(t tx) (acts, error) {
		if _, err := t.exec(ctx, "DELETE FROM settings WHERE name = ?", restoringName); err != nil {
			return nil, err
		}
		if err := t.bump(ctx, epochName); err != nil {
			return nil, err
		}
		// What was spent from leases after the backup may never be told: nobody gets what was in them until somebody settles them.
		if _, err := t.exec(ctx, "UPDATE budget_leases SET state = ? WHERE state = ?", leaseRestored, leaseOpen); err != nil {
			return nil, err
		}
		if err := t.row(ctx, "SELECT version FROM versions WHERE name = ?", epochName).Scan(&epoch); err != nil {
			return nil, err
		}
		return acts{act(epoch)}, nil
	})
	return epoch, err
}

// restoringName is a setting that is there from [Load] to [Store.Restored].
const restoringName = "restoring"

// checkRestored refuses a store whose restore did not come to its end: nobody has checked it, and it is in its old epoch.
func (s *Store) checkRestored(ctx context.Context) error {
	if s.o.Restoring {
		return nil
	}
	var id string
	err := s.watched(ctx, "SELECT value FROM settings WHERE name = ?", restoringName).Scan(&id)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return s.failed(err)
	}
	return &OpenError{
		Kind: ErrUnusable, Text: fmt.Sprintf("the restore of the backup %s into %s did not come to its end", id, s.path),
		Hint: "make the database empty and restore again",
	}
}

// takeAsItIs opens a store without bringing it up.
func (s *Store) takeAsItIs(ctx context.Context) error {
	if _, err := s.checkOwner(ctx); err != nil {
		return err
	}
	var schema sql.NullInt64
	err := s.row(ctx, "SELECT MAX(version_id) FROM "+versionTable).Scan(&schema)
	switch {
	case err != nil:
		return s.failed(err)
	case schema.Int64 == 0:
		return unusable(s.path, errors.New("there is nothing in it"))
	}
	s.schema.Store(schema.Int64)
	return nil
}

// Hold keeps every other process off the SQLite file at a path until free is called. The error is an *OpenError, as if the
// store had been opened.
func Hold(path string) (free func() error, err error) {
	file, err := heldPath(path)
	if err != nil {
		return nil, unusable(path, err)
	}
	l, err := lockFile(file, path, time.Now())
	if err != nil {
		return nil, err
	}
	return l.free, nil
}

// heldPath is the path whose lock openers of a file take: the real one, if there is a file.
func heldPath(path string) (string, error) {
	actual, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		actual, err = filepath.EvalSymlinks(filepath.Dir(path))
		actual = filepath.Join(actual, filepath.Base(path))
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(actual)
}
