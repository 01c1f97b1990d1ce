// Package pipeline is the frame of the request path: an exchange goes through wrapping stages to the handler that has
// it answered, and the answer comes back through them as a sequence of events.
//
// It holds no feature. The order of the stages is not here either but in server/pipeline.go.
package pipeline

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// A Handler answers an exchange. An error means that no event was produced, so the caller may still choose another
// target or status code. Whoever gets a Response must walk its Events, or end ctx.
type Handler func(ctx context.Context, x *Exchange) (*llm.Response, error)

// A Stage wraps a handler. What must survive from before the call to after it is a local variable; cleanup is defer;
// not calling next is how a stage answers by itself. A stage that looks at the answer wraps Response.Events.
type Stage func(next Handler) Handler

// Chain puts stages around a handler, the first outermost.
func Chain(h Handler, stages ...Stage) Handler {
	for _, s := range slices.Backward(stages) {
		h = s(h)
	}
	return h
}

// A Caller is who an exchange is for: the owner of the key that was checked. It is shared and immutable.
type Caller struct {
	Org, Project, Key string // ids
	ProjectName       string
	KeyName           string
	KeyPrefix         string            // the key's first characters, safe to show
	Strict            bool              // records are synced to the disk before dispatch
	KeepBodies        bool              // what is asked and answered is kept, sealed
	Stateless         bool              // no response is kept to go on from
	Labels            map[string]string // the project's; nobody changes them
	// Regions are where the project's data may go, as globs on the regions of targets; none is anywhere. PrivateOnly keeps it
	// with whoever runs Penstock.
	Regions     []string
	PrivateOnly bool
	FirstKey    string // that Key was rotated from, over all rotations; "" is Key itself
}

// KeyLine is the id of the first of the keys that the caller's was rotated from. What is set for a key is kept by it, so that a
// rotation is no way to a second budget.
func (c *Caller) KeyLine() string {
	if c.FirstKey != "" {
		return c.FirstKey
	}
	return c.Key
}

// An Exchange is one request's passage. Each field has one writer, named beside it; business data never travels in ctx.
type Exchange struct {
	ID       string    // gateway: time-ordered
	Received time.Time // gateway: when its head had been read, with the monotonic clock
	// Time is when that was by the clock that records go by, and Corrected by how much that is not this machine's. The zero
	// Time is Received.
	Time      time.Time     // gateway
	Corrected time.Duration // gateway
	Caller    *Caller       // gateway, from auth
	// Request is nil if the body could not be understood; Refused says why.
	Request *llm.Request // gateway
	// Refused is why the exchange ends before any stage has its say; it is recorded like every other.
	Refused  error         // gateway
	Dialect  llm.Dialect   // gateway: the client's
	Op       llm.Operation // gateway
	ClientID string        // gateway: the client's own request id, as sent
	Tags     []string      // gateway: from X-Penstock-Tags
	Trace    w3c.Context   // gateway: the client's, else of a trace of its own, then without a span
	Deadline time.Time     // gateway: the client's, zero if none
	// Class is the one that the exchange waits in: "priority" or "flex", "" is the default.
	Class string // gateway
	// Begun says that the client was sent status 200 before there was an answer, to keep its connection alive.
	Begun atomic.Bool // gateway
	// Allowance is what the caller may use, nil if nothing limits it.
	Allowance Allowance // limit
	// Life is how long it runs. Whoever has something to do at the end joins it.
	Life Life // Living
	// OutputCap is what one choice may generate at most where the caller asks for more or does not say, in tokens; DefaultOutput is the
	// cap where it does not say and a budget needs one. 0 is none.
	OutputCap, DefaultOutput int64 // gateway, then route
	// Once is there if the caller wants that what it asks for happens once, however often it asks.
	Once Once // gateway

	Choice *Choice // route: nil if there was nothing to choose
	Tries  []Try   // route
	// Answering is which of Tries gives the answer, once there is one.
	Answering int        // route
	Decisions []Decision // every stage, through Note
}

// An Allowance is what limits an exchange, for whoever tells the caller.
type Allowance interface {
	// Rates appends how the rate limits of the exchange stand.
	Rates(dst []RateStanding) []RateStanding
	// Low is how much of the fullest budget that the exchange counts for is used, in percent, at least 0.
	Low() int
}

// A RateStanding is how a rate limit stands: so much a minute.
type RateStanding struct {
	Measure     string // "requests", "tokens", "input_tokens", "output_tokens"
	Limit, Left int64
	Reset       time.Duration // until all of it is there again
}

// An Unaffordable error says that a try cannot be paid from a budget, or must not be; another target may be cheaper.
type Unaffordable struct {
	Why string // in a few words, for the record
	Err error  // what the caller is told if there is no other; a fault
}

// Error gives both.
func (u *Unaffordable) Error() string { return u.Why + ": " + u.Err.Error() }

// Unwrap gives what the caller is told.
func (u *Unaffordable) Unwrap() error { return u.Err }

// A Once sees to it that a call that is made again is not run again.
type Once interface {
	// Begin gives the answer, or the error, that the exchange has because its call was made before; neither lets it go on. It may
	// wait, until ctx ends. Errors are faults.
	Begin(ctx context.Context) (*llm.Response, error)
}

// Note adds a stage's decision to the record: what it decided and why, in words for a person. Took is the stage's own
// time, 0 if it was not measured.
func (x *Exchange) Note(stage, decision string, took time.Duration) {
	x.Decisions = append(x.Decisions, Decision{Stage: stage, Decision: decision, AtNS: int64(time.Since(x.Received)), TookNS: int64(took)})
}

// A Decision is what one stage decided.
type Decision struct {
	Stage    string `json:"stage"`
	Decision string `json:"decision"`
	AtNS     int64  `json:"at_ns,omitzero"`   // when it was decided, in nanoseconds from Exchange.Received; 0 is not known
	TookNS   int64  `json:"took_ns,omitzero"` // the stage's own time until then, 0 if it was not measured
}

// A Choice is how the first target of an exchange was chosen: what there was to choose from, and how likely each was to be
// the first. Another policy can be judged by it afterwards.
type Choice struct {
	Policy string `json:"policy"`
	// Rule says which rule of the configuration chose the policy or bounded the targets, "" if none did.
	Rule string `json:"rule,omitzero"`
	// Candidates are all targets of the model, in the order of the configuration.
	Candidates []Candidate `json:"candidates"`
}

// A Candidate is a target as the choice saw it.
type Candidate struct {
	Target string `json:"target"` // with "@HOST:PORT" behind it if it is one of several servers
	// Excluded is why the target could not be chosen, in words for a person; "" if it could.
	Excluded string `json:"excluded,omitzero"`
	// Score is what the policy went by, in its unit: seconds (to the first token of a stream, else to the end of the answer),
	// nano-dollars, a weight, a place in the order; below 0 if that is not known.
	Score float64 `json:"score,omitzero"`
	// Probability is that of having been the first to be tried, 0 to 1.
	Probability float64 `json:"probability,omitzero"`
}

// An Outcome says how a try ended. Every try ends in exactly one.
type Outcome string

// The outcomes of a try.
const (
	// SettledActual: the provider reported what it billed.
	SettledActual Outcome = "settled_actual"
	// SettledEstimated: something was generated and Penstock counted it itself.
	SettledEstimated Outcome = "settled_estimated"
	// Released: there is evidence that nothing was billed, such as a refused connection.
	Released Outcome = "released"
	// Unknown: what the provider billed cannot be known.
	Unknown Outcome = "unknown"
)

// A Try is one upstream attempt, as the record shows it. Times are nanoseconds from Exchange.Received.
type Try struct {
	ID       string `json:"id"`
	Target   string `json:"target"`
	StartNS  int64  `json:"start_ns"`
	TookNS   int64  `json:"took_ns"`
	FirstNS  int64  `json:"first_token_ns,omitzero"` // 0: there was none
	Status   int    `json:"status,omitzero"`         // the provider's, 0 if there was none
	Reason   string `json:"reason"`                  // why it ended: "ok", or what went wrong
	Detail   string `json:"detail,omitzero"`         // for the operator, redacted
	Upstream string `json:"upstream_id,omitzero"`    // of the call, from the provider's headers
	// Endpoint is the server that was asked, HOST:PORT, if the target has several.
	Endpoint string `json:"endpoint,omitzero"`
	// Credential is which of the provider's credentials was shown, counted from 1, if it has several.
	Credential int `json:"credential,omitzero"`
	// Hedge says that the try was sent beside an earlier one that was slow to begin.
	Hedge bool `json:"hedge,omitzero"`
	// AnswerID, Model and Finish are what the provider said of its answer: its id, the model that gave it, and why each
	// choice ended, in the provider's words; other for a word that is none.
	AnswerID string             `json:"response_id,omitzero"`
	Model    string             `json:"response_model,omitzero"`
	Finish   []llm.FinishReason `json:"finish_reasons,omitempty"`
	// Tier and Region are how and where the provider says that it served the try, in its words; its price goes by them.
	Tier   string `json:"service_tier,omitzero"`
	Region string `json:"inference_region,omitzero"`

	// Cut says that Penstock ended the stream at its cap, since the provider took no notice of that: it may bill more than is settled.
	Cut bool `json:"cut,omitzero"`

	Outcome  Outcome   `json:"outcome"`
	Usage    llm.Usage `json:"usage"`
	CostNano llm.Money `json:"cost_nano"`
	FeeNano  llm.Money `json:"fee_nano,omitzero"` // of CostNano, what is for the call itself and for searches, and not for its tokens
	Unpriced bool      `json:"unpriced,omitzero"`
	// Price is the target's at dispatch, nil if it has none; what changes later does not change this try.
	Price *llm.Price `json:"-"`
	// MaxOutput is the cap on generated tokens of each choice that the try was sent with for the sake of limits; 0 is none.
	MaxOutput int64 `json:"max_output,omitzero"`
	// BoundNano is the most that the try may cost, as it was reckoned before it was sent; 0 if that is not known.
	BoundNano llm.Money `json:"bound_nano,omitzero"`
	// Charges are what budgets the try counts for, and what was reserved from each.
	Charges []Charge `json:"charges,omitempty"`
	// Held is what is reserved for the try, nil if nothing is, or no longer.
	Held Reservation `json:"-"`
}

// A Charge is a try's part of one window of a budget.
type Charge struct {
	Budget  string `json:"budget"`           // id
	Subject string `json:"subject,omitzero"` // whose part it is where the budget holds for each of many
	Start   int64  `json:"window"`           // when the window begins, in microseconds since 1970
	Lease   string `json:"lease,omitzero"`   // that was reserved from; "" if the budget only observes and had too little
	Held    int64  `json:"held"`             // what was reserved: nano-dollars or tokens
	Tokens  bool   `json:"tokens,omitzero"`  // the unit is tokens
}

// Spent is what a try came to for a charge, in its unit: all that was reserved as long as that is not known, or may be more.
func (c *Charge) Spent(t *Try) int64 {
	if t.Cut && t.Outcome == SettledEstimated {
		return max(c.Held, c.spent(t))
	}
	return c.spent(t)
}

func (c *Charge) spent(t *Try) int64 {
	switch {
	case t.Outcome == Released:
		return 0
	case t.Outcome == Unknown:
		return c.Held
	case c.Tokens:
		return int64(llm.Money(max(t.Usage.Input, 0)).Plus(llm.Money(max(t.Usage.Output, 0)))) // a provider may report anything
	}
	return max(int64(t.CostNano), 0)
}

// Settle settles what is held for the try, and is nothing if that is done already. It is called where the outcome is
// decided: by route for a try that failed, by usage for one that answered or whose end nobody saw.
func (t *Try) Settle() {
	held := t.Held
	t.Held = nil
	if held != nil {
		held.Settle(t)
	}
}

// A Reservation is money that is held for a try. It is settled exactly once, with a try whose Outcome, Usage and CostNano
// are set.
type Reservation interface {
	Settle(try *Try)
}
