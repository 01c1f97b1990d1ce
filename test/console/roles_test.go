package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/console"
)

// What a role may not do is on no page that it sees, and the server refuses it in any case.
func TestRoles(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	for _, name := range append(roles, "admin") {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			role := auth.Role(name)
			may := func(p *console.Page) bool { return p.Permission == "" || role.Can(p.Permission) }
			b := open(t, w.admin)
			b.signIn(w.keys[name])
			for _, a := range b.walk(nil, func(sight) {}) {
				page := pageOf(a.Method, a.Path)
				if page == nil {
					t.Errorf("%s %s is not in the inventory", a.Method, a.Path)
				} else if !may(page) {
					t.Errorf("a page leads to %s %s, which needs %s", a.Method, a.Path, page.Permission)
				}
			}
			token := url.Values{"token": {b.token()}}.Encode()
			for _, p := range console.Pages() {
				if p.Method == http.MethodPost && may(&p) {
					continue // it would be done
				}
				status := b.fetch(p.Method, strings.TrimPrefix(strings.ReplaceAll(p.Path, "{id}", "x"), "/"), token)
				if refused := status == http.StatusForbidden; refused == may(&p) {
					t.Errorf("%s %s answers %d", p.Method, p.Path, status)
				}
			}
		})
	}
}

// fetch asks by a script of the page, which the browser takes for the console's own.
func (b *tab) fetch(method, page, form string) (status int) {
	b.t.Helper()
	init := "{}"
	if method == http.MethodPost {
		init = fmt.Sprintf(`{method: "POST", headers: {"Content-Type": "application/x-www-form-urlencoded"}, body: %q}`, form)
	}
	b.eval(fmt.Sprintf(`fetch(%q, %s).then(r => r.status)`, b.root+page, init), &status)
	return status
}
