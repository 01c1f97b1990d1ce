package limit

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/window"
)

// A held is a budget that an exchange counts for, with its pool in the window that the exchange began in.
type held struct {
	*budgetRule
	pool *escrow.Pool
	key  escrow.Key
	in   *window.Window
	part int // of Terms.Kept, whose share the exchange may not use; -1 is the whole
	// observed is what the try may generate as far as a budget knows that only observes: the caps that it would have if it were in force.
	observed int64
}

// limit is what the pool allows.
func (h *held) limit() int64 { return h.terms(h.in).Limit }

func (h *held) terms(w *window.Window) escrow.Terms {
	t := h.budgetRule.terms(w)
	if h.part >= 0 {
		t.Limit = share(h.Amount, 100-h.Kept[h.part].Share)
	}
	return t
}

// share is so many percent of an amount, rounded down.
func share(amount int64, percent int) int64 {
	p := int64(percent)
	return amount/100*p + amount%100*p/100
}

// need is what a try may come to, in the unit of the budget.
func (h *held) need(p *llm.Price, input, output int64) int64 {
	if h.Unit == TokenCount {
		return input + output
	}
	if p == nil {
		return 0
	}
	return int64(p.Most(input, output))
}

// A reservation is what is reserved for one try from all of its budgets. It is settled once.
type reservation struct {
	l      *Limiter
	a      *allowance
	target llm.Target
	from   []held // as far as something is reserved
	// choices are how often the cap on what is generated holds: in each choice, and in each round where the provider searches.
	choices int64
	// loose says that budgets of tokens let pass what nobody bounds: what it comes to beyond the reservation is no fault of the target.
	loose bool
	room  [4]pipeline.Charge
}

// nothing is the reservation of a try that no budget counts.
type nothing struct{}

// Settle implements [pipeline.Reservation].
func (nothing) Settle(*pipeline.Try) {}

// Reserve implements the Reserver of route: it caps what the try may generate, and reserves the most that it may come to from
// every budget that it counts for. What cannot be had of a budget in force is a *[pipeline.Unaffordable]; a store that does not
// answer is a fault. Nothing is reserved for a client that has left: what goes on then is only the try that it has left behind.
func (l *Limiter) Reserve(ctx context.Context, x *pipeline.Exchange, t llm.Target, try *pipeline.Try) (pipeline.Reservation, error) {
	a, _ := x.Allowance.(*allowance)
	if a != nil && a.d.place.Load() == hasPlace {
		return nil, fault.New(fault.ClientGone, "The client closed the connection, and what it asked for failed: nobody else is asked.")
	}
	if x.Op == llm.OpCount {
		if a != nil {
			a.counted()
		}
		return nothing{}, nil
	}
	known := l.o.Model(t)
	input, choices := inputBound(x, t.Model, known.Context), max(int64(x.Request.Choices), 1)
	if try.Price != nil && try.Price.Search != 0 && known.Context > 0 { // else nothing of searches is known
		if n, ok := searchesOf(x.Request); ok {
			input, choices, try.Price.May.Searches = n.reads*known.Context, choices*n.answers, n.searches
		}
	}
	if a == nil {
		if try.Price != nil && x.Request.MaxOutput > 0 {
			try.BoundNano = try.Price.Most(input, x.Request.MaxOutput*choices)
		}
		return nothing{}, nil
	}
	r := &a.first // nearly always there is one try
	if r.l != nil {
		r = new(reservation)
	}
	r.l, r.a, r.target, r.choices = l, a, t, choices
	bound := a.counting(t)
	if a.observes {
		bound = slices.Clone(bound)
	}
	enforced := false
	for i := range bound {
		enforced = enforced || bound[i].Mode == Enforce
		if bound[i].Mode == Observe {
			bound[i].observed = a.outputCap(x, known.MaxOutput, true) * choices
		}
	}
	most := a.outputCap(x, known.MaxOutput, enforced)
	if err := r.mayBudget(x, try, &known, bound); err != nil {
		return nil, err
	}
	const lowerings = 3 // others take from what is left, too
	for lowered := 0; ; lowered++ {
		err := r.take(ctx, x, bound, try, input, most*choices)
		if err == nil {
			break
		}
		var short *escrow.Short
		if !errors.As(err, &short) {
			return nil, unfunded(err)
		}
		h := bound[slices.IndexFunc(bound, func(h held) bool { return h.key == short.Key })]
		lower := h.affords(try.Price, short.Free, input, most, choices)
		if lower < floor(x.Request) || lowered == lowerings || x.Op != llm.OpChat {
			return nil, l.refuse(x, &h, settledOf(short), h.need(try.Price, input, most*choices))
		}
		most = lower
		x.Note("budget", "what is left of "+h.name+" buys "+strconv.FormatInt(most, 10)+" tokens: that is the cap", 0)
	}
	if try.Price != nil {
		try.BoundNano = try.Price.Most(input, most*choices)
	}
	try.MaxOutput = capTo(x.Request, a, most)
	a.opened(len(try.Charges))
	return r, nil
}

// mayBudget refuses what a budget cannot bound. The first budget in force says it: it is the same for all of its unit.
func (r *reservation) mayBudget(x *pipeline.Exchange, try *pipeline.Try, known *Known, bound []held) error {
	t := r.target
	i := slices.IndexFunc(bound, func(h held) bool { return h.Mode == Enforce })
	if i < 0 {
		return nil
	}
	unusual := !usual(x.Request)
	if unusual {
		if name := endless(x.Request); name != "" {
			return unknowable("How many tokens "+name+" comes to", name, &bound[i])
		}
	}
	if i = slices.IndexFunc(bound, func(h held) bool { return h.Mode == Enforce && h.Unit == USD }); i < 0 {
		r.loose = paidTool(x.Request) != "" || keptPrompt(x.Request)
		return nil
	}
	h := &bound[i]
	if try.Price == nil {
		f := fault.New(fault.QuotaSpent, "%s has no price, so no budget can hold it, and your calls have one (%s).", t, h.name)
		f.Hint = "An operator sets it with: penstock price set " + t.String() + " --input DOLLARS --output DOLLARS"
		f.Spent = true
		return &pipeline.Unaffordable{Why: "no price, and the caller has a budget", Err: f}
	}
	if known.Searches && try.Price.Searched() {
		f := fault.New(fault.QuotaSpent, "%s searches as often as it likes for a price of its own, and your calls have a budget (%s).", t, h.name)
		f.Hint, f.Spent = "Ask for another model, or ask whoever runs Penstock to have the budget observe only.", true
		return &pipeline.Unaffordable{Why: "it searches unasked for a price of its own, and the caller has a budget", Err: f}
	}
	if tool := paidTool(x.Request); tool != "" && try.Price.May.Searches == 0 {
		return paid(tool, t, try.Price, h)
	}
	if unusual {
		if name := unpriced(x.Request); name != "" {
			return unknowable("What "+name+" comes to", name, h)
		}
	}
	if why := r.l.quarantined(t); why != "" {
		f := fault.New(fault.QuotaSpent, "%s has billed more than calls were capped at, so calls with a budget do not go there for now.", t)
		f.Spent = true
		return &pipeline.Unaffordable{Why: why, Err: f}
	}
	return nil
}

// paid refuses a tool whose fees have no bound, and says what would bind them.
func paid(tool string, t llm.Target, p *llm.Price, h *held) error {
	f := fault.New(fault.QuotaSpent, "The tool %s is run by the provider for a price that tokens do not bound, and your calls have a budget (%s).", quote(tool), h.name)
	f.Hint, f.Spent, f.Param = "Leave the tool out, or ask whoever runs Penstock to have the budget observe only.", true, "tools"
	switch search := strings.HasPrefix(tool, "web_search"); {
	case search && p.Search == 0:
		f.Hint = "Leave the tool out. An operator can say what a search costs: penstock price set " + t.String() + " ... --per-search DOLLARS"
	case search:
		f.Hint = "Leave the tool out, or cap it: with its max_uses (Anthropic's dialect), or with max_tool_calls (a response)."
	}
	return f
}

// unknowable refuses a member of a request whose bill has no bound.
func unknowable(what, name string, h *held) error {
	f := fault.New(fault.QuotaSpent, "%s cannot be known before, and your calls have a budget (%s).", what, h.name)
	f.Hint, f.Spent, f.Param = "Leave it out, or ask whoever runs Penstock to have the budget observe only.", true, name
	return f
}

// take reserves from all budgets, or from none. Nearly always that is a matter of this process.
func (r *reservation) take(ctx context.Context, x *pipeline.Exchange, bound []held, try *pipeline.Try, input, output int64) error {
	if r.hold(bound, try, input, output) {
		return nil
	}
	bound = slices.Clone(bound) // observed budgets may have to do with less
	const rounds = 8            // others may be quicker with what was funded
	for range rounds {
		var wants []escrow.Want
		for i := range bound {
			if h := &bound[i]; h.pool != nil {
				wants = append(wants, escrow.Want{Pool: h.pool, Need: h.need(try.Price, input, h.generates(output))})
			}
		}
		if err := r.l.o.Bank.Fund(ctx, wants); err != nil {
			if err = r.observe(x, bound, try, input, err); err != nil {
				return err
			}
		}
		if r.hold(bound, try, input, output) {
			return nil
		}
	}
	return errors.New("what is left is taken by others as soon as it is there")
}

// hold reserves from all budgets what their leases have, or nothing.
func (r *reservation) hold(bound []held, try *pipeline.Try, input, output int64) bool {
	if try.Charges = try.Charges[:0]; try.Charges == nil {
		try.Charges = r.room[:0]
	}
	money := int64(0)
	if try.Price != nil {
		money = int64(try.Price.Most(input, output))
	}
	for i := range bound {
		h := &bound[i]
		c := pipeline.Charge{Budget: h.key.Rule, Subject: h.key.Subject, Start: h.key.Start, Held: money, Tokens: h.Unit == TokenCount}
		if c.Tokens || h.Mode == Observe {
			c.Held = h.need(try.Price, input, h.generates(output))
		}
		if h.pool != nil {
			ok := false
			if c.Lease, ok = h.pool.Hold(c.Held); !ok {
				giveBack(bound, try)
				return false
			}
		}
		try.Charges = append(try.Charges, c)
	}
	r.from = bound
	return true
}

// giveBack gives back what was reserved.
func giveBack(bound []held, try *pipeline.Try) {
	for i := range try.Charges {
		if c := &try.Charges[i]; c.Lease != "" {
			bound[i].pool.Settle(c.Lease, c.Held, 0)
		}
	}
	try.Charges = try.Charges[:0]
}

// generates is the most that the try may generate, as far as the budget knows.
func (h *held) generates(output int64) int64 {
	if h.Mode == Observe {
		return h.observed
	}
	return output
}

// observe lets a budget that only observes do with what it has left if it is the one that is short; if it would have refused the call,
// that is told, and nothing is reserved from it.
func (r *reservation) observe(x *pipeline.Exchange, bound []held, try *pipeline.Try, input int64, err error) error {
	var short *escrow.Short
	if !errors.As(err, &short) {
		return err
	}
	i := slices.IndexFunc(bound, func(h held) bool { return h.key == short.Key && h.Mode == Observe })
	if i < 0 {
		return err
	}
	h, choices := &bound[i], r.choices
	if lower := h.affords(try.Price, short.Free, input, h.observed/choices, choices); x.Op == llm.OpChat && lower >= floor(x.Request) && lower*choices < h.observed {
		h.observed = lower * choices
		return nil
	}
	h.pool = nil
	if r.a.over(h.key.Rule) {
		r.l.m.observed.Inc()
		x.Note("budget", "observed: "+h.name+" has "+h.show(short.Free)+" free, and this call may come to "+h.show(short.Need), 0)
	}
	return nil
}

// Settle implements [pipeline.Reservation].
func (r *reservation) Settle(try *pipeline.Try) {
	over := false
	for i := range r.from {
		c := &try.Charges[i]
		spent := c.Spent(try)
		if c.Lease != "" && spent > c.Held && r.from[i].Mode == Observe { // nothing bounds it, so that is no overrun
			if id, ok := r.from[i].pool.Hold(spent - c.Held); ok && id == c.Lease {
				c.Held = spent
			} else if ok {
				r.from[i].pool.Settle(id, spent-c.Held, 0)
			}
		}
		if c.Lease != "" {
			r.from[i].pool.Settle(c.Lease, c.Held, spent)
		}
		over = over || spent > c.Held && r.from[i].Mode == Enforce && !r.loose
	}
	if over {
		r.l.overrun(r.target, try)
	}
	r.a.closed(try)
}

// affords is the cap on one choice that what is free buys, at most most.
func (h *held) affords(p *llm.Price, free, input, most, choices int64) int64 {
	low, high := int64(0), most // by halves: prices may change with the length
	for low < high {
		mid := low + (high-low+1)/2
		if h.need(p, input, mid*choices) <= free {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low
}

// capTo makes a request ask for no more than most of each choice, as its client's body says that, and gives what is in force; 0 of
// most is no cap.
func capTo(r *llm.Request, a *allowance, most int64) int64 {
	lower := most > 0 && (r.MaxOutput == 0 || r.MaxOutput > most)
	if !lower && !a.capped {
		return most
	}
	for _, name := range capNames(r) {
		own, ok := ownCap(r, name)
		if n, err := strconv.ParseInt(string(own), 10, 64); lower && (!ok || err != nil || n > most) {
			own = strconv.AppendInt(nil, most, 10)
		}
		r.Set(name, own) // it may be that of an earlier try, whose target was dearer
	}
	a.capped = lower
	return most
}
