package limit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
	"github.com/penstock/penstock/internal/tokens"
)

// Options are what a Limiter works with. Those without a default are needed.
type Options struct {
	Board   *Board
	Bank    *escrow.Bank
	Rates   *rate.Book
	Learned *rate.Learned
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time // civil time, by which windows begin; nil is time.Now
	// Model is what is known of a target: its context and how much it can generate at once, 0 where that is not known.
	Model func(t llm.Target) Known
	// Overrun is told of a try that was billed more than was reserved for it. It must not wait. It may be nil.
	Overrun func(t llm.Target, try *pipeline.Try)
}

// Known is what bounds a model's calls, in tokens; 0 is not known.
type Known struct{ Context, MaxOutput int64 }

// A Limiter is the stage, and the Reserver of route.
type Limiter struct {
	o      Options
	m      metrics
	ward   ward
	watch  watch
	drains atomic.Int64
}

type metrics struct {
	refused  *prometheus.CounterVec
	overruns prometheus.Counter
	cuts     prometheus.Counter
	observed prometheus.Counter
}

// New makes a limiter.
func New(o Options) (*Limiter, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Limiter{o: o, m: metrics{
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "penstock_budget_refusals_total", Help: "Tries that a budget had not enough left for, by unit."}, []string{"unit"}),
		overruns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_budget_overruns_total", Help: "Tries that were billed more than was reserved for them."}),
		cuts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_capped_streams_total", Help: "Streams that were ended at their cap, since their providers took no notice of it."}),
		observed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "penstock_limits_observed_total", Help: "Calls that a limit or budget would have refused, if it did not only observe."}),
	}}
	for _, c := range []prometheus.Collector{l.m.refused, l.m.overruns, l.m.cuts, l.m.observed} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// An allowance is what limits one exchange.
type allowance struct {
	call
	all    []held // budgets that hold for it, with their pools
	scoped bool   // some hold for some models only
	tiers  []given
	rates  []rate.Rule
	l      *Limiter
	at     time.Time // by which windows are found
	output int64     // the least of the tiers' caps, 0 is none
	capped bool      // the request's own cap is not in force

	admission rate.Admission
	first     reservation
	d         drain
	room      [4]held
	rateRoom  [4]rate.Rule

	mu   sync.Mutex // guards the fields below
	open int        // reservations
	paid int        // those of them that a budget pays for
	sent int        // tries that were reserved for
	gone bool       // the answer has ended
	done bool
	used llm.Usage
	seen []string // budgets that would have refused it, and only observe
}

// Stage refuses what a caller's tier or limits do not allow, and finds out which budgets its tries count for.
func (l *Limiter) Stage() pipeline.Stage {
	return func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
			if !l.o.Board.Ready() {
				return nil, unavailable(nil, "What your key may use")
			}
			c := l.o.Board.inForce.Load()
			if !c.any {
				return next(ctx, x)
			}
			a := l.allowanceOf(c, x)
			if a == nil {
				return next(ctx, x)
			}
			x.Allowance = a
			if err := a.admit(x); err != nil {
				return nil, err
			}
			return l.limited(ctx, x, a, next)
		}
	}
}

// limited hands on an exchange that something limits, if the rates leave room for it.
func (l *Limiter) limited(ctx context.Context, x *pipeline.Exchange, a *allowance, next pipeline.Handler) (*llm.Response, error) {
	if err := a.take(ctx, x); err != nil {
		return nil, err
	}
	// Whoever gets the answer walks it or ends ctx, and so does a panic: the exchange is over then.
	ctx = l.detach(ctx, a)
	if len(a.all) > 0 {
		x.Drain = a.d.begin
	}
	resp, err := next(ctx, x)
	if err != nil {
		a.d.end()
		return nil, err
	}
	events := resp.Events
	if try := answering(x); resp.Stream && try != nil && try.MaxOutput > 0 && x.Op == llm.OpChat {
		m := newMeter(resp.Target, x.Request.Model, try.MaxOutput, x.Request.Choices)
		m.cut = func() { l.deaf(resp.Target, try.ID) }
		events = m.watch(events, resp.Meta)
	}
	resp.Events = func(yield func(llm.Event, error) bool) {
		defer a.d.end()
		events(yield)
	}
	return resp, nil
}

// answering is the try that gives the answer, nil if none does.
func answering(x *pipeline.Exchange) *pipeline.Try {
	if x.Answering >= len(x.Tries) {
		return nil
	}
	return &x.Tries[x.Answering]
}

// allowanceOf gathers what holds for an exchange, nil if nothing does.
func (l *Limiter) allowanceOf(c *compiled, x *pipeline.Exchange) *allowance {
	who := call{org: x.Caller.Org, project: x.Caller.Project, key: x.Caller.KeyLine(), user: x.Request.User, model: x.Request.Model}
	who.tags = x.Tags
	a := &allowance{call: who, l: l}
	a.all, a.rates = a.room[:0], a.rateRoom[:0]
	if a.at = x.Time; a.at.IsZero() {
		a.at = l.o.Now()
	}
	for _, list := range [][]*budgetRule{c.budgets.byProject[who.project], c.budgets.others} {
		for _, r := range list {
			if r.Scope.fits(&who) {
				a.hold(r, r.subject(&who))
			}
		}
	}
	for _, list := range [][]*rateRule{c.rates.byProject[who.project], c.rates.others} {
		for _, r := range list {
			if r.Scope.fits(&who) && r.Scope.models(who.model, "") {
				a.rates = append(a.rates, r.rule(r.subject(&who)))
			}
		}
	}
	a.tiers = c.tiersOf(&who)
	for _, t := range a.tiers {
		for _, r := range t.budgets {
			a.hold(r, t.subject)
		}
		for _, r := range t.rates {
			a.rates = append(a.rates, r.rule(t.subject))
		}
		a.output = least(a.output, t.MaxOutput)
	}
	if len(a.all)+len(a.tiers)+len(a.rates) == 0 {
		return nil
	}
	x.Low = a.low()
	return a
}

// low is how much of the fullest budget in force is used, in percent, as far as that is known here.
func (a *allowance) low() (percent int) {
	for i := range a.all {
		h := &a.all[i]
		if h.Mode != Enforce || h.part >= 0 || h.Amount <= 0 || a.scoped && !h.models(a.model, "") {
			continue
		}
		if used, known := h.pool.Used(); known {
			percent = max(percent, percentOf(used, h.Amount))
		}
	}
	return percent
}

// admit refuses what the tiers do not allow, and lowers the class to what they do.
func (a *allowance) admit(x *pipeline.Exchange) error {
	for _, t := range a.tiers {
		if class := bestClass(x.Class, t.Class); class != x.Class {
			x.Note("tier", t.Name+": the best class is "+t.Class, 0)
			x.Class = class
		}
		if len(t.Models) > 0 && !slices.ContainsFunc(t.Models, func(glob string) bool { return llm.MatchName(glob, x.Request.Model) }) {
			f := fault.New(fault.OverTier, "The tier %s does not include the model %s.", quote(t.Name), quote(x.Request.Model))
			f.Param, f.Hint, f.Spent = "model", "It includes: "+strings.Join(t.Models, ", "), true
			return f
		}
		// No text has more tokens than bytes, so that most prompts need not be counted.
		if t.MaxInput > 0 && x.Op != llm.OpCount && x.Request.Size() > t.MaxInput {
			if n, _ := tokens.Prompt(x.Request.Model, x.Request); n > t.MaxInput {
				return overInput(t, n)
			}
		}
	}
	return nil
}

func overInput(t given, n int64) error {
	f := fault.New(fault.OverTier, "The prompt has some %d tokens, and the tier %s allows %d.", n, quote(t.Name), t.MaxInput)
	f.Hint, f.Spent = "Shorten it.", true
	return f
}

// outputCap is the cap on one choice, in tokens; 0 is none. A budget that is in force needs one.
func (a *allowance) outputCap(x *pipeline.Exchange, model int64, needed bool) int64 {
	if x.Op != llm.OpChat {
		return 0
	}
	most := x.Request.MaxOutput
	if most == 0 && (needed || a.output > 0 || x.OutputCap > 0) {
		most = x.DefaultOutput
		if most == 0 && needed {
			most = usualOutput
		}
	}
	if most = least(most, least(a.output, x.OutputCap)); most > 0 {
		most = least(most, model)
	}
	return most
}

// hold has the exchange count for a budget, and for what of it is not kept for calls with tags that it has not.
func (a *allowance) hold(r *budgetRule, subject string) {
	in := r.at(a.at)
	if r.isOff(in, a.at) {
		return
	}
	n := len(a.all)
	a.all = append(a.all, held{}) // it is large, so it is filled where it is
	h := &a.all[n]
	h.budgetRule, h.in, h.part = r, in, -1
	h.key = escrow.Key{Rule: r.id, Subject: subject, Start: in.Start.UnixMicro()}
	h.pool = a.l.o.Bank.Pool(h.key, h.terms(in))
	a.scoped = a.scoped || r.Model != ""
	for i, k := range r.Kept {
		if slices.Contains(a.tags, k.Tag) {
			continue
		}
		rest := a.all[n]
		rest.part, rest.key.Rule = i, r.kept[i]
		rest.pool = a.l.o.Bank.Pool(rest.key, rest.terms(rest.in))
		a.all = append(a.all, rest)
	}
}

// counting are the budgets that a try at a target counts for.
func (a *allowance) counting(t llm.Target) []held {
	if !a.scoped {
		return a.all
	}
	name, list := t.String(), make([]held, 0, len(a.all))
	for i := range a.all {
		if a.all[i].models(a.model, name) {
			list = append(list, a.all[i])
		}
	}
	return list
}

// take takes what the exchange needs of its rates, or refuses it.
func (a *allowance) take(ctx context.Context, x *pipeline.Exchange) error {
	if len(a.rates) == 0 {
		return nil
	}
	need := rate.Need{Requests: 1}
	if x.Op != llm.OpCount {
		need.Input = int64(len(x.Request.Raw)+3) / 4
	}
	if x.Op == llm.OpChat {
		need.Output = a.l.o.Learned.Output(a.model, a.project, x.Request.MaxOutput) * max(int64(x.Request.Choices), 1)
	}
	err := a.l.o.Rates.Admit(ctx, a.rates, need, &a.admission)
	for i := range a.admission.Over {
		a.l.m.observed.Inc()
		x.Note("limit", "observed: "+a.admission.Over[i].Error(), 0)
	}
	var over *rate.Exceeded
	switch {
	case err == nil:
		return nil
	case errors.As(err, &over):
		return exceeded(x, over)
	case errors.Is(err, rate.ErrUnavailable):
		return unavailable(err, "How much your calls may use")
	}
	return err
}

// exceeded is the end of a call that a rate leaves no room for.
func exceeded(x *pipeline.Exchange, e *rate.Exceeded) error {
	words := strings.ReplaceAll(e.Rule.Measure, "_", " ") + " a minute"
	if e.Rule.Measure == rate.Concurrent {
		words = "calls at once"
	}
	f := fault.New(fault.RateExceeded, "Over the limit of %d %s: %d left, and this call needs %d.", e.Limit, words, e.Left, e.Need)
	f.RetryAfter = e.RetryAfter
	if e.Never {
		f.Message = fmt.Sprintf("The call needs %d %s, and the limit is %d.", e.Need, words, e.Limit)
		f.Hint, f.Spent, f.RetryAfter = "It can never pass: make it smaller, or ask whoever runs Penstock to raise the limit.", true, 0
	}
	x.Note("limit", "refused by "+e.Rule.ID+": "+e.Error(), 0)
	return f
}

func (r *rateRule) rule(subject string) rate.Rule {
	return rate.Rule{ID: r.id, Subject: subject, Measure: string(r.Measure), Amount: r.Amount, Observe: r.Mode == Observe}
}

// Rates implements [pipeline.Allowance].
func (a *allowance) Rates(dst []pipeline.RateStanding) []pipeline.RateStanding {
	for i := range a.rates {
		if r := &a.rates[i]; r.Measure != rate.Concurrent && !r.Observe {
			s := a.l.o.Rates.StandingOf(r)
			dst = append(dst, pipeline.RateStanding{Measure: r.Measure, Limit: s.Limit, Left: s.Left, Reset: s.Reset})
		}
	}
	return dst
}

// opened and closed count what is reserved. finish says that the answer has ended. When all of that is over, the rates are told
// what was used: a call that was sent has used its request, whatever became of it.
func (a *allowance) opened(charges int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open++
	a.sent++
	if charges > 0 {
		a.paid++
	}
}

func (a *allowance) closed(try *pipeline.Try) {
	if try.Outcome == pipeline.SettledActual && !try.Usage.Estimated {
		a.l.o.Learned.Saw(a.model, a.project, try.Usage.Output)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if len(try.Charges) > 0 {
		a.paid--
	}
	if try.Outcome != pipeline.Released {
		a.used = a.used.Add(try.Usage)
	}
	a.conclude()
}

func (a *allowance) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gone = true
	a.conclude()
}

func (a *allowance) conclude() {
	if a.done || !a.gone || a.open > 0 || len(a.rates) == 0 {
		return
	}
	a.done = true
	used := rate.Need{Input: a.used.Input, Output: a.used.Output}
	if a.sent > 0 {
		used.Requests = 1
	}
	a.admission.Done(used)
}

// counted notes a call that was sent and that nothing is reserved for.
func (a *allowance) counted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent++
}

// over notes a budget that would have refused the exchange, and reports whether that is new.
func (a *allowance) over(rule string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if slices.Contains(a.seen, rule) {
		return false
	}
	a.seen = append(a.seen, rule)
	return true
}

// show writes an amount in the unit of the budget.
func (h *held) show(n int64) string {
	if h.Unit == TokenCount {
		return strconv.FormatInt(n, 10) + " tokens"
	}
	return "$" + llm.Money(n).String()
}

// detailOf is what a program can read of a refusal.
func detailOf(h *held, s escrow.State, need int64) []byte {
	unit := "_nano"
	if h.Unit == TokenCount {
		unit = "_tokens"
	}
	detail := map[string]any{
		"budget": h.budgetRule.id, "limit" + unit: h.limit(), "settled" + unit: s.Settled, "held" + unit: s.Held, "unknown" + unit: s.Unknown,
		"free" + unit: s.Free(), "needed" + unit: need,
	}
	if !h.in.End.IsZero() {
		detail["resets_at"] = h.in.End.Format(time.RFC3339)
	}
	b, err := json.Marshal(detail, json.Deterministic(true))
	if err != nil {
		return nil
	}
	return b
}
