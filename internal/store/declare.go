package store

import (
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/limit"
)

// Declare makes all changes of a declaration in one transaction, each with its entry of the audit chain, if keys, prices and limits
// are of the versions that the changes were planned on: else it is the fault [auth.Changed], and nothing is changed.
func (s *Store) Declare(ctx context.Context, c auth.Changes, priceVersion int64, prices []catalog.Override, limits limit.Changes) error {
	return s.act(ctx, "apply a declaration", func(t tx) (acts, error) {
		if err := t.still(ctx, c.Version, priceVersion, limits.Version); err != nil {
			return nil, err
		}
		done, err := s.declareTenants(ctx, t, c)
		if err != nil {
			return nil, err
		}
		for some := range slices.Chunk(prices, pricesPerAct) {
			act, err := t.setPrices(ctx, some)
			if err != nil {
				return nil, err
			}
			done = append(done, act)
		}
		defined, err := t.declareLimits(ctx, &limits, s.now())
		if err != nil {
			return nil, err
		}
		done = append(done, defined...)
		if !c.Empty() {
			if err := t.bump(ctx, "keys"); err != nil {
				return nil, err
			}
		}
		if len(prices) > 0 {
			return done, t.bump(ctx, "prices")
		}
		return done, nil
	})
}

// still makes sure that the store is what it was, and stays so until the end of the transaction: touching a version's row
// keeps everybody else from raising it.
func (t tx) still(ctx context.Context, keys, prices, limits int64) error {
	for _, v := range [...]struct {
		name string
		want int64
	}{{"keys", keys}, {"prices", prices}, {"limits", limits}} {
		n, err := t.exec(ctx, "UPDATE versions SET version = version WHERE name = ? AND version = ?", v.name, v.want)
		if err != nil {
			return err
		}
		if n == 0 {
			return auth.Changed()
		}
	}
	return nil
}

// declareLimits makes the changes of definitions. Tiers are there before somebody has them, and what ends makes room first.
func (t tx) declareLimits(ctx context.Context, c *limit.Changes, now time.Time) (done acts, err error) {
	if c.Empty() {
		return nil, nil
	}
	var act audit.Act
	for i := 0; i < len(c.EndedBudgets) && err == nil; i++ {
		_, act, err = t.deleteBudget(ctx, c.EndedBudgets[i])
		done = append(done, act)
	}
	for i := 0; i < len(c.EndedLimits) && err == nil; i++ {
		_, act, err = t.deleteLimit(ctx, c.EndedLimits[i])
		done = append(done, act)
	}
	for i := 0; i < len(c.Tiers) && err == nil; i++ {
		_, act, err = t.setTier(ctx, c.Tiers[i], limit.Whatever, now)
		done = append(done, act)
	}
	for i := 0; i < len(c.Assigned) && err == nil; i++ {
		act, err = t.assign(ctx, c.Assigned[i], now)
		done = append(done, act)
	}
	for i := 0; i < len(c.Budgets) && err == nil; i++ {
		_, act, err = t.setBudget(ctx, c.Budgets[i], limit.Whatever, now)
		done = append(done, act)
	}
	for i := 0; i < len(c.Limits) && err == nil; i++ {
		_, act, err = t.setLimit(ctx, c.Limits[i], limit.Whatever, now)
		done = append(done, act)
	}
	if err != nil {
		return nil, err
	}
	return done, t.bump(ctx, "limits")
}

// declareTenants makes the changes of projects and keys. Keys end before others take their names.
func (s *Store) declareTenants(ctx context.Context, t tx, c auth.Changes) (done acts, err error) {
	var act audit.Act
	for _, p := range c.NewProjects {
		if act, err = s.insertProject(ctx, t, p); err != nil {
			return nil, err
		}
		done = append(done, act)
	}
	for _, p := range c.Projects {
		if _, act, err = s.changeProject(ctx, t, p.ID, func(to *auth.Project) error { *to = p; return nil }); err != nil {
			return nil, err
		}
		done = append(done, act)
	}
	for _, id := range c.Ended {
		if _, act, _, err = t.revoke(ctx, id, c.At); err != nil {
			return nil, err
		}
		done = append(done, act)
	}
	for _, k := range c.Keys {
		if _, act, err = s.changeKey(ctx, t, k.ID, func(to *auth.Key) error { *to = k; return nil }); err != nil {
			return nil, err
		}
		done = append(done, act)
	}
	for _, k := range c.NewKeys {
		if err := s.insertKey(ctx, t, k); err != nil {
			return nil, err
		}
		done = append(done, audit.Act{Action: audit.KeyMade, Object: k.ID, Project: k.Project, After: keyStateOf(k)})
	}
	return done, nil
}
