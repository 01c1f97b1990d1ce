package store

import (
	"context"
	"errors"

	"github.com/penstock/penstock/internal/ledger"
)

// ReadLedger implements [ledger.Store].
func (s *Store) ReadLedger(ctx context.Context, read func(ledger.Snapshot) error) error {
	if err := s.readLong(ctx, func(v view) error { return read(&books{v}) }); err != nil {
		return s.unread(ctx, "read the ledger", err)
	}
	return nil
}

// readLong is look for what takes its time, on connections that nothing waits for.
func (s *Store) readLong(ctx context.Context, f func(view) error) error {
	t, err := s.long().BeginTx(ctx, s.d.snapshot)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // it has only read
	return f(view{t, s.d, ctx})
}

// books are a ledger.Snapshot.
type books struct{ view }

// Entries implements [ledger.Snapshot].
func (b *books) Entries(ctx context.Context, after int64, limit int) ([]ledger.SnapshotEntry, error) {
	rows, err := b.query(ctx, "SELECT seq, kind, debit, credit, amount, exchange, settles, moves FROM ledger_entries WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
	return collect(rows, err, func(r scanner) (e ledger.SnapshotEntry, err error) {
		var moves []byte
		if err := r.Scan(&e.Seq, &e.Kind, &e.Debit, &e.Credit, &e.Amount, &e.Exchange, &e.Settles, &moves); err != nil {
			return e, err
		}
		e.Moves, err = readMoves(moves)
		return e, err
	})
}

// Accounts implements [ledger.Snapshot].
func (b *books) Accounts(ctx context.Context) ([]ledger.Account, error) {
	rows, err := b.query(ctx, "SELECT "+accountColumns+" FROM ledger_accounts ORDER BY name")
	return collect(rows, err, scanAccount)
}

// Pools implements [ledger.Snapshot].
func (b *books) Pools(ctx context.Context, do func(*ledger.Pool) error) error {
	rows, err := b.query(ctx, `SELECT p.id, p.rule, p.subject, p.start, p.version, p.highest, p.settled, p.held, p.unknown, p.overrun,
		COALESCE((SELECT CAST(SUM(l.amount) AS BIGINT) FROM budget_leases l WHERE l.pool = p.id AND l.state <> ?), 0) FROM budget_pools p ORDER BY p.id`, leaseByHand)
	return each(rows, err, func(r scanner) error {
		var p ledger.Pool
		var version int64
		err := r.Scan(&p.ID, &p.Rule, &p.Subject, &p.Start, &version, &p.Highest, &p.Settled, &p.Held, &p.Unknown, &p.Over, &p.Leases)
		p.Terms = version != noTerms
		return errors.Join(err, do(&p))
	})
}

// Open implements [ledger.Snapshot].
func (b *books) Open(ctx context.Context) ([]int64, error) {
	rows, err := b.query(ctx, "SELECT entry FROM ledger_unknowns WHERE settled = 0 ORDER BY entry")
	return collect(rows, err, func(r scanner) (seq int64, err error) { return seq, r.Scan(&seq) })
}

// Exchanges implements [ledger.Snapshot]. Those that a version without a ledger wrote are left out.
func (b *books) Exchanges(ctx context.Context, first, last int64, do func(*ledger.Exchange) error) error {
	rows, err := b.query(ctx, `SELECT e.seq, e.id, e.cost_nano, e.cost_unknown FROM exchanges e WHERE e.seq >= ? AND e.seq <= ?
		AND e.seq <= (SELECT exchanges FROM ledger_state WHERE id = 1)
		AND NOT EXISTS (SELECT 1 FROM ledger_gaps g WHERE g.first <= e.seq AND g.last >= e.seq) ORDER BY e.seq`, first, last)
	return each(rows, err, func(r scanner) error {
		var x ledger.Exchange
		err := r.Scan(&x.Seq, &x.ID, &x.Cost, &x.Unknown)
		return errors.Join(err, do(&x))
	})
}

// Last implements [ledger.Snapshot].
func (b *books) Last(ctx context.Context) (last int64, err error) {
	err = b.row(ctx, "SELECT entries FROM ledger_state WHERE id = 1").Scan(&last)
	return last, err
}
