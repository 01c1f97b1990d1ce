package route

import (
	"context"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/failpoint"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/quota"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// A leg is one try with all that is held for it: a slot, a place among those that are waited for, money. It is the try's
// reservation towards the rest of the pipeline, which settles every try once, whatever becomes of it; so nothing is kept.
type leg struct {
	c      *Router
	x      *pipeline.Exchange
	u      *upstream
	place  int // among the candidates
	index  int // among the tries
	via    provider.Via
	retry  bool
	hedge  bool
	tokens int64
	cached int64

	token  health.Token
	probe  bool // the token is the right to find out
	told   bool // health was
	ticket quota.Ticket
	slot   admission.Slot
	held   pipeline.Reservation // of the money
	trace  w3c.Context

	mu     sync.Mutex // guards the fields below: whoever sees the end of an exchange may be another goroutine
	trip   trip
	result admission.Outcome
	began  time.Time // when the first token was there
}

// prepare announces the try: in the record, to the Reserver and to the journal. If one of them will not have it, nothing is
// sent, and the exchange is over.
func (c *choosing) prepare(ctx context.Context, l *leg) error {
	x := c.x
	l.index = len(x.Tries)
	x.Tries = append(x.Tries, pipeline.Try{
		ID:      x.ID + "-" + strconv.Itoa(l.index+1),
		Target:  l.u.name,
		StartNS: int64(time.Since(x.Received)),
		Outcome: pipeline.Unknown,
		// Endpoint and credential are empty where there is only one.
		Endpoint: l.u.endpoint, Hedge: l.hedge,
	})
	try := &x.Tries[l.index]
	if l.u.account != nil && l.u.account.Credentials() > 1 {
		try.Credential = l.via.Credential + 1
	}
	if price, ok := c.r.price(x, l.u.Target, l.via.Credential+1); ok {
		try.Price = &price
	}
	if x.Op == llm.OpCount {
		try.Price = &llm.Price{} // vendors count for nothing
	}
	var err error
	if l.held, err = c.r.o.Reserver.Reserve(ctx, x, l.u.Target, try); err != nil {
		x.Tries = x.Tries[:l.index]
		l.end(nil, admission.Canceled)
		return err
	}
	try.Held = l
	_ = failpoint.Pass(failpoint.Reserved)
	if err := c.r.o.Journal.Intent(ctx, x, try); err != nil {
		try.Outcome = pipeline.Released
		l.settleAs(admission.Canceled)
		try.Settle()
		x.Tries = x.Tries[:l.index]
		return err
	}
	x.Request.Adapted = nil // what an earlier target would have been asked
	if c.r.o.Trace != nil {
		l.trace = c.r.o.Trace(x, l.u.Target, try)
	}
	return nil
}

// send makes the call. It changes nothing of the exchange, so that two may be under way.
func (l *leg) send(ctx context.Context, r *llm.Request) (*llm.Response, error) {
	if !l.trace.IsZero() {
		ctx = w3c.With(ctx, l.trace)
	}
	if r.Stream {
		l.slot.Sent(max(l.tokens-l.cached, 0))
	}
	resp, err := l.u.provider.Do(ctx, l.via, l.u.Target, r)
	_ = failpoint.Pass(failpoint.Answered)
	if err == nil {
		l.firstToken()
	}
	return resp, err
}

func (l *leg) firstToken() {
	now := time.Now()
	l.slot.FirstToken()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began = now
	l.trip.first(now)
}

// conclude takes what came of a try. A *provider.Failure means that another may be made; any other error ends the exchange.
// A try that failed is settled here; one that answers, or during which something panics, is left to the stage usage.
func (c *choosing) conclude(ctx context.Context, l *leg, resp *llm.Response, err error) (*llm.Response, error) {
	try := &c.x.Tries[l.index]
	if err != nil {
		return nil, c.fail(l, try, failure(err))
	}
	if l.probe { // it is known now, and others may go; what becomes of the rest counts as what comes behind it
		l.tell(health.Success)
		l.token, l.told = l.u.health.Begin(), false
	}
	l.ticket.Answered(time.Now(), resp.Limits)
	if adapted := c.x.Request.Adapted; len(adapted) > 0 {
		c.x.Note("adapted", l.u.name+" does not take "+strings.Join(adapted, ", ")+": left out or bent", 0)
	}
	c.x.Answering = l.index
	try.Upstream = resp.UpstreamID
	try.Status = http.StatusOK
	resp.Events = l.finish(ctx, resp.Events)
	return resp, nil
}

// fail writes a failed try down, and settles it.
func (c *choosing) fail(l *leg, try *pipeline.Try, f *provider.Failure) error {
	record(c.x, try, f)
	l.tell(health.Failed(f.Unwell()))
	l.settleAs(resultOf(f))
	one, now := &c.all[l.place], time.Now()
	l.tellAccount(now, f) // before all is given back
	err := c.r.o.Journal.Outcome(c.x, try)
	try.Settle()
	if err != nil {
		return err
	}
	c.failures = append(c.failures, failed{f, l.u.name, l.place})
	switch one.retried = mayRepeat(f); {
	case !one.retried && (f.Class == provider.ClassCredential || f.Class == provider.ClassQuota):
		one.retried = one.account != nil && one.account.Credentials() > 1 // with another
		one.ready = now
	case one.retried && one.account != nil && f.Status == http.StatusTooManyRequests:
		one.ready = now // the account knows when, and with which credential
	case one.retried:
		one.ready = now.Add(max(f.RetryAfter, backoff(one.tries-1)))
	}
	if f.Reason == provider.ReasonUnsupported {
		c.tried-- // it was not asked
	}
	return f
}

func (l *leg) tell(o health.Outcome) {
	if l.told = true; l.u.health != nil {
		l.u.health.End(l.token, o)
	}
}

// tellAccount says what a failure means for the credential that was shown.
func (l *leg) tellAccount(now time.Time, f *provider.Failure) {
	l.ticket.Failed(now, quota.Failure{Status: f.Status, Class: string(f.Class), RetryAfter: f.RetryAfter, Limits: f.Limits})
}

// resultOf is what a failure says of an upstream's load.
func resultOf(f *provider.Failure) admission.Outcome {
	switch {
	case f.Status == http.StatusTooManyRequests || f.Overloaded():
		return admission.Overloaded
	case f.Reason == provider.ReasonCanceled:
		return admission.Canceled
	}
	return admission.Failed
}

func (l *leg) settleAs(o admission.Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.result = o
}

// Settle implements [pipeline.Reservation]: the try is over, and all that is held for it is given back.
func (l *leg) Settle(try *pipeline.Try) {
	if l.held != nil {
		l.held.Settle(try)
	}
	l.mu.Lock()
	result := l.result
	l.mu.Unlock()
	l.end(try, result)
}

// end gives the slot and the place back. try is nil if there was none.
func (l *leg) end(try *pipeline.Try, o admission.Outcome) {
	if !l.told { // the try was not sent, or something panicked
		l.tell(health.Ignored)
	}
	cost, output, fresh := int64(-1), int64(-1), int64(-1)
	if try != nil && try.Outcome != pipeline.Unknown {
		output, fresh = try.Usage.Output, max(try.Usage.Input-try.Usage.CachedInput, 0)
		cost = try.Usage.Input + 2*output
	}
	if try == nil || try.Outcome == pipeline.Released {
		l.ticket.Failed(time.Now(), quota.Failure{}) // it was not sent
	}
	l.ticket.Done(time.Now(), fresh, output)
	l.mu.Lock()
	var over time.Duration
	if !l.began.IsZero() && o == admission.OK {
		over = time.Since(l.began)
	} else {
		output = 0
	}
	output = max(output, 0)
	l.trip.end(output, over)
	l.mu.Unlock()
	l.slot.Done(o, cost)
}

// record writes a failed try down.
func record(x *pipeline.Exchange, try *pipeline.Try, f *provider.Failure) {
	try.TookNS = int64(time.Since(x.Received)) - try.StartNS
	try.Status = f.Status
	try.Upstream = f.UpstreamID
	try.Reason = string(f.Reason)
	try.Detail = f.Error()
	try.Unpriced = try.Price == nil && !f.NothingBilled
	if f.NothingBilled {
		try.Outcome = pipeline.Released
	}
}

// finish passes the events of the answering try on, and turns a failure in their midst into words for the caller. How the
// try ended is for the stage usage to say, outside of this: it sees every end, and settles the try.
func (l *leg) finish(ctx context.Context, events iter.Seq2[llm.Event, error]) iter.Seq2[llm.Event, error] {
	return func(yield func(llm.Event, error) bool) {
		for ev, err := range events {
			if err == nil {
				whole := ev.Is(llm.End)
				if whole { // before whoever is given it settles the try
					l.tell(health.Success)
					l.settleAs(admission.OK)
				}
				if !yield(ev, nil) {
					if !whole {
						l.tell(health.Success) // it was answering
						l.settleAs(admission.Canceled)
					}
					return
				}
				continue
			}
			f := failure(err)
			try := &l.x.Tries[l.index]
			try.Status, try.Reason, try.Detail = f.Status, string(f.Reason), f.Error()
			l.settleAs(resultOf(f))
			l.tell(health.Failed(f.Unwell()))
			yield(llm.Event{}, interrupted(ctx, l.x, try, f))
			return
		}
	}
}
