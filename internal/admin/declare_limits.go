package admin

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
)

// DeclaredTerms are what a budget is to allow: amount or tokens.
type DeclaredTerms struct {
	Amount string         `json:"amount,omitzero" yaml:"amount,omitempty" kind:"decimal"`                  // US dollars in each window
	Tokens string         `json:"tokens,omitzero" yaml:"tokens,omitempty" kind:"decimal" example:"500000"` // tokens in each window, instead of an amount
	Per    string         `json:"per,omitzero" yaml:"per,omitempty"`                                       // hour, day, week, month or term
	Zone   string         `json:"zone,omitzero" yaml:"zone,omitempty"`                                     // where days begin; UTC if it is left out
	From   string         `json:"from,omitzero" yaml:"from,omitempty"`                                     // of a term: RFC 3339, or a day (its start in the zone)
	To     string         `json:"to,omitzero" yaml:"to,omitempty"`                                         // of a term; not part of it
	Mode   string         `json:"mode,omitzero" yaml:"mode,omitempty"`                                     // enforce (the default) or observe
	Alerts []int          `json:"alerts,omitzero" yaml:"alerts,omitempty" range:"1,100"`                   // percent; 50, 80, 90 and 100 if it is left out
	Kept   []DeclaredKept `json:"kept,omitzero" yaml:"kept,omitempty"`                                     // shares for calls with a tag alone
}

// A DeclaredKept is a share of a budget for calls with a tag.
type DeclaredKept struct {
	Tag   string `json:"tag" yaml:"tag"`
	Share int    `json:"share" yaml:"share" range:"1,99"` // percent
}

// A DeclaredScope narrows a budget or limit further than the place where it stands.
type DeclaredScope struct {
	Project string `json:"project,omitzero" yaml:"project,omitempty"` // *: each for itself; not within a project
	Key     string `json:"key,omitzero" yaml:"key,omitempty"`         // *: each for itself; not within a key
	User    string `json:"user,omitzero" yaml:"user,omitempty"`       // end user; * is each for itself
	Model   string `json:"model,omitzero" yaml:"model,omitempty"`     // glob
}

// A DeclaredBudget is a budget as it is to be.
type DeclaredBudget struct {
	DeclaredScope `yaml:",inline"`
	DeclaredTerms `yaml:",inline"`
}

// A DeclaredRate is so much a minute, or at once.
type DeclaredRate struct {
	Measure string `json:"measure" yaml:"measure"`
	Amount  string `json:"amount" yaml:"amount" kind:"decimal" example:"500000"`
	Mode    string `json:"mode,omitzero" yaml:"mode,omitempty"` // enforce (the default) or observe
}

// A DeclaredLimit is a limit as it is to be.
type DeclaredLimit struct {
	DeclaredScope `yaml:",inline"`
	DeclaredRate  `yaml:",inline"`
}

// A DeclaredTier is a tier as it is to be.
type DeclaredTier struct {
	Class     string          `json:"class,omitzero" yaml:"class,omitempty"`
	Models    []string        `json:"models,omitzero" yaml:"models,omitempty"`
	MaxInput  string          `json:"max_input,omitzero" yaml:"max_input,omitempty" kind:"decimal" example:"500000"`
	MaxOutput string          `json:"max_output,omitzero" yaml:"max_output,omitempty" kind:"decimal" example:"500000"`
	Limits    []DeclaredRate  `json:"limits,omitzero" yaml:"limits,omitempty"`
	Budgets   []DeclaredTerms `json:"budgets,omitzero" yaml:"budgets,omitempty"`
}

// read gives what is meant, and all that is wrong with it.
func (d *DeclaredTerms) read(at string) (limit.Terms, []fault.Problem) {
	text := limit.TermsText{
		Amount: d.Amount, Tokens: d.Tokens, Per: d.Per, Zone: d.Zone, From: d.From, To: d.To, Mode: d.Mode, Alerts: d.Alerts,
	}
	for _, k := range d.Kept {
		text.Kept = append(text.Kept, limit.Kept(k))
	}
	return text.Read(at)
}

func (d *DeclaredRate) read(at string) (limit.Rate, []fault.Problem) {
	r := limit.Rate{Measure: limit.Measure(d.Measure), Mode: limit.Mode(cmp.Or(d.Mode, string(limit.Enforce)))}
	n, problems := wholeOf(at+"amount", d.Amount)
	r.Amount = n
	return r, problems
}

func wholeOf(path, text string) (int64, []fault.Problem) {
	n, wrong := limit.ReadAmount(limit.TokenCount, text)
	if wrong != "" {
		return 0, []fault.Problem{{Path: path, Text: wrong}}
	}
	return n, nil
}

func (d *DeclaredTier) read(name string) (limit.Tier, []fault.Problem) {
	t := limit.Tier{Name: name, Class: d.Class, Models: d.Models}
	var problems []fault.Problem
	for _, limit := range [...]struct {
		path, text string
		into       *int64
	}{{"max_input", d.MaxInput, &t.MaxInput}, {"max_output", d.MaxOutput, &t.MaxOutput}} {
		if limit.text == "" {
			continue
		}
		n, wrong := wholeOf(limit.path, limit.text)
		*limit.into, problems = n, append(problems, wrong...)
	}
	for i := range d.Limits {
		r, wrong := d.Limits[i].read(entryAt("", "limits", i) + ".")
		t.Rates, problems = append(t.Rates, r), append(problems, wrong...)
	}
	for i := range d.Budgets {
		b, wrong := d.Budgets[i].read(entryAt("", "budgets", i) + ".")
		t.Budgets, problems = append(t.Budgets, b), append(problems, wrong...)
	}
	return t, append(problems, limit.Untold(problems, t.Mistakes())...)
}

// declaredTerms writes terms so that they are read as they are. Instants are written in full: a day would depend on the zone.
func declaredTerms(t *limit.Terms) DeclaredTerms {
	d := DeclaredTerms{Per: string(t.Per), Zone: t.Zone, Alerts: t.Alerts}
	if t.Unit == limit.USD {
		d.Amount = limit.FormatAmount(t.Unit, t.Amount)
	} else {
		d.Tokens = limit.FormatAmount(t.Unit, t.Amount)
	}
	if t.Mode != limit.Enforce {
		d.Mode = string(t.Mode)
	}
	if !t.From.IsZero() {
		d.From, d.To = t.From.UTC().Format(time.RFC3339Nano), t.To.UTC().Format(time.RFC3339Nano)
	}
	for _, k := range t.Kept {
		d.Kept = append(d.Kept, DeclaredKept(k))
	}
	return d
}

func declaredRate(r limit.Rate) DeclaredRate {
	d := DeclaredRate{Measure: string(r.Measure), Amount: limit.FormatAmount(limit.TokenCount, r.Amount)}
	if r.Mode != limit.Enforce {
		d.Mode = string(r.Mode)
	}
	return d
}

func declaredTier(t *limit.Tier) DeclaredTier {
	d := DeclaredTier{Class: t.Class, Models: t.Models}
	if t.MaxInput > 0 {
		d.MaxInput = limit.FormatAmount(limit.TokenCount, t.MaxInput)
	}
	if t.MaxOutput > 0 {
		d.MaxOutput = limit.FormatAmount(limit.TokenCount, t.MaxOutput)
	}
	for _, r := range t.Rates {
		d.Limits = append(d.Limits, declaredRate(r))
	}
	for i := range t.Budgets {
		d.Budgets = append(d.Budgets, declaredTerms(&t.Budgets[i]))
	}
	return d
}

// declareLimits writes definitions into a declaration that has all projects and keys. What is set for keys that have ended is
// for nobody, and left out.
func (t tenants) declareLimits(out *Declaration, d *limit.Definitions) {
	for i := range d.Tiers {
		if out.Tiers == nil {
			out.Tiers = map[string]DeclaredTier{}
		}
		out.Tiers[d.Tiers[i].Name] = declaredTier(&d.Tiers[i])
	}
	for i := range d.Budgets {
		b := &d.Budgets[i]
		one := DeclaredBudget{DeclaredScope{User: b.User, Model: b.Model}, declaredTerms(&b.Terms)}
		t.declareIn(out, &b.Scope, &one.DeclaredScope, func(l *declaredLists) { *l.budgets = append(*l.budgets, one) })
	}
	for i := range d.Limits {
		l := &d.Limits[i]
		one := DeclaredLimit{DeclaredScope{User: l.User, Model: l.Model}, declaredRate(l.Rate)}
		t.declareIn(out, &l.Scope, &one.DeclaredScope, func(lists *declaredLists) { *lists.limits = append(*lists.limits, one) })
	}
	for i := range d.Assigned {
		t.declareTierOf(out, &d.Assigned[i])
	}
}

// declaredLists are where budgets and limits stand of a declaration's part.
type declaredLists struct {
	budgets *[]DeclaredBudget
	limits  *[]DeclaredLimit
}

// declareIn lets add work on the lists that something of the scope belongs into.
func (t tenants) declareIn(out *Declaration, s *limit.Scope, d *DeclaredScope, add func(*declaredLists)) {
	p, ok := t.Projects[s.Project]
	switch {
	case ok && s.Key != "" && s.Key != limit.Each:
		k, alive := t.Last(s.Key)
		if !alive {
			return
		}
		declared := out.Organisations[p.Org].Projects[p.Name].Keys[k.Name]
		add(&declaredLists{&declared.Budgets, &declared.Limits})
		out.Organisations[p.Org].Projects[p.Name].Keys[k.Name] = declared
	case ok:
		declared := out.Organisations[p.Org].Projects[p.Name]
		d.Key = s.Key
		add(&declaredLists{&declared.Budgets, &declared.Limits})
		out.Organisations[p.Org].Projects[p.Name] = declared
	case s.Org != "":
		declared := out.Organisations[s.Org]
		d.Project, d.Key = s.Project, s.Key
		add(&declaredLists{&declared.Budgets, &declared.Limits})
		out.Organisations[s.Org] = declared
	default:
		d.Project, d.Key = s.Project, s.Key
		add(&declaredLists{&out.Budgets, &out.Limits})
	}
}

func (t tenants) declareTierOf(out *Declaration, a *limit.Assignment) {
	p, ok := t.Projects[a.Project]
	if !ok {
		return
	}
	declared := out.Organisations[p.Org].Projects[p.Name]
	switch {
	case a.Key != "":
		if k, alive := t.Last(a.Key); alive {
			key := declared.Keys[k.Name]
			key.Tier = a.Tier
			declared.Keys[k.Name] = key
		}
	case a.User == limit.Each:
		declared.UserTier = a.Tier
	case a.User != "":
		if declared.UserTiers == nil {
			declared.UserTiers = map[string]string{}
		}
		declared.UserTiers[a.User] = a.Tier
	default:
		declared.Tier = a.Tier
	}
	out.Organisations[p.Org].Projects[p.Name] = declared
}

// sortedNames are the keys of a map in order.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
