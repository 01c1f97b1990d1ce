// Package escrow lets replicas spend from one shared amount without asking each other: each holds a part of it, a lease, and
// spends from that in memory.
//
// A Pool is what is shared, such as what a budget allows in one window. The store knows of each pool how much of it is settled,
// held in leases, and unknown; the sum is never over the limit, at any commit. A replica takes slices, gives back what it does
// not need, and near the end of a pool asks for exactly what one call needs: then the store decides. What was spent is not told
// to the store by leases but by the records of the calls, in the transaction that keeps them: so a lease shrinks exactly when its
// calls are in the books, and what is left of a dead replica's lease is held until its journal has come back.
//
// It does not know what amounts mean (limit), which calls there were (usage), and keeps no books (ledger).
package escrow

import (
	"context"
	"time"
)

// A Key names a pool for good.
type Key struct {
	Rule    string // id of what allows the amount
	Subject string // whose part it is where a rule holds for each of many, "" where it is one
	Start   int64  // when its window begins, in microseconds since 1970; 0 if it has none
}

// Terms are what a pool allows. Newer ones, by Version, replace older ones. Those of the next number are those that were in force next;
// where one is left out there may have been others between.
type Terms struct {
	Limit   int64
	Version int64
	End     int64 // when the window ends, in microseconds since 1970; 0 if it has none
}

// A Holder is one process: the journal that what it spends is told through, and which run of it this is. The leases of earlier
// runs of a journal are given back once the journal is in the store.
type Holder struct {
	Journal string
	Run     string
}

// A Trade is what a holder wants of one pool. A pool that is not there is made.
type Trade struct {
	Key   Key
	Terms Terms
	Lease string // id, made by the holder; one that is not there is made
	// Need is what must be had, all or nothing; Want, at least as much, is what would be good to have. Both may be 0: the
	// lease is renewed, and the state is asked for.
	Need, Want int64
	// Back is given back of what is free in the lease. It is taken first.
	Back int64
	// Replicas is how many there are to share with, at least 1.
	Replicas int
	// End gives the lease up, with all that is left in it: nothing that was spent from it is still to be told. It is nothing if the
	// lease is not there any more.
	End bool
}

// A State is how a pool stands, in its unit. Limit is at least the sum of Settled less Over, Held and Unknown, unless it was
// lowered meanwhile.
type State struct {
	Limit   int64
	Highest int64 // the largest limit that was in force in the window
	Settled int64 // what calls are known to have come to
	Held    int64 // in leases: free there, reserved by calls that run, or not told yet
	Unknown int64 // held by calls and leases of which it is not known what they came to
	Over    int64 // of Settled, what was beyond what had been reserved
}

// Free is what nobody has, at least 0.
func (s State) Free() int64 { return max(s.Limit-s.Settled-s.Held-s.Unknown, 0) }

// A Result is what came of a Trade.
type Result struct {
	Granted int64 // 0, or Need to Want
	State   State // afterwards
	// Net is what the lease was granted less what it gave back, over all its trades, whatever of it is in the books by now. It is
	// how a holder learns what became of a trade whose reply was lost: what is free is Net less what its calls reserve and came to.
	Net int64
	// Left is what the lease has in the store now: Net less what the records of calls have taken from it. A holder that knows what
	// its calls came to sees from it what is not told yet.
	Left int64
	// Tail says that little is left: what is free is to be given back at once, for another may need it.
	Tail bool
	// Lost says that the lease was settled by hand meanwhile: nothing may be spent from it any more. A new one is needed.
	Lost bool
}

// Patience are the times of leases. They are counted by the store's clock there, and by the monotonic clock here.
const (
	// Life is how long a lease that is not renewed counts as held; then it counts as unknown. Nobody gets what is in it.
	Life = 30 * time.Second
	// RenewEvery is how often leases are renewed, and StopBefore how long before the end of Life an unrenewed lease is not spent from.
	RenewEvery = 10 * time.Second
	StopBefore = 2 * time.Second
)

// Store is what escrow needs to have kept. Each method is one transaction.
//
// The record of a call takes from its lease what the call came to, at most what it had reserved (all of that if it is unknown what it
// came to); what a call came to beyond that is added to what is settled and to what is over, and takes nothing.
//
// A Trade that returns an error may be in force or not. Once a later trade of the same lease succeeded it is decided: a trade must not
// come into force after one that was begun later. Locking the pool in a statement of its own before anything else is enough, since
// whoever does not wait for the answer does not go on to commit.
type Store interface {
	// Trade makes all trades or none; results are in their order. It locks pools in the order of their keys.
	Trade(ctx context.Context, h Holder, trades []Trade) ([]Result, error)
	// Wanted lists the pools of the holder that somebody lacks something of since an instant of the store's clock, and that instant
	// now; a zero since only asks for the time.
	Wanted(ctx context.Context, h Holder, since time.Time) (now time.Time, keys []Key, err error)
	// ReleaseOlder gives back what is left in the leases of earlier runs of the holder's journal. It may be called only when all that
	// those runs have journalled is in the store.
	ReleaseOlder(ctx context.Context, h Holder) error
}
