package admin

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
)

// TermsInput are what a budget allows: amount or tokens.
type TermsInput struct {
	Amount string `json:"amount,omitzero" kind:"decimal"` // US dollars in each window, as decimal text with up to nine decimals, such as 1.00
	Tokens *int64 `json:"tokens,omitzero"`                // input and output tokens together in each window, instead of an amount
	Per    string `json:"per"`                            // hour, day, week, month or term: how long windows are, by the civil calendar
	Zone   string `json:"zone,omitzero"`                  // where days begin: a name such as Europe/Berlin; UTC if it is left out
	From   string `json:"from,omitzero"`                  // of a term, its first instant: RFC 3339, or a day (its start in the zone)
	To     string `json:"to,omitzero"`                    // of a term, the instant before which it ends: RFC 3339, or a day (its start in the zone)
	Mode   string `json:"mode,omitzero"`                  // enforce (the default): calls over it are refused; observe: they are told of
	// Alerts are the shares in percent at which somebody is told; 50, 80, 90 and 100 if they are left out.
	Alerts []int  `json:"alerts,omitempty"`
	Kept   []Kept `json:"kept,omitempty"` // shares for calls with a tag alone
}

// A Kept is a share of a budget that only calls with the tag may use: calls without it stop earlier.
type Kept struct {
	Tag   string `json:"tag"`   // as calls carry it in X-Penstock-Tags
	Share int    `json:"share"` // percent, 1 to 99
}

// Terms are what a budget allows.
type Terms struct {
	Unit   string     `json:"unit"`                 // usd or tokens
	Amount string     `json:"amount,omitzero"`      // US dollars in each window, as decimal text
	Nano   *int64     `json:"amount_nano,omitzero"` // the same in nano-dollars
	Tokens *int64     `json:"tokens,omitzero"`      // in each window, of a budget in tokens
	Per    string     `json:"per"`                  // hour, day, week, month or term
	Zone   string     `json:"zone,omitzero"`        // where days begin; UTC if it is left out
	From   *time.Time `json:"from,omitzero"`        // of a term
	To     *time.Time `json:"to,omitzero"`          // of a term; not part of it
	Mode   string     `json:"mode"`                 // enforce or observe
	Alerts []int      `json:"alerts,omitempty"`     // percent; left out: 50, 80, 90, 100
	Kept   []Kept     `json:"kept,omitempty"`
}

// A BudgetInput makes a budget, or changes the one with the same scope, unit, per and from.
type BudgetInput struct {
	ScopeInput
	TermsInput
	OnVersion
}

// An OnVersion keeps a change from overwriting another one that was made since its author looked.
type OnVersion struct {
	// Version is that of what is changed, as it was read; 0 if there was none. If it is another by now, nothing is changed
	// (changed_meanwhile, or already_exists). It is set whatever is there if this is left out.
	Version *int64 `json:"version,omitzero"`
}

func (on OnVersion) was(path string) (limit.Was, []fault.Problem) {
	switch {
	case on.Version == nil:
		return limit.Whatever, nil
	case *on.Version < 0:
		return limit.Whatever, []fault.Problem{{Path: path + "version", Text: "is below 0", Hint: "send the version that was read, or 0 if there was none"}}
	}
	return limit.Was(*on.Version), nil
}

// A Budget is an amount of money or tokens for a scope in every window of time.
type Budget struct {
	ID string `json:"id"`
	Scope
	Terms
	Version int64     `json:"version"` // grows with every change
	Set     time.Time `json:"set"`     // when it was set last
	// Windows are the current ones, at most 20: of a budget for each project, key or user there is one for each that was seen.
	Windows []BudgetWindow `json:"windows"`
}

// A BudgetWindow is how one window of a budget stands, in nano-dollars or in tokens.
type BudgetWindow struct {
	Subject string     `json:"subject,omitzero"` // whose it is, of a budget for each
	Start   time.Time  `json:"start"`
	End     time.Time  `json:"end"` // when the next begins
	Label   string     `json:"label"`
	RunOut  *time.Time `json:"run_out"` // when it is used up, if use goes on as it did so far; null: not before its end

	LimitNano   *int64 `json:"limit_nano,omitzero"`
	SettledNano *int64 `json:"settled_nano,omitzero"` // what calls are known to have come to
	HeldNano    *int64 `json:"held_nano,omitzero"`    // by replicas: for calls that run, and for the next ones
	UnknownNano *int64 `json:"unknown_nano,omitzero"` // held by calls of which it is not known what they came to
	OverrunNano *int64 `json:"overrun_nano,omitzero"` // of settled, what providers billed beyond what was reserved
	FreeNano    *int64 `json:"free_nano,omitzero"`    // what nobody has

	LimitTokens   *int64 `json:"limit_tokens,omitzero"`
	SettledTokens *int64 `json:"settled_tokens,omitzero"`
	HeldTokens    *int64 `json:"held_tokens,omitzero"`
	UnknownTokens *int64 `json:"unknown_tokens,omitzero"`
	OverrunTokens *int64 `json:"overrun_tokens,omitzero"`
	FreeTokens    *int64 `json:"free_tokens,omitzero"`
}

// maxWindows is how many windows of a budget a list shows.
const maxWindows = 20

// read gives what is meant, and all that is wrong with it.
func (in *TermsInput) read(at string) (limit.Terms, []fault.Problem) {
	text := limit.TermsText{Amount: in.Amount, Per: in.Per, Zone: in.Zone, From: in.From, To: in.To, Mode: in.Mode, Alerts: in.Alerts}
	if in.Tokens != nil {
		text.Tokens = strconv.FormatInt(*in.Tokens, 10)
	}
	for _, k := range in.Kept {
		text.Kept = append(text.Kept, limit.Kept(k))
	}
	return text.Read(at)
}

// termsOf shows terms.
func termsOf(t *limit.Terms) Terms {
	out := Terms{
		Unit: string(t.Unit), Per: string(t.Per), Zone: t.Zone, From: instant(t.From), To: instant(t.To), Mode: string(t.Mode), Alerts: t.Alerts,
	}
	for _, k := range t.Kept {
		out.Kept = append(out.Kept, Kept(k))
	}
	if t.Unit == limit.USD {
		out.Amount, out.Nano = limit.FormatAmount(t.Unit, t.Amount), new(t.Amount)
	} else {
		out.Tokens = new(t.Amount)
	}
	return out
}

func (a *API) setBudget(ctx context.Context, _ *call, in BudgetInput) (Budget, error) {
	terms, problems := in.TermsInput.read("")
	scope, err := a.scope(ctx, in.ScopeInput)
	if err != nil && len(problems) == 0 {
		return Budget{}, err
	}
	was, wrong := in.was("")
	if problems = append(append(problems, scope.Mistakes()...), wrong...); len(problems) > 0 {
		return Budget{}, limit.Refusal(problems)
	}
	b, err := a.o.Limits.SetBudget(ctx, limit.Budget{Scope: scope, Terms: terms}, was)
	if err != nil {
		return Budget{}, err
	}
	a.limitsChanged(ctx)
	return a.budget(ctx, b)
}

func (a *API) deleteBudget(ctx context.Context, c *call) (Budget, error) {
	b, err := a.o.Limits.DeleteBudget(ctx, c.id)
	if err != nil {
		return Budget{}, err
	}
	a.limitsChanged(ctx)
	return a.budget(ctx, b)
}

// limitsChanged lets this process know of a change at once; others find it within a second.
func (a *API) limitsChanged(ctx context.Context) {
	if a.o.LimitsChanged != nil {
		a.o.LimitsChanged(ctx)
	}
}

func (a *API) listBudgets(ctx context.Context, c *call) (list[Budget], error) {
	q, err := a.defined(ctx, c)
	if err != nil {
		return list[Budget]{}, err
	}
	if _, err := a.catchUp(ctx); err != nil { // who has just made a call looks whether it counts
		return list[Budget]{}, err
	}
	rows := slices.DeleteFunc(q.Budgets, func(b limit.Budget) bool { return !q.of(b.Project) || b.ID <= q.after })
	out := page(rows, q.most, func(b limit.Budget) string { return b.ID }, q.budgetOf)
	for i := range out.Data {
		if out.Data[i].Windows, err = a.windows(ctx, &rows[i], limit.WindowQuery{}); err != nil {
			return list[Budget]{}, err
		}
	}
	return out, nil
}

// oneBudget shows a budget with its windows, those that are over too.
func (a *API) oneBudget(ctx context.Context, c *call) (Budget, error) {
	n, err := c.query.limit()
	if err != nil {
		return Budget{}, err
	}
	if _, err := a.catchUp(ctx); err != nil {
		return Budget{}, err
	}
	d, err := a.o.Limits.Definitions(ctx)
	if err != nil {
		return Budget{}, err
	}
	i := slices.IndexFunc(d.Budgets, func(b limit.Budget) bool { return b.ID == c.id })
	if i < 0 {
		f := fault.New(fault.NotThere, "There is no budget with the id %s here.", quote(c.id))
		f.Hint = "List them with: penstock budget list"
		return Budget{}, f
	}
	t, err := a.tenants(ctx)
	if err != nil {
		return Budget{}, err
	}
	out := t.budgetOf(d.Budgets[i])
	out.Windows, err = a.windows(ctx, &d.Budgets[i], limit.WindowQuery{Subject: c.query["subject"], Limit: n})
	return out, err
}

func (a *API) budget(ctx context.Context, b limit.Budget) (Budget, error) {
	t, err := a.tenants(ctx)
	if err != nil {
		return Budget{}, err
	}
	out := t.budgetOf(b)
	out.Windows, err = a.windows(ctx, &b, limit.WindowQuery{})
	return out, err
}

func (t tenants) budgetOf(b limit.Budget) Budget {
	return Budget{ID: b.ID, Scope: t.scopeOf(b.Scope), Terms: termsOf(&b.Terms), Version: b.Version, Set: b.Set, Windows: []BudgetWindow{}}
}

// windows shows how windows of a budget stand: with no Limit the current ones.
func (a *API) windows(ctx context.Context, b *limit.Budget, q limit.WindowQuery) ([]BudgetWindow, error) {
	now := a.o.Now()
	standings, err := limit.Windows(ctx, a.o.Limits, b, q, now, maxWindows)
	if err != nil {
		return nil, err
	}
	out, calendar := []BudgetWindow{}, b.Calendar()
	for i := range standings {
		out = append(out, windowOf(b.Unit, &standings[i], calendar.At(standings[i].Start).Label, now))
	}
	return out, nil
}

func windowOf(unit limit.Unit, s *limit.Standing, label string, now time.Time) BudgetWindow {
	w := BudgetWindow{Subject: s.Subject, Start: s.Start.UTC(), End: s.End.UTC(), Label: label}
	if at, ok := s.RunOut(now); ok && now.Before(s.End) {
		w.RunOut = instant(at)
	}
	if unit == limit.USD {
		w.LimitNano, w.SettledNano, w.HeldNano = new(s.Limit), new(s.Settled), new(s.Held)
		w.UnknownNano, w.OverrunNano, w.FreeNano = new(s.Unknown), new(s.Over), new(s.Free)
	} else {
		w.LimitTokens, w.SettledTokens, w.HeldTokens = new(s.Limit), new(s.Settled), new(s.Held)
		w.UnknownTokens, w.OverrunTokens, w.FreeTokens = new(s.Unknown), new(s.Over), new(s.Free)
	}
	return w
}
