package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/internal/config"
)

// Reload takes over a new configuration whole, or changes nothing and says why. What the configuration refers to is read
// anew even if its own words are the same. Exchanges that are under way finish on the old one.
func (s *Server) Reload(ctx context.Context, load func(context.Context) (*config.File, error)) error {
	_, err := s.reload(ctx, load)
	return err
}

// reload is Reload, and says whether that has changed anything: what is in force, or what is wrong with the file.
func (s *Server) reload(ctx context.Context, load func(context.Context) (*config.File, error)) (news bool, err error) {
	cfg, err := load(ctx)
	if err == nil {
		news, err = s.apply(cfg)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		news = s.reloaded == nil || s.reloaded.Error() != err.Error()
	}
	s.reloaded = err
	return news, err
}

// apply puts a configuration in force, and says whether anything is different now: what the file says, or what it refers
// to. The runtime is built anew always, since the file need not change with a file that it names, as egress.ca does.
func (s *Server) apply(cfg *config.File) (news bool, err error) {
	old := s.inForce()
	changes := config.Plan(old.cfg, cfg)
	if err := live(changes); err != nil {
		return false, err
	}
	if err := s.take(cfg, func() error { return s.recordReload(changes) }); err != nil {
		return false, err
	}
	changed := len(changes) > 0
	s.remember(cfg, changed)
	return changed || !maps.Equal(old.clients, s.inForce().clients), nil
}

func (s *Server) inForce() *runtime {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runtime
}

// live says which changes cannot be made while serving, nil if all can.
func live(changes []config.Change) error {
	var fixed []error
	for _, c := range changes {
		if c.Restart {
			fixed = append(fixed, fmt.Errorf("%s needs a restart", c.Path))
		}
	}
	return errors.Join(fixed...)
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
		s.reloadOn(ctx, hangup, asked)
		return nil
	})
	return group.Wait()
}

// lookAgain is when a file is read again that was read because of a signal.
const lookAgain = time.Second

// reloadOn reloads when it is asked to, until ctx ends.
//
// After a signal it looks once more. The watcher knows only what it has seen itself: if a file is changed, taken over by
// a signal and changed back before the watcher looks, that is no change to it, and the wrong one would stay in force.
func (s *Server) reloadOn(ctx context.Context, hangup <-chan os.Signal, asked <-chan struct{}) {
	var again <-chan time.Time
	for {
		quiet := false // if there is no news
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			again = time.After(lookAgain)
		case <-asked:
			quiet = true
		case <-again:
			again, quiet = nil, true
		}
		news, err := s.reload(ctx, s.o.Load)
		switch {
		case quiet && !news:
		case err != nil:
			s.o.Log.Error("configuration not taken over; the one before stays in force", "error", err)
		case !news:
			s.o.Log.Info("the configuration is the one in force already")
		default:
			s.o.Log.Info("configuration taken over")
		}
	}
}

// grace is that of the configuration in force.
func (s *Server) grace() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runtime.cfg.ShutdownGrace
}
