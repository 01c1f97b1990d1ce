package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/seal"
)

// ErrNoRing is that a store is there whose key ring is not: a new ring could check none of its keys.
var ErrNoRing = errors.New("the key ring is missing")

// openRing reads the key ring, or makes the first one together with a new store.
func (s *Server) openRing(ctx context.Context, cfg *config.File) (*seal.Ring, error) {
	_, store := os.Stat(cfg.StorePath())
	_, ring := os.Stat(cfg.KeyringPath())
	if store == nil && errors.Is(ring, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is not there, and %s is", ErrNoRing, cfg.KeyringPath(), cfg.StorePath())
	}
	opened, _, err := seal.Load(ctx, cfg.KeyringPath(), seal.Options{Log: s.o.Log, Metrics: s.metrics})
	return opened, err
}

// ensureDataKey gives a ring of an earlier version its first data key. Where its file cannot be written, as where it is
// mounted read-only, all goes on but what has to seal; that says so itself, and a key that is added elsewhere is taken over.
func (s *Server) ensureDataKey(ctx context.Context) {
	if err := s.ring.EnsureKey(ctx); err != nil {
		s.o.Log.Warn("the key ring has no data key, so nothing can be sealed and no bodies are kept: "+
			"add one where the file can be written, with: penstock keyring rotate", "error", err)
	}
}
