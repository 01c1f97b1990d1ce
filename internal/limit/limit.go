// Package limit decides how much a caller may use: requests and tokens a minute, calls at once, and money or tokens in a window of
// time. All that hold for a call must admit it, so the strictest wins.
//
// Money and tokens of budgets are reserved before a try is sent, at the most that the try may come to, and settled after it; how
// replicas share one budget without asking each other is the package escrow's. Rates are counted in sliding windows.
//
// It does not check keys (auth), queue calls for a busy provider (admission), mirror the limits of providers (quota), or keep the
// books (ledger).
package limit

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/window"
)

// A Scope says whose calls something holds for; all members that are set must fit. Each, in Project, Key or User, makes one of it
// for each that there is, without naming them.
type Scope struct {
	Org     string `json:"org,omitzero"`     // name
	Project string `json:"project,omitzero"` // id
	Key     string `json:"key,omitzero"`     // id
	User    string `json:"user,omitzero"`    // end user, as callers name it
	Model   string `json:"model,omitzero"`   // glob on the asked-for name, or on PROVIDER/MODEL
}

// Each stands for every project, key or user, each for itself.
const Each = "*"

// A Mode says what becomes of a call that is over a limit.
type Mode string

// The modes.
const (
	Enforce Mode = "enforce" // it is refused
	Observe Mode = "observe" // it is let through, counted and told of
)

// A Measure is what is counted a minute, or at once.
type Measure string

// The measures.
const (
	Requests     Measure = "requests"
	InputTokens  Measure = "input_tokens"
	OutputTokens Measure = "output_tokens"
	Tokens       Measure = "tokens"     // input and output together
	Concurrent   Measure = "concurrent" // calls at once, not a minute
)

// Measures are all of them, in the order of the documentation.
func Measures() []Measure { return []Measure{Requests, InputTokens, OutputTokens, Tokens, Concurrent} }

// A Rate is so much a minute, or at once.
type Rate struct {
	Measure Measure `json:"measure"`
	Amount  int64   `json:"amount"`
	Mode    Mode    `json:"mode"`
}

// A Limit is a rate for a scope.
type Limit struct {
	ID string `json:"id"`
	Scope
	Rate
	Version int64     `json:"version"` // see Store
	Set     time.Time `json:"set"`
}

// A Unit is what a budget is counted in.
type Unit string

// The units.
const (
	USD        Unit = "usd"    // amounts are nano-dollars
	TokenCount Unit = "tokens" // amounts are tokens, input and output together
)

// Terms are what a budget allows, whoever it is for.
type Terms struct {
	Unit   Unit       `json:"unit"`
	Amount int64      `json:"amount"` // nano-dollars or tokens, at least 0
	Per    window.Per `json:"per"`
	Zone   string     `json:"zone,omitzero"` // name of a time zone; "" is UTC
	From   time.Time  `json:"from,omitzero"` // of a term
	To     time.Time  `json:"to,omitzero"`
	Mode   Mode       `json:"mode"`
	// Alerts are the shares of the amount, in percent, at which somebody is told; none is 50, 80, 90 and 100.
	Alerts []int `json:"alerts,omitempty"`
	// Kept are the shares that only calls with a tag may use: calls without it stop earlier.
	Kept []Kept `json:"kept,omitempty"`
}

// A Kept is a part of a budget for calls that carry a tag.
type Kept struct {
	Tag   string `json:"tag"`
	Share int    `json:"share"` // percent, 1 to 99
}

// A Budget is an amount for a scope in every window.
type Budget struct {
	ID string `json:"id"`
	Scope
	Terms
	Version int64     `json:"version"` // see Store
	Set     time.Time `json:"set"`
}

// A Tier is a named bundle that projects, keys and end users are given.
type Tier struct {
	Name string `json:"name"`
	// Class is the best class that its calls may have: priority, default or flex; "" is priority. Models are globs on the asked-for
	// names, none is all.
	Class  string   `json:"class,omitzero"`
	Models []string `json:"models,omitempty"`
	// MaxInput and MaxOutput cap one call, in tokens; 0 does not. A call without a cap of its own gets MaxOutput.
	MaxInput  int64     `json:"max_input,omitzero"`
	MaxOutput int64     `json:"max_output,omitzero"`
	Rates     []Rate    `json:"limits,omitempty"`
	Budgets   []Terms   `json:"budgets,omitempty"`
	Version   int64     `json:"version"` // see Store
	Set       time.Time `json:"set"`
}

// An Assignment gives a tier to a project, to a key, or to an end user of a project. User Each is every end user that has no other.
type Assignment struct {
	Project string    `json:"project"` // id
	Key     string    `json:"key,omitzero"`
	User    string    `json:"user,omitzero"`
	Tier    string    `json:"tier"`
	Set     time.Time `json:"set"`
}

// Definitions are all that is in force, as of one version.
type Definitions struct {
	Version  int64
	Budgets  []Budget
	Limits   []Limit
	Tiers    []Tier
	Assigned []Assignment
}

// Store is what limit needs to have kept of definitions. Each method is one transaction with an entry of the audit chain; a write
// is durable when it returns. Errors are faults NotThere and AlreadyThere where those are meant.
//
// The version of a budget, limit or tier grows by one with every change of it. One that is set again after it was deleted has a version
// that is more than one above each that it had.
type Store interface {
	// LimitVersion grows with every change.
	LimitVersion(ctx context.Context) (int64, error)
	Definitions(ctx context.Context) (Definitions, error)
	// SetBudget makes a budget, or changes the one of the same scope, unit, length and (of a term) beginning: its id stays, its
	// version grows, and what was used of the window stays used. It returns what is kept. It changes nothing if the budget is not
	// what the change was made on top of, nor if b has an id and was is a version of another one.
	SetBudget(ctx context.Context, b Budget, was Was) (Budget, error)
	DeleteBudget(ctx context.Context, id string) (Budget, error)
	// SetLimit is SetBudget for a limit: one for each scope and measure.
	SetLimit(ctx context.Context, l Limit, was Was) (Limit, error)
	// SetLimits sets all or none. What each was has the same place in was; nil is whatever there is.
	SetLimits(ctx context.Context, all []Limit, was []Was) ([]Limit, error)
	DeleteLimit(ctx context.Context, id string) (Limit, error)
	SetTier(ctx context.Context, t Tier, was Was) (Tier, error)
	// DeleteTier refuses a tier that somebody has, with a fault InUse.
	DeleteTier(ctx context.Context, name string) (Tier, error)
	// Assign gives a tier, or with Tier "" takes it.
	Assign(ctx context.Context, a Assignment) error
	// Windows lists how windows of budgets stand, the newest first. One in which nothing was reserved has no End and
	// no Limit; one in which nothing was used is not there.
	Windows(ctx context.Context, q WindowQuery) ([]Standing, error)
}

// A WindowQuery chooses windows; zero values choose all.
type WindowQuery struct {
	Budget, Subject string
	Keys            []escrow.Key // only these, at most 500
	At              time.Time    // only windows that this instant is in
	Limit           int
}

// A Standing is how one window of a budget stands, in the budget's unit.
type Standing struct {
	Budget  string    `json:"budget"`
	Subject string    `json:"subject,omitzero"`
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Limit   int64     `json:"limit"`
	Settled int64     `json:"settled"`
	Held    int64     `json:"held"`
	Unknown int64     `json:"unknown"`
	Over    int64     `json:"overrun"`
	Free    int64     `json:"free"`
}

// Money is an amount of a budget in dollars.
func (t *Terms) Money() llm.Money { return llm.Money(t.Amount) }
