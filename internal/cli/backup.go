package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/server"
	"github.com/penstock/penstock/internal/upkeep"
)

// A takenBackup says what was written.
type takenBackup struct {
	File    string    `json:"file"`
	ID      string    `json:"id"`
	Taken   time.Time `json:"taken"`   // the moment that it is of
	Keyring string    `json:"keyring"` // id of the ring that it takes to restore it
	Bytes   int64     `json:"bytes"`
	SHA256  string    `json:"sha256"`
	Seconds float64   `json:"seconds"` // that it took
}

func (a *app) backupCommand() *cobra.Command {
	f := &adminFlags{}
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a backup of the store, while Penstock serves",
		Long: `Write a backup of the store into a new file: tenants, prices, records, the audit chain, all as it is at one moment.
Penstock may serve meanwhile, on this machine or another; if none serves from the data directory, its store is read there.

The file is encrypted for the key ring, which is not in it: keep a copy of the ring apart. It belongs to no engine:
a backup of SQLite can be restored into PostgreSQL, and the other way round.`,
		Example: "  penstock backup /var/backups/penstock-$(date +%F).backup\n  penstock backup today.backup --json\n  penstock restore --verify today.backup",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.backup(cmd.Context(), f, args[0]) },
	}
	f.add(c)
	return c
}

func (a *app) backup(ctx context.Context, f *adminFlags, path string) error {
	if _, err := os.Lstat(path); err == nil {
		return fail(exitUsage, "name a new file, or remove that one", "%s is there already", path)
	}
	begun, out := time.Now(), takenBackup{File: path}
	cfg, err := a.stopped(ctx, f)
	if err != nil {
		return err
	}
	take := func(w io.Writer) error { return a.takeOnline(ctx, f, w, &out) }
	if cfg != nil {
		take = func(w io.Writer) error { return a.takeOffline(ctx, cfg, w, &out) }
	}
	if err := a.writeBackup(path, take, &out); err != nil {
		return err
	}
	out.Seconds = time.Since(begun).Round(time.Millisecond).Seconds()
	if f.json {
		return a.printJSON(out)
	}
	fmt.Fprintf(a.err, "Written: %s, %s in %s, the store as it was at %s.\nIt takes the key ring %s to restore it, which is not in it. Check it with: penstock restore --verify %s\n",
		path, figure.Bytes(out.Bytes), figure.Duration(time.Since(begun)), out.Taken.Local().Format("Jan 2 15:04:05"), out.Keyring, path)
	return nil
}

// stopped gives the configuration of a Penstock that does not serve, nil if one is to be asked.
func (a *app) stopped(ctx context.Context, f *adminFlags) (*config.File, error) {
	if u, _ := a.env("PENSTOCK_ADMIN_URL"); u != "" || f.url != "" {
		return nil, nil
	}
	cfg, err := a.configOf(ctx, f.file, f.data)
	if err != nil {
		return nil, err
	}
	if _, err := server.ReadPresence(cfg.Data); err == nil {
		return nil, nil
	}
	return cfg, nil
}

func (a *app) configOf(ctx context.Context, file, data string) (*config.File, error) {
	flags := map[string]string{}
	if data != "" {
		flags["data"] = data
	}
	cfg, err := config.Load(ctx, config.Options{File: file, Env: a.env, Flags: flags})
	if err != nil {
		return nil, configError(err)
	}
	return cfg, nil
}

// writeBackup writes a file that is there whole or not at all, and is never put in the place of another.
func (a *app) writeBackup(path string, take func(io.Writer) error, out *takenBackup) error {
	dir := filepath.Dir(path)
	file, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fail(exitFailure, "", "The backup cannot be written: %v", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // it has its name by then, or is of no use
	defer file.Close()
	var written atomic.Int64
	sum := sha256.New()
	stop := a.progress(time.Now(), 0, func() string { return figure.Bytes(written.Load()) })
	err = take(io.MultiWriter(file, sum, counter{&written}))
	stop()
	if err != nil {
		return err
	}
	out.Bytes, out.SHA256 = written.Load(), hex.EncodeToString(sum.Sum(nil))
	err = file.Sync()
	if err == nil {
		err = os.Link(file.Name(), path)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return fail(exitFailure, "", "The backup cannot be written: %v", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// takeOnline asks a Penstock that serves.
func (a *app) takeOnline(ctx context.Context, f *adminFlags, w io.Writer, out *takenBackup) error {
	client, err := a.client(ctx, f)
	if err != nil {
		return err
	}
	resp, err := client.streamOf(ctx, http.MethodPost, "/backup", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out.ID, out.Keyring = resp.Header.Get(admin.BackupID), resp.Header.Get(admin.BackupKeyring)
	out.Taken, err = time.Parse(time.RFC3339Nano, resp.Header.Get(admin.BackupTaken))
	if err != nil || out.ID == "" {
		return fail(exitFailure, "is it a Penstock of this version?", "The answer of %s is no backup", client.base)
	}
	in := &watched{r: resp.Body}
	if _, err := io.Copy(w, in); err != nil {
		if in.err == nil {
			return fail(exitFailure, "", "The backup cannot be written: %v", err)
		}
		return fail(exitUnreachable, "see its log, and run it again", "The backup of %s broke off: %v", client.base, err)
	}
	return nil
}

// watched remembers that it was reading that failed.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// takeOffline reads the store of a Penstock that does not serve.
func (a *app) takeOffline(ctx context.Context, cfg *config.File, w io.Writer, out *takenBackup) error {
	m, err := upkeep.TakeStopped(ctx, cfg, a.version, w)
	if err != nil {
		return startError(err)
	}
	out.ID, out.Taken, out.Keyring = m.ID, m.Taken, m.Keyring
	return nil
}
