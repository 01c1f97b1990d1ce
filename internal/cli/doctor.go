package cli

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/doctor"
)

// A diagnosis is the answer of doctor.
type diagnosis struct {
	Findings []doctor.Finding `json:"findings"`
	Failures int              `json:"failures"`
	Warnings int              `json:"warnings"`
}

func diagnose(findings []doctor.Finding) diagnosis {
	d := diagnosis{Findings: findings}
	for _, f := range findings {
		switch f.State {
		case doctor.Fail:
			d.Failures++
		case doctor.Warn:
			d.Warnings++
		}
	}
	return d
}

func (a *app) doctorCommand() *cobra.Command {
	f, all := &adminFlags{}, false
	c := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether all that Penstock needs is well, and say what to do",
		Long: `Look whether all that Penstock needs is well, and say what to do: the file, the data directory, the
store, clocks, the limits on files and memory, the disk, certificates and every provider, which is asked
for its list of models only. It reads and changes nothing, and works whether or not Penstock serves.
Run it on the machine, as the user, and with the environment of the Penstock that it is about.

Exit code 1 if something fails; warnings alone are 0.`,
		Example: "  penstock doctor -c penstock.yaml\n  penstock doctor -c penstock.yaml --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := diagnose(a.examine(cmd.Context(), f))
			if f.json {
				if err := a.printJSON(d); err != nil {
					return err
				}
			} else if err := a.printDiagnosis(d, all); err != nil {
				return err
			}
			if d.Failures > 0 {
				return &exitError{code: exitFailure}
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVarP(&all, "verbose", "v", false, "show what is well, too")
	return c
}

// examine runs all checks; on a terminal it says which one runs.
func (a *app) examine(ctx context.Context, f *adminFlags) []doctor.Finding {
	flags := map[string]string{}
	if f.data != "" {
		flags["data"] = f.data
	}
	o := doctor.Options{
		Config: config.Options{File: f.file, Env: a.env, Flags: flags},
		Serving: func(ctx context.Context) (*admin.Status, []admin.Alert, error) {
			own := *f
			client, err := a.client(ctx, &own)
			if err != nil {
				return nil, nil, err
			}
			var st admin.Status
			if err := client.call(ctx, http.MethodGet, "/status", nil, nil, &st); err != nil {
				return nil, nil, err
			}
			alerts, err := list[admin.Alert](ctx, client, "/alerts", nil)
			return &st, alerts, err
		},
	}
	if _, plain := a.env("ACCESSIBLE"); a.ttyErr && !plain {
		o.Progress = func(check string) { fmt.Fprint(a.err, "\r\x1b[2Klooking at "+check) }
		defer fmt.Fprint(a.err, "\r\x1b[2K")
	}
	return doctor.Examine(ctx, o)
}

func (a *app) printDiagnosis(d diagnosis, all bool) error {
	well := 0
	var b strings.Builder
	for _, f := range d.Findings {
		if f.State == doctor.OK {
			if well++; !all {
				continue
			}
		}
		style := good
		switch f.State {
		case doctor.Fail:
			style = bad
		case doctor.Warn, doctor.Skip:
			style = dim
		}
		word := string(f.State)
		if f.State == doctor.Fail {
			word = "FAIL" // seen without colours, too
		}
		fmt.Fprintf(&b, "%s  %-11s  %s\n", a.paint(a.tty, style, fmt.Sprintf("%-4s", word)), f.Check, clean(f.Text))
		if f.Do != "" {
			fmt.Fprintf(&b, "                   do: %s\n", clean(f.Do))
		}
	}
	hint := ""
	if well > 0 && !all {
		hint = " (all with -v)"
	}
	fmt.Fprintf(&b, "%s, %s, %d ok%s.\n", number(d.Failures, "failure"), number(d.Warnings, "warning"), well, hint)
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

// number counts things of a name.
func number(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}
