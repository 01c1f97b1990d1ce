package console_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tabTime bounds what one test does in its tab, on a machine that is busy with other tests.
const tabTime = 4 * time.Minute

// A tab is a browser with nothing in it yet: no cookies, no storage. It notes whatever a person with open developer tools
// would frown at: errors of scripts, files that were not there, requests to elsewhere, and what the content security
// policy had to forbid. That fails the test when the tab is closed.
type tab struct {
	t    *testing.T
	ctx  context.Context
	root string // of the console, with a slash at the end

	mu       sync.Mutex
	problems []string
	loads    int  // requests since the last page was opened
	anywhere bool // it may leave the console
}

// open gives a tab on the console at root.
func open(t *testing.T, root string) *tab {
	t.Helper()
	return openIn(browser, t, root, chromedp.WithNewBrowserContext())
}

// beside gives another tab of the same browser: cookies and storage are the same.
func (b *tab) beside() *tab {
	b.t.Helper()
	return openIn(b.ctx, b.t, b.root)
}

func openIn(where context.Context, t *testing.T, root string, options ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, end := chromedp.NewContext(where, options...)
	ctx, late := context.WithTimeout(ctx, tabTime)
	b := &tab{t: t, ctx: ctx, root: strings.TrimSuffix(root, "/") + "/"}
	t.Cleanup(func() {
		late()
		end()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Error(p)
		}
	})
	chromedp.ListenTarget(ctx, b.listen)
	b.run(chromedp.EmulateViewport(1280, 900))
	return b
}

// listen notes what is wrong.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	frown := func(format string, args ...any) { b.problems = append(b.problems, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		frown("a script failed: %s", e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		frown("a script wrote to the browser's console: %s", e.Type)
	case *log.EventEntryAdded:
		if e.Entry.Source != log.SourceNetwork { // which knows no more than EventResponseReceived
			frown("the browser says: %s", e.Entry.Text)
		}
	case *network.EventRequestWillBeSent:
		if strings.HasPrefix(e.Request.URL, "data:") { // a mark of the browser's own, as in a field for a day: the policy forbids pages any
			return
		}
		b.loads++
		if !b.anywhere && !strings.HasPrefix(e.Request.URL, b.root) && !strings.HasPrefix(e.Request.URL, "blob:") {
			frown("%s was asked for, which is not below %s", e.Request.URL, b.root)
		}
	case *network.EventResponseReceived:
		switch e.Type {
		case network.ResourceTypeDocument, network.ResourceTypeXHR, network.ResourceTypeFetch: // whose status tests look at
		default:
			if e.Response.Status < 400 {
				return
			}
			frown("%s: %d", e.Response.URL, e.Response.Status)
		}
	}
}

// excuse takes back the frowns that hold a text. There must be one: what is expected has to happen.
func (b *tab) excuse(text string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var rest []string
	for _, p := range b.problems {
		if !strings.Contains(p, text) {
			rest = append(rest, p)
		}
	}
	if len(rest) == len(b.problems) {
		b.t.Errorf("the browser did not complain about %q", text)
	}
	b.problems = rest
}

// forget takes all frowns back, of a tab in which others did as they like.
func (b *tab) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = nil
}

// text is what a person reads there.
func (b *tab) text(selector string) (text string) {
	b.t.Helper()
	b.eval(fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector), &text)
	return text
}

func (b *tab) run(actions ...chromedp.Action) {
	b.t.Helper()
	if err := again(func() error { return chromedp.Run(b.ctx, actions...) }); err != nil {
		b.t.Fatal(err)
	}
}

// again does once more what was asked of a page that the browser replaced meanwhile by itself: a page that was just opened may
// be moved to another process, and whoever had asked the old one gets this error and no answer.
func again(do func() error) error {
	end := time.Now().Add(patience)
	err := do()
	for replaced(err) && time.Now().Before(end) {
		<-time.After(50 * time.Millisecond)
		err = do()
	}
	return err
}

// replaced tells the error of whoever asked a page that is there no more.
func replaced(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Inspected target navigated or closed")
}

// open goes to a page, given from the root, and gives its HTTP status.
func (b *tab) open(page string) int {
	b.t.Helper()
	return b.arrive(page, chromedp.Navigate(b.root+page))
}

// The page that is left is told from the one that comes by a mark, even if they have one address.
const (
	mark = "window.left = true"
	come = `!window.left && document.readyState === "complete"`
)

// arrive does what leads to a page, waits until that is loaded and gives its HTTP status.
func (b *tab) arrive(what string, actions ...chromedp.Action) (status int) {
	b.t.Helper()
	b.mu.Lock()
	b.loads = 0
	b.mu.Unlock()
	var done bool
	b.eval(mark, &done)
	// The page may go so fast that the browser does not answer whoever clicked. Whether the click was felt is seen by the page.
	_, err := chromedp.RunResponse(b.ctx, actions...)
	for range 3 {
		if err == nil || !strings.Contains(err.Error(), "Could not find node") {
			break
		}
		_, err = chromedp.RunResponse(b.ctx, actions...) // what was to be clicked had just been drawn anew: the click was not felt
	}
	if err != nil && !replaced(err) {
		b.t.Fatalf("%s: %v", what, err)
	}
	b.until(what, patience, come)
	b.eval(`performance.getEntriesByType("navigation")[0].responseStatus`, &status)
	return status
}

// eval runs a script that a test brings and reads what it gives; a promise is waited for.
func (b *tab) eval(script string, out any) {
	b.t.Helper()
	wait := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
	if err := again(func() error { return chromedp.Run(b.ctx, chromedp.Evaluate(script, out, wait)) }); err != nil {
		b.t.Fatalf("%.200s: %v", script, err)
	}
}

// at is where the tab is, from the root.
func (b *tab) at() (page string) {
	b.t.Helper()
	b.eval("location.href", &page)
	return strings.TrimPrefix(page, b.root)
}

// signIn signs in the way that a person does.
func (b *tab) signIn(key string) int {
	b.t.Helper()
	b.open("sign-in")
	return b.submitKey(key)
}

// looks sets light or dark and the width of the window in CSS pixels.
func (b *tab) looks(theme string, width int64) {
	b.t.Helper()
	b.run(chromedp.EmulateViewport(width, 900), emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: theme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}))
}

// What axe-core is asked.
const (
	// allRules are the levels A and AA of WCAG 2.2, and what the makers of axe hold for good practice.
	allRules = `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`
	// colourRules depend on the theme, and narrowRules on the width; the rest on neither.
	colourRules = `{type: "rule", values: ["color-contrast", "link-in-text-block"]}`
	narrowRules = `{type: "rule", values: ["target-size", "scrollable-region-focusable"]}`
)

// accessible judges the page in all its looks.
func (b *tab) accessible(what string) {
	b.t.Helper()
	b.looks("light", 320)
	b.axe(what+", 320 px", narrowRules)
	b.looks("dark", 1280)
	b.axe(what+", dark", colourRules)
	b.looks("light", 1280)
	b.axe(what, allRules)
}

// axe reports what axe-core finds on the page as it stands.
func (b *tab) axe(what, rules string) {
	b.t.Helper()
	for _, f := range b.findings(rules) {
		b.t.Errorf("%s: %s", what, f)
	}
	// 320 px without scrolling sideways is WCAG 1.4.10; wide tables scroll inside of themselves.
	var over []string
	b.eval(`(() => {
		const width = document.documentElement.clientWidth;
		if (document.documentElement.scrollWidth <= width) return [];
		return [...document.body.querySelectorAll("*")].filter(e => e.getBoundingClientRect().right > width && !e.parentElement.closest(".wide"))
			.map(e => e.outerHTML.slice(0, 120));
	})()`, &over)
	if len(over) > 0 {
		b.t.Errorf("%s: wider than the window: %q", what, over)
	}
}

// findings are what axe-core has against the page.
func (b *tab) findings(rules string) (all []string) {
	b.t.Helper()
	var there bool
	if b.eval("typeof axe === 'object'", &there); !there {
		b.eval(axe+"; true", &there)
	}
	var found []struct {
		ID, Impact, Help string
		Nodes            []struct{ HTML, FailureSummary string }
	}
	b.eval(`axe.run(document, {runOnly: `+rules+`, resultTypes: ["violations"]}).then(r => r.violations)`, &found)
	for _, v := range found {
		for _, n := range v.Nodes {
			all = append(all, fmt.Sprintf("%s (%s): %s\n%.300s\n%s", v.ID, v.Impact, v.Help, n.HTML, n.FailureSummary))
		}
	}
	return all
}
