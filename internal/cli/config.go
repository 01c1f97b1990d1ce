package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/config"
)

func (a *app) configCommand() *cobra.Command {
	c := group(&cobra.Command{Use: "config", Short: "Check, show and compare configuration"})
	c.AddCommand(a.configCheck(), a.configSchema(), a.configShow(), a.configPlan(), a.configRollback())
	return c
}

func (a *app) configCheck() *cobra.Command {
	f := &serveFlags{}
	c := &cobra.Command{
		Use:     "check",
		Short:   "Say all that is wrong with a file, at once",
		Example: "  penstock config check -c penstock.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(cmd.Context(), f.options(a, false))
			if err != nil {
				return configError(err)
			}
			name := cfg.Path()
			if name == "" {
				name = "the environment"
			}
			_, err = fmt.Fprintf(a.err, "Nothing is wrong with %s: %s, %s.\n", name, counted(int64(len(cfg.Providers)), "provider", "providers"), counted(int64(len(cfg.Models)), "model", "models"))
			return err
		},
	}
	f.add(c)
	return c
}

func (a *app) configSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the file, for editors",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write(config.Schema())
			return err
		},
	}
}

func (a *app) configShow() *cobra.Command {
	f := &serveFlags{}
	c := &cobra.Command{
		Use:   "show",
		Short: "Print what a file and the environment come to, and where each value is from; secrets stay masked",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(cmd.Context(), f.options(a, false))
			if err != nil {
				return configError(err)
			}
			_, err = a.out.Write(config.Show(cfg))
			return err
		},
	}
	f.add(c)
	return c
}

func (a *app) configPlan() *cobra.Command {
	f := &adminFlags{}
	c := &cobra.Command{
		Use:     "plan FILE",
		Short:   "Say what a new file would change against the one given with -c",
		Example: "  penstock config plan -c penstock.yaml penstock-new.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			old, err := config.Load(cmd.Context(), config.Options{File: f.file, Env: a.env})
			if err != nil {
				return configError(err)
			}
			next, err := config.Load(cmd.Context(), config.Options{File: args[0], Env: a.env})
			if err != nil {
				return configError(err)
			}
			changes := config.Plan(old, next)
			if len(changes) == 0 && !f.json {
				fmt.Fprintln(a.err, "Nothing would change.")
			}
			return a.printChanges(changes, f.json)
		},
	}
	c.Flags().StringVarP(&f.file, "config", "c", "", "file in force")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	return c
}

// printChanges prints one line for each setting that differs.
func (a *app) printChanges(changes []config.Change, asJSON bool) error {
	if asJSON {
		return a.printJSON(changes)
	}
	for _, ch := range changes {
		note := ""
		if ch.Restart {
			note = "   (needs a restart)"
		}
		if _, err := fmt.Fprintf(a.out, "%s: %s -> %s%s\n", ch.Path, orNone(ch.Old), orNone(ch.New), note); err != nil {
			return err
		}
	}
	return nil
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}
