package limit

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/fresh"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/window"
)

// A Board knows the definitions that are in force. It is safe for concurrent use.
type Board struct {
	store   Store
	inForce *fresh.Copy[compiled]
}

// NewBoard makes a board that refuses everything until its first Refresh.
func NewBoard(s Store, log *slog.Logger, maxStale time.Duration) *Board {
	return &Board{store: s, inForce: fresh.New(fresh.Options[compiled]{
		What: "limits", Version: s.LimitVersion, Log: log, MaxStale: maxStale,
		Read: func(ctx context.Context) (int64, *compiled, error) {
			d, err := s.Definitions(ctx)
			if err != nil {
				return 0, nil, err
			}
			return d.Version, compile(d), nil
		},
	}, compile(Definitions{Version: -1}))}
}

// Run looks for changed definitions each second until ctx ends.
func (b *Board) Run(ctx context.Context) error { return b.inForce.Run(ctx) }

// Refresh takes over what was changed since the last look.
func (b *Board) Refresh(ctx context.Context) error { return b.inForce.Refresh(ctx) }

// Ready reports whether it is known what limits there are.
func (b *Board) Ready() bool { return b.inForce.Ready() }

// Definitions are those in force.
func (b *Board) Definitions() Definitions { return b.inForce.Load().Definitions }

// unavailable is the fault of what cannot be known, since the store does not answer.
func unavailable(cause error, what string) error {
	f := fault.Wrap(fault.LimitsUnavailable, cause, "%s cannot be known: the store does not answer.", what)
	f.RetryAfter = 2 * time.Second
	return f
}

// Compiled definitions are ready to be looked up. They are immutable, but for the windows that budgets remember.
type compiled struct {
	Definitions
	budgets  index[*budgetRule]
	rates    index[*rateRule]
	byID     map[string]*budgetRule // those of tiers, too
	tiers    map[string]*tier
	assigned map[Assignment]string // with only project, key and user set
	any      bool                  // there is anything at all
	keeps    bool                  // some budget keeps a part for calls with a tag
}

// A budgetRule is a budget, of its own or of a tier, as calls are held against it.
type budgetRule struct {
	Scope
	Terms
	id       string // of its pools, and of the budget
	version  int64
	name     string // for people
	calendar window.Calendar
	current  atomic.Pointer[window.Window]
	kept     []string // the pools of those who do not carry a tag, in the order of Terms.Kept
}

type rateRule struct {
	Scope
	Rate
	id string
}

// A tier's rules have no scope: they hold for whoever was given it.
type tier struct {
	Tier
	budgets []*budgetRule
	rates   []*rateRule
}

// An index finds rules by the project that they name.
type index[T any] struct {
	byProject map[string][]T
	others    []T
}

func (ix *index[T]) add(project string, rule T) {
	if project == "" || project == Each {
		ix.others = append(ix.others, rule)
		return
	}
	if ix.byProject == nil {
		ix.byProject = map[string][]T{}
	}
	ix.byProject[project] = append(ix.byProject[project], rule)
}

func compile(d Definitions) *compiled {
	c := &compiled{Definitions: d, byID: map[string]*budgetRule{}, tiers: map[string]*tier{}, assigned: map[Assignment]string{}}
	for i := range d.Budgets {
		b := &d.Budgets[i]
		r := newBudgetRule(b.ID, b.Scope, b.Terms, b.Version)
		c.budgets.add(b.Project, r)
		c.byID[r.id] = r
	}
	for i := range d.Limits {
		l := &d.Limits[i]
		c.rates.add(l.Project, &rateRule{l.Scope, l.Rate, l.ID})
	}
	for i := range d.Tiers {
		t := &tier{Tier: d.Tiers[i]}
		for _, terms := range t.Budgets {
			r := newBudgetRule(TierBudget(t.Name, &terms), Scope{}, terms, t.Version)
			t.budgets = append(t.budgets, r)
			c.byID[r.id] = r
		}
		for _, r := range t.Rates {
			t.rates = append(t.rates, &rateRule{Rate: r, id: "tier:" + t.Name + ":" + string(r.Measure)})
		}
		c.tiers[t.Name] = t
	}
	for _, a := range d.Assigned {
		c.assigned[Assignment{Project: a.Project, Key: a.Key, User: a.User}] = a.Tier
	}
	for _, r := range c.byID {
		c.keeps = c.keeps || len(r.Kept) > 0
	}
	c.any = len(d.Budgets)+len(d.Limits)+len(d.Assigned) > 0
	return c
}

// TierBudget is the id that a budget of a tier has in records and windows: it stays while unit, length and beginning do.
func TierBudget(tier string, t *Terms) string {
	id := "tier:" + tier + ":" + string(t.Unit) + ":" + string(t.Per)
	if t.Per == window.Term {
		id += ":" + strconv.FormatInt(t.From.Unix(), 10)
	}
	return id
}

func newBudgetRule(id string, scope Scope, terms Terms, version int64) *budgetRule {
	r := &budgetRule{Scope: scope, Terms: terms, id: id, version: version, name: nameOf(scope, terms), calendar: terms.Calendar()}
	for _, k := range terms.Kept {
		r.kept = append(r.kept, id+"/without:"+k.Tag)
	}
	return r
}

// nameOf says what a budget is, for people: "$10 a day".
func nameOf(s Scope, t Terms) string {
	amount := "$" + llm.Money(t.Amount).String()
	if t.Unit == TokenCount {
		amount = strconv.FormatInt(t.Amount, 10) + " tokens"
	}
	length := " a " + string(t.Per)
	switch t.Per {
	case window.Hour:
		length = " an hour"
	case window.Term:
		length = " until " + t.To.UTC().Format(time.DateOnly)
	}
	if s.Model != "" {
		length += " for " + s.Model
	}
	return amount + length
}

// at is the window that an instant is in.
func (r *budgetRule) at(now time.Time) *window.Window {
	if w := r.current.Load(); w != nil && w.Has(now) {
		return w
	}
	w := r.calendar.At(now)
	r.current.Store(&w)
	return &w
}

// isOff reports whether a budget does not hold at an instant, of which this is the window: before and after its term.
func (r *budgetRule) isOff(w *window.Window, at time.Time) bool {
	return r.Per == window.Term && !w.Has(at)
}

// terms are those of a pool of the budget.
func (r *budgetRule) terms(w *window.Window) escrow.Terms {
	return escrow.Terms{Limit: r.Amount, Version: r.version, End: w.End.UnixMicro()}
}

// A call is what decides which rules hold.
type call struct {
	org, project, key, user, model string
	tags                           []string
	anyone                         bool // its end user is not known: what holds for one, or for each apart, does not count
}

// fits reports whether a scope holds for a call, but for its model.
func (s *Scope) fits(c *call) bool {
	return (s.Org == "" || s.Org == c.org) && within(s.Project, c.project) && within(s.Key, c.key) && within(s.User, c.user) && (s.User == "" || !c.anyone)
}

func within(named, one string) bool { return named == "" || named == Each || named == one }

// models reports whether a scope holds for a model that was asked for, or for a target.
func (s *Scope) models(asked, target string) bool {
	return s.Model == "" || llm.MatchName(s.Model, asked) || target != "" && llm.MatchName(s.Model, target)
}

// subject is who the rule holds for by itself, "" if it is one for all. Users of different organisations are never one, though they are
// called the same.
func (s *Scope) subject(c *call) string {
	if !s.Each() {
		return ""
	}
	text := ""
	if s.Project == Each {
		text = c.project
	}
	if s.Key == Each {
		text = c.key
	}
	if s.User == Each {
		switch {
		case s.Org == "" && s.Project == "" && s.Key == "":
			text = c.org
		case s.Project != Each && s.Key != Each:
			return c.user
		}
		text += "/" + c.user
	}
	return text
}

// each calls for all rules that hold for a call, but for its model, with whom each holds for, and gives the tiers of the call.
func (c *compiled) each(who *call, budget func(r *budgetRule, subject string), limit func(r *rateRule, subject string)) []given {
	for _, list := range [...][]*budgetRule{c.budgets.byProject[who.project], c.budgets.others} {
		for _, r := range list {
			if r.fits(who) {
				budget(r, r.subject(who))
			}
		}
	}
	for _, list := range [...][]*rateRule{c.rates.byProject[who.project], c.rates.others} {
		for _, r := range list {
			if r.fits(who) {
				limit(r, r.subject(who))
			}
		}
	}
	tiers := c.tiersOf(who)
	for _, t := range tiers {
		for _, r := range t.budgets {
			budget(r, t.subject)
		}
		for _, r := range t.rates {
			limit(r, t.subject)
		}
	}
	return tiers
}

// tiersOf are the tiers of a call: of its project, its key, and its end user.
func (c *compiled) tiersOf(who *call) (found []given) {
	if len(c.assigned) == 0 {
		return nil
	}
	add := func(a Assignment, subject string) bool {
		name, ok := c.assigned[a]
		if t := c.tiers[name]; ok && t != nil {
			found = append(found, given{t, subject})
		}
		return ok
	}
	add(Assignment{Project: who.project}, who.project)
	if who.key != "" {
		add(Assignment{Project: who.project, Key: who.key}, who.key)
	}
	if who.anyone {
		return found
	}
	if who.user != "" && add(Assignment{Project: who.project, User: who.user}, who.project+"/"+who.user) {
		return found
	}
	add(Assignment{Project: who.project, User: Each}, who.project+"/"+who.user)
	return found
}

// A given is a tier that somebody was given.
type given struct {
	*tier
	subject string
}

// classes are those of calls, the best first.
var classes = []string{"priority", "", "flex"}

// bestClass is the better of the class that is asked for and the best that is allowed; "" allows all.
func bestClass(asked, allowed string) string {
	if allowed == "" {
		return asked
	}
	return classes[max(slices.Index(classes, asked), slices.Index(classes, plainClass(allowed)))]
}

// plainClass is the class of a tier as calls have it.
func plainClass(c string) string {
	if c == "default" {
		return ""
	}
	return c
}
