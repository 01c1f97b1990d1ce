package server

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/store"
)

// configVersion tells one configuration from another: the beginning of the hash of its file, which the audit chain has
// whole; without a file, of what is in force.
func configVersion(cfg *config.File) string {
	text := cfg.Source()
	if cfg.Path() == "" {
		text = config.Show(cfg)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:12]
}

// appear says in the store that this replica is there, and with which configuration, until ctx ends. It fails only where
// a newer version has taken the store from this one: to write on would be wrong. A store that is away is told when it is
// back.
func (s *Server) appear(ctx context.Context) error {
	knows, err := store.Schema()
	if err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		name = "unknown"
	}
	started, _ := s.clock.At(s.started)
	me := store.Replica{ID: "rep_" + ulid.MustNew(ulid.Now(), rand.Reader).String(), Name: name, Version: s.o.Version, Knows: knows, Started: started}
	tick := time.NewTicker(store.AppearEvery)
	defer tick.Stop()
	for {
		me.Config = configVersion(s.inForce().cfg)
		if err := s.store.Appear(ctx, me); err != nil && ctx.Err() == nil {
			if errors.Is(err, store.ErrUnusable) {
				return err
			}
			s.o.Log.Debug("the store was not told that this replica is there", "error", err)
		}
		select {
		case <-ctx.Done():
			leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := s.store.Leave(leaving, me.ID); err != nil {
				s.o.Log.Debug("the store was not told that this replica is gone", "error", err)
			}
			return nil
		case <-s.taken:
		case <-tick.C:
		}
	}
}

// replicas are the Penstocks on this store.
func (s *Server) replicas(ctx context.Context) ([]admin.Replica, error) {
	found, err := s.store.Replicas(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]admin.Replica, len(found))
	for i, r := range found {
		all[i] = admin.Replica{
			ID: r.ID, Name: r.Name, Version: r.Version, Schema: r.Knows, Config: r.Config, Started: r.Started,
			Running: r.Ago < store.Gone, SeenAgo: r.Ago.Seconds(), ClockOff: r.ClockOff.Seconds(),
		}
	}
	return all, nil
}

// countReplicas looks how many replicas share the store, until ctx ends.
func (s *Server) countReplicas(ctx context.Context) error {
	tick := time.NewTicker(store.AppearEvery)
	defer tick.Stop()
	for {
		if all, err := s.store.Replicas(ctx); err == nil {
			n := 0
			for i := range all {
				if all[i].Ago < store.Gone {
					n++
				}
			}
			s.replicaCount.Store(int64(n))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// sharing is how many replicas share the store, as far as that is known.
func (s *Server) sharing() int { return max(int(s.replicaCount.Load()), 1) }
