package console_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
	id := page[len("/budgets/"):strings.Index(page, "?")]
	change := []string{"id", id, "version", hidden(t, b.get(page), "version"), "unit", "usd", "project", "home", "per", "day", "amount", "25", "alerts", "50, 90", "kept", "gold=30"}
	if got := post("/budgets", slices.Concat(change, []string{"amount", "a lot"})...); got.status != http.StatusBadRequest || !strings.Contains(got.text, "Change the budget") {
		t.Errorf("a mistake in a change: %d", got.status)
	}
	if got := post("/budgets", slices.Concat(change, []string{"version", "7000"})...); got.status != http.StatusConflict || !strings.Contains(got.text, "Somebody has changed the budget") {
		t.Errorf("changed meanwhile: %d", got.status)
	}
	shows(b.get(page), `name="per" value="day"`, `name="unit" value="usd"`)
	if strings.Contains(b.get(page).text, `id="tokens"`) {
		t.Error("the unit of a budget can be changed")
	}
	shows(b.get(page), "$25.00 a day for project home", "The budget is set", "50, 90 percent", "gold", "30 percent", "Delete the budget")

	if a := e.Post(caller, "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:30 hello", false)); a.Status != http.StatusOK {
		t.Fatalf("a call within the budget: %d %s", a.Status, a.Text())
	}
	e.Records() // waits for them
	shows(b.get(page), "Used in", " of $25.00", "if it goes on so", "As a table", `<polyline class="s1"`)
	// Nothing was used before this hour, and the line is as flat until then.
	if used := time.Now().UTC(); used.Hour() > 0 && !regexp.MustCompile(`class="s1" points="0\.0,100\.0 [0-9.]+,100\.0 `).MatchString(b.get(page).text) {
		t.Errorf("the course: %s", regexp.MustCompile(`class="s1" points="[^"]*"`).FindString(b.get(page).text))
	}
	shows(b.get("/budgets"), "project home", "$25.00 a day", "Overrun")

	// One for each project says how that of one stands, by its name or id.
	each, _, _ := strings.Cut(set(post("/budgets", "project", "*", "amount", "3", "per", "day"), "budgets/bgt_"), "?")
	if a := e.Post(caller, "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:30 hello", false)); a.Status != http.StatusOK {
		t.Fatalf("a call within the budgets: %d %s", a.Status, a.Text())
	}
	e.Records()
	shows(b.get(each+"?subject=home"), "Used in", `<polyline class="s1"`, `name="subject" value="home"`, `">home</a>`)
	shows(b.get(each+"?subject=nobody"), "nobody has used nothing of it")
	post(each + "/delete")

	shows(post("/limits", "project", "home", "amount", "0", "measure", "requests"), "0 is not from 1 to", "penstock stop")
	shows(post("/limits", "project", "home", "amount", "-1", "measure", "requests"), "is not a whole number")
	set(post("/limits", "project", "home", "user", "*", "amount", "600", "measure", "requests", "mode", "observe"), "budgets?said=limit")
	shows(b.get("/budgets"), "project home, each user", "600 requests a minute", "is watched")

	first := []string{"budget-1-new", "yes", "budget-1-per", "day", "budget-1-amount", "0.10", "budget-1-zone", "Europe/Berlin", "budget-1-alerts", "40, 90", "budget-1-kept", "gold=25"}
	second := []string{"budget-2-new", "yes", "budget-2-per", "hour", "budget-2-tokens", "500000", "budget-2-mode", "observe"}
	third := []string{"budget-3-new", "yes", "budget-3-per", "term", "budget-3-amount", "7", "budget-3-from", "2026-12-01", "budget-3-to", "2027-01-01"}
	whole := slices.Concat([]string{"name", "free", "class", "flex", "requests", "20", "concurrent", "5", "concurrent-mode", "observe", "models", "a*, b", "max_output", "500", "max_input", "900"}, first, second, third)
	shows(post("/tiers", "name", "free", "requests", "many", "budget-1-per", "day", "budget-1-alerts", "x", "budget-1-amount", "<b>"), "3 mistakes", "requests a minute: ", "budget 1: alerts",
		`value="many"`, `value="&lt;b&gt;"`)
	shows(post("/tiers", slices.Concat(whole, []string{"more", "yes"})...), "Budget 4", `value="0.10"`, "One more budget")
	shows(b.get("/tiers"), "No tier yet")
	if got := post("/tiers", whole...); got.status != http.StatusSeeOther {
		t.Fatalf("set a tier: %d %s", got.status, got.text)
	}
	shows(b.get("/tiers"), "20 requests a minute, 5 calls at once, $0.1000 a day, 500,000 tokens an hour, $7.00 in all, prompts up to 900 tokens, answers up to 500 tokens", "a*, b")
	tier := b.get("/tiers/free")
	shows(tier, `name="budget-1-zone" value="Europe/Berlin"`, `name="budget-1-alerts" value="40, 90"`, ">gold=25</textarea>", `name="budget-2-tokens" value="500000"`,
		`name="budget-3-from" value="2026-12-01T00:00:00Z"`, `name="max_input" value="900"`, "25 percent kept for gold", "told at 40, 90 percent", "5 calls at once <span class=\"muted\">watched")
	shows(post("/tiers", "name", "free", "requests", "9"), "There is a tier free already")
	// The same again, but for what is changed; then what was opened before that.
	again := slices.Concat(whole, []string{"was", "free", "version", hidden(t, tier, "version"), "budget-1-new", "", "budget-2-remove", "on", "requests", "30"})
	if got := post("/tiers", again...); got.status != http.StatusSeeOther {
		t.Fatalf("change the tier: %d %s", got.status, got.text)
	}
	shows(b.get("/tiers"), "30 requests a minute, 5 calls at once, $0.1000 a day, $7.00 in all, prompts")
	if got := post("/tiers", again...); got.status != http.StatusConflict || !strings.Contains(got.text, "it is version ") {
		t.Errorf("changed meanwhile: %d", got.status)
	}
	shows(post("/tiers", slices.Concat(again, []string{"name", "other"})...), "A tier keeps its name")
	many := []string{"name", "many"}
	for i := range 16 {
		p := "budget-" + strconv.Itoa(i+1) + "-"
		many = append(many, p+"per", "term", p+"amount", "1", p+"from", time.Date(2027, 1, 1+i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), p+"to", "2028-01-01")
	}
	if got := post("/tiers", many...); got.status != http.StatusSeeOther {
		t.Fatalf("a tier of many budgets: %d %s", got.status, got.text)
	}
	if page := b.get("/tiers/many"); strings.Count(page.text, "-remove\"") != 16 || strings.Contains(page.text, "Budget 17") {
		t.Error("a form has not all budgets of a tier")
	}
	post("/tiers/many/delete")
	if got := b.get("/tiers/none"); got.status != http.StatusNotFound {
		t.Errorf("no such tier: %d", got.status)
	}
	shows(post("/assignments", "tier", "free", "project", "nobody"), "There is no project")
	if got := post("/assignments", "tier", "free", "project", "home", "user", "*"); got.status != http.StatusSeeOther {
		t.Fatalf("give a tier: %d %s", got.status, got.text)
	}
	shows(b.get("/tiers"), "project home, all other users", `<a href="./tiers/free">free</a>`)
	if a := e.Post(caller, "/v1/chat/completions", strings.Replace(penstocktest.Chat("sim-a/m", "say:3 hello", false), "{", `{"user":"ann",`, 1)); a.Status == http.StatusOK {
		t.Error("the tier allows a* and b only, and sim-a/m was answered")
	}
	if got := post("/tiers", slices.Concat(again, []string{"version", hidden(t, b.get("/tiers/free"), "version"), "models", ""})...); got.status != http.StatusSeeOther {
		t.Fatalf("change the tier: %d %s", got.status, got.text)
	}
	if a := e.Post(caller, "/v1/chat/completions", strings.Replace(penstocktest.Chat("sim-a/m", "say:3 hello", false), "{", `{"user":"ann",`, 1)); a.Status != http.StatusOK {
		t.Fatalf("a call within the tier: %d %s", a.Status, a.Text())
	}
	e.Records()
	shows(b.get("/tiers/free"), "home/ann", "Resets", "Overrun", "$0.1000")
	shows(b.get("/tiers/free?whose=home/ann"), "Used in", `<polyline class="s1"`, "home/ann")
	shows(b.get("/tiers/free?whose=home/bob"), "home/bob has used nothing of it", `name="whose" value="home/bob"`)
	shows(b.get("/tiers/free?whose=home"), `name="whose" value="home"`)
	var keys struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	e.Admin(http.MethodGet, "/keys?project=home", nil, &keys)
	shows(b.get("/tiers/free?whose="+keys.Data[0].ID), `name="whose" value="`+keys.Data[0].ID+`"`) // it is found by its id only
	shows(post("/tiers/free/delete"), "is given to 1 projects, keys or end users")

	viewer := newBrowser(t, e.AdminURL)
	var key struct {
		Key string `json:"key"`
	}
	e.Admin(http.MethodPost, "/keys", map[string]string{"project": "home", "name": "look", "role": "viewer"}, &key)
	viewer.signIn(key.Key)
	for _, path := range []string{"/budgets", "/tiers", "/tiers/free", page} {
		if got := viewer.get(path); got.status != http.StatusOK || strings.Contains(got.text, "Set the") || strings.Contains(got.text, "Change the") || strings.Contains(got.text, "Delete the") {
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
	lim, _, _ := strings.Cut(after, "/")
	set(post("/limits/lim_"+lim+"/delete"), "budgets?said=deleted")
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
