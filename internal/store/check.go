package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/ledger"
)

// Checked is what [Store.Check] has looked at.
type Checked struct {
	Exchanges int64 // all
	Summed    int64 // those that are in sums
	held      int   // sums in memory at once, at most
}

// Check reads the whole store and says what does not fit: a file that is damaged, an exchange without its record, sums that
// are not those of the exchanges, balances that are not those of the entries. It is for a store that nobody else works with. The audit chain is apart.
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
	ck := checking{tx: t}
	err = errors.Join(
		t.row(ctx, "SELECT COUNT(*), COALESCE(MAX(seq), 0) FROM exchanges").Scan(&c.Exchanges, &last),
		t.row(ctx, "SELECT "+summedColumns+", purged_before FROM usage_summed WHERE id = 1").Scan(append(ck.summed.into(), &ck.purged)...),
		t.row(ctx, "SELECT COUNT(*) FROM exchanges e LEFT JOIN exchange_records r ON r.seq = e.seq WHERE r.seq IS NULL").Scan(&bare),
	)
	switch most := slices.Max(ck.summed[reachFirst:]); {
	case err != nil:
		return c, s.unread(ctx, "check the store", err)
	case bare > 0:
		return c, fmt.Errorf("%d exchanges have no record", bare)
	case most > last && ((most+1)%blockSize > 0 || ck.purged == 0 && most > last|(blockSize-1)):
		// More than the last is the end of a block that was closed: of that one, or of one out of which all were deleted.
		return c, fmt.Errorf("exchanges are summed up to %d, and the last is %d", most, last)
	}
	err = ck.sums(ctx)
	c.Summed, c.held = ck.summed[reachFirst], ck.held
	if err != nil || s.schema.Load() < ledgerSchema {
		return c, err
	}
	report, err := ledger.CheckAlone(ctx, s)
	if err == nil && len(report.Findings) > 0 {
		err = fmt.Errorf("the ledger does not fit: %s", &report.Findings[0])
	}
	return c, err
}

// ledgerSchema is the first schema that has one.
const ledgerSchema = 18

// How much time is checked in one go, in microseconds, so that what is held of it does not grow with the age of a store. It is
// whole spans of every level. Details are in no order of time, and read whole each time.
const (
	sumsAtOnce    = 7 * day      // by the minute
	detailsAtOnce = 52 * 7 * day // by the hour
)

// A checking compares each level of sums with the exchanges up to the last that it holds, span by span.
type checking struct {
	tx

	summed reached
	purged int64 // exchanges that began before it may be gone
	held   int   // sums at once, at most
}

// sums goes through all time, but for where there is nothing, first for sums and then for details.
func (c *checking) sums(ctx context.Context) error {
	details := slices.IndexFunc(sumLevels, func(l level) bool { return l.table == inDetails }) // they are the last
	return errors.Join(c.through(ctx, sumLevels[:details], minute, sumsAtOnce), c.through(ctx, sumLevels[details:], hour, detailsAtOnce))
}

// through checks levels of which none has spans narrower than a width.
func (c *checking) through(ctx context.Context, levels []level, width, atOnce int64) error {
	for from := int64(math.MinInt64); ; {
		at, some, err := c.next(ctx, levels, from)
		if err != nil || !some {
			return err
		}
		p := piece{from: at / atOnce * atOnce, to: math.MaxInt64}
		if p.from < math.MaxInt64-atOnce {
			p.to = p.from + atOnce
		}
		if err := c.during(ctx, p, levels, width); err != nil || p.to == math.MaxInt64 {
			return err
		}
		from = p.to
	}
}

// next finds a time from which on there is nothing, back to another: the first sum behind that, or the first exchange.
func (c *checking) next(ctx context.Context, levels []level, from int64) (at int64, some bool, err error) {
	take := func(first sql.NullInt64) {
		if first.Valid && (!some || first.Int64 < at) {
			at, some = first.Int64, true
		}
	}
	for _, l := range append(slices.Clip(levels), purgedDays, purgedTagDays) {
		var start sql.NullInt64
		if err := c.row(ctx, "SELECT MIN(start) FROM "+l.table+" WHERE level = ? AND start >= ?", l.id, from/l.width).Scan(&start); err != nil {
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
	last := slices.Max(c.summed[reachFirst:])
	across.and("b.block <= ? AND +e.seq <= ?", last/blockSize, last)
	for query, args := range map[string][]any{
		"SELECT MIN(first_time) FROM exchange_blocks WHERE first_time >= ? AND block <= ?": {from, last / blockSize},
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
func (c *checking) during(ctx context.Context, p piece, levels []level, width int64) error {
	var plain, tagged spans // of exchanges, and of exchanges once for each of their tags
	last := int64(-1)
	for _, l := range levels {
		if c.summed.of(l) != last { // seldom: levels are in the order of their reach, and nearly always have the same
			last = c.summed.of(l)
			look := p.ofExchanges(c.d, &grouping{}, &choice{}, &reached{reachFirst: last})
			var err error
			if plain, err = c.ofExchanges(ctx, look, width, "", printsOf(levels, false, rowColumns, "1")); err != nil {
				return err
			}
			if tagged, err = c.ofExchanges(ctx, look, hour, " LEFT JOIN exchange_tags t ON t.seq = e.seq", printsOf(levels, true, rowColumns, "1")); err != nil {
				return err
			}
		}
		of, narrow := plain, width
		if l.tells(byTag) {
			of, narrow = tagged, hour
		}
		want := of.widened(l.width/narrow, printOf(levels, &l))
		p.level = &l
		look, prints := p.ofSums(&choice{}), printsOf([]level{l}, l.tells(byTag), levelColumns, "requests")
		query := "SELECT start, " + summingLevels[true] + prints.text() + " FROM " + l.table + look.where() + " GROUP BY 1"
		got, err := c.spans(ctx, len(prints), query, look.args)
		if err != nil {
			return err
		}
		c.held = max(c.held, len(plain)+len(tagged)+len(want)+len(got))
		fields := len(sumFields)
		if last != c.summed[reachExtras] { // a version that knows none has summed up, and they are still to come
			fields = plainFields
		}
		if p.from < c.purged {
			if err := c.withPurged(ctx, &l, p, want, got, fields); err != nil {
				return err
			}
		}
		if err := l.compare(want, got, fields); err != nil {
			return err
		}
	}
	return nil
}

// withPurged compares where exchanges were deleted, and takes out what was compared. By the day, what is left of them and what
// was deleted make up the sums; in shorter spans, it is no more than those.
func (c *checking) withPurged(ctx context.Context, l *level, p piece, want, got spans, fields int) error {
	p.level = &purgedDays
	if l.tells(byTag) {
		p.level = &purgedTagDays
	}
	look := p.ofSums(&choice{})
	gone, err := c.spans(ctx, 0, "SELECT start, "+summingLevels[true]+" FROM usage_sums"+look.where()+" GROUP BY 1", look.args)
	if err != nil {
		return err
	}
	wants, gots, until := gone, spans{}, (c.purged+day-1)/day
	for start, w := range want {
		if at := start * l.width / day; at < until {
			wants.at(at).add(&w.sums)
			if g := got[start]; g == nil || !g.covers(&w.sums, fields) {
				return l.differ(start, "less than there is")
			}
		}
	}
	for start, g := range got {
		if at := start * l.width / day; at < until {
			gots.at(at).add(&g.sums)
		}
	}
	for at := range wants {
		if at >= until {
			return l.differ(at*day/l.width, "something was deleted that was not due")
		}
	}
	if err := (&level{id: l.id, width: day}).compare(wants, gots, fields); err != nil {
		return err
	}
	over := func(start int64, _ *spanSum) bool { return start*l.width/day < until }
	maps.DeleteFunc(want, over)
	maps.DeleteFunc(got, over)
	return nil
}

// ofExchanges sums exchanges, which may be joined with their tags.
func (c *checking) ofExchanges(ctx context.Context, look *search, width int64, join string, prints printing) (spans, error) {
	query := "SELECT e.time / " + decimal(width) + ", " + summingRows[true] + prints.text() + " FROM " + look.from() + joinExtras + join + look.where() + " GROUP BY 1"
	return c.spans(ctx, len(prints), query, look.args)
}

// spans reads sums, and behind them so many prints.
func (c *checking) spans(ctx context.Context, prints int, query string, args []any) (spans, error) {
	rows, err := c.QueryContext(ctx, c.d.rebind(query), args...)
	all := spans{}
	return all, each(rows, err, func(r scanner) error {
		more := spanSum{prints: make([]int64, prints)}
		var into []any
		for i := range more.prints {
			into = append(into, &more.prints[i])
		}
		k, s, err := (&grouping{width: 1, halve: true}).scan(r, into...)
		if err != nil {
			return err
		}
		more.sums = *s
		all[k.span] = &more
		return nil
	})
}

// printsOf are columns that tell for each level, of those with tags or of the others, whether what is summed is under the names
// that it should be under: numbers made of the names, times the exchanges under them.
func printsOf(levels []level, tags bool, columns [dimensions]string, times string) (all printing) {
	primes := [dimensions]int{1009, 7919, 104729, 611953, 224737, 350377, 746773}
	for _, l := range levels {
		if l.tells(byTag) != tags {
			continue
		}
		var terms []string
		for _, d := range l.by {
			terms = append(terms, fmt.Sprintf("%s * %d", columns[d], primes[d]))
		}
		all = append(all, fmt.Sprintf("CAST(SUM(((%s) & 1048575) * %s) AS BIGINT)", strings.Join(terms, " + "), times))
	}
	return all
}

type printing []string

func (p printing) text() string { return ", " + strings.Join(p, ", ") }

// printOf says which of the prints of some levels is that of one.
func printOf(levels []level, l *level) int {
	n := 0
	for _, other := range levels {
		if other.id == l.id {
			break
		}
		if other.tells(byTag) == l.tells(byTag) {
			n++
		}
	}
	return n
}

// A spanSum is what is summed of a span, and the prints of levels.
type spanSum struct {
	sums

	prints []int64
}

// spans are sums, each behind the number of its span.
type spans map[int64]*spanSum

// at is the sum of a span, which is made if there is none.
func (s spans) at(start int64) *spanSum {
	if s[start] == nil {
		s[start] = &spanSum{}
	}
	return s[start]
}

// covers reports whether nothing in so many fields of the sum is less than in another.
func (s *sums) covers(other *sums, fields int) bool {
	for i := range fields {
		if s[i] < other[i] {
			return false
		}
	}
	return true
}

// widened makes spans of so many, with one of the prints.
func (s spans) widened(times int64, which int) spans {
	all := spans{}
	for start, more := range s {
		had := all[start/times]
		if had == nil {
			had = &spanSum{prints: []int64{0}}
			all[start/times] = had
		}
		had.add(&more.sums)
		had.prints[0] += more.prints[which]
	}
	return all
}

// compare compares so many fields.
func (l *level) compare(want, got spans, fields int) error {
	starts := slices.Sorted(maps.Keys(want))
	for _, start := range append(starts, slices.Sorted(maps.Keys(got))...) {
		w, g := want[start], got[start]
		if w == nil {
			w = &spanSum{prints: make([]int64, len(g.prints))}
		}
		if g == nil {
			g = &spanSum{prints: make([]int64, len(w.prints))}
		}
		for i, name := range sumFields[:fields] {
			if w.sums[i] != g.sums[i] {
				return l.differ(start, fmt.Sprintf("%s is %d, and should be %d", name, g.sums[i], w.sums[i]))
			}
		}
		if !slices.Equal(w.prints, g.prints) {
			return l.differ(start, "some are under other names")
		}
	}
	return nil
}

func (l *level) differ(start int64, how string) error {
	return fmt.Errorf("the sums of level %d from %s are not those of the exchanges: %s", l.id, fromSpan(start, l.width).Format("2006-01-02 15:04"), how)
}
