package cli

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
)

func (a *app) holdCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{
		Use:   "hold",
		Short: "Keep a project's records and bodies from being deleted, whatever the retention",
		Long: `Keep records and bodies of a project, or of all projects of an organisation, from being deleted by
any retention, until the hold is lifted. There may be several holds of one project; it is held until the last
is lifted. It takes the role auditor or admin, and both acts are in the audit chain with their reasons.`,
		Example: `  penstock hold create --project checkout --reason "case 4711"
  penstock hold create --org acme --reason "audit of 2026"
  penstock hold list
  penstock hold lift hold_01K97K2QJ8W6T2Z3N5V4M1R0XY --reason "case 4711 is settled"`,
	})
	f.add(c)
	c.AddCommand(a.holdCreate(f), a.holdList(f), a.holdLift(f))
	return c
}

func (a *app) holdCreate(f *adminFlags) *cobra.Command {
	in := admin.HoldInput{}
	c := &cobra.Command{
		Use:     "create --project P | --org O",
		Short:   "Hold a project or an organisation",
		Example: `  penstock hold create --project checkout --reason "case 4711"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in.Project == "" && in.Org == "" {
				return fail(exitUsage, "see: penstock hold create --help; what is on hold says: penstock hold list", "Say what to hold: --project P or --org O")
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Hold
			if err := client.call(cmd.Context(), http.MethodPost, "/holds", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			fmt.Fprintf(a.err, "On hold: %s. No retention deletes anything of it any more.\nLift it with: penstock hold lift %s --reason WHY\n",
				clean(holdScope(out)), out.ID)
			_, err = fmt.Fprintln(a.out, out.ID)
			return err
		},
	}
	c.Flags().StringVar(&in.Project, "project", "", "project by name or id")
	c.Flags().StringVar(&in.Org, "org", "", "all projects of this organisation, those to come as well")
	c.MarkFlagsMutuallyExclusive("project", "org")
	c.Flags().StringVar(&in.Reason, "reason", "", "why, in one line; it stays in the audit chain")
	_ = c.MarkFlagRequired("reason") // it is there
	return c
}

func (a *app) holdList(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List what is on hold, by whom and why",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			holds, err := list[admin.Hold](cmd.Context(), client, "/holds", nil)
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Hold]{Data: holds})
			}
			if len(holds) == 0 {
				_, err := fmt.Fprintln(a.err, "Nothing is on hold.")
				return err
			}
			t := table{head: []string{"ON HOLD", "SINCE", "BY", "REASON", "ID"}, text: []string{"ON HOLD", "BY", "REASON"}}
			for _, h := range holds {
				t.add(holdScope(h), h.Since.Local().Format("Jan 2 2006 15:04"), h.ByName, h.Reason, h.ID)
			}
			return a.printTable(&t)
		},
	}
}

func (a *app) holdLift(f *adminFlags) *cobra.Command {
	in := admin.LiftInput{}
	c := &cobra.Command{
		Use:     "lift ID",
		Short:   "Lift a hold: what is older than its retention is deleted from the next minute on",
		Example: `  penstock hold lift hold_01K97K2QJ8W6T2Z3N5V4M1R0XY --reason "case 4711 is settled"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var out admin.Hold
			if err := client.call(cmd.Context(), http.MethodPost, "/holds/"+url.PathEscape(args[0])+"/lift", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			_, err = fmt.Fprintf(a.err, "Lifted: the hold of %s (%s). What other holds are there says: penstock hold list\n", clean(holdScope(out)), clean(out.Reason))
			return err
		},
	}
	c.Flags().StringVar(&in.Reason, "reason", "", "why, in one line; it stays in the audit chain")
	_ = c.MarkFlagRequired("reason") // it is there
	return c
}

// holdScope says what is on hold.
func holdScope(h admin.Hold) string {
	switch {
	case h.Org != "":
		return "organisation " + h.Org
	case h.ProjectName != "":
		return "project " + h.ProjectName
	}
	return "project " + h.Project
}
