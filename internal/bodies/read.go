package bodies

import (
	"context"
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
// they are opened. The error is a fault: InvalidRequest without a reason, NotThere if there are none, KeyRingBehind if the
// key ring does not have the data key, SealedAway if they cannot be opened for another reason.
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

// sealedAway says why bodies that are there cannot be read. For want of a data key, nothing is wrong with them: they open
// as soon as the ring's newest file is there.
func sealedAway(exchange string, err error) *fault.Error {
	if f := seal.Fault(err); f != nil {
		return f
	}
	return fault.Wrap(fault.SealedAway, err, "The bodies of %s are there and cannot be opened: %v.", exchange, err)
}
