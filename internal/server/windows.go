package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/penstock/penstock/internal/purge"
)

// purgeWindows deletes the windows of budgets that ended long ago, until ctx ends. Replicas may do it at once.
func (s *Server) purgeWindows(ctx context.Context) error {
	failing := false
	return purge.Loop(ctx, 20*time.Second, func(ctx context.Context) (int, error) {
		n, _, err := purge.Rows(ctx, func(limit int) (int, bool, error) {
			n, err := s.store.PurgeWindows(ctx, limit)
			return n, true, err
		})
		return n, err
	}, func(deleted int, err error) {
		switch {
		case err != nil && !failing:
			s.o.Log.Warn("old windows of budgets cannot be deleted", "error", err)
		case deleted > 0:
			s.o.Log.Debug("old windows of budgets are deleted", slog.Int("windows", deleted))
		}
		failing = err != nil
	})
}
