package escrow

import (
	"context"
	"fmt"
)

// A rank is how soon something is to be done.
type rank uint8

const (
	none       rank = iota
	background      // renewals, refills, and what is given back
	urgent          // a call waits
)

const (
	batch = 128 // pools in one trade at most, for their rows are locked meanwhile
)

// together is how many trades run at once, by rank.
var together = [3]int{background: 2, urgent: 4}

// queue has pools traded soon, all in one if they are queued together. Of a pool one trade runs at a time.
func (b *Bank) queue(r rank, pools ...*Pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed() {
		return
	}
	for _, p := range pools {
		switch {
		case p.busy:
			p.again = max(p.again, r)
		case p.queued < r:
			p.queued = r
			b.queues[r] = append(b.queues[r], p)
		}
	}
	b.hire(r)
}

// hire puts another trader to work if there is something to do. The lock is held.
func (b *Bank) hire(r rank) {
	if len(b.queues[r]) > 0 && b.traders[r] < together[r] {
		b.traders[r]++
		b.working.Go(func() { b.trader(r) })
	}
}

// trader trades until there is nothing to trade.
func (b *Bank) trader(r rank) {
	for {
		pools := b.next(r)
		if len(pools) == 0 {
			return
		}
		b.round(pools)
	}
}

// next takes what is to be traded next; if that is nothing, the trader is done.
func (b *Bank) next(r rank) (pools []*Pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	q := b.queues[r]
	for len(q) > 0 && len(pools) < batch && !b.isClosed() {
		p := q[0]
		q[0], q = nil, q[1:]
		if p.queued == r { // or it went to the other queue, or was taken already
			p.queued, p.busy = none, true
			pools = append(pools, p)
		}
	}
	if len(q) == 0 {
		q = nil
	}
	b.queues[r] = q
	if len(pools) == 0 {
		b.traders[r]--
	}
	return pools
}

// A deal is a trade of a pool and what came of it.
type deal struct {
	pool   *Pool
	lease  *lease
	trade  Trade
	result Result
	err    error
	begun  int64
	least  int64 // what the least of those who wait needs
	owed   int64 // of what is given back, what had to be
	give   bool  // what is free was to be given back
	kept   bool  // it is not tried again
	known  State
}

// round makes one trade for all the pools that need one, and lets those know who wait.
func (b *Bank) round(pools []*Pool) {
	now, replicas := b.now(), b.replicas()
	deals := make([]deal, 0, len(pools))
	for _, p := range pools {
		if d, ok := p.plan(now, replicas); ok {
			deals = append(deals, d)
		}
	}
	b.strike(deals)
	first := b.note(deals)
	for i := range deals {
		if again := deals[i].pool.close(&deals[i], b.now(), replicas, first); again != none {
			b.mark(deals[i].pool, again)
		}
	}
	b.release(pools)
	for i := range deals {
		if d := &deals[i]; d.err == nil {
			b.o.Changed(d.pool.key, d.known)
		}
	}
}

// note remembers whether the store serves trades, and reports whether they fail now and did not before.
func (b *Bank) note(deals []deal) (first bool) {
	var err error
	good := false
	for i := range deals {
		if deals[i].err != nil {
			err = deals[i].err
		} else {
			good = true
		}
	}
	switch {
	case err != nil && !good:
		if first = !b.failing.Swap(true); first {
			b.o.Log.Warn("leases of budgets cannot be renewed: calls that need more than is left in them are refused", "error", err)
		}
	case err != nil: // it serves others
		first = true
		b.o.Log.Warn("the store does not take what it is asked for a budget", "error", err)
	case good:
		if b.failing.Swap(false) {
			b.o.Log.Info("leases of budgets are renewed again")
		}
	}
	return first
}

// mark has a pool traded once more after the trade that runs.
func (b *Bank) mark(p *Pool, r rank) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.again = max(p.again, r)
}

// release lets pools be traded again.
func (b *Bank) release(pools []*Pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range pools {
		p.busy = false
		if r := p.again; r != none && !b.isClosed() {
			p.queued = r
			b.queues[r] = append(b.queues[r], p)
		}
		p.again = none
	}
	b.hire(background)
	b.hire(urgent)
}

// strike makes the trades. If they fail together although the store is there, one of them may be what it does not take: the others
// must not suffer from that, so each half is tried again. Nothing is given back a second time then, for the first may be in force.
func (b *Bank) strike(deals []deal) {
	if len(deals) == 0 {
		return
	}
	err := b.attempt(deals)
	if err == nil || len(deals) == 1 || !b.answers() {
		return
	}
	b.halves(deals)
}

func (b *Bank) halves(deals []deal) {
	for _, half := range [][]deal{deals[:len(deals)/2], deals[len(deals)/2:]} {
		for i := range half {
			half[i].trade.Back, half[i].kept = 0, true
		}
		if err := b.attempt(half); err != nil && len(half) > 1 {
			b.halves(half)
		}
	}
}

// attempt makes trades once.
func (b *Bank) attempt(deals []deal) error {
	trades := make([]Trade, len(deals))
	for i := range deals {
		trades[i] = deals[i].trade
	}
	ctx, cancel := context.WithTimeout(b.base, bound)
	defer cancel()
	begun := b.now()
	results, err := b.o.Store.Trade(ctx, b.o.Holder, trades)
	b.m.trades.Inc()
	if err == nil && len(results) != len(trades) {
		err = fmt.Errorf("%d results of %d trades", len(results), len(trades))
	}
	if err != nil {
		err = fmt.Errorf("escrow: ask the store: %w", err)
		b.m.failed.Inc()
	}
	for i := range deals {
		deals[i].begun, deals[i].err = begun, err
		if err == nil {
			deals[i].result = results[i]
		}
	}
	return err
}

// answers reports whether the store answers at all.
func (b *Bank) answers() bool {
	ctx, cancel := context.WithTimeout(b.base, bound/4)
	defer cancel()
	_, _, err := b.o.Store.Wanted(ctx, b.o.Holder, instant{}.store)
	return err == nil
}

// plan says what to ask for now, if anything. What is to be given back is not free any more from here on.
func (p *Pool) plan(now int64, replicas int) (d deal, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve(now)
	refill, recall := p.refill, p.recall
	p.refill, p.recall = false, false
	l := p.lease
	if l == nil {
		if len(p.wait) == 0 {
			return d, false
		}
		l = newLease()
		l.used = p.bank.second.Load()
		p.lease = l
		p.bank.activate(p)
	}
	t := Trade{Key: p.key, Terms: p.terms, Lease: l.id, Replicas: replicas}
	spare, give := l.spare(now), p.tail || recall
	unsure := p.unsure || l.unsure > 0 // which the next good trade ends
	switch {
	case len(p.wait) > 0:
		least, all := p.needs()
		if give {
			t.Back, spare = spare, 0
		}
		d.least = least
		t.Need = max(least-spare, 0) // not what all need: one of them at least gets it, and it says what a call needs
		t.Want = max(all-spare, t.Need)
		if !give {
			t.Want = plus(t.Want, max(l.demand.sum(now), plus(least, least)))
		}
	case give:
		t.Back = spare
	case refill:
		t.Want = max(l.growing(now)-spare, 0)
	case l.until-now < renew: // what is far more than what is used is given back
		if ahead := l.ahead(now); spare > plus(ahead, ahead) {
			t.Back = spare - ahead
		}
	case l.owed > 0 || unsure:
	default:
		return d, false
	}
	if give && t.Back == 0 && t.Need == 0 && l.owed == 0 && !unsure && len(p.wait) == 0 && l.until-now >= renew {
		return d, false
	}
	l.free -= t.Back
	d.give, d.owed = give && t.Back > 0, l.owed
	t.Back += l.owed
	l.owed = 0
	d.pool, d.lease, d.trade = p, l, t
	l.trading = true
	return d, true
}

// ahead is what is good to have: what was reserved in the last five seconds, and at least two calls.
func (l *lease) ahead(now int64) int64 { return max(l.demand.sum(now), plus(l.typical, l.typical)) }

// growing is ahead, and four times that while demand is far more than what was seen of it yet: half of a slice is used within a
// sixteenth of the time that a slice is for. So a burst has found its slice after a few trades.
func (l *lease) growing(now int64) int64 {
	ahead := l.ahead(now)
	if traded := l.until - fresh; now-traded < span/16 {
		ahead = plus(plus(ahead, ahead), plus(ahead, ahead))
	}
	return ahead
}

// close takes over what came of a deal, and says how soon there is more to ask for. It is the first that fails, or not.
func (p *Pool) close(d *deal, now int64, replicas int, first bool) (again rank) {
	b := p.bank
	p.mu.Lock()
	defer p.mu.Unlock()
	l, r := d.lease, &d.result
	l.trading = false
	if d.err != nil || d.kept {
		l.unsure = plus(l.unsure, d.owed)
		p.unsure = p.unsure || d.give
	}
	if d.err != nil {
		p.fail(d.err, first)
		return none
	}
	p.state, p.known = r.State, true
	d.known = r.State
	if r.Lost {
		b.m.lost.Inc()
		b.o.Log.Warn("a lease was settled by hand while this process had it: what its calls come to is booked as over",
			"budget", p.key.Rule, "subject", p.key.Subject, "lease", l.id)
		if p.lease = nil; len(p.wait) > 0 {
			return urgent
		}
		b.deactivate(p)
		return none
	}
	l.told, l.over = r.Net-r.Left, 0
	l.free = r.Net - l.held - l.spent - l.owed
	still := max(min(l.unsure, l.free), 0)
	l.free, l.owed, l.unsure = l.free-still, l.owed+still, 0
	if l.until > lowered || d.trade.Terms.Version == p.terms.Version { // or the limit was lowered after the trade began
		l.until = d.begun + fresh
	} else {
		l.until = lowered
	}
	p.excess = p.state.Settled-p.state.Over+p.state.Held+p.state.Unknown > p.state.Limit
	p.recall = p.recall || p.unsure
	p.unsure = false
	if p.excess && l.free > 0 { // it came back while the trade ran, or it is not known whether it was given back
		p.revoke(l)
	}
	switch {
	case r.Granted > 0:
		l.slice, p.short = l.free, 0
	case d.trade.Want > 0:
		l.slice = 0 // nothing is to be had: no more is asked for until a call needs it
	}
	p.serve(now)
	p.tail = replicas > 1 && (r.Tail || p.state.Free()/int64(replicas) < max(l.typical, d.least))
	if len(p.wait) > 0 {
		again = p.refuse(now, r.Left, r.Granted > 0 || d.trade.Need == 0)
		p.tail = p.tail || replicas > 1
	}
	if p.tail && l.spare(now) > 0 || p.recall || l.owed > 0 {
		again = max(again, background)
	}
	return again
}
