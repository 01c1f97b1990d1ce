package console_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/penstocktest"
)

// A browser is what a person has: it keeps cookies, follows nothing by itself, and says where its forms are from.
type browser struct {
	t    *testing.T
	base string
	http *http.Client
}

func newBrowser(t *testing.T, base string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &browser{t, base, &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// An answer is a page as it came.
type answer struct {
	status int
	header http.Header
	text   string
}

func (b *browser) do(method, path string, form url.Values, header ...string) answer {
	b.t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(text)}
}

func (b *browser) get(path string) answer { b.t.Helper(); return b.do(http.MethodGet, path, nil) }

func (b *browser) signIn(key string) answer {
	b.t.Helper()
	return b.do(http.MethodPost, "/sign-in", url.Values{"key": {key}})
}

var tokenField = regexp.MustCompile(`name="token" value="([0-9a-f]+)"`)

// token is what forms of the session carry.
func (b *browser) token() string {
	b.t.Helper()
	found := tokenField.FindStringSubmatch(b.get("/exchanges").text)
	if found == nil {
		b.t.Fatal("no form of the page has a token")
	}
	return found[1]
}

// Control 1: whoever is not signed in reaches the door and nothing else, whatever they ask for, and does not learn which
// pages there are.
func TestControl1EveryPageAsksWhoYouAre(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	for _, p := range append(console.Pages(), console.Page{Method: http.MethodGet, Path: "/exchanges/x/nowhere"}) {
		path := strings.ReplaceAll(p.Path, "{id}", "x")
		got := b.do(p.Method, path, url.Values{"token": {"x"}})
		sent := got.status == http.StatusSeeOther && strings.Contains(got.header.Get("Location"), "sign-in")
		if p.Open() == sent && path != "/view" {
			t.Errorf("%s %s without a session: %d to %q", p.Method, path, got.status, got.header.Get("Location"))
		}
		if !strings.Contains(got.header.Get("Content-Security-Policy"), "default-src 'none'") || got.header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s %s: headers %v", p.Method, path, got.header)
		}
	}
}

// Controls 6 and 7: a session ends with its key, with signing out, and opens nowhere if it was changed.
func TestControl7Sessions(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	if got := b.signIn(e.AdminKey + "x"); got.status != http.StatusUnauthorized || strings.Contains(got.text, e.AdminKey) {
		t.Fatalf("a wrong key: %d %s", got.status, got.text)
	}
	if got := b.signIn(e.AdminKey); got.status != http.StatusSeeOther || strings.Contains(got.header.Get("Location"), e.AdminKey) {
		t.Fatalf("sign in: %d to %q", got.status, got.header.Get("Location"))
	}
	at, err := url.Parse(e.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	cookie := b.http.Jar.Cookies(at)[0]
	if got := b.get("/"); got.status != http.StatusOK {
		t.Fatalf("signed in: %d", got.status)
	}
	changed := []string{cookie.Value[:len(cookie.Value)-2] + "AA", "key_x" + cookie.Value[5:], "admin.", "admin.AAAA", strings.Repeat("a", 5000)}
	for _, value := range changed {
		fresh := newBrowser(t, e.AdminURL)
		if got := fresh.do(http.MethodGet, "/", nil, "Cookie", cookie.Name+"="+value); got.status != http.StatusSeeOther {
			t.Errorf("the session %.40q: %d", value, got.status)
		}
	}
	if got := b.do(http.MethodPost, "/sign-out", url.Values{"token": {b.token()}}); got.status != http.StatusSeeOther {
		t.Fatalf("sign out: %d", got.status)
	}
	again := newBrowser(t, e.AdminURL)
	if got := again.do(http.MethodGet, "/", nil, "Cookie", cookie.Name+"="+cookie.Value); got.status != http.StatusSeeOther {
		t.Errorf("a session that was signed out opens again: %d", got.status)
	}
}

// Control 23: a form of another origin, or without the session's token, changes nothing.
func TestControl23ForeignForms(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	token := b.token()
	for name, c := range map[string]struct {
		token  string
		header []string
	}{
		"no token":      {"", nil},
		"another token": {strings.Repeat("0", 32), nil},
		"another site":  {token, []string{"Sec-Fetch-Site", "cross-site"}},
		"a sibling":     {token, []string{"Sec-Fetch-Site", "same-site"}},
		"by origin":     {token, []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}},
	} {
		if got := b.do(http.MethodPost, "/sign-out", url.Values{"token": {c.token}}, c.header...); got.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, got.status)
		}
	}
	if got := b.get("/"); got.status != http.StatusOK || got.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("after foreign forms: %d", got.status)
	}
}

// Control 60: guesses are held up for the sender who makes them, and for nobody else.
func TestControl60Guesses(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	guesser, other := newBrowser(t, e.AdminURL), newBrowser(t, e.AdminURL)
	last := 0
	for range 12 {
		last = guesser.do(http.MethodPost, "/sign-in", url.Values{"key": {"psk_guess-guess-guess"}}, "X-Forwarded-For", "203.0.113.7").status
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("the twelfth guess: %d", last)
	}
	if got := other.do(http.MethodPost, "/sign-in", url.Values{"key": {e.AdminKey}}, "X-Forwarded-For", "203.0.113.8"); got.status != http.StatusSeeOther {
		t.Errorf("another sender meanwhile: %d", got.status)
	}
}

// Where to go after signing in is a page of the console, or the first one.
func TestNextIsOneOfOurs(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	for next, want := range map[string]string{
		"":                         "./",
		"exchanges?status=error":   "./exchanges?status=error",
		"//evil.example":           "./",
		"https://evil.example":     "./",
		"/\\evil.example":          "./",
		"javascript:alert(1)":      "./",
		"../../x":                  "./",
		"exchanges\r\nSet-Cookie:": "./",
	} {
		b := newBrowser(t, e.AdminURL)
		got := b.do(http.MethodPost, "/sign-in", url.Values{"key": {e.AdminKey}, "next": {next}})
		if got.header.Get("Location") != want {
			t.Errorf("%q goes to %q, want %q", next, got.header.Get("Location"), want)
		}
	}
}

// Behind a proxy that takes a path off, no address of a page leads out of that path.
func TestPathPrefix(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	upstream, err := url.Parse(e.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.StripPrefix("/ops/penstock", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream) }}))
	t.Cleanup(proxy.Close)
	b := newBrowser(t, proxy.URL+"/ops/penstock")
	if got := b.do(http.MethodPost, "/sign-in", url.Values{"key": {e.AdminKey}, "next": {"exchanges"}}, "Sec-Fetch-Site", "same-origin"); got.header.Get("Location") != "./exchanges" {
		t.Fatalf("sign in: %d to %q", got.status, got.header.Get("Location"))
	}
	address := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	for _, path := range []string{"/", "/exchanges", "/exchanges/ex_nothing", "/usage", "/usage?by=key&range=today", "/latency?by=target", "/models", "/prices"} {
		text := b.get(path).text
		found := address.FindAllStringSubmatch(text, -1)
		if len(found) < 5 {
			t.Errorf("%s: only %d addresses", path, len(found))
		}
		for _, a := range found {
			if strings.HasPrefix(a[1], "/") || strings.Contains(a[1], "://") {
				t.Errorf("%s: the address %q does not stay below the path", path, a[1])
			}
		}
		if want := strings.Repeat("../", strings.Count(path, "/")-1); !strings.Contains(text, `href="`+want) {
			t.Errorf("%s: no address begins with %q", path, want)
		}
	}
}

// Control 24: what callers write is text on every page that shows it.
func TestControl24HostileText(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	key := e.Key("hostile")
	const script = `<script>alert(1)</script><img src=x onerror=alert(1)>" onfocus="alert(1)`
	id := ""
	for _, model := range []string{"sim-a/" + script, "sim-a/{{.Token}}", "sim-a/javascript:alert(1)"} {
		body, err := json.Marshal(map[string]any{"model": model, "user": script, "messages": []map[string]string{{"role": "user", "content": script}}})
		if err != nil {
			t.Fatal(err)
		}
		id = e.Post(key, "/v1/chat/completions", string(body)).Header.Get("X-Request-Id")
	}
	b := newBrowser(t, e.AdminURL)
	b.signIn(e.AdminKey)
	for _, path := range []string{"/", "/live", "/exchanges", "/exchanges/" + id, "/exchanges?" + url.Values{"user": {script}, "model": {script}, "tag": {script}}.Encode(),
		"/usage", "/usage?by=user", "/usage?range=24h&by=target", "/latency", "/models", "/prices?find=%3Cscript%3Ealert", "/usage?" + url.Values{"user": {script}, "by": {"label:" + script}, "project": {script}}.Encode()} {
		got := b.get(path)
		if got.status != http.StatusOK {
			t.Errorf("%s: %d", path, got.status)
		}
		for _, bad := range []string{"<script>alert", "<img src=x", `" onfocus="`, `href="javascript:`} {
			if strings.Contains(got.text, bad) {
				t.Errorf("%s holds %s", path, bad)
			}
		}
	}
}
