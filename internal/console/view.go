package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the zones that viewers live in, wherever this runs

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

//go:embed pages
var pageFiles embed.FS

// views are the templates of all pages, each with the frame around it.
type views map[string]*template.Template

func loadViews(assets map[string]asset) (views, error) {
	frame := template.New("frame").Funcs(template.FuncMap{
		"money": figure.Money, "count": figure.Count, "tokens": figure.Tokens, "percent": figure.Percent, "span": span,
		"days":        figure.Span,
		"perThousand": perThousand, "alarming": func(s usage.Sum) bool { return s.Errors*100 >= s.Requests*alarm && s.Errors > 0 },
		"assetVersion": func(name string) string { return assets[name].version },
	})
	if _, err := frame.ParseFS(pageFiles, "pages/frame.html", "pages/parts.html"); err != nil {
		return nil, err
	}
	list, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		return nil, err
	}
	all := views{}
	for _, file := range list {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "frame" || name == "parts" {
			continue
		}
		page, err := frame.Clone()
		if err == nil {
			_, err = page.ParseFS(pageFiles, file)
		}
		if err != nil {
			return nil, err
		}
		all[name] = page
	}
	return all, nil
}

// span writes nanoseconds; none is a dash.
func span(ns int64) string {
	if ns <= 0 {
		return figure.None
	}
	return figure.Duration(time.Duration(ns))
}

// perThousand is what a thousand requests cost.
func perThousand(s usage.Sum) string {
	if s.Requests == 0 || s.Unpriced > 0 || s.Unknown > 0 {
		return figure.None // a mean of what is known only would be too low
	}
	n := llm.Money(s.Requests)
	return figure.Money(s.CostNano/n*1000 + s.CostNano%n*1000/n)
}

// rate writes how many of something there are in a second.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond >= 1000:
		return figure.Tokens(int64(perSecond + .5))
	case perSecond >= 100:
		return strconv.FormatFloat(perSecond, 'f', 0, 64)
	case perSecond >= 10:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return strconv.FormatFloat(perSecond, 'f', 2, 64)
}

// A frame is what every page is shown in. Templates reach it as $.
type frame struct {
	Title   string
	View    string // the template
	Root    string
	Back    string // this page, from the root, with its query
	Theme   string
	Zone    *time.Location
	Now     time.Time
	ID      string // of the request
	Version string
	Who     *auth.Key // nil if nobody is signed in
	Token   string
	Command string // that gives the same on the command line, "" if none does
	Nav     []navItem
	Stops   []string // what operators have stopped
	Data    any
}

// A navItem is one of the pages that the header names.
type navItem struct {
	Name, Path, Key string // Key is pressed after g
	Here            bool
	About           string // what it is for, "" if that goes without saying
}

var navigation = []struct {
	name, path, key string
	needs           auth.Permission
	views           []string
	about           string
}{
	{"Now", "", "n", auth.ReadUsage, []string{"now"}, "Are we well? What is asked, what fails, what it costs, and how the process is."},
	{"Exchanges", "exchanges", "e", auth.ReadExchanges, []string{"exchanges", "exchange", "bodies"}, "What just happened, and why did it go so? Each call with every decision and its cost."},
	{"Usage", "usage", "u", auth.ReadUsage, []string{"usage"}, "Who spends what, and is it changing? Money, tokens and requests by anything, over time."},
	{"Latency", "latency", "l", auth.ReadUsage, []string{"latency"}, "How long do callers wait, for whom, and since when?"},
	{"Models", "models", "m", auth.ReadRoutes, []string{"models", "target", "prices"}, "Which targets answer for a name, how are they, and what do they cost?"},
	{"Budgets", "budgets", "b", auth.ReadBudgets, []string{"budgets", "budget", "tiers", "tier"}, "What may who use, how much is left, and for how long? Budgets, limits and tiers."},
	{"Ledger", "ledger", "d", auth.ReadBudgets, []string{"ledger", "ledger-entry", "accounts", "unknown", "settle", "adjust", "close", "check", "reconcile"}, "What was booked, what did a month come to, and does it all fit? The books, and what providers billed."},
	{"Projects", "projects", "o", auth.ReadTenants, []string{"projects", "project", "key", "key-made", "revoke"}, "Who uses this? Projects, what is kept of their calls, and their keys."},
	{"Audit", "audit", "a", auth.ReadAudit, []string{"audit", "entry"}, "Who changed what, and is the record of it whole?"},
	{"Help", "help", "", "", []string{"help"}, ""},
}

func (c *Console) frame(v *visit, view, title string, data any) *frame {
	status := c.o.Status()
	f := &frame{
		Title: title, View: view, Root: v.root, Back: strings.TrimPrefix(v.r.URL.RequestURI(), "/"), Theme: v.theme, Zone: v.zone,
		Now: v.now, ID: v.id, Version: status.Version, Data: data,
	}
	if v.r.Method != http.MethodGet {
		f.Back = ""
	}
	if v.grant == nil {
		return f
	}
	f.Who, f.Token = v.grant.Key, v.session.Token()
	f.Stops = status.Stops
	for _, n := range navigation {
		if n.needs != "" && !v.may(n.needs) {
			continue // a page that one may not see is absent
		}
		item := navItem{Name: n.name, Path: n.path, Key: n.key, About: n.about}
		for _, of := range n.views {
			item.Here = item.Here || of == view
		}
		f.Nav = append(f.Nav, item)
	}
	return f
}

// ZoneName is what the viewer's zone is called.
func (f *frame) ZoneName() string { return f.Zone.String() }

// Link makes the address of a page, given from the root, with the query's pairs of names and values; those without a value
// are left out.
func (f *frame) Link(page string, pairs ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if len(q) == 0 {
		return f.Root + page
	}
	return f.Root + page + "?" + q.Encode()
}

// LinkID is the address of the page of one thing.
func (f *frame) LinkID(page, id string) string { return f.Root + page + "/" + url.PathEscape(id) }

// A keyMark is a key's state as a page shows it.
type keyMark struct {
	Class, Word string
	Until       moment
}

// KeyState writes the state of a key.
func (f *frame) KeyState(s keyState) keyMark { return keyMark{s.Class, s.Word, f.When(s.Until)} }

// An objectOf is what an entry of the audit chain is about, in a page.
type objectOf struct {
	Frame *frame
	Row   entryRow
}

// Of lets a template show what an entry is about.
func (f *frame) Of(row any) objectOf {
	switch r := row.(type) {
	case entryRow:
		return objectOf{f, r}
	case entryView:
		return objectOf{f, r.entryRow}
	}
	return objectOf{Frame: f}
}

// A moment is an instant as a page shows it.
type moment struct{ Machine, Text, Ago string }

// When writes an instant in the viewer's zone: the time of today, else the day with it.
func (f *frame) When(t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	local, today := t.In(f.Zone), f.Now.In(f.Zone)
	text := local.Format("Jan 2 15:04:05")
	if local.Year() != today.Year() {
		text = local.Format("Jan 2, 2006 15:04:05")
	} else if local.YearDay() == today.YearDay() {
		text = local.Format("15:04:05")
	}
	return moment{t.UTC().Format(time.RFC3339Nano), text, ago(f.Now.Sub(t))}
}

// Until is When for what ends at a whole minute, as windows do.
func (f *frame) Until(t time.Time) moment {
	m := f.When(t)
	m.Text = strings.TrimSuffix(m.Text, ":00")
	return m
}

// Exact is When with milliseconds and the day, always.
func (f *frame) Exact(t time.Time) moment {
	m := f.When(t)
	m.Text = t.In(f.Zone).Format("Mon Jan 2, 2006 15:04:05.000 MST")
	return m
}

// ago says in words how long something is past, or ahead.
func ago(d time.Duration) string {
	if d < 0 {
		return "in " + roughly(-d)
	}
	if d < time.Second {
		return "just now"
	}
	return roughly(d) + " ago"
}

func roughly(d time.Duration) string {
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}, {"second", time.Second}} {
		switch n := int64(d / u.size); {
		case n == 1:
			return "1 " + u.name
		case n > 1:
			return fmt.Sprintf("%s %ss", figure.Count(n), u.name)
		}
	}
	return "a moment"
}

// render writes a page. It is made whole before the first byte is sent.
func (c *Console) render(v *visit, status int, view, title string, data any) error {
	return c.send(v, status, "frame.html", c.frame(v, view, title, data))
}

func (c *Console) send(v *visit, status int, part string, f *frame) error {
	var page bytes.Buffer
	if err := c.views[f.View].ExecuteTemplate(&page, part, f); err != nil {
		return fmt.Errorf("page %s: %w", f.View, err)
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.status = status
	v.w.WriteHeader(status)
	if v.r.Method != http.MethodHead {
		_, _ = v.w.Write(page.Bytes()) // a browser that left has nobody to tell
	}
	return nil
}

// An errorView is a page that could not be made.
type errorView struct{ Message, Hint, Code string }

// refuse shows an error in the frame. Those of our own and of the store go to the log as well, with their cause.
func (c *Console) refuse(v *visit, err error) {
	f := fault.From(err)
	if f.Kind == fault.Internal || f.Code == fault.StoreFailed {
		c.o.Log.Error("page failed", "request", v.id, "path", v.r.URL.Path, "error", err)
	}
	setRetry(v, f)
	if v.zone == nil {
		v.zone = time.UTC
	}
	title := "This did not work"
	if f.Kind == fault.NotFound {
		title = "Not here"
	}
	data := errorView{f.Message, f.Advice(), string(f.Code)}
	if err := c.render(v, f.HTTPStatus(), "error", title, data); err != nil {
		c.o.Log.Error("page failed", "request", v.id, "error", err)
		v.status = http.StatusInternalServerError
		http.Error(v.w, f.Text(), v.status)
	}
}

func setRetry(v *visit, f *fault.Error) {
	if f.RetryAfter > 0 {
		v.w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
}
