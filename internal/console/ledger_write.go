package console

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
)

// An unknownView answers: of which calls is it not known what they cost, and what do they hold?
type unknownView struct {
	Tries     []unknownTry
	Leases    []unknownLease
	MoreTries int // at least so many are not shown
	MoreLease int
	Most      string // of the tries that are shown
	Boundless int    // of which not even that is known
	Behind    bool
	May       bool
	Said      string
}

type unknownTry struct {
	ledger.Unknown
	Project, Short, Exchange, Most string
	Held                           []string
}

type unknownLease struct {
	ledger.DeadLease
	Budget, Page, ID, Subject, Window, Amount, Why string
}

// unknown lists calls and leases of which nobody knows what they came to.
func (c *Console) unknown(v *visit) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	d := &unknownView{May: v.may(auth.WriteBudgets), Behind: c.catchUp(ctx)}
	if n := v.saidEntry("settled"); n != "" {
		d.Said = "It is settled by entry " + n + ". What it held of budgets beyond that is free."
	}
	tries, leases, err := c.o.Ledger.LedgerUnknowns(ctx, maxRows+1)
	if err != nil {
		return err
	}
	defined, dir, err := c.defined(ctx)
	if err != nil {
		return err
	}
	budgets := budgetNames(&defined, dir)
	var most llm.Money
	for i := range tries {
		u := &tries[i]
		if len(d.Tries) == maxRows {
			d.MoreTries++
			continue
		}
		row := unknownTry{Unknown: *u, Project: c.o.Keys.Name(u.Project), Exchange: exchangeOf(u.Try), Short: short(u.Try), Most: "not known"}
		if u.Bound > 0 {
			row.Most, most = exact(u.Bound), most.Plus(u.Bound)
		} else {
			d.Boundless++
		}
		for _, p := range u.Held {
			if strings.Contains(p.Rule, withoutTag) {
				continue
			}
			words := p.Rule
			if b, ok := budgets[p.Rule]; ok {
				words = b.Words
			}
			row.Held = append(row.Held, heldWords(&p)+" of "+words)
		}
		d.Tries = append(d.Tries, row)
	}
	d.Most = exact(most)
	for i := range leases {
		if len(d.Leases) == maxRows {
			d.MoreLease++
			continue
		}
		d.Leases = append(d.Leases, c.leaseRowOf(&leases[i], budgets))
	}
	f := c.frame(v, "unknown", "Unknown calls and leases", d)
	f.Command = "penstock ledger list --unknown"
	return c.send(v, http.StatusOK, "frame.html", f)
}

// saidEntry is the number of the entry by which something was just done, "" if the page was not asked for with one.
func (v *visit) saidEntry(said string) string {
	q := v.r.URL.Query()
	n, err := strconv.ParseInt(q.Get("entry"), 10, 64)
	if q.Get("said") != said || err != nil {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func heldWords(p *ledger.UnknownPart) string {
	if p.Tokens {
		return writer(limit.TokenCount)(p.Amount) + " tokens"
	}
	return writer(limit.USD)(p.Amount)
}

func (c *Console) leaseRowOf(l *ledger.DeadLease, budgets map[string]budgetName) unknownLease {
	m := c.moveRowOf(ledger.Move{Pool: 1}, map[int64]ledger.PoolName{1: {Rule: l.Rule, Subject: l.Subject, Start: l.Start}}, budgets)
	row := unknownLease{DeadLease: *l, Budget: m.Budget, Page: m.Page, ID: m.ID, Subject: m.Subject, Window: m.Window, Amount: raw(l.Amount), Why: "its replica does not renew it"}
	if rule, _, _ := strings.Cut(l.Rule, withoutTag); budgets[rule].unit != "" {
		row.Amount = writer(budgets[rule].unit)(l.Amount)
		if budgets[rule].unit == limit.TokenCount {
			row.Amount += " tokens"
		}
	}
	if l.Restored {
		row.Why = "it is from before a restore"
	}
	return row
}

// A settleView asks what a call or a lease came to of which nobody knew.
type settleView struct {
	ID, Amount, Tokens, Reason string
	Void                       bool
	Problem                    *problem
	Known                      []string // what is known of it, in words
	MaxReason                  int
}

// settlePage shows the form.
func (c *Console) settlePage(v *visit) error {
	return c.showSettle(v, http.StatusOK, &settleView{ID: strings.TrimSpace(v.r.URL.Query().Get("id"))})
}

func (c *Console) showSettle(v *visit, status int, d *settleView) error {
	d.MaxReason = ledger.MaxReason
	if d.ID != "" {
		ctx, done, err := c.reading(v)
		if err != nil {
			return err
		}
		defer done()
		if d.Known, err = c.knownOf(ctx, d.ID); err != nil {
			return err
		}
	}
	f := c.frame(v, "settle", "Settle what is unknown", d)
	f.Command = "penstock ledger settle " + quoteWord(cmp.Or(d.ID, "ID")) + ` --amount DOLLARS --reason "…"`
	return c.send(v, status, "frame.html", f)
}

// settleUnknown takes what somebody says that a call or a lease came to, as penstock ledger settle does.
func (c *Console) settleUnknown(v *visit) error {
	get := fields(v.form)
	d := &settleView{ID: get("id"), Amount: get("amount"), Tokens: get("tokens"), Reason: get("reason"), Void: get("void") != ""}
	told := ledger.Told{ID: d.ID, Amount: d.Amount, Void: d.Void, Reason: d.Reason}
	var err error
	if d.Tokens != "" {
		n, wrongTokens := limit.ReadAmount(limit.TokenCount, d.Tokens)
		if told.Tokens = &n; wrongTokens != "" {
			err = askedWrong("tokens", "Nothing was changed.", "tokens: %s.", wrongTokens)
		}
	}
	var made ledger.Entry
	if err == nil {
		made, err = ledger.SettleTold(v.ctx(), c.o.Ledger, told)
	}
	if err != nil {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		d.Problem = why
		return c.showSettle(v, status, d)
	}
	return v.redirect("ledger/unknown?" + pairsOf([]string{"said", "settled", "entry", strconv.FormatInt(made.Seq, 10)}).Encode())
}

// An adjustView asks by how much more, or less, was billed than is in the books.
type adjustView struct {
	Project, Provider, Credential, Target, Try, Amount, At, Reason string
	Key                                                            string // a form that is sent twice is booked once
	Problem                                                        *problem
	Projects                                                       []choice
	Providers                                                      []string
	MaxReason                                                      int
}

func (c *Console) adjustPage(v *visit) error {
	q := v.r.URL.Query()
	return c.showAdjust(v, http.StatusOK, &adjustView{
		Project: q.Get("project"), Provider: q.Get("provider"), Target: q.Get("target"), Try: q.Get("try"), Key: ledger.NewKey(),
	})
}

func (c *Console) showAdjust(v *visit, status int, d *adjustView) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	d.MaxReason = ledger.MaxReason
	if d.Projects, err = c.projectChoices(ctx, v, ""); err != nil {
		return err
	}
	d.Projects = d.Projects[1:] // all of them together are nobody's account
	if d.Providers, err = ledger.Providers(ctx, c.o.Ledger, c.configured()); err != nil {
		return err
	}
	f := c.frame(v, "adjust", "Correct the books", d)
	f.Command = `penstock ledger adjust --project P --provider NAME --amount DOLLARS --reason "…"`
	return c.send(v, status, "frame.html", f)
}

// adjust corrects the books, as penstock ledger adjust does.
func (c *Console) adjust(v *visit) error {
	get := fields(v.form)
	d := &adjustView{
		Project: get("project"), Provider: get("provider"), Credential: get("credential"), Target: get("target"), Try: get("try"), Amount: get("amount"),
		At: get("at"), Reason: get("reason"), Key: get("key"),
	}
	made, err := c.adjusted(v, d)
	if err != nil {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		if fault.From(err).Code == fault.AlreadyThere { // the form was sent, changed, and sent again: it is another correction now
			d.Key = ledger.NewKey()
		}
		d.Problem = why
		return c.showAdjust(v, status, d)
	}
	return v.redirect("ledger/accounts?" + pairsOf([]string{"said", "adjusted", "entry", strconv.FormatInt(made.Seq, 10)}).Encode())
}

func (c *Console) adjusted(v *visit, d *adjustView) (made ledger.Entry, err error) {
	a := ledger.Adjustment{Project: d.Project, Provider: d.Provider, Target: d.Target, Try: d.Try, Reason: d.Reason, Key: d.Key}
	if a.Amount, err = ledger.ReadDifference(d.Amount); err != nil {
		return made, err
	}
	if d.Credential != "" {
		n, err := strconv.Atoi(d.Credential)
		if err != nil {
			return made, askedWrong("credential", "They are counted from 1; leave it empty if the provider has one.", "%q is not the number of a credential.", clip(d.Credential))
		}
		a.Credential = n
	}
	if err := ledger.CheckAdjustment(&a); err != nil {
		return made, err
	}
	if d.At != "" {
		if a.At, err = instantIn("at", d.At, time.UTC); err != nil {
			return made, err
		}
	}
	if a.Target != "" {
		if _, ok := llm.ParseTarget(a.Target); !ok {
			return made, askedWrong("target", "Write PROVIDER/MODEL, or leave it empty.", "%q is not a target.", clip(a.Target))
		}
	}
	dir, err := c.o.Tenants.Directory(v.ctx())
	if err != nil {
		return made, err
	}
	if _, a.Project, _, err = dir.Resolve("", a.Project, ""); err != nil {
		return made, err
	}
	a.Org = dir.Projects[a.Project].Org
	if a.Project == limit.Each || a.Org == "" {
		return made, fault.New(fault.InvalidRequest, "Say whose money it is: one project.")
	}
	if err := ledger.CheckProvider(v.ctx(), c.o.Ledger, a.Provider, c.configured()); err != nil {
		return made, err
	}
	return c.o.Ledger.AdjustLedger(v.ctx(), a)
}

// configured are the names of the providers that are configured at the moment.
func (c *Console) configured() []string { return slices.Collect(maps.Keys(c.o.Desk.Vendors())) }

// knownOf says what is known of a try or lease that is to be settled.
func (c *Console) knownOf(ctx context.Context, id string) (words []string, err error) {
	entries, err := c.o.Ledger.LedgerEntries(ctx, ledger.Query{Try: id, Limit: pageSize})
	if err != nil {
		return nil, err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		said := "Entry " + strconv.FormatInt(e.Seq, 10) + ", " + e.Kind.String() + ": "
		switch e.Kind {
		case ledger.Pending:
			said += sumOf(e) + ", sent " + e.At.UTC().Format("2006-01-02 15:04:05 MST")
			if e.Target != "" {
				said += " to " + e.Target
			}
		case ledger.Void:
			said += "it came to nothing"
		default:
			said += exact(e.Amount)
		}
		if e.Note != "" {
			said += "; " + e.Note
		}
		words = append(words, said+".")
	}
	if len(words) > 0 {
		return words, nil
	}
	_, leases, err := c.o.Ledger.LedgerUnknowns(ctx, leasesKnown)
	for i := range leases {
		if leases[i].ID == id {
			l := c.leaseRowOf(&leases[i], nil)
			return []string{"A lease of the budget " + l.Budget + ": there is " + l.Amount + " in it, in nano-dollars, or tokens of a budget in tokens; " + l.Why + "."}, err
		}
	}
	return []string{"Nothing of this id is in the books, and no such lease is unknown."}, err
}

// leasesKnown bounds the leases among which one is looked for.
const leasesKnown = 1000
