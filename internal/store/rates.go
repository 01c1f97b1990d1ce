package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/rate"
)

var _ rate.Store = (*Store)(nil)

// rateStripes is how many locks there are for what replicas share of rates: whoever trades holds those of its amounts. They are the
// class rateClass and those after it, so they are nobody's lane.
const (
	rateStripes = 64
	rateClass   = laneClass + 0x100
	// rateForgotten is after how long nothing of a holder that is gone, or was not seen, can matter.
	rateForgotten = 10 * time.Minute
)

// RenewRates implements [rate.Store].
func (s *Store) RenewRates(ctx context.Context, h rate.Holder) (is bool, err error) {
	err = s.changeIn(ctx, laneNone, "renew what is held of rates", func(t tx) error {
		is = false
		var now int64
		if err := t.row(ctx, "SELECT "+s.d.now).Scan(&now); err != nil {
			return err
		}
		life := h.Life.Microseconds()
		n, err := t.exec(ctx, `UPDATE rate_holders SET since = CASE WHEN renewed < ? THEN ? ELSE since END, renewed = ?
			WHERE holder = ? AND gone = 0`, now-life/2, now, now, h.ID)
		if err == nil && n == 0 {
			n, err = t.exec(ctx, "INSERT INTO rate_holders (holder, since, renewed, gone) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING", h.ID, now, now)
		}
		if err != nil || n == 0 {
			return err
		}
		is = true
		if now%time.Minute.Microseconds() < rate.RenewEvery.Microseconds() { // once a minute is enough
			return t.forgetRates(ctx, h, now)
		}
		return nil
	})
	return is, err
}

// forgetRates takes away what is of no use any more: what was held by those that are gone for long, or have not been seen for long
// while the holder was there, and old wants.
func (t tx) forgetRates(ctx context.Context, h rate.Holder, now int64) error {
	long := now - rateForgotten.Microseconds()
	for _, query := range []string{
		"UPDATE rate_holders SET gone = 1 WHERE gone = 0 AND renewed < ? AND (SELECT since FROM rate_holders me WHERE me.holder = ?) < ?",
		"DELETE FROM rate_shares WHERE holder IN (SELECT holder FROM rate_holders WHERE gone = 1 AND renewed < ?)",
		"DELETE FROM rate_holders WHERE gone = 1 AND renewed < ?",
		"DELETE FROM rate_wants WHERE at < ?",
	} {
		args := []any{long, h.ID, long}
		if _, err := t.exec(ctx, query, args[:strings.Count(query, "?")]...); err != nil {
			return err
		}
	}
	return nil
}

// A rateShare is what somebody holds of an amount.
type rateShare struct {
	rate.Key
	holder                              string
	amount, keeps, back, renewed, since int64
	gone                                bool
}

// counts reports whether it is the holder's own.
func (r *rateShare) counts(now int64) bool { return !r.gone || r.renewed+r.keeps > now }

// TradeRates implements [rate.Store].
func (s *Store) TradeRates(ctx context.Context, h rate.Holder, trades []rate.Trade) (results []rate.Result, is bool, err error) {
	if len(trades) == 0 {
		return nil, true, nil
	}
	err = s.changeIn(ctx, laneNone, "share rates", func(t tx) error {
		results, is = nil, false
		if err := t.joinRates(ctx, trades); err != nil {
			return err
		}
		d := rateDesk{tx: t, holder: h, lacked: map[rate.Key]bool{}}
		err := t.row(ctx, "SELECT since, renewed, "+s.d.now+" FROM rate_holders WHERE holder = ? AND gone = 0", h.ID).Scan(&d.since, &d.renewed, &d.now)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		is = true
		results, err = d.trade(ctx, trades)
		return err
	})
	return results, is && err == nil, err
}

// joinRates waits until nobody trades in the same amounts, and keeps others from it until its end.
func (t tx) joinRates(ctx context.Context, trades []rate.Trade) error {
	if t.d.lockAll == "" {
		return nil
	}
	var stripes []int64
	for i := range trades {
		h := fnv.New32a()
		_, _ = h.Write([]byte(trades[i].Rule + "\x00" + trades[i].Subject + "\x00" + trades[i].Measure))
		stripes = append(stripes, rateClass+int64(h.Sum32()%rateStripes))
	}
	slices.Sort(stripes)
	_, err := t.exec(ctx, t.d.lockAll, slices.Compact(stripes))
	return err
}

// A rateDesk makes the trades of one transaction.
type rateDesk struct {
	tx
	holder              rate.Holder
	since, renewed, now int64
	lacked              map[rate.Key]bool
}

func (d *rateDesk) trade(ctx context.Context, trades []rate.Trade) ([]rate.Result, error) {
	held, err := d.read(trades)
	if err != nil {
		return nil, err
	}
	if err := d.declareGone(ctx, trades, held); err != nil {
		return nil, err
	}
	results := make([]rate.Result, len(trades))
	var write, drop []any
	for i := range trades {
		t, r := &trades[i], &results[i]
		free := t.Limit - t.Has - d.others(held[t.Key], &r.Back)
		r.Granted, r.Tail = t.Grant(free)
		r.Free = max(free-r.Granted, 0)
		if r.Granted < t.Need && r.Back > 0 {
			d.lacked[t.Key] = true
		}
		back := int64(0)
		if t.Back > 0 {
			back = d.now + t.Back.Microseconds()
		}
		if amount := t.Has + r.Granted; amount == 0 {
			drop = append(drop, t.Rule, t.Subject, t.Measure)
		} else {
			write = append(write, t.Rule, t.Subject, t.Measure, d.holder.ID, amount, t.Keeps.Microseconds(), back)
		}
	}
	return results, d.write(ctx, write, drop)
}

// read gives who holds what of the amounts.
func (d *rateDesk) read(trades []rate.Trade) (map[rate.Key][]rateShare, error) {
	keys := make([]any, 0, 3*len(trades)+1)
	for i := range trades {
		keys = append(keys, trades[i].Rule, trades[i].Subject, trades[i].Measure)
	}
	rows, err := d.QueryContext(d.ctx, d.d.rebind(`WITH k (rule, subject, measure) AS (VALUES `+places(len(trades), 3)+`)
		SELECT s.rule, s.subject, s.measure, s.holder, s.amount, s.keeps, s.back, h.renewed, h.since, h.gone
		FROM k JOIN rate_shares s ON s.rule = k.rule AND s.subject = k.subject AND s.measure = k.measure
		JOIN rate_holders h ON h.holder = s.holder
		WHERE s.holder <> ?`), d.d.args(append(keys, d.holder.ID))...)
	held := map[rate.Key][]rateShare{}
	return held, each(rows, err, func(row scanner) error {
		var r rateShare
		err := row.Scan(&r.Rule, &r.Subject, &r.Measure, &r.holder, &r.amount, &r.keeps, &r.back, &r.renewed, &r.since, &r.gone)
		held[r.Key] = append(held[r.Key], r)
		return err
	})
}

// others is the sum of what others hold, and after how long some of it may come back, 0 if they hold nothing.
func (d *rateDesk) others(held []rateShare, soonest *time.Duration) (sum int64) {
	for i := range held {
		r := &held[i]
		if !r.counts(d.now) {
			continue
		}
		sum += r.amount
		back := max(time.Duration(r.back-d.now)*time.Microsecond, time.Second)
		if *soonest == 0 || back < *soonest {
			*soonest = back
		}
	}
	return sum
}

// declareGone looks at the amounts that lack something, and declares those of their holders gone that have not renewed for too long.
func (d *rateDesk) declareGone(ctx context.Context, trades []rate.Trade, held map[rate.Key][]rateShare) error {
	suspects := map[string]bool{}
	var ignored time.Duration
	for i := range trades {
		t := &trades[i]
		if t.Limit-t.Has-d.others(held[t.Key], &ignored) >= t.Need {
			continue
		}
		for _, r := range held[t.Key] {
			if !r.gone && d.renewed-max(r.renewed, d.since) >= d.holder.Life.Microseconds() {
				suspects[r.holder] = false
			}
		}
	}
	for _, holder := range sorted(suspects) {
		// One that renews meanwhile is not gone: the row is looked at again when its transaction has ended.
		n, err := d.exec(ctx, "UPDATE rate_holders SET gone = 1 WHERE holder = ? AND gone = 0 AND renewed <= ?",
			holder, d.renewed-d.holder.Life.Microseconds())
		if err != nil {
			return err
		}
		suspects[holder] = n > 0
	}
	for _, all := range held {
		for i := range all {
			all[i].gone = all[i].gone || suspects[all[i].holder]
		}
	}
	return nil
}

func sorted(set map[string]bool) []string {
	all := make([]string, 0, len(set))
	for s := range set {
		all = append(all, s)
	}
	slices.Sort(all)
	return all
}

// write keeps what the holder has now, and what was lacking.
func (d *rateDesk) write(ctx context.Context, write, drop []any) error {
	if len(write) > 0 {
		_, err := d.exec(ctx, "INSERT INTO rate_shares (rule, subject, measure, holder, amount, keeps, back) VALUES "+places(len(write)/7, 7)+
			" ON CONFLICT (rule, subject, measure, holder) DO UPDATE SET amount = excluded.amount, keeps = excluded.keeps, back = excluded.back", write...)
		if err != nil {
			return err
		}
	}
	if len(drop) > 0 {
		_, err := d.exec(ctx, "DELETE FROM rate_shares WHERE holder = ? AND (rule, subject, measure) IN (VALUES "+places(len(drop)/3, 3)+")",
			append([]any{d.holder.ID}, drop...)...)
		if err != nil {
			return err
		}
	}
	var wants []any
	for k := range d.lacked {
		wants = append(wants, k.Rule, k.Subject, k.Measure, d.now)
	}
	if len(wants) == 0 {
		return nil
	}
	_, err := d.exec(ctx, "INSERT INTO rate_wants (rule, subject, measure, at) VALUES "+places(len(wants)/4, 4)+
		" ON CONFLICT (rule, subject, measure) DO UPDATE SET at = excluded.at", wants...)
	return err
}

// places are the placeholders of rows of so many columns.
func places(rows, columns int) string {
	one := "(" + strings.Repeat("?, ", columns-1) + "?)"
	return one + strings.Repeat(", "+one, rows-1)
}

// WantedRates implements [rate.Store].
func (s *Store) WantedRates(ctx context.Context, h rate.Holder, since time.Time) (now time.Time, keys []rate.Key, err error) {
	err = s.lookWith(ctx, s.watch, func(v view) error {
		var at int64
		if err := v.row(ctx, "SELECT "+s.d.now).Scan(&at); err != nil {
			return err
		}
		now = fromMicros(at)
		rows, err := v.query(ctx, `SELECT w.rule, w.subject, w.measure FROM rate_wants w
			JOIN rate_shares s ON s.rule = w.rule AND s.subject = w.subject AND s.measure = w.measure WHERE s.holder = ? AND w.at > ?`, h.ID, micros(since))
		keys, err = collect(rows, err, func(row scanner) (k rate.Key, err error) { return k, row.Scan(&k.Rule, &k.Subject, &k.Measure) })
		return err
	})
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("read what is wanted of rates: %w", err)
	}
	return now, keys, nil
}

// LeaveRates implements [rate.Store].
func (s *Store) LeaveRates(ctx context.Context, h rate.Holder) error {
	return s.changeIn(ctx, laneNone, "leave what is held of rates", func(t tx) error {
		_, err := t.exec(ctx, "UPDATE rate_holders SET gone = 1, renewed = "+s.d.now+" WHERE holder = ? AND gone = 0", h.ID)
		return err
	})
}
