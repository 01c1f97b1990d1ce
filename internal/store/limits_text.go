package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/window"
)

// The JSON of tiers, budgets' alerts and shares. The names are the store's own, whatever limit's types become.
type (
	tierText struct {
		Class     string      `json:"class,omitzero"`
		Models    []string    `json:"models,omitempty"`
		MaxInput  int64       `json:"max_input,omitzero"`
		MaxOutput int64       `json:"max_output,omitzero"`
		Rates     []rateText  `json:"limits,omitempty"`
		Budgets   []termsText `json:"budgets,omitempty"`
	}
	rateText struct {
		Measure string `json:"measure"`
		Amount  int64  `json:"amount"`
		Mode    string `json:"mode"`
	}
	termsText struct {
		Unit   string     `json:"unit"`
		Amount int64      `json:"amount"`
		Per    string     `json:"per"`
		Zone   string     `json:"zone,omitzero"`
		From   int64      `json:"from,omitzero"` // microseconds since 1970
		To     int64      `json:"to,omitzero"`
		Mode   string     `json:"mode"`
		Alerts []int      `json:"alerts,omitempty"`
		Kept   []keptText `json:"kept,omitempty"`
	}
	keptText struct {
		Tag   string `json:"tag"`
		Share int    `json:"share"`
	}
)

func termsTextOf(t *limit.Terms) termsText {
	text := termsText{
		Unit: string(t.Unit), Amount: t.Amount, Per: string(t.Per), Zone: t.Zone, From: micros(t.From), To: micros(t.To), Mode: string(t.Mode),
		Alerts: t.Alerts,
	}
	for _, k := range t.Kept {
		text.Kept = append(text.Kept, keptText(k))
	}
	return text
}

func (t *termsText) terms() limit.Terms {
	terms := limit.Terms{
		Unit: limit.Unit(t.Unit), Amount: t.Amount, Per: window.Per(t.Per), Zone: t.Zone, From: fromMicros(t.From), To: fromMicros(t.To),
		Mode: limit.Mode(t.Mode), Alerts: t.Alerts,
	}
	for _, k := range t.Kept {
		terms.Kept = append(terms.Kept, limit.Kept(k))
	}
	return terms
}

func tierTextOf(t *limit.Tier) tierText {
	text := tierText{Class: t.Class, Models: t.Models, MaxInput: t.MaxInput, MaxOutput: t.MaxOutput}
	for _, r := range t.Rates {
		text.Rates = append(text.Rates, rateText{string(r.Measure), r.Amount, string(r.Mode)})
	}
	for i := range t.Budgets {
		text.Budgets = append(text.Budgets, termsTextOf(&t.Budgets[i]))
	}
	return text
}

func (t *tierText) fill(tier *limit.Tier) {
	tier.Class, tier.Models, tier.MaxInput, tier.MaxOutput = t.Class, t.Models, t.MaxInput, t.MaxOutput
	for _, r := range t.Rates {
		tier.Rates = append(tier.Rates, limit.Rate{Measure: limit.Measure(r.Measure), Amount: r.Amount, Mode: limit.Mode(r.Mode)})
	}
	for i := range t.Budgets {
		tier.Budgets = append(tier.Budgets, t.Budgets[i].terms())
	}
}

func scopeArgs(s *limit.Scope) []any { return []any{s.Org, s.Project, s.Key, s.User, s.Model} }

func scanBudget(r scanner) (b limit.Budget, err error) {
	var text termsText
	var alerts, kept string
	var setAt int64
	err = r.Scan(&b.ID, &b.Org, &b.Project, &b.Key, &b.User, &b.Model, &text.Unit, &text.Per, &text.From, &text.To, &text.Amount, &text.Zone,
		&text.Mode, &alerts, &kept, &b.Version, &setAt)
	if err != nil {
		return b, err
	}
	if err := errors.Join(json.Unmarshal([]byte(alerts), &text.Alerts), json.Unmarshal([]byte(kept), &text.Kept)); err != nil {
		return b, fmt.Errorf("budget %s: %w", b.ID, err)
	}
	b.Terms, b.Set = text.terms(), fromMicros(setAt)
	return b, nil
}

func scanLimit(r scanner) (l limit.Limit, err error) {
	var setAt int64
	err = r.Scan(&l.ID, &l.Org, &l.Project, &l.Key, &l.User, &l.Model, &l.Measure, &l.Amount, &l.Mode, &l.Version, &setAt)
	l.Set = fromMicros(setAt)
	return l, err
}

func scanTier(r scanner) (t limit.Tier, err error) {
	var text string
	var setAt int64
	if err := r.Scan(&t.Name, &text, &t.Version, &setAt); err != nil {
		return t, err
	}
	var terms tierText
	if err := json.Unmarshal([]byte(text), &terms); err != nil {
		return t, fmt.Errorf("tier %s: %w", t.Name, err)
	}
	terms.fill(&t)
	t.Set = fromMicros(setAt)
	return t, nil
}

func scanAssignment(r scanner) (a limit.Assignment, err error) {
	var setAt int64
	err = r.Scan(&a.Project, &a.Key, &a.User, &a.Tier, &setAt)
	a.Set = fromMicros(setAt)
	return a, err
}

// The public views of definitions, for the audit chain.
type (
	scopeState struct {
		Org     string `json:"org,omitzero"`
		Project string `json:"project,omitzero"`
		Key     string `json:"key,omitzero"`
		User    string `json:"user,omitzero"`
		Model   string `json:"model,omitzero"`
	}
	budgetState struct {
		scopeState
		termsState
	}
	// termsState has money in dollars, as decimal text.
	termsState struct {
		Unit   string     `json:"unit"`
		Amount string     `json:"amount"`
		Per    string     `json:"per"`
		Zone   string     `json:"zone,omitzero"`
		From   time.Time  `json:"from,omitzero"`
		To     time.Time  `json:"to,omitzero"`
		Mode   string     `json:"mode"`
		Alerts []int      `json:"alerts,omitempty"`
		Kept   []keptText `json:"kept,omitempty"`
	}
	tierState struct {
		Class     string       `json:"class,omitzero"`
		Models    []string     `json:"models,omitempty"`
		MaxInput  int64        `json:"max_input,omitzero"`
		MaxOutput int64        `json:"max_output,omitzero"`
		Rates     []rateText   `json:"limits,omitempty"`
		Budgets   []termsState `json:"budgets,omitempty"`
	}
	limitState struct {
		scopeState
		rateText
	}
	assignmentState struct {
		Project string `json:"project"`
		Key     string `json:"key,omitzero"`
		User    string `json:"user,omitzero"`
		Tier    string `json:"tier"`
	}
)

func budgetStateOf(b limit.Budget) budgetState {
	return budgetState{scopeState(b.Scope), termsStateOf(&b.Terms)}
}

func termsStateOf(terms *limit.Terms) termsState {
	t := termsTextOf(terms)
	return termsState{
		Unit: t.Unit, Amount: limit.FormatAmount(terms.Unit, t.Amount), Per: t.Per, Zone: t.Zone, From: terms.From, To: terms.To, Mode: t.Mode,
		Alerts: t.Alerts, Kept: t.Kept,
	}
}

func tierStateOf(tier *limit.Tier) tierState {
	t := tierTextOf(tier)
	s := tierState{Class: t.Class, Models: t.Models, MaxInput: t.MaxInput, MaxOutput: t.MaxOutput, Rates: t.Rates}
	for i := range tier.Budgets {
		s.Budgets = append(s.Budgets, termsStateOf(&tier.Budgets[i]))
	}
	return s
}

func limitStateOf(l limit.Limit) limitState {
	return limitState{scopeState(l.Scope), rateText{string(l.Measure), l.Amount, string(l.Mode)}}
}

func assignmentStateOf(a limit.Assignment) assignmentState {
	return assignmentState{a.Project, a.Key, a.User, a.Tier}
}
