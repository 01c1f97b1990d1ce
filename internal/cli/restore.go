package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/store"
	"github.com/penstock/penstock/internal/upkeep"
)

type restoreFlags struct {
	file, data, store, keyring string
	verify, replace, json      bool
	otherChain                 bool
}

// A restoredBackup says what was restored, or checked.
type restoredBackup struct {
	ID        string    `json:"id"`
	Taken     time.Time `json:"taken"`
	Version   string    `json:"version"` // of the Penstock that wrote it
	Engine    string    `json:"engine"`
	Schema    int64     `json:"schema"`
	Keyring   string    `json:"keyring"`
	Rows      int64     `json:"rows"`
	Exchanges int64     `json:"exchanges"`
	Entries   int64     `json:"audit_entries"`
	Signed    int       `json:"audit_checkpoints"`    // signed on this host, that the audit chain was held against
	Lost      int64     `json:"audit_entries_lost"`   // that were signed on this host, and are not in the backup
	Other     string    `json:"other_chain,omitzero"` // how the audit chain is another one than what was there has
	Store     string    `json:"store,omitzero"`       // where it was restored to; left out if it was only checked
	Epoch     int64     `json:"epoch,omitzero"`
	Aside     string    `json:"aside,omitzero"` // directory with what was there before
	Seconds   float64   `json:"seconds"`        // that it took
}

func (a *app) restoreCommand() *cobra.Command {
	f := &restoreFlags{}
	c := &cobra.Command{
		Use:   "restore FILE --data DIR",
		Short: "Put a backup back into a stopped Penstock, or check it",
		Long: `Put a backup into the store of a Penstock that is stopped: into a data directory without a store, or an empty PostgreSQL
database, whichever engine it was taken of. It takes the key ring that the backup belongs to.

What is restored is read back and checked before it stands: row by row against the backup, sums against rows, the audit
chain from its first entry. With --verify, all that is done in a temporary directory and nothing is kept.`,
		Example: "  penstock restore --verify today.backup\n  penstock restore today.backup --data /var/lib/penstock\n  penstock restore today.backup -c penstock.yaml --replace",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.restore(cmd.Context(), f, args[0]) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.file, "config", "c", "", "configuration file of the Penstock to restore")
	fl.StringVar(&f.data, "data", "", "data directory to restore into (PENSTOCK_DATA; default: the file's, else penstock-data)")
	fl.StringVar(&f.store, "store", "", "store to restore into, as sqlite:PATH or postgres://USER@HOST/DATABASE (PENSTOCK_STORE; default in the data directory)")
	fl.StringVar(&f.keyring, "keyring", "", "file of the key ring (default: the file's, else keyring.json in the data directory)")
	fl.BoolVar(&f.verify, "verify", false, "check the backup, and keep nothing")
	fl.BoolVar(&f.replace, "replace", false, "put a store that is there aside, into a directory beside it")
	fl.BoolVar(&f.otherChain, "other-chain", false, "take a backup whose audit chain is not that of what is there")
	fl.BoolVar(&f.json, "json", false, "print JSON")
	return c
}

func (a *app) restore(ctx context.Context, f *restoreFlags, path string) error {
	begun := time.Now()
	flags := map[string]string{}
	for name, v := range map[string]string{"data": f.data, "store": f.store} {
		if v != "" {
			flags[name] = v
		}
	}
	cfg, err := config.Load(ctx, config.Options{File: f.file, Env: a.env, Flags: flags})
	if err != nil {
		return configError(err)
	}
	keyring := f.keyring
	if keyring == "" {
		keyring = cfg.KeyringPath()
	}
	in, err := os.Open(path)
	if err != nil {
		return fail(exitFailure, "", "The backup cannot be read: %v", err)
	}
	defer in.Close()
	ring, err := upkeep.OpenRing(ctx, keyring, cfg.KeyringWrapper(), in)
	if err != nil {
		return restoreError(path, err)
	}
	var size int64
	if info, err := in.Stat(); err == nil {
		size = info.Size()
	}
	var read atomic.Int64
	stop := a.progress(begun, 0, func() string { return restoreState(read.Load(), size) })
	from := io.TeeReader(in, counter{&read})
	var out *upkeep.Restored
	o := upkeep.RestoreOptions{Replace: f.replace, OtherChain: f.otherChain, Actor: audit.Command(hostUser(), "penstock restore")}
	if f.verify {
		out, err = upkeep.Verify(ctx, from, ring, cfg.CheckpointsPath(), o)
	} else {
		out, err = upkeep.Restore(ctx, cfg, from, ring, o)
	}
	stop()
	if err != nil {
		return restoreError(path, err)
	}
	return a.sayRestored(f, cfg, out, time.Since(begun))
}

// restoreState is how far a restore is: reading comes first, and then checks.
func restoreState(read, size int64) string {
	if size == 0 || read >= size {
		return "read whole; checking"
	}
	return figure.Percent(read, size) + " of " + figure.Bytes(size) + " read"
}

// hostUser is who runs the command, as the system knows it.
func hostUser() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}

// restoreError says what is wrong with a backup, or with the place where it should go.
func restoreError(path string, err error) error {
	var wrong *backup.WrongRingError
	var problem fault.Problem
	var unusable *store.OpenError
	switch {
	case errors.As(err, &wrong):
		return fail(exitFailure, "name the file of that ring with --keyring", "%s: %v", path, err)
	case errors.As(err, &problem):
		if problem.Path == "" {
			problem.Path = path
		}
		return fail(exitFailure, problem.Hint, "%s: %s", problem.Path, problem.Text)
	case errors.Is(err, store.ErrNotEmpty):
		return fail(exitStore, "restore into another --data or database; --replace puts a file that is there aside", "%v", err)
	case errors.As(err, &unusable):
		return fail(exitStore, unusable.Hint, "%v", err)
	}
	return fail(exitFailure, "nothing was restored", "%s: %v", path, err)
}

func (a *app) sayRestored(f *restoreFlags, cfg *config.File, r *upkeep.Restored, took time.Duration) error {
	m := r.Manifest
	if f.json {
		out := restoredBackup{
			ID: m.ID, Taken: m.Taken, Version: m.Version, Engine: m.Engine, Schema: m.Schema, Keyring: m.Keyring, Rows: r.Summary.Rows(),
			Exchanges: r.Exchanges, Entries: m.Chain.Seq, Signed: r.Signed, Lost: r.LostEntries, Other: r.Other, Epoch: r.Epoch, Aside: r.Aside, Seconds: took.Round(time.Millisecond).Seconds(),
		}
		if !f.verify {
			out.Store = store.Shown(cfg.Store)
		}
		if err := a.printJSON(out); err != nil {
			return err
		}
	} else {
		done := "The backup is whole"
		if !f.verify {
			done = "Restored into " + store.Shown(cfg.Store)
		}
		signed := ""
		if r.Signed > 0 {
			signed = ", held against " + many(int64(r.Signed), "checkpoint", "checkpoints") + " of this host"
		}
		_, err := fmt.Fprintf(a.out, "%s: the store as it was at %s, %s rows, %s.\nChecked in %s: every row, the sums, %s of the audit chain%s.\n", done,
			m.Taken.Local().Format("2006-01-02 15:04:05"), figure.Count(r.Summary.Rows()), many(r.Exchanges, "exchange", "exchanges"),
			figure.Duration(took), many(m.Chain.Seq, "entry", "entries"), signed)
		if err != nil {
			return err
		}
	}
	if r.Other != "" {
		fmt.Fprintf(a.err, "Another audit chain was allowed: %s.\n", r.Other)
	}
	if !f.verify {
		a.sayLeft(cfg, r)
	}
	return nil
}

// sayLeft says what there is to know after a restore.
func (a *app) sayLeft(cfg *config.File, r *upkeep.Restored) {
	if r.Aside != "" {
		fmt.Fprintf(a.err, "What was there before is in %s.\n", r.Aside)
	}
	if r.Unread {
		fmt.Fprintln(a.err, "The audit chain of the store that was there could not be read: the backup was not held against it.")
	}
	if r.LostEntries > 0 {
		fmt.Fprintf(a.err, "The audit chain ends %s before the last that was signed here; the checkpoints that show it were put aside with the rest.\n",
			many(r.LostEntries, "entry", "entries"))
	}
	switch {
	case r.OtherAdminKey:
		fmt.Fprintf(a.err, "%s is not the admin key of this store.\n", cfg.AdminKeyPath())
	case r.NoAdminKey:
		fmt.Fprintf(a.err, "There is no %s: commands need the admin key of the store.\n", cfg.AdminKeyPath())
	}
	if _, err := os.Stat(cfg.KeyringPath()); err != nil {
		fmt.Fprintf(a.err, "Before it is started, the key ring has to be at %s.\n", cfg.KeyringPath())
	}
}

// many counts things.
func many(n int64, one, more string) string {
	if n == 1 {
		return "one " + one
	}
	return figure.Count(n) + " " + more
}
