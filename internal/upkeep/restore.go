package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/store"
)

// RestoreOptions say how a backup is put back.
type RestoreOptions struct {
	// Replace moves a store that is there aside, and what the process has signed of its audit chain with it. Else a store
	// that is there is [store.ErrNotEmpty].
	Replace bool
	// OtherChain allows that the audit chain of what is there, or what this host has signed of one, is not that of the backup.
	OtherChain bool
	Actor      audit.Actor
	Log        *slog.Logger
	Now        func() time.Time // nil: time.Now
}

// A Restored says what was put back, or checked.
type Restored struct {
	Manifest  backup.Manifest
	Summary   backup.Summary
	Exchanges int64
	Epoch     int64  // 0 if it was only checked
	Aside     string // directory with what was there before, "" if there was nothing
	// LostEntries is how many entries of the audit chain this host had signed that the backup does not have.
	LostEntries int64
	// Signed is against how many checkpoints that this host has signed the audit chain was held.
	Signed int
	// Other says how the audit chain in the backup is another one than what was there has; "" if it is not, or nothing was there.
	Other string
	// Unread says that the audit chain of the store that was there could not be read, so that nothing was held against it.
	Unread bool
	// OtherAdminKey says that the admin key in the data directory is not the store's; NoAdminKey that there is none.
	OtherAdminKey, NoAdminKey bool
}

// OpenRing opens the ring that a backup takes. It makes none: a new one opens nothing. from is read a little.
func OpenRing(ctx context.Context, path string, wrapper seal.Wrapper, from io.ReadSeeker) (*seal.Ring, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		needs, err := backup.RingOf(from)
		if err != nil {
			return nil, err
		}
		return nil, fault.Problem{
			Path: path, Text: "is not there, and the backup belongs to key ring " + needs,
			Hint: "put the copy of that ring there; it is kept apart from backups, so that who has one of the two has nothing",
		}
	}
	ring, _, err := seal.Load(ctx, path, seal.Options{Wrapper: wrapper})
	if err != nil {
		return nil, err
	}
	if _, err := backup.RingOf(from); err != nil {
		return nil, err
	}
	_, err = from.Seek(0, io.SeekStart)
	return ring, err
}

// Verify checks a backup by restoring it into a directory that is removed again, with every check of [Restore] that does not
// need the store in place. points is the file of checkpoints that this host has signed; there may be none. Of the options only
// OtherChain counts.
func Verify(ctx context.Context, from io.Reader, ring *seal.Ring, points string, o RestoreOptions) (*Restored, error) {
	signed, err := signedIn(points)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "penstock-verify-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // the system removes what is left in its own time
	in, err := backup.NewReader(from, ring)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	address := "sqlite:" + filepath.Join(dir, "penstock.db")
	if err := store.Load(ctx, address, in, store.Options{}); err != nil {
		return nil, err
	}
	s, err := store.Open(ctx, address, store.Options{Restoring: true})
	if err != nil {
		return nil, err
	}
	r := &restoring{o: o, ring: ring, out: &Restored{Manifest: in.Manifest, Summary: in.Summary()}}
	return r.out, errors.Join(r.check(ctx, s, signed), s.Close())
}

// Restore puts a backup into the store of a configuration, and into a new epoch. The store is there as a whole, checked, or
// not at all.
func Restore(ctx context.Context, cfg *config.File, from io.Reader, ring *seal.Ring, o RestoreOptions) (*Restored, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	in, err := backup.NewReader(from, ring)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	r := &restoring{cfg: cfg, o: o, in: in, ring: ring, out: &Restored{Manifest: in.Manifest}}
	points := cfg.CheckpointsPath()
	r.aside = freeName("replaced-"+o.Now().UTC().Format("20060102T150405Z"), filepath.Dir(points), filepath.Dir(cfg.StorePath()))
	if path := cfg.StorePath(); path != "" {
		err = r.intoFile(ctx, path, points)
	} else {
		if err = r.fill(ctx, cfg.Store, points); err == nil {
			err = r.setAside(points, points+sentMark)
		}
	}
	if err != nil {
		return nil, err
	}
	return r.out, nil
}

// freeName is a name that nothing has yet in these directories: name, or name-2 and so on.
func freeName(name string, dirs ...string) string {
	taken := func(name string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool {
			_, err := os.Lstat(filepath.Join(dir, name))
			return err == nil
		})
	}
	free := name
	for n := 2; taken(free); n++ {
		free = name + "-" + strconv.Itoa(n)
	}
	return free
}

type restoring struct {
	there audit.Head // of the store that is there, up to the backup's last entry; zero if there is none
	cfg   *config.File
	o     RestoreOptions
	in    *backup.Reader
	ring  *seal.Ring
	out   *Restored
	aside string // name of the directory beside a file, into which it is put: so it stays on its file system
}

// intoFile restores beside the file, and puts it in its place when it is whole.
func (r *restoring) intoFile(ctx context.Context, path, points string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	free, err := store.Hold(path)
	if err != nil {
		return err
	}
	defer func() { _ = free() }() // it ends with the process
	_, err = os.Stat(path)
	switch {
	case err == nil && !r.o.Replace:
		return fmt.Errorf("%w: %s is there", store.ErrNotEmpty, path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := r.lookAtChain(ctx, path); err != nil {
		return err
	}
	next := path + ".restoring"
	removeStore(next) // of a restore that was killed
	defer removeStore(next)
	if err := r.fill(ctx, "sqlite:"+next, points); err != nil {
		return err
	}
	if err := syncPath(next); err != nil {
		return err
	}
	// What was there is moved so that at each moment there is the old store or the new one, and a copy of the old.
	// The checkpoints go last: a store that stays must keep what it is held against.
	if err := r.linkAside(path, path+"-wal"); err != nil {
		return err
	}
	if err := r.setAside(points, points+sentMark); err != nil {
		return err
	}
	for _, log := range []string{path + "-wal", path + "-shm"} { // they are the old file's
		if err := os.Remove(log); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncPath(dir)
}

// removeStore removes a store that nobody will open.
func removeStore(path string) {
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		_ = os.Remove(path + suffix) // what is left is found the next time
	}
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// setAside moves files aside.
func (r *restoring) setAside(paths ...string) error {
	return r.eachAside(paths, os.Rename)
}

// linkAside gives files a second name aside.
func (r *restoring) linkAside(paths ...string) error {
	return r.eachAside(paths, os.Link)
}

func (r *restoring) eachAside(paths []string, do func(from, to string) error) error {
	for _, path := range paths {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		dir := filepath.Join(filepath.Dir(path), r.aside)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := do(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			return err
		}
		switch {
		case r.out.Aside == "":
			r.out.Aside = dir
		case !strings.Contains(r.out.Aside, dir):
			r.out.Aside += " and " + dir
		}
		if err := errors.Join(syncPath(dir), syncPath(filepath.Dir(dir))); err != nil {
			return err
		}
	}
	return nil
}

// sentMark is behind the name of the file of checkpoints, for the one that says which of them were handed on.
const sentMark = ".sent"

// fill loads the store, brings it up, checks it, and begins its new epoch.
func (r *restoring) fill(ctx context.Context, address, points string) error {
	reached := r.cfg.StoreOptions()
	reached.Log, reached.Now = r.o.Log, r.o.Now
	if err := store.Load(ctx, address, r.in, reached); err != nil {
		return err
	}
	r.out.Summary = r.in.Summary()
	reached.Restoring = true
	s, err := store.Open(ctx, address, reached)
	if err != nil {
		return err
	}
	return errors.Join(r.begin(ctx, s, points), s.Close())
}

func (r *restoring) begin(ctx context.Context, s *store.Store, points string) error {
	signed, err := signedIn(points)
	if err != nil {
		return err
	}
	if err := r.check(ctx, s, signed); err != nil {
		return err
	}
	if err := r.lookAtKey(ctx, s, filepath.Join(filepath.Dir(points), "admin.key")); err != nil {
		return err
	}
	m := r.in.Manifest
	r.out.Epoch, err = s.Restored(audit.As(ctx, r.o.Actor), func(epoch int64) audit.Act {
		return audit.Act{Action: audit.StoreRestored, Object: m.ID, After: struct {
			Taken   time.Time `json:"taken"`
			Engine  string    `json:"engine"`
			Version string    `json:"version"`
			Schema  int64     `json:"schema"`
			Entries int64     `json:"audit_entries"`
			Epoch   int64     `json:"epoch"`
			Other   string    `json:"other_chain,omitzero"`
		}{m.Taken, m.Engine, m.Version, m.Schema, m.Chain.Seq, epoch, r.out.Other}}
	})
	return err
}

// lookAtKey says how the admin key's file stands to the store.
func (r *restoring) lookAtKey(ctx context.Context, s *store.Store, path string) error {
	kept, _, err := s.AdminKeyHash(ctx, auth.Hash{})
	if err != nil {
		return err
	}
	text, err := seal.ReadPrivate(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.out.NoAdminKey = true
	case err != nil:
		return err
	default:
		r.out.OtherAdminKey = r.ring.Hash(strings.TrimSpace(string(text))) != kept
	}
	return nil
}

// check holds a store that was loaded against itself, its manifest, what was signed of its audit chain, and the chain that is
// there. Checkpoints behind the chain's end are only counted: they are about what is not in the backup.
func (r *restoring) check(ctx context.Context, s *store.Store, signed []audit.Checkpoint) error {
	m := &r.out.Manifest
	kept, err := s.RingID(ctx, "")
	switch {
	case err != nil:
		return err
	case kept != r.ring.ID() || m.Keyring != r.ring.ID():
		return fault.Problem{Text: fmt.Sprintf("the store in the backup belongs to key ring %s, and it was opened with %s", kept, r.ring.ID())}
	}
	checked, err := s.Check(ctx)
	if err != nil {
		return fmt.Errorf("the backup does not fit together: %w", err)
	}
	r.out.Exchanges = checked.Exchanges
	head, err := r.verifyChain(ctx, s, signed)
	switch {
	case err != nil:
		return err
	case head.Chain != m.Chain.ID || head.Seq != m.Chain.Seq || head.Seq > 0 && head.Hash.String() != m.Chain.Hash:
		return fmt.Errorf("the audit chain in the backup ends with entry %d, and %d were in it when it was made", head.Seq, m.Chain.Seq)
	}
	return r.holdAgainstThere(ctx, s)
}
