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
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
	civil "github.com/penstock/penstock/internal/window"
)

// windowsShown is how many windows of a budget a list shows, and its own page.
const (
	windowsShown = 5
	windowsKept  = 30
)

// A budgetsView answers: what may who use, how much of it is left, and for how long?
type budgetsView struct {
	Rows      []budgetRow
	Next      string // address of the next page, "" at the end
	First     bool
	Limits    []limitRow
	More      int // limits that are not shown
	May       bool
	Said      string
	Form      budgetForm
	LimitForm limitForm
	Problem   *problem
	Of        string // the form that Problem is about: budget or limit
}

// A budgetRow is a budget with how it stands.
type budgetRow struct {
	ID, For, Amount, Mode string
	Windows               []windowRow
}

// A windowRow is one window of a budget. Parts lie side by side in the bar; what is left of it is free.
type windowRow struct {
	Subject, Whose, Label                 string
	Parts                                 []windowPart
	Said                                  string // the bar in words
	Settled, Held, Unknown, Overrun, Free string
	Limit                                 string
	End, RunOut                           time.Time
	UsedUp                                bool
}

type windowPart struct{ X, Width, Class string }

// A limitRow is a limit of the list.
type limitRow struct{ ID, For, Words, Mode string }

// A budgetForm is a budget as it is filled in.
type budgetForm struct {
	Org, Project, Key, User, Model                          string
	Amount, Tokens, Per, Zone, From, To, Mode, Alerts, Kept string

	P       string // the names of its fields begin with it
	Version string // of the budget that is changed; "" makes one
	Unit    string // of that budget
}

// A limitForm is a limit as it is filled in.
type limitForm struct{ Org, Project, Key, User, Model, Measure, Amount, Mode string }

// Pers are the choices of a budget's length.
func (f budgetForm) Pers() (all []choice) {
	for _, p := range civil.Pers() {
		all = append(all, choice{string(p), string(p), string(p) == cmp.Or(f.Per, string(civil.Day))})
	}
	return all
}

// Measures are the choices of what a limit counts.
func (f limitForm) Measures() (all []choice) {
	for _, m := range limit.Measures() {
		all = append(all, choice{string(m), measureWords[m], string(m) == f.Measure})
	}
	return all
}

var measureWords = map[limit.Measure]string{
	limit.Requests: "requests a minute", limit.InputTokens: "input tokens a minute", limit.OutputTokens: "output tokens a minute",
	limit.Tokens: "tokens a minute", limit.Concurrent: "calls at once",
}

func rateWords(r limit.Rate) string { return figure.Count(r.Amount) + " " + measureWords[r.Measure] }

// termsWords is "$25 a day".
func termsWords(t *limit.Terms) string {
	amount := figure.Count(t.Amount) + " tokens"
	if t.Unit == limit.USD {
		amount = figure.Money(t.Money())
	}
	switch t.Per {
	case civil.Hour:
		return amount + " an hour"
	case civil.Term:
		return amount + " in all"
	}
	return amount + " a " + string(t.Per)
}

// scopeWords say whose calls something is for.
func scopeWords(d *auth.Directory, s limit.Scope) string {
	var words []string
	add := func(what, name, id string) {
		switch {
		case id == limit.Each:
			words = append(words, "each "+what)
		case id != "":
			words = append(words, what+" "+cmp.Or(name, id))
		}
	}
	add("organisation", "", s.Org)
	add("project", d.Projects[s.Project].Name, s.Project)
	key, _ := d.Last(s.Key)
	add("key", key.Name, s.Key)
	add("user", "", s.User)
	if s.Model != "" {
		words = append(words, "model "+s.Model)
	}
	if len(words) == 0 {
		return "all calls"
	}
	return strings.Join(words, ", ")
}

// writer writes amounts of a budget.
func writer(u limit.Unit) func(int64) string {
	if u == limit.USD {
		return func(n int64) string { return figure.Money(llm.Money(n)) }
	}
	return figure.Count
}

func windowRowOf(b *limit.Budget, w *limit.Standing, now time.Time) windowRow {
	write := writer(b.Unit)
	row := windowRow{
		Subject: w.Subject, Label: b.Calendar().At(w.Start).Label, Limit: write(w.Limit), Settled: write(w.Settled), Held: write(w.Held),
		Unknown: write(w.Unknown), Overrun: write(w.Over), Free: write(w.Free), End: w.End,
	}
	if at, ok := w.RunOut(now); ok && now.Before(w.End) {
		row.RunOut, row.UsedUp = at, !at.After(now)
	}
	upTo, said := int64(0), []string{}
	whole := max(w.Limit, w.Settled+w.Held+w.Unknown, 1)
	for _, part := range [...]struct {
		name, class string
		n           int64
	}{{"settled", "s1", w.Settled}, {"held", "s3", w.Held}, {"unknown", "s2", w.Unknown}} {
		if part.n <= 0 {
			continue
		}
		said = append(said, part.name+" "+write(part.n))
		row.Parts = append(row.Parts, windowPart{share(float64(upTo), float64(whole)), share(float64(part.n), float64(whole)), part.class})
		upTo += part.n
	}
	row.Said = strings.Join(append(said, "free "+row.Free), ", ")
	return row
}

// defined is what is set, and whose it is by name.
func (c *Console) defined(ctx context.Context) (limit.Definitions, *auth.Directory, error) {
	d, err := c.o.Limits.Definitions(ctx)
	if err != nil {
		return d, nil, err
	}
	dir, err := c.o.Tenants.Directory(ctx)
	return d, dir, err
}

func (c *Console) budgets(v *visit) error {
	q := v.r.URL.Query()
	return c.budgetsPage(v, http.StatusOK, func(d *budgetsView) {
		d.Form.Project, d.LimitForm.Project = q.Get("project"), q.Get("project")
		d.Said = map[string]string{"deleted": "It is deleted. What was booked stays in the books.", "limit": "The limit is set."}[q.Get("said")]
	})
}

// budgetsPage shows the lists; fill puts in what was filled in and refused.
func (c *Console) budgetsPage(v *visit, status int, fill func(*budgetsView)) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	defined, dir, err := c.defined(ctx)
	if err != nil {
		return err
	}
	after := v.r.URL.Query().Get("after")
	data := &budgetsView{First: after == "", May: v.may(auth.WriteBudgets)}
	rows := slices.DeleteFunc(defined.Budgets, func(b limit.Budget) bool { return b.ID <= after })
	if len(rows) > listSize {
		rows = rows[:listSize]
		data.Next = "budgets?after=" + url.QueryEscape(rows[listSize-1].ID)
	}
	for i := range rows {
		b := &rows[i]
		windows, err := limit.Windows(ctx, c.o.Limits, b, limit.WindowQuery{}, v.now, windowsShown)
		if err != nil {
			return err
		}
		row := budgetRow{ID: b.ID, For: scopeWords(dir, b.Scope), Amount: termsWords(&b.Terms), Mode: string(b.Mode)}
		for j := range windows {
			w := windowRowOf(b, &windows[j], v.now)
			w.Whose = c.subjectName(w.Subject)
			row.Windows = append(row.Windows, w)
		}
		data.Rows = append(data.Rows, row)
	}
	shown := defined.Limits[:min(len(defined.Limits), 2*listSize)]
	data.More = len(defined.Limits) - len(shown)
	for _, l := range shown {
		data.Limits = append(data.Limits, limitRow{l.ID, scopeWords(dir, l.Scope), rateWords(l.Rate), string(l.Mode)})
	}
	fill(data)
	f := c.frame(v, "budgets", "Budgets", data)
	f.Command = "penstock budget list"
	return c.send(v, status, "frame.html", f)
}

// fields reads fields of a form by their names.
func fields(form url.Values) func(string) string {
	return func(name string) string { return strings.TrimSpace(form.Get(name)) }
}

// terms reads what a budget is to allow.
func (f *budgetForm) terms(at string) (limit.Terms, []fault.Problem) {
	text := limit.TermsText{Amount: f.Amount, Tokens: f.Tokens, Per: f.Per, Zone: f.Zone, From: f.From, To: f.To, Mode: f.Mode}
	var problems []fault.Problem
	for _, word := range strings.FieldsFunc(f.Alerts, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(strings.TrimSuffix(word, "%"))
		if err != nil {
			problems = append(problems, fault.Problem{Path: at + "alerts", Text: strconv.Quote(word) + " is not a share in percent", Hint: "write 50, 90"})
			continue
		}
		text.Alerts = append(text.Alerts, n)
	}
	for line := range strings.Lines(f.Kept) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		i := strings.LastIndexByte(line, '=')
		n, err := strconv.Atoi(strings.TrimSuffix(line[i+1:], "%"))
		if i < 0 || err != nil {
			problems = append(problems, fault.Problem{Path: at + "kept", Text: strconv.Quote(line) + " is not a tag and its share", Hint: "write one a line: interactive=30"})
			continue
		}
		text.Kept = append(text.Kept, limit.Kept{Tag: line[:i], Share: n})
	}
	t, more := text.Read(at)
	return t, append(problems, limit.Untold(problems, more)...)
}

// scopeOf finds what the fields of a scope mean.
func (c *Console) scopeOf(ctx context.Context, s limit.Scope) (limit.Scope, error) {
	if err := limit.Refusal(s.Mistakes()); err != nil {
		return s, err
	}
	d, err := c.o.Tenants.Directory(ctx)
	if err != nil {
		return s, err
	}
	s.Org, s.Project, s.Key, err = d.Resolve(s.Org, s.Project, s.Key)
	return s, err
}

func (c *Console) limitsChanged(ctx context.Context) {
	if c.o.LimitsChanged != nil {
		c.o.LimitsChanged(ctx)
	}
}

func (c *Console) setBudget(v *visit) error {
	get := fields(v.form)
	form := termsForm(v.form, "")
	form.Org, form.Project, form.Key, form.User, form.Model, form.Version = get("org"), get("project"), get("key"), get("user"), get("model"), get("version")
	terms, problems := form.terms("")
	err := limit.Refusal(problems)
	var scope limit.Scope
	if err == nil {
		scope, err = c.scopeOf(v.ctx(), limit.Scope{Org: form.Org, Project: form.Project, Key: form.Key, User: form.User, Model: form.Model})
	}
	set, was := limit.Budget{Scope: scope, Terms: terms}, limit.Whatever
	if err == nil && form.Version != "" {
		set.ID = get("id")
		was, err = wasOf(form.Version)
	}
	if err == nil {
		set, err = c.o.Limits.SetBudget(v.ctx(), set, was)
	}
	if err != nil {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		if form.Version != "" {
			form.Unit = get("unit")
			return c.budgetPage(v, get("id"), status, func(d *budgetView) { d.Form, d.Problem = form, why })
		}
		return c.budgetsPage(v, status, func(d *budgetsView) { d.Form, d.Problem, d.Of = form, why, "budget" })
	}
	c.limitsChanged(v.ctx())
	return v.redirect("budgets/" + url.PathEscape(set.ID) + "?said=set")
}

// termsForm takes the fields of a form whose names begin with p.
func termsForm(form url.Values, p string) budgetForm {
	get := func(name string) string { return strings.TrimSpace(form.Get(p + name)) }
	return budgetForm{
		Amount: get("amount"), Tokens: get("tokens"), Per: get("per"), Zone: get("zone"), From: get("from"), To: get("to"), Mode: get("mode"),
		Alerts: get("alerts"), Kept: strings.ReplaceAll(get("kept"), "\r\n", "\n"), P: p,
	}
}

// wasOf is the version that a form was filled in on top of: what is of another by now was changed by somebody else, and stays as it is.
func wasOf(version string) (limit.Was, error) {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || n <= 0 {
		return limit.NotYet, wrong("The form has no version.", "Open its page again.")
	}
	return limit.Was(n), nil
}

func (c *Console) deleteBudget(v *visit) error {
	if _, err := c.o.Limits.DeleteBudget(v.ctx(), v.part); err != nil {
		return err
	}
	c.limitsChanged(v.ctx())
	return v.redirect("budgets?said=deleted")
}

func (c *Console) setLimit(v *visit) error {
	get := fields(v.form)
	form := limitForm{get("org"), get("project"), get("key"), get("user"), get("model"), get("measure"), get("amount"), get("mode")}
	n, wrongAmount := limit.ReadAmount(limit.TokenCount, form.Amount)
	l := limit.Limit{Rate: limit.Rate{Measure: limit.Measure(form.Measure), Amount: n, Mode: limit.Mode(cmp.Or(form.Mode, string(limit.Enforce)))}}
	err := error(nil)
	if wrongAmount != "" {
		err = limit.Refusal([]fault.Problem{{Path: "amount", Text: wrongAmount}})
	}
	if err == nil {
		l.Scope, err = c.scopeOf(v.ctx(), limit.Scope{Org: form.Org, Project: form.Project, Key: form.Key, User: form.User, Model: form.Model})
	}
	if err == nil {
		err = limit.Refusal(l.Mistakes())
	}
	if err == nil {
		_, err = c.o.Limits.SetLimit(v.ctx(), l, limit.Whatever)
	}
	if err != nil {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		return c.budgetsPage(v, status, func(d *budgetsView) { d.LimitForm, d.Problem, d.Of = form, why, "limit" })
	}
	c.limitsChanged(v.ctx())
	return v.redirect("budgets?said=limit")
}

func (c *Console) deleteLimit(v *visit) error {
	if _, err := c.o.Limits.DeleteLimit(v.ctx(), v.part); err != nil {
		return err
	}
	c.limitsChanged(v.ctx())
	return v.redirect("budgets?said=deleted")
}

// A runOut is when a window is used up, as a page shows it.
type runOut struct {
	UsedUp bool
	At     moment
}

// RunOut writes when a window is used up.
func (f *frame) RunOut(w windowRow) runOut { return runOut{w.UsedUp, f.When(w.RunOut)} }
