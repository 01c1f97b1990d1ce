// Package retention deletes the records of exchanges when they have been kept for long enough, and holds back what must be
// kept for longer.
//
// A whole exchange goes at once: its row, its record, its tags and its bodies. What was summed of it stays, so that usage
// and money of a day are the same before and after. A [Purger] on each replica looks every minute, and a lease in the store
// lets one of them work: some rows in a transaction, then a rest, so that callers do not notice.
//
// A [Hold] on a project or on an organisation wins over any retention, also that of bodies, until somebody lifts it; both
// acts are in the audit chain, with a reason. Projects that are strict are kept for [StrictFloor] at least.
//
// The package does not decide how long bodies are kept (auth, bodies), who may hold (auth, admin), and deletes neither sums
// nor the audit chain.
package retention

import (
	"context"
	"time"
)

// StrictFloor is how long exchanges of strict projects are kept at least, whatever the file says: those are projects of
// whose work no trace may be lost, and six months is what the AI Act asks of logs of high-risk systems.
const StrictFloor = 180 * 24 * time.Hour

// A Policy says what is old enough to go, at a moment.
type Policy struct {
	Now  time.Time
	Keep time.Duration // more than 0
}

// Before is the instant before which exchanges began that go.
func (p Policy) Before(strict bool) time.Time {
	if strict {
		return p.Now.Add(-max(p.Keep, StrictFloor))
	}
	return p.Now.Add(-p.Keep)
}

// A Block is a group of exchanges that lie together in the store, of which some may be due.
type Block struct {
	N      int64
	Oldest time.Time // when the first of them began
}

// A Due is what may be due of the whole store.
type Due struct {
	Policy Policy
	Blocks []Block // in the order in which they were written
	// Version changes with every hold, and with which projects are strict: until then, what is exempt stays exempt.
	Version int64
}

// A Done says what was deleted of a block.
type Done struct {
	Deleted int
	Mine    bool          // false: another has the lease, and nothing was deleted
	More    bool          // there may be more to delete in the block now
	Took    time.Duration // for which others who write may have had to wait
	// Next is when something else of the block will be due if Version stays what it is; zero is never.
	Next time.Time
}

// Store is what retention needs to have kept.
type Store interface {
	// Due makes exchanges such that they can be deleted, as far as they are older than keep at now, and says in which blocks
	// they are. The earlier counts of now and the store's own clock, so that a clock that is ahead deletes nothing.
	Due(ctx context.Context, now time.Time, keep time.Duration) (Due, error)
	// PurgeBlock deletes at most limit exchanges of a block, the oldest first, as far as they are due by the policy and
	// neither they nor their project are exempt. It does so for the holder of a lease only, which lasts for purge.LeaseFor
	// then. It waits for nobody who writes exchanges, and nobody for it, where the engine has more than one writer.
	PurgeBlock(ctx context.Context, holder string, block int64, p Policy, limit int) (Done, error)
	// GiveBack gives some of the space of what was deleted back to the file system; more says that there is more.
	GiveBack(ctx context.Context) (more bool, err error)
}
