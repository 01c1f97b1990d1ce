package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// A piece is a part of what is asked for that is answered from one place: from the sums of a level, or, without a level,
// from the exchanges themselves.
type piece struct {
	level    *level
	from, to int64 // microseconds; of a level, whole spans of it
	unsummed bool  // of exchanges, those that sums do not hold, and not those that they do
	late     bool  // of exchanges, only the extras, which sums do not hold yet of those that they do
}

// cut cuts a time into pieces: the widest spans that lie in it whole, what is left at both ends into narrower ones, and
// what is less than the narrowest is taken from exchanges. Levels are in order, the widest first.
func cut(levels []level, from, to int64) []piece {
	if from >= to {
		return nil
	}
	if len(levels) == 0 {
		return []piece{{from: from, to: to}}
	}
	l := levels[0]
	first, last := from, to-to%l.width
	if over := from % l.width; over > 0 {
		first += l.width - over
	}
	if first >= last {
		return cut(levels[1:], from, to)
	}
	all := append(cut(levels[1:], from, first), piece{level: &l, from: first, to: last})
	return append(all, cut(levels[1:], last, to)...)
}

// A view reads from the store as it was at one moment.
type view struct {
	*sql.Tx
	d   *dialect
	ctx context.Context //nolint:containedctx // as in tx
}

func (v view) query(_ context.Context, query string, args ...any) (*sql.Rows, error) {
	return v.QueryContext(v.ctx, v.d.rebind(query), v.d.args(args)...)
}

func (v view) row(_ context.Context, query string, args ...any) *sql.Row {
	return v.QueryRowContext(v.ctx, v.d.rebind(query), v.d.args(args)...)
}

// look calls f with a view.
func (s *Store) look(ctx context.Context, f func(view) error) error {
	return s.lookWith(ctx, s.read, f)
}

func (s *Store) lookWith(ctx context.Context, db *sql.DB, f func(view) error) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	t, err := db.BeginTx(ctx, s.d.snapshot)
	if err != nil {
		return s.timed(ctx, err)
	}
	defer func() { _ = t.Rollback() }() // it has changed nothing
	return s.timed(ctx, f(view{t, s.d, ctx}))
}

// A question is what a report is about: a time, and the names that are chosen, of which "" chooses nothing.
type question struct {
	from, to time.Time // zero does not bound
	names    [dimensions]string
	users    []string // any of them, of which "" is nobody; nil chooses nothing
}

// A choice are the numbers of names, of which an exchange has to have one in each dimension that has any.
type choice [dimensions][]int64

// chosen is the choice of a question; ok is false if no exchange can fit.
func (s *Store) chosen(ctx context.Context, q *question) (c choice, ok bool, err error) {
	for d, name := range q.names {
		if name == "" {
			continue
		}
		id, err := s.nameID(ctx, name)
		if err != nil || id == 0 {
			return c, false, err
		}
		c[d] = []int64{id}
	}
	if q.users == nil || len(c[byUser]) > 0 {
		return c, true, nil
	}
	c[byUser], err = s.nameIDs(ctx, q.users)
	return c, len(c[byUser]) > 0, err
}

// and looks for what is chosen of a dimension.
func (c *choice) and(q *search, d int, column string) {
	switch ids := c[d]; len(ids) {
	case 0:
	case 1:
		q.and(column+" = ?", ids[0])
	default:
		q.and(column+" IN ("+questionMarks(len(ids))+")", anys(ids)...)
	}
}

// levelsFor are the levels from which a grouping of a choice can be answered, the widest first; of those that are as wide,
// the one that tells least apart. summed is how far each reaches.
func (g *grouping) levelsFor(levels []level, chosen *choice, summed reached) []level {
	var fit []level
	for _, l := range levels {
		enough := g.width%l.width == 0 && summed.of(l) == summed[reachFirst]
		for _, d := range []int{byTag, byUser} { // of which there are many, so their sums are apart
			enough = enough && l.tells(d) == (g.has(d) || len(chosen[d]) > 0)
			enough = enough && (l.table == inSums || !l.tells(d) || len(chosen[d]) > 0) // details are read one by one
		}
		for d := range dimensions {
			enough = enough && (l.tells(d) || !g.has(d) && len(chosen[d]) == 0)
		}
		if enough {
			fit = append(fit, l)
		}
	}
	slices.SortStableFunc(fit, func(a, b level) int {
		return cmp.Or(cmp.Compare(b.width, a.width), cmp.Compare(len(a.by), len(b.by)))
	})
	return slices.CompactFunc(fit, func(a, b level) bool { return a.width == b.width })
}

// bounds are the times of a question, in microseconds. Where nothing lies beyond them they are moved outwards to whole
// days.
func bounds(q *question, oldest, newest int64) (from, to int64) {
	from, to = max(micros(q.from), 0), (newest/day+1)*day
	if from <= oldest {
		from = oldest / day * day
	}
	if !q.to.IsZero() && q.to.UnixMicro() <= newest {
		to = q.to.UnixMicro()
	}
	return from, to
}

// pieces calls do for each piece of what a question asks for, all as it was at one moment. Sums hold the exchanges up to some
// number; those behind it, which are few once the sums of a database have been made, are a piece of their own.
func (s *Store) pieces(ctx context.Context, g grouping, levels []level, asked question, do func(view, piece, *search) error) error {
	ids, ok, err := s.chosen(ctx, &asked)
	if err != nil || !ok {
		return err
	}
	return s.look(ctx, func(v view) error {
		h, err := v.held()
		if err != nil {
			return err
		}
		from, to := bounds(&asked, h.oldest, h.newest)
		fit := g.levelsFor(levels, &ids, h.summed)
		for _, at := range g.spans(from, to) {
			for _, p := range append(h.withLate(cut(fit, at[0], at[1])), piece{from: at[0], to: at[1], unsummed: true}) {
				if p.from >= p.to {
					continue
				}
				q := p.ofSums(&ids)
				if p.level == nil {
					q = p.ofExchanges(s.d, &g, &ids, &h.summed)
					if !p.unsummed && !p.late && p.from < h.purged {
						return gone(h.purged, fit)
					}
				}
				if err := do(v, p, q); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// A holding is what the store has to answer from.
type holding struct {
	summed         reached
	purged         int64 // exchanges that began before it may be gone
	oldest, newest int64 // between which all lies; 0 where there is nothing
}

var holdingQuery = "SELECT " + summedColumns + ", purged_before, (SELECT MIN(first_time) FROM exchange_blocks), (SELECT MAX(last_time) FROM exchange_blocks), " +
	"(SELECT MIN(start) FROM usage_sums WHERE level = " + decimal(perMinute.id) + "), (SELECT MAX(start) FROM usage_sums WHERE level = " + decimal(perMinute.id) + ") " +
	"FROM usage_summed WHERE id = 1"

// held says what there is. Where exchanges were deleted, that reaches as far as their sums do.
func (v view) held() (h holding, err error) {
	var oldest, newest, first, last sql.NullInt64 // null where there is none
	err = v.row(v.ctx, holdingQuery).Scan(append(h.summed.into(), &h.purged, &oldest, &newest, &first, &last)...)
	h.oldest, h.newest = oldest.Int64, newest.Int64
	if begin := first.Int64 * minute; first.Valid && (!oldest.Valid || begin < h.oldest-h.oldest%minute) {
		h.oldest = begin
	}
	if end := (last.Int64+1)*minute - 1; last.Valid && (!newest.Valid || end-end%minute > h.newest) {
		h.newest = end
	}
	return h, err
}

// gone is the fault of a question about a time of which exchanges were deleted, that the levels which fit do not answer.
func gone(purged int64, fit []level) error {
	when := time.UnixMicro(purged).UTC()
	f := fault.New(fault.InvalidRequest, "Of exchanges before %s only sums are left, and not those that would answer this.", when.Format(time.RFC3339))
	f.Param = "from"
	from := when.Truncate(time.Minute).Add(time.Minute).Format(time.RFC3339)
	if len(fit) == 0 {
		f.Hint = "Ask from " + from + " on, or by less at once: what is summed by is said in docs/retention.md."
		return f
	}
	narrow := map[int64]string{minute: "minutes", hour: "hours (UTC)", day: "days (UTC)"}[fit[len(fit)-1].width]
	f.Hint = "Ask for whole " + narrow + ", or from " + from + " on."
	return f
}

// ofSums looks for a piece in a table of sums; nil if it is not in one.
func (p *piece) ofSums(chosen *choice) *search {
	if p.level == nil {
		return nil
	}
	q := &search{}
	q.and("level = ? AND start >= ? AND start < ?", p.level.id, p.from/p.level.width, p.to/p.level.width)
	for d, column := range levelColumns {
		chosen.and(q, d, column)
		if p.level.table == inDetails && d >= byUser && !p.level.tells(d) {
			q.and(column + " = 0") // so that it is found by the key
		}
	}
	return q
}

// withLate adds to pieces that are answered from levels what those do not hold.
func (h *holding) withLate(pieces []piece) (all []piece) {
	if h.summed[reachExtras] >= h.summed[reachFirst] {
		return pieces
	}
	for _, p := range pieces {
		if all = append(all, p); p.level != nil {
			all = append(all, piece{from: p.from, to: p.to, late: true})
		}
	}
	return all
}

// ofExchanges looks for a piece among the exchanges, of which sums hold those up to a number.
func (p *piece) ofExchanges(d *dialect, g *grouping, chosen *choice, at *reached) *search {
	summed := at[reachFirst]
	q := &search{join: d.join, ofBlock: d.ofBlock}
	for d, ids := range chosen {
		if len(ids) == 1 && ids[0] > 0 && d != byOrg { // by which blocks are not told apart
			q.inBlock(ids[0])
		}
		if d == byTag && len(ids) > 0 && !g.has(byTag) {
			q.and("EXISTS (SELECT 1 FROM exchange_tags t WHERE t.seq = e.seq AND t.tag = ?)", ids[0])
			continue
		}
		chosen.and(q, d, rowColumns[d])
	}
	q.span(time.UnixMicro(p.from), time.UnixMicro(p.to))
	// The + keeps these from being taken, in place of the block's own numbers, for where to begin and end reading: an hour of
	// long ago would then be looked for in all that came after it.
	if p.late {
		q.and("b.block >= ? AND +e.seq > ?", at[reachExtras]/blockSize, at[reachExtras])
	}
	if p.unsummed {
		q.and("b.block >= ? AND +e.seq > ?", summed/blockSize, summed)
	} else {
		q.and("b.block <= ? AND +e.seq <= ?", summed/blockSize, summed)
	}
	q.args = append(q.joinArgs, q.args...)
	return q
}
