package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/store"
)

// ResetAdminKey makes a new admin key, which lies in the data directory then (mode 0600); the old one is dead. It takes the
// store and its key ring, and no key. A file is worked with by nobody else; the replicas of a database go on, and know the
// key within seconds.
func ResetAdminKey(ctx context.Context, cfg *config.File, by audit.Actor) (path string, err error) {
	for _, there := range []string{cfg.StorePath(), cfg.KeyringPath()} {
		if _, err := os.Stat(there); there != "" && err != nil {
			return "", fault.Problem{Path: there, Text: "is not there, so there is no admin key to reset", Hint: "name the Penstock with -c, --data or --store"}
		}
	}
	ring, _, err := seal.Load(ctx, cfg.KeyringPath(), seal.Options{Wrapper: cfg.KeyringWrapper()})
	if err != nil {
		return "", err
	}
	s, err := store.Open(ctx, cfg.Store, cfg.StoreOptions())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	kept, err := s.RingID(ctx, "")
	switch {
	case err != nil:
		return "", err
	case kept != ring.ID():
		return "", fault.Problem{
			Path: cfg.KeyringPath(), Text: fmt.Sprintf("is key ring %s, and the store belongs to %q", ring.ID(), kept), Hint: "name the ring of the store",
		}
	}
	path = cfg.AdminKeyPath()
	return path, replaceAdminKey(audit.As(ctx, by), s, ring, path)
}

// replaceAdminKey writes the key beside the old one first, so that there is never a store that nobody has the key of.
func replaceAdminKey(ctx context.Context, s *store.Store, ring *seal.Ring, path string) error {
	key, _ := auth.NewKey()
	next := path + ".next"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := seal.CreatePrivate(next, []byte(key+"\n")); err != nil {
		return err
	}
	if err := s.ResetAdminKey(ctx, ring.Hash(key)); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("the new admin key is in %s, and could not be moved: %w", next, err)
	}
	return nil
}
