package cli

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
)

func (a *app) limitCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{
		Use:   "limit",
		Short: "Set and list limits: requests and tokens a minute, calls at once",
		Long: `Set, list and delete limits. A limit is so many requests or tokens a minute, or so many calls at once, for
all calls that fit its scope; a call needs room in all limits that are for it. With * as project, key or user
there is one for each, without naming them.`,
		Example: `  penstock limit set --project checkout --requests 600 --concurrent 20
  penstock limit set --project checkout --user '*' --tokens 20000 --observe
  penstock limit list
  penstock limit rm lim_01K97K2QJ8W6T2Z3N5V4M1R0XY`,
	})
	f.add(c)
	c.AddCommand(a.limitSet(f), a.limitList(f), a.remover(f, "limit", "/limits/", "Delete limits", "lim_01K97K2QJ8W6T2Z3N5V4M1R0XY"))
	return c
}

// A rateFlag is the flag of a measure.
type rateFlag struct {
	flag, measure, meaning string
	amount                 int64
}

func rateFlags() []*rateFlag {
	return []*rateFlag{
		{flag: "requests", measure: "requests", meaning: "requests a minute"},
		{flag: "input-tokens", measure: "input_tokens", meaning: "input tokens a minute"},
		{flag: "output-tokens", measure: "output_tokens", meaning: "output tokens a minute"},
		{flag: "tokens", measure: "tokens", meaning: "tokens a minute, input and output together"},
		{flag: "concurrent", measure: "concurrent", meaning: "calls at once"},
	}
}

// ratesOf are the rates whose flags were given.
func ratesOf(cmd *cobra.Command, flags []*rateFlag, mode string) (rates []admin.Rate) {
	for _, r := range flags {
		if cmd.Flags().Changed(r.flag) {
			rates = append(rates, admin.Rate{Measure: r.measure, Amount: r.amount, Mode: mode})
		}
	}
	return rates
}

func (a *app) limitSet(f *adminFlags) *cobra.Command {
	in, flags := admin.ScopeInput{}, rateFlags()
	var observe bool
	var on func() admin.OnVersion
	c := &cobra.Command{
		Use:   "set [--project P] [--key K] [--user U] [--model M] [--org O] --requests N | --tokens N | --concurrent N ...",
		Short: "Make limits, or change those of the same scope and measure: all or none",
		Example: `  penstock limit set --project checkout --requests 600 --concurrent 20
  penstock limit set --project checkout --key ci --model 'openai/*' --output-tokens 50000
  penstock limit set --project checkout --user '*' --requests 20 --observe`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			rates := ratesOf(cmd, flags, modeOf(observe))
			if len(rates) == 0 {
				return fail(exitUsage, "see: penstock limit set --help", "Say how much: --requests, --tokens, --input-tokens, --output-tokens or --concurrent")
			}
			was := on()
			if was.Version != nil && len(rates) > 1 {
				return fail(exitUsage, "set them one by one, each with its version", "--if-version is that of one limit, and %d are given", len(rates))
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var all admin.LimitsInput
			for _, r := range rates {
				all.Data = append(all.Data, admin.LimitInput{ScopeInput: in, Rate: r, OnVersion: was})
			}
			var set page[admin.Limit]
			if err := client.call(cmd.Context(), http.MethodPost, "/limits", nil, all, &set); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(set)
			}
			for _, l := range set.Data {
				fmt.Fprintf(a.err, "Set: %s for %s. %s\n", rateWords(l.Rate), clean(scopeWords(l.Scope)), modeWords(l.Mode))
				fmt.Fprintln(a.out, l.ID)
			}
			return nil
		},
	}
	scopeFlags(c, &in)
	on = onVersion(c)
	for _, r := range flags {
		c.Flags().Int64Var(&r.amount, r.flag, 0, r.meaning)
	}
	c.Flags().BoolVar(&observe, "observe", false, "let calls through that are over it, and tell of them")
	return c
}

// rateWords is "600 requests a minute", "20 calls at once".
func rateWords(r admin.Rate) string {
	n := figure.Count(r.Amount)
	switch r.Measure {
	case "requests":
		return n + " requests a minute"
	case "input_tokens":
		return n + " input tokens a minute"
	case "output_tokens":
		return n + " output tokens a minute"
	case "tokens":
		return n + " tokens a minute"
	}
	return n + " calls at once"
}

func (a *app) limitList(f *adminFlags) *cobra.Command {
	var project string
	c := &cobra.Command{
		Use:     "list",
		Short:   "List limits",
		Example: "  penstock limit list --project checkout",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			limits, err := list[admin.Limit](cmd.Context(), client, "/limits", queryOf("project", project))
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Limit]{Data: limits})
			}
			if len(limits) == 0 {
				_, err := fmt.Fprintln(a.err, "There are no limits. Set one: penstock limit set --project P --requests 60")
				return err
			}
			t := table{head: []string{"FOR", "LIMIT", "MODE", "ID"}, text: []string{"FOR"}}
			for _, l := range limits {
				t.add(scopeWords(l.Scope), rateWords(l.Rate), l.Mode, l.ID)
			}
			return a.printTable(&t)
		},
	}
	c.Flags().StringVar(&project, "project", "", "only those of this project, by name or id")
	return c
}
