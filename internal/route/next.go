package route

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/provider"
)

// next gives who is asked next, with a slot, or nil if nobody is left who could help in time. Everybody is asked once, in the
// order of the choice, before anybody is asked again. The error ends the exchange.
func (c *choosing) next(ctx context.Context) (*leg, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, halted(ctx, err)
		}
		c.now = time.Now()
		if c.tooLate() {
			return nil, nil
		}
		if there, err := c.offer(ctx); !there || err != nil {
			return nil, err
		}
		if l, err := c.admit(ctx, c.x.Deadline); l != nil || err != nil {
			return l, err
		}
	}
}

// offer finds out who may be asked now, and waits for the first who may if nobody is: there is false if that takes too long.
func (c *choosing) offer(ctx context.Context) (there bool, err error) {
	c.offered, c.poor = c.offered[:0], false
	for _, i := range c.order {
		one := &c.all[i]
		if c.tried > 0 && one.tries == 0 && one.out == eligible {
			c.pick(one) // much may have happened since the choice
		}
		if one.tries == 0 && one.out == eligible && c.affords(one) {
			c.offered = append(c.offered, i)
		}
	}
	if c.tried > 0 {
		c.sparing()
	}
	if len(c.offered) == 0 {
		c.lastResort()
	}
	if len(c.offered) > 0 {
		return true, nil
	}
	again, err := c.again(ctx)
	if again >= 0 && err == nil {
		c.offered = append(c.offered, again)
		return true, nil
	}
	if c.poor && !c.broke {
		c.broke = true
		c.r.o.Metrics.deny()
	}
	return false, err
}

// lastResort offers those that were left out because they are not well: nobody else is left. It is within the retry budget,
// for an outage of all must not be held up by the calls that it fails.
func (c *choosing) lastResort() {
	for i := range c.all {
		one := &c.all[i]
		if one.out != unwell || one.tries > 0 {
			continue
		}
		if !one.allow(c.now, c.facts.tokens) {
			c.poor = true
			continue
		}
		one.exclude(eligible, "")
		if c.pick(one); one.out == eligible {
			one.resort = true
			c.offered = append(c.offered, i)
		}
	}
}

// tooLate reports whether a further try could not be done by the caller's deadline: a first token alone takes longer.
func (c *choosing) tooLate() bool {
	switch {
	case c.x.Deadline.IsZero():
		return false
	case c.tried == 0:
		return c.now.After(c.x.Deadline)
	}
	for i := range c.all {
		if one := &c.all[i]; one.out == eligible && c.inTime(one, c.now) {
			return false
		}
	}
	return true
}

// inTime reports whether a try that begins then may give its first token by the caller's deadline. Predictions are not exact,
// so half of the time must do.
func (c *choosing) inTime(one *candidate, begin time.Time) bool {
	return c.x.Deadline.IsZero() || c.x.Deadline.Sub(begin).Seconds() > one.load.idle(float64(c.facts.tokens), kindOf(c.x.Request.Stream))/2
}

// affords reports whether the try is within the retry budget. The first try and the first fallback to another are outside it,
// and so is one with another credential than those that were refused: a key that is rotated must fail no call.
func (c *choosing) affords(one *candidate) bool {
	if c.tried == 0 || c.tried == 1 && one.tries == 0 || one.another() || one.allow(c.now, c.facts.tokens) {
		return true
	}
	c.poor = true
	return false
}

// another reports whether the candidate was asked with other credentials only than the one that is its turn now.
func (one *candidate) another() bool { return one.tries > 0 && one.shown&(1<<min(one.via, 63)) == 0 }

// sparing leaves out those that were ejected since the choice, as long as others are left.
func (c *choosing) sparing() {
	well := 0
	for _, i := range c.offered {
		if !c.all[i].isEjected(c.now) {
			well++
		}
	}
	if well == 0 || well == len(c.offered) {
		return
	}
	kept := c.offered[:0]
	for _, i := range c.offered {
		if !c.all[i].isEjected(c.now) {
			kept = append(kept, i)
		}
	}
	c.offered = kept
}

func (one *candidate) isEjected(now time.Time) bool {
	return one.health != nil && one.health.State(now).Kind >= health.HalfOpen
}

// again waits for whoever may be asked a second time, or for the first time since its limits leave no room yet: the one
// that is ready first. It gives -1 if that takes too long.
func (c *choosing) again(ctx context.Context) (int, error) {
	best := -1
	var ready time.Time
	for i := range c.all {
		one := &c.all[i]
		if !(one.out == limited && (one.retried || one.tries == 0) || one.out == eligible && one.retried) {
			continue
		}
		one.exclude(eligible, "")
		if c.pick(one); one.out == limited {
			one.ready = later(one.ready, c.now.Add(one.wait))
		} else if one.out != eligible {
			continue
		}
		if !c.affords(one) {
			continue
		}
		if best < 0 || one.ready.Before(ready) {
			best, ready = i, one.ready
		}
	}
	if best < 0 {
		return -1, nil
	}
	wait := ready.Sub(c.now)
	if wait > c.pool.retryWait || !c.inTime(&c.all[best], c.now.Add(wait)) {
		return -1, nil
	}
	// Whoever waits for his turn counts against the budget already: all would wait, and then come at once.
	waiting := int64(min(c.all[best].tries, 1)) // a first try is none
	c.all[best].load.retries.Add(waiting)
	err := sleep(ctx, wait)
	c.all[best].load.retries.Add(-waiting)
	if err != nil {
		return -1, err
	}
	if wait > 0 {
		c.x.Note("route", "waited for "+c.all[best].key, wait)
	}
	c.now = time.Now()
	one := &c.all[best]
	one.exclude(eligible, "")
	if c.pick(one); one.out != eligible || !c.affords(one) { // others took what there was
		return -1, nil
	}
	return best, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// admit takes a slot of one of those that are offered, and waits for it in the queue if there is none, until the deadline. It
// gives nil if an operator has taken that one out meanwhile: then there is another to choose.
func (c *choosing) admit(ctx context.Context, deadline time.Time) (*leg, error) {
	l := &leg{c: c.r, x: c.x, tokens: c.facts.tokens, result: admission.Failed}
	at := 0
	if s := c.r.o.Admission; s != nil {
		c.gates = c.gates[:0]
		for _, i := range c.offered {
			c.gates = append(c.gates, c.all[i].gate)
		}
		caller := ""
		if c.x.Caller != nil {
			caller = c.x.Caller.Project
		}
		ticket := admission.Ticket{
			Class: admission.ParseClass(c.x.Class), Tenant: caller, Cost: c.facts.tokens + 2*c.expectedOutput(), Deadline: deadline,
		}
		var err error
		if at, err = s.Acquire(ctx, c.gates, ticket, &l.slot); err != nil {
			return nil, c.crowded(ctx, err)
		}
		if waited := l.slot.Waited(); waited > 0 {
			c.x.Note("queue", "waited for a free slot", waited)
			c.now = time.Now()
		}
	}
	i := c.offered[at]
	one := &c.all[i]
	if c.excludeForGood(one); one.out != eligible {
		l.slot.Done(admission.Canceled, -1)
		return nil, nil //nolint:nilnil // said in the comment
	}
	l.place, l.u = i, one.upstream
	l.cached, l.via.Credential = one.cached, one.via
	l.via.Endpoint = one.endpoint
	l.via.Unfiltered = len(c.pool.onPolicy) > 0 && !c.diverted
	if len(c.offered) > 1 && c.tried+1 < c.pool.tries { // else a slow answer is better than none
		l.via.FirstToken = one.load.firstTokenLimit(c.facts.tokens-one.cached, c.x.Request.Stream)
	}
	l.retry = !one.another() && (c.tried > 1 || one.tries > 0) || one.resort
	one.shown |= 1 << min(one.via, 63)
	one.tries++
	c.tried++
	c.take(l, one)
	return l, nil
}

// take begins the bookkeeping of a try.
func (c *choosing) take(l *leg, one *candidate) {
	if one.health != nil {
		if c.probing == l.place {
			l.token, l.probe, c.probing = c.probe, true, -1
		} else {
			l.token = one.health.Begin()
		}
	}
	uncached := max(l.tokens-l.cached, 0)
	if one.account != nil {
		l.ticket = one.account.Take(c.now, one.via, one.Model, c.need(one))
		if one.pickWords != "" {
			c.x.Note("credential", one.name+": number "+strconv.Itoa(one.via+1)+", "+one.pickWords, 0)
		}
	}
	l.trip = one.load.begin(c.now, uncached, one.slots, c.x.Request.Stream, l.retry)
	one.note(c.now, uncached, l.retry)
	if c.hashed {
		c.pool.prefix.sent(&c.prompt.begin, since(c.pool.prefix.born, c.now), one.bit)
	}
}

// crowded is the error of a request that found no slot.
func (c *choosing) crowded(ctx context.Context, err error) error {
	var refusal *admission.Refusal
	if !errors.As(err, &refusal) {
		return halted(ctx, err)
	}
	if c.tried > 0 { // what failed before says more
		return c.explain()
	}
	f := fault.Wrap(fault.NoCapacity, err, "All targets of %s have as much to do as they can; the next free place is expected in %s.",
		clip(c.x.Request.Model), figure.Duration(refusal.Wait))
	f.RetryAfter = refusal.Wait
	c.x.Note("queue", "no free slot: "+refusal.Error(), refusal.Waited)
	return f
}

// mayRepeat reports whether the same upstream may be asked once more after a failure: not if it took its time already, and
// not if the request, or its account, is to blame.
func mayRepeat(f *provider.Failure) bool {
	switch f.Reason {
	case provider.ReasonConnect, provider.ReasonCut, provider.ReasonEmpty, provider.ReasonGarbage, provider.ReasonInBand:
		return true
	case provider.ReasonStatus:
		return f.Class == "" && f.Fallback()
	}
	return false
}
