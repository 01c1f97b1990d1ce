package cli

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

// A usageFlags says which sums are asked for and how they are shown.
type usageFlags struct {
	by, from, to, zone string
	only               onlyFlags
	csv, plot          bool
}

func (a *app) usageCommand() *cobra.Command {
	f, u := &adminFlags{}, &usageFlags{}
	c := &cobra.Command{
		Use:   "usage",
		Short: "Sum tokens and money by organisation, project, key, user, model, target, tag, label, day or hour",
		Example: `  penstock usage
  penstock usage --by project,model --from 2026-11-01
  penstock usage --by day --plot
  penstock usage --by day,user --project checkout --zone Europe/Berlin
  penstock usage --by label:cost_center --csv > november.csv`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			query := u.only.query(url.Values{"group_by": {u.by}, "from": {u.from}, "to": {u.to}, "zone": {u.zone}})
			var out admin.Usage
			if err := client.call(cmd.Context(), http.MethodGet, "/usage", query, nil, &out); err != nil {
				return err
			}
			whole := out
			if slices.Contains(out.GroupBy, "tag") { // an exchange is in the group of each of its tags
				whole = admin.Usage{}
				query.Set("group_by", "org")
				if err := client.call(cmd.Context(), http.MethodGet, "/usage", query, nil, &whole); err != nil {
					return err
				}
			}
			return a.printUsage(f, u, out, total(whole.Data))
		},
	}
	f.add(c)
	c.Flags().StringVar(&u.by, "by", "model", "what to sum by; several with commas: org, project, key, user, model, target, provider, tag, label:NAME (of projects), day or hour")
	c.Flags().StringVar(&u.from, "from", "", "first day or instant, UTC (default: the start of this month)")
	c.Flags().StringVar(&u.to, "to", "", "day or instant before which to stop, UTC (default: now)")
	c.Flags().StringVar(&u.zone, "zone", "", "zone of the days, such as Europe/Berlin (default UTC)")
	u.only.add(c)
	c.Flags().BoolVar(&u.csv, "csv", false, "print exact numbers as CSV")
	c.Flags().BoolVar(&u.plot, "plot", false, "draw money over days (with --by day)")
	c.MarkFlagsMutuallyExclusive("json", "csv", "plot")
	return c
}

// An onlyFlags says which exchanges a report is about.
type onlyFlags struct{ org, project, key, user, model, target, tag string }

func (o *onlyFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&o.org, "org", "", "only this organisation")
	c.Flags().StringVar(&o.project, "project", "", "only this project")
	c.Flags().StringVar(&o.key, "key", "", "only this key, by id")
	c.Flags().StringVar(&o.user, "user", "", "only this end user")
	c.Flags().StringVar(&o.model, "model", "", "only this model, as it was asked for")
	c.Flags().StringVar(&o.target, "target", "", "only answered by this PROVIDER/MODEL")
	c.Flags().StringVar(&o.tag, "tag", "", "only with this tag")
}

// query adds what was given to a query, and leaves out what is empty.
func (o *onlyFlags) query(q url.Values) url.Values {
	for name, value := range map[string]string{
		"org": o.org, "project": o.project, "key": o.key, "user": o.user, "model": o.model, "target": o.target, "tag": o.tag,
	} {
		q.Set(name, value)
	}
	maps.DeleteFunc(q, func(_ string, values []string) bool { return values[0] == "" })
	return q
}

func (a *app) printUsage(f *adminFlags, u *usageFlags, out admin.Usage, whole usage.Sum) error {
	if out.Behind {
		fmt.Fprintln(a.err, "The store does not take records at the moment; those that wait in the journal are missing here.")
	}
	switch {
	case f.json:
		return a.printJSON(out)
	case u.csv:
		return a.usageCSV(out)
	case len(out.Data) == 0:
		fmt.Fprintf(a.err, "No exchanges from %s to %s. Send one: penstock chat MODEL \"hello\", or widen with --from.\n",
			out.From.Format(time.RFC3339), out.To.Format(time.RFC3339))
		return nil
	case u.plot:
		return a.usagePlot(out)
	}
	return a.usageTable(out, whole)
}

func (a *app) usageCSV(out admin.Usage) error {
	head, rows := usage.Table(out.GroupBy, out.Data)
	return figure.CSV(a.out, head, rows)
}

// total adds groups that do not overlap.
func total(groups []usage.Sum) (t usage.Sum) {
	for _, s := range groups {
		t = t.Plus(s)
	}
	return t
}

// usageTable prints sums with the dearest first, and says what is not in the total.
func (a *app) usageTable(out admin.Usage, total usage.Sum) error {
	if slices.Equal(out.GroupBy, []string{"day"}) {
		slices.SortFunc(out.Data, func(x, y usage.Sum) int { return strings.Compare(x.Group["day"], y.Group["day"]) })
	} else {
		slices.SortStableFunc(out.Data, func(x, y usage.Sum) int { return int(min(max(y.CostNano-x.CostNano, -1), 1)) })
	}
	t := table{right: []string{"REQUESTS", "ERRORS", "INPUT", "OUTPUT", "COST", "SHARE"}}
	for _, g := range out.GroupBy {
		t.head = append(t.head, strings.ToUpper(g))
	}
	t.text = slices.Clone(t.head)
	parts := partsOf(&total.Usage)
	t.head = append(t.head, "REQUESTS", "ERRORS", "INPUT", "OUTPUT")
	for _, p := range parts {
		t.head, t.right = append(t.head, p.head), append(t.right, p.head)
	}
	t.head = append(t.head, "COST", "SHARE", "")
	for _, s := range out.Data {
		t.add(append(a.groupCells(out.GroupBy, out.Names, s.Group), a.withParts(a.sumCells(s, total), &s.Usage, parts)...)...)
	}
	foot := []string{"TOTAL"}
	for range out.GroupBy[1:] {
		foot = append(foot, "")
	}
	cells := a.sumCells(total, total)
	cells[5], cells[6] = "", ""
	t.add(append(foot, a.withParts(cells, &total.Usage, parts)...)...)
	if err := a.printTable(&t); err != nil {
		return err
	}
	if total.Unknown > 0 {
		fmt.Fprintf(a.err, "%s requests have a try of which it is not known what it cost; that is not in the total.\n", figure.Count(total.Unknown))
	}
	if total.Settled > 0 || total.SettledNano > 0 {
		fmt.Fprintf(a.err, "Tries that were unknown at first are settled by now at $%s, and with them %s; that is not in the total, but in the ledger.\n",
			total.SettledNano, counted(total.Settled, "request", "requests"))
	}
	if total.Unpriced > 0 {
		fmt.Fprintf(a.err, "%s requests are not, or not wholly, in the total: their model has no price (penstock price set PROVIDER/MODEL ...).\n", figure.Count(total.Unpriced))
	}
	return nil
}

func (a *app) groupCells(by []string, names, group map[string]string) []string {
	cells := []string{}
	for _, g := range by {
		v := group[g]
		if name := names[v]; name != "" && (g == "project" || g == "key") {
			v = name
		}
		if v == "" {
			v = figure.None
		}
		cells = append(cells, v)
	}
	return cells
}

func (a *app) sumCells(s, total usage.Sum) []string {
	tokens, money := figure.Tokens, func(m llm.Money) string { return figure.Fixed(m, 4) }
	if !a.tty {
		tokens, money = func(n int64) string { return fmt.Sprint(n) }, func(m llm.Money) string { return "$" + m.String() }
	}
	cost := money(s.CostNano)
	switch {
	case s.CostNano == 0 && s.Unpriced > 0:
		cost = figure.Unpriced
	case s.CostNano == 0 && s.Unknown > 0:
		cost = figure.Unknown
	}
	bar := strings.Repeat("#", int(20*float64(s.CostNano)/float64(max(total.CostNano, 1))))
	return []string{tokens(s.Requests), tokens(s.Errors), tokens(s.Usage.Input), tokens(s.Usage.Output), cost,
		figure.Percent(int64(s.CostNano), int64(total.CostNano)), bar}
}

// A partColumn is a column of a part of usage.
type partColumn struct {
	head string
	of   func(*llm.Usage) int64
}

// partHeads are those of the parts, in the order of [llm.Parts.All].
var partHeads = [len(llm.PartNames)]string{"KEPT 1H", "KEPT 5M", "HEARD", "HEARD CACHED", "SPOKEN", "PICTURES", "SEARCHES"}

// partsOf are the columns of what providers count apart, where that is not 0 in the total. With them come those of the tokens that
// they are parts of, so that all can be held against a bill.
func partsOf(total *llm.Usage) (all []partColumn) {
	if total.Parts == (llm.Parts{}) {
		return nil
	}
	for _, c := range []partColumn{
		{"CACHED", func(u *llm.Usage) int64 { return u.CachedInput }}, {"WRITTEN", func(u *llm.Usage) int64 { return u.CacheWrite }},
	} {
		if c.of(total) != 0 {
			all = append(all, c)
		}
	}
	for i, n := range total.Parts.All() {
		if *n != 0 {
			all = append(all, partColumn{partHeads[i], func(u *llm.Usage) int64 { return *u.Parts.All()[i] }})
		}
	}
	return all
}

// withParts puts columns of parts before the cost.
func (a *app) withParts(cells []string, u *llm.Usage, parts []partColumn) []string {
	for i, p := range parts {
		n := fmt.Sprint(p.of(u))
		if a.tty {
			n = figure.Tokens(p.of(u))
		}
		cells = slices.Insert(cells, 4+i, n)
	}
	return cells
}

// usagePlot draws money by day.
func (a *app) usagePlot(out admin.Usage) error {
	if !slices.Equal(out.GroupBy, []string{"day"}) {
		return fail(exitUsage, "penstock usage --by day --plot", "--plot draws days")
	}
	series, first, last, err := daily(out.Data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(a.out, asciigraph.Plot(series, asciigraph.Height(10), asciigraph.Width(max(a.width()-16, 20)),
		asciigraph.LowerBound(0), asciigraph.Precision(4), asciigraph.Caption(fmt.Sprintf("US dollars a day, %s to %s (UTC; the last day may not be over)", first, last))))
	return err
}

// daily is the money of each day from the first to the last of the sums; days without calls cost nothing. A single day is
// there twice, for a line needs two ends.
func daily(sums []usage.Sum) (dollars []float64, first, last string, err error) {
	cost := map[string]llm.Money{}
	for _, s := range sums {
		cost[s.Group["day"]] = s.CostNano
	}
	days := slices.Sorted(maps.Keys(cost))
	first, last = days[0], days[len(days)-1]
	day, err := time.Parse(time.DateOnly, first)
	if err != nil {
		return nil, "", "", fmt.Errorf("a sum of the day %q: %w", first, err)
	}
	for ; day.Format(time.DateOnly) <= last; day = day.AddDate(0, 0, 1) {
		dollars = append(dollars, float64(cost[day.Format(time.DateOnly)])/float64(llm.Dollar))
	}
	if len(dollars) == 1 {
		dollars = append(dollars, dollars[0])
	}
	return dollars, first, last, nil
}
