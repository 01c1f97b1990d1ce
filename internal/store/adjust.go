package store

import (
	"context"
	"database/sql"
	"errors"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
)

// AdjustLedger implements [ledger.Store].
func (s *Store) AdjustLedger(ctx context.Context, a ledger.Adjustment) (made ledger.Entry, err error) {
	err = s.keep(ctx, "correct the ledger", func(t tx, p *posting) (_ acts, err error) {
		e := entry{kind: ledger.Adjusted, at: micros(a.At), try: a.Try, note: a.Reason, amount: int64(a.Amount)}
		if a.At.IsZero() {
			e.at = p.made
		}
		if e.debit, err = p.account(ctx, &ledger.Account{Side: ledger.Spend, Org: a.Org, Project: a.Project}); err != nil {
			return nil, err
		}
		if e.credit, err = p.account(ctx, &ledger.Account{Side: ledger.Owed, Provider: a.Provider, Credential: a.Credential}); err != nil {
			return nil, err
		}
		if e.target, err = p.name(ctx, a.Target); err != nil {
			return nil, err
		}
		if e.amount < 0 {
			e.debit, e.credit, e.amount = e.credit, e.debit, -e.amount
		}
		e.amount = inBounds(e.amount)
		if a.Key != "" {
			first, err := t.corrected(ctx, &a, &e)
			if err != nil || first.Seq > 0 {
				made = first
				return nil, err
			}
		}
		if a.Once {
			if err := t.adjustedOnce(ctx, &e); err != nil {
				return nil, err
			}
		}
		p.add(&e)
		if err := p.end(ctx); err != nil {
			return nil, err
		}
		if a.Key != "" {
			if _, err := t.exec(ctx, "INSERT INTO ledger_corrections (id, entry) VALUES (?, ?)", a.Key, p.last); err != nil {
				return nil, err
			}
		}
		if made, err = t.entry(ctx, p.last); err != nil {
			return nil, err
		}
		return acts{{Action: audit.LedgerAdjusted, Object: a.Try, Project: a.Project, Reason: a.Reason, After: entryStateOf(&made)}}, nil
	})
	return made, err
}

// corrected gives the entry that was made under the key of a correction, which has no number if there is none. Under one key there is one
// correction.
func (t tx) corrected(ctx context.Context, a *ledger.Adjustment, e *entry) (first ledger.Entry, err error) {
	var seq, at, debit, credit, amount, target int64
	var try, note string
	err = t.row(ctx, `SELECT e.seq, e.at, e.debit, e.credit, e.amount, e.target, e.try, e.note FROM ledger_corrections c
		JOIN ledger_entries e ON e.seq = c.entry WHERE c.id = ?`, a.Key).Scan(&seq, &at, &debit, &credit, &amount, &target, &try, &note)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return first, nil
	case err != nil:
		return first, err
	case (a.At.IsZero() || at == e.at) && debit == e.debit && credit == e.credit && amount == e.amount && target == e.target && try == e.try && note == e.note:
		return t.entry(ctx, seq)
	}
	f := fault.New(fault.AlreadyThere, "Another correction was booked under this key: entry %d.", seq)
	f.Hint = "Nothing was booked. Look at that entry; a correction of its own has a key of its own."
	return first, f
}

// adjustedOnce refuses an adjusting entry that is there already.
func (t tx) adjustedOnce(ctx context.Context, e *entry) error {
	var seq int64
	err := t.row(ctx, "SELECT seq FROM ledger_entries WHERE at = ? AND kind = ? AND debit = ? AND credit = ? AND target = ? AND note = ? LIMIT 1",
		e.at, int64(e.kind), e.debit, e.credit, e.target, e.note).Scan(&seq)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return fault.New(fault.AlreadyThere, "The books are corrected so already, by entry %d.", seq)
}
