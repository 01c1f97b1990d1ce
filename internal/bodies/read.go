package bodies

import (
	"context"
	"errors"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// A Reader gives bodies out, to whoever may have them, with an entry in the audit chain for each time.
type Reader struct {
	Store Store
	Ring  *seal.Ring
	// Sync waits until the store has what was journalled; nil waits for nothing.
	Sync func(context.Context) error
}

// patience is how long a reader waits for bodies that are on their way to the store.
const patience = 2 * time.Second

// Read gives the bodies of an exchange of a project. That they are read, by whom and why, is in the audit chain before
// they are opened. The error is a fault: InvalidRequest without a reason, NotThere if there are none, SealedAway if the key
// ring cannot open them.
func (r *Reader) Read(ctx context.Context, project, exchange, reason string) (*Content, error) {
	reason, err := CleanReason(reason)
	if err != nil {
		return nil, err
	}
	if r.Sync != nil {
		waiting, cancel := context.WithTimeout(ctx, patience)
		_ = r.Sync(waiting) // what the store has can be read in any case
		cancel()
	}
	sealed, err := r.Store.OpenBodies(ctx, project, exchange, reason)
	if err != nil {
		return nil, err
	}
	plain, err := r.Ring.Unseal(nil, sealed, bound(nil, project, exchange))
	if err != nil {
		return nil, sealedAway(exchange, err)
	}
	c, err := open(plain)
	if err != nil {
		return nil, sealedAway(exchange, err)
	}
	return c, nil
}

// sealedAway says why bodies that are there cannot be read.
func sealedAway(exchange string, err error) *fault.Error {
	f := fault.Wrap(fault.SealedAway, err, "The bodies of %s are there and cannot be opened: %v.", exchange, err)
	if _, missing := errors.AsType[*seal.MissingKeyError](err); missing {
		f.Hint = "Put back a key ring that has the data key: see docs/keyring.md."
	}
	return f
}
