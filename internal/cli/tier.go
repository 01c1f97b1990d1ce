package cli

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
)

func (a *app) tierCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{
		Use:   "tier",
		Short: "Name bundles of limits, budgets, models and caps, and give them to projects, keys and end users",
		Long: `Set, list and delete tiers, and give them. A tier is a named bundle: limits and budgets, of which each that has
the tier gets its own; the models that may be asked for; the best class that calls may have; and caps of one
call. A project, a key or an end user has at most one. With --user '*' all end users of a project have it that
have none of their own.`,
		Example: `  penstock tier set free --requests 20 --budget 0.10/day --models 'small-*' --class flex --max-output 500
  penstock tier assign free --project shop --user '*'
  penstock tier assign gold --project shop --user ann@example.org
  penstock tier list`,
	})
	f.add(c)
	c.AddCommand(a.tierSet(f), a.tierList(f), a.tierShow(f), a.remover(f, "tier", "/tiers/", "Delete tiers that nobody has", "free"), a.tierAssign(f), a.tierTake(f))
	return c
}

func (a *app) tierSet(f *adminFlags) *cobra.Command {
	in, flags := admin.TierInput{}, rateFlags()
	var budgets, tokens []string
	var zone string
	var observe bool
	var on func() admin.OnVersion
	c := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a tier, or change the one of the name, whole",
		Long: `Make a tier, or change the one of the name. What is left out is as if it had never been said: a tier that is
set without --models may use all. Budgets are written DOLLARS/LENGTH and N/LENGTH, and may be given
several times.`,
		Example: `  penstock tier set free --requests 20 --budget 0.10/day --models 'small-*' --class flex --max-output 500
  penstock tier set gold --requests 600 --concurrent 20 --budget 5.00/day --budget 100/month --token-budget 5000000/day`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Name, in.Limits, in.OnVersion = args[0], ratesOf(cmd, flags, modeOf(observe)), on()
			for _, text := range budgets {
				amount, per, _ := strings.Cut(text, "/")
				in.Budgets = append(in.Budgets, admin.TermsInput{Amount: amount, Per: per, Zone: zone, Mode: modeOf(observe)})
			}
			for _, text := range tokens {
				amount, per, _ := strings.Cut(text, "/")
				n, err := strconv.ParseInt(amount, 10, 64)
				if err != nil {
					return fail(exitUsage, "write it as 500000/day", "--token-budget %q has no number of tokens", text)
				}
				in.Budgets = append(in.Budgets, admin.TermsInput{Tokens: &n, Per: per, Zone: zone, Mode: modeOf(observe)})
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Tier
			if err := client.call(cmd.Context(), http.MethodPut, "/tiers", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Set: tier %s, %s. It is had by %d.\n", out.Name, clean(tierWords(out)), out.Assigned)
			return err
		},
	}
	on = onVersion(c)
	for _, r := range flags {
		c.Flags().Int64Var(&r.amount, r.flag, 0, r.meaning)
	}
	c.Flags().StringArrayVar(&budgets, "budget", nil, "US dollars in each hour, day, week or month, as 1.00/day")
	c.Flags().StringArrayVar(&tokens, "token-budget", nil, "tokens in each hour, day, week or month, as 500000/day")
	c.Flags().StringVar(&zone, "zone", "", "where days of its budgets begin, such as Europe/Berlin (default: UTC)")
	c.Flags().StringSliceVar(&in.Models, "models", nil, "models that may be asked for, with commas between; * stands for anything (default: all)")
	c.Flags().StringVar(&in.Class, "class", "", "best class that calls may have: priority, default or flex (default: priority)")
	c.Flags().Int64Var(&in.MaxInput, "max-input", 0, "most tokens of one call's prompt (default: no cap)")
	c.Flags().Int64Var(&in.MaxOutput, "max-output", 0, "most tokens of one call's answer, and what a call that says none gets (default: no cap)")
	c.Flags().BoolVar(&observe, "observe", false, "let calls through that are over its limits and budgets, and tell of them")
	return c
}

// tierWords say what a tier allows.
func tierWords(t admin.Tier) string {
	var words []string
	for _, r := range t.Limits {
		words = append(words, rateWords(r))
	}
	for _, b := range t.Budgets {
		words = append(words, budgetAmount(b))
	}
	if t.MaxInput > 0 {
		words = append(words, "prompts up to "+figure.Count(t.MaxInput)+" tokens")
	}
	if t.MaxOutput > 0 {
		words = append(words, "answers up to "+figure.Count(t.MaxOutput)+" tokens")
	}
	if len(words) == 0 {
		return "without limits"
	}
	return strings.Join(words, ", ")
}

func (a *app) tierList(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List tiers, and who has them",
		Example: "  penstock tier list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			tiers, err := list[admin.Tier](cmd.Context(), client, "/tiers", nil)
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Tier]{Data: tiers})
			}
			if len(tiers) == 0 {
				_, err := fmt.Fprintln(a.err, "There are no tiers. Make one: penstock tier set NAME --requests 60")
				return err
			}
			var had page[admin.Assignment] // the first of them say enough
			if err := client.call(cmd.Context(), http.MethodGet, "/assignments", nil, nil, &had); err != nil {
				return err
			}
			t := table{head: []string{"TIER", "ALLOWS", "MODELS", "CLASS", "HAD BY"}, text: []string{"ALLOWS", "MODELS", "HAD BY"}}
			for _, tier := range tiers {
				models, class := strings.Join(tier.Models, ", "), tier.Class
				if models == "" {
					models = "all"
				}
				if class == "" {
					class = "priority"
				}
				t.add(tier.Name, tierWords(tier), models, class, hadBy(tier, had.Data))
			}
			return a.printTable(&t)
		},
	}
}

// hadBy names the first few who have a tier.
func hadBy(t admin.Tier, all []admin.Assignment) string {
	var words []string
	for _, x := range all {
		if x.Tier == t.Name && len(words) < 3 {
			words = append(words, holderWords(x))
		}
	}
	switch n := t.Assigned - len(words); {
	case t.Assigned == 0:
		return "nobody"
	case n > 0 && len(words) > 0:
		words = append(words, fmt.Sprintf("and %d more", n))
	case n > 0:
		words = append(words, strconv.Itoa(n))
	}
	return strings.Join(words, "; ")
}

// holderWords say who has a tier.
func holderWords(x admin.Assignment) string {
	words := scopeWords(admin.Scope{Project: x.Project, ProjectName: x.ProjectName, Key: x.Key, KeyName: x.KeyName, User: x.User})
	return strings.Replace(words, "each user", "all other users", 1)
}

// A holder is whom a tier is given.
type holder struct{ project, key, user string }

func (h *holder) flags(c *cobra.Command) {
	c.Flags().StringVar(&h.project, "project", "", "project by name or id")
	c.Flags().StringVar(&h.key, "key", "", "a key of the project, by name or id")
	c.Flags().StringVar(&h.user, "user", "", "an end user of the project; '*' is all that have none of their own")
	c.MarkFlagsMutuallyExclusive("key", "user")
	_ = c.MarkFlagRequired("project") // it is there
}

func (a *app) tierShow(f *adminFlags) *cobra.Command {
	var subject string
	c := &cobra.Command{
		Use:   "show NAME",
		Short: "Show how the budgets of a tier stand for those who have it",
		Example: `  penstock tier show free
  penstock tier show free --subject prj_01K97K2QJ8W6T2Z3N5V4M1R0XY/ann@example.org`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			budgets, err := list[admin.Budget](cmd.Context(), client, "/tiers/"+url.PathEscape(args[0])+"/budgets", queryOf("subject", subject))
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Budget]{Data: budgets})
			}
			if len(budgets) == 0 {
				_, err := fmt.Fprintln(a.err, "The tier has no budgets.")
				return err
			}
			return a.printTable(budgetTable(budgets, time.Now()))
		},
	}
	c.Flags().StringVar(&subject, "subject", "", "only this one: a project's or key's id, or PROJECT/USER")
	return c
}

func (a *app) tierAssign(f *adminFlags) *cobra.Command {
	h := &holder{}
	c := &cobra.Command{
		Use:   "assign NAME --project P [--key K | --user U]",
		Short: "Give a tier to a project, a key or an end user, instead of the one it had",
		Example: `  penstock tier assign gold --project shop
  penstock tier assign free --project shop --user '*'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Assignment
			in := admin.AssignmentInput{Tier: args[0], Project: h.project, Key: h.key, User: h.user}
			if err := client.call(cmd.Context(), http.MethodPut, "/assignments", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Given: tier %s to %s\n", clean(out.Tier), clean(holderWords(out)))
			return err
		},
	}
	h.flags(c)
	return c
}

func (a *app) tierTake(f *adminFlags) *cobra.Command {
	h := &holder{}
	c := &cobra.Command{
		Use:     "take --project P [--key K | --user U]",
		Short:   "Take the tier from a project, a key or an end user",
		Example: "  penstock tier take --project shop --user ann@example.org",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			query := queryOf("project", h.project, "key", h.key, "user", h.user)
			var out admin.Assignment
			if err := client.call(cmd.Context(), http.MethodDelete, "/assignments", query, nil, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Taken: %s has no tier of its own any more\n", clean(holderWords(out)))
			return err
		},
	}
	h.flags(c)
	return c
}
