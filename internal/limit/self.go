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

// InNano are the amounts of a budget in nano-dollars. Held is what running calls may come to. All but the limit are nil where they are
// not known.
type InNano struct {
	Limit   int64  `json:"limit_nano"`
	Settled *int64 `json:"settled_nano,omitzero"`
	Held    *int64 `json:"held_nano,omitzero"`
	Unknown *int64 `json:"unknown_nano,omitzero"`
	Free    *int64 `json:"free_nano,omitzero"`
}

// InTokens are the amounts of a budget in tokens, as InNano has them.
type InTokens struct {
	Limit   int64  `json:"limit_tokens"`
	Settled *int64 `json:"settled_tokens,omitzero"`
	Held    *int64 `json:"held_tokens,omitzero"`
	Unknown *int64 `json:"unknown_tokens,omitzero"`
	Free    *int64 `json:"free_tokens,omitzero"`
}

// Nothing is what limits nobody.
func Nothing() Allowed {
	return Allowed{Tiers: []string{}, Rates: []AllowedRate{}, Budgets: []AllowedBudget{}}
}

// Allowed says where a caller stands; user is an end user of it, "" if it asks for itself. How budgets stand that this process does not
// spend from is read from the store, of at most 500 of them and all at once, within two seconds. What is not known then is left out:
// only the limits are told.
func (l *Limiter) Allowed(ctx context.Context, caller *pipeline.Caller, user string) Allowed {
	out := Nothing()
	c := l.o.Board.inForce.Load()
	who := call{org: caller.Org, project: caller.Project, key: caller.KeyLine(), user: user}
	now := l.o.Now()
	var keys []escrow.Key
	var amounts []int64
	add := func(r *budgetRule, subject string) {
		in := r.at(now)
		if r.isOff(in, now) {
			return
		}
		keys, amounts = append(keys, escrow.Key{Rule: r.id, Subject: subject, Start: in.Start.UnixMicro()}), append(amounts, r.Amount)
		out.Budgets = append(out.Budgets, AllowedBudget{
			Budget: r.id, Unit: r.Unit, Mode: r.Mode, Per: string(r.Per), Model: r.Model, Start: in.Start, Resets: in.End, Kept: r.Kept,
		})
	}
	var rates []rate.Rule
	var models []string
	limit := func(r *rateRule, subject string) {
		rates, models = append(rates, r.rule(subject)), append(models, r.Model)
	}
	for _, t := range c.each(&who, add, limit) {
		out.take(t.tier)
	}
	states := l.states(ctx, keys)
	for i := range out.Budgets {
		out.Budgets[i].stands(amounts[i], states[i])
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

// stands says how the budget stands; of nil nothing is known but its limit.
func (b *AllowedBudget) stands(amount int64, s *escrow.State) {
	in := InNano{Limit: amount}
	if s != nil {
		in.Settled, in.Held, in.Unknown, in.Free = &s.Settled, &s.Held, &s.Unknown, new(max(amount-s.Settled-s.Held-s.Unknown, 0))
	}
	if b.Unit == TokenCount {
		b.InTokens = (*InTokens)(&in)
	} else {
		b.InNano = &in
	}
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

// states says how pools stand: as this process knows them, else as the store does; nil where that is not known.
func (l *Limiter) states(ctx context.Context, keys []escrow.Key) []*escrow.State {
	const most, patience = 500, 2 * time.Second
	out := make([]*escrow.State, len(keys))
	asked := WindowQuery{}
	at := map[escrow.Key]int{}
	for i, k := range keys {
		if pool := l.o.Bank.Lookup(k); pool != nil {
			if s, known := pool.State(); known {
				s.Held = max(s.Held-pool.Spare(), 0)
				out[i] = &s
				continue
			}
		}
		if len(asked.Keys) < most {
			asked.Keys, at[k] = append(asked.Keys, k), i
		}
	}
	if len(asked.Keys) == 0 {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := l.o.Board.store.Windows(ctx, asked)
	if err != nil {
		return out
	}
	for _, i := range at {
		out[i] = &escrow.State{} // what nobody has used anything of is kept nowhere
	}
	for _, w := range found {
		if i, ok := at[escrow.Key{Rule: w.Budget, Subject: w.Subject, Start: w.Start.UnixMicro()}]; ok {
			out[i] = &escrow.State{Limit: w.Limit, Settled: w.Settled, Held: w.Held, Unknown: w.Unknown, Over: w.Over}
		}
	}
	return out
}
