package cli

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
)

func (a *app) alertCommand() *cobra.Command {
	f := &adminFlags{}
	c := group(&cobra.Command{Use: "alert", Short: "List open alerts, and test who is told of them"})
	f.add(c)
	c.AddCommand(a.alertList(f), a.alertTest(f))
	return c
}

func (a *app) alertList(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the alerts that are open, the most severe first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			alerts, err := list[admin.Alert](cmd.Context(), client, "/alerts", nil)
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Alert]{Data: alerts})
			}
			if len(alerts) == 0 {
				_, err := fmt.Fprintln(a.err, "No alert is open.")
				return err
			}
			t := table{head: []string{"SEVERITY", "KIND", "OBJECT", "SINCE", "TEXT"}, text: []string{"TEXT"}}
			for _, o := range alerts {
				t.add(o.Severity, o.Kind, o.Object, o.Since.Local().Format("Jan 2 15:04:05"), o.Text)
			}
			return a.printTable(&t)
		},
	}
}

func (a *app) alertTest(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "test",
		Short: "Have the running Penstock send a test to the receiver of alerts",
		Long: `Have the running Penstock send a test to the receiver of alerts, the way that it sends alerts: through
the same proxy, with the same signature. It fails if the receiver does not take it.`,
		Example: "  penstock alert test -c penstock.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var sent admin.AlertTest
			if err := client.call(cmd.Context(), http.MethodPost, "/alerts/test", nil, nil, &sent); err != nil {
				return err
			}
			if f.json {
				if err := a.printJSON(sent); err != nil {
					return err
				}
			}
			if !sent.Delivered {
				return fail(exitUnreachable, "look at alerts in the file, and at the receiver's own log", "The receiver of alerts did not take it: %s", clean(sent.Error))
			}
			if !f.json {
				_, err = fmt.Fprintf(a.err, "The receiver has taken %s.\n", sent.ID)
			}
			return err
		},
	}
}
