package limit

import (
	"slices"
	"strings"
	"sync"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
	"github.com/penstock/penstock/internal/tokens"
)

// An allowance is what limits one exchange.
type allowance struct {
	*plan
	l      *Limiter
	capped bool // the request's own cap is not in force
	look   look

	admission rate.Admission
	first     reservation
	d         drain

	mu   sync.Mutex // guards the fields below
	open int        // reservations
	paid int        // those of them that a budget pays for
	sent int        // tries that were reserved for
	gone bool       // the answer has ended
	done bool
	used llm.Usage
	seen []string // budgets that would have refused it, and only observe
}

// allowanceOf gathers what holds for an exchange, nil if nothing does.
func (l *Limiter) allowanceOf(c *compiled, x *pipeline.Exchange) *allowance {
	who := call{org: x.Caller.Org, project: x.Caller.Project, key: x.Caller.KeyLine(), user: x.Request.User, model: x.Request.Model}
	who.tags = x.Tags
	at := x.Time // by which windows are found
	if at.IsZero() {
		at = l.o.Now()
	}
	p := l.planOf(c, &who, at)
	if len(p.all)+len(p.tiers)+len(p.rates) == 0 {
		return nil
	}
	return &allowance{plan: p, l: l}
}

// Low implements [pipeline.Allowance]: of what the exchange may use of budgets in force, as far as that is known here,
// without what is kept for tags that it has not, for it is refused where that begins.
func (a *allowance) Low() (percent int) {
	for i := range a.all {
		h := &a.all[i]
		if h.Mode != Enforce || h.Amount <= 0 || a.scoped && !h.models(a.model, "") {
			continue
		}
		if used, known := h.pool.Used(); known {
			percent = max(percent, percentOf(used, h.limit()))
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
