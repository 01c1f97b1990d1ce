// Package ledger says what the books hold: entries of two accounts each, that are only ever added, and what follows from them.
//
// Each try that costs something has one entry, from the account of the project whose money it is to that of the provider that gets
// it. What a try came to may not be known: its entry is pending then, until another entry posts or voids it. The store writes the
// entries of tries, in the transaction that keeps their records; people add corrections.
//
// It does not know budgets (limit) and how replicas share them (escrow) but for what entries moved in their pools, reads no provider's
// exports, and runs no SQL (store).
package ledger

import (
	"context"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// A Kind says what an entry is. The numbers are kept.
type Kind int

// The kinds.
const (
	Posted    Kind = iota + 1 // a try, as the provider billed it
	Estimated                 // a try, as Penstock counted it
	Pending                   // a try of which it is not known what it came to; the amount is the most that it may be
	Settled                   // ends a pending entry: it came to the amount
	Void                      // ends a pending entry: it came to nothing
	Adjusted                  // a correction by hand, or from a provider's bill
	Lease                     // what a lease came to whose process is lost: it moves no money between accounts
)

var kindNames = [...]string{Posted: "posted", Estimated: "estimated", Pending: "pending", Settled: "settled", Void: "void", Adjusted: "adjusted", Lease: "lease"}

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Posted, Estimated, Pending, Settled, Void, Adjusted, Lease} }

// String is the name of a kind.
func (k Kind) String() string {
	if k < Posted || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// KindOf is the kind of a name; ok is false if there is none.
func KindOf(name string) (k Kind, ok bool) {
	for _, k := range Kinds() {
		if k.String() == name {
			return k, true
		}
	}
	return 0, false
}

// MarshalText writes the name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// A Side says whose account it is.
type Side string

// The sides of money: whose it is, and who gets it.
const (
	Spend Side = "spend"
	Owed  Side = "owed"
)

// An Account is one, with what its entries come to. Posted amounts only grow: a correction downwards is an entry the other way.
type Account struct {
	ID         int64  `json:"-"`
	Name       string `json:"name"`
	Side       Side   `json:"side"`
	Org        string `json:"org,omitzero"`
	Project    string `json:"project,omitzero"` // id
	Provider   string `json:"provider,omitzero"`
	Credential int    `json:"credential,omitzero"` // which of the provider's, from 1; 0 if it has one
	Balance
}

// A Balance is what entries come to on one account, in nano-dollars.
type Balance struct {
	Debit         llm.Money `json:"debit_nano"`
	Credit        llm.Money `json:"credit_nano"`
	PendingDebit  llm.Money `json:"pending_debit_nano"`
	PendingCredit llm.Money `json:"pending_credit_nano"`
}

// Net is what was spent, or what is owed.
func (a *Account) Net() llm.Money {
	if a.Side == Owed {
		return a.Credit - a.Debit
	}
	return a.Debit - a.Credit
}

// NameOf is the name of an account that is described by the rest: "spend:ORG/PROJECT", "owed:PROVIDER", "owed:PROVIDER#2".
func NameOf(a *Account) string {
	switch {
	case a.Side == Spend:
		return "spend:" + a.Org + "/" + a.Project
	case a.Credential > 0:
		return "owed:" + a.Provider + "#" + strconv.Itoa(a.Credential)
	}
	return "owed:" + a.Provider
}

// A Move is what an entry moved in one pool: it was added to what is settled, unknown, and over.
type Move struct {
	Pool                   int64 // the store's number
	Settled, Unknown, Over int64
}

// An Entry is one of the ledger.
type Entry struct {
	Seq    int64     `json:"seq"`
	At     time.Time `json:"at"`   // when the try was sent
	Made   time.Time `json:"made"` // when the entry was
	Kind   Kind      `json:"kind"`
	Debit  string    `json:"debit,omitzero"` // names of accounts
	Credit string    `json:"credit,omitzero"`
	Amount llm.Money `json:"amount_nano"`
	// Try is the id of the try, of a Lease entry that of the lease.
	Try      string `json:"try,omitzero"`
	Target   string `json:"target,omitzero"`
	Settles  int64  `json:"settles,omitzero"` // number of the pending entry that it ends
	Note     string `json:"note,omitzero"`
	Exchange int64  `json:"-"` // the store's number of it
	Moves    []Move `json:"-"`
}

// A Query chooses entries; zero fields choose all.
type Query struct {
	From, To     time.Time // of At; To is not part of the span
	Org, Project string
	Provider     string
	Try          string
	Kind         Kind
	After        int64 // go on behind this number
	Limit        int   // 0 is 100
}

// An Unknown is a try of which it is not known what it came to, and that nothing has settled yet.
type Unknown struct {
	Try        string    `json:"try"`
	Entry      int64     `json:"entry"` // number of the pending one
	At         time.Time `json:"at"`
	Org        string    `json:"org"`
	Project    string    `json:"project"` // id
	Target     string    `json:"target"`
	Credential int       `json:"credential,omitzero"`
	Bound      llm.Money `json:"bound_nano"` // the most that it may have cost; 0 if that is not known
	Reason     string    `json:"reason,omitzero"`
	// Held is what it holds of budgets, in their units.
	Held []UnknownPart `json:"held,omitempty"`
}

// An UnknownPart is what a try whose end is unknown holds of one window of a budget.
type UnknownPart struct {
	Rule    string `json:"rule"`
	Subject string `json:"subject,omitzero"`
	Start   int64  `json:"window"` // microseconds since 1970
	Amount  int64  `json:"amount"` // nano-dollars or tokens
	Tokens  bool   `json:"tokens,omitzero"`
}

// A DeadLease is a lease that nobody renews. What is in it may have been spent; nobody else gets it until its process comes back
// with its journal, or somebody settles it.
type DeadLease struct {
	ID       string    `json:"id"`
	Rule     string    `json:"rule"`
	Subject  string    `json:"subject,omitzero"`
	Start    int64     `json:"window"` // microseconds since 1970
	Journal  string    `json:"journal"`
	Amount   int64     `json:"amount"` // nano-dollars or tokens
	Renewed  time.Time `json:"renewed"`
	Restored bool      `json:"restored,omitzero"` // it is from before the store was put back from a backup
}

// A Resolution says what a try came to that nobody knew of.
type Resolution struct {
	Try    string
	Void   bool // nothing
	Amount llm.Money
	// Tokens is what it came to for budgets of tokens; below 0 all that it holds of them.
	Tokens int64
	Reason string
}

// A LeaseSettlement says what came of a lease that nobody renews, in the unit of its budget.
type LeaseSettlement struct {
	Lease  string
	Void   bool // nothing was spent from it
	Amount int64
	Tokens bool // the amount is tokens
	Reason string
}

// An Adjustment is a correction: so much more was billed, or less.
type Adjustment struct {
	Org, Project string // whose money it is; the project's id
	Provider     string
	Credential   int
	Target       string // "" if it is about no single one
	Try          string // that it corrects, "" if it is about none
	Amount       llm.Money
	At           time.Time // whose month it belongs to; zero is now
	Reason       string
	// Key stands for the correction, if it is not "": one that is made again under its key is not booked again, but gives the first
	// entry. Another under the same key is refused as AlreadyThere.
	Key string
	// Once has it refused as AlreadyThere if there is one for the same time, target, project and reason.
	Once bool
}

// A Total is what entries of a time come to that have all of this in common. Corrections downwards are below zero.
type Total struct {
	Org        string    `json:"org"`
	Project    string    `json:"project"` // id
	Provider   string    `json:"provider"`
	Credential int       `json:"credential,omitzero"`
	Target     string    `json:"target,omitzero"`
	Kind       Kind      `json:"kind"`
	Entries    int64     `json:"entries"`
	Amount     llm.Money `json:"amount_nano"`
}

// Store is what the ledger needs to have kept. Each method that changes something is one transaction with an entry of the audit
// chain. Errors are faults: NotThere, AlreadyThere where it was settled before, InUse where a process still renews a lease.
type Store interface {
	// LedgerEntries lists entries, the newest first.
	LedgerEntries(ctx context.Context, q Query) ([]Entry, error)
	// LedgerAccounts lists all accounts by name.
	LedgerAccounts(ctx context.Context) ([]Account, error)
	// LedgerUnknowns lists what is open, the oldest first, at most so many of each.
	LedgerUnknowns(ctx context.Context, limit int) ([]Unknown, []DeadLease, error)
	// LedgerPools says which windows of budgets pools are that entries moved something in, as far as they are kept.
	LedgerPools(ctx context.Context, ids []int64) (map[int64]PoolName, error)
	// LedgerTotals sums the entries of a time. Of those that are pending, it sums what nothing has ended yet.
	LedgerTotals(ctx context.Context, from, to time.Time) ([]Total, error)
	Reader
	SettleTry(ctx context.Context, r Resolution) (Entry, error)
	SettleLease(ctx context.Context, l LeaseSettlement) (Entry, error)
	AdjustLedger(ctx context.Context, a Adjustment) (Entry, error)
}
