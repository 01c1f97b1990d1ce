// Package audit is the chain of administrative acts: who did what to what, when and from where, with what was there before
// and after, each entry bound to the one before it by a hash.
//
// An entry is written in the transaction of the act itself, by the store ([Store] and the methods that change something),
// so that there is no act without its entry and no entry without its act. Who acts travels in the context ([As]), because
// it belongs to the request and not to any one change; what was done is named where it is done. Checkpoints, signed and
// kept outside the store, make it seen that the end of the chain was cut off, or all of it replaced.
//
// The package holds no rules about who may do what (auth), writes no SQL (store), and is not the record of exchanges
// (usage). Entries hold public views only: never a key, never a hash of one, never a body.
package audit

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Action names one kind of act for good: whoever reads the chain may branch on it. docs/audit.md lists them.
type Action string

// The actions. A new one is a line here, a line in docs/audit.md, and the store method that appends it.
const (
	AdminKeyMade    Action = "admin_key.create" // by the process itself, at its first start
	ProjectMade     Action = "project.create"
	ProjectSet      Action = "project.set"
	KeyMade         Action = "key.create"
	KeyRevoked      Action = "key.revoke"
	KeyRotated      Action = "key.rotate"
	PricesSet       Action = "price.set"
	StopSet         Action = "stop.set"
	StopLifted      Action = "stop.lift"
	ConfigTaken     Action = "config.load"      // by the process: at its start, and when the file changed
	Checkpointed    Action = "audit.checkpoint" // on demand; those by the clock leave no entry
	ChainExported   Action = "audit.export"
	SupportRead     Action = "support.read" // the inside of the process, for a support bundle
	KeySet          Action = "key.set"
	TenantsExported Action = "tenants.export" // projects, keys as hashes, and prices
	// By the process where it has found in the file what nobody asked it for.
	DataKeyAdded   Action = "keyring.rotate"
	RingWrapped    Action = "keyring.rewrap"
	BodiesRead     Action = "bodies.read"
	BackupTaken    Action = "backup.take"
	StoreRestored  Action = "backup.restore"  // by a command on the host, which has no key
	AdminKeyReset  Action = "admin_key.reset" // as above
	HoldMade       Action = "hold.create"
	HoldLifted     Action = "hold.lift"
	TargetDisabled Action = "target.disable"
	TargetEnabled  Action = "target.enable"
	TrySettled     Action = "ledger.settle"       // what a try came to whose end was unknown
	LeaseSettled   Action = "ledger.settle_lease" // what came of a part of a budget whose process is lost
	LedgerAdjusted Action = "ledger.adjust"
	BudgetSet      Action = "budget.set"
	BudgetDeleted  Action = "budget.delete"
	LimitSet       Action = "limit.set"
	LimitDeleted   Action = "limit.delete"
	TierSet        Action = "tier.set"
	TierDeleted    Action = "tier.delete"
	TierAssigned   Action = "tier.assign"
	TierTaken      Action = "tier.take"
)

// Actions lists all actions.
func Actions() []Action {
	return []Action{
		AdminKeyMade,
		ProjectMade,
		ProjectSet,
		KeyMade,
		KeyRevoked,
		KeyRotated,
		PricesSet,
		StopSet,
		StopLifted,
		ConfigTaken,
		Checkpointed,
		ChainExported, SupportRead,
		KeySet,
		TenantsExported,
		DataKeyAdded,
		RingWrapped,
		BodiesRead,
		BackupTaken,
		StoreRestored,
		AdminKeyReset,
		HoldMade,
		HoldLifted,
		TargetDisabled,
		TargetEnabled,
		TrySettled,
		LeaseSettled,
		LedgerAdjusted,
		BudgetSet, BudgetDeleted,
		LimitSet, LimitDeleted,
		TierSet, TierDeleted, TierAssigned, TierTaken,
	}
}

// An Act is what was done to what.
type Act struct {
	Action  Action
	Object  string // id of what it was done to, or its name where it has no id; "" if it is about the whole
	Project string // id of the project that the object belongs to, "" if none
	// Before and After are public views of the object, which JSON can hold; nil where there is none. What is named in
	// them stays readable for good.
	Before, After any
	Reason        string // what the actor gave as reason, "" if none was asked for
}

// An Actor is who acts, and from where.
type Actor struct {
	Key     string `json:"key"` // id of the key; "process" for what Penstock does by itself, "command" for one on the host
	Name    string `json:"name,omitzero"`
	Prefix  string `json:"prefix,omitzero"` // the first characters of the key
	Role    string `json:"role"`
	Org     string `json:"org,omitzero"`
	Project string `json:"project,omitzero"`    // id of the project that the key was made for
	Address string `json:"address,omitzero"`    // that the request came from
	Agent   string `json:"user_agent,omitzero"` // as the client named itself
	Request string `json:"request,omitzero"`    // id of the request, which logs and answers carry
}

// Process is who acts when nobody asked: Penstock itself.
func Process() Actor { return Actor{Key: "process", Role: "process"} }

// Command is who acts by a command that works on the store itself, on the host and without a key: user is its name there.
func Command(user, command string) Actor {
	return Actor{Key: "command", Role: "command", Name: user, Agent: command}
}

type actorKey struct{}

// As gives a context in which the actor acts. What is done without it is done by the process.
func As(ctx context.Context, a Actor) context.Context { return context.WithValue(ctx, actorKey{}, a) }

// ActorOf is who acts in the context.
func ActorOf(ctx context.Context) Actor {
	if a, ok := ctx.Value(actorKey{}).(Actor); ok {
		return a
	}
	return Process()
}

// Store is what audit needs to have kept.
type Store interface {
	// AppendAudit appends an act that changes nothing in the store, such as a reading of bodies. It is on the disk when
	// AppendAudit returns nil; give nothing out before.
	AppendAudit(ctx context.Context, act Act) error
	// AuditEntries lists entries, the newest first unless the filter says otherwise, at most limit.
	AuditEntries(ctx context.Context, f Filter, limit int) ([]Entry, error)
	// AuditHead is the end of the chain: its id is "" and its number 0 before the first entry.
	AuditHead(ctx context.Context) (Head, error)
}

// A Filter selects entries; zero fields select all.
type Filter struct {
	Actor, Object, Project string // ids
	Action                 Action
	From, To               time.Time // To is not part of the span
	Ascending              bool      // the oldest first
	After                  int64     // go on behind this number, in the direction of the list; 0 is from its start
}

// A Head is the end of a chain, or of a part of it.
type Head struct {
	Chain string `json:"chain"` // id of the chain, made with its first entry
	Seq   int64  `json:"seq"`   // number of the last entry, counted from 1; 0 is none
	Hash  Hash   `json:"hash"`  // of the last entry; of the empty chain, if there is none
}

// maxText bounds what a client says of itself, in bytes.
const maxText = 256

// plain is a text as the chain keeps it: valid, visible, and not at any length.
func plain(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
