package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/internal/config"
)

// Reload takes over a new configuration whole, or changes nothing and says why. Exchanges that are under way finish on
// the old one.
func (s *Server) Reload(ctx context.Context, load func(context.Context) (*config.File, error)) error {
	cfg, err := load(ctx)
	if err == nil {
		s.mu.Lock()
		changes := config.Plan(s.runtime.cfg, cfg)
		s.mu.Unlock()
		err = s.applyPlan(cfg, changes)
	}
	s.mu.Lock()
	s.reloaded = err
	s.mu.Unlock()
	return err
}

func (s *Server) applyPlan(cfg *config.File, changes []config.Change) error {
	var fixed []error
	for _, c := range changes {
		if c.Restart {
			fixed = append(fixed, fmt.Errorf("%s needs a restart", c.Path))
		}
	}
	if len(fixed) > 0 {
		return errors.Join(fixed...)
	}
	if len(changes) == 0 {
		return nil
	}
	return s.take(cfg)
}

// follow reloads when the file changes and on every signal of hangup, until ctx ends.
func (s *Server) follow(ctx context.Context, path string, hangup <-chan os.Signal) error {
	asked := make(chan struct{}, 1)
	ask := func() {
		select {
		case asked <- struct{}{}:
		default: // one is waiting already
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	if path != "" {
		group.Go(func() error {
			if err := config.Watch(ctx, path, ask); err != nil {
				s.o.Log.Error("the file is not watched any more; reload with SIGHUP", "error", err)
			}
			return nil
		})
	}
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-hangup:
			case <-asked:
			}
			if err := s.Reload(ctx, s.o.Load); err != nil {
				s.o.Log.Error("configuration not taken over; the one before stays in force", "error", err)
				continue
			}
			s.o.Log.Info("configuration taken over")
		}
	})
	return group.Wait()
}
