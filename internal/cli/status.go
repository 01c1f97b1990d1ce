package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
)

func (a *app) statusCommand() *cobra.Command {
	f := &adminFlags{}
	c := &cobra.Command{
		Use:   "status",
		Short: "Say how a running Penstock is, what is wrong with it, and who shares its store",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var s admin.Status
			if err := client.call(cmd.Context(), http.MethodGet, "/status", nil, nil, &s); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(s)
			}
			if err := a.printStatus(&s); err != nil {
				return err
			}
			return a.printAround(cmd.Context(), client)
		},
	}
	f.add(c)
	return c
}

// stamp is how status writes times.
const stamp = "Jan 2 15:04:05"

func (a *app) printStatus(s *admin.Status) error {
	ready := a.paint(a.tty, good, "Ready.")
	if !s.Ready {
		ready = a.paint(a.tty, bad, "Not ready: "+clean(s.Reason)+".")
	}
	if _, err := fmt.Fprintf(a.out, "%s Penstock %s, up since %s, %s over %s.\nConfiguration of %s. Records: %s.\n",
		ready, s.Version, s.Started.Local().Format(stamp), counted(int64(s.Models), "model", "models"),
		counted(int64(s.Providers), "provider", "providers"), s.ConfigLoaded.Local().Format(stamp), backlog(s.JournalBacklog)); err != nil {
		return err
	}
	if s.Stops > 0 {
		fmt.Fprintln(a.out, a.paint(a.tty, bad, fmt.Sprintf("Stopped by operators: %d; see: penstock stop list", s.Stops)))
	}
	if s.AuditProblem != "" {
		fmt.Fprintln(a.out, a.auditWords(s))
	}
	if s.ConfigError == "" {
		return nil
	}
	_, err := fmt.Fprintf(a.out, "%s\n%s\n", a.paint(a.tty, bad, "The file has changed and could not be taken over:"), indented(s.ConfigError))
	return err
}

// printAround writes the open alerts, and the Penstocks on the same store if there are several. What cannot be read is said,
// and is no failure: the process that was asked about has answered.
func (a *app) printAround(ctx context.Context, client *adminClient) error {
	alerts, err := list[admin.Alert](ctx, client, "/alerts", nil)
	switch {
	case err != nil:
		fmt.Fprintf(a.out, "Alerts cannot be read: %s\n", clean(err.Error()))
	case len(alerts) == 0:
		fmt.Fprintln(a.out, "No alert is open.")
	default:
		fmt.Fprintln(a.out, a.paint(a.tty, bad, fmt.Sprintf("Open alerts: %d", len(alerts))))
		for _, o := range alerts {
			fmt.Fprintf(a.out, "  %s %s %s since %s: %s\n", clean(o.Severity), clean(o.Kind), clean(o.Object), o.Since.Local().Format(stamp), clean(o.Text))
		}
	}
	replicas, err := list[admin.Replica](ctx, client, "/replicas", nil)
	if err != nil {
		_, err = fmt.Fprintf(a.out, "Those on the same store cannot be read: %s\n", clean(err.Error()))
		return err
	}
	if len(replicas) < 2 {
		return nil
	}
	t := table{head: []string{"REPLICA", "VERSION", "CONFIG", "UP SINCE", "SEEN", "CLOCK"}, text: []string{"REPLICA"}}
	for _, r := range replicas {
		seen := "gone"
		if r.Running {
			seen = fmt.Sprintf("%.0f s ago", r.SeenAgo)
		}
		t.add(r.Name, r.Version, r.Config, r.Started.Local().Format(stamp), seen, fmt.Sprintf("%+.3f s", r.ClockOff))
	}
	return a.printTable(&t)
}

// indented writes the lines of a text that came from elsewhere, each behind two spaces.
func indented(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = "  " + clean(l)
	}
	return strings.Join(lines, "\n")
}

func backlog(bytes int64) string {
	if bytes == 0 {
		return "all in the store"
	}
	return fmt.Sprintf("%d bytes wait in the journal for the store", bytes)
}
