package rate

import (
	"context"
	"time"
)

// Replicas share what a rule allows in this way: each holds a part of the amount, which the store knows, and what it has used in any
// minute, or runs at once, is never more than its part. The sum of the parts is never more than the amount, at any commit. So most
// calls ask nobody. A part grows by a trade with the store before a call is let through that does not fit into it, or when half of the
// last slice is used; it shrinks only by what is not in use. Near the end of an amount, and of small ones always, parts are exactly
// what is in use: then each call asks the store, and what it gives back is there for all at once.
//
// A holder that does not renew can be declared gone, by one that has renewed all the while. Then what it held counts until nothing that
// it let through before it stopped can count any more. One that comes back finds that out when it renews, and begins with nothing.

const (
	// Life is after how long without renewal a holder may be declared gone: with RenewEvery, within 30 s.
	Life = 28 * time.Second
	// RenewEvery is how often a holder renews.
	RenewEvery = 2 * time.Second
	// StopBefore is how long before the end of its life a holder that cannot renew stops using what it holds.
	StopBefore = 2 * time.Second
	// KeepSlots is how long after its last renewal what a holder that is gone held of calls at once is still its own.
	KeepSlots = Life
	// KeepUses is that of what is counted a minute: what it let through last has to be out of the window.
	KeepUses = Life - StopBefore + Span + Slack
)

// A Key names what is shared.
type Key struct {
	Rule    string // id
	Subject string
	Measure string
}

// A Holder is one run of a process; it never has the same id twice.
type Holder struct {
	ID   string
	Life time.Duration // of all holders: after how long without renewal one may be declared gone
}

// A Trade is what a holder wants of one amount.
type Trade struct {
	Key
	Limit    int64
	Replicas int // to share with, at least 1
	// Keeps is how long after the holder's last renewal its part counts, if it is declared gone.
	Keeps time.Duration
	// Has is what the holder goes on holding. What the store knows it to hold beyond that is given back.
	Has int64
	// Need is the least that would help somebody beyond Has, and All what would help all who wait; both are 0 if nobody does.
	Need, All int64
	More      bool // a slice is welcome, beyond what is needed
	// Back is after how long some of Has may be given back, 0 if that is not known: in a moment.
	Back time.Duration
}

// A Result is what came of a trade.
type Result struct {
	Granted int64 // 0, or at least Need
	Free    int64 // afterwards, at least 0
	Tail    bool  // little is left: what is not in use is to be given back at once
	// Back is after how long something may come back of what others hold, 0 if they hold nothing. It is a guess.
	Back time.Duration
}

// Grant is what a trade gets if so much is free, and whether little is left. It is the same for every store.
func (t *Trade) Grant(free int64) (granted int64, tail bool) {
	replicas := int64(max(t.Replicas, 1))
	tail = t.Limit < 2*replicas || free/replicas < max(t.Need, 1)
	switch {
	case free <= 0 || t.Need > free:
		return 0, tail
	case tail || !t.More:
		return min(free, t.All), tail
	}
	return min(free, max(t.All, free/(2*replicas))), tail
}

// Store is what rates need to have shared. Each method is one transaction, and times are by the store's clock. Nothing of it needs to
// be kept for longer than two minutes.
type Store interface {
	// RenewRates says that a holder is there, which begins with it. It is false if the holder was declared gone: it must not use what
	// it held, and needs another id.
	RenewRates(ctx context.Context, h Holder) (bool, error)
	// TradeRates makes all trades or none; results are in their order. It is false if the holder is not there, or was declared gone.
	// If a Need does not fit, holders that have not renewed for their Life are declared gone, as far as this one has renewed all the
	// while since before they last did, or for a Life.
	TradeRates(ctx context.Context, h Holder, trades []Trade) ([]Result, bool, error)
	// WantedRates lists of what a holder holds those amounts that somebody lacked since an instant of the store's clock, and that
	// instant now.
	WantedRates(ctx context.Context, h Holder, since time.Time) (now time.Time, keys []Key, err error)
	// LeaveRates declares the holder itself gone.
	LeaveRates(ctx context.Context, h Holder) error
}

// A share is a replica's part of an amount. It is guarded by the lock of the entry's shard; what is held is changed only by the sharer.
type share struct {
	key    Key
	limit  int64 // of the last trade
	amount int64 // that is held
	slice  int64 // the last grant
	free   int64 // what nobody held at the last trade
	grown  int64 // when there was a grant last, by the book's clock
	back   time.Duration
	// lacked is what a call needed beyond what could be had, at an instant; 0 if that is long ago or has changed.
	lacked   int64
	lackedAt int64
	tail     bool // what is not in use is given back at once
	untold   bool // the store may know of another amount
	asked    bool // more is on its way
}

const (
	// settled is how long after a grant a holder keeps what it does not use, if nobody lacks it.
	settled = int64(10 * time.Second)
	// again is how long a refusal of the store is taken for another one.
	again = int64(100 * time.Millisecond)
)

// mayGo reports that nothing is lost if the share is forgotten.
func (s *share) mayGo() bool { return s.amount == 0 && !s.untold && !s.asked }

// target is what the holder should go on holding, of what it holds.
func (s *share) target(used int64, now int64, wanted bool) int64 {
	switch {
	case wanted || s.tail || used == 0 && now-s.grown >= settled:
		return min(s.amount, max(used, 0))
	case now-s.grown < settled:
		return s.amount
	}
	return min(s.amount, used+used/4+1)
}

// low reports that more should be asked for while there is still some.
func (s *share) low(used int64) bool { return !s.tail && !s.asked && (s.amount-used)*2 < s.slice }

// refusedJustNow reports that the store had no more for a call that needed no more. The entry may be nil.
func (e *entry) refusedJustNow(now, n int64) bool {
	return e != nil && e.share != nil && e.share.lacked > 0 && n >= e.share.lacked && now-e.share.lackedAt < again
}
