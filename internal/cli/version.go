package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/store"
)

// A build is what the program is.
type build struct {
	Version string `json:"version"`
	Commit  string `json:"commit"` // "" if the build did not say
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Schema  int64  `json:"schema"` // of the store: the number of the last migration that it knows
}

func (a *app) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if !asJSON {
				_, err := fmt.Fprintln(a.out, "penstock", a.version)
				return err
			}
			schema, err := store.Schema()
			if err != nil {
				return err
			}
			return a.printJSON(build{a.version, a.commit, runtime.Version(), runtime.GOOS, runtime.GOARCH, schema})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: version, commit, Go, platform, schema of the store")
	return c
}
