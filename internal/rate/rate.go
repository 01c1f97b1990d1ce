// Package rate counts what callers use a minute and at once, and says when that is too much: requests, input, output and total tokens
// in any 60 seconds, and calls that run.
//
// What counts is a rule and a subject, such as one end user: each such pair has a sliding window of its own, which is made when it is
// first used and forgotten when it is empty again. A call is admitted by all its rules or by none, and a call that is refused uses
// nothing. Tokens are taken before they are known, at what calls are likely to use ([Learned]), and put right when the call has ended.
// Replicas share an amount through a [Store]: each holds a part of it, so that most calls ask nobody.
//
// It knows no scopes and tiers (limit), no money (escrow), and nothing of the limits that providers have (quota). Windows are by the
// monotonic clock of the process; no step of a machine's clock touches them. They are not kept over a restart.
package rate

import (
	"errors"
	"fmt"
	"time"
)

// What a rule may count.
const (
	Requests     = "requests"
	InputTokens  = "input_tokens"
	OutputTokens = "output_tokens"
	Tokens       = "tokens"     // input and output together
	Concurrent   = "concurrent" // calls that run, not a minute
)

// A Rule allows an amount a minute, or at once, to a subject.
type Rule struct {
	ID      string // names the rule for good
	Subject string // whose part it is where a rule holds for each of many, "" where it is one
	Measure string // Requests, InputTokens, OutputTokens, Tokens or Concurrent
	Amount  int64  // at least 0; what is over 2^56 is that
	// Observe lets calls over it pass, and tells of them. It counts what it would have let pass, so it tells of the calls that
	// it would have refused.
	Observe bool

	name uint64 // of what it counts in the book that has named it; 0 if none has
}

// A Need is what a call takes, or has used. All are at least 0; what is below counts as 0.
type Need struct {
	Requests int64 // 1, but for batches
	Input    int64 // tokens
	Output   int64 // tokens
}

// Span is how long what was used counts, but for a quarter of a second more ([Slack]).
const Span = time.Minute

// Slack is by how much longer than Span a use counts: what is admitted goes out a little later, and whoever counts there must not
// find more than the limit in any Span either.
const Slack = 250 * time.Millisecond

// An Exceeded is a rule that a call does not fit.
type Exceeded struct {
	Rule  Rule
	Need  int64 // of the rule's measure
	Limit int64
	Left  int64 // at least 0
	// RetryAfter is when there is room, if nobody else takes it. It is at most Span and Slack. Of calls at once, and of what other
	// replicas hold, it is a guess: a second.
	RetryAfter time.Duration
	Never      bool // the call is larger than the limit
}

// Error says what does not fit where.
func (e *Exceeded) Error() string {
	return fmt.Sprintf("rule %s: %d %s needed, %d of %d left", e.Rule.ID, e.Need, e.Rule.Measure, e.Left, e.Limit)
}

// ErrUnavailable says that it cannot be known whether a call fits: what this replica holds does not do, and the store does not
// answer.
var ErrUnavailable = errors.New("rates cannot be shared: the store does not answer")

// A Standing is how a rule stands for a subject.
type Standing struct {
	Rule  Rule
	Limit int64
	Left  int64         // at least 0; of a shared amount as far as this replica knows
	Reset time.Duration // until all is there again, 0 if it is; of calls at once it is 0
	Next  time.Duration // until some of it comes back, 0 if all is there
}

// kind is a measure as a number. The lowest bits of a window's name are its kind, so it is never 0.
type kind uint64

const (
	noKind kind = iota
	requests
	input
	output
	tokens
	concurrent
)

// kindBits are the bits of a window's name that its kind is in.
const kindBits = 7

func kindOf(measure string) kind {
	switch measure {
	case Requests:
		return requests
	case InputTokens:
		return input
	case OutputTokens:
		return output
	case Tokens:
		return tokens
	case Concurrent:
		return concurrent
	}
	return noKind
}

// of is what is counted of a need.
func (k kind) of(n Need) int64 {
	switch k {
	case requests:
		return clamp(n.Requests)
	case input:
		return clamp(n.Input)
	case output:
		return clamp(n.Output)
	case tokens:
		return clamp(clamp(n.Input) + clamp(n.Output))
	case concurrent:
		return 1
	}
	return 0
}

// most is the largest amount there is: a minute of them can still be added up.
const most = 1 << 56

func clamp(n int64) int64 { return min(max(n, 0), most) }
