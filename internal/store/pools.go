package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/llm"
)

// The states of a lease.
const (
	leaseOpen     = iota // its amount is in held of its pool
	leaseByHand          // somebody has said what it came to; its amount is what no try has accounted for yet, and in nobody's held
	leaseRestored        // of before a restore: held, but neither renewed nor given back, for what was spent from it may be lost
)

// noTerms is the version of a pool that something was spent from before anybody told its terms.
const noTerms = -1

// mostAmount bounds what one try moves, so that sums of what providers report stay numbers: 4.5 million dollars, or as many
// millions of billions of tokens.
const mostAmount = 1 << 52

const (
	poolColumns  = "p.id, p.rule, p.subject, p.start, p.ends, p.version, p.allowed, p.highest, p.settled, p.held, p.unknown, p.overrun, p.need, p.wanted"
	leaseColumns = "id, pool, journal, run, amount, net, state, renewed"
	// leaseAgain changes a lease that is there. One of another pool stays as it is.
	leaseAgain = "ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, net = excluded.net, state = excluded.state, renewed = excluded.renewed " +
		"WHERE budget_leases.pool = excluded.pool"
	poolValues = ", 0, -1, 0, 0, 0, 0, 0, 0, 0, 0"
)

// What is run for pools and leases: for each of them, or with arrays for all at once. Pools are locked in the order of their keys
// before anything else, and whoever reads or changes a lease has locked its pool.
const (
	newPool     = "INSERT INTO budget_pools (" + poolNames + ") VALUES (?, ?, ?" + poolValues + ") ON CONFLICT DO NOTHING"
	newPoolMany = "INSERT INTO budget_pools (" + poolNames + ") SELECT k.rule, k.subject, k.start" + poolValues +
		" FROM unnest(?::text[], ?::text[], ?::bigint[]) AS k (rule, subject, start) ON CONFLICT DO NOTHING"
	poolNames    = "rule, subject, start, ends, version, allowed, highest, settled, held, unknown, overrun, need, wanted"
	findPool     = "SELECT " + poolColumns + " FROM budget_pools p WHERE p.rule = ? AND p.subject = ? AND p.start = ?"
	findPoolMany = "SELECT " + poolColumns + " FROM unnest(?::text[], ?::text[], ?::bigint[]) AS k (rule, subject, start) JOIN budget_pools p " +
		"ON p.rule = k.rule AND p.subject = k.subject AND p.start = k.start ORDER BY p.rule, p.subject, p.start FOR UPDATE OF p"
	setPool = "UPDATE budget_pools SET ends = ?, version = ?, allowed = ?, highest = ?, settled = ?, held = ?, unknown = ?, overrun = ?, " +
		"need = ?, wanted = ? WHERE id = ?"
	setPoolMany = "UPDATE budget_pools SET ends = n.ends, version = n.version, allowed = n.allowed, highest = n.highest, settled = n.settled, " +
		"held = n.held, unknown = n.unknown, overrun = n.overrun, need = n.need, wanted = n.wanted FROM unnest(?::bigint[], ?::bigint[], ?::bigint[], " +
		"?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[]) " +
		"AS n (ends, version, allowed, highest, settled, held, unknown, overrun, need, wanted, id) WHERE budget_pools.id = n.id"
	leasesOf      = "SELECT " + leaseColumns + " FROM budget_leases WHERE pool = ?"
	leasesOfMany  = "SELECT " + leaseColumns + " FROM budget_leases WHERE pool = ANY (?::bigint[])"
	findLease     = "SELECT " + leaseColumns + " FROM budget_leases WHERE id = ?"
	findLeaseMany = "SELECT " + leaseColumns + " FROM budget_leases WHERE id = ANY (?::text[])"
	setLease      = "INSERT INTO budget_leases (" + leaseColumns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?) " + leaseAgain
	setLeaseMany  = "INSERT INTO budget_leases (" + leaseColumns + ") SELECT * FROM unnest(?::text[], ?::bigint[], ?::text[], ?::text[], " +
		"?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[]) " + leaseAgain
	dropLease     = "DELETE FROM budget_leases WHERE id = ?"
	dropLeaseMany = "DELETE FROM budget_leases WHERE id = ANY (?::text[])"
)

// poolStatements has the statement with arrays behind that for one row, with the types of its arguments.
var poolStatements = map[string]bulk{
	newPool: {newPoolMany, "tti"}, findPool: {findPoolMany, "tti"}, setPool: {setPoolMany, strings.Repeat("i", 11)},
	leasesOf: {leasesOfMany, "i"}, findLease: {findLeaseMany, "t"}, setLease: {setLeaseMany, "tittiiii"}, dropLease: {dropLeaseMany, "t"},
	addToAccount: {addToAccountMany, "iiiii"},
}

type bulk struct{ many, kinds string }

// A pool is one of [escrow] while it is locked. Its State is as the table has it: what is stale in leases is held.
type pool struct {
	escrow.State

	id            int64
	key           escrow.Key
	ends, version int64
	need, wanted  int64
	stale         int64 // of Held, what is in leases that nobody renews
	changed       bool
}

// A lease is one whose pool is locked.
type lease struct {
	id           string
	pool         int64
	journal, run string
	amount, net  int64
	state        int64
	renewed      int64
	changed      bool
	gone         bool
}

// held are pools that are locked until the end of a transaction, and leases of theirs.
type held struct {
	*recording

	pools  map[escrow.Key]*pool
	byID   map[int64]*pool
	leases map[string]*lease
}

func (s *Store) recordingOf(t tx) *recording {
	return &recording{&s.records, t, map[string]statement{}}
}

// cleanKey is a key as the engine keeps it.
func (c *recording) cleanKey(k escrow.Key) escrow.Key {
	if c.tx.d == &postgresDialect {
		k.Rule, k.Subject = storableText(k.Rule), storableText(k.Subject)
	}
	return k
}

// lockPools locks pools, and makes those that are not there.
func (c *recording) lockPools(ctx context.Context, keys []escrow.Key) (*held, error) {
	l := &held{c, map[escrow.Key]*pool{}, map[int64]*pool{}, map[string]*lease{}}
	for i := range keys {
		keys[i] = c.cleanKey(keys[i])
	}
	slices.SortFunc(keys, func(a, b escrow.Key) int {
		return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Start, b.Start))
	})
	keys = slices.Compact(keys)
	if err := l.find(ctx, keys); err != nil || len(l.pools) == len(keys) {
		return l, err
	}
	missing := slices.DeleteFunc(keys, func(k escrow.Key) bool { return l.pools[k] != nil })
	if err := c.runAll(ctx, newPool, keyValues(missing)); err != nil {
		return nil, err
	}
	if err := l.find(ctx, missing); err != nil {
		return nil, err
	}
	for _, k := range missing {
		if l.pools[k] == nil {
			return nil, fmt.Errorf("pool %+v is not there although it was made", k)
		}
	}
	return l, nil
}

func keyValues(keys []escrow.Key) []any {
	values := make([]any, 0, 3*len(keys))
	for _, k := range keys {
		values = append(values, k.Rule, k.Subject, k.Start)
	}
	return values
}

func (l *held) find(ctx context.Context, keys []escrow.Key) error {
	return l.findAll(ctx, findPool, keyValues(keys), func(r scanner) error {
		p := &pool{}
		err := r.Scan(&p.id, &p.key.Rule, &p.key.Subject, &p.key.Start, &p.ends, &p.version, &p.Limit, &p.Highest, &p.Settled, &p.Held,
			&p.Unknown, &p.Over, &p.need, &p.wanted)
		l.pools[p.key], l.byID[p.id] = p, p
		return err
	})
}

// readLeases reads leases by their ids, or with leasesOf by their pools. Those of pools that are not locked are left out.
func (l *held) readLeases(ctx context.Context, query string, of []any) error {
	return l.findAll(ctx, query, of, func(r scanner) error {
		one := &lease{}
		err := r.Scan(&one.id, &one.pool, &one.journal, &one.run, &one.amount, &one.net, &one.state, &one.renewed)
		if l.byID[one.pool] != nil {
			l.leases[one.id] = one
		}
		return err
	})
}

// markStale counts in pools what is in leases that were not renewed since a time, in microseconds.
func (l *held) markStale(before int64) {
	for _, one := range l.leases {
		if one.state == leaseRestored || one.state == leaseOpen && one.renewed < before {
			p := l.byID[one.pool]
			p.stale = llm.Sum(p.stale, one.amount)
		}
	}
}

// save writes what has changed.
func (l *held) save(ctx context.Context) error {
	var pools, leases, gone []any
	for _, p := range l.pools {
		if p.changed {
			pools = append(pools, p.ends, p.version, p.Limit, p.Highest, p.Settled, p.Held, p.Unknown, p.Over, p.need, p.wanted, p.id)
		}
	}
	for _, one := range l.leases {
		switch {
		case one.gone:
			gone = append(gone, one.id)
		case one.changed:
			leases = append(leases, one.id, one.pool, one.journal, one.run, one.amount, one.net, one.state, one.renewed)
		}
	}
	if err := l.runAll(ctx, setPool, pools); err != nil {
		return err
	}
	if err := l.runAll(ctx, setLease, leases); err != nil {
		return err
	}
	return l.runAll(ctx, dropLease, gone)
}

// runAll runs one of poolStatements for all rows of values.
func (c *recording) runAll(ctx context.Context, one string, values []any) error {
	kinds := poolStatements[one].kinds
	if c.tx.d.arrays && len(values) > 0 {
		_, err := c.run(ctx, poolStatements[one].many, transposed(kinds, values)...)
		return err
	}
	for ; len(values) > 0; values = values[len(kinds):] {
		if _, err := c.run(ctx, one, values[:len(kinds)]...); err != nil {
			return err
		}
	}
	return nil
}

// findAll asks one of poolStatements for all rows of values.
func (c *recording) findAll(ctx context.Context, one string, values []any, do func(scanner) error) error {
	kinds := poolStatements[one].kinds
	ask := func(query string, args []any) error {
		rows, err := c.bind(ctx, query).QueryContext(c.tx.ctx, c.tx.d.args(args)...)
		return each(rows, err, do)
	}
	if c.tx.d.arrays && len(values) > 0 {
		return ask(poolStatements[one].many, transposed(kinds, values))
	}
	for ; len(values) > 0; values = values[len(kinds):] {
		if err := ask(one, values[:len(kinds)]); err != nil {
			return err
		}
	}
	return nil
}

// used is what counts against the highest limit.
func (p *pool) used() int64 {
	return llm.Sum(p.Settled, -p.Over, p.Held, p.Unknown)
}
