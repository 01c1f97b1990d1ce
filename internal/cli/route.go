package cli

import (
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/figure"
)

func (a *app) routeCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{Use: "route", Short: "Show which targets answer for which model and how they are; take one out, or back"})
	f.add(c)
	c.AddCommand(a.routeStatus(f), a.routeDisable(f), a.routeEnable(f))
	return c
}

func (a *app) routeStatus(f *adminFlags) *cobra.Command {
	troubled := false
	c := &cobra.Command{
		Use:   "status",
		Short: "Show which targets answer for which model, and how they are",
		Long: `Show which targets answer for which model, in the order in which they are tried, and how each is:

  healthy     it gets its full share
  ejected     it has failed, and gets no calls as far as others can do without it; until when
  half_open   it has been ejected for long enough: the next call finds out whether it is well
  ramping     it was ejected until a moment ago, and gets SHARE of its full share, more each second
  disabled    an operator took it out: no calls at all

LAST 30 S counts the tries that were answered, and those that failed as they do where a target is not well.
It is what the replica that was asked sees; what one ejects the others do within a second or two.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			routes, err := list[admin.Route](cmd.Context(), client, "/routes", nil)
			if err != nil {
				return err
			}
			if troubled {
				routes = onlyTroubled(routes)
			}
			if f.json {
				return a.printJSON(page[admin.Route]{Data: routes})
			}
			if troubled && len(routes) == 0 {
				_, err := fmt.Fprintln(a.err, "All targets are healthy.")
				return err
			}
			t := table{
				head:  []string{"MODEL", "ORDER", "TARGET", "STATE", "SHARE", "SINCE", "UNTIL", "REASON", "LAST 30 S", "PRICE IN/OUT", "CONTEXT"},
				right: []string{"ORDER", "SHARE", "CONTEXT"}, text: []string{"REASON"},
			}
			for _, r := range routes {
				for i, target := range r.Targets {
					h := target.Health
					t.add(r.Model, fmt.Sprint(i+1), target.Target, h.State, figure.Percent(int64(h.Share*100+0.5), 100), clockTime(h.Since), clockTime(h.Until),
						healthReason(h), recentWords(h), targetPrice(target), contextWords(target))
				}
			}
			return a.printTable(&t)
		},
	}
	c.Flags().BoolVar(&troubled, "troubled", false, "only targets that are not healthy")
	return c
}

// onlyTroubled leaves out what is healthy.
func onlyTroubled(routes []admin.Route) []admin.Route {
	left := []admin.Route{}
	for _, r := range routes {
		all := r.Targets
		r.Targets = nil
		for _, t := range all {
			if t.Health.State != "healthy" {
				r.Targets = append(r.Targets, t)
			}
		}
		if len(r.Targets) > 0 {
			left = append(left, r)
		}
	}
	return left
}

// clockTime is an instant as one reads it who wants to know how long ago, or how soon, that is.
func clockTime(t *time.Time) string {
	if t == nil {
		return "-"
	}
	layout := time.DateTime
	if time.Since(*t).Abs() < 12*time.Hour {
		layout = time.TimeOnly
	}
	return t.Local().Format(layout)
}

// healthReason says why a target is as it is: how it fails and for how long it has, or who took it out and why.
func healthReason(h admin.TargetHealth) string {
	switch {
	case h.By != "" && h.Reason != "":
		return h.Reason + " (" + h.By + ")"
	case h.By != "":
		return "by " + h.By
	case h.Failing != nil:
		return h.Reason + ", for " + figure.Duration(time.Since(*h.Failing).Round(time.Second))
	}
	return h.Reason
}

func recentWords(h admin.TargetHealth) string {
	if h.OK+h.Failed == 0 {
		return "-"
	}
	return fmt.Sprintf("%d ok, %d failed", h.OK, h.Failed)
}

func (a *app) routeDisable(f *adminFlags) *cobra.Command {
	in := admin.DisableInput{}
	var length time.Duration
	c := &cobra.Command{
		Use:   "disable TARGET|PROVIDER",
		Short: "Take a target, or all of a provider, out, everywhere within 5 s",
		Long: `Take a target (PROVIDER/MODEL), or all of a provider, out: from the next call on, within 5 seconds on every
replica, and over restarts. Calls go to the other targets of a model; a model that has none left is answered 503.
Tries that run finish. The same command again changes what was said before; "penstock route enable" takes it
back. To stop a model for its callers as well, whoever would answer: penstock stop.`,
		Example: `  penstock route disable house/qwen3-32b --for 1h --reason "new disk"
  penstock route disable openai`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			in.Target = args[0]
			if cmd.Flags().Changed("for") {
				in.For = length.String()
			}
			var out admin.Disabled
			if err := client.call(cmd.Context(), http.MethodPost, "/routes/disable", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			end := "until it is enabled"
			if out.Until != nil {
				end = "until " + out.Until.Local().Format(time.DateTime)
			}
			_, err = fmt.Fprintf(a.err, "Disabled: %s, %s. It is felt everywhere within 5 s. Tries that run finish.\nTake it back with: penstock route enable %[1]s\n",
				clean(out.Target), end)
			return err
		},
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "why, in one line")
	c.Flags().DurationVar(&length, "for", 0, "how long, such as 1h (default: until it is enabled)")
	return c
}

func (a *app) routeEnable(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "enable TARGET|PROVIDER",
		Short: "Take a target or a provider back, and end its ejection at once",
		Long: `Take back what "penstock route disable" took out, by the same name. A target that is ejected is not: it gets
calls again at once, a tenth of its share at first and all of it after 8 seconds.`,
		Example: "  penstock route enable house/qwen3-32b",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Enabled
			if err := client.call(cmd.Context(), http.MethodPost, "/routes/enable", nil, admin.EnableInput{Target: args[0]}, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Enabled: %s. It gets calls everywhere within 5 s.\n", clean(out.Target))
			return err
		},
	}
}

func targetPrice(t admin.RouteTarget) string {
	if t.Price == nil {
		return figure.Unpriced
	}
	return "$" + t.Price.Input + " / $" + t.Price.Output
}

func contextWords(t admin.RouteTarget) string {
	if t.Context == 0 {
		return "unknown"
	}
	return fmt.Sprint(t.Context)
}
