package rate

import (
	"context"
	"math/bits"
	"sync/atomic"
	"time"
)

// A Book counts for all rules. It is safe for concurrent use.
type Book struct {
	born  time.Time // what instants are counted from
	table table
}

// New makes a book in which nothing was used.
func New() *Book {
	b := &Book{born: time.Now()}
	b.table.seed()
	return b
}

// now is the instant by the book's clock, which is monotonic.
func (b *Book) now() int64 { return int64(time.Since(b.born)) }

// An Admission is what a call has taken. The zero value has taken nothing. It can be used again once it is done, and must not be copied.
type Admission struct {
	// Over are the rules that only observe and that the call did not fit. It is good until the Admission is used again.
	Over []Exceeded

	book *Book
	held atomic.Bool // until Done
	refs []ref
	few  [8]ref // what refs is made of, as long as it does
}

// A ref is what was taken from one window.
type ref struct {
	name uint64
	at   int64 // the second that it is in
	n    int64
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

// Admit takes what a call needs from all its rules, or nothing at all. The error is an *Exceeded. The call is to be ended with
// out.Done, but for one that was refused.
func (b *Book) Admit(_ context.Context, rules []Rule, need Need, out *Admission) error {
	out.begin(b)
	if e := b.take(rules, need, out); e != nil {
		return e
	}
	out.held.Store(true)
	return nil
}

func (a *Admission) begin(b *Book) {
	a.book, a.Over = b, a.Over[:0]
	if a.refs == nil {
		a.refs = a.few[:0]
	}
	a.refs = a.refs[:0]
}

// take is one attempt: all rules are looked at, and taken from if they all allow it, while nobody else can.
func (b *Book) take(rules []Rule, need Need, out *Admission) (refused *Exceeded) {
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
	if refused = b.check(now, rules, need, out); refused == nil {
		l.each(&b.table, func(s *shard) { s.room(now, len(rules)) })
		for i := range out.refs {
			if at := &out.refs[i]; at.name != 0 {
				b.table.shard(at.name).get(at.name).take(now, at)
			}
		}
	}
	l.each(&b.table, func(s *shard) { s.mu.Unlock() })
	return refused
}

// check looks whether all rules allow a call, and notes in out.refs what is to be taken: once from each window.
func (b *Book) check(now int64, rules []Rule, need Need, out *Admission) *Exceeded {
	for i := range rules {
		r, at := &rules[i], &out.refs[i]
		if at.name == 0 {
			continue
		}
		at.n = at.kind().of(need)
		e := b.table.shard(at.name).find(at.name)
		if limit := clamp(r.Amount); at.n > 0 && e.has(now) > limit-at.n { // who needs nothing is not in the way
			over := e.exceeded(now, r, at)
			if !r.Observe {
				out.refs = out.refs[:0]
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

func (r *ref) kind() kind { return kind(r.name & kindBits) }

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
	if e.kind() == concurrent {
		e.n = max(e.n-at.n, 0)
	} else {
		e.Adjust(now, at.at, at.n, used)
	}
}

// guess is when to come again where that cannot be known.
const guess = time.Second

// exceeded says how far a rule is from what a call needs.
func (e *entry) exceeded(now int64, r *Rule, at *ref) Exceeded {
	limit := clamp(r.Amount)
	over := Exceeded{Rule: *r, Need: at.n, Limit: limit, Left: max(limit-e.has(now), 0), Never: at.n > limit}
	switch {
	case over.Never:
	case at.kind() == concurrent:
		over.RetryAfter = guess
	default:
		over.RetryAfter = e.RetryAfter(now, limit, at.n)
	}
	return over
}

// Done ends a call: what ran at once is given back, and of the rest what was reserved becomes what was used, in the second in which it
// was reserved. A call that came to nothing, for another refused it, says Need{}: then all of it comes back. A call that failed has
// used its request. Only the first Done of an Admission counts; it may come on any path, from any goroutine.
func (a *Admission) Done(used Need) {
	if !a.held.CompareAndSwap(true, false) {
		return
	}
	now := a.book.now()
	for i := range a.refs {
		at := &a.refs[i]
		if at.name == 0 {
			continue
		}
		is := at.kind().of(used)
		if is == at.n && at.kind() != concurrent {
			continue
		}
		s := a.book.table.shard(at.name)
		s.mu.Lock()
		if e := s.find(at.name); e != nil { // it was forgotten only if nothing of it counts
			e.adjust(now, at, is)
		} else if is > 0 && at.n == 0 {
			s.room(now, 1)
			s.get(at.name).adjust(now, at, is)
		}
		s.mu.Unlock()
	}
}

// Standing says how rules stand, in their order.
func (b *Book) Standing(rules []Rule) []Standing {
	all := make([]Standing, len(rules))
	for i := range rules {
		r := &rules[i]
		limit := clamp(r.Amount)
		all[i] = Standing{Rule: *r, Limit: limit, Left: limit}
		name := b.table.nameOf(r)
		if name == 0 {
			continue
		}
		s := b.table.shard(name)
		s.mu.Lock()
		if e := s.find(name); e != nil {
			e.standing(b.now(), &all[i])
		}
		s.mu.Unlock()
	}
	return all
}

func (e *entry) standing(now int64, s *Standing) {
	s.Left = max(s.Limit-e.has(now), 0)
	if e.kind() != concurrent {
		s.Reset, s.Next = e.Reset(now), e.Next(now)
	}
}

const (
	// sweepEvery is how often a few shards are swept, and sweepAtOnce how many: all of them within 16 seconds.
	sweepEvery  = 250 * time.Millisecond
	sweepAtOnce = 4
)

// Run forgets what is not in use any more, until ctx ends. It returns nil.
func (b *Book) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for next := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for range sweepAtOnce {
			b.table.shards[next].sweep(b.now())
			next = (next + 1) % shards
		}
	}
}
