package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
)

// A target is taken out on its page, by who types its name, and taken back; who may not has no form and is refused.
func TestTakeATargetOut(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{Config: penstocktest.Config + "models:\n  house: { targets: [sim-a/m, sim-b/m] }\n"})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	const page = "/targets?name=sim-a%2Fm"
	if got := b.get("/models").text; !strings.Contains(got, `href="./targets?name=sim-a%2Fm"`) || !strings.Contains(got, "healthy") {
		t.Errorf("the page of models does not lead there: %s", got)
	}
	if got := b.get(page); got.status != http.StatusOK || !strings.Contains(got.text, "Disable the target") || strings.Contains(got.text, "Enable the target") {
		t.Fatalf("%d %s", got.status, got.text)
	}
	if got := b.get("/targets?name=sim-a%2Fother"); got.status != http.StatusNotFound {
		t.Errorf("a target that is not there: %d", got.status)
	}
	form := url.Values{"token": {b.token()}, "target": {"sim-a/m"}, "reason": {"<b>new disk"}, "for": {"soon"}, "again": {"sim-a/m"}}
	if got := b.do(http.MethodPost, "/targets/disable", form); got.status != http.StatusBadRequest || !strings.Contains(got.text, "span of time") || strings.Contains(got.text, "<b>new") {
		t.Errorf("a mistake: %d %s", got.status, got.text)
	}
	form.Set("for", "1h")
	form.Set("again", "sim-a/M")
	if got := b.do(http.MethodPost, "/targets/disable", form); got.status != http.StatusBadRequest || !strings.Contains(got.text, "not the name of this target") {
		t.Errorf("another name typed: %d %s", got.status, got.text)
	}
	if got := b.get(page).text; !strings.Contains(got, "healthy") {
		t.Error("a confirmation that was none has disabled the target")
	}
	form.Set("again", "sim-a/m")
	got := b.do(http.MethodPost, "/targets/disable", form)
	if got.status != http.StatusSeeOther || got.header.Get("Location") != "../targets?name=sim-a%2Fm&said=disabled" {
		t.Fatalf("%d to %q: %s", got.status, got.header.Get("Location"), got.text)
	}
	if got := b.get(page + "&said=disabled").text; !strings.Contains(got, "is disabled") || !strings.Contains(got, "&lt;b&gt;new disk") || !strings.Contains(got, "Enable the target") {
		t.Errorf("after it: %s", got)
	}
	if got := b.get("/models").text; !strings.Contains(got, `class="state off"`) {
		t.Errorf("the page of models does not show it: %s", got)
	}
	viewer := newBrowser(t, e.AdminURL)
	var key struct {
		Key string `json:"key"`
	}
	e.Admin(http.MethodPost, "/projects", map[string]string{"name": "home"}, nil)
	e.Admin(http.MethodPost, "/keys", map[string]string{"project": "home", "name": "look", "role": "viewer"}, &key)
	viewer.signIn(key.Key)
	if got := viewer.get(page); got.status != http.StatusOK || strings.Contains(got.text, "<form class=\"sheet\"") || strings.Contains(got.text, "Enable the target") {
		t.Errorf("a viewer's page: %d %s", got.status, got.text)
	}
	for _, path := range []string{"/targets/disable", "/targets/enable"} {
		if got := viewer.do(http.MethodPost, path, url.Values{"token": {viewer.token()}, "target": {"sim-a/m"}, "again": {"sim-a/m"}}); got.status != http.StatusForbidden {
			t.Errorf("a viewer at %s: %d", path, got.status)
		}
	}
	back := url.Values{"token": {b.token()}, "target": {"sim-a/m"}}
	if got := b.do(http.MethodPost, "/targets/enable", back); got.status != http.StatusSeeOther {
		t.Fatalf("%d %s", got.status, got.text)
	}
	if got := b.do(http.MethodPost, "/targets/enable", back); got.status != http.StatusNotFound || !strings.Contains(got.text, "neither disabled nor ejected") {
		t.Errorf("enabled twice: %d %s", got.status, got.text)
	}
	if status := e.Admin(http.MethodPost, "/routes/disable", map[string]string{"target": "sim-a"}, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	if got := b.get(page).text; !strings.Contains(got, "All of sim-a is disabled") {
		t.Errorf("its provider: %s", got)
	}
}
