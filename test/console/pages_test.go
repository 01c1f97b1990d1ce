package console_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/console"
)

// A sight is one address of the console.
type sight struct {
	page *console.Page
	path string // from the root, with the query
}

// pageOf is the page of the inventory that an address belongs to, nil if it is none.
func pageOf(method, path string) *console.Page {
	path, _, _ = strings.Cut("/"+path, "?")
	pages := console.Pages()
	for i := range pages {
		p := &pages[i]
		pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(p.Path), `\{id\}`, "[^/]+") + "$"
		if p.Method == method && regexp.MustCompile(pattern).MatchString(path) {
			return p
		}
	}
	return nil
}

// An address is where a link or a form of a page leads, from the root.
type address struct{ Method, Path string }

// addresses are all that a page leads to by itself.
func (b *tab) addresses() []address {
	b.t.Helper()
	var found []address
	b.eval(`[
		...[...document.querySelectorAll("a[href]")].map(a => ({method: "GET", path: a.href})),
		...[...document.querySelectorAll("form[action]")].map(f => ({method: (f.getAttribute("method") ?? "get").toUpperCase(), path: new URL(f.getAttribute("action"), document.baseURI).href})),
		...[...document.querySelectorAll("[data-live]")].map(e => ({method: "GET", path: new URL(e.dataset.live, document.baseURI).href})),
		...[...document.querySelectorAll("link[href], script[src]")].map(e => ({method: "GET", path: e.href || e.src})),
	].map(a => ({method: a.method, path: a.path.replace(/#.*/, "")}))`, &found)
	var inside []address
	for _, a := range found {
		path, ok := strings.CutPrefix(a.Path, b.root)
		if !ok {
			if !strings.HasPrefix(a.Path, "https://github.com/penstock/penstock") {
				b.t.Errorf("%s leads out of the console, to %s", b.at(), a.Path)
			}
			continue
		}
		inside = append(inside, address{a.Method, path})
	}
	return inside
}

// perPage is how many addresses of one page are looked at: an exchange that failed is another sight than one that went well.
const perPage = 2

// walk opens every page that a chain of links leads to from the first one, in the order in which they are found, and some
// more that are given; at sees each. It gives all that the pages lead to.
func (b *tab) walk(more []string, at func(sight)) (led []address) {
	b.t.Helper()
	seen, times := map[string]bool{}, map[string]int{}
	for todo := append([]string{""}, more...); len(todo) > 0; todo = todo[1:] {
		path := todo[0]
		page := pageOf(http.MethodGet, path)
		if seen[path] || page == nil || strings.HasPrefix(path, "assets/") || path == "live" || strings.HasSuffix(path, "/live") || strings.HasSuffix(page.Path, ".csv") {
			continue
		}
		if seen[path] = true; times[page.Path] >= perPage && !slices.Contains(more, path) {
			continue
		}
		times[page.Path]++
		if status := b.open(path); status != http.StatusOK {
			b.t.Errorf("%s: %d", path, status)
		}
		at(sight{page, path})
		for _, a := range b.addresses() {
			led = append(led, a)
			if a.Method == http.MethodGet {
				todo = append(todo, a.Path)
			}
		}
	}
	return led
}

// moreSights are pages in states that links do not lead to.
func (w *world) moreSights() []string {
	all := []string{"targets?name=sim%2Fchat-large", "targets?name=sim%2Fspare", "targets?name=sim%2Fspare&said=disabled", "exchanges?project=nowhere&status=418", "ledger?kind=posted&range=24h", "ledger?kind=pending", "ledger?budget=bgt_gone", "exchanges?range=all&trace=" + strings.Repeat("0123", 8)}
	for _, what := range []string{"answered", "failing", "limited", "mended", "cut", "unpriced", "unknown model"} {
		if id := w.exchanges[what]; id != "" {
			all = append(all, "exchanges/"+id)
		}
	}
	return all
}

// Every page that there is, with something on it and before the first exchange: linked from another, accessible in light and
// dark and at 320 px, and within what a page may cost.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"full", "first run"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := furnished(t)
			if name != "full" {
				w = newWorld(t)
			}
			b := open(t, w.admin)
			b.signIn(w.adminKey)
			led := b.walk(w.moreSights(), func(s sight) {
				b.within(s.path)
				b.accessible(name + ", " + s.path)
			})
			if name != "full" {
				return
			}
			for _, p := range console.Pages() {
				if p.Path == "/sign-in" { // where strangers are sent
					continue
				}
				if !slices.ContainsFunc(led, func(a address) bool {
					q := pageOf(a.Method, a.Path)
					return q != nil && q.Path == p.Path && q.Method == p.Method
				}) {
					t.Errorf("no page leads to %s %s", p.Method, p.Path)
				}
			}
		})
	}
}

// within holds a page against what it may cost: requests, elements and headings.
func (b *tab) within(what string) {
	b.t.Helper()
	b.mu.Lock()
	loads := b.loads
	b.mu.Unlock()
	if loads > 4 {
		b.t.Errorf("%s: %d requests, more than 4", what, loads)
	}
	var counts struct{ Elements, Headings, Mains int }
	b.eval(`({
		elements: document.getElementsByTagName("*").length,
		headings: document.querySelectorAll("h1").length,
		mains: document.querySelectorAll("main").length,
	})`, &counts)
	if counts.Elements > 3000 || counts.Headings != 1 || counts.Mains != 1 {
		b.t.Errorf("%s: %d elements, %d h1 and %d main; wanted at most 3,000, 1 and 1", what, counts.Elements, counts.Headings, counts.Mains)
	}
}

// The page for signing in, errors and refusals are pages as well.
func TestPagesOutside(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	b := open(t, w.admin)
	everywhere := func(what string, want, status int) {
		t.Helper()
		if status != want {
			t.Errorf("%s: %d, want %d", what, status, want)
		}
		b.accessible(what)
	}
	everywhere("sign in", 200, b.open("sign-in"))
	everywhere("a wrong key", 401, b.signIn("psk_wrong"))
	everywhere("a caller's key", 403, b.signIn(w.keys["checkout"]))
	b.signIn(w.keys["viewer"])
	everywhere("not there", 404, b.open("exchanges/ex_nothing"))
	everywhere("not a page", 404, b.open("exchanges/nothing/ours"))
	everywhere("not a trace", 400, b.open("exchanges?trace=x"))
	for _, p := range console.Pages() {
		if p.Method == http.MethodGet && p.Permission != "" && !auth.RoleViewer.Can(p.Permission) {
			everywhere(p.Path, 403, b.open(strings.TrimPrefix(strings.ReplaceAll(p.Path, "{id}", "x"), "/")))
		}
	}
}

// The instrument is tested as well: what is wrong with a page is found.
func TestWhatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	b := open(t, furnished(t).admin)
	b.open("sign-in")
	if found := b.findings(allRules); len(found) > 0 {
		t.Fatalf("before: %q", found)
	}
	var done bool
	b.eval(`(() => {
		const add = (tag, text, className) => {
			const e = document.createElement(tag);
			e.textContent = text;
			e.className = className;
			document.querySelector("main").append(e);
			return e;
		};
		add("button", "", "");                       // without a name
		add("p", "grey on white", "grey");
		const sheet = new CSSStyleSheet();
		sheet.replaceSync(".grey { color: #999; }");
		document.adoptedStyleSheets = [sheet];
		return true;
	})()`, &done)
	found := strings.Join(b.findings(allRules), "\n")
	for _, rule := range []string{"button-name", "color-contrast"} {
		if !strings.Contains(found, rule) {
			t.Errorf("%s is not found in %s", rule, found)
		}
	}
	b.eval("console.error('x'); fetch('https://elsewhere.invalid/').catch(() => true)", &done)
	b.eval("(() => { try { document.body.innerHTML = 'x'; } catch { return true; } })()", &done)
	b.excuse("wrote to the browser's console")
	b.excuse("elsewhere.invalid")
	b.excuse("TrustedHTML")
}
