package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/upkeep"
)

func (a *app) adminKeyCommand() *cobra.Command {
	c := group(&cobra.Command{Use: "admin-key", Short: "Make a new admin key where the old one is lost"})
	c.AddCommand(a.adminKeyReset())
	return c
}

func (a *app) adminKeyReset() *cobra.Command {
	var file, data, address string
	var asJSON bool
	c := &cobra.Command{
		Use:   "reset",
		Short: "Make a new admin key; the old one is dead",
		Long: `Make a new admin key, write it to admin.key in the data directory, and end the old one with all that was signed in with it.
It takes no key, but access to the store and to the key ring: stop Penstock first if the store is a file; with PostgreSQL,
replicas go on and know the new key within seconds. That it was done is an entry of the audit chain.`,
		Example: "  penstock admin-key reset -c penstock.yaml\n  penstock admin-key reset --data /var/lib/penstock",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			flags := map[string]string{}
			for name, v := range map[string]string{"data": data, "store": address} {
				if v != "" {
					flags[name] = v
				}
			}
			cfg, err := config.Load(cmd.Context(), config.Options{File: file, Env: a.env, Flags: flags})
			if err != nil {
				return configError(err)
			}
			path, err := upkeep.ResetAdminKey(cmd.Context(), cfg, audit.Command(hostUser(), "penstock admin-key reset"))
			if p, ok := errors.AsType[fault.Problem](err); ok {
				return fail(exitFailure, p.Hint, "%s: %s", p.Path, p.Text)
			}
			if err != nil {
				return startError(err)
			}
			if asJSON {
				return a.printJSON(struct {
					File string `json:"file"`
				}{path})
			}
			fmt.Fprintf(a.err, "The new admin key is in %s. The old one, and who was signed in with it, is refused from now on; replicas that serve know within 5 s.\n", path)
			return nil
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file of the Penstock")
	c.Flags().StringVar(&data, "data", "", "data directory (PENSTOCK_DATA; default: the file's, else penstock-data)")
	c.Flags().StringVar(&address, "store", "", "store, as sqlite:PATH or postgres://USER@HOST/DATABASE (PENSTOCK_STORE; default in the data directory)")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
