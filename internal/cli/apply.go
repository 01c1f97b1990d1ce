package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/fault"
)

func (a *app) applyCommand() *cobra.Command {
	f := &adminFlags{}
	var path string
	var planOnly, prune bool
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Make projects, keys, prices, budgets, limits and tiers what a file says, all or nothing",
		Long: `Make projects, keys, prices, budgets, limits and tiers what a file says, all or nothing, and show the
difference to what there was; with --plan, show it and change nothing. What the file does not name stays as it is.
docs/apply.md says what a file may hold; penstock export writes one.`,
		Example: `  penstock apply -f tenants.yaml --plan
  penstock apply -f tenants.yaml
  penstock export | penstock apply -f - --plan`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.apply(cmd.Context(), f, path, planOnly, prune)
		},
	}
	f.add(c)
	c.Flags().StringVarP(&path, "file", "f", "", "`FILE` with the declaration; - is the standard input")
	c.Flags().BoolVar(&planOnly, "plan", false, "show what would change, and change nothing")
	c.Flags().BoolVar(&prune, "prune", false, "end keys, budgets and limits of the file's projects that the file does not name")
	_ = c.MarkFlagRequired("file") // fails only for a flag that is not there
	return c
}

func (a *app) apply(ctx context.Context, f *adminFlags, path string, planOnly, prune bool) error {
	in := admin.DeclareInput{Prune: prune}
	doc, err := a.readDeclaration(path, &in.Declaration)
	if err != nil {
		return err
	}
	client, err := a.client(ctx, f)
	if err != nil {
		return err
	}
	var plan admin.Plan
	if err := client.call(ctx, http.MethodPost, "/declaration/plan", nil, in, &plan); err != nil {
		return err
	}
	if len(plan.Problems) > 0 {
		list := make([]fault.Problem, len(plan.Problems))
		for i, p := range plan.Problems {
			list[i] = fault.Problem{Path: p.Path, Text: clean(p.Text), Hint: clean(p.Hint)}
		}
		return fail(exitConfig, "", "%v", doc.Problems(list))
	}
	if !planOnly && len(plan.Changes) > 0 {
		in.Base = plan.Base // what is shown is what is done
		if err := client.call(ctx, http.MethodPost, "/declaration/apply", nil, in, &plan); err != nil {
			return err
		}
	}
	if f.json {
		return a.printJSON(plan)
	}
	return a.printPlan(&plan, planOnly)
}

// readDeclaration reads a file as strictly as the configuration.
func (a *app) readDeclaration(path string, into *admin.Declaration) (*config.Document, error) {
	in := a.in
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fail(exitFailure, "", "%v", err)
		}
		defer file.Close()
		in = file
	}
	src, err := io.ReadAll(io.LimitReader(in, maxDeclaration+1))
	if err != nil {
		return nil, fail(exitFailure, "", "%v", err)
	}
	if bytes.HasPrefix(bytes.TrimLeft(src, " \t\r\n"), []byte("{")) { // JSON, for programs, and for more than YAML is read well at
		if err := json.Unmarshal(src, into, json.RejectUnknownMembers(true)); err != nil {
			return nil, fail(exitConfig, "", "%s: %v", path, err)
		}
		return &config.Document{}, nil
	}
	doc, err := config.ReadDocument(path, src, into)
	if err != nil {
		return nil, fail(exitConfig, "", "%v", err)
	}
	return doc, nil
}

// maxDeclaration is what the control API takes, in bytes.
const maxDeclaration = 8 << 20

// signs tell at a glance what is made, changed and ended.
var signs = map[string]struct {
	sign string
	style
}{"make": {"+", good}, "change": {"~", bold}, "end": {"-", bad}}

func (a *app) printPlan(plan *admin.Plan, planOnly bool) error {
	count := map[string]int{}
	for _, c := range plan.Changes {
		count[c.Do]++
		s := signs[c.Do]
		fmt.Fprintf(a.out, "%s %-7s %s\n", a.paint(a.tty, s.style, s.sign), c.What, clean(c.Name))
		width := 12
		for _, field := range c.Fields {
			width = max(width, columns(clean(field.Name)))
		}
		for _, field := range c.Fields {
			fmt.Fprintf(a.out, "    %-*s  %s\n", width, clean(field.Name), fieldChange(c.Do, field))
		}
	}
	if n := len(plan.Left); n > 0 {
		shown := plan.Left[:min(n, 5)]
		more := ""
		if n > len(shown) {
			more = fmt.Sprintf(", and %d more", n-len(shown))
		}
		fmt.Fprintf(a.err, "Not in the file, and left as they are: %s%s.\n", clean(strings.Join(shown, ", ")), more)
	}
	switch {
	case len(plan.Changes) == 0:
		fmt.Fprintln(a.err, "Nothing to change: all is as the file says.")
	case planOnly:
		fmt.Fprintf(a.err, "To make %d, to change %d, to end %d. Nothing was changed; without --plan, it is.\n", count["make"], count["change"], count["end"])
	default:
		fmt.Fprintf(a.err, "Made %d, changed %d, ended %d. It counts everywhere within 5 s.\n", count["make"], count["change"], count["end"])
	}
	return nil
}

func fieldChange(do string, f admin.PlanField) string {
	before, after := clean(f.Before), clean(f.After)
	switch {
	case do == "make":
		return after
	case do == "end":
		return before
	case before == "":
		return "(none) -> " + after
	case after == "":
		return before + " -> (none)"
	}
	return before + " -> " + after
}

func (a *app) exportCommand() *cobra.Command {
	f := &adminFlags{}
	var path string
	c := &cobra.Command{
		Use:   "export",
		Short: "Write projects, keys (as hashes), prices, budgets, limits and tiers as a file that apply reads",
		Long: `Write projects, keys, prices, budgets, limits and tiers as a file that apply reads. Applying it where it came from changes nothing.
Keys are in it as hashes, which are of use only together with the key ring that they were made with.`,
		Example: "  penstock export > tenants.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			var d admin.Declaration
			if err := client.call(cmd.Context(), http.MethodGet, "/declaration", nil, nil, &d); err != nil {
				return err
			}
			if f.json {
				return a.printJSON(d)
			}
			text := declarationYAML(d)
			if path == "" {
				_, err = io.WriteString(a.out, text)
				return err
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return fail(exitFailure, "", "%v", err)
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVarP(&path, "out", "o", "", "write to this `FILE` instead of the standard output")
	return c
}
