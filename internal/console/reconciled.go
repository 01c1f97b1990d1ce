package console

import (
	"cmp"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/reconcile"
)

// maxDrawn is how many bars a plot of days has at most; then one is of several days.
const maxDrawn = 62

// A reconciledView is an export beside the books.
type reconciledView struct {
	Plan, Hash, Format, Zone, Threshold string
	Days                                int
	From, To                            string
	Booked, Billed, Drift, Share        string
	Lines, Drifts, Fits                 int
	Plot                                *plot
	Rows, Fitting                       []reconciledRow
	MoreRows, MoreFitting               int
	Settles, Voids, Corrects            int
	SettleSum, CorrectSum               string
	Charged                             []chargedRow
	MoreCharged                         int
	Unmatched                           []string
	Taken                               []string // names that were taken for what is not plain
	Leases                              []unknownLease
	Done                                *reconcile.Done
	DoneSettled, DoneCorrected          string
	Behind, More, Partly                bool
}

// A reconciledRow is a line of the comparison.
type reconciledRow struct {
	Day, Target, Booked, Billed, Drift, Share, Tokens, BilledTokens, Unknown, Settle, State, Class, Why string
	Unmatched                                                                                           bool
}

// A chargedRow is what one project would bear of the corrections.
type chargedRow struct{ Project, Sum string }

// stateWords say what came out for a line, and how it is shown.
var stateWords = map[reconcile.State][2]string{
	reconcile.Fits: {"fits", "ok"}, reconcile.Explained: {"explained", "quiet"}, reconcile.Drifts: {"drifts", "bad"},
	reconcile.Unended: {"unfinished", "off"}, reconcile.NoPrice: {"no money", "off"},
}

// lineName names what a line is about.
func lineName(l *reconcile.Line) string {
	if len(l.Models) == 0 {
		return l.Provider + ": " + strings.Join(l.Names, ", ")
	}
	all := make([]string, len(l.Models))
	for i, model := range l.Models {
		all[i] = llm.Target{Provider: l.Provider, Model: model}.String()
	}
	return strings.Join(all, ", ")
}

func signedMoney(m llm.Money) string {
	return signedBy(func(n int64) string { return figure.Money(llm.Money(n)) }, int64(m))
}

func signedExact(m llm.Money) string {
	return signedBy(func(n int64) string { return exact(llm.Money(n)) }, int64(m))
}

// shareOf is a difference's share of the larger amount.
func shareOf(difference, x, y llm.Money) string {
	switch of := max(x, y); {
	case of <= 0:
		return figure.None
	case difference < 0:
		return "−" + figure.Percent(int64(-difference), int64(of))
	default:
		return figure.Percent(int64(difference), int64(of))
	}
}

func reconciledRowOf(l *reconcile.Line) reconciledRow {
	words := stateWords[l.State]
	row := reconciledRow{
		Day: l.Date, Target: lineName(l), Unmatched: len(l.Models) == 0, Booked: figure.Money(l.Books), Billed: figure.None, Drift: figure.None, Share: figure.None,
		Tokens: figure.Tokens(l.Recorded.Input + l.Recorded.Output), BilledTokens: figure.None, State: words[0], Class: words[1], Why: l.Why,
		Unknown: figure.None, Settle: figure.None,
	}
	if l.Money {
		row.Billed, row.Drift, row.Share = figure.Money(l.Billed), signedMoney(l.Drift), shareOf(l.Drift, l.Books, l.Billed)
		if l.Priced {
			row.Billed = "~" + row.Billed
		}
	}
	if l.Tokens {
		row.BilledTokens = figure.Tokens(l.Usage.Input + l.Usage.Output)
	}
	if l.Unknown > 0 {
		row.Unknown = figure.Count(l.Unknown) + ", at most " + figure.Money(l.Most)
	}
	if len(l.Steps) > 0 {
		var sum llm.Money
		for _, s := range l.Steps {
			sum = sum.Plus(s.Amount)
		}
		row.Settle = figure.Money(sum)
	}
	return row
}

// reconciled makes the page of an outcome.
func (c *Console) reconciled(v *visit, out *reconcile.Outcome) (*reconciledView, error) {
	days := out.Export.Days
	r := &reconciledView{
		Plan: out.Plan(), Hash: out.Export.Hash[:12], Format: string(out.Export.Format), Zone: out.Zone.String(), Threshold: out.Threshold, Days: len(days),
		From: days[0].Date, To: days[len(days)-1].Date, Behind: out.Behind, More: out.Export.More, Partly: out.Partly, Done: out.Done, Lines: len(out.Lines),
	}
	var booked, billed, drift, settled, corrected llm.Money
	charged := map[string]llm.Money{}
	for i := range out.Lines {
		l := &out.Lines[i]
		if l.Money {
			booked, billed, drift = booked.Plus(l.Books), billed.Plus(l.Billed), drift.Plus(l.Drift)
		}
		for _, s := range l.Steps {
			if r.Settles++; s.Amount == 0 && s.Tokens <= 0 {
				r.Voids++
			}
			settled = settled.Plus(s.Amount)
		}
		for _, s := range l.Shares {
			r.Corrects++
			corrected, charged[s.Project] = corrected.Plus(s.Amount), charged[s.Project].Plus(s.Amount)
		}
		r.list(l)
	}
	if len(r.Rows) > maxRows { // then those that drift come first
		slices.SortStableFunc(r.Rows, func(x, y reconciledRow) int { return cmp.Compare(x.Class, y.Class) })
		r.Rows, r.MoreRows = r.Rows[:maxRows], len(r.Rows)-maxRows
	}
	r.Booked, r.Billed, r.Drift, r.Share = exact(booked), exact(billed), signedExact(drift), shareOf(drift, booked, billed)
	r.SettleSum, r.CorrectSum = exact(settled), signedExact(corrected)
	c.charge(r, charged)
	r.names(out.Names)
	r.Plot = driftPlot(out.Report)
	if out.Done != nil {
		r.DoneSettled, r.DoneCorrected = exact(out.Done.Amount), signedExact(out.Done.Correction)
	}
	return r, c.reconciledLeases(v, r, out.Leases)
}

// list puts a line among those that fit, or do not.
func (r *reconciledView) list(l *reconcile.Line) {
	row := reconciledRowOf(l)
	if l.State == reconcile.Drifts {
		r.Drifts++
	}
	if l.State != reconcile.Fits || l.Unknown > 0 {
		r.Rows = append(r.Rows, row)
		return
	}
	if r.Fits++; len(r.Fitting) == maxRows {
		r.MoreFitting++
		return
	}
	r.Fitting = append(r.Fitting, row)
}

// charge says what projects would bear of the corrections.
func (c *Console) charge(r *reconciledView, charged map[string]llm.Money) {
	for project, sum := range charged {
		r.Charged = append(r.Charged, chargedRow{c.o.Keys.Name(project), signedExact(sum)})
	}
	slices.SortFunc(r.Charged, func(x, y chargedRow) int { return strings.Compare(x.Project, y.Project) })
	const shown = 20
	if len(r.Charged) > shown {
		r.Charged, r.MoreCharged = r.Charged[:shown], len(r.Charged)-shown
	}
}

// names says what names of the export were taken for, where that is not plain.
func (r *reconciledView) names(all []reconcile.Match) {
	for _, m := range all {
		switch {
		case len(r.Unmatched)+len(r.Taken) >= maxRows:
			return
		case len(m.Models) == 0:
			r.Unmatched = append(r.Unmatched, m.Name+"="+m.Provider+"/MODEL")
		case m.By == "version" || len(m.Models) > 1:
			r.Taken = append(r.Taken, m.Name+" was taken for "+strings.Join(slices.Sorted(slices.Values(m.Models)), " and "))
		}
	}
}

func (c *Console) reconciledLeases(v *visit, r *reconciledView, leases []ledger.DeadLease) error {
	if len(leases) == 0 {
		return nil
	}
	defined, dir, err := c.defined(v.ctx())
	if err != nil {
		return err
	}
	budgets := budgetNames(&defined, dir)
	for i := range leases[:min(len(leases), maxRows)] {
		r.Leases = append(r.Leases, c.leaseRowOf(&leases[i], budgets))
	}
	return nil
}

// driftPlot draws what was billed less what is booked, by day and target: above zero where more was billed. It is nil where nothing is.
func driftPlot(r *reconcile.Report) *plot {
	days := r.Export.Days
	per := (len(days) + maxDrawn - 1) / maxDrawn
	n := (len(days) + per - 1) / per
	places := map[string]int{}
	for i, d := range days {
		places[d.Date] = i / per
	}
	sizes, sums, names := map[string]llm.Money{}, map[string][]int64{}, []string{}
	for i := range r.Lines {
		l := &r.Lines[i]
		if !l.Money || l.Drift == 0 {
			continue
		}
		name := lineName(l)
		if sums[name] == nil {
			sums[name], names = make([]int64, n), append(names, name)
		}
		sums[name][places[l.Date]] = llm.Sum(sums[name][places[l.Date]], int64(l.Drift))
		sizes[name] = sizes[name].Plus(max(l.Drift, -l.Drift))
	}
	if len(names) == 0 {
		return nil
	}
	slices.SortFunc(names, func(x, y string) int { return cmp.Or(cmp.Compare(sizes[y], sizes[x]), strings.Compare(x, y)) })
	p := &plot{Caption: "Billed less booked, by day and target", From: days[0].Date, To: days[len(days)-1].Date, Tall: true}
	stacks := make([]stack, n)
	for i := range stacks {
		stacks[i] = stack{i, make([]int64, min(len(names), topSeries+1))}
	}
	for j, name := range names {
		if j < topSeries {
			p.Series = append(p.Series, plotSeries{name, "s" + string(rune('1'+j))})
		} else if j == topSeries {
			p.Series = append(p.Series, plotSeries{"others", "rest"})
		}
		at := min(j, topSeries)
		for i, amount := range sums[name] {
			stacks[i].amounts[at] = llm.Sum(stacks[i].amounts[at], amount)
		}
	}
	label := func(step int) string {
		first, last := days[step*per].Date, days[min((step+1)*per, len(days))-1].Date
		if first == last {
			return first
		}
		return first + " to " + last
	}
	p.signed(stacks, n, label, func(n int64) string { return signedMoney(llm.Money(n)) })
	return p
}
