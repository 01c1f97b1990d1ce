package console

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/limit"
	civil "github.com/penstock/penstock/internal/window"
)

var ledgerRanges = []string{"all", "today", "24h", "7d", "30d", "month", "last-month", customRange}

// A ledgerView answers: what was booked, whose money is it, and who gets it?
type ledgerView struct {
	Period                                      period
	Ranges, Projects, Kinds, Providers, Budgets []choice
	Day                                         string
	Chosen                                      []chosenName // what there is no field for
	Rows                                        []ledgerRow
	Newest, Older                               string // addresses of other pages of the list
	Back                                        time.Time
	Filtered, Behind                            bool
}

// A ledgerRow is an entry as lists show it.
type ledgerRow struct {
	ledger.Entry
	From, To party
	Sum      string // the amount, exact, in words
	Exchange string // id, "" if the entry is of none
	Budgets  string // what it counts for, in words
}

// A party is whose account it is.
type party struct{ Name, Project, Account string }

// Kind is what the entry is, in a word.
func (r *ledgerRow) KindName() string { return r.Entry.Kind.String() }

// ledgerTabs are the pages of the books.
var ledgerTabs = []struct {
	name, path string
	views      []string
	needs      auth.Permission
}{
	{"Entries", "ledger", []string{"ledger", "ledger-entry"}, auth.ReadBudgets},
	{"Accounts", "ledger/accounts", []string{"accounts", "adjust"}, auth.ReadBudgets},
	{"Unknown", "ledger/unknown", []string{"unknown", "settle"}, auth.ReadBudgets},
	{"Month", "ledger/close", []string{"close"}, auth.ReadBudgets},
	{"Check", "ledger/check", []string{"check"}, auth.ReadBudgets},
	{"Reconcile", "reconcile", []string{"reconcile"}, auth.WriteBudgets},
}

// LedgerTabs are the pages of the books that whoever is signed in may see.
func (f *frame) LedgerTabs() (all []navItem) {
	for _, t := range ledgerTabs {
		if f.Who != nil && f.Who.Role.Can(t.needs) {
			all = append(all, navItem{Name: t.name, Path: t.path, Here: slices.Contains(t.views, f.View)})
		}
	}
	return all
}

// partyOf says whose account it is by its name.
func (c *Console) partyOf(account string) party {
	if owned, ok := strings.CutPrefix(account, "spend:"); ok {
		id := owned[strings.LastIndexByte(owned, '/')+1:]
		return party{c.o.Keys.Name(id), id, account}
	}
	return party{Name: strings.TrimPrefix(account, "owed:"), Account: account}
}

// exchangeOf is the exchange of a try, whose id is that with a number behind it.
func exchangeOf(try string) string {
	if i := strings.LastIndexByte(try, '-'); i > 0 && strings.HasPrefix(try, "ex_") {
		return try[:i]
	}
	return ""
}

// withoutTag is in the names of what calls without a tag may use of a budget that keeps a share for it.
const withoutTag = "/without:"

// A budgetName is a budget, or one of a tier, in words.
type budgetName struct {
	Words, Page string
	unit        limit.Unit
	calendar    civil.Calendar
}

// budgetNames are all budgets that there are, those of tiers as well, by id.
func budgetNames(d *limit.Definitions, dir *auth.Directory) map[string]budgetName {
	all := map[string]budgetName{}
	for i := range d.Budgets {
		b := &d.Budgets[i]
		all[b.ID] = budgetName{termsWords(&b.Terms) + " for " + scopeWords(dir, b.Scope), "budgets", b.Unit, b.Calendar()}
	}
	for i := range d.Tiers {
		for j := range d.Tiers[i].Budgets {
			t := limit.Budget{Terms: d.Tiers[i].Budgets[j]}
			all[limit.TierBudget(d.Tiers[i].Name, &t.Terms)] = budgetName{termsWords(&t.Terms) + " of tier " + d.Tiers[i].Name, "tiers", t.Unit, t.Calendar()}
		}
	}
	return all
}

func (c *Console) ledgerRowOf(e ledger.Entry, pools map[int64]ledger.PoolName, budgets map[string]budgetName) ledgerRow {
	r := ledgerRow{Entry: e, From: c.partyOf(e.Debit), To: c.partyOf(e.Credit), Sum: sumOf(&e), Exchange: exchangeOf(e.Try)}
	var words []string
	for _, m := range e.Moves {
		if of, ok := pools[m.Pool]; ok && !strings.Contains(of.Rule, withoutTag) { // of which the budget itself is one as well
			words = append(words, cmp.Or(budgets[of.Rule].Words, of.Rule))
		}
	}
	r.Budgets = strings.Join(words, "; ")
	return r
}

// sumOf writes the amount of an entry. Of a try whose end is unknown it is the most that it may have cost, and that may be unknown too.
func sumOf(e *ledger.Entry) string {
	switch {
	case e.Kind == ledger.Pending && e.Amount == 0:
		return "not known"
	case e.Kind == ledger.Pending:
		return "at most " + exact(e.Amount)
	}
	return exact(e.Amount)
}

// A ledgerAsk is what the page was asked for.
type ledgerAsk struct {
	period period
	day    string
	search ledger.Search
}

// pairs are the page's own query.
func (a *ledgerAsk) pairs(more ...string) string {
	kind, budget := "", a.search.Budget
	if a.search.Kind != 0 {
		kind = a.search.Kind.String()
	}
	span := a.period.Query()
	if a.day != "" {
		span = []string{"day", a.day}
	}
	q := pairsOf(span, []string{
		"project", a.search.Project, "provider", a.search.Provider, "kind", kind, "budget", budget, "subject", a.search.Subject, "try", a.search.Try,
	}, more)
	if q.Get("range") == "all" {
		q.Del("range")
	}
	if len(q) == 0 {
		return "ledger"
	}
	return "ledger?" + q.Encode()
}

func (c *Console) ledgerAsk(ctx context.Context, v *visit) (*ledgerAsk, error) {
	q := v.r.URL.Query()
	p, err := periodOf(v, ledgerRanges, "all")
	if err != nil {
		return nil, err
	}
	a := &ledgerAsk{period: p, day: q.Get("day")}
	if a.day != "" {
		day, err := time.ParseInLocation(time.DateOnly, a.day, v.zone)
		if err != nil {
			return nil, askedWrong("day", "Write a day such as 2026-11-24.", "%q is not a day.", clip(a.day))
		}
		a.period = period{Name: customRange, From: day, To: day.AddDate(0, 0, 1), zone: v.zone}
	}
	a.search = ledger.Search{
		Query:  ledger.Query{Provider: q.Get("provider"), Try: q.Get("try"), From: a.period.From, Limit: pageSize},
		Budget: q.Get("budget"), Subject: q.Get("subject"),
	}
	if !a.period.open {
		a.search.To = a.period.To
	}
	if kind := q.Get("kind"); kind != "" {
		var ok bool
		if a.search.Kind, ok = ledger.KindOf(kind); !ok {
			return nil, askedWrong("kind", "It is posted, estimated, pending, settled, void, adjusted or lease.", "There is no kind of entry %q.", clip(kind))
		}
	}
	if after := q.Get("after"); after != "" {
		if a.search.After, err = strconv.ParseInt(after, 10, 64); err != nil || a.search.After < 1 {
			return nil, askedWrong("after", "Begin at the newest entry.", "%q is not the number of an entry.", clip(after))
		}
	}
	if a.search.Project = q.Get("project"); a.search.Project != "" {
		a.search.Project, err = c.ownerOf(ctx, a.search.Project)
	}
	return a, err
}

// ownerOf finds the project that is meant, by id or name. Books outlive projects, so one that is an account's is taken as well.
func (c *Console) ownerOf(ctx context.Context, project string) (string, error) {
	dir, err := c.o.Tenants.Directory(ctx)
	if err != nil {
		return "", err
	}
	_, id, _, err := dir.Resolve("", project, "")
	if err == nil {
		return id, nil
	}
	accounts, otherwise := c.o.Ledger.LedgerAccounts(ctx)
	if otherwise != nil {
		return "", otherwise
	}
	if slices.ContainsFunc(accounts, func(a ledger.Account) bool { return a.Project == project }) {
		return project, nil
	}
	return "", err
}

func askedWrong(param, hint, format string, args ...any) error {
	f := fault.New(fault.InvalidRequest, format, args...)
	f.Param, f.Hint = param, hint
	return f
}

func (c *Console) ledger(v *visit) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	a, err := c.ledgerAsk(ctx, v)
	if err != nil {
		return err
	}
	data := &ledgerView{Period: a.period, Day: a.day, Ranges: a.period.choices(ledgerRanges), Behind: c.catchUp(ctx)}
	if a.day != "" {
		data.Ranges = (&period{Name: "all"}).choices(ledgerRanges)
	}
	found, err := ledger.Find(ctx, c.o.Ledger, a.search)
	if err != nil {
		return err
	}
	defined, dir, err := c.defined(ctx)
	if err != nil {
		return err
	}
	budgets := budgetNames(&defined, dir)
	for i := range found.Entries {
		data.Rows = append(data.Rows, c.ledgerRowOf(found.Entries[i], found.Pools, budgets))
	}
	data.Back = found.Back
	if a.search.After > 0 {
		data.Newest = a.pairs()
	}
	if found.Next > 0 {
		data.Older = a.pairs("after", strconv.FormatInt(found.Next, 10))
	}
	data.Filtered = a.pairs() != "ledger"
	if err := c.ledgerChoices(ctx, v, a, data, budgets); err != nil {
		return err
	}
	f := c.frame(v, "ledger", "Ledger", data)
	f.Command = a.command()
	return c.send(v, http.StatusOK, "frame.html", f)
}

// ledgerChoices are what can be set on the page.
func (c *Console) ledgerChoices(ctx context.Context, v *visit, a *ledgerAsk, d *ledgerView, budgets map[string]budgetName) (err error) {
	if d.Projects, err = c.projectChoices(ctx, v, a.search.Project); err != nil {
		return err
	}
	d.Kinds = []choice{{"", "all kinds", a.search.Kind == 0}}
	for _, k := range ledger.Kinds() {
		d.Kinds = append(d.Kinds, choice{k.String(), k.String(), k == a.search.Kind})
	}
	providers, err := ledger.Providers(ctx, c.o.Ledger, nil) // of those that are configured and have no account there are no entries
	if err != nil {
		return err
	}
	if p := a.search.Provider; p != "" && !slices.Contains(providers, p) {
		providers = append(providers, p)
	}
	d.Providers = []choice{{"", "all providers", a.search.Provider == ""}}
	for _, p := range providers {
		d.Providers = append(d.Providers, choice{p, p, p == a.search.Provider})
	}
	d.Budgets = append(d.Budgets, choice{"", "any, or none", a.search.Budget == ""})
	ids := make([]string, 0, len(budgets))
	for id := range budgets {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y string) int {
		return cmp.Or(strings.Compare(budgets[x].Words, budgets[y].Words), strings.Compare(x, y))
	})
	for _, id := range ids[:min(len(ids), maxChoices)] {
		d.Budgets = append(d.Budgets, choice{id, budgets[id].Words, id == a.search.Budget})
	}
	if id := a.search.Budget; id != "" && !slices.ContainsFunc(d.Budgets, func(x choice) bool { return x.Chosen }) {
		d.Budgets = append(d.Budgets, choice{id, cmp.Or(budgets[id].Words, id), true})
	}
	for _, of := range [][2]string{{"subject", a.search.Subject}, {"try", a.search.Try}} {
		if of[1] != "" {
			d.Chosen = append(d.Chosen, chosenName{of[0], of[1], of[1], a.pairs(of[0], "")})
		}
	}
	return nil
}

// command is the page on the command line.
func (a *ledgerAsk) command() string {
	words := []string{"penstock ledger list"}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, quoteWord(value))
		}
	}
	if a.search.Project != "" {
		add("--project", a.search.Project)
	}
	add("--provider", a.search.Provider)
	add("--budget-id", a.search.Budget)
	add("--subject", a.search.Subject)
	add("--try", a.search.Try)
	if a.search.Kind != 0 {
		add("--kind", a.search.Kind.String())
	}
	for _, of := range []struct {
		flag string
		at   time.Time
	}{{"--from", a.search.From}, {"--to", a.search.To}} {
		if !of.at.IsZero() {
			add(of.flag, of.at.UTC().Format(time.RFC3339))
		}
	}
	return strings.Join(words, " ")
}

// A ledgerEntryView answers: what is this entry, and what did it change?
type ledgerEntryView struct {
	ledgerRow
	Moves    []moveRow
	Others   []ledgerRow // of the same try or lease
	MayAudit bool
	MayWrite bool
	Open     bool // it is pending, and nothing has ended it
}

// A moveRow is what an entry moved in one window of a budget.
type moveRow struct {
	Budget, Page, ID, Subject, Window string
	Settled, Unknown, Over            string
}

// ledgerEntry shows one entry with all that it moved, and what else there is of its try.
func (c *Console) ledgerEntry(v *visit) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	n, err := strconv.ParseInt(v.part, 10, 64)
	if err != nil || n < 1 || n == 1<<63-1 {
		return fault.New(fault.NotThere, "There is no such entry here.")
	}
	found, err := ledger.Find(ctx, c.o.Ledger, ledger.Search{Query: ledger.Query{After: n + 1, Limit: 1}})
	if err != nil {
		return err
	}
	if len(found.Entries) == 0 || found.Entries[0].Seq != n {
		return fault.New(fault.NotThere, "There is no entry %d here.", n)
	}
	defined, dir, err := c.defined(ctx)
	if err != nil {
		return err
	}
	e, budgets := found.Entries[0], budgetNames(&defined, dir)
	d := &ledgerEntryView{ledgerRow: c.ledgerRowOf(e, found.Pools, budgets), MayAudit: v.may(auth.ReadAudit), MayWrite: v.may(auth.WriteBudgets)}
	for _, m := range e.Moves {
		d.Moves = append(d.Moves, c.moveRowOf(m, found.Pools, budgets))
	}
	if e.Try != "" {
		others, err := c.o.Ledger.LedgerEntries(ctx, ledger.Query{Try: e.Try, Limit: pageSize})
		if err != nil {
			return err
		}
		d.Open = e.Kind == ledger.Pending
		for i := range others {
			d.Open = d.Open && others[i].Settles != e.Seq
			if others[i].Seq != e.Seq {
				d.Others = append(d.Others, c.ledgerRowOf(others[i], nil, nil))
			}
		}
	}
	f := c.frame(v, "ledger-entry", "Entry "+strconv.FormatInt(n, 10), d)
	if e.Try != "" {
		f.Command = "penstock ledger list --try " + quoteWord(e.Try)
	}
	return c.send(v, http.StatusOK, "frame.html", f)
}

// subjectName says whose part of a budget for each something is: projects and keys by name.
func (c *Console) subjectName(subject string) string {
	whose, user, two := strings.Cut(subject, "/")
	if strings.HasPrefix(whose, "prj_") || strings.HasPrefix(whose, "key_") {
		whose = c.o.Keys.Name(whose)
	}
	if two {
		return whose + "/" + user
	}
	return whose
}

func (c *Console) moveRowOf(m ledger.Move, pools map[int64]ledger.PoolName, budgets map[string]budgetName) moveRow {
	of, kept := pools[m.Pool]
	if !kept {
		return moveRow{
			Budget: "a window that is kept no more", Settled: signedBy(raw, m.Settled), Unknown: signedBy(raw, m.Unknown), Over: signedBy(raw, m.Over),
		}
	}
	rule, tag, without := strings.Cut(of.Rule, withoutTag)
	row := moveRow{Budget: rule, Subject: c.subjectName(of.Subject), Window: time.UnixMicro(of.Start).UTC().Format("2006-01-02 15:04 MST")}
	write := raw
	if b, ok := budgets[rule]; ok {
		row.Budget, row.Page, row.ID, row.Window = b.Words, b.Page, rule, b.calendar.At(time.UnixMicro(of.Start)).Label
		write = writer(b.unit)
		if b.Page == "tiers" {
			row.ID = strings.Split(rule, ":")[1]
		}
	}
	if without {
		row.Budget += ", as far as calls without the tag " + tag + " may use it"
	}
	row.Settled, row.Unknown, row.Over = signedBy(write, m.Settled), signedBy(write, m.Unknown), signedBy(write, m.Over)
	return row
}

// raw writes an amount of a budget whose unit is not known any more.
func raw(n int64) string { return strconv.FormatInt(n, 10) }

// signedBy writes a change.
func signedBy(write func(int64) string, n int64) string {
	switch {
	case n > 0:
		return "+" + write(n)
	case n < 0:
		return "−" + write(-n)
	}
	return "0"
}
