package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
)

// Recorded is what records of a time have of one target: the tokens of all exchanges that it answered.
type Recorded struct {
	Usage    llm.Usage
	Requests int64
}

// Ledger is what reconciling needs of the books; the store has it.
type Ledger interface {
	LedgerTotals(ctx context.Context, from, to time.Time) ([]ledger.Total, error)
	LedgerUnknowns(ctx context.Context, limit int) ([]ledger.Unknown, []ledger.DeadLease, error)
	SettleTry(ctx context.Context, r ledger.Resolution) (ledger.Entry, error)
	AdjustLedger(ctx context.Context, a ledger.Adjustment) (ledger.Entry, error)
}

// Sources are what an export is compared with.
type Sources struct {
	Ledger Ledger
	// Recorded sums records of a time, from to before to, by target: PROVIDER/MODEL.
	Recorded func(ctx context.Context, from, to time.Time) (map[string]Recorded, error)
	// Price is what a target's tokens cost now; ok is false if that is not known.
	Price func(llm.Target) (p llm.Price, ok bool)
	// Models are those that are configured of a provider, and Known says whether the catalogue has one of exactly this name.
	Models func(provider string) []string
	Known  func(provider, model string) bool
}

// Options say how to compare, and what may be done about it.
type Options struct {
	Provider   string            // whose export it is, as it is configured here; not for plain files
	Credential int               // only what was sent with this credential of the provider's, from 1; 0 is all
	Zone       *time.Location    // where days begin; nil is UTC
	Threshold  int64             // drift that people are told of, in millionths of the amount
	Names      map[string]string // what names of the export stand for: PROVIDER/MODEL
	Ignore     []string          // names of the export that are no business of Penstock; * stands for anything
	Unfinished bool              // settle days that are not over, or not wholly in the export, as well
	Now        time.Time
}

// DefaultThreshold is one per cent.
const DefaultThreshold = 10_000

// What is never told of, however large its share: a cent, and where no money can be compared, a thousand tokens.
const (
	leastMoney  = llm.Dollar / 100
	leastTokens = 1000
)

// maxUnknowns is how many tries are looked at whose end is unknown.
const maxUnknowns = 10_000

// A State is what came out for a day and target.
type State string

// The states.
const (
	Fits      State = "fits"       // what is left is below the threshold
	Explained State = "explained"  // tries whose end is unknown explain it
	Drifts    State = "drifts"     // it is past the threshold
	Unended   State = "unfinished" // the day is not over, or not wholly in the export
	NoPrice   State = "no money"   // the export has no money, and none can be told from its tokens; the tokens fit
)

// A Line is a day of one target, or of several that the export does not tell apart.
type Line struct {
	Date     string
	Provider string
	Models   []string // of targets; none for a name that was not matched
	Names    []string // in the export
	Whole    bool     // the day is over, and wholly in the export
	State    State

	Books    llm.Money // posted, estimated, settled and adjusted
	Billed   llm.Money // in the export, or told from its tokens
	Money    bool      // Billed is known
	Priced   bool      // Billed is told from tokens, at the prices of now
	Drift    llm.Money // Billed less Books
	Recorded llm.Usage // tokens that are recorded
	Usage    llm.Usage // tokens of the export
	Tokens   bool      // Usage is known

	Unknown int64     // tries whose end is unknown
	Most    llm.Money // that they may have cost
	// Steps settle them. Left is the drift that they do not explain, and Why says why there are none.
	Steps []Step
	Left  llm.Money
	Why   string
	// Shares are how what is left is spread over projects.
	Shares []Share

	base    llm.Money // posted and estimated
	entries int64     // of those
	pending []ledger.Unknown
	ends    time.Time
}

// A Step settles one try.
type Step struct {
	Try    string
	Amount llm.Money // 0 voids it
	Tokens int64     // below 0: what it holds

	of *ledger.Unknown
}

// A Share is an adjusting entry.
type Share struct {
	Org, Project string
	Credential   int
	Model        string
	Amount       llm.Money
}

// A Report is what an export and the books come to together.
type Report struct {
	Export *Export
	Lines  []Line // by day, provider and target
	Names  []Match
	Leases []ledger.DeadLease
	// Partly says that there are more unknown tries than are looked at; the later days may be settled by another run.
	Partly bool
}

// providers are those that the export is of.
func providers(e *Export, o *Options) []string {
	if e.Format != Plain {
		return []string{o.Provider}
	}
	all := map[string]bool{}
	for i := range e.Rows {
		all[e.Rows[i].Provider] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// Compare sets the export beside the books. It changes nothing.
func Compare(ctx context.Context, s Sources, e *Export, o Options) (*Report, error) {
	if o.Zone == nil || e.Format != Plain {
		o.Zone = time.UTC
	}
	r := &Report{Export: e}
	unknowns, leases, err := s.Ledger.LedgerUnknowns(ctx, maxUnknowns)
	if err != nil {
		return nil, err
	}
	r.Leases, r.Partly = leases, len(unknowns) >= maxUnknowns
	c := comparison{Sources: s, o: o, e: e, unknowns: unknowns, days: make([]books, 0, len(e.Days)), upTo: time.Unix(1<<40, 0)}
	if r.Partly { // they are in order
		c.upTo = unknowns[len(unknowns)-1].At
	}
	for _, d := range e.Days {
		b, err := c.read(ctx, d)
		if err != nil {
			return nil, err
		}
		c.days = append(c.days, b)
	}
	for _, p := range providers(e, &o) {
		r.Lines = append(r.Lines, c.provider(p)...)
		r.Names = append(r.Names, c.names...)
	}
	slices.SortStableFunc(r.Lines, func(x, y Line) int {
		return cmp.Or(cmp.Compare(x.Date, y.Date), cmp.Compare(x.Provider, y.Provider))
	})
	return r, nil
}

// A comparison is the work of Compare.
type comparison struct {
	Sources

	o        Options
	e        *Export
	unknowns []ledger.Unknown
	upTo     time.Time // all tries from before are among the unknowns
	days     []books
	names    []Match // of the provider that is being compared
}

// books are what there is of one day.
type books struct {
	Day

	from, to time.Time
	totals   []ledger.Total
	recorded map[string]Recorded
}

func (c *comparison) read(ctx context.Context, d Day) (b books, err error) {
	start, err := time.ParseInLocation(time.DateOnly, d.Date, c.o.Zone)
	if err != nil {
		return b, err
	}
	b = books{Day: d, from: start, to: start.AddDate(0, 0, 1)}
	if b.totals, err = c.Ledger.LedgerTotals(ctx, b.from, b.to); err != nil {
		return b, err
	}
	b.recorded, err = c.Recorded(ctx, b.from, b.to)
	return b, err
}

// provider compares all days of one.
func (c *comparison) provider(provider string) []Line {
	m := newMatcher(c.models(provider), c.given(provider), func(model string) bool { return c.Known(provider, model) })
	found := map[string]Match{}
	has := struct{ tokens, money bool }{}
	for i := range c.e.Rows {
		row := &c.e.Rows[i]
		if row.Provider != "" && row.Provider != provider {
			continue
		}
		has.tokens, has.money = has.tokens || row.Tokens, has.money || row.Billed
		if _, seen := found[row.Model]; seen || row.Model == "" || c.ignored(row.Model) {
			continue
		}
		models, by := m.match(row.Model)
		found[row.Model] = Match{provider, row.Model, models, by}
	}
	c.names = c.names[:0:0]
	for _, name := range slices.Sorted(maps.Keys(found)) {
		c.names = append(c.names, found[name])
	}
	var all []Line
	for i := range c.days {
		d := dayOf{c: c, m: m, books: &c.days[i], provider: provider, lines: map[string]*Line{}, found: found}
		all = append(all, d.compare(has.tokens, has.money)...)
	}
	keepLate(all, c.days)
	return all
}

// models are all that there may be lines of.
func (c *comparison) models(provider string) []string {
	all := slices.Clone(c.Models(provider))
	add := func(target string) {
		if t, ok := llm.ParseTarget(target); ok && t.Provider == provider {
			all = append(all, t.Model)
		}
	}
	for i := range c.days {
		for _, t := range c.days[i].totals {
			add(t.Target)
		}
		for target := range c.days[i].recorded {
			add(target)
		}
	}
	for i := range c.unknowns {
		add(c.unknowns[i].Target)
	}
	for _, target := range c.o.Names {
		add(target)
	}
	return all
}

func (c *comparison) given(provider string) map[string]string {
	all := map[string]string{}
	for name, target := range c.o.Names {
		if t, ok := llm.ParseTarget(target); ok && t.Provider == provider {
			all[name] = t.Model
		}
	}
	return all
}

func (c *comparison) ignored(name string) bool {
	return slices.ContainsFunc(c.o.Ignore, func(glob string) bool { return llm.MatchName(glob, name) })
}

// past reports whether a difference is one to tell of.
func past(difference, a, b, threshold, least int64) bool {
	d, of := size(difference), max(size(a), size(b))
	if d < uint64(least) {
		return false
	}
	dh, dl := bits.Mul64(d, 1_000_000)
	th, tl := bits.Mul64(of, uint64(max(threshold, 0)))
	return dh > th || dh == th && dl > tl
}

func size(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}

// ParseThreshold reads a share, such as "1%", "0.5" (of a per cent) or "0", as millionths.
func ParseThreshold(s string) (int64, error) {
	text := strings.TrimSpace(strings.TrimSuffix(s, "%"))
	n, ok := decimal(text, 0)
	if !ok || n.Sign() < 0 {
		return 0, fmt.Errorf("%q is no share; write per cent, such as 1 or 0.5", s)
	}
	n.Quo(n, ten(decimals-4))
	if !n.IsInt64() || n.Int64() > 1_000_000 {
		return 0, fmt.Errorf("%q is over 100 per cent", s)
	}
	return n.Int64(), nil
}
