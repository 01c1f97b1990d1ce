package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/figure"
)

func (a *app) auditExport(f *adminFlags) *cobra.Command {
	q, path := &auditQuery{}, ""
	c := &cobra.Command{
		Use:   "export",
		Short: "Write the chain, or a part of it, as signed lines of JSON",
		Long: `Write the chain of administrative acts, or those entries that the flags select, as lines of JSON: a head, the entries
from the oldest, and a last line with the signature. That it was exported is an entry too. Whoever has the file verifies
it without Penstock's store: penstock audit verify --file`,
		Example: `  penstock audit export > audit.jsonl
  penstock audit export --project checkout --from 2026-11-01 -o checkout.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client(cmd.Context(), f)
			if err != nil {
				return err
			}
			r, err := client.stream(cmd.Context(), "/audit/export", q.values())
			if err != nil {
				return err
			}
			defer r.Close()
			if path == "" {
				_, err = io.Copy(a.out, r)
				return brokeOff(client, err)
			}
			return a.saveExport(client, r, path)
		},
	}
	q.add(c)
	c.Flags().StringVarP(&path, "output", "o", "", "file to write (default: standard output)")
	return c
}

func brokeOff(c *adminClient, err error) error {
	if err == nil {
		return nil
	}
	return fail(exitUnreachable, "run it again", "The export of %s broke off: %v", c.base, err)
}

// saveExport writes an export to a file, which is there whole or not at all.
func (a *app) saveExport(c *adminClient, r io.Reader, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fail(exitFailure, "", "The export cannot be written: %v", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already, or of no use
	defer f.Close()
	var written atomic.Int64
	stop := a.progress(time.Now(), 0, func() string { return figure.Count(written.Load()) + " bytes" })
	_, err = io.Copy(f, io.TeeReader(r, counter{&written}))
	stop()
	if err != nil {
		return brokeOff(c, err)
	}
	if err := f.Sync(); err != nil {
		return fail(exitFailure, "", "The export cannot be written: %v", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fail(exitFailure, "", "The export cannot be written: %v", err)
	}
	fmt.Fprintf(a.err, "Written: %s. Verify it with: penstock audit verify --file %s\n", path, path)
	return nil
}

// A counter counts the bytes that pass.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
