// Package health knows which targets are well: it sees what becomes of tries, takes a target that fails out of the choice,
// lets one call find out whether it is well again, and brings it back little by little. Operators take targets out by hand.
//
// A [Board] holds a [Target] for each unit of choice. What route asks on the path of a request ([Target.State]) takes no lock
// and allocates nothing. Replicas share ejections, and the one call that tries an ejected target, through a [Store] that a
// worker talks to; while the store is away each replica goes on by itself, since health is not about identity or money.
//
// The package makes no calls and chooses no targets, knows nothing of models that share a target (see [Available] for pools),
// of rate limits (429 is no illness) and of credentials (nor is 401).
package health

import (
	"context"
	"time"
)

// A Kind is how a target is.
type Kind uint8

// The kinds. The zero value is well.
const (
	// Healthy targets get their full share.
	Healthy Kind = iota
	// Ramping targets were ejected until a moment ago and get State.Share of what they would get.
	Ramping
	// HalfOpen targets are ejected, and one call may find out whether that is still right: whoever gets [Target.Probe].
	HalfOpen
	// Ejected targets get no calls, as far as the others of their pool can do without them.
	Ejected
	// Disabled targets were taken out by an operator and get no calls at all.
	Disabled
)

var kindNames = [...]string{Healthy: "healthy", Ramping: "ramping", HalfOpen: "half_open", Ejected: "ejected", Disabled: "disabled"}

// String is the name in metrics, records and the control plane.
func (k Kind) String() string { return kindNames[k] }

// Kinds lists all kinds.
func Kinds() []Kind { return []Kind{Healthy, Ramping, HalfOpen, Ejected, Disabled} }

// A State is how a target is at an instant. Its instants have monotonic readings.
type State struct {
	Kind Kind
	// Share is what the target may get of its full share, 0 to 1: 0 for the half-open, the ejected and the disabled.
	Share float64
	// Since is when it came to be so; zero for a target that has been well ever since the process began.
	Since time.Time
	// Until is when it will be otherwise by itself: an ejected target half-open, a ramping one healthy, a disabled one enabled.
	// Zero if that is not known.
	Until time.Time
	// Failing is since when an ejected target has been failing; zero for others.
	Failing time.Time
	// Reason says why in a word, such as connect_error; of a disabled target, what the operator wrote.
	Reason string
}

// An Outcome is what a try says of its target.
type Outcome string

const (
	// Ignored is a try that says nothing of its target: the request was refused, the credential was, a limit was reached, the
	// caller left, or nothing was sent.
	Ignored Outcome = ""
	// Success is a try that was answered.
	Success Outcome = "ok"
)

// Failed is a try that failed as one does at a target that is not well. The reason is one of few words of ours, such as
// connect_error: it becomes a label of metrics.
func Failed(reason string) Outcome { return Outcome(reason) }

// A Token is a try under way. The zero Token is of no try.
type Token struct {
	epoch uint64
	probe bool // it was given by Probe
	due   bool // it began when the ejection had run out
}

// An Ejection is what replicas share of an ejected target. Its instants are the store's.
type Ejection struct {
	Target   string
	Since    time.Time // when it was ejected first in this outage
	Until    time.Time // when a call may find out; also what tells one ejection of a target from the next
	Failing  time.Time
	Reason   string
	Instance string // which replica saw it
}

// A Disabling is an operator's word that a target, or all of a provider, is not to be used.
type Disabling struct {
	Name   string // PROVIDER/MODEL, or PROVIDER
	Reason string // "" if none was given
	ByKey  string // id of the key of whoever did it
	ByName string
	Since  time.Time
	Until  time.Time // zero: until it is enabled
}

// Store is what health needs to have kept, and shared. Each method is one transaction.
type Store interface {
	// Eject notes an ejection and gives what is noted now: if another replica was here first, the earlier beginnings and the
	// later end. Whoever may probe is forgotten.
	Eject(ctx context.Context, e Ejection) (Ejection, error)
	// Recover forgets the ejection of a target unless it was noted anew with an end after until.
	Recover(ctx context.Context, target string, until time.Time) error
	// LeaseProbe lets a holder, and nobody else for so long, find out whether the target of an ejection is well. It is asked
	// again while that lasts. No, if another has it, or there is no such ejection any more; with 0 it is given back.
	LeaseProbe(ctx context.Context, target string, until time.Time, holder string, d time.Duration) (yes bool, err error)
	// Disable notes that a target is disabled, in place of an earlier word about it, with an entry of the audit chain. It is a
	// fault InvalidRequest if there are so many already. Words that are over are forgotten.
	Disable(ctx context.Context, d Disabling, most int) (Disabling, error)
	// Enable forgets that a target or a provider is disabled, and all its ejections, with an entry of the audit chain. It is a
	// fault NotThere if it is neither disabled nor ejected.
	Enable(ctx context.Context, name string) error
	// HealthVersion grows with every change of what Health reads.
	HealthVersion(ctx context.Context) (int64, error)
	// Health reads all of one version: ejections and disablings, those that are over too, by name.
	Health(ctx context.Context) (Shared, error)
}

// Shared is all that the store has, of one version.
type Shared struct {
	Version   int64
	Ejections []Ejection
	Disabled  []Disabling
}
