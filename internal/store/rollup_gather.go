package store

import (
	"context"

	"github.com/penstock/penstock/internal/usage"
)

// maxFresh is how many exchanges may wait in memory to be summed up, as a multiple of what is summed at once; those beyond
// are read from the table again.
const maxFresh = 4

// freshen gathers exchanges that were just written, so that they need not be read again to be summed. before is the
// number of the exchange before them.
func (c *recorder) freshen(before int64, rows []row, atOnce int64) {
	if len(rows) == 0 {
		return
	}
	g := &c.fresh
	if before != g.last || g.sums == nil || g.last-g.first >= maxFresh*atOnce {
		g.begin(before)
	}
	for i := range rows {
		r := &rows[i]
		e := r.counted()
		g.take(&e, r.tags)
	}
}

// counted is what is summed of a row.
func (r *row) counted() counted {
	u, t := r.Usage, r.Timings
	e := counted{
		seq: r.seq, time: r.micros(),
		timed: usage.Timed{
			Failed: r.failed(), Stream: r.Stream, Total: max(t.TotalNS, 0), First: max(t.FirstNS, 0), Overhead: max(t.OverheadNS, 0),
			Output: max(u.Output, 0),
		},
		sums: sums{
			1, flag(r.failed()), flag(r.Unpriced), flag(r.CostUnknown()), flag(u.Estimated), max(u.Input, 0), max(u.Output, 0),
			max(u.CachedInput, 0), max(u.CacheWrite, 0), max(u.Reasoning, 0), max(int64(r.CostNano), 0),
		},
	}
	if r.extra() {
		e.sums.have(extrasIn(u))
	}
	n := &e.names
	n[byOrg], n[byProject], n[byKey], n[byUser], n[byModel], n[byTarget] = r.names[0], r.names[1], r.names[2], r.names[3], r.names[4], r.names[5]
	return e
}

// gather gives what the exchanges behind a number, up to another, add to sums: from memory if they lie there, and then up
// to the end of those, else from the table, up to the beginning of what lies in memory.
func (c *recording) gather(ctx context.Context, from, upTo int64) (g *gathering, to int64, fromMemory bool, err error) {
	g, to = &c.fresh, c.fresh.last
	fromMemory = g.sums != nil && g.first == from && to > from
	if !fromMemory {
		if to = upTo; c.fresh.first > from {
			to = min(to, c.fresh.first)
		}
		g = &gathering{}
		g.begin(from)
		if err = c.readInto(ctx, g, from, to); err != nil {
			return nil, 0, false, err
		}
	}
	g.derive()
	return g, to, fromMemory, nil
}

// readInto takes exchanges from the table.
func (c *recording) readInto(ctx context.Context, g *gathering, from, to int64) error {
	tags, err := c.tagsBetween(ctx, from, to)
	if err != nil {
		return err
	}
	more, err := c.extrasBetween(ctx, from, to)
	if err != nil {
		return err
	}
	rows, err := c.bind(ctx, toSum).QueryContext(c.tx.ctx, from, to)
	var e counted
	return each(rows, err, func(r scanner) error {
		if err := e.scan(r); err != nil {
			return err
		}
		e.sums.have(more[e.seq])
		g.take(&e, tags[e.seq])
		return nil
	})
}

func (c *recording) tagsBetween(ctx context.Context, from, to int64) (map[int64][]int64, error) {
	rows, err := c.bind(ctx, tagsToSum).QueryContext(c.tx.ctx, from, to)
	tags := map[int64][]int64{}
	return tags, each(rows, err, func(r scanner) error {
		var seq, tag int64
		err := r.Scan(&seq, &tag)
		tags[seq] = append(tags[seq], tag)
		return err
	})
}

// A counted is what is summed of an exchange.
type counted struct {
	seq, time int64
	names     [dimensions]int64 // but for its tags
	timed     usage.Timed
	sums      sums
}

// scan reads a row of toSum.
func (e *counted) scan(r scanner) error {
	var outcome, money int64
	n, t, s := &e.names, &e.timed, &e.sums
	err := r.Scan(&e.seq, &e.time, &n[byOrg], &n[byProject], &n[byKey], &n[byModel], &n[byTarget], &n[byUser],
		&outcome, &t.Total, &t.First, &t.Overhead, &t.Output, &s[5], &s[7], &s[8], &s[9], &money, &s[10])
	t.Failed, t.Stream = outcome&1 != 0, outcome&2 != 0
	s[0], s[1], s[2], s[3], s[4], s[6] = 1, outcome&1, money>>1&1, money>>2&1, money&1, t.Output
	return err
}
