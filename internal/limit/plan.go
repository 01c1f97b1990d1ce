package limit

import (
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/rate"
)

// A plan is what holds for calls that are alike: of one key and end user, for one model. It is found out with the first of them and
// does not change; it is good while no window of its budgets begins or ends.
type plan struct {
	call
	all    []held // budgets that hold for them, with their pools
	scoped bool   // some hold for some models only
	// observes says that some only observe: what those are asked for is found out for each try, in a copy.
	observes bool
	tiers    []given
	rates    []rate.Rule
	output   int64 // the least of the tiers' caps, 0 is none
	// from is the first instant that it is good for, and until the first that it is not, in microseconds since 1970.
	from, until int64
}

// plansKept is how many plans are remembered, in places by hash: a call that has the place of another throws that out.
const plansKept = 1024

// Plans are those that were found out by the same definitions, and go with them: those may be large, and change often.
type plans struct {
	of    *compiled
	seed  maphash.Seed
	known [plansKept]atomic.Pointer[plan]
}

// plansBy are the plans by some definitions. Nearly always those are the ones that were asked for last.
func (l *Limiter) plansBy(c *compiled) *plans {
	p := l.plans.Load()
	if p == nil || p.of != c {
		p = &plans{of: c, seed: maphash.MakeSeed()}
		l.plans.Store(p)
	}
	return p
}

// place is where the plan of a call is remembered, if it is.
func (p *plans) place(who *call) *atomic.Pointer[plan] {
	const odd = 0x9e3779b97f4a7c15
	h := maphash.String(p.seed, who.key)
	h = h*odd ^ maphash.String(p.seed, who.user)
	h = h*odd ^ maphash.String(p.seed, who.model)
	return &p.known[h%plansKept]
}

// planOf is what holds for a call at an instant.
func (l *Limiter) planOf(c *compiled, who *call, at time.Time) *plan {
	if c.keeps && len(who.tags) > 0 { // what is kept for others depends on tags
		return l.newPlan(c, *who, at)
	}
	place := l.plansBy(c).place(who)
	if p := place.Load(); p != nil && p.holds(who, at.UnixMicro()) {
		return p
	}
	mine := *who // what it was read from is not to be held
	mine.user, mine.model, mine.tags = strings.Clone(who.user), strings.Clone(who.model), nil
	p := l.newPlan(c, mine, at)
	place.Store(p)
	return p
}

// holds reports whether a plan is that of a call at an instant, and has its pools stay.
func (p *plan) holds(who *call, at int64) bool {
	if at < p.from || at >= p.until || p.key != who.key || p.user != who.user || p.model != who.model ||
		p.project != who.project || p.org != who.org {
		return false
	}
	for i := range p.all {
		if !p.all[i].pool.Stay() {
			return false
		}
	}
	return true
}

func (l *Limiter) newPlan(c *compiled, who call, at time.Time) *plan {
	p := &plan{call: who, from: math.MinInt64, until: math.MaxInt64}
	p.tiers = c.each(&p.call, func(r *budgetRule, subject string) { p.hold(l.o.Bank, r, subject, at) }, func(r *rateRule, subject string) {
		if r.models(p.model, "") {
			p.rates = append(p.rates, l.o.Rates.Named(r.rule(subject)))
		}
	})
	for _, t := range p.tiers {
		p.output = least(p.output, t.MaxOutput)
	}
	return p
}

// hold has the calls count for a budget, and for what of it is not kept for calls with tags that they have not.
func (p *plan) hold(bank *escrow.Bank, r *budgetRule, subject string, at time.Time) {
	in := r.at(at)
	start, end := in.Start.UnixMicro(), in.End.UnixMicro()
	if r.isOff(in, at) {
		if at.Before(in.Start) {
			p.until = min(p.until, start)
		} else {
			p.from = max(p.from, end)
		}
		return
	}
	p.from, p.until = max(p.from, start), min(p.until, end)
	h := held{budgetRule: r, in: in, part: -1, key: escrow.Key{Rule: r.id, Subject: subject, Start: start}}
	h.pool = bank.Pool(h.key, h.terms(in))
	p.all = append(p.all, h)
	p.scoped, p.observes = p.scoped || r.Model != "", p.observes || r.Mode == Observe
	for i, k := range r.Kept {
		if slices.Contains(p.tags, k.Tag) {
			continue
		}
		rest := h
		rest.part, rest.key.Rule = i, r.kept[i]
		rest.pool = bank.Pool(rest.key, rest.terms(rest.in))
		p.all = append(p.all, rest)
	}
}
