package server

import (
	"context"
	"errors"
	"time"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/store"
)

const (
	meetEvery = time.Second      // between two attempts to reach a store that does not answer at the start
	meetTells = 30 * time.Second // between two log lines about it
)

// meet connects the store, makes sure that it is ours, and reads from it what serving needs. record is called before keys
// are known, and so before anybody is served.
func (s *Server) meet(ctx context.Context, cfg *config.File, record func() error) error {
	if err := s.store.Connect(ctx); err != nil {
		return err
	}
	s.compareClocks(ctx)
	if err := s.checkRing(ctx, cfg); err != nil {
		return err
	}
	s.ensureDataKey(ctx)
	s.ringSeen.atStart = s.ring.Status()
	if err := s.ensureAdminKey(ctx, s.ring, cfg.AdminKeyPath()); err != nil {
		return err
	}
	if err := record(); err != nil {
		return err
	}
	return errors.Join(s.catalog.Refresh(ctx), s.stops.Refresh(ctx), s.limits.refresh(ctx), s.targets.Refresh(ctx), s.keys.Refresh(ctx))
}

// away reports that a meeting failed because nobody answered: it can be tried again.
func (s *Server) away(err error) bool { return errors.Is(err, store.ErrAbsent) || s.store.Away(err) }

// await meets a store that did not answer at the start, as soon as it does. Until then the process is alive and not
// ready: every key is refused with 503. met is false if ctx has ended first; the error is a store that is not ours.
func (s *Server) await(ctx context.Context, cfg *config.File) (met bool, err error) {
	tick := time.NewTicker(meetEvery)
	defer tick.Stop()
	told := time.Now()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case <-tick.C:
		}
		err := s.meet(ctx, cfg, func() error { return s.recordStart(ctx, cfg) })
		switch {
		case err == nil:
			s.o.Log.Info("the store answers: ready")
			return true, nil
		case ctx.Err() != nil:
			return false, nil
		case !s.away(err):
			return false, err
		case time.Since(told) >= meetTells:
			told = time.Now()
			s.o.Log.Warn("still waiting for the store", "error", err)
		}
	}
}
