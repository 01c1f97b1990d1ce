package admin_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/penstocktest"
)

// Every endpoint answers every role exactly as the table of permissions says, and nobody else.
func TestEveryEndpointAndEveryRole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	expired := w.makeKey(admin.KeyInput{Project: "home", Role: "admin", Name: "expired", Expires: "1s"})
	revoked := w.makeKey(admin.KeyInput{Project: "home", Role: "admin", Name: "revoked"})
	if status := w.Admin(http.MethodPost, "/keys/"+revoked.ID+"/revoke", nil, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	until := time.NewTimer(time.Until(*expired.Expires) + 10*time.Millisecond)
	<-until.C
	strangers := map[string]string{
		"no key": "", "an expired key": expired.Key, "a revoked key": revoked.Key, "an unknown key": "psk_" + strings.Repeat("2", 44),
		"what is no key": "' UNION SELECT 1--",
	}
	for _, e := range admin.Endpoints() {
		for who, key := range strangers {
			path, body := w.request(e)
			want := http.StatusUnauthorized
			if e.Permission == "" {
				want = e.Status
			}
			a := w.call(e.Method, path, key, body)
			if a.status != want {
				t.Errorf("%s %s with %s: status %d, want %d", e.Method, e.Path, who, a.status, want)
			}
			if want == http.StatusUnauthorized && (a.refusal(t).Code != "invalid_api_key" || a.header.Get("WWW-Authenticate") != "Bearer") {
				t.Errorf("%s %s with %s: %s", e.Method, e.Path, who, a.body)
			}
		}
		for role, key := range w.keys {
			path, body := w.request(e)
			want := e.Status
			if e.Permission != "" && !role.Can(e.Permission) {
				want = http.StatusForbidden
			}
			a := w.call(e.Method, path, key, body)
			if a.status != want {
				t.Errorf("%s %s as %s: status %d, want %d: %s", e.Method, e.Path, role, a.status, want, a.body)
			}
			if want == http.StatusForbidden && a.refusal(t).Code != "not_allowed" {
				t.Errorf("%s %s as %s: %s", e.Method, e.Path, role, a.body)
			}
		}
	}
}

// Only an admin makes, rotates and revokes keys of another role than caller.
func TestRolesCannotRaiseThemselves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	for _, role := range auth.Roles() {
		victim := w.makeKey(admin.KeyInput{Project: "home", Role: string(role), Name: w.fresh("victim")}).ID
		for _, c := range []struct{ path, body string }{
			{"/admin/v1/keys", fmt.Sprintf(`{"project":"home","name":%q,"role":%q}`, w.fresh("made by an operator"), role)},
			{"/admin/v1/keys/" + victim + "/rotate", `{"overlap":"1h"}`},
			{"/admin/v1/keys/" + victim + "/revoke", ``},
		} {
			a := w.call(http.MethodPost, c.path, w.keys[auth.RoleOperator], c.body)
			if allowed := a.status/100 == 2; allowed != (role == auth.RoleCaller) || !allowed && a.status != http.StatusForbidden {
				t.Errorf("an operator, %s of a key with the role %s: %d %s", c.path, role, a.status, a.body)
			}
		}
	}
}

// The admin key calls no models, and a caller's key administrates nothing.
func TestPlanesAreApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	chat := penstocktest.Chat("sim-a/m", "hello", false)
	if a := w.Post(w.AdminKey, "/v1/chat/completions", chat); a.Status != http.StatusForbidden {
		t.Errorf("a chat with the admin key: %d %s", a.Status, a.Text())
	}
	for role, key := range w.keys {
		a := w.Post(key, "/v1/chat/completions", chat)
		if want := map[bool]int{true: 200, false: 403}[role == auth.RoleCaller]; a.Status != want {
			t.Errorf("a chat with a key of the role %s: %d, want %d", role, a.Status, want)
		}
	}
	for _, path := range []string{"/admin/v1/projects", "/metrics", "/admin/v1/keys"} {
		if a := w.Do(http.MethodGet, w.AdminKey, path, ""); a.Status != http.StatusNotFound && a.Status != http.StatusForbidden {
			t.Errorf("%s on the data plane: %d", path, a.Status)
		}
	}
}

// A stranger cannot tell the routes that there are from those that there are not.
func TestStrangersLearnNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	want := w.call(http.MethodGet, "/admin/v1/projects", "", "")
	want.refusal(t)
	paths := []string{
		"/nothing", "/admin", "/admin/v1", "/admin/v1/", "/admin/v1/projects/", "/admin/v1/budget", "/admin/v1/keys/key_1/revoke",
		"/debug/pprof/", "/debug/pprof/heap", "/debug/vars", "/v1/models", "//admin/v1/projects", "/admin/v1/%70rojects", "/admin/v1/projects;x",
		"/admin/../admin/v1/projects", "/healthz/..", "/metrics/", "/METRICS",
	} // "/" and the pages below it are the console's, which has a test like this one
	for _, e := range admin.Endpoints() {
		if e.Permission != "" {
			paths = append(paths, strings.Replace(e.Path, "{id}", "x", 1))
		}
	}
	for _, path := range paths {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} {
			got := w.call(method, path, "", "{}")
			if got.status != want.status || got.body != want.body {
				t.Errorf("%s %s: %d %s", method, path, got.status, got.body)
			}
			for name := range got.header {
				if !slices.Contains([]string{"Cache-Control", "Content-Length", "Content-Type", "Date", "Www-Authenticate", "X-Content-Type-Options", "X-Request-Id"}, name) {
					t.Errorf("%s %s: the header %s: %s", method, path, name, got.header[name])
				}
			}
		}
	}
}

// What is not there, and what is there with another method, is told in our own shape.
func TestUnknownRoutesAndMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	known := map[string][]string{}
	for _, e := range admin.Endpoints() {
		known[e.Path] = append(known[e.Path], e.Method)
	}
	for pattern, methods := range known {
		if slices.Contains(methods, "GET") {
			methods = append(methods, "HEAD")
		}
		path := strings.Replace(pattern, "{id}", "home", 1)
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if slices.Contains(methods, method) {
				continue
			}
			a := w.call(method, path, w.AdminKey, "")
			if got := a.refusal(t); a.status != http.StatusMethodNotAllowed || got.Code != "method_not_allowed" || !strings.Contains(got.Message, a.header.Get("Allow")) {
				t.Errorf("%s %s: %d %s", method, path, a.status, a.body)
			}
			if a.header.Get("Allow") != strings.Join(known[pattern], ", ") {
				t.Errorf("%s %s allows %q, want %v", method, path, a.header.Get("Allow"), known[pattern])
			}
		}
	}
	for _, path := range []string{
		"/", "/admin/v1", "/admin/v1/projects/", "/admin/v1/projects/home/keys", "/admin/v1/exchanges/", "/admin/v1/budgetts", "/debug/pprof/",
		"//admin/v1/projects", "/admin/v1//projects", "/admin/v1/./projects", "/admin/v1/../v1/projects", "/admin/v1/%70rojects",
		"/admin/v1/projects;x", "/admin/v1/projects%00", "/Admin/v1/projects", "/admin/v1/projects%2f", "/admin/v1/keys//revoke",
	} {
		a := w.call(http.MethodGet, path, w.AdminKey, "")
		if got := a.refusal(t); a.status != http.StatusNotFound || got.Code != "unknown_route" || got.Hint == "" {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
	if a := w.call(http.MethodHead, "/admin/v1/projects", w.AdminKey, ""); a.status != http.StatusOK || a.body != "" {
		t.Errorf("HEAD: %d %q", a.status, a.body)
	}
}

// Hosts and targets that can be read in two ways are not served, with or without a key.
func TestOddHosts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	project := `{"name":"odd"}`
	tail := fmt.Sprintf("Authorization: Bearer %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", w.AdminKey, len(project), project)
	for _, head := range []string{
		"POST /admin/v1/projects HTTP/1.1\r\nHost: x/#@y\r\n",
		"POST /admin/v1/projects HTTP/1.1\r\nHost: x?y\r\n",
		"POST /admin/v1/projects HTTP/1.1\r\nHost: good@evil\r\n",
		"POST /admin/v1/projects HTTP/1.1\r\nHost: a\\b\r\n",
		"POST http://x/admin/v1/projects HTTP/1.1\r\nHost: x\r\n",
		"POST /admin/v1/projects HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
		"POST /admin/v1/projects HTTP/1.1\r\n",
	} {
		if a := w.raw(head + tail); a.status != http.StatusBadRequest {
			t.Errorf("%q: %d %s", head, a.status, a.body)
		}
	}
	for _, p := range get[pageOf[admin.Project]](w, "/projects").Data {
		if p.Name == "odd" {
			t.Error("a project was made")
		}
	}
}

// A request carries one key, once.
func TestOneKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	for _, c := range []struct {
		headers []string
		want    int
	}{
		{[]string{"Authorization", "Bearer " + w.AdminKey}, 200},
		{[]string{"Authorization", "bearer   " + w.AdminKey}, 200},
		{[]string{"Authorization", "Bearer " + w.AdminKey, "Authorization", "Bearer " + w.AdminKey}, 401},
		{[]string{"Authorization", "Basic " + w.AdminKey}, 401},
		{[]string{"Authorization", w.AdminKey}, 401},
		{[]string{"Authorization", "Bearer"}, 401},
		{[]string{"Authorization", "Bearer " + w.AdminKey + "x"}, 401},
		{[]string{"Authorization", "Bearer " + w.AdminKey[:20]}, 401},
		{[]string{"X-Api-Key", w.AdminKey}, 401},
		{[]string{"Cookie", "key=" + w.AdminKey}, 401},
	} {
		if a := w.call(http.MethodGet, "/admin/v1/status", "", "", c.headers...); a.status != c.want {
			t.Errorf("%v: %d, want %d", c.headers[0], a.status, c.want)
		}
	}
	if a := w.call(http.MethodGet, "/admin/v1/status?key="+w.AdminKey, "", ""); a.status != http.StatusUnauthorized {
		t.Errorf("a key in the query: %d", a.status)
	}
}

// Pages of other origins are given nothing and change nothing, even with a key.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	evil := []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "cors"}
	for _, e := range admin.Endpoints() {
		path, body := w.request(e)
		a := w.call(e.Method, path, w.AdminKey, body, evil...)
		if changes := e.Method != http.MethodGet; changes != (a.status == http.StatusForbidden) {
			t.Errorf("%s %s: %d %s", e.Method, e.Path, a.status, a.body)
		}
		preflight := w.call(http.MethodOptions, path, "", "", append(evil, "Access-Control-Request-Method", e.Method, "Access-Control-Request-Headers", "authorization")...)
		for _, got := range []answer{a, preflight} {
			for name := range got.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s %s sends %s", e.Method, e.Path, name)
				}
			}
		}
		if preflight.status/100 == 2 {
			t.Errorf("%s %s: the preflight passes", e.Method, e.Path)
		}
	}
	project := `{"name":"home 2"}`
	if a := w.call(http.MethodPost, "/admin/v1/projects", w.AdminKey, project, "Origin", w.AdminURL, "Sec-Fetch-Site", "same-origin"); a.status != http.StatusCreated {
		t.Errorf("its own origin: %d %s", a.status, a.body)
	}
}

// Every answer can be named, and is kept by nobody on the way.
func TestHeadersOfEveryAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	seen := map[string]bool{}
	for _, path := range []string{"/admin/v1/projects", "/nothing", "/healthz", "/metrics", "/admin/v1/exchanges/ex_1"} {
		for _, key := range []string{w.AdminKey, ""} {
			a := w.call(http.MethodGet, path, key, "")
			id := a.header.Get("X-Request-Id")
			if !strings.HasPrefix(id, "ad_") || seen[id] || a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %v", path, a.header)
			}
			seen[id] = true
		}
	}
}

// Ten thousand guesses cost little, end in 401, and write no log that grows with them. There is no lock-out: keys have 256
// random bits, and a lock-out would let a stranger shut the operator out.
func TestGuessingIsCheap(t *testing.T) {
	t.Parallel()
	var log logged
	w := newWorld(t, penstocktest.Options{Log: &log})
	const guesses = 10_000
	begun := time.Now()
	for i := range guesses {
		a := w.call(http.MethodGet, "/admin/v1/projects", fmt.Sprintf("psk_%044d", i), "")
		if a.status != http.StatusUnauthorized || strings.Contains(a.body, fmt.Sprintf("%044d", i)) {
			t.Fatalf("guess %d: %d %s", i, a.status, a.body)
		}
	}
	if each := time.Since(begun) / guesses; each > 20*time.Millisecond {
		t.Errorf("a guess took %v", each)
	}
	if a := w.call(http.MethodGet, "/admin/v1/projects", w.AdminKey, ""); a.status != http.StatusOK {
		t.Errorf("the operator is locked out: %d", a.status)
	}
	w.Stop()
	lines := strings.Count(log.String(), "refused a key")
	if most := int(time.Since(begun)/time.Second) + 2; lines == 0 || lines > most {
		t.Errorf("%d lines for %d guesses in %v", lines, guesses, time.Since(begun))
	}
	if strings.Contains(log.String(), fmt.Sprintf("%044d", 0)) {
		t.Error("a guessed key is in the log")
	}
}
