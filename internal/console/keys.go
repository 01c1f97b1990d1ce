package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
)

// A keyForm is a key as it is filled in.
type keyForm struct{ Name, Models, Expires, Role string }

// A keyRow is a key as lists show it.
type keyRow struct {
	*auth.Key
	State keyState
}

// A keyState says whether a key works. Class is ok, warn (it will end) or off.
type keyState struct {
	Class, Word string
	Until       time.Time // when it ends, zero if never
	rank        int       // of lists: what works comes first
}

func stateOf(k *auth.Key, now time.Time) keyState {
	end := k.Expires
	if !k.Revoked.IsZero() && (end.IsZero() || k.Revoked.Before(end)) {
		end = k.Revoked
	}
	switch {
	case !k.Live(now) && end.Equal(k.Revoked):
		return keyState{"off", "revoked", end, 2}
	case !k.Live(now):
		return keyState{"off", "expired", end, 2}
	case !k.Revoked.IsZero():
		return keyState{"warn", "replaced, ends", end, 1}
	}
	return keyState{"ok", "active", end, 0}
}

// roleChoices are the roles that a key may get by whoever is signed in.
func roleChoices(v *visit, chosen string) (all []choice) {
	if v.grant == nil {
		return nil
	}
	if chosen == "" {
		chosen = string(auth.RoleCaller)
	}
	for _, r := range auth.Roles() {
		if v.grant.Key.Role.MayHandle(r) {
			all = append(all, choice{string(r), roleWords[r], string(r) == chosen})
		}
	}
	return all
}

// roleWords say what roles are for.
var roleWords = map[auth.Role]string{
	auth.RoleCaller:   "caller: calls models, for its project",
	auth.RoleViewer:   "viewer: sees all projects, but no audit chain",
	auth.RoleOperator: "operator: viewer; makes projects and callers' keys, sets prices",
	auth.RoleAuditor:  "auditor: viewer; reads the audit chain",
	auth.RoleMetrics:  "metrics: reads /metrics",
	auth.RoleAdmin:    "admin: everything",
}

// parseSpan reads a span of time from a field.
func parseSpan(s string) (time.Duration, error) {
	d, ok := figure.ParseSpan(s)
	if !ok {
		return 0, wrong("%.40q is not a span of time.", "Write it as 720h or 30d.", s)
	}
	return d, nil
}

// A keyMadeView shows a new key, this once.
type keyMadeView struct {
	auth.Key
	Secret      string
	ProjectName string
	DataURL     string
	Old         *auth.Key // that it replaces, nil if none
}

func (c *Console) createKey(v *visit) error {
	form := v.form
	in := keyForm{
		Name: strings.TrimSpace(form.Get("name")), Models: strings.TrimSpace(form.Get("models")),
		Expires: strings.TrimSpace(form.Get("expires")), Role: form.Get("role"),
	}
	p, err := c.findProject(v.ctx(), v.part)
	if err != nil {
		return err
	}
	issued, err := c.issue(v, p.ID, in)
	if err != nil {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		return c.projectPage(v, status, func(d *projectView) { d.Key, d.Problem, d.Of = in, why, "key" })
	}
	return c.showKey(v, issued, nil)
}

// issue makes a key as it was filled in. It wants a name, which the control API does not: names are unique, and so a page
// that is opened again by mistake makes no second key.
func (c *Console) issue(v *visit, project string, in keyForm) (auth.Issued, error) {
	if in.Name == "" {
		return auth.Issued{}, wrong("The key has no name.", "Say what it is for.")
	}
	spec := auth.KeySpec{Project: project, Name: in.Name, Role: auth.Role(in.Role), Models: strings.FieldsFunc(in.Models, func(r rune) bool {
		return strings.ContainsRune(", \t\r\n", r)
	})}
	if in.Models != "" && len(spec.Models) == 0 {
		return auth.Issued{}, wrong("The list of models names none, which would allow all.", "Leave it empty for all models.")
	}
	if in.Expires != "" {
		var err error
		if spec.Expires, err = parseSpan(in.Expires); err != nil {
			return auth.Issued{}, err
		}
		if spec.Expires == 0 { // to auth, it would be a key without end
			return auth.Issued{}, wrong("The key would end at once.", "Leave the span empty for a key without end.")
		}
	}
	return c.o.Tenants.CreateKey(v.ctx(), v.grant.Key.Role, spec)
}

// showKey is the one page that holds a key. It is the answer to the form and has no address of its own, so it is in no
// history, and browsers may not keep it.
func (c *Console) showKey(v *visit, i auth.Issued, old *auth.Key) error {
	data := keyMadeView{Key: i.Key, Secret: i.Secret.Reveal(), ProjectName: c.o.Keys.Name(i.Key.Project), DataURL: c.o.Status().DataURL, Old: old}
	return c.render(v, http.StatusCreated, "key-made", "Key "+i.Key.Name, data)
}

// A keyView answers: what may this key do, does it work, and when was it last used?
type keyView struct {
	*auth.Key
	State       keyState
	ProjectName string
	May         bool // rotate and revoke
	Overlap     string
	Own         bool // it is the key that one is signed in with
	Said        string
	Problem     *problem
}

func (c *Console) key(v *visit) error { return c.keyPage(v, http.StatusOK, "key", nil) }

func (c *Console) keyPage(v *visit, status int, view string, fill func(*keyView)) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	k, err := c.o.Tenants.Store.FindKey(ctx, v.part)
	if err != nil {
		return err
	}
	data := keyView{
		Key: &k, State: stateOf(&k, v.now), ProjectName: c.o.Keys.Name(k.Project), Own: k.ID == v.grant.Key.ID,
		Overlap: figure.Span(auth.DefaultOverlap),
	}
	data.May = v.grant.Key.Role.MayHandle(k.Role) && data.State.rank < 2
	if v.r.Method == http.MethodGet {
		data.Said = map[string]string{"revoked": "The key is revoked. It is refused everywhere within 5 s."}[v.r.URL.Query().Get("said")]
	}
	if fill != nil {
		fill(&data)
	}
	f := c.frame(v, view, "Key "+k.Name, data)
	f.Command = "penstock key list --project " + k.Project
	return c.send(v, status, "frame.html", f)
}

func (c *Console) rotateKey(v *visit) error {
	overlap := strings.TrimSpace(v.r.PostFormValue("overlap"))
	refuse := func(err error) error {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		return c.keyPage(v, status, "key", func(d *keyView) { d.Overlap, d.Problem = overlap, why })
	}
	d, err := parseSpan(overlap)
	if err != nil {
		return refuse(err)
	}
	issued, err := c.o.Tenants.RotateKey(v.ctx(), v.grant.Key.Role, v.part, d)
	if err != nil {
		return refuse(err)
	}
	old, err := c.o.Tenants.Store.FindKey(v.ctx(), v.part)
	if err != nil {
		old = auth.Key{ID: v.part, Name: v.part} // the new key is made, and must be shown
	}
	return c.showKey(v, issued, &old)
}

// askRevoke is the page between a link and an act that cannot be undone.
func (c *Console) askRevoke(v *visit) error { return c.keyPage(v, http.StatusOK, "revoke", nil) }

func (c *Console) revokeKey(v *visit) error {
	refuse := func(err error) error {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		return c.keyPage(v, status, "revoke", func(d *keyView) { d.Problem = why })
	}
	k, err := c.o.Tenants.Store.FindKey(v.ctx(), v.part)
	if err != nil {
		return err
	}
	if strings.TrimSpace(v.r.PostFormValue("name")) != k.Name {
		return refuse(fault.New(fault.InvalidRequest, "That is not the name of this key, so nothing was revoked."))
	}
	if _, err := c.o.Tenants.RevokeKey(v.ctx(), v.grant.Key.Role, k.ID); err != nil {
		return refuse(err)
	}
	return v.redirect("keys/" + url.PathEscape(k.ID) + "?said=revoked")
}
