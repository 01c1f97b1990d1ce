package admin

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/window"
)

// A LedgerEntry is one entry of the books: an amount from the account of whose money it is to that of who gets it.
type LedgerEntry struct {
	Number  int64     `json:"number"`
	At      time.Time `json:"at"`              // when the call was sent
	Made    time.Time `json:"made"`            // when the entry was
	Kind    string    `json:"kind"`            // posted, estimated, pending, settled, void, adjusted, or lease, which moves no money
	Debit   string    `json:"debit,omitzero"`  // account, such as spend:ORGANISATION/PROJECT
	Credit  string    `json:"credit,omitzero"` // account, such as owed:PROVIDER
	Amount  string    `json:"amount"`          // US dollars, as decimal text; of a pending entry the most that it may be
	Nano    int64     `json:"amount_nano"`     // nano-dollars
	Try     string    `json:"try,omitzero"`    // id; of a lease's entry the id of the lease
	Target  string    `json:"target,omitzero"`
	Settles int64     `json:"settles,omitzero"` // number of the pending entry that it ends
	Note    string    `json:"note,omitzero"`    // what somebody gave as reason, or why the end of a try is unknown
}

// A LedgerAccount is an account with what its entries come to, in nano-dollars.
type LedgerAccount struct {
	Name         string `json:"name"`
	Side         string `json:"side"` // spend: whose money it is; owed: who gets it
	Org          string `json:"org,omitzero"`
	Project      string `json:"project,omitzero"`      // id
	ProjectName  string `json:"project_name,omitzero"` // of the project
	Provider     string `json:"provider,omitzero"`
	Credential   int    `json:"credential,omitzero"` // which of the provider's, from 1; left out if it has one
	NetNano      int64  `json:"net_nano"`            // what was spent, or what is owed
	PendingNano  int64  `json:"pending_nano"`        // the most that calls may add whose end is unknown
	DebitedNano  int64  `json:"debited_nano"`        // the sum of all debits; it only grows
	CreditedNano int64  `json:"credited_nano"`       // the sum of all credits; it only grows
}

// Unknowns are calls and leases of which it is not known what they came to.
type Unknowns struct {
	Tries  []UnknownTry   `json:"tries"`
	Leases []UnknownLease `json:"leases"`
	// Behind says that calls wait in the journal for the store, and are missing here.
	Behind bool `json:"behind,omitzero"`
}

// An UnknownTry is a call to a provider whose end nobody saw.
type UnknownTry struct {
	Try         string    `json:"try"` // id
	At          time.Time `json:"at"`  // when it was sent
	Org         string    `json:"org"`
	Project     string    `json:"project"`               // id
	ProjectName string    `json:"project_name,omitzero"` // of the project
	Target      string    `json:"target"`
	Most        string    `json:"most"`      // US dollars that it may have cost at most; 0 if that is not known
	MostNano    int64     `json:"most_nano"` // the same in nano-dollars
	Reason      string    `json:"reason,omitzero"`
}

// An UnknownLease is a part of a budget that a replica has had and does not renew. Nobody else gets it until the replica comes back
// with its journal, or somebody settles it.
type UnknownLease struct {
	Lease    string    `json:"lease"`            // id
	Budget   string    `json:"budget"`           // id
	Subject  string    `json:"subject,omitzero"` // whose part, of a budget for each
	Window   time.Time `json:"window"`           // when the window begins
	Amount   int64     `json:"amount"`           // what is in it: nano-dollars, or tokens of a budget in tokens
	Renewed  time.Time `json:"renewed"`          // when it was last
	Restored bool      `json:"restored"`         // it is from before the store was put back from a backup
}

// A LedgerReport says what was compared, and what does not fit.
type LedgerReport struct {
	OK          bool            `json:"ok"` // everything fits
	Entries     int64           `json:"entries"`
	Accounts    int64           `json:"accounts"`
	Windows     int64           `json:"windows"`      // of budgets
	Exchanges   int64           `json:"exchanges"`    // that are still kept, and whose calls are in the books
	Unknown     int64           `json:"unknown"`      // calls whose end is unknown
	SpentNano   int64           `json:"spent_nano"`   // all that was ever spent
	PendingNano int64           `json:"pending_nano"` // the most that calls may add whose end is unknown
	Findings    []LedgerFinding `json:"findings"`     // at most 100
	More        int64           `json:"more_findings"`
}

// A LedgerFinding is something that does not fit.
type LedgerFinding struct {
	Where    string `json:"where"` // the account, window, exchange or entry
	What     string `json:"what"`
	Expected int64  `json:"expected"`
	Found    int64  `json:"found"`
}

// A LedgerClose is what a month came to. What is told later and belongs to it, such as by a replica that was away, changes it.
type LedgerClose struct {
	Month       string      `json:"month"`
	Zone        string      `json:"zone"`
	From        time.Time   `json:"from"`
	To          time.Time   `json:"to"` // not part of it
	Rows        []LedgerSum `json:"rows"`
	TotalNano   int64       `json:"total_nano"`   // of all rows but those that are pending
	PendingNano int64       `json:"pending_nano"` // of those
	// Usage is what providers have counted, by organisation, project and the target that answered: the tokens of all tries of the
	// exchanges that began in the month, and their parts.
	Usage []LedgerUsage `json:"usage"`
	// UsageGone says that exchanges of the month are deleted, and that not enough is left of them to say what they used.
	UsageGone bool `json:"usage_gone,omitzero"`
	// Behind says that calls wait in the journal for the store, and are missing here.
	Behind bool `json:"behind,omitzero"`
}

// A LedgerSum is what the entries of a month come to that have all of this in common.
type LedgerSum struct {
	Org         string `json:"org"`
	Project     string `json:"project"`      // id
	ProjectName string `json:"project_name"` // of the project, "" if it is gone
	Provider    string `json:"provider"`
	Credential  int    `json:"credential,omitzero"` // which of the provider's, from 1; left out if it has one
	Target      string `json:"target"`
	Kind        string `json:"kind"`
	Entries     int64  `json:"entries"`
	Amount      string `json:"amount"` // US dollars, as decimal text; below 0 for corrections downwards
	Nano        int64  `json:"amount_nano"`
}

// A LedgerUsage is what the exchanges of a month used that have all of this in common.
type LedgerUsage struct {
	Org         string    `json:"org"`
	Project     string    `json:"project"`      // id
	ProjectName string    `json:"project_name"` // of the project, "" if it is gone
	Target      string    `json:"target"`       // "" where none answered
	Requests    int64     `json:"requests"`
	Usage       llm.Usage `json:"usage"`
}

// A LedgerSettleInput says what a call or a lease came to of which nobody knew: an amount, or void.
type LedgerSettleInput struct {
	ID     string `json:"id"`                             // of the try or the lease
	Amount string `json:"amount,omitzero" kind:"decimal"` // US dollars, as decimal text
	Tokens *int64 `json:"tokens,omitzero"`                // what it came to for budgets in tokens; a call counts for these as reserved if it is left out
	Void   bool   `json:"void,omitzero"`                  // it came to nothing
	Reason string `json:"reason"`                         // one line; it stays in the audit chain
}

// A LedgerAdjustInput corrects the books: so much more was billed, or less.
type LedgerAdjustInput struct {
	Project    string `json:"project"`               // id, or name if only one organisation has the name
	Provider   string `json:"provider"`              // that is configured, or has an account in the books
	Credential int    `json:"credential,omitzero"`   // which of the provider's, from 1
	Target     string `json:"target,omitzero"`       // PROVIDER/MODEL, if it is about one
	Try        string `json:"try,omitzero"`          // that it corrects, if it is about one
	Amount     string `json:"amount" kind:"decimal"` // US dollars, as decimal text; with a - before it, less was billed
	At         string `json:"at,omitzero"`           // a day or RFC 3339, whose month it belongs to; now if it is left out
	Reason     string `json:"reason"`                // one line; it stays in the audit chain
	// Key is made by the sender once for the correction: up to 64 characters of ASCII. Sent again with its key, it is not booked
	// again, but the answer is the first entry. Another correction with the same key is refused (already_exists).
	Key string `json:"key,omitzero"`
}

// spanOfLedger bounds what is read of unknowns in one go.
const spanOfLedger = 1000

var (
	ofKind     = Param{"kind", "only entries of this kind: posted, estimated, pending, settled, void, adjusted or lease"}
	ofProvider = Param{"provider", "only with this provider"}
	ofBudget   = Param{"budget", "only entries that count for this budget, by id. A page is of 20000 entries then, so it may be short, or empty, though next is not"}
	ofPart     = Param{"subject", "only the part of this project, key or end user, of a budget for each"}
	ofTry      = Param{"try", "only of this try, by id"}
	ofMonth    = []Param{{"month", "such as 2026-11; the last one that is over if it is left out"}, {"zone", "where the month begins: a name such as Europe/Berlin; UTC if it is left out"}}
)

func entryOf(e ledger.Entry) LedgerEntry {
	return LedgerEntry{
		Number: e.Seq, At: e.At, Made: e.Made, Kind: e.Kind.String(), Debit: e.Debit, Credit: e.Credit, Amount: e.Amount.String(),
		Nano: int64(e.Amount), Try: e.Try, Target: e.Target, Settles: e.Settles, Note: e.Note,
	}
}

func (a *API) listLedger(ctx context.Context, c *call) (out list[LedgerEntry], err error) {
	limit, err := c.query.limit()
	if err != nil {
		return out, err
	}
	q := ledger.Search{
		Query:  ledger.Query{Provider: c.query["provider"], Try: c.query["try"], Limit: limit},
		Budget: c.query["budget"], Subject: c.query["subject"],
	}
	if q.From, q.To, err = c.query.span(); err != nil {
		return out, err
	}
	if q.Project, err = a.projectID(ctx, c.query["project"]); err != nil {
		return out, err
	}
	if kind := c.query["kind"]; kind != "" {
		var ok bool
		if q.Kind, ok = ledger.KindOf(kind); !ok {
			return out, badParam("kind", "kind is %s; send one of posted, estimated, pending, settled, void, adjusted and lease.", quote(kind))
		}
	}
	if after := c.query["after"]; after != "" {
		if q.After, err = strconv.ParseInt(after, 10, 64); err != nil || q.After < 1 {
			return out, badParam("after", "after is %s; send the number of an entry.", quote(after))
		}
	}
	if out.Behind, err = a.catchUp(ctx); err != nil {
		return out, err
	}
	found, err := ledger.Find(ctx, a.o.Ledger, q)
	if err != nil {
		return out, err
	}
	out.Data = make([]LedgerEntry, 0, len(found.Entries))
	for i := range found.Entries {
		out.Data = append(out.Data, entryOf(found.Entries[i]))
	}
	if found.Next > 0 {
		out.Next = strconv.FormatInt(found.Next, 10)
	}
	return out, nil
}

func (a *API) listAccounts(ctx context.Context, _ *call) (list[LedgerAccount], error) {
	out := list[LedgerAccount]{Data: []LedgerAccount{}}
	accounts, err := a.o.Ledger.LedgerAccounts(ctx)
	for i := range accounts {
		one := &accounts[i]
		shown := LedgerAccount{
			Name: one.Name, Side: string(one.Side), Org: one.Org, Project: one.Project, Provider: one.Provider, Credential: one.Credential,
			NetNano: int64(one.Net()), PendingNano: int64(one.PendingDebit + one.PendingCredit), DebitedNano: int64(one.Debit), CreditedNano: int64(one.Credit),
		}
		if one.Project != "" {
			shown.ProjectName = a.o.Keys.Name(one.Project)
		}
		out.Data = append(out.Data, shown)
	}
	return out, err
}

func (a *API) listUnknown(ctx context.Context, _ *call) (Unknowns, error) {
	out := Unknowns{Tries: []UnknownTry{}, Leases: []UnknownLease{}}
	var err error
	if out.Behind, err = a.catchUp(ctx); err != nil {
		return out, err
	}
	tries, leases, err := a.o.Ledger.LedgerUnknowns(ctx, spanOfLedger)
	for _, u := range tries {
		out.Tries = append(out.Tries, UnknownTry{
			Try: u.Try, At: u.At, Org: u.Org, Project: u.Project, ProjectName: a.o.Keys.Name(u.Project), Target: u.Target, Most: u.Bound.String(),
			MostNano: int64(u.Bound), Reason: u.Reason,
		})
	}
	out.Leases = unknownLeases(leases)
	return out, err
}

func unknownLeases(leases []ledger.DeadLease) []UnknownLease {
	all := make([]UnknownLease, 0, len(leases))
	for _, l := range leases {
		all = append(all, UnknownLease{
			Lease: l.ID, Budget: l.Rule, Subject: l.Subject, Window: time.UnixMicro(l.Start).UTC(), Amount: l.Amount, Renewed: l.Renewed, Restored: l.Restored,
		})
	}
	return all
}

func (a *API) checkLedger(ctx context.Context, _ *call) (LedgerReport, error) {
	if _, err := a.catchUp(ctx); err != nil { // whatever is there has to fit, but what was asked for just now should be
		return LedgerReport{}, err
	}
	r, err := ledger.Check(ctx, a.o.Ledger)
	if err != nil {
		return LedgerReport{}, err
	}
	out := LedgerReport{
		OK: len(r.Findings) == 0, Entries: r.Entries, Accounts: r.Accounts, Windows: r.Pools, Exchanges: r.Exchanges, Unknown: r.Unknown,
		SpentNano: int64(r.Spent), PendingNano: int64(r.Pending), Findings: []LedgerFinding{}, More: r.More,
	}
	for _, f := range r.Findings {
		out.Findings = append(out.Findings, LedgerFinding{Where: f.Where, What: f.What, Expected: f.Expected, Found: f.Found})
	}
	return out, nil
}

func (a *API) closeLedger(ctx context.Context, c *call) (LedgerClose, error) {
	out := LedgerClose{Month: c.query["month"], Zone: c.query["zone"], Rows: []LedgerSum{}, Usage: []LedgerUsage{}}
	if out.Zone == "" {
		out.Zone = "UTC"
	}
	zone, err := limit.Zone(out.Zone)
	if err != nil {
		return out, badParam("zone", "%v", err)
	}
	if out.Month == "" {
		y, m, _ := a.o.Now().In(zone).Date()
		out.Month = time.Date(y, m-1, 15, 0, 0, 0, 0, zone).Format("2006-01")
	}
	month, err := time.ParseInLocation("2006-01", out.Month, zone)
	if err != nil {
		return out, badParam("month", "month is %s; send one such as 2026-11.", quote(out.Month))
	}
	if out.Behind, err = a.catchUp(ctx); err != nil {
		return out, err
	}
	span := window.Calendar{Per: window.Month, Zone: zone}.At(month.AddDate(0, 0, 14))
	closing, err := ledger.Close(ctx, a.o.Ledger, span.Start, span.End)
	if err != nil {
		return out, err
	}
	out.From, out.To, out.TotalNano, out.PendingNano = closing.From.UTC(), closing.To.UTC(), int64(closing.Total), int64(closing.Pending)
	for _, r := range closing.Rows {
		out.Rows = append(out.Rows, LedgerSum{
			Org: r.Org, Project: r.Project, ProjectName: a.o.Keys.Name(r.Project), Provider: r.Provider, Credential: r.Credential, Target: r.Target,
			Kind: r.Kind.String(), Entries: r.Entries, Amount: r.Amount.String(), Nano: int64(r.Amount),
		})
	}
	sums, err := a.o.Records.Sums(ctx, usage.Query{From: span.Start, To: span.End, By: []string{"org", "project", "target"}})
	if err != nil {
		if out.UsageGone = fault.From(err).Code == fault.InvalidRequest; out.UsageGone { // nothing else of the question can be wrong
			err = nil
		}
		return out, err
	}
	for _, s := range sums {
		closing.Count(ledger.Counted{Org: s.Group["org"], Project: s.Group["project"], Target: s.Group["target"], Requests: s.Requests, Usage: s.Usage})
	}
	for _, n := range closing.Counted {
		out.Usage = append(out.Usage, LedgerUsage{
			Org: n.Org, Project: n.Project, ProjectName: a.o.Keys.Name(n.Project), Target: n.Target, Requests: n.Requests, Usage: n.Usage,
		})
	}
	return out, nil
}

func (a *API) settleLedger(ctx context.Context, _ *call, in LedgerSettleInput) (LedgerEntry, error) {
	e, err := ledger.SettleTold(ctx, a.o.Ledger, ledger.Told(in))
	return entryOf(e), err
}

func (a *API) adjustLedger(ctx context.Context, _ *call, in LedgerAdjustInput) (LedgerEntry, error) {
	adjustment := ledger.Adjustment{
		Project: in.Project, Provider: in.Provider, Credential: in.Credential, Target: in.Target, Try: in.Try, Reason: in.Reason, Key: in.Key,
	}
	var err error
	if adjustment.Amount, err = ledger.ReadDifference(in.Amount); err != nil {
		return LedgerEntry{}, err
	}
	if err := ledger.CheckAdjustment(&adjustment); err != nil {
		return LedgerEntry{}, err
	}
	if adjustment.At, err = (query{"at": in.At}).instant("at"); err != nil {
		return LedgerEntry{}, err
	}
	t, err := a.tenants(ctx)
	if err != nil {
		return LedgerEntry{}, err
	}
	p, byID := t.Projects[in.Project]
	if !byID {
		if p, err = a.o.Tenants.Store.FindProject(ctx, "", in.Project); err != nil {
			return LedgerEntry{}, err
		}
	}
	if err := ledger.CheckProvider(ctx, a.o.Ledger, in.Provider, slices.Collect(maps.Keys(a.o.Desk.Vendors()))); err != nil {
		return LedgerEntry{}, err
	}
	adjustment.Org, adjustment.Project = p.Org, p.ID
	e, err := a.o.Ledger.AdjustLedger(ctx, adjustment)
	return entryOf(e), err
}
