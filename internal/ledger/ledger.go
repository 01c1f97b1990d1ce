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
	From, To      time.Time // of At; To is not part of the span
	Org, Project  string
	Provider, Try string
	Kind          Kind
	After         int64 // go on behind this number
	Limit         int
}
