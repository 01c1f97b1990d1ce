package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
)

// Budgets, limits and tiers that are set on the pages hold and are shown; mistakes are told with the form as it was filled in and
// change nothing; who may not set them has no form and is refused.
func TestBudgetsLimitsAndTiers(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	e.Price("sim-a/m")
	caller := e.Key("home")
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	token := b.token()
	post := func(path string, pairs ...string) answer {
		t.Helper()
		form := url.Values{"token": {token}}
		for i := 0; i < len(pairs); i += 2 {
			form.Set(pairs[i], pairs[i+1])
		}
		return b.do(http.MethodPost, path, form)
	}
	shows := func(page answer, words ...string) {
		t.Helper()
		for _, want := range words {
			if !strings.Contains(page.text, want) {
				_, main, _ := strings.Cut(page.text, "<main")
				t.Errorf("the page lacks %q:\n%s", want, main)
			}
		}
	}
	set := func(got answer, where string) string {
		t.Helper()
		to := got.header.Get("Location")
		if got.status != http.StatusSeeOther || !strings.Contains(to, where) {
			t.Fatalf("%d to %q, want %q: %s", got.status, to, where, got.text)
		}
		return "/" + to[strings.LastIndex(to, "budgets"):]
	}
	shows(b.get("/budgets"), "No budget yet", "No limit yet")

	wrong := post("/budgets", "project", "home", "amount", "1e308", "per", "day", "zone", "<b>", "alerts", "50, many", "kept", "gold")
	if wrong.status != http.StatusBadRequest || strings.Contains(wrong.text, "<b>&") || strings.Contains(wrong.text, `value="<b>"`) {
		t.Errorf("mistakes: %d", wrong.status)
	}
	shows(wrong, "4 mistakes", "&#34;1e308&#34; is not an amount", `value="home"`, "is not a share in percent", "is not a tag and its share", "is not a time zone")
	shows(post("/budgets", "project", "nobody", "amount", "1", "per", "day"), "There is no project &#34;nobody&#34; here")
	page := set(post("/budgets", "project", "home", "amount", "25", "per", "day", "alerts", "50, 90", "kept", "gold=30"), "budgets/bgt_")
	shows(b.get(page), "$25.00 a day for project home", "The budget is set", "50, 90 percent", "gold", "30 percent", "Delete the budget")

	if a := e.Post(caller, "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:30 hello", false)); a.Status != http.StatusOK {
		t.Fatalf("a call within the budget: %d %s", a.Status, a.Text())
	}
	e.Records() // waits for them
	shows(b.get(page), "Used in", "if it goes on so", "As a table", `<polyline class="s1"`)
	shows(b.get("/budgets"), "project home", "$25.00 a day", "is refused")

	shows(post("/limits", "project", "home", "amount", "0", "measure", "requests"), "0 is not from 1 to", "penstock stop")
	shows(post("/limits", "project", "home", "amount", "-1", "measure", "requests"), "is not a whole number")
	set(post("/limits", "project", "home", "user", "*", "amount", "600", "measure", "requests", "mode", "observe"), "budgets?said=limit")
	shows(b.get("/budgets"), "project home, each user", "600 requests a minute", "is watched")

	shows(post("/tiers", "name", "free", "limits", "many requests", "budgets", "1.00"), "2 mistakes", "is not a whole number", "is not an amount and a length")
	if got := post("/tiers", "name", "free", "class", "flex", "limits", "20 requests\r\n5 concurrent observe", "budgets", "0.10 day Europe/Berlin\r\n500000 tokens hour", "models", "a*, b", "max_output", "500"); got.status != http.StatusSeeOther {
		t.Fatalf("set a tier: %d %s", got.status, got.text)
	}
	shows(b.get("/tiers?tier=free"), "20 requests a minute, 5 calls at once, $0.1000 a day, 500,000 tokens an hour, answers up to 500 tokens", "a*, b",
		"20 requests\n5 concurrent observe", "0.1 day Europe/Berlin\n500000 tokens hour")
	shows(post("/assignments", "tier", "free", "project", "nobody"), "There is no project")
	if got := post("/assignments", "tier", "free", "project", "home", "user", "*"); got.status != http.StatusSeeOther {
		t.Fatalf("give a tier: %d %s", got.status, got.text)
	}
	shows(b.get("/tiers"), "project home, all other users")
	shows(post("/tiers/free/delete"), "is given to 1 projects, keys or end users")

	viewer := newBrowser(t, e.AdminURL)
	var key struct {
		Key string `json:"key"`
	}
	e.Admin(http.MethodPost, "/keys", map[string]string{"project": "home", "name": "look", "role": "viewer"}, &key)
	viewer.signIn(key.Key)
	for _, path := range []string{"/budgets", "/tiers", page} {
		if got := viewer.get(path); got.status != http.StatusOK || strings.Contains(got.text, "Set the") || strings.Contains(got.text, "Delete the") {
			t.Errorf("a viewer's %s: %d", path, got.status)
		}
	}
	form := url.Values{"token": {viewer.token()}, "amount": {"1"}, "per": {"day"}}
	for _, path := range []string{"/budgets", "/limits", "/tiers", "/assignments", "/assignments/take", "/tiers/free/delete"} {
		if got := viewer.do(http.MethodPost, path, form); got.status != http.StatusForbidden {
			t.Errorf("a viewer, %s: %d", path, got.status)
		}
	}

	list := b.get("/budgets").text
	_, after, _ := strings.Cut(list, "limits/lim_")
	id, _, _ := strings.Cut(after, "/")
	set(post("/limits/lim_"+id+"/delete"), "budgets?said=deleted")
	budget, _, _ := strings.Cut(page, "?")
	set(post(budget+"/delete"), "budgets?said=deleted")
	if got := post("/assignments/take", "project", "home", "user", "*"); got.status != http.StatusSeeOther {
		t.Errorf("take: %d", got.status)
	}
	if got := post("/tiers/free/delete"); got.status != http.StatusSeeOther {
		t.Errorf("delete: %d", got.status)
	}
	shows(b.get("/budgets"), "No budget yet", "No limit yet")
	shows(b.get("/tiers"), "No tier yet", "Nobody has a tier")
	if got := b.get(budget); got.status != http.StatusNotFound {
		t.Errorf("what was deleted: %d", got.status)
	}
}
