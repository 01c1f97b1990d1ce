package ledger

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/penstock/penstock/internal/llm"
)

// A Snapshot is the books at one moment. Nothing may be asked of it within do, and what do is given is good until it returns.
type Snapshot interface {
	// Entries lists entries behind a number, in the order of their numbers.
	Entries(ctx context.Context, after int64, limit int) ([]SnapshotEntry, error)
	Accounts(ctx context.Context) ([]Account, error)
	Pools(ctx context.Context, do func(*Pool) error) error
	// Open are the numbers of pending entries that nothing is said to have ended.
	Open(ctx context.Context) ([]int64, error)
	// Exchanges gives what exchanges cost that are still kept and whose tries are in the books, from one number to another.
	Exchanges(ctx context.Context, first, last int64, do func(*Exchange) error) error
	// Last is the number of the last entry, as it is written down.
	Last(ctx context.Context) (int64, error)
}

// A SnapshotEntry is an entry as numbers.
type SnapshotEntry struct {
	Seq           int64
	Kind          Kind
	Debit, Credit int64 // accounts; 0 where no money moves
	Amount        int64 // nano-dollars
	Exchange      int64
	Settles       int64
	Moves         []Move
}

// A Pool is an amount that entries move in, and that replicas hold leases of.
type Pool struct {
	ID            int64
	Rule, Subject string
	Start         int64
	Terms         bool // it is known how much is allowed
	Highest       int64
	Settled       int64
	Held          int64
	Unknown       int64
	Over          int64
	Leases        int64 // what its leases come to
}

// An Exchange is one that is kept, with what its tries cost together, and whether the end of one is unknown.
type Exchange struct {
	Seq     int64
	ID      string
	Cost    int64
	Unknown bool
}

// A Finding is something that does not fit.
type Finding struct {
	What     string `json:"what"`
	Where    string `json:"where"`
	Expected int64  `json:"expected"`
	Found    int64  `json:"found"`
}

func (f *Finding) String() string {
	return fmt.Sprintf("%s: %s is %d, and should be %d", f.Where, f.What, f.Found, f.Expected)
}

// maxFindings is how many findings are told of; more are counted.
const maxFindings = 100

// A Report is what was looked at, and what does not fit.
type Report struct {
	Entries   int64     `json:"entries"`
	Accounts  int64     `json:"accounts"`
	Pools     int64     `json:"windows"` // of budgets
	Exchanges int64     `json:"exchanges"`
	Unknown   int64     `json:"unknown"` // tries that nothing has settled
	Spent     llm.Money `json:"spent_nano"`
	Pending   llm.Money `json:"pending_nano"`
	Findings  []Finding `json:"findings"`
	More      int64     `json:"more_findings,omitzero"`
}

// A fold is what entries come to.
type fold struct {
	*Report

	withExchanges bool
	last          int64
	balances      map[int64]*Balance
	pools         map[int64]*Move
	open          map[int64]SnapshotEntry // pending
	costs         map[int64]*cost         // of exchanges that were not compared yet
	compared      int64                   // the last exchange that was
	reached       int64                   // the last exchange that an entry was of
}

type cost struct {
	amount  int64
	pending bool
}

// Check adds up all entries and compares: with the balances of accounts, with what is settled, unknown and over of the windows of
// budgets, with the exchanges that are still kept; and what is held of windows with their leases.
func Check(ctx context.Context, s Reader) (*Report, error) { return check(ctx, s, true) }

// CheckAlone is Check without the exchanges.
func CheckAlone(ctx context.Context, s Reader) (*Report, error) { return check(ctx, s, false) }

// A Reader is the store, as far as it is read here.
type Reader interface {
	// ReadLedger gives the whole as it is at one moment.
	ReadLedger(ctx context.Context, read func(Snapshot) error) error
}

func check(ctx context.Context, s Reader, withExchanges bool) (*Report, error) {
	r := &Report{Findings: []Finding{}}
	err := s.ReadLedger(ctx, func(n Snapshot) error {
		f := &fold{Report: r, withExchanges: withExchanges, balances: map[int64]*Balance{}, pools: map[int64]*Move{}, open: map[int64]SnapshotEntry{}, costs: map[int64]*cost{}}
		for _, step := range []func(context.Context, Snapshot) error{f.entries, f.accounts, f.windows, f.unknowns} {
			if err := step(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

func (f *fold) differ(what, where string, expected, found int64) {
	if expected == found {
		return
	}
	if len(f.Findings) >= maxFindings {
		f.More++
		return
	}
	f.Findings = append(f.Findings, Finding{What: what, Where: where, Expected: expected, Found: found})
}

// atOnce is how many entries are read in one go.
const atOnce = 5000

func (f *fold) entries(ctx context.Context, n Snapshot) error {
	for {
		page, err := n.Entries(ctx, f.last, atOnce)
		if err != nil {
			return err
		}
		for i := range page {
			e := &page[i]
			f.Entries++
			f.differ("number", fmt.Sprint("entry ", e.Seq), f.last+1, e.Seq)
			f.last = e.Seq
			f.add(e)
		}
		if len(page) < atOnce {
			break
		}
		if err := f.exchanges(ctx, n, f.reached-1); err != nil { // of the last there may be more
			return err
		}
	}
	last, err := n.Last(ctx)
	if err != nil {
		return err
	}
	f.differ("number of the last entry", "ledger", f.last, last)
	return f.exchanges(ctx, n, math.MaxInt64)
}

// add adds an entry.
func (f *fold) add(e *SnapshotEntry) {
	for _, m := range e.Moves {
		p := f.pools[m.Pool]
		if p == nil {
			p = &Move{}
			f.pools[m.Pool] = p
		}
		p.Settled, p.Unknown, p.Over = llm.Sum(p.Settled, m.Settled), llm.Sum(p.Unknown, m.Unknown), llm.Sum(p.Over, m.Over)
	}
	if e.Exchange != 0 && f.withExchanges {
		if e.Exchange < f.reached {
			f.differ("exchange, which are in order,", fmt.Sprint("entry ", e.Seq), f.reached, e.Exchange)
		}
		f.reached = max(f.reached, e.Exchange)
		c := f.costs[e.Exchange]
		if c == nil {
			c = &cost{}
			f.costs[e.Exchange] = c
		}
		if e.Kind == Pending {
			c.pending = true
		} else {
			c.amount = llm.Sum(c.amount, e.Amount)
		}
	}
	if was, ok := f.open[e.Settles]; ok {
		f.pend(&was, -1)
		delete(f.open, e.Settles)
	} else if e.Settles != 0 {
		f.differ("the pending entry that it ends", fmt.Sprint("entry ", e.Seq), e.Settles, 0)
	}
	switch {
	case e.Kind == Pending:
		f.open[e.Seq] = SnapshotEntry{Seq: e.Seq, Debit: e.Debit, Credit: e.Credit, Amount: e.Amount}
		f.pend(e, 1)
	case e.Debit == 0 && e.Credit == 0:
		f.differ("amount that moves on no account", fmt.Sprint("entry ", e.Seq), 0, e.Amount)
	default:
		debit, credit := f.balance(e.Debit), f.balance(e.Credit)
		debit.Debit, credit.Credit = debit.Debit.Plus(llm.Money(e.Amount)), credit.Credit.Plus(llm.Money(e.Amount))
	}
}

func (f *fold) pend(e *SnapshotEntry, sign int64) {
	debit, credit := f.balance(e.Debit), f.balance(e.Credit)
	amount := llm.Money(sign * e.Amount)
	debit.PendingDebit, credit.PendingCredit = debit.PendingDebit.Plus(amount), credit.PendingCredit.Plus(amount)
}

func (f *fold) balance(account int64) *Balance {
	b := f.balances[account]
	if b == nil {
		b = &Balance{}
		f.balances[account] = b
	}
	return b
}

func (f *fold) accounts(ctx context.Context, n Snapshot) error {
	all, err := n.Accounts(ctx)
	if err != nil {
		return err
	}
	var debit, credit llm.Money
	for i := range all {
		a := &all[i]
		want := f.balance(a.ID)
		f.differ("what is debited", a.Name, int64(want.Debit), int64(a.Debit))
		f.differ("what is credited", a.Name, int64(want.Credit), int64(a.Credit))
		f.differ("what is debited and pending", a.Name, int64(want.PendingDebit), int64(a.PendingDebit))
		f.differ("what is credited and pending", a.Name, int64(want.PendingCredit), int64(a.PendingCredit))
		delete(f.balances, a.ID)
		debit, credit = debit.Plus(a.Debit), credit.Plus(a.Credit)
		if a.Side == Spend {
			f.Spent, f.Pending = f.Spent.Plus(a.Net()), f.Pending.Plus(a.PendingDebit)
		}
	}
	f.Accounts = int64(len(all))
	f.differ("the sum of all debits, which is that of all credits", "accounts", int64(credit), int64(debit))
	for _, id := range slices.Sorted(maps.Keys(f.balances)) {
		f.differ("accounts of that number", fmt.Sprint("account ", id), 1, 0)
	}
	return nil
}

func (f *fold) windows(ctx context.Context, n Snapshot) error {
	return n.Pools(ctx, func(p *Pool) error {
		f.Pools++
		want := f.pools[p.ID]
		if want == nil {
			want = &Move{}
		}
		where := fmt.Sprintf("window of %s from %d", p.Rule, p.Start)
		if p.Subject != "" {
			where = fmt.Sprintf("window of %s for %q from %d", p.Rule, p.Subject, p.Start)
		}
		f.differ("what is settled", where, want.Settled, p.Settled)
		f.differ("what is unknown", where, want.Unknown, p.Unknown)
		f.differ("what is over", where, want.Over, p.Over)
		f.differ("what is held, which is the sum of its leases", where, p.Leases, p.Held)
		if used := llm.Sum(p.Settled, -p.Over, p.Held, p.Unknown); p.Terms && used > p.Highest {
			f.differ("what is used, at most", where, p.Highest, used)
		}
		return nil
	})
}

func (f *fold) unknowns(ctx context.Context, n Snapshot) error {
	open, err := n.Open(ctx)
	if err != nil {
		return err
	}
	f.Unknown = int64(len(open))
	for _, seq := range open {
		if _, ok := f.open[seq]; !ok {
			f.differ("an entry that is pending, and nothing has ended it", fmt.Sprint("entry ", seq), 1, 0)
		}
		delete(f.open, seq)
	}
	for _, seq := range slices.Sorted(maps.Keys(f.open)) {
		f.differ("the list of what is unknown, which has it", fmt.Sprint("entry ", seq), 1, 0)
	}
	return nil
}

// exchanges compares those up to one that were not compared yet.
func (f *fold) exchanges(ctx context.Context, n Snapshot, last int64) error {
	if last <= f.compared || !f.withExchanges {
		return nil
	}
	err := n.Exchanges(ctx, f.compared+1, last, func(x *Exchange) error {
		f.Exchanges++
		c := f.costs[x.Seq]
		if c == nil {
			c = &cost{}
		}
		f.differ("what its tries came to", "exchange "+x.ID, x.Cost, c.amount)
		if c.pending && !x.Unknown {
			f.differ("tries whose end is unknown", "exchange "+x.ID, 0, 1)
		}
		return nil
	})
	maps.DeleteFunc(f.costs, func(seq int64, _ *cost) bool { return seq <= last })
	f.compared = last
	return err
}
