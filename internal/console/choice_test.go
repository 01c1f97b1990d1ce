package console_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
)

// The page of an exchange says of each target why it was, or was not, to be chosen.
func TestThePageSaysWhyATargetWasChosen(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{Config: penstocktest.Config + `models:
  house: { targets: [sim-a/m, { target: sim-b/m, region: eu }] }
  alone: { targets: [sim-a/m] }
`})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	key := e.Key("shop")
	ask := func(model string) string {
		a := e.Post(key, "/v1/chat/completions", penstocktest.Chat(model, "hello", false))
		if a.Status != http.StatusOK {
			t.Fatalf("%s: %d %s", model, a.Status, a.Body)
		}
		return b.get("/exchanges/" + a.ID()).text
	}
	if got := ask("alone"); strings.Contains(got, `id="why"`) || strings.Contains(got, `href="#why"`) {
		t.Error("there was nothing to choose, and the page has a choice")
	}
	if got := ask("house"); !strings.Contains(got, `<details id="why"><summary>Why this target: failover, 2 to choose from</summary>`) {
		t.Errorf("a choice as usual is not folded: %s", got)
	} else if strings.Contains(got, "<dt>Class</dt>") {
		t.Error("the page has a class, which the call had not")
	}
	flex := strings.Replace(penstocktest.Chat("alone", "hello", false), "{", `{"service_tier":"flex",`, 1)
	if got := b.get("/exchanges/" + e.Post(key, "/v1/chat/completions", flex).ID()).text; !strings.Contains(got, "<dt>Class</dt><dd>flex</dd>") {
		t.Errorf("the page does not have the call's class: %s", got)
	}
	if status := e.Admin(http.MethodPatch, "/projects/shop", map[string]any{"regions": []string{"<b>"}}, nil); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	a := e.Post(key, "/v1/chat/completions", penstocktest.Chat("house", "hello", false))
	got := b.get("/exchanges/" + a.ID()).text
	for _, want := range []string{
		`<a href="#why">why</a>`, `<details id="why" open>`, `<th scope="col" class="n">place</th>`,
		`<th scope="row">sim-a/m</th><td>no</td><td class="words">region not known, the project wants &lt;b&gt;</td><td class="n">–</td>`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the page does not have %q: %s", want, got)
		}
	}
}
