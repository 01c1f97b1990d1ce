package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
)

const entryColumns = "seq, at, made, kind, debit, credit, amount, try, exchange, target, settles, note, moves"

// What posting runs, beside poolStatements. Nobody but who is in the lane of records changes these tables.
var (
	booksState  = "SELECT entries, exchanges, extras, %s FROM ledger_state WHERE id = 1"
	setBooks    = "UPDATE ledger_state SET entries = ?, exchanges = ?, extras = ? WHERE id = 1"
	addEntry    = insertInto("ledger_entries", entryColumns, 1)
	findAccount = "INSERT INTO ledger_accounts (name, kind, org, project, provider, credential) VALUES (?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING id"
	addToAccount     = addToAccounts("(SELECT ? AS dp, ? AS cp, ? AS dd, ? AS cd, ? AS id)")
	addToAccountMany = addToAccounts("unnest(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[]) AS n (dp, cp, dd, cd, id)")
)

// mostRoom is how many values of entries there is room kept for.
const mostRoom = 64 << 10

// entryKinds are the types of entryColumns; see kinds.
const entryKinds = "iiiiiiitiiitb"

// addToAccounts is a statement that adds to accounts; what is beyond the largest number stays there.
func addToAccounts(from string) string {
	var sets []string
	for column, n := range map[string]string{"debit_posted": "dp", "credit_posted": "cp", "debit_pending": "dd", "credit_pending": "cd"} {
		sets = append(sets, fmt.Sprintf("%[1]s = CASE WHEN n.%[2]s > 0 AND %[1]s > 9223372036854775807 - n.%[2]s THEN 9223372036854775807 ELSE %[1]s + n.%[2]s END", column, n))
	}
	slices.Sort(sets)
	if !strings.Contains(from, " AS n") {
		from += " AS n"
	}
	return "UPDATE ledger_accounts SET " + strings.Join(sets, ", ") + " FROM " + from + " WHERE ledger_accounts.id = n.id"
}

// bookStatements are all that posting and trading run.
func bookStatements(d *dialect) []string {
	all := []string{fmt.Sprintf(booksState, d.now), setBooks, findAccount}
	for one, b := range poolStatements {
		if d.arrays {
			one = b.many
		}
		all = append(all, one)
	}
	return all
}

// A posting is the entries that one transaction adds.
type posting struct {
	*recording

	made, last int64 // when, in microseconds, and the number of the last entry
	exchanges  int64 // the last exchange whose tries are in the books
	extras     int64 // the last exchange whose extras were written, or that is in a gap
	entries    []any // by entryColumns
	adds       map[int64]*ledger.Balance
	pools      *held
	before     []charged // by the try before
	moves      []byte    // of all entries, one behind the other
	parts      []part    // room
}

// A charged is a charge with its pool, and its lease if that is there.
type charged struct {
	*pipeline.Charge
	pool  *pool
	lease *lease
}

// alike reports whether two charges are of one pool and one lease. Nearly always those of a try and of the try before it are, which is
// found out faster than anything in a map.
func alike(a, b *pipeline.Charge) bool {
	return a.Start == b.Start && a.Lease == b.Lease && a.Budget == b.Budget && a.Subject == b.Subject
}

// begin reads how far the books are.
func (c *recording) begin(ctx context.Context) (*posting, error) {
	p := &posting{recording: c, adds: map[int64]*ledger.Balance{}, entries: c.entries[:0], moves: c.moves[:0]}
	err := c.bind(ctx, fmt.Sprintf(booksState, c.tx.d.now)).QueryRowContext(c.tx.ctx).Scan(&p.last, &p.exchanges, &p.extras, &p.made)
	return p, err
}

// post enters the tries of exchanges that were not there; before is the last exchange that was.
func (c *recording) post(ctx context.Context, before int64, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	p, err := c.begin(ctx)
	if err != nil {
		return err
	}
	if p.exchanges < before { // another version wrote them, which keeps no books
		_, err := c.tx.exec(ctx, "INSERT INTO ledger_gaps (first, last) VALUES (?, ?) ON CONFLICT DO NOTHING", p.exchanges+1, before)
		if err != nil {
			return err
		}
	}
	if p.extras < before { // the same for extras
		if err := p.tx.noteGap(ctx, p.extras+1, before); err != nil {
			return err
		}
	}
	if err := p.lockCharged(ctx, rows); err != nil {
		return err
	}
	for i := range rows {
		for j := range rows[i].Tries {
			if t := &rows[i].Tries[j]; costs(t) {
				if err := p.try(ctx, &rows[i], t); err != nil {
					return err
				}
			}
		}
	}
	p.exchanges = rows[len(rows)-1].seq
	p.extras = p.exchanges
	return p.end(ctx)
}

// costs reports whether a try is in the books: where money or a budget is touched, or may be.
func costs(t *pipeline.Try) bool {
	switch {
	case t.Outcome == pipeline.Released:
		return false
	case len(t.Charges) > 0 || t.CostNano > 0:
		return true
	}
	return t.Outcome == pipeline.Unknown && (t.BoundNano > 0 || !t.Unpriced)
}

// lockCharged locks the pools that tries count for, and reads the leases that they spent from.
func (p *posting) lockCharged(ctx context.Context, rows []row) (err error) {
	keys, leases := map[escrow.Key]struct{}{}, map[string]struct{}{}
	var before []pipeline.Charge // of the try before
	for i := range rows {
		for j := range rows[i].Tries {
			t := &rows[i].Tries[j]
			if !costs(t) {
				continue
			}
			for k := range t.Charges {
				c := &t.Charges[k]
				if k < len(before) && alike(&before[k], c) {
					continue
				}
				keys[keyOf(c)] = struct{}{}
				if c.Lease != "" {
					leases[c.Lease] = struct{}{}
				}
			}
			before = t.Charges
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if p.pools, err = p.lockPools(ctx, slices.Collect(maps.Keys(keys))); err != nil {
		return err
	}
	return p.pools.readLeases(ctx, findLease, anys(slices.Collect(maps.Keys(leases))))
}

func keyOf(c *pipeline.Charge) escrow.Key {
	return escrow.Key{Rule: c.Budget, Subject: c.Subject, Start: c.Start}
}

// try enters one.
func (p *posting) try(ctx context.Context, r *row, t *pipeline.Try) error {
	target, err := p.name(ctx, t.Target)
	if err != nil {
		return err
	}
	provider, _ := llm.ParseTarget(t.Target)
	debit, err := p.account(ctx, &ledger.Account{Side: ledger.Spend, Org: r.Org, Project: r.Project})
	if err != nil {
		return err
	}
	credit, err := p.account(ctx, &ledger.Account{Side: ledger.Owed, Provider: provider.Provider, Credential: t.Credential})
	if err != nil {
		return err
	}
	e := entry{at: r.micros() + t.StartNS/1000, kind: ledger.Posted, debit: debit, credit: credit, try: t.ID, exchange: r.seq, target: target}
	e.amount = inBounds(int64(t.CostNano))
	switch t.Outcome {
	case pipeline.SettledEstimated:
		e.kind = ledger.Estimated
	case pipeline.Unknown:
		e.kind, e.amount, e.note = ledger.Pending, inBounds(int64(t.BoundNano)), t.Reason
	}
	p.parts = p.parts[:0]
	from := len(p.moves)
	for i := range t.Charges {
		of := p.charged(i, &t.Charges[i]).spend(t)
		p.moves, p.parts = of.append(p.moves), append(p.parts, of)
	}
	if len(p.moves) > from {
		e.moves = p.moves[from:len(p.moves):len(p.moves)]
	}
	p.add(&e)
	if e.kind != ledger.Pending {
		return nil
	}
	charges, err := json.Marshal(p.parts)
	if err != nil {
		return err
	}
	_, err = p.tx.exec(ctx, "INSERT INTO ledger_unknowns (try, entry, at, org, project, target, credential, bound, reason, charges, settled) "+
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
		t.ID, p.last, e.at, r.Org, r.Project, t.Target, int64(t.Credential), e.amount, t.Reason, string(charges))
	return err
}

// charged gives the charge at an index of a try, with what belongs to it.
func (p *posting) charged(i int, c *pipeline.Charge) *charged {
	if i == len(p.before) {
		p.before = append(p.before, charged{})
	}
	one := &p.before[i]
	if one.Charge == nil || !alike(one.Charge, c) {
		one.pool, one.lease = p.pools.pools[p.cleanKey(keyOf(c))], p.pools.leases[c.Lease]
	}
	one.Charge = c
	return one
}

// An entry is one on its way into the ledger; see ledger.Entry.
type entry struct {
	at               int64
	kind             ledger.Kind
	debit, credit    int64
	amount           int64
	try              string
	exchange, target int64
	settles          int64
	note             string
	moves            []byte
}

// add appends an entry, and what it comes to on its accounts. What it ends is for whoever ends it to take from what is pending.
func (p *posting) add(e *entry) {
	p.last++
	p.entries = append(p.entries, p.last, e.at, p.made, int64(e.kind), e.debit, e.credit, e.amount, e.try, e.exchange, e.target, e.settles,
		e.note, e.moves)
	if e.debit == 0 {
		return
	}
	debit, credit := p.balance(e.debit), p.balance(e.credit)
	if e.kind == ledger.Pending {
		debit.PendingDebit, credit.PendingCredit = debit.PendingDebit.Plus(llm.Money(e.amount)), credit.PendingCredit.Plus(llm.Money(e.amount))
		return
	}
	debit.Debit, credit.Credit = debit.Debit.Plus(llm.Money(e.amount)), credit.Credit.Plus(llm.Money(e.amount))
}

func (p *posting) balance(account int64) *ledger.Balance {
	if p.adds[account] == nil {
		p.adds[account] = &ledger.Balance{}
	}
	return p.adds[account]
}

// end writes all that was added.
func (p *posting) end(ctx context.Context) error {
	_, err := p.insertAll(ctx, addEntry, len(entryKinds), p.entries)
	if cap(p.entries) <= mostRoom {
		clear(p.entries) // or what they are of would be kept
		p.recorder.entries, p.recorder.moves = p.entries[:0], p.moves[:0]
	}
	if err != nil {
		return err
	}
	var sums []any
	for id, b := range p.adds {
		sums = append(sums, int64(b.Debit), int64(b.Credit), int64(b.PendingDebit), int64(b.PendingCredit), id)
	}
	if err := p.runAll(ctx, addToAccount, sums); err != nil {
		return err
	}
	if p.pools != nil {
		if err := p.pools.save(ctx); err != nil {
			return err
		}
	}
	_, err = p.run(ctx, setBooks, p.last, p.exchanges, p.extras)
	return err
}

// account gives the number of an account, which is made if it is not there.
func (c *recording) account(ctx context.Context, a *ledger.Account) (id int64, err error) {
	a.Name = ledger.NameOf(a)
	if id := c.books[a.Name]; id != 0 {
		return id, nil
	}
	args := []any{a.Name, string(a.Side), a.Org, a.Project, a.Provider, int64(a.Credential)}
	if err := c.bind(ctx, findAccount).QueryRowContext(c.tx.ctx, c.tx.d.args(args)...).Scan(&id); err != nil {
		return 0, err
	}
	if len(c.books) >= maxNames {
		clear(c.books)
	}
	c.books[a.Name] = id
	return id, nil
}

// A part is what one try has of one pool: what is unknown of it, what is settled, what of that is over, and what somebody had settled
// before by hand, with the lease that it was spent from. It is kept for tries whose end is unknown.
type part struct {
	Pool    int64 `json:"pool"`
	Tokens  bool  `json:"tokens,omitzero"`
	Unknown int64 `json:"unknown,omitzero"`
	Settled int64 `json:"settled,omitzero"`
	Over    int64 `json:"over,omitzero"`
	ByHand  int64 `json:"by_hand,omitzero"`
}

// spend takes from a lease what a try came to, or, as long as that is unknown, what was reserved for it. What the lease does not
// cover is settled and over.
func (c *charged) spend(t *pipeline.Try) part {
	p, from := c.pool, c.lease
	amount, reserved, unknown := inBounds(c.Spent(t)), inBounds(c.Held), t.Outcome == pipeline.Unknown
	of := part{Pool: p.id, Tokens: c.Tokens}
	var covered int64
	switch {
	case c.Lease == "":
		covered = min(amount, p.room())
	case from == nil || from.pool != p.id:
	case from.state == leaseByHand:
		of.ByHand = min(amount, from.amount)
		from.amount -= of.ByHand
		from.changed = true
		amount -= of.ByHand
	default:
		covered = min(amount, reserved, from.amount)
		from.amount -= covered
		from.changed = true
		p.Held -= covered
	}
	of.Settled, of.Over = amount, amount-covered
	if unknown {
		of.Unknown, of.Settled = covered, amount-covered
	}
	p.add(of.Settled, of.Unknown, of.Over)
	return of
}

// add adds to what is settled, unknown, and over.
func (p *pool) add(settled, unknown, over int64) {
	p.Settled, p.Unknown, p.Over = llm.Sum(p.Settled, settled), llm.Sum(p.Unknown, unknown), llm.Sum(p.Over, over)
	p.changed = true
}

// room is what may still be used of the highest limit. Before there are terms, nothing is over.
func (p *pool) room() int64 {
	if p.version == noTerms {
		return mostAmount
	}
	return max(llm.Sum(p.Highest, -p.used()), 0)
}

func inBounds(n int64) int64 { return min(max(n, 0), mostAmount) }

// append appends what was moved, as ledger_entries has it.
func (of *part) append(b []byte) []byte {
	return appendMove(b, of.Pool, of.Settled, of.Unknown, of.Over)
}

func appendMove(b []byte, pool, settled, unknown, over int64) []byte {
	if settled == 0 && unknown == 0 && over == 0 {
		return b
	}
	b = binary.AppendVarint(b, pool)
	b = binary.AppendVarint(b, settled)
	b = binary.AppendVarint(b, unknown)
	return binary.AppendVarint(b, over)
}

var errMoves = errors.New("what an entry moved cannot be read")

func readMoves(b []byte) (all []ledger.Move, err error) {
	for len(b) > 0 {
		var m ledger.Move
		for _, into := range []*int64{&m.Pool, &m.Settled, &m.Unknown, &m.Over} {
			v, n := binary.Varint(b)
			if n <= 0 {
				return nil, errMoves
			}
			*into, b = v, b[n:]
		}
		all = append(all, m)
	}
	return all, nil
}
