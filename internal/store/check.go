package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Checked is what [Store.Check] has looked at.
type Checked struct {
	Exchanges int64 // all
	Summed    int64 // those that are in sums
	held      int   // sums in memory at once, at most
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
	ck := checking{tx: t, last: c.Summed}
	err = ck.sums(ctx)
	c.held = ck.held
	return c, err
}

// checkedAtOnce is how much time is checked in one go, in microseconds, so that what is held of it does not grow with the age
// of a store. It is whole spans of every level.
const checkedAtOnce = 7 * day

// A checking compares each level of sums with the exchanges up to the last that is summed up, span by span.
type checking struct {
	tx

	last int64 // exchange that is summed up
	held int   // sums at once, at most
}

// sums goes through all time, but for where there is nothing.
func (c *checking) sums(ctx context.Context) error {
	for from := int64(math.MinInt64); ; {
		at, some, err := c.next(ctx, from)
		if err != nil || !some {
			return err
		}
		p := piece{from: at / checkedAtOnce * checkedAtOnce, to: math.MaxInt64}
		if p.from < math.MaxInt64-checkedAtOnce {
			p.to = p.from + checkedAtOnce
		}
		if err := c.during(ctx, p); err != nil || p.to == math.MaxInt64 {
			return err
		}
		from = p.to
	}
}

// next finds a time from which on there is nothing, back to another: the first sum behind that, or the first exchange.
func (c *checking) next(ctx context.Context, from int64) (at int64, some bool, err error) {
	take := func(first sql.NullInt64) {
		if first.Valid && (!some || first.Int64 < at) {
			at, some = first.Int64, true
		}
	}
	for _, l := range sumLevels {
		var start sql.NullInt64
		if err := c.row(ctx, "SELECT MIN(start) FROM usage_sums WHERE level = ? AND start >= ?", l.id, from/l.width).Scan(&start); err != nil {
			return 0, false, err
		}
		if start.Int64 < 0 || start.Int64 > math.MaxInt64/l.width {
			return 0, false, fmt.Errorf("level %d has sums of span %d, which is no time", l.id, start.Int64)
		}
		start.Int64 *= l.width
		take(start)
	}
	// In the blocks that begin before and end behind, of which there are few, it is looked for.
	across := &search{join: c.d.join, ofBlock: c.d.ofBlock}
	across.and("b.first_time < ? AND b.last_time >= ? AND e.time >= ?", from, from, from)
	across.and("b.block <= ? AND +e.seq <= ?", c.last/blockSize, c.last)
	for query, args := range map[string][]any{
		"SELECT MIN(first_time) FROM exchange_blocks WHERE first_time >= ? AND block <= ?": {from, c.last / blockSize},
		"SELECT MIN(e.time) FROM " + across.from() + across.where():                        across.args,
	} {
		var first sql.NullInt64
		if err := c.row(ctx, query, args...).Scan(&first); err != nil {
			return 0, false, err
		}
		take(first)
	}
	return max(at, 0), some, nil
}

// during compares in a time that is whole spans of every level.
func (c *checking) during(ctx context.Context, p piece) error {
	look := p.ofExchanges(c.d, &grouping{}, [dimensions]int64{}, c.last)
	minutes, err := c.sumsBy(ctx, "SELECT e.time / "+decimal(minute)+", "+summingRows+" FROM "+look.from()+look.where()+" GROUP BY 1", look.args...)
	if err != nil {
		return err
	}
	tagged, err := c.sumsBy(ctx, "SELECT e.time / "+decimal(day)+", "+summingRows+" FROM "+look.from()+
		" LEFT JOIN exchange_tags t ON t.seq = e.seq"+look.where()+" GROUP BY 1", look.args...)
	if err != nil {
		return err
	}
	for _, l := range sumLevels {
		want := tagged
		if !slices.Contains(l.by, byTag) {
			want = widened(minutes, l.width)
		}
		p.level = &l
		q := p.ofSums([dimensions]int64{})
		got, err := c.sumsBy(ctx, "SELECT start, "+summingLevels+" FROM usage_sums"+q.where()+" GROUP BY 1", q.args...)
		if err != nil {
			return err
		}
		c.held = max(c.held, len(minutes)+len(tagged)+len(want)+len(got))
		if err := compareSums(l, want, got); err != nil {
			return err
		}
	}
	return nil
}

// widened makes sums of spans of a width from those of minutes.
func widened(minutes map[int64]*sums, width int64) map[int64]*sums {
	all := map[int64]*sums{}
	for start, s := range minutes {
		start = start * minute / width
		if all[start] == nil {
			all[start] = &sums{}
		}
		all[start].add(s)
	}
	return all
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
