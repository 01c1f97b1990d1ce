// Package upkeep is what is done with a store as a whole: taking a backup, checking one, and putting one back.
//
// A backup is taken of a store that serves, by the server, or of one that nobody works with, by a command; the rest is for
// commands on the host of a Penstock that is stopped. The package does not know the format of the file (backup) nor any SQL
// (store), and starts nothing.
package upkeep

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/backup"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/store"
)

// A Taking is a backup that has its moment, and is to be written. Write or Close it.
type Taking struct {
	Manifest backup.Manifest
	snapshot *store.Snapshot
	ring     *seal.Ring
}

// Take begins a backup: what the store holds now is what it will hold.
func Take(ctx context.Context, s *store.Store, ring *seal.Ring, version string) (*Taking, error) {
	snapshot, err := s.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	t := &Taking{snapshot: snapshot, ring: ring}
	now := time.Now().UTC()
	if t.Manifest, err = snapshot.Manifest(ctx); err != nil {
		snapshot.Close()
		return nil, fmt.Errorf("begin a backup: %w", err)
	}
	if has := t.Manifest.Keyring; has != ring.ID() {
		snapshot.Close()
		return nil, fault.Problem{
			Text: fmt.Sprintf("the store belongs to key ring %s, and this is key ring %s", has, ring.ID()),
			Hint: "name the ring of the store: keyring in the configuration",
		}
	}
	m := &t.Manifest
	m.ID, m.Version, m.Taken = "bak_"+ulid.MustNew(ulid.Timestamp(now), rand.Reader).String(), version, now
	return t, nil
}

// Close gives the moment up.
func (t *Taking) Close() { t.snapshot.Close() }

// Write writes the backup, and gives the moment up.
func (t *Taking) Write(ctx context.Context, w io.Writer) (backup.Summary, error) {
	defer t.Close()
	out, err := backup.NewWriter(w, t.ring, t.Manifest)
	if err != nil {
		return backup.Summary{}, err
	}
	for _, table := range t.snapshot.Tables() {
		if err := out.Table(table); err != nil {
			return backup.Summary{}, err
		}
		if err := t.snapshot.Each(ctx, table, out.Row); err != nil {
			return backup.Summary{}, fmt.Errorf("back up %s: %w", table.Name, err)
		}
	}
	return out.Close()
}
