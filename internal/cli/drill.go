package cli

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/drill"
	"github.com/penstock/penstock/internal/figure"
)

// A drillFlags says what is rehearsed.
type drillFlags struct {
	file, model, allow string
	target             string
	length, wait       time.Duration
	rate               float64
	seed               uint64
	json               bool
}

// allScenarios is the word for one after the other.
const allScenarios = "all"

func (a *app) drillCommand() *cobra.Command {
	f := &drillFlags{}
	c := &cobra.Command{
		Use:   "drill [SCENARIO]",
		Short: "Rehearse trouble with providers: what your clients would see, with the file as it is",
		Long: `Rehearse trouble with providers: what your clients would see, with the file as it is.

The targets of the file are replaced by simulated twins of the same dialect, price and name, and a Penstock in this process
stands in front of them with everything else as the file has it: targets, policies, rules, tries, timers, hedging. A load goes
through it; after a tenth of the time the chosen target gets into trouble, and for the last quarter it is well again.

No provider is called and no credential is needed; a Penstock that serves from the same file is not touched. A drill takes as
long as --for says, and then waits for calls that the file's timers still hold, no longer than --wait. Without a scenario, the
scenarios are listed. Exit code 1: more calls failed than --allow.`,
		Example: `  penstock drill
  penstock drill outage -c penstock.yaml
  penstock drill stall -c penstock.yaml --model support --target anthropic --for 2m
  penstock drill all -c penstock.yaml --for 20s --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return a.listDrills(f.json)
			}
			return a.drill(cmd.Context(), f, args[0])
		},
	}
	c.Flags().StringVarP(&f.file, "config", "c", "", "configuration file (default: the providers found in the environment)")
	c.Flags().StringVar(&f.model, "model", "", "the model that is called (default: the first of the file)")
	c.Flags().StringVar(&f.target, "target", "", "who gets into trouble: PROVIDER or PROVIDER/MODEL, several with commas (default: the model's first target)")
	c.Flags().DurationVar(&f.length, "for", time.Minute, "how long to send calls")
	c.Flags().DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait then for calls without an answer; what has none by then counts as failed")
	c.Flags().Float64Var(&f.rate, "rate", 20, "calls a second, on average; half of them are streams")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the load and of the twins")
	c.Flags().StringVar(&f.allow, "allow", "1%", "how many of the calls may fail")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

func (a *app) listDrills(asJSON bool) error {
	if asJSON {
		return a.printJSON(page[drill.Scenario]{Data: drill.Scenarios()})
	}
	t := table{head: []string{"SCENARIO", "WHAT IT IS LIKE"}, text: []string{"WHAT IT IS LIKE"}}
	for _, s := range drill.Scenarios() {
		t.add(s.Name, s.About+": "+s.Wire)
	}
	t.add(allScenarios, "one after the other")
	return a.printTable(&t)
}

// A drillResult is the JSON of drills.
type drillResult struct {
	Passed bool            `json:"passed"`
	Drills []*drill.Report `json:"drills"`
}

func (a *app) drill(ctx context.Context, f *drillFlags, scenario string) error {
	drills, err := a.drills(ctx, f, scenario)
	if err != nil {
		return err
	}
	out := drillResult{Passed: true, Drills: []*drill.Report{}}
	for i, d := range drills {
		r, err := a.runDrill(ctx, f, d)
		if err != nil {
			return err
		}
		out.Drills, out.Passed = append(out.Drills, r), out.Passed && r.Passed
		if !f.json {
			if i > 0 {
				fmt.Fprintln(a.out)
			}
			if err := a.printDrill(r); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			break
		}
	}
	if f.json {
		if err := a.printJSON(out); err != nil {
			return err
		}
	}
	return drillVerdict(out)
}

// drills makes the drills that were asked for, or says what is wrong with that.
func (a *app) drills(ctx context.Context, f *drillFlags, scenario string) ([]*drill.Drill, error) {
	allow, err := parsePercent(f.allow)
	if err != nil {
		return nil, fail(exitUsage, "write it as 1% or 0.5%", "--allow %s is not a share", f.allow)
	}
	names := []string{scenario}
	if scenario == allScenarios {
		names = nil
		for _, s := range drill.Scenarios() {
			names = append(names, s.Name)
		}
	} else if _, ok := drill.Find(scenario); !ok {
		return nil, fail(exitUsage, "see: penstock drill", "There is no scenario %q.", scenario)
	}
	// The references of the file are not read: twins need none.
	cfg, err := config.Load(ctx, config.Options{File: f.file, Env: a.env})
	if err != nil {
		return nil, configError(err)
	}
	if len(cfg.Providers) == 0 {
		return nil, fail(exitConfig, "name a file with -c, or see: penstock demo", "There are no providers to make twins of.")
	}
	drills := make([]*drill.Drill, len(names))
	for i, name := range names {
		drills[i], err = drill.New(drill.Options{
			Scenario: name, Config: cfg, Model: f.model, Targets: listOf(f.target), Length: f.length, Wait: f.wait, Rate: f.rate, Seed: f.seed,
			Allow: allow, Log: slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: slog.LevelError})), Version: a.version,
		})
		if err != nil {
			return nil, fail(exitUsage, "see: penstock drill --help", "%s.", sentenceOf(err))
		}
	}
	return drills, nil
}

// sentenceOf starts an error with a capital.
func sentenceOf(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// parsePercent reads "1%" and "0.5 %".
func parsePercent(text string) (share float64, err error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	share, err = strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !ok || !(share >= 0 && share <= 100) {
		return 0, fmt.Errorf("%q is not a share", text)
	}
	return share / 100, nil
}

func (a *app) runDrill(ctx context.Context, f *drillFlags, d *drill.Drill) (*drill.Report, error) {
	fmt.Fprintf(a.err, "%s of %s, called as %s, for %s at %g calls a second, seed %d.\nNo provider is called. How long a client waits is up to %s; the drill waits %s at most for what is open at its end.\n", d.Scenario().Name, clean(strings.Join(d.Troubled(), ", ")),
		clean(d.Model()), figure.Duration(f.length), f.rate, f.seed, d.Scenario().Bounds, figure.Duration(f.wait))
	stop := a.progress(time.Now(), f.length, func() string { return drillState(d.State()) })
	r, err := d.Run(ctx)
	stop()
	return r, err
}

func drillState(s drill.State) string {
	text := fmt.Sprintf("%s   %d calls, %d open, %d failed", s.Phase, s.Sent, s.Open, s.Failed)
	if s.UntilNextTurn > 0 {
		text += fmt.Sprintf("   next in %.0f s", s.UntilNextTurn.Seconds())
	}
	return text
}

func drillVerdict(out drillResult) error {
	var failed, books []string
	interrupted := false
	for _, r := range out.Drills {
		switch {
		case !r.Books.Agree:
			books = append(books, r.Scenario.Name+" ("+r.Data+")")
		case r.Interrupted:
			interrupted = true
		case !r.Passed:
			failed = append(failed, r.Scenario.Name)
		}
	}
	switch {
	case len(books) > 0:
		return fail(exitFailure, "this is a defect of Penstock: report it with the seed and the directory", "The records and the bill do not agree: %s.", strings.Join(books, ", "))
	case len(failed) > 0:
		return fail(exitFailure, "", "More calls failed than allowed: %s.", strings.Join(failed, ", "))
	}
	if interrupted {
		return fail(exitFailure, "", "Interrupted: the trouble was not played to its end.")
	}
	return nil
}

// printDrill writes the report for people: the verdict first, for that is what one wants to know.
func (a *app) printDrill(r *drill.Report) error {
	p := func(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }
	word := a.paint(a.tty, good, "passed")
	switch {
	case r.Interrupted:
		word = "interrupted"
	case !r.Passed:
		word = a.paint(a.tty, bad, "failed")
	}
	p("%s of %s, called as %s: %s.", a.paint(a.tty, bold, r.Scenario.Name), clean(strings.Join(r.Troubled, ", ")), clean(r.Model), word)
	p("%s.", upperFirst(r.Scenario.Wire))
	p("")
	for _, line := range r.Verdict {
		p("%s", clean(line))
	}
	for _, h := range r.Hints {
		p("  do: %s: %s", clean(h.Key), clean(h.Text))
	}
	p("")
	if err := a.drillPhases(r); err != nil {
		return err
	}
	if len(r.Whole.Errors) > 0 {
		p("")
		t := table{head: []string{"CLIENTS SAW", "CALLS", "SUCH AS"}, right: []string{"CALLS"}, text: []string{"SUCH AS"}}
		for _, e := range r.Whole.Errors {
			t.add(clean(e.Kind), figure.Count(int64(e.Calls)), clean(e.Example))
		}
		if err := a.printTable(&t); err != nil {
			return err
		}
	}
	p("")
	if err := a.drillTries(r); err != nil {
		return err
	}
	for _, turn := range r.Turns {
		p("  %5.1f s  %s %s%s", turn.AtSeconds, clean(turn.Target), strings.ReplaceAll(turn.State, "_", "-"), because(turn.Reason))
	}
	a.drillPlot(r)
	p("")
	p("%s", booksLine(&r.Books))
	for _, problem := range r.Books.Problems {
		p("  %s", clean(problem))
	}
	return nil
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + clean(reason) + ")"
}

func (a *app) drillPhases(r *drill.Report) error {
	t := table{
		head:  []string{"PHASE", "SECONDS", "CALLS", "ANSWERED", "FAILED", "FALLBACKS", "FIRST TOKEN P50", "P95", "TRIES/CALL", "COST/ANSWER"},
		right: []string{"SECONDS", "CALLS", "ANSWERED", "FAILED", "FALLBACKS", "FIRST TOKEN P50", "P95", "TRIES/CALL", "COST/ANSWER"},
	}
	for _, p := range append(slices.Clone(r.Phases), r.Whole) {
		cost := figure.Money(p.CostPerAnswer())
		if p.CostPerAnswer() == 0 {
			cost = figure.None
			if r.Books.Unpriced > 0 {
				cost = figure.Unpriced
			}
		}
		t.add(p.Name, fmt.Sprintf("%.1f-%.1f", p.From, p.Until), figure.Count(int64(p.Calls)), figure.Count(int64(p.Answered)), figure.Count(int64(p.Calls-p.Answered)),
			figure.Count(int64(p.Fallbacks)), inSeconds(p.FirstToken.P50), inSeconds(p.FirstToken.P95), fmt.Sprintf("%.2f", p.Tries), cost)
	}
	return a.printTable(&t)
}

func inSeconds(s float64) string {
	if s == 0 {
		return figure.None
	}
	return figure.Duration(time.Duration(s * float64(time.Second)))
}

func (a *app) drillTries(r *drill.Report) error {
	t := table{
		head:  []string{"TARGET", "TRIES", "FAILED", "ANSWERS QUIET", "TROUBLE", "RECOVERY", "FAILED WITH"},
		right: []string{"TRIES", "FAILED", "ANSWERS QUIET", "TROUBLE", "RECOVERY"}, text: []string{"FAILED WITH"},
	}
	for _, one := range r.Tries {
		name := clean(one.Target)
		if slices.Contains(r.Troubled, one.Target) {
			name += " *"
		}
		cells := []string{name, figure.Count(int64(one.Tries)), figure.Count(int64(one.Failed))}
		for _, p := range r.Phases {
			cells = append(cells, figure.Percent(int64(p.Answers[one.Target]), int64(max(p.Answered, 1))))
		}
		var reasons []string
		for _, reason := range slices.Sorted(maps.Keys(one.Reasons)) {
			reasons = append(reasons, fmt.Sprintf("%s %d", reason, one.Reasons[reason]))
		}
		t.add(append(cells, strings.Join(reasons, ", "))...)
	}
	return a.printTable(&t)
}

// drillPlot draws who answered over time, and what failed, on a terminal.
func (a *app) drillPlot(r *drill.Report) {
	if !a.tty || len(r.Slots) < 4 {
		return
	}
	legends, series := []string{}, [][]float64{}
	for i := range r.Tries {
		if r.Whole.Answers[r.Tries[i].Target] == 0 {
			continue
		}
		line := make([]float64, len(r.Slots))
		for j, s := range r.Slots {
			line[j] = float64(s.Answers[r.Tries[i].Target])
		}
		legends, series = append(legends, clean(r.Tries[i].Target)), append(series, line)
	}
	failed := make([]float64, len(r.Slots))
	for j, s := range r.Slots {
		failed[j] = float64(s.Errors)
	}
	legends, series = append(legends, "failed"), append(series, failed)
	fmt.Fprintln(a.out)
	fmt.Fprintln(a.out, asciigraph.PlotMany(series, asciigraph.Height(8), asciigraph.Width(min(max(a.width()-12, 20), 100)), asciigraph.LowerBound(0),
		asciigraph.Precision(0), asciigraph.SeriesLegends(legends...), asciigraph.SeriesColors(a.seriesColors(len(series))...),
		asciigraph.Caption(fmt.Sprintf("calls by who answered them, in steps of %s; trouble from %.0f to %.0f s",
			inSeconds(r.Slots[1].From-r.Slots[0].From), r.Phases[1].From, r.Phases[1].Until))))
}

// seriesColors gives each line a colour of its own, and the last, which is what failed, red.
func (a *app) seriesColors(n int) []asciigraph.AnsiColor {
	palette := []asciigraph.AnsiColor{asciigraph.Green, asciigraph.Blue, asciigraph.Yellow, asciigraph.Magenta, asciigraph.Cyan}
	out := make([]asciigraph.AnsiColor, n)
	for i := range out {
		out[i] = palette[i%len(palette)]
	}
	out[n-1] = asciigraph.Red
	if a.paint(a.tty, bold, "x") == "x" { // no colours
		clear(out)
	}
	return out
}

func booksLine(b *drill.Books) string {
	text := fmt.Sprintf("Money check: the records and the twins' own bill agree, try by try: $%s and $%s.", b.Ledger, b.Bill)
	if !b.Agree {
		text = fmt.Sprintf("Money check: the records ($%s) and the twins' own bill ($%s) do not agree.", b.Ledger, b.Bill)
	}
	if n := b.Estimated + b.Unknown; n > 0 {
		text += fmt.Sprintf(" %s broke off, hung or lost to a hedge, so that only the provider knows what that cost: the bill has $%s for it, the records $%s.",
			upperFirst(plural(n, "try", "tries")), b.Open, b.Counted)
	}
	if b.Unpriced > 0 {
		text += fmt.Sprintf(" %s at targets that the catalogue has no price for cost nothing here.", upperFirst(plural(b.Unpriced, "try", "tries")))
	}
	return text
}

// listOf splits a list with commas.
func listOf(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
