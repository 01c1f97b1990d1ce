package server

import (
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/reconcile"
	"github.com/penstock/penstock/internal/usage"
)

// newDesk makes what takes exports of providers, for the control API and the console alike.
func (s *Server) newDesk() *reconcile.Desk {
	return reconcile.NewDesk(reconcile.Desk{
		Sources: reconcile.Sources{
			Ledger: s.store, Recorded: s.recorded, Models: s.modelsOf,
			Price: func(t llm.Target) (llm.Price, bool) { return s.inForce().view.Price(t) },
			Known: func(provider, model string) bool {
				return slices.Contains(s.catalog.Table().Vendors(model), s.inForce().vendors()[provider])
			},
		},
		Vendors: func() map[string]string { return s.inForce().vendors() },
		ZoneOf:  limit.Zone, Sync: s.settled, Alerts: s.alerts, Now: s.clock.Now,
	})
}

// recorded sums records by target.
func (s *Server) recorded(ctx context.Context, from, to time.Time) (map[string]reconcile.Recorded, error) {
	sums, err := s.store.Sums(ctx, usage.Query{From: from, To: to, By: []string{"target"}})
	if err != nil {
		return nil, err
	}
	all := make(map[string]reconcile.Recorded, len(sums))
	for _, sum := range sums {
		all[sum.Group["target"]] = reconcile.Recorded{Usage: sum.Usage, Requests: sum.Requests}
	}
	return all, nil
}

// modelsOf are the models that are configured of a provider.
func (s *Server) modelsOf(provider string) []string {
	var all []string
	for _, r := range s.routes() {
		for _, t := range r.Targets {
			if target, ok := llm.ParseTarget(t.Target); ok && target.Provider == provider {
				all = append(all, target.Model)
			}
		}
	}
	return all
}
