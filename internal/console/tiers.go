package console

import (
	"cmp"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/limit"
)

// A tiersView answers: which bundles of limits are there, and who has which?
type tiersView struct {
	Rows    []tierRow
	Holders []holderRow
	More    int // holders that are not shown
	May     bool
	Said    string
	Form    tierForm
	Give    giveForm
	Problem *problem
	Of      string // the form that Problem is about: tier or give
}

// A tierRow is a tier of the list.
type tierRow struct {
	Name, Allows, Models, Class string
	Had                         int
}

// A holderRow is who has a tier.
type holderRow struct{ Tier, Words, Project, Key, User string }

// A tierForm is a tier as it is filled in. Limits and budgets are one a line.
type tierForm struct {
	Name, Class, Models, MaxInput, MaxOutput, Limits, Budgets string
	Whole                                                     bool // the tier has what the form does not
}

// A giveForm says who is to have a tier.
type giveForm struct{ Tier, Project, Key, User string }

// Classes are the choices of the best class.
func (f tierForm) Classes() (all []choice) {
	for _, name := range []string{"priority", "default", "flex"} {
		all = append(all, choice{name, name, name == cmp.Or(f.Class, "priority")})
	}
	return all
}

func (c *Console) tiers(v *visit) error {
	return c.tiersPage(v, http.StatusOK, func(d *tiersView) {
		d.Said = map[string]string{"set": "The tier is set.", "deleted": "The tier is deleted.", "given": "The tier is given.", "taken": "The tier is taken."}[v.r.URL.Query().Get("said")]
	})
}

// tiersPage shows the lists; fill puts in what was filled in and refused.
func (c *Console) tiersPage(v *visit, status int, fill func(*tiersView)) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	defined, dir, err := c.defined(ctx)
	if err != nil {
		return err
	}
	data := &tiersView{May: v.may(auth.WriteBudgets)}
	had := map[string]int{}
	for _, a := range defined.Assigned {
		had[a.Tier]++
		if len(data.Holders) == listSize {
			data.More++
			continue
		}
		words := strings.Replace(scopeWords(dir, limit.Scope{Project: a.Project, Key: a.Key, User: a.User}), "each user", "all other users", 1)
		data.Holders = append(data.Holders, holderRow{a.Tier, words, a.Project, a.Key, a.User})
	}
	chosen := v.r.URL.Query().Get("tier")
	for i := range defined.Tiers {
		t := &defined.Tiers[i]
		row := tierRow{Name: t.Name, Allows: tierWords(t), Models: cmp.Or(strings.Join(t.Models, ", "), "all"), Class: cmp.Or(t.Class, "priority"), Had: had[t.Name]}
		data.Rows = append(data.Rows, row)
		if t.Name == chosen {
			data.Form, data.Give.Tier = tierFormOf(t), t.Name
		}
	}
	fill(data)
	f := c.frame(v, "tiers", "Tiers", data)
	f.Command = "penstock tier list"
	return c.send(v, status, "frame.html", f)
}

// tierWords say what a tier allows.
func tierWords(t *limit.Tier) string {
	var words []string
	for _, r := range t.Rates {
		words = append(words, rateWords(r))
	}
	for i := range t.Budgets {
		words = append(words, termsWords(&t.Budgets[i]))
	}
	if t.MaxInput > 0 {
		words = append(words, "prompts up to "+figure.Count(t.MaxInput)+" tokens")
	}
	if t.MaxOutput > 0 {
		words = append(words, "answers up to "+figure.Count(t.MaxOutput)+" tokens")
	}
	return cmp.Or(strings.Join(words, ", "), "no limits")
}

// tierFormOf fills the form in with a tier.
func tierFormOf(t *limit.Tier) tierForm {
	f := tierForm{Name: t.Name, Class: t.Class, Models: strings.Join(t.Models, ", ")}
	if t.MaxInput > 0 {
		f.MaxInput = strconv.FormatInt(t.MaxInput, 10)
	}
	if t.MaxOutput > 0 {
		f.MaxOutput = strconv.FormatInt(t.MaxOutput, 10)
	}
	observed := func(m limit.Mode) string {
		if m == limit.Observe {
			return " observe"
		}
		return ""
	}
	for _, r := range t.Rates {
		f.Limits += strconv.FormatInt(r.Amount, 10) + " " + string(r.Measure) + observed(r.Mode) + "\n"
	}
	for i := range t.Budgets {
		b := &t.Budgets[i]
		unit, zone := "", ""
		if b.Unit == limit.TokenCount {
			unit = " tokens"
		}
		if b.Zone != "" {
			zone = " " + b.Zone
		}
		f.Budgets += limit.FormatAmount(b.Unit, b.Amount) + unit + " " + string(b.Per) + zone + observed(b.Mode) + "\n"
		f.Whole = f.Whole || !b.From.IsZero() || len(b.Alerts)+len(b.Kept) > 0
	}
	return f
}

// tier reads the form: a limit is "60 requests", a budget "1.00 day" or "500000 tokens day", and what may follow is a zone and
// "observe".
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
	t.MaxInput, t.MaxOutput = number("max_input", f.MaxInput), number("max_output", f.MaxOutput)
	mode := func(words []string) ([]string, string) {
		if n := len(words) - 1; n > 0 && words[n] == string(limit.Observe) {
			return words[:n], string(limit.Observe)
		}
		return words, string(limit.Enforce)
	}
	for line := range strings.Lines(f.Limits) {
		words, m := mode(strings.Fields(line))
		switch len(words) {
		case 0:
		case 2:
			t.Rates = append(t.Rates, limit.Rate{Measure: limit.Measure(words[1]), Amount: number("limits", words[0]), Mode: limit.Mode(m)})
		default:
			problems = append(problems, fault.Problem{Path: "limits", Text: strconv.Quote(strings.TrimSpace(line)) + " is not an amount and a measure", Hint: "write one a line: 60 requests"})
		}
	}
	for line := range strings.Lines(f.Budgets) {
		words, m := mode(strings.Fields(line))
		text := limit.TermsText{Mode: m}
		if len(words) == 0 {
			continue
		}
		if text.Amount = words[0]; len(words) > 1 && words[1] == "tokens" {
			text.Amount, text.Tokens = "", words[0]
			words = words[1:]
		}
		if len(words) < 2 || len(words) > 3 {
			problems = append(problems, fault.Problem{Path: "budgets", Text: strconv.Quote(strings.TrimSpace(line)) + " is not an amount and a length", Hint: "write one a line: 1.00 day, or 500000 tokens day"})
			continue
		}
		text.Per = words[1]
		if len(words) == 3 {
			text.Zone = words[2]
		}
		terms, wrong := text.Read("budgets: ")
		t.Budgets, problems = append(t.Budgets, terms), append(problems, wrong...)
	}
	if len(problems) == 0 {
		problems = t.Mistakes()
	}
	return t, limit.Refusal(problems)
}

func (c *Console) setTier(v *visit) error {
	get := fields(v.form)
	form := tierForm{
		Name: get("name"), Class: get("class"), Models: get("models"), MaxInput: get("max_input"), MaxOutput: get("max_output"),
		Limits: strings.ReplaceAll(get("limits"), "\r\n", "\n"), Budgets: strings.ReplaceAll(get("budgets"), "\r\n", "\n"),
	}
	t, err := form.tier()
	if err == nil {
		_, err = c.o.Limits.SetTier(v.ctx(), t)
	}
	if err != nil {
		return c.refuseTier(v, err, func(d *tiersView) { d.Form, d.Of = form, "tier" })
	}
	c.limitsChanged(v.ctx())
	return v.redirect("tiers?said=set")
}

// refuseTier shows the page with why a form was not taken.
func (c *Console) refuseTier(v *visit, err error, fill func(*tiersView)) error {
	status, why, ok := refusal(err)
	if !ok {
		return err
	}
	return c.tiersPage(v, status, func(d *tiersView) { fill(d); d.Problem = why })
}

func (c *Console) deleteTier(v *visit) error {
	if _, err := c.o.Limits.DeleteTier(v.ctx(), v.part); err != nil {
		return c.refuseTier(v, err, func(d *tiersView) { d.Of = "tier" })
	}
	c.limitsChanged(v.ctx())
	return v.redirect("tiers?said=deleted")
}

// giveTier gives a tier, and takeTier takes it.
func (c *Console) giveTier(v *visit) error { return c.assign(v, fields(v.form)("tier"), "given") }

func (c *Console) takeTier(v *visit) error { return c.assign(v, "", "taken") }

func (c *Console) assign(v *visit, tier, said string) error {
	get := fields(v.form)
	form := giveForm{tier, get("project"), get("key"), get("user")}
	who := limit.Assignment{Project: form.Project, Key: form.Key, User: form.User, Tier: tier}
	err := limit.Refusal(who.Mistakes())
	if err == nil && tier == "" && said == "given" {
		err = wrong("No tier is named.", "Choose one.")
	}
	if err == nil {
		var s limit.Scope
		s, err = c.scopeOf(v.ctx(), limit.Scope{Project: form.Project, Key: form.Key})
		who.Project, who.Key = s.Project, s.Key
	}
	if err == nil {
		err = c.o.Limits.Assign(v.ctx(), who)
	}
	if err != nil {
		return c.refuseTier(v, err, func(d *tiersView) { d.Give, d.Of = form, "give" })
	}
	c.limitsChanged(v.ctx())
	return v.redirect("tiers?" + url.Values{"said": {said}}.Encode())
}
