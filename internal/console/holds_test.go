package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
)

// What is on hold is seen in the list of projects and on the page of each, with the reason and by whom.
func TestHoldsAreSeen(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	e.Key("shop")
	var hold struct {
		ID      string `json:"id"`
		Project string `json:"project"`
	}
	if status := e.Admin(http.MethodPost, "/holds", map[string]string{"project": "shop", "reason": "case <4711>"}, &hold); status != http.StatusCreated {
		t.Fatal(status)
	}
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	if page := b.get("/projects").text; !strings.Contains(page, "on hold") {
		t.Errorf("the list does not say it: %s", page)
	}
	if page := b.get("/projects/" + hold.Project).text; !strings.Contains(page, "case &lt;4711&gt;") || !strings.Contains(page, hold.ID) {
		t.Errorf("the page does not say it: %s", page)
	}
	if status := e.Admin(http.MethodPost, "/holds/"+hold.ID+"/lift", map[string]string{"reason": "settled"}, nil); status != http.StatusOK {
		t.Fatal(status)
	}
	for _, path := range []string{"/projects", "/projects/" + hold.Project} {
		if page := b.get(path).text; strings.Contains(strings.ToLower(page), "on hold") {
			t.Errorf("%s says that it is on hold: %s", path, page)
		}
	}
}
