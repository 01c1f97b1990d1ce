package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
)

var _ ledger.Store = (*Store)(nil)

const accountColumns = "id, name, kind, org, project, provider, credential, debit_posted, credit_posted, debit_pending, credit_pending"

// LedgerEntries implements [ledger.Store].
func (s *Store) LedgerEntries(ctx context.Context, q ledger.Query) ([]ledger.Entry, error) {
	var where []string
	var args []any
	add := func(condition string, arg ...any) { where, args = append(where, condition), append(args, arg...) }
	if !q.From.IsZero() {
		add("e.at >= ?", micros(q.From))
	}
	if !q.To.IsZero() {
		add("e.at < ?", micros(q.To))
	}
	for _, equal := range [...]struct{ column, to string }{{"org", q.Org}, {"project", q.Project}, {"provider", q.Provider}} {
		if equal.to != "" { // a correction downwards has the accounts the other way
			of := "(SELECT a.id FROM ledger_accounts a WHERE a." + equal.column + " = ?)"
			add("(e.debit IN "+of+" OR e.credit IN "+of+")", equal.to, equal.to)
		}
	}
	if q.Try != "" {
		add("e.try = ?", q.Try)
	}
	if q.Kind != 0 {
		add("e.kind = ?", int64(q.Kind))
	}
	if q.After > 0 {
		add("e.seq < ?", q.After)
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 100
	}
	text := ""
	if len(where) > 0 {
		text = " WHERE " + strings.Join(where, " AND ")
	}
	rows, err := s.query(ctx, "SELECT "+entryShown+" FROM ledger_entries e"+entryJoins+text+" ORDER BY e.seq DESC LIMIT ?", append(args, limit)...)
	all, err := collect(rows, err, scanEntry)
	if err != nil {
		return nil, s.unread(ctx, "read the ledger", err)
	}
	return all, nil
}

const (
	entryShown = "e.seq, e.at, e.made, e.kind, COALESCE(d.name, ''), COALESCE(c.name, ''), e.amount, e.try, COALESCE(n.name, ''), e.settles, e.note, e.exchange, e.moves"
	entryJoins = " LEFT JOIN ledger_accounts d ON d.id = e.debit LEFT JOIN ledger_accounts c ON c.id = e.credit LEFT JOIN names n ON n.id = e.target"
)

func scanEntry(r scanner) (e ledger.Entry, err error) {
	var at, made int64
	var moves []byte
	err = r.Scan(&e.Seq, &at, &made, &e.Kind, &e.Debit, &e.Credit, &e.Amount, &e.Try, &e.Target, &e.Settles, &e.Note, &e.Exchange, &moves)
	if err != nil {
		return e, err
	}
	e.At, e.Made = fromMicros(at), fromMicros(made)
	e.Moves, err = readMoves(moves)
	return e, err
}

// LedgerAccounts implements [ledger.Store].
func (s *Store) LedgerAccounts(ctx context.Context) ([]ledger.Account, error) {
	rows, err := s.query(ctx, "SELECT "+accountColumns+" FROM ledger_accounts ORDER BY name")
	all, err := collect(rows, err, scanAccount)
	if err != nil {
		return nil, s.unread(ctx, "read the accounts of the ledger", err)
	}
	return all, nil
}

func scanAccount(r scanner) (a ledger.Account, err error) {
	err = r.Scan(&a.ID, &a.Name, &a.Side, &a.Org, &a.Project, &a.Provider, &a.Credential, &a.Debit, &a.Credit, &a.PendingDebit, &a.PendingCredit)
	return a, err
}

// LedgerUnknowns implements [ledger.Store].
func (s *Store) LedgerUnknowns(ctx context.Context, limit int) (tries []ledger.Unknown, leases []ledger.DeadLease, err error) {
	err = s.look(ctx, func(v view) error {
		var parts [][]part
		rows, err := v.query(ctx, `SELECT try, entry, at, org, project, target, credential, bound, reason, charges FROM ledger_unknowns
			WHERE settled = 0 ORDER BY at, try LIMIT ?`, limit)
		tries, err = collect(rows, err, func(r scanner) (u ledger.Unknown, err error) {
			var at int64
			var charges string
			if err := r.Scan(&u.Try, &u.Entry, &at, &u.Org, &u.Project, &u.Target, &u.Credential, &u.Bound, &u.Reason, &charges); err != nil {
				return u, err
			}
			var of []part
			u.At = fromMicros(at)
			err = json.Unmarshal([]byte(charges), &of)
			parts = append(parts, of)
			return u, err
		})
		if err != nil {
			return err
		}
		for i := range tries {
			for _, of := range parts[i] {
				p := ledger.UnknownPart{Amount: of.Unknown, Tokens: of.Tokens}
				err := v.row(ctx, "SELECT rule, subject, start FROM budget_pools WHERE id = ?", of.Pool).Scan(&p.Rule, &p.Subject, &p.Start)
				if errors.Is(err, sql.ErrNoRows) {
					continue
				}
				if err != nil {
					return err
				}
				tries[i].Held = append(tries[i].Held, p)
			}
		}
		now, err := s.clock(ctx, v)
		if err != nil {
			return err
		}
		rows, err = v.query(ctx, `SELECT l.id, p.rule, p.subject, p.start, l.journal, l.amount, l.renewed, l.state FROM budget_leases l
			JOIN budget_pools p ON p.id = l.pool WHERE l.amount > 0 AND (l.state = ? OR l.state = ? AND l.renewed < ?) ORDER BY l.renewed, l.id LIMIT ?`,
			leaseRestored, leaseOpen, now-escrow.Life.Microseconds(), limit)
		leases, err = collect(rows, err, func(r scanner) (d ledger.DeadLease, err error) {
			var renewed, state int64
			err = r.Scan(&d.ID, &d.Rule, &d.Subject, &d.Start, &d.Journal, &d.Amount, &renewed, &state)
			d.Renewed, d.Restored = fromMicros(renewed), state == leaseRestored
			return d, err
		})
		return err
	})
	if err != nil {
		return nil, nil, s.unread(ctx, "read what is unknown", err)
	}
	return tries, leases, nil
}

// LedgerTotals implements [ledger.Store].
func (s *Store) LedgerTotals(ctx context.Context, from, to time.Time) (all []ledger.Total, err error) {
	// A correction downwards goes from who is owed to whose money it is.
	const totals = `SELECT d.org || c.org, d.project || c.project, d.provider || c.provider, d.credential + c.credential, COALESCE(n.name, ''), e.kind, COUNT(*),
			CAST(SUM(CASE WHEN d.kind = 'owed' THEN -e.amount ELSE e.amount END) AS BIGINT)
		FROM ledger_entries e JOIN ledger_accounts d ON d.id = e.debit JOIN ledger_accounts c ON c.id = e.credit LEFT JOIN names n ON n.id = e.target
		WHERE e.at >= ? AND e.at < ? AND `
	const by = " GROUP BY 1, 2, 3, 4, 5, 6"
	err = s.readLong(ctx, func(v view) error {
		rows, err := v.query(ctx, totals+"e.kind <> ? AND e.kind <> ?"+by, micros(from), micros(to), int64(ledger.Pending), int64(ledger.Void))
		if all, err = collect(rows, err, scanTotal); err != nil {
			return err
		}
		rows, err = v.query(ctx, totals+"e.seq IN (SELECT u.entry FROM ledger_unknowns u WHERE u.settled = 0)"+by, micros(from), micros(to))
		pending, err := collect(rows, err, scanTotal)
		all = append(all, pending...)
		return err
	})
	if err != nil {
		return nil, s.unread(ctx, "sum the ledger", err)
	}
	slices.SortFunc(all, func(a, b ledger.Total) int { return strings.Compare(totalKey(&a), totalKey(&b)) })
	return all, nil
}

func totalKey(t *ledger.Total) string {
	return strings.Join([]string{t.Org, t.Project, t.Provider, string(rune('0' + t.Credential)), t.Target, string(rune('0' + t.Kind))}, "\x00")
}

func scanTotal(r scanner) (t ledger.Total, err error) {
	err = r.Scan(&t.Org, &t.Project, &t.Provider, &t.Credential, &t.Target, &t.Kind, &t.Entries, &t.Amount)
	return t, err
}

// keep is act for entries that somebody makes: no records are written meanwhile. What a try remembered of accounts and names that was
// undone is forgotten with it.
func (s *Store) keep(ctx context.Context, what string, f func(tx, *posting) (acts, error)) error {
	s.records.mu.Lock()
	defer s.records.mu.Unlock()
	tries := 0
	err := s.act(ctx, what, func(t tx) (acts, error) {
		if tries++; tries > 1 {
			s.records.forget()
		}
		if err := t.join(ctx, laneRecords); err != nil {
			return nil, err
		}
		p, err := s.recordingOf(t).begin(ctx)
		if err != nil {
			return nil, err
		}
		return f(t, p)
	})
	if err != nil {
		s.records.forget()
	}
	return err
}

func (t tx) entry(ctx context.Context, seq int64) (ledger.Entry, error) {
	return scanEntry(t.row(ctx, "SELECT "+entryShown+" FROM ledger_entries e"+entryJoins+" WHERE e.seq = ?", seq))
}

// lockByID locks pools, but for those that are not there any more.
func (c *recording) lockByID(ctx context.Context, ids ...int64) (*held, error) {
	var keys []escrow.Key
	for _, id := range ids {
		var k escrow.Key
		err := c.tx.row(ctx, "SELECT rule, subject, start FROM budget_pools WHERE id = ?", id).Scan(&k.Rule, &k.Subject, &k.Start)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return c.lockPools(ctx, keys)
}

// SettleTry implements [ledger.Store]. Sums are told at once; if that fails, they are by the next [Store.SumUp].
func (s *Store) SettleTry(ctx context.Context, r ledger.Resolution) (made ledger.Entry, err error) {
	defer func() {
		if err == nil {
			s.tellSums(ctx)
		}
	}()
	err = s.keep(ctx, "settle a try whose end is unknown", func(t tx, p *posting) (_ acts, err error) {
		var settled, pending int64
		var project, charges string
		e := entry{kind: ledger.Settled, try: r.Try, note: r.Reason, amount: inBounds(int64(r.Amount))}
		var bound int64
		err = t.row(ctx, `SELECT u.entry, u.settled, u.project, u.charges, e.at, e.debit, e.credit, e.amount, e.target FROM ledger_unknowns u
			JOIN ledger_entries e ON e.seq = u.entry WHERE u.try = ? ORDER BY u.settled, u.entry LIMIT 1`, r.Try).
			Scan(&pending, &settled, &project, &charges, &e.at, &e.debit, &e.credit, &bound, &e.target)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return nil, noUnknown(r.Try)
		case err != nil:
			return nil, err
		case settled != 0:
			f := fault.New(fault.AlreadyThere, "The try %s is settled already, by entry %d.", quote(r.Try), settled)
			f.Hint = "Correct it with an adjustment: penstock ledger adjust --help"
			return nil, f
		}
		e.settles = pending
		if r.Void {
			e.kind, e.amount = ledger.Void, 0
		}
		var parts []part
		if err := json.Unmarshal([]byte(charges), &parts); err != nil {
			return nil, err
		}
		if p.pools, err = p.lockByID(ctx, poolsOf(parts)...); err != nil {
			return nil, err
		}
		for _, of := range parts {
			if in := p.pools.byID[of.Pool]; in != nil {
				e.moves = of.settle(in, &r, e.moves)
			}
		}
		p.add(&e)
		debit, credit := p.balance(e.debit), p.balance(e.credit)
		debit.PendingDebit, credit.PendingCredit = debit.PendingDebit.Plus(llm.Money(-bound)), credit.PendingCredit.Plus(llm.Money(-bound))
		if err := p.end(ctx); err != nil {
			return nil, err
		}
		if _, err := t.exec(ctx, "UPDATE ledger_unknowns SET settled = ? WHERE entry = ?", p.last, pending); err != nil {
			return nil, err
		}
		if made, err = t.entry(ctx, p.last); err != nil {
			return nil, err
		}
		return acts{{Action: audit.TrySettled, Object: r.Try, Project: project, Reason: r.Reason, After: entryStateOf(&made)}}, nil
	})
	return made, err
}

func poolsOf(parts []part) (ids []int64) {
	for _, of := range parts {
		ids = append(ids, of.Pool)
	}
	return ids
}

func noUnknown(id string) error {
	f := fault.New(fault.NotThere, "There is no try or lease %s here that is unknown.", quote(id))
	f.Hint = "List them with: penstock ledger list --unknown"
	return f
}

// settle moves what a try came to from what is unknown of a pool.
func (of *part) settle(in *pool, r *ledger.Resolution, moves []byte) []byte {
	came := inBounds(int64(r.Amount))
	switch {
	case r.Void:
		came = 0
	case of.Tokens && r.Tokens < 0:
		came = of.Unknown + of.Settled + of.ByHand
	case of.Tokens:
		came = inBounds(r.Tokens)
	}
	settled := max(came-of.ByHand, 0)
	over := max(settled-of.Unknown, 0)
	in.add(settled-of.Settled, -of.Unknown, over-of.Over)
	return appendMove(moves, of.Pool, settled-of.Settled, -of.Unknown, over-of.Over)
}

// SettleLease implements [ledger.Store].
func (s *Store) SettleLease(ctx context.Context, l ledger.LeaseSettlement) (made ledger.Entry, err error) {
	err = s.keep(ctx, "settle a lease", func(t tx, p *posting) (_ acts, err error) {
		var id int64
		err = t.row(ctx, "SELECT pool FROM budget_leases WHERE id = ?", l.Lease).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, noUnknown(l.Lease)
		}
		if err != nil {
			return nil, err
		}
		if p.pools, err = p.lockByID(ctx, id); err != nil {
			return nil, err
		}
		now, err := s.clock(ctx, t)
		if err != nil {
			return nil, err
		}
		if err := p.pools.readLeases(ctx, findLease, []any{l.Lease}); err != nil {
			return nil, err
		}
		in, one := p.pools.byID[id], p.pools.leases[l.Lease]
		if one == nil { // it was given back this moment
			return nil, noUnknown(l.Lease)
		}
		if err := t.settleable(ctx, in, one, &l, now); err != nil {
			return nil, err
		}
		if l.Void {
			l.Amount = 0
		}
		amount, over := inBounds(l.Amount), max(inBounds(l.Amount)-one.amount, 0)
		before := map[string]any{"rule": in.key.Rule, "subject": in.key.Subject, "window": in.key.Start, "amount": one.amount}
		in.Held -= one.amount
		in.add(amount, 0, over)
		one.amount, one.state, one.changed = amount, leaseByHand, true
		p.add(&entry{at: now, kind: ledger.Lease, try: l.Lease, note: l.Reason, moves: appendMove(nil, id, amount, 0, over)})
		if err := p.end(ctx); err != nil {
			return nil, err
		}
		if made, err = t.entry(ctx, p.last); err != nil {
			return nil, err
		}
		return acts{{Action: audit.LeaseSettled, Object: l.Lease, Reason: l.Reason, Before: before, After: map[string]any{"amount": amount, "entry": made.Seq}}}, nil
	})
	return made, err
}

// settleable refuses what somebody still spends from, what is settled already, and an amount in another unit.
func (t tx) settleable(ctx context.Context, in *pool, one *lease, l *ledger.LeaseSettlement, now int64) error {
	switch {
	case one.state == leaseByHand:
		return fault.New(fault.AlreadyThere, "The lease %s is settled already.", quote(l.Lease))
	case one.state == leaseOpen && one.renewed >= now-escrow.Life.Microseconds():
		f := fault.New(fault.InUse, "The lease %s is renewed: its process runs.", quote(l.Lease))
		f.Hint = "Stop that Penstock, or wait until it has not been heard of for " + escrow.Life.String() + "."
		return f
	}
	var unit string
	err := t.row(ctx, "SELECT unit FROM budgets WHERE id = ?", in.key.Rule).Scan(&unit)
	switch {
	case errors.Is(err, sql.ErrNoRows): // of a tier, or deleted
		return nil
	case err != nil:
		return err
	case !l.Void && (unit == "tokens") != l.Tokens:
		f := fault.New(fault.InvalidRequest, "The budget of the lease %s is in %s.", quote(l.Lease), unit)
		f.Hint = "Say what it came to in that unit."
		return f
	}
	return nil
}
