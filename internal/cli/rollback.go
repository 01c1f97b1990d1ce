package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/server"
)

func (a *app) configRollback() *cobra.Command {
	f := &adminFlags{}
	c := &cobra.Command{
		Use:   "rollback -c FILE",
		Short: "Write the configuration that was last in force back into the file",
		Long: `Write the configuration that was last in force back into the file: if the file was changed and
that was not taken over, what is in force; else what was in force before it. A running Penstock
takes it over by itself. What the file said until now is kept in the data directory; a second
rollback of a change that was in force undoes the first.`,
		Example: "  penstock config rollback -c penstock.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.rollback(cmd.Context(), f) },
	}
	c.Flags().StringVarP(&f.file, "config", "c", "", "configuration file to write back")
	c.Flags().StringVar(&f.data, "data", "", "data directory of the Penstock that runs from it (default: the file's, else penstock-data)")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON")
	_ = c.MarkFlagRequired("config") // fails only for a flag that is not there
	return c
}

func (a *app) rollback(ctx context.Context, f *adminFlags) error {
	info, err := os.Lstat(f.file)
	if err != nil {
		return fail(exitConfig, "check the path given with -c", "%v", err)
	}
	if !info.Mode().IsRegular() {
		return fail(exitConfig, "roll back where its text comes from", "%s is a link or no file at all; something else writes it", f.file)
	}
	said, err := os.ReadFile(f.file)
	if err != nil {
		return fail(exitConfig, "check the path given with -c", "%v", err)
	}
	o := config.Options{File: f.file, Env: a.env, Flags: map[string]string{}}
	if f.data != "" {
		o.Flags["data"] = f.data
	}
	old, loadErr := config.Load(ctx, o)
	dir := a.dataOf(f, old)
	text, err := lastInForce(dir, said)
	if err != nil {
		return err
	}
	fresh, err := swap(ctx, o, text, said, info.Mode().Perm(), filepath.Join(dir, "config.replaced"))
	if err != nil {
		return err
	}
	changes := []config.Change{}
	if loadErr == nil {
		changes = append(changes, config.Plan(old, fresh)...)
	} else {
		fmt.Fprintf(a.err, "The file could not be used as it was: %v\n", loadErr)
	}
	if err := a.printChanges(changes, f.json); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "%s is written back; what it said until now is in %s.\nA running Penstock takes it over by itself; whether it did says: penstock status\n",
		f.file, filepath.Join(dir, "config.replaced"))
	return nil
}

// dataOf finds the data directory. A file that cannot be used does not tell it.
func (a *app) dataOf(f *adminFlags, old *config.File) string {
	if old != nil {
		return old.Data
	}
	if f.data != "" {
		return f.data
	}
	if data, _ := a.env("PENSTOCK_DATA"); data != "" {
		return data
	}
	return filepath.Join(filepath.Dir(f.file), "penstock-data")
}

// lastInForce finds the latest text that was in force and is not what the file says.
func lastInForce(dir string, said []byte) ([]byte, error) {
	kept, err := server.KeptConfigs(dir)
	if err != nil {
		return nil, fail(exitFailure, "it belongs to the user that runs Penstock", "%v", err)
	}
	for _, text := range kept {
		if !bytes.Equal(text, said) {
			return text, nil
		}
	}
	return nil, fail(exitFailure, "name the data directory with --data; it keeps an earlier one from the first change on that was taken over",
		"No earlier configuration is kept in %s. Nothing was changed", dir)
}

// swap puts text in the place of the file, if it is a configuration, and keeps what the file said.
func swap(ctx context.Context, o config.Options, text, said []byte, mode fs.FileMode, keep string) (*config.File, error) {
	next, err := os.CreateTemp(filepath.Dir(o.File), filepath.Base(o.File)+".rollback*")
	if err != nil {
		return nil, fail(exitFailure, "its directory must be writable", "%v", err)
	}
	defer func() { _ = os.Remove(next.Name()) }() // gone already, or of no use
	_, err = next.Write(text)
	if err := errors.Join(err, next.Chmod(mode), next.Sync(), next.Close()); err != nil {
		return nil, fail(exitFailure, "", "%v", err)
	}
	file := o.File
	o.File = next.Name() // beside the file, so that relative paths mean the same
	fresh, err := config.Load(ctx, o)
	if err != nil {
		return nil, configError(err)
	}
	err = os.WriteFile(keep, said, 0o600)
	if err == nil {
		err = os.Rename(next.Name(), file)
	}
	if err != nil {
		return nil, fail(exitFailure, "nothing was changed", "%v", err)
	}
	return fresh, nil
}
