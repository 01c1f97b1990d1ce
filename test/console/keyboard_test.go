package console_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// press sends keys to whatever has the focus.
func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.run(stroke(k))
	}
}

// stroke presses one key, or types a text into a field.
func stroke(k string) chromedp.Action {
	if utf8.RuneCountInString(k) > 1 || k < " " || k > "~" {
		return chromedp.KeyEvent(k)
	}
	// chromedp would send the letter apart from its key, and it would land in a field that the key itself has led to.
	return chromedp.Tasks{input.DispatchKeyEvent(input.KeyDown).WithKey(k).WithText(k), input.DispatchKeyEvent(input.KeyUp).WithKey(k)}
}

// focused is what has the focus, as a person would call it.
func (b *tab) focused() (name string) {
	b.t.Helper()
	b.eval(`(e => e === document.body ? "" : e.id || e.textContent.trim() || e.name || e.tagName)(document.activeElement)`, &name)
	return name
}

// With a keyboard alone: sign in, skip to the page, find a failed exchange, read why, and get help.
func TestKeyboard(t *testing.T) {
	t.Parallel()
	w := furnished(t)
	b := open(t, w.admin)
	b.run(emulation.SetFocusEmulationEnabled(true))
	b.open("sign-in")
	b.until("the field has the focus", patience, `document.activeElement.id === "key"`) // a browser gives it after the page is complete
	b.press(w.keys["viewer"])
	b.arrive("signing in", chromedp.KeyEvent(kb.Enter))

	b.press(kb.Tab)
	var skip struct{ Text, Top string }
	b.eval(`(e => ({text: e.textContent, top: String(e.getBoundingClientRect().top >= 0)}))(document.activeElement)`, &skip)
	if skip.Text != "Skip to the page" || skip.Top != "true" {
		t.Errorf("the first that has the focus: %+v", skip)
	}
	b.press(kb.Enter)
	if got := b.focused(); got != "main" {
		t.Errorf("skipping leads to %q", got)
	}

	b.press("?")
	var open bool
	if b.eval(`document.querySelector("#keys").open && document.querySelector("#keys").contains(document.activeElement)`, &open); !open {
		t.Error("? does not show the keys, or leaves the focus behind")
	}
	b.press(kb.Escape)
	if b.eval(`document.querySelector("#keys").open`, &open); open {
		t.Error("Escape does not close the list of keys")
	}

	b.press("g")
	b.arrive("g e", stroke("e"))
	if b.at() != "exchanges" {
		t.Fatalf("g e leads to %q", b.at())
	}
	b.press("/")
	if b.press("g", "e", "?"); !strings.HasSuffix(b.at(), "exchanges") {
		t.Errorf("keys of one letter act in a field: %q", b.at())
	}
	var typed string
	if b.eval(`document.activeElement.value`, &typed); typed != "ge?" {
		t.Errorf("the field holds %q", typed)
	}

	b.open("exchanges?status=error")
	b.press("j", "j", "k", "j")
	var rows struct{ At, All int }
	b.eval(`({at: [...document.querySelectorAll("a.row")].indexOf(document.activeElement), all: document.querySelectorAll("a.row").length})`, &rows)
	if rows.At != 1 || rows.All < 2 {
		t.Fatalf("j j k j is on row %d of %d, counted from 0", rows.At, rows.All)
	}
	b.arrive("Enter", chromedp.KeyEvent(kb.Enter))
	if !strings.HasPrefix(b.at(), "exchanges/ex_") {
		t.Errorf("Enter on a row leads to %q", b.at())
	}

	// The keys can be switched off, with the keyboard, and stay off.
	b.press("?")
	var done bool
	b.eval(`document.querySelector("#keys-switch").focus(); true`, &done)
	b.press(" ", kb.Escape)
	b.open("exchanges")
	if b.press("?"); b.focused() != "" {
		t.Errorf("keys that were switched off act: the focus is on %q", b.focused())
	}
}

// Everything on every page that can be pressed or filled in is reached with Tab, in view, not under the header, and is seen
// to have the focus.
func TestEverythingIsReached(t *testing.T) {
	t.Parallel()
	b := open(t, furnished(t).admin)
	b.run(emulation.SetFocusEmulationEnabled(true))
	b.signIn(b.t.Name()) // a wrong key: the page as it is then
	b.reachAll("sign in")
	b.signIn(furnished(t).adminKey)
	seen := map[string]bool{}
	b.walk(nil, func(s sight) {
		if !seen[s.page.Path] {
			seen[s.page.Path] = true
			b.reachAll(s.path)
		}
	})
}

// reachAll presses Tab until all has had the focus, and says what has not.
func (b *tab) reachAll(what string) {
	b.t.Helper()
	var wanted int
	b.eval(`(() => {
		window.reached = new Set();
		window.wanted = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']")]
			.filter(e => e.checkVisibility({visibilityProperty: true}) && !e.disabled);
		window.complaints = [];
		document.activeElement.blur();
		getSelection().removeAllRanges();
		// What has the focus is looked at when Tab is pressed again: it has been scrolled to by then.
		document.addEventListener("keydown", () => {
			const e = document.activeElement;
			if (e === document.body || window.reached.has(e)) return;
			window.reached.add(e);
			const complain = (text) => window.complaints.push(e.outerHTML.slice(0, 120) + ": " + text);
			const style = getComputedStyle(e), box = e.getBoundingClientRect();
			if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 2) complain("the focus is not seen");
			const x = Math.min(Math.max(box.left + 3, 0), innerWidth - 1), y = box.top + Math.min(box.height / 2, 8);
			const top = document.elementFromPoint(x, y);
			if (!top || !(e.contains(top) || top.contains(e))) complain("it is out of view or under something, at " + x + ", " + y);
		}, true);
		return window.wanted.length;
	})()`, &wanted)
	var left []string
	for range 2*wanted + 10 {
		b.press(kb.Tab)
	}
	b.eval(`[...window.wanted.filter(e => !window.reached.has(e)).map(e => e.outerHTML.slice(0, 120) + ": Tab does not get there"), ...window.complaints]`, &left)
	for _, l := range left {
		b.t.Errorf("%s: %s", what, l)
	}
	if wanted < 3 {
		b.t.Errorf("%s: only %d to be reached", what, wanted)
	}
}
