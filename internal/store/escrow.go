package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/llm"
)

var _ escrow.Store = (*Store)(nil)

// Trade implements [escrow.Store]. It waits for nobody but who changes the same pools.
func (s *Store) Trade(ctx context.Context, h escrow.Holder, trades []escrow.Trade) (results []escrow.Result, err error) {
	if len(trades) == 0 {
		return nil, nil
	}
	err = s.changeIn(ctx, laneNone, "trade leases", func(t tx) error {
		keys := make([]escrow.Key, len(trades))
		for i := range trades {
			keys[i] = trades[i].Key
		}
		l, err := s.recordingOf(t).lockPools(ctx, keys)
		if err != nil {
			return err
		}
		now, err := s.clock(ctx, t)
		if err != nil {
			return err
		}
		ids := make([]any, 0, len(l.byID))
		for id := range l.byID {
			ids = append(ids, id)
		}
		if err := l.readLeases(ctx, leasesOf, ids); err != nil {
			return err
		}
		l.markStale(now - escrow.Life.Microseconds())
		results = make([]escrow.Result, len(trades))
		for i := range trades {
			results[i] = l.trade(h, &trades[i], now)
		}
		if err := l.save(ctx); err != nil {
			return err
		}
		return failpoint.Pass(failpoint.TradeInStore)
	})
	if err == nil {
		err = failpoint.Pass(failpoint.TradeCommitted)
	}
	if err != nil {
		return nil, err
	}
	return results, nil
}

// clock is the store's, in microseconds since 1970, asked in a tx or a view. Of a file it is that of the process that has it.
func (s *Store) clock(ctx context.Context, in interface {
	row(ctx context.Context, query string, args ...any) *sql.Row
}) (now int64, err error) {
	if s.d.alone {
		return micros(s.now()), nil
	}
	err = in.row(ctx, "SELECT "+s.d.now).Scan(&now)
	return now, err
}

// trade makes one trade in memory.
func (l *held) trade(h escrow.Holder, tr *escrow.Trade, now int64) (r escrow.Result) {
	p := l.pools[l.cleanKey(tr.Key)]
	p.take(tr.Terms)
	has := l.leases[tr.Lease]
	switch {
	case tr.End && (has == nil || has.gone || has.state != leaseOpen):
		r.Lost = has != nil && !has.gone
		return p.result(r)
	case has != nil && has.state != leaseOpen:
		r.Lost = true
		return p.result(r)
	case has == nil || has.gone:
		has = &lease{id: tr.Lease, pool: p.id, journal: h.Journal, run: h.Run, renewed: now}
		l.leases[tr.Lease] = has
	}
	if has.renewed < now-escrow.Life.Microseconds() {
		p.stale -= has.amount
	}
	has.renewed, has.changed, p.changed = now, true, true
	back := min(max(tr.Back, 0), has.amount)
	if tr.End {
		back, has.gone = has.amount, true
	}
	p.move(has, -back)
	if !tr.End {
		r.Granted = p.grant(tr, now)
		p.move(has, r.Granted)
	}
	r.Net, r.Left = has.net, has.amount
	// Somebody who asks for nothing learns whether it is the end by what a call has needed last.
	r.Tail = p.isTail(max(tr.Need, p.need), tr.Replicas)
	return p.result(r)
}

// take takes terms, if they are newer than those that are there.
func (p *pool) take(terms escrow.Terms) {
	if terms.Version <= p.version {
		return
	}
	if p.version == noTerms { // what was spent before anybody knew of a limit was within none
		p.Highest = p.used()
	}
	p.Limit, p.version, p.ends = terms.Limit, terms.Version, terms.End
	p.Highest = max(p.Highest, p.Limit)
	p.changed = true
}

// grant says how much a trade gets. Nobody who only wants gets something of what is left at the end.
func (p *pool) grant(tr *escrow.Trade, now int64) int64 {
	need, want := max(tr.Need, 0), max(tr.Want, 0)
	free := p.Free()
	if need > 0 {
		p.need = need
	}
	if need > free {
		p.wanted = now
		return 0
	}
	if p.isTail(max(need, p.need), tr.Replicas) {
		return need
	}
	return max(need, min(want, free/2/int64(max(tr.Replicas, 1))))
}

// isTail says whether what is free may not be enough for a call at each replica.
func (p *pool) isTail(need int64, replicas int) bool {
	return p.Free()/int64(max(replicas, 1)) < need
}

// move moves an amount from what is free to a lease, or back.
func (p *pool) move(to *lease, amount int64) {
	p.Held += amount
	to.amount += amount
	to.net = llm.Sum(to.net, amount)
}

// result adds the state, in which what is in leases that nobody renews is unknown.
func (p *pool) result(r escrow.Result) escrow.Result {
	r.State = p.State
	r.State.Held -= p.stale
	r.State.Unknown += p.stale
	return r
}

// late is how long a change may take to be seen after the time that it has on it, usually.
const late = time.Second

// Wanted implements [escrow.Store]. A pool is told of twice rather than not at all.
func (s *Store) Wanted(ctx context.Context, h escrow.Holder, since time.Time) (now time.Time, keys []escrow.Key, err error) {
	err = s.lookWith(ctx, s.watch, func(v view) error {
		at, err := s.clock(ctx, v)
		now = fromMicros(at)
		if err != nil || since.IsZero() {
			return err
		}
		rows, err := v.query(ctx, `SELECT p.rule, p.subject, p.start FROM budget_pools p WHERE p.wanted > 0 AND p.wanted >= ?
			AND EXISTS (SELECT 1 FROM budget_leases l WHERE l.pool = p.id AND l.journal = ? AND l.run = ? AND l.state = 0)
			ORDER BY p.rule, p.subject, p.start`, micros(since.Add(-late)), h.Journal, h.Run)
		keys, err = collect(rows, err, func(r scanner) (k escrow.Key, err error) { return k, r.Scan(&k.Rule, &k.Subject, &k.Start) })
		return err
	})
	if err != nil {
		return time.Time{}, nil, s.unread(ctx, "look for pools that somebody lacks", err)
	}
	return now, keys, nil
}

// releasedAtOnce is how many leases are given back in one transaction: others wait for their pools meanwhile.
const releasedAtOnce = 500

// ReleaseOlder implements [escrow.Store], in as many transactions as it takes; each is whole.
func (s *Store) ReleaseOlder(ctx context.Context, h escrow.Holder) error {
	for more := true; more; {
		err := s.changeIn(ctx, laneNone, "give back the leases of an earlier run", func(t tx) error {
			type leased struct {
				key escrow.Key
				id  string
			}
			rows, err := t.QueryContext(t.ctx, t.d.rebind(`SELECT p.rule, p.subject, p.start, l.id FROM budget_leases l JOIN budget_pools p ON p.id = l.pool
				WHERE l.journal = ? AND l.run <> ? AND l.state = 0 LIMIT ?`), t.d.args([]any{h.Journal, h.Run, releasedAtOnce})...)
			all, err := collect(rows, err, func(r scanner) (o leased, err error) {
				return o, r.Scan(&o.key.Rule, &o.key.Subject, &o.key.Start, &o.id)
			})
			more = len(all) == releasedAtOnce
			if err != nil || len(all) == 0 {
				return err
			}
			keys, ids := make([]escrow.Key, len(all)), make([]any, len(all))
			for i, o := range all {
				keys[i], ids[i] = o.key, o.id
			}
			l, err := s.recordingOf(t).lockPools(ctx, keys)
			if err != nil {
				return err
			}
			if err := l.readLeases(ctx, findLease, ids); err != nil {
				return err
			}
			for _, one := range l.leases {
				if one.state != leaseOpen { // somebody was quicker
					continue
				}
				p := l.byID[one.pool]
				p.move(one, -one.amount)
				p.changed, one.gone = true, true
			}
			if err := l.save(ctx); err != nil {
				return err
			}
			return failpoint.Pass(failpoint.ReleaseInStore)
		})
		if err == nil {
			err = failpoint.Pass(failpoint.Released)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
