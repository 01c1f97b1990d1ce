package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/penstocktest"
)

// send posts a form of this session.
func (b *browser) send(path string, pairs ...string) answer {
	b.t.Helper()
	form := url.Values{"token": {b.token()}}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.do(http.MethodPost, path, form)
}

// made follows where a form has led to, and gives the id at the end of the path.
func (a answer) made(t *testing.T, page string) string {
	t.Helper()
	to := a.header.Get("Location")
	found := regexp.MustCompile(page + `/([^/?]+)`).FindStringSubmatch(to)
	if a.status != http.StatusSeeOther || found == nil {
		t.Fatalf("%d to %q, want a page of %s: %s", a.status, to, page, a.text)
	}
	return found[1]
}

var (
	secretField = regexp.MustCompile(`id="secret">(psk_[A-Za-z0-9_-]+)<`)
	alertField  = regexp.MustCompile(`(?s)role="alert"><p>(.*?)</p>`)
)

// works reports whether a key opens the data plane.
func works(e *penstocktest.Env, key string) bool {
	e.T.Helper()
	return e.Do(http.MethodGet, key, "/v1/models", "").Status == http.StatusOK
}

// Whatever is done by hand is an act of whoever is signed in, in the audit chain, the same as over the control API.
func TestActsAreAudited(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	project := b.send("/projects", "name", "shop", "bodies", "keep", "retention", "30d", "labels", "cost_center=42\r\nteam=a").made(t, "projects")
	b.send("/projects/"+project, "name", "store", "was_name", "shop", "bodies", "keep", "was_bodies", "keep", "retention", "7d", "was_retention", "30d").made(t, "projects")
	made := b.send("/projects/"+project+"/keys", "name", "till", "models", "a*, b", "expires", "30d", "role", "caller")
	secret := secretField.FindStringSubmatch(made.text)
	if made.status != http.StatusCreated || secret == nil || made.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("a key: %d %v %s", made.status, made.header, made.text)
	}
	if !works(e, secret[1]) {
		t.Error("the new key does not work")
	}
	page := b.get("/projects/" + project).text
	id := regexp.MustCompile(`keys/(key_[0-9A-Z]+)`).FindStringSubmatch(page)
	if id == nil || strings.Contains(page, secret[1]) {
		t.Fatalf("the page of the project: %s", page)
	}
	if again := b.send("/projects/"+project+"/keys", "name", "till", "role", "caller"); again.status != http.StatusConflict || secretField.MatchString(again.text) {
		t.Errorf("the same form once more: %d", again.status)
	}
	turned := b.send("/keys/"+id[1]+"/rotate", "overlap", "1h")
	fresh := secretField.FindStringSubmatch(turned.text)
	if turned.status != http.StatusCreated || fresh == nil || fresh[1] == secret[1] {
		t.Fatalf("rotate: %d %s", turned.status, turned.text)
	}
	for _, key := range []string{secret[1], fresh[1]} {
		if !works(e, key) {
			t.Errorf("within the overlap, %.10s… does not work", key)
		}
	}
	if again := b.send("/keys/"+id[1]+"/rotate", "overlap", "1h"); again.status != http.StatusConflict {
		t.Errorf("rotating once more: %d", again.status)
	}
	if wrong := b.send("/keys/"+id[1]+"/revoke", "name", "tiller"); wrong.status != http.StatusBadRequest {
		t.Errorf("revoke with another name: %d", wrong.status)
	}
	if !works(e, secret[1]) {
		t.Error("a confirmation that was none has revoked the key")
	}
	b.send("/keys/"+id[1]+"/revoke", "name", "till").made(t, "keys")
	if works(e, secret[1]) {
		t.Error("a key that was revoked works")
	}

	var chain struct {
		Data []audit.Entry `json:"data"`
	}
	e.Admin(http.MethodGet, "/audit?ascending=true", nil, &chain)
	var acts []audit.Action
	for _, entry := range chain.Data {
		if strings.Contains(string(entry.After), secret[1]) || strings.Contains(string(entry.After), fresh[1]) {
			t.Errorf("entry %d holds a key", entry.Seq)
		}
		if entry.Actor.Key == "process" {
			continue
		}
		acts = append(acts, entry.Action)
		if entry.Actor.Role != string(auth.RoleAdmin) || !strings.HasPrefix(entry.Actor.Request, "co_") || entry.Actor.Address == "" {
			t.Errorf("entry %d is an act of %+v", entry.Seq, entry.Actor)
		}
	}
	want := []audit.Action{audit.ProjectMade, audit.ProjectSet, audit.KeyMade, audit.KeyRotated, audit.KeyRevoked}
	if len(acts) != len(want) {
		t.Fatalf("the chain has %v, want %v", acts, want)
	}
	for i := range want {
		if acts[i] != want[i] {
			t.Errorf("act %d is %s, want %s", i, acts[i], want[i])
		}
	}
}

// What two people change of a project at the same time stands both: a form changes what was changed in it.
func TestFormsChangeWhatWasChanged(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	id := b.send("/projects", "name", "shop", "labels", "team=a").made(t, "projects")
	same := []string{"was_name", "shop", "was_bodies", "none", "was_labels", "team=a"}
	b.send("/projects/"+id, append([]string{"name", "store", "bodies", "none", "labels", "team=a"}, same...)...)
	b.send("/projects/"+id, append([]string{"name", "shop", "bodies", "none", "labels", "", "strict", "on"}, same...)...)
	b.send("/projects/"+id, append([]string{"name", "shop", "bodies", "none", "labels", "team=a", "stateless", "on", "regions", "eu eu-west*"}, same...)...)
	b.send("/projects/"+id, append([]string{"name", "shop", "bodies", "none", "labels", "team=a", "private_only", "on"}, same...)...)
	var list struct {
		Data []struct {
			Name   string            `json:"name"`
			Labels map[string]string `json:"labels"`
			Strict bool              `json:"strict"`

			Stateless bool     `json:"stateless"`
			Regions   []string `json:"regions"`
			Private   bool     `json:"private_only"`
		} `json:"data"`
	}
	e.Admin(http.MethodGet, "/projects", nil, &list)
	if len(list.Data) != 1 {
		t.Fatalf("%+v", list.Data)
	}
	if p := list.Data[0]; p.Name != "store" || len(p.Labels) != 0 || !p.Strict || !p.Stateless || !p.Private || !slices.Equal(p.Regions, []string{"eu", "eu-west*"}) {
		t.Errorf("%+v", list.Data)
	}
	page := b.get("/projects/" + id).text
	for _, want := range []string{`<span class="tag">eu-west*</span> and private targets only`, `name="was_regions" value="eu, eu-west*"`, `name="was_private_only"`, `name="was_stateless"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	b.send("/projects/"+id, append([]string{"name", "shop", "bodies", "none", "labels", "team=a", "was_regions", "eu, eu-west*", "was_private_only", "on", "was_stateless", "on"}, same...)...)
	e.Admin(http.MethodGet, "/projects", nil, &list)
	if p := list.Data[0]; p.Stateless || p.Private || len(p.Regions) != 0 {
		t.Errorf("taken off: %+v", p)
	}
	if got := b.send("/projects/"+id, append([]string{"name", "shop", "bodies", "none", "labels", "team=a"}, same...)...); !strings.Contains(got.header.Get("Location"), "said=same") {
		t.Errorf("a form without a change: %d to %q", got.status, got.header.Get("Location"))
	}
}

// A form that is not taken comes back as it was filled in, with what is wrong.
func TestRefusedFormsComeBack(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	id := b.send("/projects", "name", "shop").made(t, "projects")
	for path, c := range map[string]struct {
		form   []string
		status int
		says   string
	}{
		"/projects":                 {[]string{"name", "shop", "labels", "x=1"}, http.StatusConflict, "shop"},
		"/projects?a":               {[]string{"name", "", "org", "acme"}, http.StatusBadRequest, "name"},
		"/projects?b":               {[]string{"name", "x", "bodies", "keep", "retention", "soon"}, http.StatusBadRequest, "soon"},
		"/projects?c":               {[]string{"name", "x", "labels", "no value"}, http.StatusBadRequest, "no value"},
		"/projects/" + id:           {[]string{"name", "x", "was_name", "shop", "bodies", "keep", "was_bodies", "none"}, http.StatusBadRequest, "retention"},
		"/projects/" + id + "/keys": {[]string{"name", "", "models", "x*"}, http.StatusBadRequest, "name"},
	} {
		got := b.send(path, c.form...)
		alert := alertField.FindStringSubmatch(got.text)
		if got.status != c.status || alert == nil || !strings.Contains(alert[1], c.says) {
			t.Errorf("%s: %d %q", path, got.status, alert)
		}
		for i := 1; i < len(c.form); i += 2 {
			if v := c.form[i]; v != "" && !strings.Contains(got.text, `"`+v+`"`) && !strings.Contains(got.text, ">"+v+"<") {
				t.Errorf("%s: the page has lost %q", path, v)
			}
		}
	}
}

// Every page is refused to every role that may not see it, and nobody makes, rotates or revokes keys of a role above theirs.
func TestRolesArePermissions(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	boss := newBrowser(t, e.AdminURL)
	boss.signIn(e.AdminKey)
	project := boss.send("/projects", "name", "shop").made(t, "projects")
	keys := map[auth.Role]string{}
	for _, r := range []auth.Role{auth.RoleViewer, auth.RoleOperator, auth.RoleAuditor, auth.RoleAdmin} {
		made := boss.send("/projects/"+project+"/keys", "name", string(r), "role", string(r))
		keys[r] = secretField.FindStringSubmatch(made.text)[1]
	}
	viewerKey := regexp.MustCompile(`keys/(key_[0-9A-Z]+)">viewer<`).FindStringSubmatch(boss.get("/projects/" + project).text)[1]
	for role, key := range keys {
		b := newBrowser(t, e.AdminURL)
		b.signIn(key)
		token := url.Values{"token": {b.token()}}
		for _, p := range console.Pages() {
			if p.Open() || p.Path == "/sign-out" {
				continue
			}
			form := token
			if p.Method == http.MethodGet {
				form = nil
			}
			got := b.do(p.Method, strings.ReplaceAll(p.Path, "{id}", "x"), form)
			if may := p.Permission == "" || role.Can(p.Permission); (got.status == http.StatusForbidden) == may {
				t.Errorf("%s: %s %s answers %d", role, p.Method, p.Path, got.status)
			}
		}
		if !role.Can(auth.WriteTenants) || role == auth.RoleAdmin {
			continue
		}
		page := b.get("/projects/" + project).text
		if strings.Contains(page, `<option value="viewer"`) || !strings.Contains(page, `<option value="caller"`) {
			t.Errorf("%s is offered other roles than caller", role)
		}
		for path, form := range map[string][]string{
			"/projects/" + project + "/keys": {"name", "up", "role", "admin"},
			"/keys/" + viewerKey + "/rotate": {"overlap", "1h"},
			"/keys/" + viewerKey + "/revoke": {"name", "viewer"},
		} {
			if got := b.send(path, form...); got.status != http.StatusForbidden || secretField.MatchString(got.text) {
				t.Errorf("%s: %s: %d", role, path, got.status)
			}
		}
	}
}
