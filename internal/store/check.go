package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Checked is what [Store.Check] has looked at.
type Checked struct {
	Exchanges int64 // all
	Summed    int64 // those that are in sums
}

// Check reads the whole store and says what does not fit: a file that is damaged, an exchange without its record, sums that
// are not those of the exchanges. It is for a store that nobody else works with. The audit chain is apart.
func (s *Store) Check(ctx context.Context) (c Checked, err error) {
	if s.d == &sqliteDialect {
		found, err := textsOf(ctx, s.read, "PRAGMA quick_check(3)")
		if err != nil {
			return c, s.failed(err)
		}
		if !slices.Equal(found, []string{"ok"}) {
			return c, unusable(s.path, fmt.Errorf("it is damaged: %s", found))
		}
	}
	txn, err := s.long().BeginTx(ctx, s.d.snapshot)
	if err != nil {
		return c, s.unread(ctx, "check the store", err)
	}
	defer func() { _ = txn.Rollback() }() // it has only read
	t := tx{txn, s.d, ctx}
	var last, bare int64
	err = errors.Join(
		t.row(ctx, "SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM exchanges").Scan(&c.Exchanges, &last),
		t.row(ctx, "SELECT seq FROM usage_summed WHERE id = 1").Scan(&c.Summed),
		t.row(ctx, "SELECT COUNT(*) FROM exchanges e LEFT JOIN exchange_records r ON r.seq = e.seq WHERE r.seq IS NULL").Scan(&bare),
	)
	switch {
	case err != nil:
		return c, s.unread(ctx, "check the store", err)
	case bare > 0:
		return c, fmt.Errorf("%d exchanges have no record", bare)
	case c.Summed > last:
		return c, fmt.Errorf("exchanges are summed up to %d, and the last is %d", c.Summed, last)
	}
	return c, t.checkSums(ctx, c.Summed)
}

// checkSums compares each level of sums with the exchanges up to the last that is summed up, span by span.
func (t tx) checkSums(ctx context.Context, last int64) error {
	minutes, err := t.sumsBy(ctx, "SELECT e.time / ?, "+summingRows+" FROM exchanges e WHERE e.seq <= ? GROUP BY 1", minute, last)
	if err != nil {
		return err
	}
	tagged, err := t.sumsBy(ctx, "SELECT e.time / ?, "+summingRows+" FROM exchanges e LEFT JOIN exchange_tags t ON t.seq = e.seq WHERE e.seq <= ? GROUP BY 1", day, last)
	if err != nil {
		return err
	}
	for _, l := range sumLevels {
		want := tagged
		if l.id != tagDays.id {
			want = map[int64]*sums{}
			for start, s := range minutes {
				start = start * minute / l.width
				if want[start] == nil {
					want[start] = &sums{}
				}
				want[start].add(s)
			}
		}
		got, err := t.sumsBy(ctx, "SELECT start, "+summingLevels+" FROM usage_sums WHERE level = ? GROUP BY 1", l.id)
		if err != nil {
			return err
		}
		if err := compareSums(l, want, got); err != nil {
			return err
		}
	}
	return nil
}

func compareSums(l level, want, got map[int64]*sums) error {
	spans := slices.Sorted(maps.Keys(want))
	for _, start := range append(spans, slices.Sorted(maps.Keys(got))...) {
		w, g := want[start], got[start]
		if w == nil {
			w = &sums{}
		}
		if g == nil {
			g = &sums{}
		}
		for i, name := range sumFields {
			if w[i] != g[i] {
				return fmt.Errorf("the sums of level %d from %s are not those of the exchanges: %s is %d, and should be %d",
					l.id, fromSpan(start, l.width).Format("2006-01-02 15:04"), name, g[i], w[i])
			}
		}
	}
	return nil
}

// sumsBy reads sums, each behind the start of its span.
func (t tx) sumsBy(ctx context.Context, query string, args ...any) (map[int64]*sums, error) {
	rows, err := t.QueryContext(ctx, t.d.rebind(query), args...)
	all := map[int64]*sums{}
	return all, each(rows, err, func(r scanner) error {
		k, s, err := (&grouping{width: 1}).scan(r)
		if err != nil {
			return err
		}
		all[k.span] = s
		return nil
	})
}
