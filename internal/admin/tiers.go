package admin

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
)

// A TierInput makes a tier, or changes the one of the same name: what is left out is as if it had never been said.
type TierInput struct {
	Name      string       `json:"name"`                // 1 to 64 letters, digits and . _ -
	Class     string       `json:"class,omitzero"`      // the best class that its calls may have: priority (the default), default or flex
	Models    []string     `json:"models,omitempty"`    // globs on the models that may be asked for; all if it is left out
	MaxInput  int64        `json:"max_input,omitzero"`  // tokens of one call's prompt; no cap if it is left out
	MaxOutput int64        `json:"max_output,omitzero"` // tokens of one call's answer, and what a call that says none gets; no cap if it is left out
	Limits    []Rate       `json:"limits,omitempty"`    // one of each measure; each project, key or end user has its own
	Budgets   []TermsInput `json:"budgets,omitempty"`   // each project, key or end user has its own
	OnVersion
}

// A Tier is a named bundle that projects, keys and end users are given.
type Tier struct {
	Name      string    `json:"name"`
	Class     string    `json:"class,omitzero"`      // the best class that its calls may have; left out: priority
	Models    []string  `json:"models,omitempty"`    // globs on the models that may be asked for; left out: all
	MaxInput  int64     `json:"max_input,omitzero"`  // tokens of one call's prompt; left out: no cap
	MaxOutput int64     `json:"max_output,omitzero"` // tokens of one call's answer; left out: no cap
	Limits    []Rate    `json:"limits,omitempty"`
	Budgets   []Terms   `json:"budgets,omitempty"`
	Assigned  int       `json:"assigned"` // how many projects, keys and end users have it by name
	Version   int64     `json:"version"`  // grows with every change
	Set       time.Time `json:"set"`      // when it was set last
}

// An AssignmentInput gives a tier to a project; or to one of its keys; or to one of its end users.
type AssignmentInput struct {
	Tier    string `json:"tier"`
	Project string `json:"project"`       // id, or name if only one organisation has the name
	Key     string `json:"key,omitzero"`  // id, or name within the project
	User    string `json:"user,omitzero"` // end user, as callers name it; * is all that have none of their own
}

// An Assignment says who has which tier.
type Assignment struct {
	Tier        string    `json:"tier"`
	Project     string    `json:"project"` // id
	ProjectName string    `json:"project_name"`
	Key         string    `json:"key,omitzero"`      // id
	KeyName     string    `json:"key_name,omitzero"` // of the key
	User        string    `json:"user,omitzero"`     // end user; * is all that have none of their own
	Set         time.Time `json:"set"`
}

// read gives what is meant, and all that is wrong with it.
func (in *TierInput) read() (limit.Tier, []fault.Problem) {
	t := limit.Tier{Name: in.Name, Class: in.Class, Models: in.Models, MaxInput: in.MaxInput, MaxOutput: in.MaxOutput}
	for _, r := range in.Limits {
		t.Rates = append(t.Rates, r.rate())
	}
	var problems []fault.Problem
	for i := range in.Budgets {
		terms, wrong := in.Budgets[i].read(fmt.Sprintf("budgets[%d].", i))
		t.Budgets, problems = append(t.Budgets, terms), append(problems, wrong...)
	}
	return t, append(problems, limit.Untold(problems, t.Mistakes())...)
}

func tierOf(t limit.Tier, assigned int) Tier {
	out := Tier{
		Name: t.Name, Class: t.Class, Models: t.Models, MaxInput: t.MaxInput, MaxOutput: t.MaxOutput, Assigned: assigned, Version: t.Version, Set: t.Set,
	}
	for _, r := range t.Rates {
		out.Limits = append(out.Limits, rateOf(r))
	}
	for i := range t.Budgets {
		out.Budgets = append(out.Budgets, termsOf(&t.Budgets[i]))
	}
	return out
}

func (a *API) setTier(ctx context.Context, _ *call, in TierInput) (Tier, error) {
	t, problems := in.read()
	was, wrong := in.was("")
	if err := limit.Refusal(append(problems, wrong...)); err != nil {
		return Tier{}, err
	}
	t, err := a.o.Limits.SetTier(ctx, t, was)
	if err != nil {
		return Tier{}, err
	}
	a.limitsChanged(ctx)
	d, err := a.o.Limits.Definitions(ctx)
	return tierOf(t, assigned(&d, t.Name)), err
}

func (a *API) deleteTier(ctx context.Context, c *call) (Tier, error) {
	t, err := a.o.Limits.DeleteTier(ctx, c.id)
	if err != nil {
		return Tier{}, err
	}
	a.limitsChanged(ctx)
	return tierOf(t, 0), nil
}

// assigned is how many have a tier.
func assigned(d *limit.Definitions, tier string) (n int) {
	for i := range d.Assigned {
		if d.Assigned[i].Tier == tier {
			n++
		}
	}
	return n
}

func (a *API) listTiers(ctx context.Context, c *call) (list[Tier], error) {
	n, err := c.query.limit()
	if err != nil {
		return list[Tier]{}, err
	}
	d, err := a.o.Limits.Definitions(ctx)
	if err != nil {
		return list[Tier]{}, err
	}
	counts := map[string]int{}
	for i := range d.Assigned {
		counts[d.Assigned[i].Tier]++
	}
	rows := slices.DeleteFunc(d.Tiers, func(t limit.Tier) bool { return t.Name <= c.query["after"] })
	return page(rows, n, func(t limit.Tier) string { return t.Name }, func(t limit.Tier) Tier { return tierOf(t, counts[t.Name]) }), nil
}

// tierBudgets shows the budgets of a tier with the current windows of those who have it.
func (a *API) tierBudgets(ctx context.Context, c *call) (list[Budget], error) {
	n, err := c.query.limit()
	if err != nil {
		return list[Budget]{}, err
	}
	if _, err := a.catchUp(ctx); err != nil {
		return list[Budget]{}, err
	}
	d, err := a.o.Limits.Definitions(ctx)
	if err != nil {
		return list[Budget]{}, err
	}
	i := slices.IndexFunc(d.Tiers, func(t limit.Tier) bool { return t.Name == c.id })
	if i < 0 {
		f := fault.New(fault.NotThere, "There is no tier %s here.", quote(c.id))
		f.Hint = "List them with: penstock tier list"
		return list[Budget]{}, f
	}
	out := list[Budget]{Data: []Budget{}}
	for _, terms := range d.Tiers[i].Budgets {
		b := limit.Budget{ID: limit.TierBudget(c.id, &terms), Scope: limit.Scope{Project: limit.Each}, Terms: terms, Version: d.Tiers[i].Version, Set: d.Tiers[i].Set}
		one := Budget{ID: b.ID, Terms: termsOf(&terms), Version: b.Version, Set: b.Set}
		if one.Windows, err = a.windows(ctx, &b, limit.WindowQuery{Subject: c.query["subject"], At: a.o.Now(), Limit: n}); err != nil {
			return list[Budget]{}, err
		}
		out.Data = append(out.Data, one)
	}
	return out, nil
}

// whoHas finds whom an assignment is about.
func (a *API) whoHas(ctx context.Context, project, key, user string) (limit.Assignment, tenants, error) {
	out := limit.Assignment{Project: project, Key: key, User: user}
	if wrong := out.Mistakes(); len(wrong) > 0 {
		return out, tenants{}, limit.Refusal(wrong)
	}
	s, err := a.scope(ctx, ScopeInput{Project: project, Key: key})
	if err != nil {
		return out, tenants{}, err
	}
	out.Project, out.Key = s.Project, s.Key
	t, err := a.tenants(ctx)
	return out, t, err
}

func (a *API) assignTier(ctx context.Context, _ *call, in AssignmentInput) (Assignment, error) {
	if in.Tier == "" {
		return Assignment{}, badParam("tier", "tier: is missing; name the tier to give.")
	}
	who, t, err := a.whoHas(ctx, in.Project, in.Key, in.User)
	if err != nil {
		return Assignment{}, err
	}
	who.Tier, who.Set = in.Tier, a.o.Now().UTC().Truncate(time.Microsecond)
	if err := a.o.Limits.Assign(ctx, who); err != nil {
		return Assignment{}, err
	}
	a.limitsChanged(ctx)
	return t.assignmentOf(who), nil
}

func (a *API) takeTier(ctx context.Context, c *call) (Assignment, error) {
	who, t, err := a.whoHas(ctx, c.query["project"], c.query["key"], c.query["user"])
	if err != nil {
		return Assignment{}, err
	}
	if err := a.o.Limits.Assign(ctx, who); err != nil {
		return Assignment{}, err
	}
	a.limitsChanged(ctx)
	return t.assignmentOf(who), nil
}

func (t tenants) assignmentOf(x limit.Assignment) Assignment {
	s := t.scopeOf(limit.Scope{Project: x.Project, Key: x.Key})
	return Assignment{Tier: x.Tier, Project: x.Project, ProjectName: s.ProjectName, Key: x.Key, KeyName: s.KeyName, User: x.User, Set: x.Set}
}

func (a *API) listAssignments(ctx context.Context, c *call) (list[Assignment], error) {
	q, err := a.defined(ctx, c)
	if err != nil {
		return list[Assignment]{}, err
	}
	tier := c.query["tier"]
	rows := slices.DeleteFunc(q.Assigned, func(x limit.Assignment) bool {
		return !q.of(x.Project) || tier != "" && x.Tier != tier || placeOf(x) <= q.after
	})
	return page(rows, q.most, placeOf, q.assignmentOf), nil
}

// placeOf is where an assignment stands in the list, which has the order of the store.
func placeOf(x limit.Assignment) string {
	return strings.Join([]string{x.Project, x.Key, x.User}, " ")
}
