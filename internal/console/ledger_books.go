package console

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
	civil "github.com/penstock/penstock/internal/window"
)

// An accountsView answers: what was spent in all, and who is owed what?
type accountsView struct {
	Spend, Owed     []accountRow
	Spent, Due      string // the sums; they are equal
	PendingOf       string
	May             bool
	Said            string
	SpendMore, More int // accounts that are not shown
}

// An accountRow is an account with what its entries come to.
type accountRow struct {
	party
	Net, Pending, Debited, Credited string
	Entries                         string // address of its entries
}

// accounts shows what entries come to on each account.
func (c *Console) accounts(v *visit) error {
	ctx, done, err := c.reading(v)
	if err != nil {
		return err
	}
	defer done()
	all, err := c.o.Ledger.LedgerAccounts(ctx)
	if err != nil {
		return err
	}
	d := &accountsView{May: v.may(auth.WriteBudgets)}
	if n := v.saidEntry("adjusted"); n != "" {
		d.Said = "The books are corrected by entry " + n + ". Budgets stay as they are."
	}
	var spent, due, pending llm.Money
	for i := range all {
		a := &all[i]
		row := accountRow{
			party: c.partyOf(a.Name), Net: exact(a.Net()), Pending: exact(a.PendingDebit.Plus(a.PendingCredit)), Debited: exact(a.Debit), Credited: exact(a.Credit),
		}
		if a.Side == ledger.Owed {
			due = due.Plus(a.Net())
			row.Entries = "ledger?" + pairsOf([]string{"provider", a.Provider}).Encode()
			if d.Owed = append(d.Owed, row); len(d.Owed) > maxRows {
				d.Owed, d.More = d.Owed[:maxRows], d.More+1
			}
			continue
		}
		spent, pending = spent.Plus(a.Net()), pending.Plus(a.PendingDebit)
		row.Entries = "ledger?" + pairsOf([]string{"project", a.Project}).Encode()
		if d.Spend = append(d.Spend, row); len(d.Spend) > maxRows {
			d.Spend, d.SpendMore = d.Spend[:maxRows], d.SpendMore+1
		}
	}
	d.Spent, d.Due, d.PendingOf = exact(spent), exact(due), exact(pending)
	f := c.frame(v, "accounts", "Accounts of the ledger", d)
	f.Command = "penstock ledger list --accounts"
	return c.send(v, http.StatusOK, "frame.html", f)
}

// exact writes money with all its decimals: the books are what others are held against.
func exact(m llm.Money) string {
	if m < 0 {
		return "−$" + strings.TrimPrefix(m.String(), "-")
	}
	return "$" + m.String()
}

// A closeView answers: what did a month come to?
type closeView struct {
	Month, Zone     string
	Span            civil.Window
	Before, Next    string // addresses of the months beside it
	Rows            []closeRow
	MoreRows        int // that are in the CSV only
	Total, Pending  string
	AnyPending      bool
	Over, Behind    bool
	Entries         int64
	CSV, CheckBooks string
}

// A closeRow is what entries of a month come to that have all of this in common.
type closeRow struct {
	ledger.Total
	ProjectName, Provider, Sum string
	Open                       bool // it is not in the total
}

// closeAsk reads which month is meant.
func (c *Console) closeAsk(v *visit) (month string, zone *time.Location, span civil.Window, err error) {
	q := v.r.URL.Query()
	zone = time.UTC
	if name := strings.TrimSpace(q.Get("zone")); name != "" {
		if zone, err = limit.Zone(name); err != nil {
			return "", nil, span, askedWrong("zone", "Write a name such as Europe/Berlin, or leave it empty for UTC.", "%q is not a time zone.", clip(name))
		}
	}
	month = strings.TrimSpace(q.Get("month"))
	if month == "" {
		y, m, _ := v.now.In(zone).Date()
		month = time.Date(y, m-1, 15, 0, 0, 0, 0, zone).Format("2006-01")
	}
	at, err := time.ParseInLocation("2006-01", month, zone)
	if err != nil || at.Year() < 1970 || at.Year() > 2200 {
		return "", nil, span, askedWrong("month", "Write one such as 2026-11.", "%q is not a month.", clip(month))
	}
	return month, zone, civil.Calendar{Per: civil.Month, Zone: zone}.At(at.AddDate(0, 0, 14)), nil
}

// closing sums a month. It may take longer than a page: it reads all entries of it.
func (c *Console) closing(v *visit) (month string, zone *time.Location, span civil.Window, all *ledger.Closing, behind bool, err error) {
	if month, zone, span, err = c.closeAsk(v); err != nil {
		return
	}
	ctx, done, err := c.readingFor(v, maxClose)
	if err != nil {
		return
	}
	defer done()
	behind = c.catchUp(ctx)
	if all, err = ledger.Close(ctx, c.o.Ledger, span.Start, span.End); err != nil {
		return
	}
	sums, err := c.o.Records.Sums(ctx, usage.Query{From: span.Start, To: span.End, By: []string{"org", "project", "target"}})
	if err != nil && fault.From(err).Code == fault.InvalidRequest { // of what is deleted there are not the sums for it
		err = nil
	}
	for _, s := range sums {
		all.Count(ledger.Counted{Org: s.Group["org"], Project: s.Group["project"], Target: s.Group["target"], Requests: s.Requests, Usage: s.Usage})
	}
	return
}

// maxClose is how long a month may be summed.
const maxClose = 30 * time.Second

// closeMonth shows what a month came to.
func (c *Console) closeMonth(v *visit) error {
	month, zone, span, all, behind, err := c.closing(v)
	if err != nil {
		return err
	}
	d := &closeView{
		Month: month, Zone: zone.String(), Span: span, Total: exact(all.Total), Pending: exact(all.Pending), AnyPending: all.Pending > 0, Behind: behind,
		Over: !v.now.Before(span.End),
	}
	zoned := ""
	if zone != time.UTC {
		zoned = zone.String()
	}
	address := func(page, month string) string {
		return page + "?" + pairsOf([]string{"month", month, "zone", zoned}).Encode()
	}
	middle := span.Start.AddDate(0, 0, 14)
	d.Before, d.CSV = address("ledger/close", middle.AddDate(0, -1, 0).Format("2006-01")), address("ledger/close.csv", month)
	if next := middle.AddDate(0, 1, 0); !v.now.Before(span.End) {
		d.Next = address("ledger/close", next.Format("2006-01"))
	}
	for i := range all.Rows {
		t := &all.Rows[i]
		d.Entries += t.Entries
		if len(d.Rows) == maxRows {
			d.MoreRows++
			continue
		}
		row := closeRow{Total: *t, ProjectName: c.o.Keys.Name(t.Project), Provider: t.Provider, Sum: exact(t.Amount), Open: t.Kind == ledger.Pending}
		if t.Credential > 0 {
			row.Provider += "#" + strconv.Itoa(t.Credential)
		}
		d.Rows = append(d.Rows, row)
	}
	f := c.frame(v, "close", "What "+month+" came to", d)
	f.Command = "penstock ledger close --month " + month
	if zoned != "" {
		f.Command += " --zone " + quoteWord(zoned)
	}
	return c.send(v, http.StatusOK, "frame.html", f)
}

// closeCSV is the month as penstock ledger close writes it.
func (c *Console) closeCSV(v *visit) error {
	month, _, _, all, _, err := c.closing(v) // whether records are behind, the page says from which this is got
	if err != nil {
		return err
	}
	rows := make([][]string, 0, len(all.Rows))
	for i := range all.Rows {
		rows = append(rows, all.Rows[i].CloseRow(month, c.o.Keys.Name(all.Rows[i].Project)))
	}
	for i := range all.Counted {
		rows = append(rows, all.Counted[i].CloseRow(month, c.o.Keys.Name(all.Counted[i].Project)))
	}
	return c.sendCSV(v, "ledger-"+month, ledger.CloseHead(), rows)
}

// checks runs one check of the books at a time, and remembers how the last one ended.
type checks struct {
	mu   sync.Mutex
	last *checking
	work sync.WaitGroup
	life context.Context // ends with the console
	end  context.CancelFunc
}

// A checking is a check that runs, or has run.
type checking struct {
	began, ended time.Time // ended is zero while it runs
	by           string    // name of the key
	done, of     int64     // entries
	report       *ledger.Report
	err          error
	over         chan struct{}
}

func newChecks() *checks {
	k := &checks{}
	k.life, k.end = context.WithCancel(context.Background())
	return k
}

// maxCheck is how long a check may run: it reads all that there is.
const maxCheck = time.Hour

// begin starts a check unless one runs, and gives the one that runs then.
func (k *checks) begin(by string, now func() time.Time, s ledger.Reader) *checking {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last != nil && k.last.ended.IsZero() {
		return k.last
	}
	one := &checking{began: now(), by: by, over: make(chan struct{})}
	k.last = one
	if k.life.Err() != nil {
		one.ended, one.err = one.began, fault.New(fault.NotReady, "Penstock is stopping.")
		close(one.over)
		return one
	}
	k.work.Go(func() {
		ctx, cancel := context.WithTimeout(k.life, maxCheck)
		defer cancel()
		report, err := ledger.CheckTelling(ctx, s, func(done, of int64) {
			k.mu.Lock()
			defer k.mu.Unlock()
			one.done, one.of = done, of
		})
		k.mu.Lock()
		defer k.mu.Unlock()
		one.report, one.err, one.ended = report, err, now()
		close(one.over)
	})
	return one
}

// state is how the last check stands, nil if there was none.
func (k *checks) state() *checking {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil {
		return nil
	}
	copied := *k.last
	return &copied
}

// Close ends what the console does by itself, and waits for it. There may be no console.
func (c *Console) Close() {
	if c != nil {
		c.checks.end()
		c.checks.work.Wait()
	}
}

// A checkView answers: do the books fit?
type checkView struct {
	Ran, Running   bool
	Began, Ended   time.Time
	By, Took       string
	Done, Of       int64
	Bar            string
	OK             bool
	Report         *ledger.Report
	Spent, Pending string
	Problem        string
}

func (c *Console) checkPage(v *visit) error { return c.showCheck(v, "frame.html") }

// checkLive is the part of the page that changes, for the page's script.
func (c *Console) checkLive(v *visit) error { return c.showCheck(v, "live") }

func (c *Console) showCheck(v *visit, part string) error {
	d := &checkView{}
	if k := c.checks.state(); k != nil {
		d.Ran, d.Running, d.Began, d.Ended, d.By, d.Done, d.Of = true, k.ended.IsZero(), k.began, k.ended, k.by, k.done, k.of
		d.Bar = share(float64(k.done), float64(max(k.of, 1)))
		if !d.Running {
			d.Took = span(int64(k.ended.Sub(k.began)))
		}
		switch {
		case d.Running:
		case k.err != nil:
			d.Problem = fault.From(k.err).Message
		default:
			d.Report, d.OK = k.report, len(k.report.Findings) == 0
			d.Spent, d.Pending = exact(k.report.Spent), exact(k.report.Pending)
		}
	}
	f := c.frame(v, "check", "Check of the books", d)
	f.Command = "penstock ledger check"
	return c.send(v, http.StatusOK, part, f)
}

// soon is how long whoever starts a check waits for it: most are done by then.
const soon = 3 * time.Second

// runCheck starts a check, and shows it once it is done, or how far it is.
func (c *Console) runCheck(v *visit) error {
	_ = c.catchUp(v.ctx()) // whatever is there has to fit, but what was asked for just now should be
	one := c.checks.begin(v.grant.Key.Name, c.o.Now, c.o.Ledger)
	waiting := time.NewTimer(soon)
	defer waiting.Stop()
	select {
	case <-one.over:
	case <-waiting.C:
	case <-v.r.Context().Done():
	}
	return v.redirect("ledger/check")
}
