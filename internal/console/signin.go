package console

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
)

// A signInView is the page for signing in.
type signInView struct {
	Next    string // where to go then, given from the root
	Refused string // why the key was not taken, "" at first
	Hint    string
}

func (c *Console) signInPage(v *visit) error {
	next := v.r.URL.Query().Get("next")
	if !local(next) {
		next = ""
	}
	if v.grant != nil {
		return v.redirect(next)
	}
	return c.render(v, http.StatusOK, "sign-in", "Sign in", signInView{Next: next})
}

// signIn takes a key and makes a session of it. The session before, if there is one, ends.
func (c *Console) signIn(v *visit) error {
	known := v.grant
	v.grant = nil // the form was made for nobody, and needs no token: other origins were refused at the door
	if err := v.readForm(); err != nil {
		return err
	}
	next := v.r.PostFormValue("next")
	if !local(next) {
		next = ""
	}
	if wait := c.guesses.wait(v.r); wait > 0 {
		f := fault.New(fault.Overloaded, "Too many wrong keys came from where you are. Wait %d s.", int(wait/time.Second)+1)
		f.Kind, f.Status, f.RetryAfter, f.Hint = fault.RateLimited, http.StatusTooManyRequests, wait, "Calls and the control API are not affected."
		return c.refuseKey(v, next, f)
	}
	grant, err := c.o.Keys.CheckAdmin(strings.TrimSpace(v.r.PostFormValue("key")))
	if err == nil && !grant.Key.Role.Can(auth.ReadUsage) {
		err = fault.New(fault.NotAllowed, "The role %s reads /metrics, and nothing here.", grant.Key.Role)
	}
	if err != nil {
		f := fault.From(err)
		if f.Code == fault.InvalidAPIKey {
			c.guesses.wrong(v.r)
			c.o.Log.Warn("the console refused a key", "from", v.r.RemoteAddr, "request", v.id, "error", err)
		}
		return c.refuseKey(v, next, f)
	}
	if known != nil {
		c.sessions.end(&v.session)
	}
	v.grant, v.session = grant, c.sessions.begin()
	if err := c.setSession(v); err != nil {
		return err
	}
	c.o.Log.Info("signed in to the console", "key", grant.Key.ID, "role", grant.Key.Role, "from", v.r.RemoteAddr, "request", v.id)
	return v.redirect(next)
}

// refuseKey shows the page again, with the reason.
func (c *Console) refuseKey(v *visit, next string, f *fault.Error) error {
	setRetry(v, f)
	return c.render(v, f.HTTPStatus(), "sign-in", "Sign in", signInView{Next: next, Refused: f.Message, Hint: f.Advice()})
}

func (c *Console) signOut(v *visit) error {
	c.sessions.end(&v.session)
	http.SetCookie(v.w, c.sessions.cookie(v.r, ""))
	return v.redirect("sign-in")
}

const (
	themeCookie = "penstock-theme"
	zoneCookie  = "penstock-zone"
)

// tastes are how a person wants to see pages. A zone that is not known is UTC.
func tastes(r *http.Request) (zone *time.Location, theme string) {
	if c, err := r.Cookie(themeCookie); err == nil && (c.Value == "light" || c.Value == "dark") {
		theme = c.Value
	}
	c, err := r.Cookie(zoneCookie)
	if err != nil || len(c.Value) > 64 {
		return time.UTC, theme
	}
	name, err := url.QueryUnescape(c.Value)
	if err != nil || name == "Local" { // that would be the server's
		return time.UTC, theme
	}
	if zone, err = time.LoadLocation(name); err != nil {
		return time.UTC, theme
	}
	return zone, theme
}

// view keeps how a person wants to see pages, and goes back to where they were. Nothing here is worth a token.
func (c *Console) view(v *visit) error {
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := v.r.ParseForm(); err != nil {
		return fault.Wrap(fault.InvalidRequest, err, "The form cannot be read.")
	}
	keep := func(name, value string) {
		http.SetCookie(v.w, &http.Cookie{
			Name: name, Value: value, Path: "/", MaxAge: int(365 * 24 * time.Hour / time.Second), SameSite: http.SameSiteStrictMode, Secure: secure(v.r),
		})
	}
	if theme := v.r.PostFormValue("theme"); theme == "light" || theme == "dark" || theme == "auto" {
		keep(themeCookie, theme)
	}
	if zone := v.r.PostFormValue("zone"); zone != "" && len(zone) <= 64 {
		keep(zoneCookie, url.QueryEscape(zone))
	}
	back := v.r.PostFormValue("back")
	if !local(back) {
		back = ""
	}
	return v.redirect(back)
}
