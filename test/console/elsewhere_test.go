package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// Behind a proxy that takes a path off, the whole console works, and no request leaves the path: the tab sees to that.
func TestPathPrefix(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	upstream, err := url.Parse(w.admin)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.StripPrefix("/ops/penstock", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(upstream)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}))
	t.Cleanup(proxy.Close)
	b := open(t, proxy.URL+"/ops/penstock")
	b.journey(w)
}

// Without scripts the whole console works: what scripts add is live figures, copying and keys.
func TestWithoutScripts(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	b := open(t, w.admin)
	b.run(emulation.SetScriptExecutionDisabled(true))
	b.journey(w)
}

// journey signs in, goes everywhere, filters, turns on the other theme, and signs out.
func (b *tab) journey(w *world) {
	b.t.Helper()
	b.open("exchanges")
	b.submitKey(w.keys["auditor"])
	if b.at() != "exchanges" {
		b.t.Fatalf("signing in leads to %q", b.at())
	}
	b.walk(nil, func(s sight) {
		if b.at() != s.path {
			b.t.Errorf("%s leads to %s", s.path, b.at())
		}
	})
	b.open("exchanges")
	b.arrive("filter", chromedp.SetValue(`select[name="status"]`, "error"), chromedp.Click("form.filters button"))
	// The page that comes may be complete and still empty for a moment, while the browser moves it to another process.
	b.until("the filter shows failures", patience, `document.querySelectorAll("a.row").length > 0 && location.search.includes("status=error")`)
	b.arrive("a row", chromedp.Click("a.row"))
	b.arrive("dark", chromedp.Click(`button[value="dark"]`))
	var theme string
	if b.eval(`document.documentElement.dataset.theme`, &theme); theme != "dark" || !strings.HasPrefix(b.at(), "exchanges/ex_") {
		b.t.Errorf("the theme is %q at %q", theme, b.at())
	}
	b.arrive("sign out", chromedp.Click(`form[action$="sign-out"] button`))
	if b.at() != "sign-in" {
		b.t.Errorf("signing out leads to %q", b.at())
	}
}
