package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
)

// A stopFlags says what to stop, or what stop to lift.
type stopFlags struct {
	model, project string
	all            bool
}

func (f *stopFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.model, "model", "", "model as it is asked for, or PROVIDER/MODEL; * stands for anything, as in 'openai/*'")
	c.Flags().StringVar(&f.project, "project", "", "project by name or id")
	c.Flags().BoolVar(&f.all, "all", false, "everything")
	c.MarkFlagsMutuallyExclusive("all", "model")
	c.MarkFlagsMutuallyExclusive("all", "project")
}

func (f *stopFlags) none() bool { return f.model == "" && f.project == "" && !f.all }

func (a *app) stopCommand() *cobra.Command {
	f, what, in := &adminFlags{}, &stopFlags{}, admin.StopInput{}
	var length time.Duration
	c := &cobra.Command{
		Use:   "stop --model M | --project P | --all",
		Short: "Stop a model, a project or everything, everywhere within 5 s",
		Long: `Stop a model, a project or everything: from the next call on, within 5 seconds on every replica.
Callers get the error "stopped" with the reason; it is in the audit chain. A model is stopped under every
name that leads to it; a name with other targets is answered by those. With --model and --project, only that
model is stopped for only that project. Exchanges that run finish, unless --now. The same command again
changes the stop that there is; "penstock resume" lifts it.`,
		Example: `  penstock stop --model gpt-5-mini --reason "wrong answers, see INC-42"
  penstock stop --project checkout --for 1h
  penstock stop --all --now
  penstock stop list`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if what.none() {
				return fail(exitUsage, "see: penstock stop --help; what is stopped says: penstock stop list", "Say what to stop: --model M, --project P or --all")
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("for") {
				in.For = length.String()
			}
			in.All, in.Model, in.Project = what.all, what.model, what.project
			var out admin.Stop
			if err := client.call(cmd.Context(), http.MethodPost, "/stops", nil, in, &out); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(out)
			}
			running := "Exchanges that run finish."
			if out.Now {
				running = "Exchanges that run are ended."
			}
			_, err = fmt.Fprintf(a.err, "Stopped: %s, %s. It is felt everywhere within 5 s. %s\nLift it with: penstock resume %s\n",
				clean(stopScope(out)), stopEnd(out), running, out.ID)
			return err
		},
	}
	f.add(c)
	what.add(c)
	c.Flags().StringVar(&in.Reason, "reason", "", "why, in one line; callers are told")
	c.Flags().DurationVar(&length, "for", 0, "how long, such as 1h (default: until it is lifted)")
	c.Flags().BoolVar(&in.Now, "now", false, "end exchanges that run as well, with an error")
	c.AddCommand(a.stopList(f))
	return c
}

func (a *app) stopList(f *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List what is stopped, by whom and why",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			stops, err := list[admin.Stop](cmd.Context(), client, "/stops", nil)
			if err != nil {
				return err
			}
			if f.json {
				return a.printJSON(page[admin.Stop]{Data: stops})
			}
			if len(stops) == 0 {
				_, err := fmt.Fprintln(a.err, "Nothing is stopped.")
				return err
			}
			t := table{head: []string{"STOPPED", "SINCE", "ENDS", "BY", "REASON", "ID"}, text: []string{"STOPPED", "BY", "REASON"}}
			for _, s := range stops {
				t.add(stopScope(s), s.Since.Local().Format("Jan 2 15:04:05"), stopEnd(s), s.ByName, s.Reason, s.ID)
			}
			return a.printTable(&t)
		},
	}
}

func (a *app) resumeCommand() *cobra.Command {
	f, what := &adminFlags{}, &stopFlags{}
	c := &cobra.Command{
		Use:   "resume [ID...]",
		Short: "Lift stops",
		Long: `Lift stops, named by their ids or by what they stop, as they were made: "resume --all" lifts
the stop of everything, and leaves those of models and projects.`,
		Example: `  penstock resume --model gpt-5-mini
  penstock resume stop_01K97K2QJ8W6T2Z3N5V4M1R0XY`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			if what.none() == (len(ids) == 0) {
				return fail(exitUsage, "see: penstock stop list", "Say which stop to lift, by its id or by what it stops")
			}
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			if len(ids) == 0 {
				id, err := findStop(cmd.Context(), client, what)
				if err != nil {
					return err
				}
				ids = []string{id}
			}
			return a.resume(cmd.Context(), client, f, ids)
		},
	}
	f.add(c)
	what.add(c)
	return c
}

// findStop finds the id of a stop by what it stops.
func findStop(ctx context.Context, client *adminClient, what *stopFlags) (string, error) {
	stops, err := list[admin.Stop](ctx, client, "/stops", nil)
	if err != nil {
		return "", err
	}
	var found []string
	for _, s := range stops {
		if s.All == what.all && s.Model == what.model && (s.Project == what.project || s.ProjectName == what.project) {
			found = append(found, s.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", fail(exitFailure, "see: penstock stop list", "There is no such stop")
	case 1:
		return found[0], nil
	default: // projects of two organisations may have one name
		return "", fail(exitFailure, "say which by its id: penstock resume "+found[0], "There are %d such stops: %s", len(found), strings.Join(found, ", "))
	}
}

func (a *app) resume(ctx context.Context, client *adminClient, f *adminFlags, ids []string) error {
	lifted := page[admin.Stop]{Data: []admin.Stop{}}
	for _, id := range ids {
		var s admin.Stop
		if err := client.call(ctx, http.MethodPost, "/stops/"+url.PathEscape(id)+"/lift", nil, struct{}{}, &s); err != nil {
			return err
		}
		lifted.Data = append(lifted.Data, s)
		if !f.json {
			fmt.Fprintf(a.err, "Lifted: %s. Calls go through again everywhere within 5 s.\n", clean(stopScope(s)))
		}
	}
	if f.json {
		return a.printJSON(lifted)
	}
	left, err := list[admin.Stop](ctx, client, "/stops", nil)
	if err == nil && len(left) > 0 {
		_, err = fmt.Fprintf(a.err, "Still stopped: %d more; see: penstock stop list\n", len(left))
	}
	return err
}

// stopScope says what is stopped.
func stopScope(s admin.Stop) string {
	project := s.ProjectName
	if project == "" {
		project = s.Project
	}
	switch {
	case s.All:
		return "everything"
	case s.Model == "":
		return "project " + project
	case project == "":
		return "model " + s.Model
	}
	return "model " + s.Model + " for project " + project
}

// stopEnd says when a stop ends.
func stopEnd(s admin.Stop) string {
	if s.Until == nil {
		return "until it is lifted"
	}
	return "until " + s.Until.Local().Format(time.DateTime)
}
