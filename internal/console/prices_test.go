package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
)

// A price that is set on the page holds, is shown as one's own and is an entry of the audit chain; mistakes are told and
// change nothing; and who may not set prices has no form and is refused.
func TestSetAPrice(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{Config: penstocktest.Config + "models:\n  house: { targets: [sim-a/m] }\n"})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	if got := b.get("/prices?show=missing"); got.status != http.StatusOK || !strings.Contains(got.text, "sim-a/m") {
		t.Fatalf("missing prices: %d %s", got.status, got.text)
	}
	form := url.Values{"token": {b.token()}, "target": {"sim-a/m"}, "input": {"0.15"}, "output": {"<b>"}}
	if got := b.do(http.MethodPost, "/prices", form); got.status != http.StatusBadRequest || !strings.Contains(got.text, "&lt;b&gt;") || strings.Contains(got.text, "<b>&") {
		t.Errorf("a mistake: %d %s", got.status, got.text)
	}
	form.Set("output", "0.60")
	if got := b.do(http.MethodPost, "/prices", form); got.status != http.StatusSeeOther || got.header.Get("Location") != "./prices?set=sim-a%2Fm" {
		t.Fatalf("set: %d to %q: %s", got.status, got.header.Get("Location"), got.text)
	}
	page := b.get("/prices?set=sim-a%2Fm").text
	for _, want := range []string{"<b>own</b>", "0.15", "0.6", "is set"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page after it lacks %s", want)
		}
	}
	if page := b.get("/models").text; !strings.Contains(page, "<b>own</b>") || !strings.Contains(page, "house") {
		t.Errorf("the page of models lacks the price: %s", page)
	}
	var entries struct {
		Data []struct {
			Action string `json:"action"`
		} `json:"data"`
	}
	if e.Admin(http.MethodGet, "/audit?limit=1", nil, &entries); len(entries.Data) != 1 || !strings.Contains(entries.Data[0].Action, "price") {
		t.Errorf("the newest entry of the audit chain: %v", entries.Data)
	}
	viewer := newBrowser(t, e.AdminURL)
	var key struct {
		Key string `json:"key"`
	}
	e.Admin(http.MethodPost, "/projects", map[string]string{"name": "home"}, nil)
	e.Admin(http.MethodPost, "/keys", map[string]string{"project": "home", "name": "look", "role": "viewer"}, &key)
	viewer.signIn(key.Key)
	if got := viewer.get("/prices"); got.status != http.StatusOK || strings.Contains(got.text, "Set price") {
		t.Errorf("a viewer's page: %d", got.status)
	}
	form.Set("token", viewer.token())
	if got := viewer.do(http.MethodPost, "/prices", form); got.status != http.StatusForbidden {
		t.Errorf("a viewer sets a price: %d", got.status)
	}
}

// What a call and an hour cost, and what holds for some calls, is shown; to set the price anew keeps what the form does not have.
func TestPricesBesideTokens(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{Config: penstocktest.Config})
	type object = map[string]any
	e.Admin(http.MethodPut, "/prices", object{"data": []object{{
		"target": "sim-a/m", "input": "1", "output": "2", "per_call": "0.005", "hourly": "3.5",
		"variants": []object{{"tier": "flex", "input": "0.5", "output": "1"}, {"tier": "priority", "input": "2", "output": "4", "per_call": "0.01"}},
	}}}, nil)
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	page := b.get("/prices?target=sim-a%2Fm").text
	for _, want := range []string{"$0.005 for each call", "$3.5 an hour", "tier flex", "tier priority", "$0.01 for each call", `name="per_call" value="0.005"`, `name="hourly" value="3.5"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	form := url.Values{"token": {b.token()}, "target": {"sim-a/m"}, "input": {"1"}, "output": {"2"}, "per_call": {"0.006"}}
	if got := b.do(http.MethodPost, "/prices", form); got.status != http.StatusSeeOther {
		t.Fatalf("set: %d %s", got.status, got.text)
	}
	page = b.get("/prices?target=sim-a%2Fm").text
	for want, times := range map[string]int{"$0.006 for each call": 1, "$3.5 an hour": 0, "tier flex": 1, "tier priority": 1, "$0.01 for each call": 1} {
		if n := strings.Count(page, want); n != times {
			t.Errorf("the page has %q %d times, want %d", want, n, times)
		}
	}
}

// TestPriceKeepsItsSource: who says what a target costs is kept when the form is sent with the same amounts; with others, it is who
// sent it.
func TestPriceKeepsItsSource(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{Config: penstocktest.Config})
	type object = map[string]any
	e.Admin(http.MethodPut, "/prices", object{"data": []object{{"target": "sim-a/m", "input": "1", "output": "2", "cached_input": "0.1", "hourly": "3.5", "source": "contract 7"}}}, nil)
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	b.get("/prices?target=sim-a%2Fm")
	form := url.Values{"token": {b.token()}, "target": {"sim-a/m"}, "input": {"1.00"}, "output": {"2"}, "cached_input": {"0.10"}, "hourly": {"3.5"}}
	source := func() string {
		t.Helper()
		if got := b.do(http.MethodPost, "/prices", form); got.status != http.StatusSeeOther {
			t.Fatalf("set: %d %s", got.status, got.text)
		}
		var prices struct {
			Data []struct {
				Target string `json:"target"`
				Source string `json:"source"`
			} `json:"data"`
		}
		e.Admin(http.MethodGet, "/prices", nil, &prices)
		for _, p := range prices.Data {
			if p.Target == "sim-a/m" {
				return p.Source
			}
		}
		return "none"
	}
	if got := source(); got != "contract 7" {
		t.Errorf("the same price is from %q", got)
	}
	form.Set("hourly", "4")
	if got := source(); got != "set" {
		t.Errorf("another price is from %q", got)
	}
}
