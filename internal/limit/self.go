package limit

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/rate"
)

// An Allowed is what a caller may use, for whoever asks where it stands.
type Allowed struct {
	Tiers   []string        `json:"tiers"`
	Class   string          `json:"class,omitzero"`        // the best that its calls may have, "" is any
	Models  []string        `json:"tier_models,omitempty"` // globs, of its tiers, none is all
	Input   int64           `json:"max_input,omitzero"`    // tokens of one call
	Output  int64           `json:"max_output,omitzero"`   // tokens of one call
	Rates   []AllowedRate   `json:"rates"`
	Budgets []AllowedBudget `json:"budgets"`
}

// An AllowedRate is a limit a minute, or at once.
type AllowedRate struct {
	Measure Measure `json:"measure"`
	Mode    Mode    `json:"mode"`
	Model   string  `json:"model,omitzero"`
	Limit   int64   `json:"limit"`
	Left    int64   `json:"left"`
}

// An AllowedBudget is a budget in the window that it is now.
type AllowedBudget struct {
	Budget string    `json:"budget"`
	Unit   Unit      `json:"unit"`
	Mode   Mode      `json:"mode"`
	Per    string    `json:"per"`
	Model  string    `json:"model,omitzero"`
	Start  time.Time `json:"start"`
	Resets time.Time `json:"resets_at"`
	Kept   []Kept    `json:"kept,omitempty"`
	*InNano
	*InTokens
}

// InNano are the amounts of a budget in nano-dollars. Held is what running calls may come to.
type InNano struct {
	Limit   int64 `json:"limit_nano"`
	Settled int64 `json:"settled_nano"`
	Held    int64 `json:"held_nano"`
	Unknown int64 `json:"unknown_nano"`
	Free    int64 `json:"free_nano"`
}

// InTokens are the amounts of a budget in tokens.
type InTokens struct {
	Limit   int64 `json:"limit_tokens"`
	Settled int64 `json:"settled_tokens"`
	Held    int64 `json:"held_tokens"`
	Unknown int64 `json:"unknown_tokens"`
	Free    int64 `json:"free_tokens"`
}

// Nothing is what limits nobody.
func Nothing() Allowed {
	return Allowed{Tiers: []string{}, Rates: []AllowedRate{}, Budgets: []AllowedBudget{}}
}

// Allowed says where a caller stands; user is an end user of it, "" if it asks for itself. What the store does not say is left
// out of the answer's figures: then only the limits are told.
func (l *Limiter) Allowed(ctx context.Context, caller *pipeline.Caller, user string) Allowed {
	out := Nothing()
	c := l.o.Board.inForce.Load()
	who := call{org: caller.Org, project: caller.Project, key: caller.KeyLine(), user: user}
	now := l.o.Now()
	add := func(r *budgetRule, subject string) {
		in := r.at(now)
		if r.isOff(in, now) {
			return
		}
		key := escrow.Key{Rule: r.id, Subject: subject, Start: in.Start.UnixMicro()}
		s := l.state(ctx, key, r.terms(in), now)
		b := AllowedBudget{
			Budget: r.id, Unit: r.Unit, Mode: r.Mode, Per: string(r.Per), Model: r.Model, Start: in.Start, Resets: in.End, Kept: r.Kept,
		}
		stands := InNano{Limit: r.Amount, Settled: s.Settled, Held: s.Held, Unknown: s.Unknown, Free: max(r.Amount-s.Settled-s.Held-s.Unknown, 0)}
		if r.Unit == TokenCount {
			b.InTokens = (*InTokens)(&stands)
		} else {
			b.InNano = &stands
		}
		out.Budgets = append(out.Budgets, b)
	}
	var rates []rate.Rule
	var models []string
	limit := func(r *rateRule, subject string) {
		rates, models = append(rates, r.rule(subject)), append(models, r.Model)
	}
	for _, t := range c.each(&who, add, limit) {
		out.take(t.tier)
	}
	for i, s := range l.o.Rates.Standing(rates) {
		mode := Enforce
		if s.Rule.Observe {
			mode = Observe
		}
		out.Rates = append(out.Rates, AllowedRate{Measure: Measure(s.Rule.Measure), Mode: mode, Model: models[i], Limit: s.Limit, Left: s.Left})
	}
	return out
}

// take takes the bounds of a tier: the strictest count.
func (a *Allowed) take(t *tier) {
	a.Tiers = append(a.Tiers, t.Name)
	if t.Class != "" && (a.Class == "" || bestClass(plainClass(a.Class), t.Class) != plainClass(a.Class)) {
		a.Class = t.Class
	}
	if len(t.Models) > 0 {
		a.Models = append(a.Models, t.Models...)
	}
	a.Input, a.Output = least(a.Input, t.MaxInput), least(a.Output, t.MaxOutput)
}

// least is the smaller of two bounds, of which 0 is none.
func least(a, b int64) int64 {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}

// state is how a pool stands: as this process knows it, else as the store does.
func (l *Limiter) state(ctx context.Context, key escrow.Key, t escrow.Terms, now time.Time) escrow.State {
	pool := l.o.Bank.Pool(key, t)
	if s, known := pool.State(); known {
		s.Held = max(s.Held-pool.Spare(), 0)
		return s
	}
	found, err := l.o.Board.store.Windows(ctx, WindowQuery{Budget: key.Rule, Subject: key.Subject, At: now, Limit: 1})
	if err != nil || len(found) == 0 {
		return escrow.State{}
	}
	w := found[0]
	return escrow.State{Limit: w.Limit, Settled: w.Settled, Held: w.Held, Unknown: w.Unknown, Over: w.Over}
}
