package console

import (
	"cmp"
	"net/http"
	"net/url"
	"strings"

	"github.com/penstock/penstock/internal/auth"
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
	Of      string // the form that Problem is about: tier, give or delete
}

// A tierRow is a tier of the list.
type tierRow struct {
	Name, Allows, Models, Class string
	Had                         int
}

// A holderRow is who has a tier.
type holderRow struct{ Tier, Words, Project, Key, User, Subject string }

// A giveForm says who is to have a tier.
type giveForm struct{ Tier, Project, Key, User string }

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
		data.Holders = append(data.Holders, holderOf(dir, a))
	}
	data.Give.Tier = v.r.URL.Query().Get("tier")
	data.Form = newTierForm()
	for i := range defined.Tiers {
		t := &defined.Tiers[i]
		data.Rows = append(data.Rows, tierRow{
			Name: t.Name, Allows: tierWords(t), Models: cmp.Or(strings.Join(t.Models, ", "), "all"), Class: cmp.Or(t.Class, "priority"), Had: had[t.Name],
		})
	}
	fill(data)
	f := c.frame(v, "tiers", "Tiers", data)
	f.Command = "penstock tier list"
	return c.send(v, status, "frame.html", f)
}

// holderOf says who has a tier, and under which name its budgets are theirs: "" if there is one for each of many.
func holderOf(dir *auth.Directory, a limit.Assignment) holderRow {
	h := holderRow{Tier: a.Tier, Project: a.Project, Key: a.Key, User: a.User}
	h.Words = strings.Replace(scopeWords(dir, limit.Scope{Project: a.Project, Key: a.Key, User: a.User}), "each user", "all other users", 1)
	switch {
	case a.User == limit.Each:
	case a.User != "":
		h.Subject = a.Project + "/" + a.User
	default:
		h.Subject = cmp.Or(a.Key, a.Project)
	}
	return h
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
		return c.refuseTier(v, err, func(d *tiersView) { d.Of = "delete" })
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
