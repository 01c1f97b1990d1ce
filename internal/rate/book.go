package rate

import (
	"context"
	"log/slog"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Options are what a Book works with. The zero value is for a process that shares with nobody.
type Options struct {
	// Store is what replicas share amounts through; nil if there is one process only.
	Store Store
	// Holder is a name that no other process has and that this one has only once. It is needed with a Store.
	Holder string
	// Replicas says how many there are to share with, this one included; nil is 1.
	Replicas func() int
	Log      *slog.Logger // nil: silence
}

// A Book counts for all rules. It is safe for concurrent use.
type Book struct {
	o      Options
	born   time.Time // what instants are counted from
	table  table
	sharer *sharer // nil if nothing is shared
}

// New makes a book in which nothing was used. If it has a Store, [Book.Run] has to run for anything to be admitted.
func New(o Options) *Book {
	if o.Replicas == nil {
		o.Replicas = func() int { return 1 }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	b := &Book{o: o, born: time.Now()}
	b.table.seed()
	if o.Store != nil {
		b.sharer = newSharer(b, &b.o)
	}
	return b
}

// now is the instant by the book's clock, which is monotonic.
func (b *Book) now() int64 { return int64(time.Since(b.born)) }

// Named is a rule that this book finds faster. It is no good for another book, nor with another ID, Subject or Measure.
func (b *Book) Named(r Rule) Rule {
	r.name = 0
	r.name = b.table.nameOf(&r)
	return r
}

// An Admission is what a call has taken. The zero value has taken nothing. It can be used again once it is done, and must not be copied.
type Admission struct {
	// Over are the rules that only observe and that the call did not fit. It is good until the Admission is used again.
	Over []Exceeded

	book *Book
	held atomic.Bool // until Done
	refs []ref
	few  [4]ref // what refs is made of, as long as it does
	// short is what is lacking of amounts that replicas share, and noted those that the sharer is to look after; both are of one attempt.
	short []short
	noted []uint64
}

// A ref is what was taken from one window.
type ref struct {
	name uint64 // 0 if nothing was
	at   int64  // the second that it is in
	n    int64
}

func (r *ref) kind() kind { return kind(r.name & kindBits) }

// Admit takes what a call needs from all its rules, or nothing at all. The error is an *Exceeded, ErrUnavailable, or the cause of ctx's
// end, which bounds the waiting for the store. The call is to be ended with out.Done, but for one that was refused.
func (b *Book) Admit(ctx context.Context, rules []Rule, need Need, out *Admission) error {
	lacking := asks
	for n := 1; ; n++ {
		out.begin(b)
		if err := b.take(rules, need, out, lacking); err != nil {
			return err
		}
		if len(out.short) == 0 {
			out.held.Store(true)
			if len(out.noted) > 0 {
				b.sharer.note(out.noted, true)
			}
			return nil
		}
		more, err := b.sharer.ask(ctx, out.short)
		switch {
		case err != nil && ctx.Err() != nil:
			return context.Cause(ctx) // whoever ended it has said why: a caller's deadline, an operator's stop
		case err != nil:
			lacking = isAway
		case !more || n == tries:
			lacking = refuses
		}
	}
}

// tries is how often a call asks for what it lacks: what it is given in a trade, another may be faster to use.
const tries = 3

func (a *Admission) begin(b *Book) {
	a.book, a.Over = b, a.Over[:0]
	if a.refs == nil {
		a.refs = a.few[:0]
	}
	a.refs, a.short, a.noted = a.refs[:0], a.short[:0], a.noted[:0]
}

// locks are the shards that a call needs, a bit each. They are locked in order, so that nobody waits in a circle.
type locks [shards / 64]uint64

func (l *locks) add(shard int) { l[shard/64] |= 1 << (shard % 64) }

func (l *locks) each(t *table, do func(*shard)) {
	for i, word := range l {
		for ; word != 0; word &= word - 1 {
			do(&t.shards[i*64+bits.TrailingZeros64(word)])
		}
	}
}

// take is one attempt: all rules are looked at, and taken from if they all allow it, while nobody else can.
func (b *Book) take(rules []Rule, need Need, out *Admission, lacking lack) error {
	var l locks
	for i := range rules {
		name := b.table.nameOf(&rules[i])
		out.refs = append(out.refs, ref{name: name})
		if name != 0 {
			l.add(shardOf(name))
		}
	}
	l.each(&b.table, func(s *shard) { s.mu.Lock() })
	now := b.now()
	err := b.check(now, rules, need, out, lacking)
	if err != nil || len(out.short) > 0 {
		out.refs = out.refs[:0]
	} else {
		l.each(&b.table, func(s *shard) { s.room(now, len(rules)) })
	}
	for i := range out.refs {
		at := &out.refs[i]
		if at.name == 0 {
			continue
		}
		e := b.table.shard(at.name).get(at.name)
		e.take(now, at)
		if sh := e.share; sh != nil && sh.low(e.has(now)) {
			sh.asked = true
			out.noted = append(out.noted, at.name)
		}
	}
	l.each(&b.table, func(s *shard) { s.mu.Unlock() })
	return err
}

// A lack says what becomes of a call that does not fit into what this replica holds.
type lack int

const (
	asks    lack = iota // the store is asked
	refuses             // it was asked, and there is no more
	isAway              // it cannot be asked
)

// check looks whether all rules allow a call, and notes in out.refs what is to be taken: once from each window.
func (b *Book) check(now int64, rules []Rule, need Need, out *Admission, lacking lack) error {
	for i := range rules {
		r, at := &rules[i], &out.refs[i]
		if at.name == 0 {
			continue
		}
		at.n = at.kind().of(need)
		e := b.table.shard(at.name).find(at.name)
		fits := b.fits(now, e, r, at)
		if fits == isShort {
			switch {
			case lacking == isAway && r.Observe: // nobody knows
				at.name = 0
				continue
			case lacking == isAway:
				return ErrUnavailable
			case lacking == asks && !e.refusedJustNow(now, at.n):
				out.short = append(out.short, short{r, at.name, at.n})
				continue
			}
			fits = isOver
		}
		if fits == isOver {
			over := b.exceeded(now, e, r, at)
			if !r.Observe {
				out.short = out.short[:0]
				return &over
			}
			out.Over = append(out.Over, over)
			at.name = 0
			continue
		}
		for _, before := range out.refs[:i] {
			if before.name == at.name {
				at.name = 0
				break
			}
		}
	}
	return nil
}

// A fit says how a call fits a rule.
type fit int

const (
	isFine  fit = iota
	isOver      // there is no room, whatever others hold
	isShort     // this replica does not hold enough
)

// fits says how a call fits a rule, of which the entry may be nil.
func (b *Book) fits(now int64, e *entry, r *Rule, at *ref) fit {
	limit := clamp(r.Amount)
	switch {
	case at.n <= 0: // who needs nothing is not in the way
	case e.has(now) > limit-at.n:
		return isOver
	case b.sharer == nil:
	case e == nil || e.share == nil || e.has(now) > e.share.amount-at.n || e.share.limit != limit || !b.sharer.fresh(now):
		return isShort
	}
	return isFine
}

// take takes what is noted, and notes when.
func (e *entry) take(now int64, at *ref) {
	if at.kind() == concurrent {
		e.n += at.n
	} else {
		at.at = e.Add(now, at.n)
	}
}

// adjust makes of what was taken what was used.
func (e *entry) adjust(now int64, at *ref, used int64) {
	if at.kind() == concurrent {
		e.n = max(e.n-at.n, 0)
	} else {
		e.Adjust(now, at.at, at.n, used)
	}
}

// guess is when to come again where that cannot be known.
const guess = time.Second

// exceeded says how far a rule is from what a call needs. The entry may be nil.
func (b *Book) exceeded(now int64, e *entry, r *Rule, at *ref) Exceeded {
	limit := clamp(r.Amount)
	over := Exceeded{Rule: *r, Need: at.n, Limit: limit, Left: b.left(now, e, limit), Never: at.n > limit}
	switch {
	case over.Never:
		return over
	case at.kind() == concurrent || e == nil:
		over.RetryAfter = guess
		return over
	case e.share == nil:
		over.RetryAfter = e.RetryAfter(now, limit, at.n)
		return over
	}
	// Room comes from what this replica has used, or from what others hold, whichever is first.
	over.RetryAfter = e.share.back
	if mine := min(limit, e.share.amount+e.share.free); at.n <= mine {
		if wait := e.RetryAfter(now, mine, at.n); wait < over.RetryAfter || over.RetryAfter == 0 {
			over.RetryAfter = wait
		}
	}
	over.RetryAfter = max(over.RetryAfter, guess)
	return over
}

// left is what is left of a limit, as far as this replica knows, at least 0. The entry may be nil.
func (b *Book) left(now int64, e *entry, limit int64) int64 {
	has := e.has(now)
	left := limit - has
	if e != nil && e.share != nil {
		left = min(left, e.share.amount+e.share.free-has)
	}
	return max(left, 0)
}

// Done ends a call: what ran at once is given back, and of the rest what was reserved becomes what was used, in the second in which it
// was reserved. A call that came to nothing, for another refused it, says Need{}: then all of it comes back. A call that failed has
// used its request. Only the first Done of an Admission counts; it may come on any path, from any goroutine.
func (a *Admission) Done(used Need) {
	if !a.held.CompareAndSwap(true, false) {
		return
	}
	now := a.book.now()
	a.noted = a.noted[:0]
	for i := range a.refs {
		at := &a.refs[i]
		if at.name == 0 {
			continue
		}
		is := at.kind().of(used)
		if is != at.n || at.kind() == concurrent {
			a.done(now, at, is)
		}
	}
	if len(a.noted) > 0 {
		a.book.sharer.note(a.noted, false)
	}
}

// done ends what was taken from one window.
func (a *Admission) done(now int64, at *ref, used int64) {
	s := a.book.table.shard(at.name)
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(at.name)
	if e == nil { // nothing of it counts any more, or nothing was taken
		if at.n > 0 || used == 0 {
			return
		}
		s.room(now, 1)
		e = s.get(at.name)
	}
	e.adjust(now, at, used)
	if sh := e.share; sh != nil {
		sh.lacked = 0
		if sh.tail && e.has(now) < sh.amount {
			a.noted = append(a.noted, at.name)
		}
	}
}

// Standing says how rules stand, in their order.
func (b *Book) Standing(rules []Rule) []Standing {
	all := make([]Standing, len(rules))
	for i := range rules {
		all[i] = b.StandingOf(&rules[i])
	}
	return all
}

// StandingOf says how one rule stands.
func (b *Book) StandingOf(r *Rule) Standing {
	is := Standing{Rule: *r}
	is.Limit, is.Left, is.Reset = b.look(r, func(e *entry, now int64) { is.Next = e.Next(now) })
	return is
}

// Left is what of a Standing answers tell their callers.
func (b *Book) Left(r *Rule) (limit, left int64, reset time.Duration) { return b.look(r, nil) }

// look looks at the window of a rule; also is called with it if that is one of time.
func (b *Book) look(r *Rule, also func(e *entry, now int64)) (limit, left int64, reset time.Duration) {
	limit = clamp(r.Amount)
	left = limit
	name := b.table.nameOf(r)
	if name == 0 {
		return limit, left, 0
	}
	s := b.table.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(name); e != nil {
		now := b.now()
		if left = b.left(now, e, limit); e.kind() != concurrent {
			if reset = e.Reset(now); also != nil {
				also(e, now)
			}
		}
	}
	return limit, left, reset
}

const (
	// sweepEvery is how often a few shards are swept, and sweepAtOnce how many: all of them within 16 seconds.
	sweepEvery  = 250 * time.Millisecond
	sweepAtOnce = 4
)

// Run forgets what is not in use any more, and shares with other replicas, until ctx ends. Then what is not in use is given back, so it
// should end after the last call has. It returns nil.
func (b *Book) Run(ctx context.Context) error {
	var sharing sync.WaitGroup
	if b.sharer != nil {
		sharing.Go(func() { b.sharer.run(ctx) })
	}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for next := 0; ; {
		select {
		case <-ctx.Done():
			sharing.Wait()
			return nil
		case <-tick.C:
		}
		for range sweepAtOnce {
			s := &b.table.shards[next]
			if b.sharer != nil {
				b.sharer.visit(s)
			}
			s.sweep(b.now())
			next = (next + 1) % shards
		}
	}
}
