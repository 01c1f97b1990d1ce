package upkeep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/store"
)

// A backup is whole by itself, and may be that of another store all the same, or one in which history was written anew by
// somebody who has the key ring. What is there in its place tells: the audit chain of the store, and what this host has
// signed of it. The chain in the backup must be a piece of that one, or go on from it.

// signedIn reads the file of checkpoints; none is none.
func signedIn(path string) ([]audit.Checkpoint, error) {
	points, err := audit.ReadCheckpointFile(path, 1<<16)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return points, err
}

// other is what to do about a backup whose audit chain is another one. It is an error, but for whoever has allowed it.
func (r *restoring) other(what string, args ...any) error {
	r.out.Other = fmt.Sprintf(what, args...)
	if r.o.OtherChain {
		return nil
	}
	return fault.Problem{
		Text: r.out.Other,
		Hint: "is it a backup of this store? --other-chain takes it all the same, puts what is there aside, and says so in the audit chain",
	}
}

// lookAtChain looks at the chain of the file that is there, before anything is done. One that cannot be read is one of the
// reasons for a restore, and is told.
func (r *restoring) lookAtChain(ctx context.Context, path string) error {
	m := r.out.Manifest.Chain
	there, err := store.GlanceAtChain(ctx, path, m.Seq)
	switch {
	case err != nil:
		r.o.Log.Warn("the audit chain of the store that is there cannot be read: the backup is not held against it", "store", path, "error", err)
		r.out.Unread = true
		return nil
	case there.Seq > 0 && there.Chain != m.ID:
		return r.other("the store that is there has the audit chain %s, and the backup has %s", there.Chain, chainName(m.ID))
	}
	r.there = there
	return nil
}

func chainName(id string) string {
	if id == "" {
		return "none"
	}
	return id
}

// holdAgainstThere finds the last entry that both have in the store that was loaded.
func (r *restoring) holdAgainstThere(ctx context.Context, s *store.Store) error {
	at := r.there
	if at.Seq == 0 || at.Chain != r.out.Manifest.Chain.ID {
		return nil
	}
	found, err := s.AuditEntries(ctx, audit.Filter{Ascending: true, After: at.Seq - 1}, 1)
	switch {
	case err != nil:
		return err
	case len(found) == 1 && found[0].Seq == at.Seq && found[0].Hash == at.Hash:
		return nil
	}
	return r.other("the audit chain in the backup and that of the store that is there begin as one, and have parted before entry %d", at.Seq)
}

// verifyChain verifies the chain that was loaded, against what this host has signed too, and gives its last entry.
func (r *restoring) verifyChain(ctx context.Context, s *store.Store, signed []audit.Checkpoint) (audit.Head, error) {
	known, err := r.signedOf(signed)
	if err != nil {
		return audit.Head{}, err
	}
	head, err := audit.VerifyWhole(ctx, s, known)
	var broken *audit.Break
	if !errors.As(err, &broken) {
		r.out.Signed = len(known)
		return head, err
	}
	if head, err = audit.VerifyWhole(ctx, s, nil); err == nil { // so it is whole, and another one
		return head, r.other("the audit chain in the backup is not the one that this host has signed: %v", broken)
	}
	return head, fmt.Errorf("the audit chain in the backup is broken: %w", err)
}

// signedOf picks the checkpoints of what is in the backup. Those of entries behind its end are only counted.
func (r *restoring) signedOf(signed []audit.Checkpoint) (known []audit.Checkpoint, err error) {
	m, ours := r.out.Manifest.Chain, false
	for _, p := range signed {
		switch {
		case p.Chain != m.ID:
			continue
		case p.Seq <= m.Seq:
			known = append(known, p)
		default:
			r.out.LostEntries = max(r.out.LostEntries, p.Seq-m.Seq)
		}
		ours = true
	}
	if len(signed) > 0 && !ours {
		err = r.other("this host has signed the audit chain %s, and the backup has %s", signed[len(signed)-1].Chain, chainName(m.ID))
	}
	return known, err
}
