package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
)

func (a *app) budgetCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{
		Use:   "budget",
		Short: "Set and list budgets: money or tokens in every hour, day, week, month or term",
		Long: `Set, list and delete budgets. A budget is an amount of money or tokens in every window of time, for all
calls that fit its scope; a call needs room in all budgets that are for it. With * as project, key or user
there is one for each, without naming them. "--observe" lets calls through and tells of them, so that you
can watch a budget before it binds.`,
		Example: `  penstock budget set --project checkout --amount 25.00 --per day --zone Europe/Berlin
  penstock budget set --project checkout --user '*' --tokens 200000 --per hour --observe
  penstock budget list
  penstock budget rm bgt_01K97K2QJ8W6T2Z3N5V4M1R0XY`,
	})
	f.add(c)
	c.AddCommand(a.budgetSet(f), a.budgetList(f), a.budgetRemove(f))
	return c
}

// scopeFlags add the flags of a scope.
func scopeFlags(c *cobra.Command, in *admin.ScopeInput) {
	c.Flags().StringVar(&in.Project, "project", "", "project by name or id; '*' is each for itself")
	c.Flags().StringVar(&in.Key, "key", "", "key by name or id; '*' is each for itself")
	c.Flags().StringVar(&in.User, "user", "", "end user, as callers name it; '*' is each for itself")
	c.Flags().StringVar(&in.Model, "model", "", "model as it is asked for, or PROVIDER/MODEL; * in it stands for anything, as in 'openai/*'")
	c.Flags().StringVar(&in.Org, "org", "", "organisation by name")
}

// onVersion adds the flag that keeps a change from overwriting what somebody else has changed since its author looked.
func onVersion(c *cobra.Command) (read func() admin.OnVersion) {
	n := c.Flags().Int64("if-version", 0, "change it only if it still is of this version, or with 0 make it only if there is none (default: whatever is there)")
	return func() (on admin.OnVersion) {
		if c.Flags().Changed("if-version") {
			on.Version = n
		}
		return on
	}
}

// modeOf is the mode that a flag chooses.
func modeOf(observe bool) string {
	if observe {
		return "observe"
	}
	return "enforce"
}

func (a *app) budgetSet(f *adminFlags) *cobra.Command {
	in := admin.BudgetInput{}
	var tokens int64
	var observe bool
	var kept []string
	var on func() admin.OnVersion
	c := &cobra.Command{
		Use:   "set [--project P] [--key K] [--user U] [--model M] [--org O] --amount DOLLARS | --tokens N --per LENGTH | --from T --to T",
		Short: "Make a budget, or change the one of the same scope, unit and length",
		Long: `Make a budget, or change the one of the same scope, unit, length and (of a term) beginning: its id stays,
and what was used of the window stays used. The budget is in US dollars (--amount, as decimal text) or in
tokens, input and output together. Its windows are civil hours, days, weeks from Monday on, or months in the
zone; or one term from one instant to another.`,
		Example: `  penstock budget set --project checkout --amount 25.00 --per day --zone Europe/Berlin
  penstock budget set --project checkout --key ci --model 'openai/*' --amount 0.50 --per hour
  penstock budget set --project checkout --user '*' --tokens 200000 --per day --observe
  penstock budget set --org acme --amount 1000 --from 2026-12-01 --to 2027-01-01
  penstock budget set --project checkout --amount 25.00 --per day --keep interactive=30
  penstock budget set --project checkout --amount 30.00 --per day --if-version 4`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			term := in.From != "" || in.To != ""
			switch {
			case (in.Amount == "") == !cmd.Flags().Changed("tokens"):
				return fail(exitUsage, "see: penstock budget set --help", "Say how much: --amount DOLLARS or --tokens N")
			case term && in.Per == "":
				in.Per = "term"
			case in.Per == "":
				return fail(exitUsage, "see: penstock budget set --help", "Say for how long: --per hour, day, week or month, or --from and --to")
			}
			if cmd.Flags().Changed("tokens") {
				in.Tokens = &tokens
			}
			in.Mode, in.OnVersion = modeOf(observe), on()
			var err error
			if in.Kept, err = keptOf(kept); err != nil {
				return err
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Budget
			if err := client.call(cmd.Context(), http.MethodPut, "/budgets", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			did := "Set"
			if !firstSet(&out) {
				did = "Changed"
			}
			fmt.Fprintf(a.err, "%s: %s for %s. %s\n", did, budgetAmount(out.Terms), clean(scopeWords(out.Scope)), modeWords(out.Mode))
			_, err = fmt.Fprintln(a.out, out.ID)
			return err
		},
	}
	scopeFlags(c, &in.ScopeInput)
	on = onVersion(c)
	c.Flags().StringVar(&in.Amount, "amount", "", "US dollars in each window, as decimal text, such as 1.00")
	c.Flags().Int64Var(&tokens, "tokens", 0, "tokens in each window, input and output together")
	c.Flags().StringVar(&in.Per, "per", "", "hour, day, week or month")
	c.Flags().StringVar(&in.Zone, "zone", "", "where days begin, such as Europe/Berlin (default: UTC)")
	c.Flags().StringVar(&in.From, "from", "", "first instant of a term: a day, or RFC 3339")
	c.Flags().StringVar(&in.To, "to", "", "instant before which a term ends: a day, or RFC 3339")
	c.Flags().BoolVar(&observe, "observe", false, "let calls through that are over it, and tell of them")
	c.Flags().IntSliceVar(&in.Alerts, "alert", nil, "shares in percent at which somebody is told, the lowest first (default: 50,80,90,100)")
	c.Flags().StringArrayVar(&kept, "keep", nil, "share in percent that only calls with a tag may use, as TAG=30; may be given several times")
	c.MarkFlagsMutuallyExclusive("amount", "tokens")
	return c
}

// firstSet reports whether a budget was not there before it was set: its id says when it was made.
func firstSet(b *admin.Budget) bool {
	id, err := ulid.ParseStrict(strings.TrimPrefix(b.ID, "bgt_"))
	return err == nil && id.Time() == ulid.Timestamp(b.Set)
}

// keptOf reads shares, written as TAG=30.
func keptOf(texts []string) (kept []admin.Kept, err error) {
	for _, text := range texts {
		k := admin.Kept{}
		i := strings.LastIndexByte(text, '=')
		if i < 0 {
			return nil, fail(exitUsage, "write it as TAG=30", "--keep %q has no share", text)
		}
		k.Tag = text[:i]
		if _, err := fmt.Sscanf(text[i+1:]+" ", "%d ", &k.Share); err != nil {
			return nil, fail(exitUsage, "write it as TAG=30", "--keep %q has no share in percent", text)
		}
		kept = append(kept, k)
	}
	return kept, nil
}

func (a *app) budgetList(f *adminFlags) *cobra.Command {
	var project string
	c := &cobra.Command{
		Use:   "list",
		Short: "List budgets with what is settled, held, unknown and free of their current windows",
		Long: `List budgets with how their current windows stand. Settled is what calls are known to have come to; held is
set aside by replicas, for calls that run and for the next ones; unknown is what is held by calls of which
nobody knows what they came to; free is the rest. In the bar these are # = ? and dots.`,
		Example: `  penstock budget list
  penstock budget list --project checkout --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			budgets, err := list[admin.Budget](cmd.Context(), client, "/budgets", queryOf("project", project))
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Budget]{Data: budgets})
			}
			if len(budgets) == 0 {
				_, err := fmt.Fprintln(a.err, "There are no budgets. Set one: penstock budget set --project P --amount 1.00 --per day")
				return err
			}
			return a.printTable(budgetTable(budgets, time.Now()))
		},
	}
	c.Flags().StringVar(&project, "project", "", "only those of this project, by name or id")
	return c
}

// budgetTable has a row for each window, and one for a budget that has none yet.
func budgetTable(budgets []admin.Budget, now time.Time) *table {
	numbers := []string{"SETTLED", "HELD", "UNKNOWN", "FREE"}
	t := &table{
		head: append(append([]string{"FOR", "BUDGET", ""}, numbers...), "RESETS", "RUNS OUT", "MODE", "ID"), right: numbers, text: []string{"FOR"},
	}
	for _, b := range budgets {
		if len(b.Windows) == 0 {
			t.add(scopeWords(b.Scope), budgetAmount(b.Terms), "", "", "", "", "", "", "", b.Mode, b.ID)
		}
		for _, w := range b.Windows {
			words := scopeWords(b.Scope)
			switch {
			case strings.HasPrefix(b.ID, "tier:"): // whoever has the tier
				words = w.Subject
			case w.Subject != "":
				words += ": " + w.Subject
			}
			s := stands(w)
			t.add(words, budgetAmount(b.Terms), s.bar(12), s.show(s.settled), s.show(s.held), s.show(s.unknown), s.show(s.free),
				resets(b, w, now), runsOut(w, now), b.Mode, b.ID)
		}
	}
	return t
}

// A stand is how a window stands, in whichever unit.
type stand struct {
	limit, settled, held, unknown, free int64
	money                               bool
}

func stands(w admin.BudgetWindow) stand {
	if w.LimitNano != nil {
		return stand{value(w.LimitNano), value(w.SettledNano), value(w.HeldNano), value(w.UnknownNano), value(w.FreeNano), true}
	}
	return stand{value(w.LimitTokens), value(w.SettledTokens), value(w.HeldTokens), value(w.UnknownTokens), value(w.FreeTokens), false}
}

func value(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}

func (s stand) show(n int64) string {
	if s.money {
		return figure.Money(llm.Money(n))
	}
	return figure.Count(n)
}

// bar draws the parts of a window: settled as #, held as =, unknown as ?, and what is free as dots.
func (s stand) bar(width int) string {
	var b strings.Builder
	var upTo, drawn int64
	for _, part := range [...]struct {
		n    int64
		sign string
	}{{s.settled, "#"}, {s.held, "="}, {s.unknown, "?"}} {
		upTo += max(part.n, 0)
		end := int64(width)
		if upTo < s.limit {
			end = figure.Share(upTo, s.limit, int64(width))
		}
		if part.n > 0 && end == drawn && drawn < int64(width) && upTo > 0 {
			end = drawn + 1 // what is there is seen
		}
		b.WriteString(strings.Repeat(part.sign, int(max(end-drawn, 0))))
		drawn = max(drawn, end)
	}
	return b.String() + strings.Repeat(".", int(int64(width)-drawn))
}

// resets says when the next window begins, or how a term stands.
func resets(b admin.Budget, w admin.BudgetWindow, now time.Time) string {
	at := w.End.Local().Format("Jan 2 15:04")
	switch {
	case b.Per != "term":
		return at
	case now.Before(w.Start):
		return "begins " + w.Start.Local().Format("Jan 2 15:04")
	case now.Before(w.End):
		return "ends " + at
	}
	return "ended " + at
}

// runsOut says when a window is used up if use goes on as it did.
func runsOut(w admin.BudgetWindow, now time.Time) string {
	switch {
	case w.RunOut == nil:
		return ""
	case !w.RunOut.After(now):
		return "used up"
	}
	return w.RunOut.Local().Format("Jan 2 15:04")
}

// cents writes dollars with two decimals, or with as many as they have.
func cents(amount string) string {
	if i := strings.IndexByte(amount, '.'); i > 0 && i == len(amount)-2 {
		return amount + "0"
	}
	return amount
}

// budgetAmount is "$25/day", "200,000 tokens/hour".
func budgetAmount(t admin.Terms) string {
	amount := ""
	if t.Tokens != nil {
		amount = figure.Count(*t.Tokens) + " tokens"
	} else {
		amount = "$" + cents(t.Amount)
	}
	if t.Per == "term" {
		return amount + " in all"
	}
	return amount + "/" + t.Per
}

// scopeWords say whose calls something is for.
func scopeWords(s admin.Scope) string {
	var words []string
	add := func(what, name, id string) {
		switch {
		case id == "*":
			words = append(words, "each "+what)
		case name != "":
			words = append(words, what+" "+name)
		case id != "":
			words = append(words, what+" "+id)
		}
	}
	if s.ProjectName == "" {
		add("organisation", "", s.Org)
	}
	add("project", s.ProjectName, s.Project)
	add("key", s.KeyName, s.Key)
	add("user", "", s.User)
	if s.Model != "" {
		words = append(words, "model "+s.Model)
	}
	if len(words) == 0 {
		return "everything"
	}
	return strings.Join(words, ", ")
}

func modeWords(mode string) string {
	if mode == "observe" {
		return "It is only watched: calls that are over it go through."
	}
	return "Calls that are over it are refused."
}

func (a *app) budgetRemove(f *adminFlags) *cobra.Command {
	return a.remover(f, "budget", "/budgets/", "Delete budgets; what was booked stays in the books", "bgt_01K97K2QJ8W6T2Z3N5V4M1R0XY")
}

// remover makes a command that deletes things by their ids.
func (a *app) remover(f *adminFlags, what, path, short, example string) *cobra.Command {
	arg := "ID"
	if what == "tier" {
		arg = "NAME"
	}
	return &cobra.Command{
		Use:     "rm " + arg + "...",
		Short:   short,
		Example: "  penstock " + what + " rm " + example,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := client.call(cmd.Context(), http.MethodDelete, path+url.PathEscape(id), nil, nil, nil); err != nil {
					return err
				}
				fmt.Fprintf(a.err, "Deleted: %s %s\n", what, clean(id))
			}
			return nil
		},
	}
}
