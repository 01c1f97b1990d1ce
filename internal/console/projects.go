package console

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/retention"
)

// listSize is how many projects or keys are on a page.
const listSize = 100

// A projectsView answers: who uses this, and how is each set up?
type projectsView struct {
	Rows    []projectRow
	Next    string // address of the next page, "" at the end
	First   bool   // this is the first page
	May     bool   // make and change
	Form    projectForm
	Problem *problem
}

// A projectRow is a project of the list.
type projectRow struct {
	auth.Project
	Held bool
}

// A problem is why a form was not taken.
type problem struct{ Message, Hint string }

// A projectForm is a project as it is filled in.
type projectForm struct {
	Name, Org, Bodies, Retention, Labels, Regions string
	Strict, Stateless, Private                    bool
}

// formOf fills the form in with a project.
func formOf(p *auth.Project) projectForm {
	f := projectForm{
		Name: p.Name, Org: p.Org, Bodies: p.Bodies, Strict: p.Strict, Stateless: p.Stateless, Private: p.PrivateOnly,
		Labels: strings.Join(labelLines(p.Labels), "\n"), Regions: strings.Join(p.Regions, ", "),
	}
	if p.Retention > 0 {
		f.Retention = figure.Span(p.Retention)
	}
	return f
}

// readProject takes the fields of a form, whose names begin with start.
func readProject(form url.Values, start string) projectForm {
	get := func(name string) string { return strings.TrimSpace(form.Get(start + name)) }
	return projectForm{
		Name: get("name"), Org: get("org"), Bodies: get("bodies"), Retention: get("retention"), Regions: get("regions"),
		Strict: get("strict") != "", Stateless: get("stateless") != "", Private: get("private_only") != "",
		Labels: strings.ReplaceAll(get("labels"), "\r\n", "\n"), // which is how browsers send lines
	}
}

// labelLines are labels as they are written in a form, one a line.
func labelLines(labels map[string]string) (lines []string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		lines = append(lines, name+"="+labels[name])
	}
	return lines
}

// labelsOf reads labels. None are not nil, which would be "as they are".
func labelsOf(text string) (map[string]string, error) {
	labels := map[string]string{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if _, twice := labels[name]; !ok || name == "" || twice {
			return nil, wrong("The label %q has no name or no value, or is there twice.", "Write one a line, each name once: cost_center=42", line)
		}
		labels[name] = value
	}
	return labels, nil
}

// regionsOf reads regions, with commas or spaces between. None are not nil, which would be "as they are".
func regionsOf(text string) []string {
	return append([]string{}, strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })...)
}

// wrong is the fault of a form.
func wrong(format, hint string, args ...any) error {
	f := fault.New(fault.InvalidRequest, format, args...)
	f.Hint = hint
	return f
}

func (f *projectForm) spec() (spec auth.ProjectSpec, err error) {
	spec = auth.ProjectSpec{
		Org: f.Org, Name: f.Name, Bodies: f.Bodies, Strict: f.Strict, Stateless: f.Stateless, Regions: regionsOf(f.Regions), PrivateOnly: f.Private,
	}
	if spec.Labels, err = labelsOf(f.Labels); err != nil {
		return spec, err
	}
	if f.Retention != "" {
		spec.Retention, err = parseSpan(f.Retention)
	}
	return spec, err
}

// change is what of the form is not as it was when the page was opened: what others have changed since stands.
func (f *projectForm) change(was *projectForm) (c auth.ProjectChange, err error) {
	if f.Name != was.Name {
		c.Name = &f.Name
	}
	if f.Bodies != was.Bodies {
		c.Bodies = &f.Bodies
	}
	if f.Strict != was.Strict {
		c.Strict = &f.Strict
	}
	if f.Stateless != was.Stateless {
		c.Stateless = &f.Stateless
	}
	if f.Regions != was.Regions {
		c.Regions = regionsOf(f.Regions)
	}
	if f.Private != was.Private {
		c.PrivateOnly = &f.Private
	}
	if f.Labels != was.Labels {
		if c.Labels, err = labelsOf(f.Labels); err != nil {
			return c, err
		}
	}
	if f.Retention == was.Retention || f.Retention == "" && f.Bodies == auth.BodiesNone {
		return c, nil
	}
	d, err := parseSpan(f.Retention)
	c.Retention = &d
	return c, err
}

func (c *Console) projects(v *visit) error {
	return c.projectsPage(v, http.StatusOK, projectForm{Bodies: auth.BodiesNone}, nil)
}

// projectsPage shows the list, with the form as it was filled in and why it was not taken.
func (c *Console) projectsPage(v *visit, status int, form projectForm, refused *problem) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	after := v.r.URL.Query().Get("after")
	rows, err := c.o.Tenants.Store.Projects(ctx, after, listSize+1)
	if err != nil {
		return err
	}
	holds, err := c.o.Holds.Store.Holds(ctx)
	if err != nil {
		return err
	}
	data := projectsView{First: after == "", May: v.may(auth.WriteTenants), Form: form, Problem: refused}
	if len(rows) > listSize {
		rows = rows[:listSize]
		data.Next = "projects?after=" + url.QueryEscape(rows[listSize-1].ID)
	}
	for _, p := range rows {
		data.Rows = append(data.Rows, projectRow{p, len(holdsOf(holds, &p)) > 0})
	}
	f := c.frame(v, "projects", "Projects", data)
	f.Command = "penstock project list"
	return c.send(v, status, "frame.html", f)
}

// refusal divides the errors of an act: those that the person can mend are shown with the form, as it was filled in.
func refusal(err error) (status int, p *problem, ok bool) {
	f := fault.From(err)
	if f.Kind == fault.Internal || f.Code == fault.StoreFailed {
		return 0, nil, false
	}
	return f.HTTPStatus(), &problem{f.Message, f.Advice()}, true
}

func (c *Console) createProject(v *visit) error {
	form := readProject(v.form, "")
	spec, err := form.spec()
	var p auth.Project
	if err == nil {
		p, err = c.o.Tenants.CreateProject(v.ctx(), spec)
	}
	if err != nil {
		if status, why, ok := refusal(err); ok {
			return c.projectsPage(v, status, form, why)
		}
		return err
	}
	return v.redirect("projects/" + p.ID + "?said=made")
}

// holdsOf are the holds that a project is under, those of its organisation too.
func holdsOf(all []retention.Hold, p *auth.Project) (of []retention.Hold) {
	for _, h := range all {
		if h.Of(p.ID, p.Org) {
			of = append(of, h)
		}
	}
	return of
}

// A projectView answers: what may this project do, and with which keys?
type projectView struct {
	*auth.Project
	Retention string
	Labels    []string
	Holds     []retention.Hold
	Keys      []keyRow
	Next      string
	May       bool
	Said      string
	Form, Was projectForm
	Key       keyForm
	Roles     []choice
	Problem   *problem // of the form Of
	Of        string   // "project" or "key"
}

func (c *Console) project(v *visit) error {
	return c.projectPage(v, http.StatusOK, nil)
}

// projectPage shows a project; fill puts in what was filled in and refused.
func (c *Console) projectPage(v *visit, status int, fill func(*projectView)) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	p, err := c.findProject(ctx, v.part)
	if err != nil {
		return err
	}
	rows, err := c.o.Tenants.Store.Keys(ctx, p.ID, v.r.URL.Query().Get("after"), listSize+1)
	if err != nil {
		return err
	}
	holds, err := c.o.Holds.Store.Holds(ctx)
	if err != nil {
		return err
	}
	form := formOf(&p)
	data := projectView{Holds: holdsOf(holds, &p), Project: &p, Retention: form.Retention, Labels: labelLines(p.Labels), May: v.may(auth.WriteTenants), Form: form, Was: form}
	if len(rows) > listSize {
		rows = rows[:listSize]
		data.Next = "projects/" + p.ID + "?after=" + url.QueryEscape(rows[listSize-1].ID)
	}
	for i := range rows {
		data.Keys = append(data.Keys, keyRow{&rows[i], stateOf(&rows[i], v.now)})
	}
	slices.SortStableFunc(data.Keys, func(a, b keyRow) int { return a.State.rank - b.State.rank })
	if v.r.Method == http.MethodGet {
		data.Said = map[string]string{"made": "The project is made. Now it needs a key.", "changed": "The project is changed.", "same": "There was nothing to change."}[v.r.URL.Query().Get("said")]
	}
	if fill != nil {
		fill(&data)
	}
	data.Roles = roleChoices(v, data.Key.Role)
	f := c.frame(v, "project", "Project "+p.Name, data)
	f.Command = "penstock key list --project " + p.ID
	return c.send(v, status, "frame.html", f)
}

// findProject finds a project by its id only: an address goes on meaning the same when a project gets another name.
func (c *Console) findProject(ctx context.Context, id string) (auth.Project, error) {
	p, err := c.o.Tenants.Store.FindProject(ctx, "", id)
	if err == nil && p.ID != id {
		return p, fault.New(fault.NotThere, "No project has the id %.64q.", id)
	}
	return p, err
}

func (c *Console) changeProject(v *visit) error {
	form, was := readProject(v.form, ""), readProject(v.form, "was_")
	refuse := func(err error) error {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		return c.projectPage(v, status, func(d *projectView) { d.Form, d.Was, d.Problem, d.Of = form, was, why, "project" })
	}
	change, err := form.change(&was)
	if err != nil {
		return refuse(err)
	}
	if change.Empty() {
		return v.redirect("projects/" + url.PathEscape(v.part) + "?said=same")
	}
	p, err := c.findProject(v.ctx(), v.part)
	if err != nil {
		return err
	}
	if _, err := c.o.Tenants.UpdateProject(v.ctx(), p.ID, change); err != nil {
		return refuse(err)
	}
	return v.redirect("projects/" + p.ID + "?said=changed")
}
