package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/penstock/penstock/internal/pipeline"
)

// A try whose end is unknown is so in its record for good. What it is settled at later is an extra of its exchange, so
// that sums say what is unknown now. It is counted when the exchange is in sums, and all at once: in the row of extras, in each level,
// and in ledger_unknowns, which says what is still to be counted, whoever settled it.

const (
	uncounted = " FROM ledger_unknowns u JOIN ledger_entries p ON p.seq = u.entry JOIN ledger_entries e ON e.seq = u.settled " +
		"WHERE u.settled <> 0 AND u.counted = 0"
	findUncounted = "SELECT u.entry, p.exchange, e.amount" + uncounted + " AND p.exchange <= ? ORDER BY p.exchange, u.entry LIMIT ?"
	lastUncounted = "SELECT COALESCE(MAX(p.exchange), -1)" + uncounted
	setSettled    = "INSERT INTO exchange_extras (seq, settled, settled_nano) VALUES (?, ?, ?) ON CONFLICT (seq) DO UPDATE SET " +
		"settled = exchange_extras.settled + excluded.settled, settled_nano = exchange_extras.settled_nano + excluded.settled_nano"
)

// tellSums counts what was settled just now. A failure is no failure of that.
func (s *Store) tellSums(ctx context.Context) {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	for more := true; more; {
		var err error
		if more, err = s.countSettled(ctx); err != nil {
			s.log.Warn("what was settled is not in sums yet", "error", err)
			return
		}
	}
}

// countSettled counts some of what was settled, or first brings the sums up to it; more says that there is more of it.
func (s *Store) countSettled(ctx context.Context) (more bool, err error) {
	var need, last int64
	if err := s.watched(ctx, lastUncounted).Scan(&need); err != nil || need < 0 {
		return false, err
	}
	var at reached
	var told telling
	if err := s.watched(ctx, findSummed).Scan(append(at.into(), &last, &told.upTo, &told.gap)...); err != nil {
		return false, err
	}
	told.last = last
	switch seq := at[reachFirst]; {
	case seq < min(need, last):
		_, err = s.sumUp(ctx, seq, min(last, seq+s.atOnce))
	case at.least() < seq:
		err = s.refillSums(ctx, &at)
	case told.lacks():
		err = s.fillGap(ctx, &told)
	default:
		more, err = s.countSome(ctx)
		return more, err
	}
	return err == nil, err
}

// countSome counts what is settled of exchanges that are in sums. Nobody deletes those meanwhile, and whoever was about to
// looks at them again.
func (s *Store) countSome(ctx context.Context) (more bool, err error) {
	err = s.changeIn(ctx, laneSums, "count what was settled", func(t tx) error {
		if err := t.join(ctx, lanePurge); err != nil {
			return err
		}
		var at reached
		if err := t.row(ctx, "SELECT "+summedColumns).Scan(at.into()...); err != nil {
			return err
		}
		rows, err := t.QueryContext(ctx, t.d.rebind(findUncounted), at.least(), s.refill)
		all, err := collect(rows, err, func(r scanner) (u uncountedTry, err error) { return u, r.Scan(&u.entry, &u.exchange, &u.amount) })
		if err != nil || len(all) == 0 {
			more = false
			return err
		}
		more = int64(len(all)) == s.refill
		r := &recording{&s.records, t, map[string]statement{}}
		g := &gathering{}
		g.begin(0)
		came := map[int64]int64{}
		for _, u := range all {
			came[u.exchange] += inBounds(u.amount)
			if _, err := t.exec(ctx, "UPDATE ledger_unknowns SET counted = 1 WHERE entry = ?", u.entry); err != nil {
				return err
			}
		}
		for seq, amount := range came {
			err := r.settle(ctx, g, seq, amount, func(err error) {
				s.log.Warn("a record cannot be read, so what its tries were settled at is not in sums", "number", seq, "error", err)
			})
			if err != nil {
				return err
			}
		}
		g.derive()
		for _, l := range sumLevels {
			if err := r.addSums(ctx, l, extrasOf(g.sums[l.id])); err != nil {
				return err
			}
		}
		return t.bump(ctx, "holds")
	})
	return more && err == nil, err
}

// An uncountedTry is one that was settled, and is not counted.
type uncountedTry struct{ entry, exchange, amount int64 }

// settle takes note of what tries of an exchange came to, and whether none of it is unknown any more. One that is deleted has
// nothing more to be told of; one that cannot be read is told and passed over, so that neither sums nor retention stop for it.
func (c *recording) settle(ctx context.Context, g *gathering, seq, amount int64, unread func(error)) error {
	var text []byte
	var before int64
	err := c.tx.row(ctx, "SELECT r.record, COALESCE(x.settled, 0) FROM exchange_records r LEFT JOIN exchange_extras x ON x.seq = r.seq WHERE r.seq = ?", seq).Scan(&text, &before)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	record, err := decode(text)
	if err != nil {
		unread(err)
		return nil
	}
	settled := int64(1)
	for i := range record.Tries {
		if t := &record.Tries[i]; t.Outcome == pipeline.Unknown {
			var n int64
			if err := c.tx.row(ctx, "SELECT COUNT(*) FROM ledger_unknowns WHERE try = ? AND settled <> 0", t.ID).Scan(&n); err != nil {
				return err
			}
			settled = min(settled, n)
		}
	}
	settled -= before
	if _, err := c.tx.exec(ctx, setSettled, seq, settled, amount); err != nil {
		return err
	}
	tags, err := c.tagsBetween(ctx, seq-1, seq)
	if err != nil {
		return err
	}
	rows, err := c.bind(ctx, toSum).QueryContext(c.tx.ctx, seq-1, seq)
	return each(rows, err, func(r scanner) error {
		var e counted
		if err := e.scan(r); err != nil {
			return err
		}
		e.sums = sums{}
		e.sums[settledField], e.sums[settledField+1] = settled, amount
		g.take(&e, tags[seq])
		return nil
	})
}
