package console_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// A person makes a project and a key, replaces it, ends it, and finds all of that in the audit chain; with scripts and
// without.
func TestTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, scripts := range []bool{true, false} {
		name := map[bool]string{true: "with scripts", false: "without"}[scripts]
		t.Run(name, func(t *testing.T) {
			b := open(t, w.admin)
			b.run(emulation.SetScriptExecutionDisabled(!scripts))
			b.signIn(w.adminKey)
			b.tenants(w, strings.ReplaceAll(name, " ", "-"), scripts)
		})
	}
}

func (b *tab) tenants(w *world, project string, scripts bool) {
	b.t.Helper()
	b.open("projects")
	b.fill("#name", project, "#labels", "team=a\ncost_center=42", "#bodies", "keep", "#retention", "30d")
	b.click("Make the project")
	page := b.at()
	if !strings.HasPrefix(page, "projects/prj_") || !strings.Contains(b.text("main"), "cost_center=42") {
		b.t.Fatalf("making a project leads to %q: %s", page, b.text("main"))
	}
	judge := b.accessible
	if !scripts { // which axe-core is
		judge = func(string) {}
	}
	judge(page)

	b.fill("#key-name", "trial", "#models", "chat", "#expires", "30d")
	if status := b.click("Make the key"); status != http.StatusCreated {
		b.t.Fatalf("making a key: %d", status)
	}
	first := b.text("#secret")
	if !strings.HasPrefix(first, "psk_") || strings.Contains(b.at(), first) {
		b.t.Fatalf("the new key: %.8q at %q", first, b.at())
	}
	w.keys["made by hand"] = first
	w.chat("made by hand", "chat", "say:1", false)
	judge("a new key")
	b.arrive("on", chromedp.Click(`//a[.="I have stored it"]`))
	b.without(first)
	// The way back is to the answer to a form, which no browser has kept; it asks before it sends the form again.
	if err := chromedp.Run(b.ctx, chromedp.Evaluate(`history.back()`, nil)); err != nil && !replaced(err) {
		b.t.Fatal(err)
	}
	<-time.After(300 * time.Millisecond)
	var html string
	b.eval(`document.documentElement.outerHTML`, &html)
	if strings.Contains(html, first) {
		b.t.Error("the way back shows the key")
	}
	b.forget() // what the browser thinks of that way

	b.open(page)
	b.arrive("the key", chromedp.Click(`//a[.="trial"]`))
	keyPage := b.at()
	b.fill("#overlap", "1h")
	b.click("Replace the key")
	second := b.text("#secret")
	if second == first || !strings.HasPrefix(second, "psk_") {
		b.t.Fatalf("the key that replaces it: %.8q", second)
	}
	w.keys["replaced"] = second
	w.chat("made by hand", "chat", "say:1", false) // within the overlap
	w.chat("replaced", "chat", "say:1", false)

	b.open(keyPage)
	b.arrive("ending it", chromedp.Click(`//a[.="Revoke this key"]`))
	judge("revoke")
	b.fill("#name", "no")
	if status := b.click("Revoke the key"); status != http.StatusBadRequest {
		b.t.Errorf("revoke with another name: %d", status)
	}
	b.fill("#name", "trial")
	b.click("Revoke the key")
	revoked := time.Now()
	if b.at() != keyPage+"?said=revoked" || !strings.Contains(b.text("main"), "revoked") {
		b.t.Errorf("revoking leads to %q", b.at())
	}
	for w.status(b.t, first) != http.StatusUnauthorized {
		if time.Since(revoked) > 5*time.Second {
			b.t.Fatal("5 s after it was revoked, a key still works")
		}
		<-time.After(50 * time.Millisecond)
	}

	b.open("audit")
	all := b.text("main")
	for _, act := range []string{"project.create", "key.create", "key.rotate", "key.revoke"} {
		if !strings.Contains(all, act) {
			b.t.Errorf("the audit chain does not show %s", act)
		}
	}
	b.without(first)
	b.open("audit?action=key.revoke")
	b.arrive("an entry", chromedp.Click("a.row"))
	if entry := b.text("main"); !strings.Contains(entry, "admin key") || !strings.Contains(entry, "revoked") {
		b.t.Errorf("the entry: %s", entry)
	}
	b.open("audit")
	if b.click("Verify and sign now"); !strings.Contains(b.text("main"), "verified and signed") {
		b.t.Errorf("a checkpoint: %s", b.text("main"))
	}
	var export string
	b.eval(`(form => fetch(form.getAttribute("action"), {method: "POST", body: new URLSearchParams(new FormData(form))}).then(r => r.text()))(document.querySelector("form[action$='audit/export']"))`, &export)
	file := filepath.Join(b.t.TempDir(), "export.jsonl")
	if err := os.WriteFile(file, []byte(export), 0o600); err != nil {
		b.t.Fatal(err)
	}
	if said, err := w.command("audit", "verify", "--file", file); err != nil {
		b.t.Errorf("the export of the page is not whole: %v %s", err, said)
	}
}

// fill puts values into fields: selectors and values in turn.
func (b *tab) fill(pairs ...string) {
	b.t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		b.run(chromedp.SetValue(pairs[i], pairs[i+1], chromedp.ByQuery))
	}
}

// click presses the button with the words and gives the status of where it leads.
func (b *tab) click(words string) int {
	b.t.Helper()
	return b.arrive(words, chromedp.Click(fmt.Sprintf(`//main//button[.=%q]`, words), chromedp.BySearch))
}

// without fails if the page, its address or what scripts can reach holds a secret.
func (b *tab) without(secret string) {
	b.t.Helper()
	var kept string
	b.eval(`document.documentElement.outerHTML + location.href + document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + JSON.stringify(history.state)`, &kept)
	if strings.Contains(kept, secret) {
		b.t.Errorf("%s still holds the key", b.at())
	}
}

// status is what the data plane answers to a key.
func (w *world) status(t *testing.T, key string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.data+"/v1/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := (&http.Client{Timeout: patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
