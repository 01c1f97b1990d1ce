package store

import (
	"context"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/ledger"
)

// LedgerPools implements [ledger.Store].
func (s *Store) LedgerPools(ctx context.Context, ids []int64) (map[int64]ledger.PoolName, error) {
	const atOnce = 500
	named := make(map[int64]ledger.PoolName, len(ids))
	for some := range slices.Chunk(ids, atOnce) {
		args := make([]any, len(some))
		for i, id := range some {
			args[i] = id
		}
		rows, err := s.query(ctx, "SELECT id, rule, subject, start FROM budget_pools WHERE id IN (?"+strings.Repeat(", ?", len(some)-1)+")", args...)
		if err := each(rows, err, func(r scanner) error {
			var id int64
			var n ledger.PoolName
			err := r.Scan(&id, &n.Rule, &n.Subject, &n.Start)
			named[id] = n
			return err
		}); err != nil {
			return nil, s.unread(ctx, "read the windows of the ledger", err)
		}
	}
	return named, nil
}
