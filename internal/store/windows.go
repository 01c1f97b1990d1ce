package store

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/escrow"
)

// How long the windows of budgets are kept after their end: those of a budget for each user, of which there may be a million a day, for
// as long as they were, within bounds. What was spent in them is in the ledger and in the sums for good.
const (
	keepWindow  = 400 * 24 * time.Hour
	leastWindow = 2 * 24 * time.Hour
)

// PurgeWindows deletes at most so many windows of budgets that ended long ago, with the leases of them that are empty. Where something
// is held or unknown, they stay until that is settled.
func (s *Store) PurgeWindows(ctx context.Context, limit int) (n int, err error) {
	err = s.changeIn(ctx, laneNone, "delete old windows of budgets", func(t tx) error {
		n = 0
		now, err := s.clock(ctx, t)
		if err != nil {
			return err
		}
		// A lease that is renewed keeps its window; one of a replica that was killed is not. The window with the largest number stays, so
		// that no number is given twice, also in a copy that was restored: entries tell by it what moved where.
		const old = ` FROM budget_pools p WHERE p.ends > 0 AND p.ends < ? AND p.held = 0 AND p.unknown = 0 AND p.id < (SELECT MAX(id) FROM budget_pools)
			AND (p.ends < ? OR p.subject <> '' AND p.ends + (p.ends - p.start) < ?)
			AND NOT EXISTS (SELECT 1 FROM budget_leases l WHERE l.pool = p.id AND l.renewed >= ?)`
		args := []any{now - leastWindow.Microseconds(), now - keepWindow.Microseconds(), now, now - escrow.Life.Microseconds()}
		rows, err := t.QueryContext(t.ctx, t.d.rebind("SELECT p.rule, p.subject, p.start"+old+" ORDER BY p.ends LIMIT ?"), append(args, limit)...)
		keys, err := collect(rows, err, func(r scanner) (k escrow.Key, err error) { return k, r.Scan(&k.Rule, &k.Subject, &k.Start) })
		if err != nil || len(keys) == 0 {
			return err
		}
		l, err := s.recordingOf(t).lockPools(ctx, keys)
		if err != nil {
			return err
		}
		for id := range l.byID {
			// Somebody may have come for it before it was locked.
			var due int
			if err := t.row(ctx, "SELECT COUNT(*)"+old+" AND p.id = ?", append(args, id)...).Scan(&due); err != nil {
				return err
			}
			if due == 0 {
				continue
			}
			for _, query := range []string{"DELETE FROM budget_leases WHERE pool = ?", "DELETE FROM budget_pools WHERE id = ?"} {
				if _, err := t.exec(ctx, query, id); err != nil {
					return err
				}
			}
			n++
		}
		return nil
	})
	return n, err
}
