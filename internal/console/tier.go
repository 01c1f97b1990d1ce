package console

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
)

// A tierForm is a tier as it is filled in: all that a tier has.
type tierForm struct {
	Name, Class, Models, MaxInput, MaxOutput string
	Rates                                    []rateForm
	Budgets                                  []tierBudgetForm
	Was, Version                             string // of the tier that is changed; "" makes one
}

// A rateForm is the limit of one measure; no amount is none.
type rateForm struct{ Measure, Label, Amount, Mode string }

// A tierBudgetForm is a budget of a tier as it is filled in.
type tierBudgetForm struct {
	budgetForm

	Number int
	New    bool // it is to be filled in
	Remove bool
}

// More reports whether something is set that few budgets have.
func (f *tierBudgetForm) More() bool {
	return f.Zone != "" || f.From != "" || f.To != "" || f.Alerts != "" || f.Kept != "" || f.Mode == string(limit.Observe)
}

// maxTierBudgets is how many budgets a tier may have; a form with so many has no room for another.
const maxTierBudgets = 16

// Classes are the choices of the best class.
func (f tierForm) Classes() (all []choice) {
	for _, name := range []string{"priority", "default", "flex"} {
		all = append(all, choice{name, name, name == cmp.Or(f.Class, "priority")})
	}
	return all
}

func newTierForm() tierForm {
	f := tierForm{}
	for _, m := range limit.Measures() {
		f.Rates = append(f.Rates, rateForm{Measure: string(m), Label: measureWords[m]})
	}
	f.blank()
	return f
}

// blank adds a budget that is to be filled in.
func (f *tierForm) blank() {
	if n := len(f.Budgets); n < maxTierBudgets {
		f.Budgets = append(f.Budgets, tierBudgetForm{budgetForm: budgetForm{P: budgetPrefix(n)}, Number: n + 1, New: true})
	}
}

// budgetPrefix is what the names of the fields of a tier's budget begin with.
func budgetPrefix(n int) string { return "budget-" + strconv.Itoa(n+1) + "-" }

// tierFormOf fills the form in with a tier.
func tierFormOf(t *limit.Tier) tierForm {
	f := newTierForm()
	f.Name, f.Class, f.Models, f.Was, f.Version = t.Name, t.Class, strings.Join(t.Models, ", "), t.Name, strconv.FormatInt(t.Version, 10)
	if t.MaxInput > 0 {
		f.MaxInput = strconv.FormatInt(t.MaxInput, 10)
	}
	if t.MaxOutput > 0 {
		f.MaxOutput = strconv.FormatInt(t.MaxOutput, 10)
	}
	for _, r := range t.Rates {
		for i := range f.Rates {
			if f.Rates[i].Measure == string(r.Measure) {
				f.Rates[i].Amount, f.Rates[i].Mode = strconv.FormatInt(r.Amount, 10), string(r.Mode)
			}
		}
	}
	f.Budgets = nil
	for i := range t.Budgets {
		one := budgetFormOf(&limit.Budget{Terms: t.Budgets[i]})
		one.P, one.Version, one.Unit = budgetPrefix(i), "", ""
		f.Budgets = append(f.Budgets, tierBudgetForm{budgetForm: one, Number: i + 1})
	}
	f.blank()
	return f
}

// readTier takes the fields of the form.
func readTier(form url.Values) tierForm {
	get := fields(form)
	f := newTierForm()
	f.Name, f.Class, f.Models, f.MaxInput, f.MaxOutput = get("name"), get("class"), get("models"), get("max_input"), get("max_output")
	f.Was, f.Version = get("was"), get("version")
	for i := range f.Rates {
		f.Rates[i].Amount, f.Rates[i].Mode = get(f.Rates[i].Measure), get(f.Rates[i].Measure+"-mode")
	}
	f.Budgets = nil
	for i := 0; form.Has(budgetPrefix(i) + "per"); i++ {
		p := budgetPrefix(i)
		f.Budgets = append(f.Budgets, tierBudgetForm{budgetForm: termsForm(form, p), Number: i + 1, New: get(p+"new") != "", Remove: get(p+"remove") != ""})
	}
	return f
}

// tier is what the form says, and all that is wrong with it.
func (f *tierForm) tier() (limit.Tier, error) {
	t := limit.Tier{Name: f.Name, Class: f.Class, Models: regionsOf(f.Models)}
	var problems []fault.Problem
	number := func(path, text string) (n int64) {
		if text == "" {
			return 0
		}
		n, wrong := limit.ReadAmount(limit.TokenCount, text)
		if wrong != "" {
			problems = append(problems, fault.Problem{Path: path, Text: wrong})
		}
		return n
	}
	t.MaxInput, t.MaxOutput = number("most tokens of a prompt", f.MaxInput), number("most tokens of an answer", f.MaxOutput)
	for _, r := range f.Rates {
		if r.Amount != "" {
			mode := limit.Mode(cmp.Or(r.Mode, string(limit.Enforce)))
			t.Rates = append(t.Rates, limit.Rate{Measure: limit.Measure(r.Measure), Amount: number(r.Label, r.Amount), Mode: mode})
		}
	}
	for i := range f.Budgets {
		b := &f.Budgets[i]
		if empty := b.Amount == "" && b.Tokens == "" && b.Zone == "" && b.From == "" && b.To == "" && b.Alerts == "" && b.Kept == ""; b.Remove || b.New && empty {
			continue
		}
		terms, wrong := b.terms("budget " + strconv.Itoa(b.Number) + ": ")
		t.Budgets, problems = append(t.Budgets, terms), append(problems, wrong...)
	}
	if len(problems) == 0 {
		problems = t.Mistakes()
	}
	return t, limit.Refusal(problems)
}

// setTier makes a tier, or sets the one whole whose page the form is on.
func (c *Console) setTier(v *visit) error {
	form := readTier(v.form)
	if v.form.Get("more") != "" { // a place for one more budget; nothing is set
		form.blank()
		return c.tierFormPage(v, http.StatusOK, form, nil)
	}
	t, err := form.tier()
	was := limit.NotYet
	if err == nil {
		was, err = form.was()
	}
	if err == nil {
		_, err = c.o.Limits.SetTier(v.ctx(), t, was)
	}
	if err != nil {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		return c.tierFormPage(v, status, form, why)
	}
	c.limitsChanged(v.ctx())
	return v.redirect("tiers/" + url.PathEscape(t.Name) + "?said=set")
}

// tierFormPage shows the form as it was filled in, on the page that it is of.
func (c *Console) tierFormPage(v *visit, status int, form tierForm, why *problem) error {
	if form.Was != "" {
		return c.showTier(v, form.Was, status, func(d *tierView) { d.Form, d.Problem = form, why })
	}
	return c.tiersPage(v, status, func(d *tiersView) { d.Form, d.Problem, d.Of = form, why, "tier" })
}

// was is what the form was filled in on top of: a tier is set whole, so what somebody else has made or changed since is not overwritten.
func (f *tierForm) was() (limit.Was, error) {
	switch f.Was {
	case "":
		return limit.NotYet, nil
	case f.Name:
		return wasOf(f.Version)
	}
	return limit.NotYet, wrong("A tier keeps its name.", "Make another under the new name, and give it to those who have this one.")
}

// A tierView answers: what does a tier allow, who has it, and how do their parts stand?
type tierView struct {
	tierRow
	MaxInput, MaxOutput int64
	Rates               []limitRow
	Budgets             []tierBudget
	Holders             []holderRow
	More                int // holders that are not shown
	Whose, WhoseName    string
	WhoseField          string // Whose as it is in the field
	Set                 time.Time
	Version             int64
	May                 bool
	Said                string
	Form                tierForm
	Problem             *problem
}

// A tierBudget is a budget of a tier, with the windows of those who have it.
type tierBudget struct {
	Words, Mode, Zone, Alerts string
	From, To                  time.Time
	Kept                      []limit.Kept
	Windows                   []windowRow
	Course                    *plot // of whose windows are shown
	Full                      bool  // there may be more windows
	Each                      bool
}

// tierWindows is how many windows of a tier's budget are shown.
const tierWindows = 50

func (c *Console) tierPage(v *visit) error { return c.showTier(v, v.part, http.StatusOK, nil) }

// showTier shows a tier; fill puts in what was filled in and refused.
func (c *Console) showTier(v *visit, name string, status int, fill func(*tierView)) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	defined, dir, err := c.defined(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(defined.Tiers, func(t limit.Tier) bool { return t.Name == name })
	if i < 0 {
		return fault.New(fault.NotThere, "There is no tier %.64q here.", name)
	}
	t, q := &defined.Tiers[i], v.r.URL.Query()
	d := &tierView{
		tierRow:  tierRow{Name: t.Name, Models: cmp.Or(strings.Join(t.Models, ", "), "all"), Class: cmp.Or(t.Class, "priority")},
		MaxInput: t.MaxInput, MaxOutput: t.MaxOutput, Set: t.Set, Version: t.Version, May: v.may(auth.WriteBudgets), Form: tierFormOf(t),
	}
	if q.Get("said") == "set" {
		d.Said = "The tier is set. It counts for calls from now on, on every replica within a second."
	}
	if d.Whose = strings.TrimSpace(q.Get("whose")); d.Whose != "" {
		d.Whose = subjectOf(dir, d.Whose)
		d.WhoseName, d.WhoseField = c.subjectName(d.Whose), c.subjectField(dir, d.Whose)
	}
	for _, a := range defined.Assigned {
		if a.Tier != t.Name {
			continue
		}
		if d.Had++; len(d.Holders) == listSize {
			d.More++
			continue
		}
		d.Holders = append(d.Holders, holderOf(dir, a))
	}
	for _, r := range t.Rates {
		d.Rates = append(d.Rates, limitRow{Words: rateWords(r), Mode: string(r.Mode)})
	}
	for j := range t.Budgets {
		one, err := c.tierBudgetOf(ctx, v, dir, t, &t.Budgets[j], d.Whose)
		if err != nil {
			return err
		}
		d.Budgets = append(d.Budgets, one)
	}
	if fill != nil {
		fill(d)
	}
	f := c.frame(v, "tier", "Tier "+t.Name, d)
	f.Command = "penstock tier list"
	return c.send(v, status, "frame.html", f)
}

// tierBudgetOf reads how a budget of a tier stands: the current windows of all who have it, or those of one, older ones too.
func (c *Console) tierBudgetOf(ctx context.Context, v *visit, dir *auth.Directory, t *limit.Tier, terms *limit.Terms, whose string) (tierBudget, error) {
	b := limit.Budget{ID: limit.TierBudget(t.Name, terms), Scope: limit.Scope{Project: limit.Each}, Terms: *terms, Version: t.Version, Set: t.Set}
	out := tierBudget{
		Words: termsWords(terms), Mode: string(terms.Mode), Zone: terms.Zone, Alerts: alertsText(terms.Alerts), From: terms.From, To: terms.To, Kept: terms.Kept, Each: true,
	}
	q := limit.WindowQuery{Subject: whose, Limit: windowsKept}
	if whose == "" {
		q.At, q.Limit = v.now, tierWindows
	}
	windows, err := limit.Windows(ctx, c.o.Limits, &b, q, v.now, tierWindows)
	if err != nil {
		return out, err
	}
	for i := range windows {
		row := windowRowOf(&b, &windows[i], v.now)
		row.Whose = c.subjectName(row.Subject)
		out.Windows = append(out.Windows, row)
	}
	out.Full = len(windows) == tierWindows
	if whose != "" && len(windows) > 0 && !v.now.Before(windows[0].Start) && v.now.Before(windows[0].End) {
		out.Course, err = c.course(ctx, v, dir, &b, &windows[0])
	}
	return out, err
}

// subjectOf finds whose part is meant: a project's, a key's or an end user's, by id, or by the project's name, as in shop or shop/ann.
func subjectOf(dir *auth.Directory, text string) string {
	project, rest, more := strings.Cut(text, "/")
	_, id, _, err := dir.Resolve("", project, "")
	if err != nil || id == limit.Each {
		return text
	}
	if !more {
		return id
	}
	return id + "/" + rest
}

// subjectField is a subject as it is written into the field for it: by its name, where that leads back to it.
func (c *Console) subjectField(dir *auth.Directory, subject string) string {
	if name := c.subjectName(subject); subjectOf(dir, name) == subject {
		return name
	}
	return subject
}
