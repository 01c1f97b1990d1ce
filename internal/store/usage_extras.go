package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/llm"
)

// Extras are what is summed of few exchanges only: the parts of their usage, and what is settled later of their tries. An exchange that
// has none costs nothing for them: it has no row in exchange_extras, and sums of such exchanges have nulls. That is why they are no
// columns of exchanges, where each would be written, and read, with every call.
//
// Versions of before write exchanges without them, and sum up without them. What they wrote is in a gap; fillGap
// reads extras out of the records there. How far they were summed up is a reach of its own, of which all levels have the columns.

// plainFields is how many of sumFields every exchange has.
const plainFields = 11

// settledField is where what is settled later stands in sumFields: exchanges, and behind it what they came to.
const settledField = len(sumFields) - 2

// extraFields are those that few have.
var extraFields = sumFields[plainFields:]

var (
	extrasColumns = "seq, " + strings.Join(extraFields, ", ")
	extrasToSum   = "SELECT " + extrasColumns + " FROM exchange_extras WHERE seq > ? AND seq <= ?"
)

// joinExtras joins to exchanges e what they have.
const joinExtras = " LEFT JOIN exchange_extras x ON x.seq = e.seq"

// extras are the fields of extraFields.
type extras [len(sumFields) - plainFields]int64

// extra reports whether there are any in a sum.
func (s *sums) extra() bool { return extras(s[plainFields:]) != extras{} }

// have gives a sum its extras.
func (s *sums) have(x extras) { copy(s[plainFields:], x[:]) }

// onlyExtras is a sum of nothing but its extras.
func (s *sums) onlyExtras() *sums {
	only := &sums{}
	only.have(extras(s[plainFields:]))
	return only
}

// extrasOf are sums of nothing but extras, where there are any.
func extrasOf(all map[sumOf]*sums) map[sumOf]*sums {
	some := map[sumOf]*sums{}
	for k, s := range all {
		if s.extra() {
			some[k] = s.onlyExtras()
		}
	}
	return some
}

func withoutExtras(all map[sumOf]*sums) map[sumOf]*sums {
	bare := make(map[sumOf]*sums, len(all))
	for k, s := range all {
		plain := *s
		plain.have(extras{})
		bare[k] = &plain
	}
	return bare
}

// extra reports whether the exchange has a row of extras.
func (r *row) extra() bool { return r.Usage.Parts != llm.Parts{} }

// extrasIn are the extras of a usage. What is below zero counts as nothing, as in all that is summed.
func extrasIn(u llm.Usage) (x extras) {
	for i, part := range u.Parts.All() {
		x[i] = max(*part, 0)
	}
	return x
}

// values appends what extrasColumns names.
func (x *extras) values(seq int64, args []any) []any {
	args = append(args, seq)
	for _, v := range x {
		args = append(args, v)
	}
	return args
}

// addExtras writes what few rows have.
func (c *recording) addExtras(ctx context.Context, rows []row) error {
	var args []any
	for i := range rows {
		if rows[i].extra() {
			x := extrasIn(rows[i].Usage)
			args = x.values(rows[i].seq, args)
		}
	}
	_, err := c.insertAll(ctx, addExtras, 1+len(extraFields), args)
	return err
}

func (c *recording) extrasBetween(ctx context.Context, from, to int64) (map[int64]extras, error) {
	return extrasFrom(c.bind(ctx, extrasToSum).QueryContext(c.tx.ctx, from, to))
}

// extrasFrom reads the rows of extrasToSum, by the numbers of exchanges.
func extrasFrom(rows *sql.Rows, err error) (map[int64]extras, error) {
	all := map[int64]extras{}
	return all, each(rows, err, func(r scanner) error {
		var seq int64
		var x extras
		into := []any{&seq}
		for i := range x {
			into = append(into, &x[i])
		}
		err := r.Scan(into...)
		all[seq] = x
		return err
	})
}

// A telling is how far it is known which exchanges have extras.
type telling struct {
	upTo int64 // those up to it were written with them, or are in a gap
	gap  int64 // the first exchange of the first gap; 0 if there is none
	last int64 // the last exchange
}

func (t *telling) lacks() bool { return t.upTo < t.last || t.gap > 0 }

// lacksUpTo is lacks, of what is up to an exchange.
func (t *telling) lacksUpTo(end int64) bool { return t.upTo < t.last || t.gap > 0 && t.gap <= end }

// noteGap takes note of exchanges that another version wrote. Whoever does is in the lane of records.
func (t tx) noteGap(ctx context.Context, first, last int64) error {
	_, err := t.exec(ctx, "INSERT INTO exchange_gaps (first, last) VALUES (?, ?) ON CONFLICT DO NOTHING", first, last)
	return err
}

// fillGap takes note of what other versions have written last, if there is any, and else writes the extras of some exchanges
// of the first gap, and adds them to sums that were made without them.
func (s *Store) fillGap(ctx context.Context, told *telling) error {
	if told.upTo < told.last {
		err := s.changeIn(ctx, laneRecords, "note what another version wrote", func(t tx) error {
			var upTo, last int64
			err := t.row(ctx, "SELECT extras, (SELECT COALESCE(MAX(seq), 0) FROM exchanges) FROM ledger_state WHERE id = 1").Scan(&upTo, &last)
			if err != nil || upTo >= last {
				return err
			}
			if _, err := t.exec(ctx, "UPDATE ledger_state SET extras = ? WHERE id = 1", last); err != nil {
				return err
			}
			return t.noteGap(ctx, upTo+1, last)
		})
		if err == nil {
			*told = telling{upTo: told.last, last: told.last, gap: told.upTo + 1}
		}
		return err
	}
	return s.changeIn(ctx, laneSums, "add what other versions wrote to sums", func(t tx) error {
		var first, last int64
		err := t.row(ctx, "SELECT first, last FROM exchange_gaps ORDER BY first LIMIT 1").Scan(&first, &last)
		if errors.Is(err, sql.ErrNoRows) { // another replica was there
			told.gap = 0
			return nil
		}
		if err != nil {
			return err
		}
		to := min(last, first+s.refill-1)
		r := &recording{&s.records, t, map[string]statement{}}
		if err := r.fill(ctx, first, to, func(seq int64, err error) {
			s.log.Warn("a record cannot be read, so the parts of its usage are not in sums", "number", seq, "error", err)
		}); err != nil {
			return err
		}
		if to < last {
			_, err = t.exec(ctx, "UPDATE exchange_gaps SET first = ? WHERE first = ?", to+1, first)
			return err
		}
		if _, err := t.exec(ctx, "DELETE FROM exchange_gaps WHERE first = ?", first); err != nil {
			return err
		}
		return t.row(ctx, "SELECT COALESCE(MIN(first), 0) FROM exchange_gaps").Scan(&told.gap)
	})
}

// fill writes the extras that records have, of exchanges from one number to another, and adds them to sums as far as those hold
// extras: what is behind comes by itself. A record that cannot be read is told and passed over.
func (c *recording) fill(ctx context.Context, first, last int64, unread func(seq int64, err error)) error {
	found := map[int64]extras{}
	rows, err := c.QueryContext(ctx, c.tx.d.rebind("SELECT seq, record FROM exchange_records WHERE seq >= ? AND seq <= ? ORDER BY seq"), first, last)
	var args []any
	err = each(rows, err, func(r scanner) error {
		var seq int64
		var text sql.RawBytes
		if err := r.Scan(&seq, &text); err != nil {
			return err
		}
		x, err := extrasOfText(text)
		if err != nil {
			unread(seq, err)
		}
		if x != (extras{}) {
			found[seq] = x
			args = x.values(seq, args)
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		return err
	}
	if _, err := c.insertAll(ctx, addExtras, 1+len(extraFields), args); err != nil {
		return err
	}
	var summed reached
	if err := c.tx.row(ctx, "SELECT "+summedColumns).Scan(summed.into()...); err != nil {
		return err
	}
	g := &gathering{}
	g.begin(first - 1)
	if err := c.readInto(ctx, g, first-1, min(last, summed[reachExtras])); err != nil {
		return err
	}
	g.derive()
	for _, l := range sumLevels {
		if err := c.addSums(ctx, l, extrasOf(g.sums[l.id])); err != nil {
			return err
		}
	}
	return nil
}

// partMarks are what a record has that has parts: nearly all have none, and are not decoded.
var partMarks = func() (all [][]byte) {
	for _, name := range llm.PartNames {
		all = append(all, []byte(`"`+name+`":`))
	}
	return all
}()

// extrasOfText reads extras out of a record.
func extrasOfText(text []byte) (x extras, err error) {
	if !slices.ContainsFunc(partMarks, func(mark []byte) bool { return bytes.Contains(text, mark) }) {
		return x, nil
	}
	var record struct {
		Usage llm.Usage `json:"usage"`
	}
	if err := json.Unmarshal(text, &record); err != nil {
		return x, err
	}
	return extrasIn(record.Usage), nil
}
