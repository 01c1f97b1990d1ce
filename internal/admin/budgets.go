package admin

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/window"
)

// TermsInput are what a budget allows: amount or tokens.
type TermsInput struct {
	Amount string `json:"amount,omitzero"` // US dollars in each window, as decimal text with up to nine decimals, such as 1.00
	Tokens *int64 `json:"tokens,omitzero"` // input and output tokens together in each window, instead of an amount
	Per    string `json:"per"`             // hour, day, week, month or term: how long windows are, by the civil calendar
	Zone   string `json:"zone,omitzero"`   // where days begin: a name such as Europe/Berlin; UTC if it is left out
	From   string `json:"from,omitzero"`   // of a term, its first instant: RFC 3339, or a day (its start in the zone)
	To     string `json:"to,omitzero"`     // of a term, the instant before which it ends: RFC 3339, or a day (its start in the zone)
	Mode   string `json:"mode,omitzero"`   // enforce (the default): calls over it are refused; observe: they are told of
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

// read gives what is meant, and all that is wrong with how it is written.
func (in *TermsInput) read(at string) (t limit.Terms, problems []fault.Problem) {
	add := func(path, text, hint string) {
		if text != "" {
			problems = append(problems, fault.Problem{Path: at + path, Text: text, Hint: hint})
		}
	}
	t = limit.Terms{Per: window.Per(in.Per), Zone: in.Zone, Mode: limit.Mode(cmp.Or(in.Mode, string(limit.Enforce))), Alerts: in.Alerts}
	for _, k := range in.Kept {
		t.Kept = append(t.Kept, limit.Kept(k))
	}
	switch t.Unit = limit.USD; {
	case in.Amount != "" && in.Tokens != nil:
		add("tokens", "is there beside amount", "a budget is in dollars or in tokens; make two")
	case in.Tokens != nil:
		t.Unit, t.Amount = limit.TokenCount, *in.Tokens
	case in.Amount == "":
		add("amount", "is missing", "write dollars as decimal text, such as 1.00, or send tokens")
	default:
		var wrong string
		t.Amount, wrong = limit.ReadAmount(limit.USD, in.Amount)
		add("amount", wrong, "")
	}
	zone, err := limit.Zone(in.Zone)
	if err != nil {
		zone = time.UTC // that it is wrong is told by Mistakes
	}
	var wrong string
	t.From, wrong = readStart(in.From, zone)
	add("from", wrong, instantHint)
	t.To, wrong = readStart(in.To, zone)
	add("to", wrong, instantHint)
	return t, problems
}

const instantHint = "write 2026-11-24 or 2026-11-24T09:00:00Z"

// readStart reads RFC 3339, or a day, which is its start in the zone. Instants are kept in microseconds.
func readStart(text string, zone *time.Location) (t time.Time, problem string) {
	if text == "" {
		return t, ""
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC().Truncate(time.Microsecond), ""
	}
	if day, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		y, m, d := day.Date()
		noon := time.Date(y, m, d, 12, 0, 0, 0, zone) // some days have no midnight
		return window.Calendar{Per: window.Day, Zone: zone}.At(noon).Start.UTC(), ""
	}
	return t, quote(text) + " is not an instant"
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
	b := limit.Budget{Scope: scope, Terms: terms}
	if problems = append(problems, notYet(problems, b.Mistakes())...); len(problems) > 0 {
		return Budget{}, limit.Refusal(problems)
	}
	if b, err = a.o.Limits.SetBudget(ctx, b); err != nil {
		return Budget{}, err
	}
	a.limitsChanged(ctx)
	return a.budget(ctx, b)
}

// notYet are the mistakes at places of which none is told yet: what cannot be read is told of once.
func notYet(told, more []fault.Problem) []fault.Problem {
	return slices.DeleteFunc(more, func(p fault.Problem) bool {
		return slices.ContainsFunc(told, func(o fault.Problem) bool {
			return o.Path == p.Path || strings.HasSuffix(p.Path, "per") && (strings.HasSuffix(o.Path, "from") || strings.HasSuffix(o.Path, "to"))
		})
	})
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
	n, err := c.query.limit()
	if err != nil {
		return list[Budget]{}, err
	}
	project, err := a.projectID(ctx, c.query["project"])
	if err != nil {
		return list[Budget]{}, err
	}
	d, err := a.o.Limits.Definitions(ctx)
	if err != nil {
		return list[Budget]{}, err
	}
	t, err := a.tenants(ctx)
	if err != nil {
		return list[Budget]{}, err
	}
	rows := slices.DeleteFunc(d.Budgets, func(b limit.Budget) bool {
		return project != "" && b.Project != project || b.ID <= c.query["after"]
	})
	out := page(rows, n, func(b limit.Budget) string { return b.ID }, func(b limit.Budget) Budget { return t.budgetOf(b) })
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

func (t *tenants) budgetOf(b limit.Budget) Budget {
	return Budget{ID: b.ID, Scope: t.scopeOf(b.Scope), Terms: termsOf(&b.Terms), Version: b.Version, Set: b.Set, Windows: []BudgetWindow{}}
}

// windows reads how windows of a budget stand: with no Limit the current ones. One that nobody has used anything of yet is not
// kept anywhere, and shown all the same.
func (a *API) windows(ctx context.Context, b *limit.Budget, q limit.WindowQuery) ([]BudgetWindow, error) {
	now, calendar := a.o.Now(), b.Calendar()
	current := calendar.At(now)
	q.Budget = b.ID
	if q.Limit == 0 {
		if q.At, q.Limit = now, maxWindows; !current.Has(now) { // a term that has not begun, or is over
			q.At = current.Start
		}
	}
	standings, err := a.o.Limits.Windows(ctx, q)
	if err != nil {
		return nil, err
	}
	if each := b.Project == limit.Each || b.Key == limit.Each || b.User == limit.Each; !each &&
		!slices.ContainsFunc(standings, func(s limit.Standing) bool { return s.Start.Equal(current.Start) }) {
		standings = slices.Insert(standings, 0, limit.Standing{Budget: b.ID, Start: current.Start, End: current.End, Limit: b.Amount, Free: b.Amount})
	}
	out := []BudgetWindow{}
	for i := range standings {
		s := &standings[i]
		if s.End.IsZero() { // nothing was ever reserved in it, so the calendar says what the books do not
			if s.End, s.Limit = calendar.At(s.Start).End, b.Amount; !q.At.IsZero() && !q.At.Before(s.End) {
				continue
			}
			s.Free = max(s.Limit-s.Settled-s.Held-s.Unknown, 0)
		}
		if !now.Before(s.Start) && now.Before(s.End) { // what is in force now may be newer than what was last asked for
			s.Limit, s.Free = b.Amount, max(b.Amount-s.Settled-s.Held-s.Unknown, 0)
		}
		out = append(out, windowOf(b.Unit, s, calendar.At(s.Start).Label, now))
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
