package console

import (
	"context"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
)

// policy lets a page load its own files and nothing else, run no script that is not one of them, and be in nobody's frame.
// Scripts may not make HTML of text, so what models and callers wrote stays text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; " +
	"base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// maxForm bounds a form, in bytes.
const maxForm = 64 << 10

// A visit is one request, as far as the door has let it.
type visit struct {
	w       http.ResponseWriter
	r       *http.Request
	id      string     // X-Request-Id
	page    *Page      // nil where there is none
	form    url.Values // that was sent, if one was
	part    string     // what stands for {id} in the page's path
	root    string     // the way from this page to the console's: "./" or "../" and so on
	grant   *auth.Grant
	session Session
	renew   bool // the session's cookie is to be sent anew
	zone    *time.Location
	theme   string // "light", "dark" or "", which is the browser's
	now     time.Time
	status  int // what was sent, 0 if nothing was
}

// may reports whether the one who is signed in has a permission.
func (v *visit) may(p auth.Permission) bool { return v.grant != nil && v.grant.Key.Role.Can(p) }

// ctx is the request's, in which everything that is changed is an act of whoever is signed in.
func (v *visit) ctx() context.Context {
	if v.grant == nil {
		return v.r.Context()
	}
	address, _, err := net.SplitHostPort(v.r.RemoteAddr)
	if err != nil {
		address = v.r.RemoteAddr
	}
	k, owner := v.grant.Key, v.grant.Caller
	return audit.As(v.r.Context(), audit.Actor{
		Key: k.ID, Name: k.Name, Prefix: k.Prefix, Role: string(k.Role), Org: owner.Org, Project: owner.Project,
		Address: address, Agent: v.r.UserAgent(), Request: v.id,
	})
}

// ServeHTTP implements [http.Handler].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := &visit{w: w, r: r, id: "co_" + ulid.Make().String(), now: c.o.Now()}
	defer c.leave(v)
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// With no-referrer, browsers would send a form's origin as null, and it would be refused as a stranger's.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Request-Id", v.id)
	v.zone, v.theme = tastes(r)
	if err := c.enter(v); err != nil {
		c.refuse(v, err)
	}
}

// leave counts the request. A panic becomes a 500, if nothing was written yet, and the process lives.
func (c *Console) leave(v *visit) {
	if p := recover(); p != nil {
		if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel that is panicked with as it is
			panic(p)
		}
		c.o.Log.Error("panic in the console", "request", v.id, "panic", p, "stack", string(debug.Stack()))
		if v.status != 0 {
			panic(http.ErrAbortHandler) // the page has begun: all that is left is to cut it
		}
		c.refuse(v, fault.New(fault.InternalError, "Penstock met an error of its own."))
	}
	page := "other"
	if v.page != nil {
		page = v.page.Method + " " + v.page.Path
	}
	c.served.WithLabelValues(page, strconv.Itoa(v.status)).Inc()
}

// enter is the door of every request: what it is, who is asking, may they. A stranger is sent to sign in, whatever they
// asked for, and so does not learn which pages there are.
func (c *Console) enter(v *visit) error {
	r := v.r
	if r.URL.Host != "" || strings.ContainsAny(r.Host, "/\\#@? ") {
		return fault.New(fault.InvalidRequest, "The request names its host in a form that is not served here.")
	}
	if err := c.foreign.Check(r); err != nil {
		return fault.Wrap(fault.NotAllowed, err, "A page of another origin may change nothing here.")
	}
	page, part, allowed := c.find(r.Method, r.URL.EscapedPath())
	v.root = rootOf(r.URL.EscapedPath())
	if page != nil && page.open {
		v.page, v.part = page, part
	}
	if err := c.recognise(v); err != nil {
		return err
	}
	switch {
	case v.page != nil: // an open one
		return v.page.serve(c, v)
	case v.grant == nil:
		return c.askIn(v)
	case page == nil && len(allowed) > 0:
		v.w.Header().Set("Allow", strings.Join(allowed, ", "))
		return fault.New(fault.MethodNotAllow, "This page takes %s.", strings.Join(allowed, ", "))
	case page == nil:
		return fault.New(fault.NotThere, "There is no such page.")
	}
	v.page, v.part = page, part
	if page.Permission != "" && !v.may(page.Permission) {
		return fault.New(fault.NotAllowed, "Your role, %s, may not do this; it needs the permission %s.", v.grant.Key.Role, page.Permission)
	}
	if r.Method == http.MethodPost {
		if err := v.readForm(); err != nil {
			return err
		}
	}
	return page.serve(c, v)
}

// recognise finds out who is signed in. Everything but what a page fetches by itself keeps a session alive.
func (c *Console) recognise(v *visit) error {
	value := c.sessions.sent(v.r)
	if value == "" {
		return nil
	}
	var err error
	if v.grant, v.session, err = c.sessions.open(c.o.Keys, value); err != nil {
		return err
	}
	v.renew = v.grant != nil && v.now.Sub(v.session.seen) >= sessionRenew && v.r.Header.Get("X-Requested-With") == ""
	if v.renew {
		v.session.seen = v.now
		return c.setSession(v)
	}
	return nil
}

func (c *Console) setSession(v *visit) error {
	value, err := c.sessions.seal(v.grant, &v.session)
	if err != nil {
		return fault.Wrap(fault.InternalError, err, "The key ring cannot seal a session.")
	}
	http.SetCookie(v.w, c.sessions.cookie(v.r, value))
	return nil
}

// readForm reads what was sent and refuses what is not from a page of this session.
func (v *visit) readForm() error {
	most := v.page.form()
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, most)
	parse := v.r.ParseForm
	if kind, _, err := mime.ParseMediaType(v.r.Header.Get("Content-Type")); err == nil && kind == "multipart/form-data" {
		parse = func() error { return v.r.ParseMultipartForm(most) } // in memory: nothing of a form touches the disk
	}
	if err := parse(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return fault.New(fault.BodyTooLarge, "The form is larger than %s.", figure.Bytes(most))
		}
		return fault.Wrap(fault.InvalidRequest, err, "The form cannot be read.")
	}
	v.form = v.r.PostForm //nolint:forbidigo // the field, not the function
	if v.grant != nil && !v.session.holds(v.r.PostFormValue("token")) {
		return fault.New(fault.NotAllowed, "The form is not of this session: it was opened before you signed in. Open the page again.")
	}
	return nil
}

// unlessUnknown lets pass what says more than that a key is not known.
func unlessUnknown(err error) error {
	if fault.From(err).Code == fault.InvalidAPIKey {
		return nil
	}
	return err
}

// reading has a place among those who read the store, and a deadline.
func (c *Console) reading(v *visit) (ctx context.Context, done func(), err error) {
	return c.readingFor(v, maxRead)
}

// readingFor is reading with another deadline.
func (c *Console) readingFor(v *visit, long time.Duration) (ctx context.Context, done func(), err error) {
	ctx, cancel := context.WithTimeout(v.ctx(), long)
	select {
	case c.queries <- struct{}{}:
		return ctx, func() { cancel(); <-c.queries }, nil
	case <-ctx.Done():
		cancel()
		f := fault.New(fault.Overloaded, "Many pages are being read at once.")
		f.RetryAfter, f.Hint = time.Second, "Open it again in a moment. If that does not help, the store is slow: penstock doctor"
		return nil, nil, f
	}
}

// rootOf is the way from a page to the console's root, as a relative address: what a proxy took off before the path does
// not matter then.
func rootOf(path string) string {
	if n := strings.Count(strings.TrimPrefix(path, "/"), "/"); n > 0 {
		return strings.Repeat("../", n)
	}
	return "./"
}

// redirect sends the browser to another page, given from the root. [http.Redirect] would make the address absolute, which
// is wrong behind a proxy that takes off a prefix.
func (v *visit) redirect(to string) error {
	v.w.Header().Set("Location", v.root+to)
	v.status = http.StatusSeeOther
	v.w.WriteHeader(v.status)
	return nil
}

// askIn sends a stranger to the page for signing in, and remembers where to go then.
func (c *Console) askIn(v *visit) error {
	if v.r.Header.Get("X-Requested-With") != "" {
		return fault.New(fault.InvalidAPIKey, "You are signed out.")
	}
	next := strings.TrimPrefix(v.r.URL.EscapedPath(), "/")
	if v.r.URL.RawQuery != "" {
		next += "?" + v.r.URL.RawQuery
	}
	if next == "" || v.r.Method != http.MethodGet || !local(next) {
		return v.redirect("sign-in")
	}
	return v.redirect("sign-in?next=" + url.QueryEscape(next))
}

// local reports whether an address is one of ours, given from the root.
func local(next string) bool {
	u, err := url.Parse(next)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && !strings.HasPrefix(next, "/") &&
		!strings.ContainsAny(next, "\\\r\n\t") && !strings.Contains(u.Path, "..") && !strings.Contains(u.Path, ":") && len(next) < 2048
}
