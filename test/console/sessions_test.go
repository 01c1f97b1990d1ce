package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// Signing in with a wrong key says so and shows nothing of it; with the right one it goes where one wanted to go, and
// leaves the key in no address, no field and nothing that scripts can read.
func TestSignIn(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	b := open(t, w.admin)
	if status := b.open("exchanges?status=error"); status != http.StatusOK || !strings.HasPrefix(b.at(), "sign-in?next=") {
		t.Fatalf("a stranger gets %d at %s", status, b.at())
	}
	if status := b.submitKey("psk_not-a-key-of-this-place"); status != http.StatusUnauthorized {
		t.Errorf("a wrong key: %d", status)
	}
	var said struct{ Alert, Field, HTML string }
	b.eval(`({alert: document.querySelector("[role=alert]").innerText, field: document.querySelector("#key").value, html: document.documentElement.outerHTML})`, &said)
	if said.Alert == "" || said.Field != "" || strings.Contains(said.HTML, "not-a-key") {
		t.Errorf("after a wrong key: %+v", said)
	}
	if status := b.submitKey(w.adminKey); status != http.StatusOK || b.at() != "exchanges?status=error" {
		t.Errorf("the right key: %d at %q", status, b.at())
	}
	var kept string
	b.eval(`document.documentElement.outerHTML + document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + location.href`, &kept)
	if strings.Contains(kept, w.adminKey) {
		t.Error("the key is still in the page")
	}
	c := b.session()
	if !c.HTTPOnly || c.SameSite != network.CookieSameSiteStrict || strings.Contains(c.Value, w.adminKey) || strings.Contains(kept, c.Value) {
		t.Errorf("the cookie: %+v", c)
	}
}

// submitKey types a key where one signs in.
func (b *tab) submitKey(key string) int {
	b.t.Helper()
	return b.arrive("signing in", chromedp.SendKeys("#key", key), chromedp.Submit("#key"))
}

// session is the cookie of whoever is signed in.
func (b *tab) session() *network.Cookie {
	b.t.Helper()
	var found *network.Cookie
	b.run(chromedp.ActionFunc(func(ctx context.Context) error {
		all, err := network.GetCookies().Do(ctx)
		for _, c := range all {
			if strings.HasPrefix(c.Name, "penstock-") && c.HTTPOnly {
				found = c
			}
		}
		return err
	}))
	if found == nil {
		b.t.Fatal("nobody is signed in")
	}
	return found
}

// opens reports whether a cookie is one of somebody who is signed in, to whom it is sent by.
func (w *world) opens(t *testing.T, c *network.Cookie) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.admin+"/exchanges", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	resp, err := (&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// After signing out, neither the way back nor a copy of the cookie shows a page.
func TestSignOut(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	b := open(t, w.admin)
	b.signIn(w.keys["viewer"])
	b.open("exchanges")
	copied := b.session()
	if !w.opens(t, copied) {
		t.Fatal("the cookie opens nothing while signed in")
	}
	b.arrive("signing out", chromedp.Click(`form[action$="sign-out"] button`))
	if b.at() != "sign-in" {
		t.Errorf("after signing out: %q", b.at())
	}
	if w.opens(t, copied) {
		t.Error("a copy of the cookie still opens pages")
	}
	b.arrive("back", chromedp.NavigateBack())
	if !strings.HasPrefix(b.at(), "sign-in") {
		t.Errorf("the way back shows %q", b.at())
	}
}

// Control 7: signing in ends the session before, and a session that somebody planted is not the one that is opened.
func TestControl7SigningInEndsOldSessions(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	b := open(t, w.admin)
	other := b.beside()
	b.open("sign-in")
	other.open("sign-in")
	b.submitKey(w.keys["viewer"])
	first := b.session()
	other.submitKey(w.keys["operator"])
	second := other.session()
	if first.Value == second.Value || w.opens(t, first) || !w.opens(t, second) {
		t.Errorf("the first session opens pages: %t, the second: %t", w.opens(t, first), w.opens(t, second))
	}
	if b.open("exchanges"); !strings.Contains(b.text(".who"), "operator") {
		t.Errorf("the first tab is %q", b.text(".who"))
	}
}

// Control 7: a key that is revoked, or that ends, takes its sessions with it within 5 s, and an open page does not go on
// showing what it had.
func TestControl7SessionsEndWithTheirKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := catch(func() {
		if _, err := w.command("project", "create", "ops"); err != nil {
			panic(err)
		}
		w.key("ops", "viewer", "leaver")
		w.key("ops", "auditor", "guest", "--expires", "20s")
	}); err != nil {
		t.Fatal(err)
	}
	expires := time.Now().Add(20 * time.Second)
	guest := open(t, w.admin)
	guest.signIn(w.keys["auditor"])
	guestCookie := guest.session()

	b := open(t, w.admin)
	b.signIn(w.keys["viewer"])
	cookie := b.session()
	if _, err := w.command("key", "revoke", w.keyIDs["viewer"]); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	for w.opens(t, cookie) {
		if time.Since(revoked) > 5*time.Second {
			t.Fatal("5 s after its key was revoked, a session still opens pages")
		}
		<-time.After(50 * time.Millisecond)
	}
	b.until("the page of a key that was revoked is left", 15*time.Second, `location.pathname.endsWith("/sign-in")`)
	for end := expires.Add(5 * time.Second); w.opens(t, guestCookie); <-time.After(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("5 s after its key ended, a session still opens pages")
		}
	}
	guest.until("the page of a key that ended is left", 15*time.Second, `location.pathname.endsWith("/sign-in")`)
}

// until waits for a script to give true.
func (b *tab) until(what string, most time.Duration, script string) {
	b.t.Helper()
	for end := time.Now().Add(most); ; <-time.After(50 * time.Millisecond) {
		var ok bool
		// A page that is being left has no answer.
		if err := chromedp.Run(b.ctx, chromedp.Evaluate(script, &ok)); err == nil && ok {
			return
		}
		if time.Now().After(end) {
			b.t.Fatalf("not within %s: %s; the tab is at %q", most, what, b.at())
		}
	}
}

// Control 23: pages of other origins change nothing, read nothing and frame nothing; neither do forms without the session's
// token.
func TestControl23Foreign(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	b := open(t, w.admin)
	b.signIn(w.adminKey)
	cookie := b.session()
	token := b.token()

	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/html")
		if r.URL.Path == "/frame" {
			fmt.Fprintf(rw, `<!doctype html><iframe src="%s/exchanges"></iframe>`, w.admin)
			return
		}
		fmt.Fprintf(rw, `<!doctype html><form method="post" action="%s/sign-out"><input name="token" value="%s"><button>free money</button></form>`, w.admin, token)
	}))
	t.Cleanup(evil.Close)
	// Another port is another origin of the same site, to which browsers send the cookie; another name is another site.
	for _, from := range []string{evil.URL, strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)} {
		away := b.beside()
		away.anywhere = true
		away.arrive("elsewhere", chromedp.Navigate(from))
		if status := away.arrive("a form", chromedp.Click("button")); status != http.StatusForbidden {
			t.Errorf("a form of %s: %d", from, status)
		}
		away.arrive("elsewhere", chromedp.Navigate(from))
		var read string
		away.eval(fmt.Sprintf(`fetch(%q, {credentials: "include"}).then(r => r.text(), e => "refused")`, w.admin+"/exchanges"), &read)
		if read != "refused" {
			t.Errorf("%s reads %.200s", from, read)
		}
		away.arrive("a frame", chromedp.Navigate(from+"/frame"))
		var framed bool
		away.eval(`(() => { try { return frames[0].location.href !== "about:blank" && frames[0].document !== null } catch { return false } })()`, &framed)
		if framed {
			t.Errorf("%s frames a page", from)
		}
		away.forget()
	}
	if !w.opens(t, cookie) {
		t.Error("a page of another origin has signed us out")
	}
	for _, wrong := range []string{"", strings.Repeat("0", len(token))} {
		b.open("exchanges")
		var done bool
		b.eval(fmt.Sprintf(`document.querySelector("form[action$=sign-out] [name=token]").value = %q; true`, wrong), &done)
		if status := b.arrive("a form", chromedp.Click(`form[action$="sign-out"] button`)); status != http.StatusForbidden {
			t.Errorf("a form with the token %q: %d", wrong, status)
		}
	}
	if !w.opens(t, cookie) {
		t.Error("a form without the token has signed us out")
	}
}

// token is what forms of this session carry.
func (b *tab) token() (token string) {
	b.t.Helper()
	b.eval(`document.querySelector("form [name=token]").value`, &token)
	return token
}
