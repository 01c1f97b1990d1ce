// Package usage keeps the record of every exchange: what was asked, what each stage decided, each try, tokens and money.
//
// Its stage is the outermost of the pipeline. A record leaves the request's goroutine as one journal entry; a worker
// reads the journal and writes rows in batches, so the journal is the queue: it is bounded by the disk and not by
// memory, it outlives kill -9, and a slow store only makes the worker lag. If the journal cannot be written, the
// exchange is refused with 503 before anything is sent to a provider.
//
// It does not decide who may call or how much, and does not keep bodies.
package usage

import (
	"context"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// A Record is one exchange for good. Its JSON is a contract (explain --json, /exchanges/{id}).
type Record struct {
	ID      string        `json:"id"`
	Time    time.Time     `json:"time"`
	Org     string        `json:"org"`
	Project string        `json:"project"`
	Key     string        `json:"key"`
	User    string        `json:"user,omitempty"`
	Model   string        `json:"model"`  // as asked for
	Target  string        `json:"target"` // "provider/model" that answered, "" if none did
	Op      llm.Operation `json:"op"`
	Dialect llm.Dialect   `json:"dialect"`
	Stream  bool          `json:"stream"`
	Status  int           `json:"status"` // the HTTP status that the client was sent; 499 if it left before
	Error   *Error        `json:"error"`  // null if the answer was whole
	Usage   llm.Usage     `json:"usage"`  // over all tries
	// CostNano is the sum over all priced tries, in nano-dollars. Unpriced says that a try had no price, so that the sum
	// is not the whole.
	CostNano llm.Money `json:"cost_nano"`
	Unpriced bool      `json:"unpriced"`
	Timings  Timings   `json:"timings"`
	Class    string    `json:"class,omitzero"` // "priority" or "flex"; "" is the default
	// Choice is how the first target was chosen, nil if there was nothing to choose.
	Choice   *pipeline.Choice `json:"choice,omitempty"`
	Tags     []string         `json:"tags"`
	ClientID string           `json:"client_request_id,omitempty"`
	// Trace is the trace that the exchange is part of: the client's, if it sent one, else one of its own. ParentSpan is the
	// client's span in it. "" in records of versions that knew no traces.
	Trace      w3c.TraceID         `json:"trace"`
	ParentSpan w3c.SpanID          `json:"parent_span,omitzero"`
	Tries      []pipeline.Try      `json:"tries"`
	Stages     []pipeline.Decision `json:"stages"`
	// ClockMS is by how much Time is not what the clock of the process said, in milliseconds: that clock was wrong, and the
	// store's counts. 0 if they agreed.
	ClockMS int64 `json:"clock_corrected_ms,omitzero"`
	// Replayed says that the record was settled after a restart, from the journal.
	Replayed bool `json:"replayed,omitempty"`

	// TraceFlags and TraceState are the rest of the trace context. They are for exporters; the store does not keep them.
	TraceFlags w3c.Flags `json:"-"`
	TraceState string    `json:"-"`
}

// An Error is what the caller was told, and the cause for the operator.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"` // redacted; shown on the control plane only
}

// Timings are nanoseconds.
type Timings struct {
	TotalNS int64 `json:"total_ns"`                 // from the request's head to the answer's last event
	FirstNS int64 `json:"first_token_ns,omitempty"` // to the first content, 0 if there was none
	// OverheadNS is Penstock's own time: the total less the spans of all tries. The span of the try that answered ends
	// with its last event, so the passing on of a stream counts as the provider's; the arrival of the request's body
	// counts as Penstock's.
	OverheadNS int64 `json:"overhead_ns"`
}

// ForCaller is a copy of the record for the holder of the key: without what is for the operator only.
func (r *Record) ForCaller() *Record {
	c := *r
	if r.Error != nil {
		e := *r.Error
		e.Detail = ""
		c.Error = &e
	}
	c.Tries = slices.Clone(r.Tries)
	for i := range c.Tries {
		c.Tries[i].Detail = ""
	}
	return &c
}

// CostUnknown says that a try's outcome is unknown: what the provider billed for it, if anything, is not in the sums.
func (r *Record) CostUnknown() bool {
	for i := range r.Tries {
		if r.Tries[i].Outcome == pipeline.Unknown {
			return true
		}
	}
	return false
}

// A Filter selects records; zero values select all. Results are newest first.
type Filter struct {
	Project, Key, Model, Target, User, Tag string
	Status                                 string // "200", "4xx", "5xx", "ok", "error"
	From, To                               time.Time
	Trace                                  w3c.TraceID
	After                                  string // id; continue behind it
	Limit                                  int
}

// A Query asks for sums over records between two times; zero times do not bound. By are group columns, in order: org,
// project, key, user, model, target, tag, and one of day and hour. The others, where they are set, choose.
type Query struct {
	From, To time.Time
	By       []string
	// Zone is where days begin and end; nil is UTC. Hours are those of UTC in any case, which are whole in nearly all zones.
	Zone                                        *time.Location
	Org, Project, Key, User, Model, Target, Tag string
	Users                                       []string // where User is "" and this is not nil: any of these, of which "" is nobody
}

// A Sum is one group of a Query.
type Sum struct {
	Group    map[string]string `json:"group"`
	Requests int64             `json:"requests"`
	Errors   int64             `json:"errors"`
	Usage    llm.Usage         `json:"usage"`
	CostNano llm.Money         `json:"cost_nano"`
	Unpriced int64             `json:"unpriced"` // requests that are not, or not wholly, in the sum
	Unknown  int64             `json:"unknown"`  // requests with a try of which it is not known what it cost, which is then not in the sum
	// Settled are requests all of whose tries that were unknown are settled by now: they are not among Unknown. SettledNano
	// is what settled tries came to, those of requests with more of them that are still unknown too. It is not in CostNano, which
	// is what was known when the calls ended.
	Settled     int64     `json:"settled,omitzero"`
	SettledNano llm.Money `json:"settled_nano,omitzero"`
}

// Store is what usage needs to have kept.
type Store interface {
	// AddRecords writes records in one transaction together with how far the journal has been read. A record whose id is
	// there already is left as it is. The position is kept as given, even if it is smaller than the one before.
	// The records are the store's; the slice is not.
	AddRecords(ctx context.Context, journal string, upTo int64, records []*Record) error
	// ReadUpTo says how far the journal has been read, 0 if it was never.
	ReadUpTo(ctx context.Context, journal string) (int64, error)
	// Record finds one; project "" is any. A fault RecordNotFound if there is none.
	Record(ctx context.Context, project, id string) (*Record, error)
	Records(ctx context.Context, f Filter) ([]*Record, error)
	Reports
}

// Reports are what can be asked of many records at once. All is exactly what one would find by reading them one by one.
type Reports interface {
	Sums(ctx context.Context, q Query) ([]Sum, error)
	Series(ctx context.Context, q SeriesQuery) ([]Point, error)
	Latencies(ctx context.Context, q LatencyQuery) ([]Latency, error)
}
