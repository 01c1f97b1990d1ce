package cli

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/figure"
)

// A verifyFlags says what is verified, and against what.
type verifyFlags struct {
	file, checkpoints, key string
}

func (a *app) auditVerify(f *adminFlags) *cobra.Command {
	v := &verifyFlags{}
	c := &cobra.Command{
		Use:   "verify",
		Short: "Verify that no entry was altered, removed or put between",
		Long: `Verify the chain of administrative acts. Every entry is read and its hash computed here, so the answer does not rest on
the word of the Penstock that is asked; with --file no Penstock is needed. The first bad entry is named, and the exit
code is 1.

That the end of the chain was cut off, that it was made anew, or that another store is in its place can be seen only with
checkpoints that were kept elsewhere: give them with --checkpoints, and with --key the public key that they are signed with.`,
		Example: `  penstock audit verify
  penstock audit verify --checkpoints penstock.checkpoints --key audit.pub
  penstock audit verify --file export.jsonl --checkpoints penstock.checkpoints --key audit.pub`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			keys, points, err := v.read()
			if err != nil {
				return err
			}
			if v.file != "" {
				return a.verifyExport(f, v.file, keys, points)
			}
			return a.verifyOnline(cmd.Context(), f, points)
		},
	}
	c.Flags().StringVar(&v.file, "file", "", "verify this export instead of a Penstock")
	c.Flags().StringVar(&v.checkpoints, "checkpoints", "", "file with checkpoints, one a line")
	c.Flags().StringVar(&v.key, "key", "", "file with the public key, or several, in PEM: penstock audit key")
	return c
}

// read reads keys and checkpoints, and verifies the latter's signatures.
func (v *verifyFlags) read() (keys []ed25519.PublicKey, points []audit.Checkpoint, err error) {
	if v.key != "" {
		text, err := os.ReadFile(v.key)
		if err == nil {
			keys, err = audit.ParsePublic(text)
		}
		if err != nil {
			return nil, nil, fail(exitFailure, "make it with: penstock audit key", "The public key %s cannot be used: %v", v.key, err)
		}
	}
	if v.checkpoints == "" {
		return keys, nil, nil
	}
	if len(keys) == 0 {
		return nil, nil, fail(exitUsage, "give it with --key; make it with: penstock audit key", "Checkpoints are worth nothing without the key that they are signed with")
	}
	points, err = audit.ReadCheckpointFile(v.checkpoints, 1<<20)
	for i := 0; err == nil && i < len(points); i++ {
		err = points[i].Verify(keys...)
	}
	if err != nil {
		return nil, nil, fail(exitFailure, "", "The checkpoints in %s cannot be trusted: %v", v.checkpoints, err)
	}
	return keys, points, nil
}

func (a *app) verifyOnline(ctx context.Context, f *adminFlags, points []audit.Checkpoint) error {
	client, err := a.client(ctx, f)
	if err != nil {
		return err
	}
	var state audit.State
	if err := client.call(ctx, http.MethodGet, "/audit/head", nil, nil, &state); err != nil {
		return err
	}
	return a.verify(f, state.Head, points, false, client.auditChain(ctx))
}

// auditChain reads the chain from its beginning to its end.
func (c *adminClient) auditChain(ctx context.Context) iter.Seq2[*audit.Entry, error] {
	return func(yield func(*audit.Entry, error) bool) {
		query := url.Values{"ascending": {"true"}, "limit": {"1000"}}
		for {
			var p page[audit.Entry]
			if err := c.call(ctx, http.MethodGet, "/audit", query, nil, &p); err != nil {
				yield(nil, err)
				return
			}
			for i := range p.Data {
				if !yield(&p.Data[i], nil) {
					return
				}
			}
			if p.Next == "" {
				return
			}
			query.Set("after", p.Next)
		}
	}
}

func (a *app) verifyExport(f *adminFlags, path string, keys []ed25519.PublicKey, points []audit.Checkpoint) error {
	file, err := os.Open(path)
	if err != nil {
		return fail(exitFailure, "", "The export cannot be read: %v", err)
	}
	defer file.Close()
	m, err := audit.NewImport(file)
	if err != nil {
		return fail(exitFailure, "make it with: penstock audit export", "%s: %v", path, err)
	}
	entries := func(yield func(*audit.Entry, error) bool) {
		for {
			e, err := m.Next()
			if err == nil && e == nil && len(keys) > 0 {
				err = m.End.Verify(keys...)
			}
			switch {
			case err != nil:
				yield(nil, fail(exitFailure, "export again; if it was altered on the way, find out where", "%s: %v", path, err))
				return
			case e == nil || !yield(e, nil):
				return
			}
		}
	}
	return a.verify(f, m.Head.Head, points, !m.Head.Whole(), entries)
}

// A verdict is what verifying came to.
type verdict struct {
	Intact      bool         `json:"intact"`
	Chain       string       `json:"chain"`
	Entries     int64        `json:"entries"` // that were found good
	Part        bool         `json:"part"`    // others were left out of the export, and nothing is said of those
	Checkpoints int          `json:"checkpoints"`
	Break       *audit.Break `json:"break,omitzero"`
}

// verify walks a chain and prints what it finds. What breaks off the walk for another reason than a bad entry is no
// verdict.
func (a *app) verify(f *adminFlags, head audit.Head, points []audit.Checkpoint, part bool, entries iter.Seq2[*audit.Entry, error]) error {
	out := verdict{Chain: head.Chain, Checkpoints: len(points), Part: part}
	var seen atomic.Int64
	stop := a.progress(time.Now(), 0, func() string {
		return fmt.Sprintf("%s of %s entries", figure.Count(seen.Load()), figure.Count(head.Seq))
	})
	err := walkChain(head, points, part, entries, &seen)
	stop()
	if err != nil && !errors.As(err, &out.Break) {
		return err
	}
	out.Intact, out.Entries = out.Break == nil, seen.Load()
	if f.json {
		if err := a.printJSON(out); err != nil || out.Intact {
			return err
		}
		return fail(exitFailure, "", "")
	}
	if out.Break != nil {
		return fail(exitFailure, "change nothing more; keep the store as it is, and compare it with backups and checkpoints",
			"The audit chain is broken: %s", out.Break.Text)
	}
	what := "The audit chain is whole"
	if part {
		what = "The entries are as they were written, and others were left out"
	}
	_, err = fmt.Fprintf(a.out, "%s: %s%s.\n", what, entryWords(out.Entries), pointWords(len(points)))
	return err
}

// walkChain verifies entries, and counts those that are good.
func walkChain(head audit.Head, points []audit.Checkpoint, part bool, entries iter.Seq2[*audit.Entry, error], seen *atomic.Int64) error {
	v, err := audit.NewVerifier(audit.Head{Chain: head.Chain}, points)
	if err != nil {
		return err
	}
	for e, err := range entries {
		if err != nil {
			return err
		}
		if part {
			v.Skip(e)
		}
		if err := v.Next(e); err != nil {
			return err
		}
		seen.Add(1)
	}
	if part {
		return nil
	}
	return v.End(head)
}

func entryWords(n int64) string {
	if n == 1 {
		return "one entry"
	}
	return figure.Count(n) + " entries"
}

func pointWords(n int) string {
	if n == 0 {
		return ", held against no checkpoint"
	}
	return ", held against " + plural(n, "checkpoint", "checkpoints")
}
