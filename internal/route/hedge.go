package route

import (
	"context"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
)

// A hedging says how many of a pool's calls may be sent twice. Each call adds its share to what is there, up to burst, and a
// hedge takes one.
type hedging struct {
	share float64
	most  *llm.Money // that a second request may be expected to cost; nil is any

	mu    sync.Mutex // guards the field below
	there float64
}

const hedgeBurst = 3

// call counts a call.
func (h *hedging) call() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.there = min(h.there+h.share, hedgeBurst)
}

// take takes a hedge, if there is one.
func (h *hedging) take() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.there < 1 {
		return false
	}
	h.there--
	return true
}

// giveBack gives a hedge back that was not made.
func (h *hedging) giveBack() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.there++
}

// hedgeAfter is when another target is asked beside the first try of a call; 0 is never. Calls with tools are not hedged:
// whoever acts on the answer must not be given two.
func (c *choosing) hedgeAfter(l *leg) time.Duration {
	if c.pool.hedge == nil || c.tried != 1 || c.x.Op != llm.OpChat {
		return 0
	}
	c.pool.hedge.call()
	if c.facts.asks(needsTools) != 0 || c.pool.tries < 2 {
		return 0
	}
	return l.u.load.hedgeAfter(max(l.tokens-l.cached, 0), c.x.Request.Stream)
}

// A sent is what came of a leg.
type sent struct {
	*leg
	resp    *llm.Response
	adapted []string
	err     error
	panic   any // what it panicked with
}

// whole is what came of a leg, unless it panicked: then whoever waits for it does, whose panics are survived.
func (s sent) whole() sent {
	if s.panic != nil {
		panic(s.panic)
	}
	return s
}

// begin sends a leg on its own, and returns what cancels it.
func (c *choosing) begin(ctx context.Context, l *leg, results chan<- sent) context.CancelFunc {
	own, cancel := context.WithCancel(ctx)
	request := *c.x.Request // each decodes, and is adapted, for itself
	if request.Completed != nil {
		_, _ = request.Chat() // which may note something, so it is not for two at once; who cannot be decoded says so again
	}
	go func() {
		out := sent{leg: l}
		defer func() {
			out.panic = recover()
			results <- out
		}()
		out.resp, out.err = l.send(own, &request)
		out.adapted = request.Adapted
	}()
	return cancel
}

// race waits for the first try, and asks another target beside it if that is late. Whoever has a first token first answers;
// the other is cancelled, and both are booked.
func (c *choosing) race(ctx context.Context, first *leg, after time.Duration) (*llm.Response, error) {
	results := make(chan sent, 2)
	cancelFirst := c.begin(ctx, first, results)
	cancelSecond := context.CancelFunc(func() {})
	over := false
	defer func() {
		if !over { // one of the two panicked, and the other must not go on for nobody
			cancelFirst()
			cancelSecond()
		}
	}()
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case one := <-results:
		one, over = one.whole(), true
		return c.alone(ctx, one, cancelFirst)
	case <-timer.C:
	}
	second := c.second(ctx)
	if second == nil {
		one := (<-results).whole()
		over = true
		return c.alone(ctx, one, cancelFirst)
	}
	cancelSecond = c.begin(ctx, second, results)
	one := (<-results).whole()
	won := hedgeLost
	if (one.leg == second) == (one.err == nil) { // it was first, or is all that is left
		won = hedgeWon
	}
	c.r.o.Metrics.hedge(won)
	loser, cancelWinner, cancelLoser := second, cancelFirst, cancelSecond
	if one.leg == second {
		loser, cancelWinner, cancelLoser = first, cancelSecond, cancelFirst
	}
	if one.err != nil { // the other may still answer
		f := failure(one.err)
		cancelWinner()
		if err := c.fail(one.leg, &c.x.Tries[one.index], f); f != err { //nolint:errorlint // fail gives f itself, or why the exchange must end
			cancelLoser()
			c.lose((<-results).whole())
			return nil, err
		}
		other := (<-results).whole()
		over = true
		return c.alone(ctx, other, cancelLoser)
	}
	cancelLoser()
	c.x.Note("hedge", one.u.name+" was first; "+loser.u.name+" was cancelled", 0)
	// The loser is waited for, so that nobody else settles what it still works with. That is soon: it waits for nothing any more.
	c.lose((<-results).whole())
	over = true
	return c.alone(ctx, one, cancelWinner)
}

// alone takes what came of a try that has no rival any more.
func (c *choosing) alone(ctx context.Context, one sent, cancel context.CancelFunc) (*llm.Response, error) {
	if one.err != nil {
		cancel()
		return c.conclude(ctx, one.leg, nil, one.err)
	}
	c.x.Request.Adapted = one.adapted
	resp, err := c.conclude(ctx, one.leg, one.resp, nil)
	events := resp.Events
	resp.Events = func(yield func(llm.Event, error) bool) {
		defer cancel()
		events(yield)
	}
	return resp, err
}

// second is a leg to another target, prepared; nil if nobody is there, or no hedge is left.
func (c *choosing) second(ctx context.Context) *leg {
	c.now = time.Now()
	for _, i := range c.order {
		one := &c.all[i]
		if one.tries > 0 || one.isEjected(c.now) || one.gate != nil && !one.gate.Free() {
			continue
		}
		if c.pick(one); one.out != eligible {
			continue
		}
		if most := c.pool.hedge.most; most != nil {
			if cost, known := c.expectedCost(one, c.likelyOutput(one.upstream)); !known || cost > *most {
				continue
			}
		}
		if !c.pool.hedge.take() {
			return nil
		}
		c.offered = append(c.offered[:0], i)
		l, err := c.admit(ctx, c.now) // if somebody was quicker, there is none: the first try must not wait for a place in a queue
		if l == nil || err != nil {
			c.pool.hedge.giveBack()
			return nil
		}
		l.hedge = true
		if c.prepare(ctx, l) != nil {
			one.tries, c.tried = one.tries-1, c.tried-1 // it was not sent
			c.pool.hedge.giveBack()
			return nil
		}
		return l
	}
	return nil
}

// lose books a try that was cancelled because another answered. Its provider has read the prompt, and may have begun:
// what that cost is estimated, as nobody will report it. Where a budget pays for it, an estimate will not do, for it would free what
// may have been spent: then it is unknown.
func (c *choosing) lose(one sent) {
	r, x := c.r, c.x
	try := &x.Tries[one.index]
	f := &provider.Failure{Reason: provider.ReasonCanceled, Message: "was cancelled: another target was first", Status: try.Status}
	if one.err != nil {
		given := failure(one.err)
		f.NothingBilled = given.NothingBilled
		if given.Reason != provider.ReasonCanceled { // it failed before it was cancelled
			f = given
		}
	} else {
		f.UpstreamID = one.resp.UpstreamID
	}
	record(x, try, f)
	if !f.NothingBilled && len(try.Charges) == 0 {
		try.Outcome = pipeline.SettledEstimated
		try.Usage = llm.Usage{Input: one.tokens, Estimated: true}
		if r.o.Count != nil {
			if n, _ := r.o.Count(one.u.Model, x.Request); n > 0 {
				try.Usage.Input = n
			}
		}
		if one.err == nil {
			try.Usage.Output = 1 // its first token was there
		}
		try.Unpriced = try.Price == nil
	}
	if one.err == nil {
		one.tell(health.Success)
		one.ticket.Answered(time.Now(), one.resp.Limits)
	} else {
		one.tell(health.Failed(f.Unwell()))
		one.tellAccount(time.Now(), f)
	}
	one.settleAs(admission.Canceled)
	_ = r.o.Journal.Outcome(x, try) // the answer is on its way: the record, which follows, says the same
	try.Settle()
}
