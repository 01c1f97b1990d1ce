package escrow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/escrow"
)

// An action is one byte that says what happens and to which process, and one that says how much.
type action [2]byte

// The actions. They are numbered by their place, so new ones go to the end.
const (
	doCall   = iota // reserves, and asks the store if it has to
	doSettle        // ends a call, and tells of it at once
	doEnd           // ends a call
	doTell          // tells of what was ended
	doWait
	doLimit // is known to nobody yet
	doGive  // the newest limit
	doOwn   // a newer limit, which one process is given at once
	doSlow  // trades take long to come into force
	doLate  // and their replies to come
	doFreeze
	doThaw
	doLose
	doKill
	doTake
	actions
)

// pick is one of some, by a byte.
func pick[T any](by byte, from ...T) T { return from[int(by)%len(from)] }

func ms(n ...int) (all []time.Duration) {
	for _, n := range n {
		all = append(all, time.Duration(n)*time.Millisecond)
	}
	return all
}

var (
	pauses = ms(1, 5, 20, 60, 300, 1500, 11_000, 31_000, 75_000)
	slow   = ms(0, 2, 10, 40, 300, 2500)
)

// A program is a world in which one thing happens after the other, but for the trades: they run meanwhile.
type program struct {
	*world
	open  []running // calls
	ended []*entry  // and not told of
}

// A running call has reserved something.
type running struct {
	*entry
	m    *member
	pool *escrow.Pool
}

func (p *program) do(a action) {
	op, by := a[0]%actions, a[1]
	p.mu.Lock()
	m := p.members[int(a[0]/actions)%p.n]
	dead := m.dead
	p.mu.Unlock()
	switch op {
	case doCall:
		if !dead {
			p.calls.Go(func() { p.reserve(m, pick[int64](by, 1, 10, 50, 100, 300, 0)) })
		}
	case doSettle, doEnd:
		p.end(int(by/4), pick[int64](by, 0, 30, 100, 130), op == doSettle)
	case doTell:
		p.tellOf(int(by))
	case doWait:
		time.Sleep(pick(by, pauses...))
	case doLimit, doOwn:
		p.newTerms(pick[int64](by, 0, 50, 100, 300, 1000, 3000))
		if op == doOwn && !dead {
			p.pools(m)
		}
	case doGive:
		if !dead {
			p.pools(m)
		}
	case doSlow:
		m.link.Delay(pick(by, slow...))
	case doLate:
		m.link.Late(pick(by, slow...))
	case doFreeze:
		m.link.Freeze()
	case doThaw:
		m.link.Thaw()
	case doLose:
		m.link.Lose(func() bool { return by&1 != 0 }, func() bool { return by&2 != 0 })
	case doKill:
		p.kill(int(a[0]/actions)%p.n, pick(by, pauses...))
	case doTake:
		p.world.do(&step{kind: "take", who: int(a[0]/actions) % p.n})
	}
}

// reserve begins a call with what a process knows of the limit, so it may be an old one.
func (p *program) reserve(m *member, amount int64) {
	pool := m.Lookup(p.keys[0])
	if pool == nil {
		pool = p.pools(m)[0]
	}
	pool.Stay()
	for range 5 {
		p.mu.Lock()
		dead := m.dead
		p.mu.Unlock()
		if dead {
			return
		}
		if id, ok := p.hold(m, pool, amount); ok {
			e := &entry{key: pool.Key(), lease: id, held: amount}
			p.mu.Lock()
			m.book = append(m.book, e)
			p.entries = append(p.entries, e)
			p.open = append(p.open, running{e, m, pool})
			p.mu.Unlock()
			return
		}
		if m.Fund(context.Background(), []escrow.Want{{Pool: pool, Need: amount}}) != nil {
			return
		}
	}
}

// end ends one of the calls that run, at a share of what it reserved.
func (p *program) end(which int, percent int64, tell bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) == 0 {
		return
	}
	which %= len(p.open)
	c := p.open[which]
	p.open = append(p.open[:which], p.open[which+1:]...)
	if c.m.dead {
		return // whoever comes back on its journal tells
	}
	c.over, c.spent = true, c.held*percent/100
	c.pool.Settle(c.lease, c.held, c.spent)
	if tell {
		p.tell(c.entry)
	} else {
		p.ended = append(p.ended, c.entry)
	}
}

// tellOf tells of some calls that have ended.
func (p *program) tellOf(most int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.ended) > 0 && most >= 0 {
		p.tell(p.ended[0])
		p.ended, most = p.ended[1:], most-1
	}
}

// runProgram runs actions in a bubble, and says what was not as it should be.
func runProgram(t *testing.T, n int, limit int64, plan []action) (bad error) {
	synctest.Test(t, func(t *testing.T) {
		p := &program{world: newWorld(t, n, 1, limit, 0)}
		for i, a := range plan {
			p.do(a)
			if bad = p.check(); bad != nil {
				bad = fmt.Errorf("action %d, %v: %w", i, a, bad)
				break
			}
		}
		p.mu.Lock()
		for _, m := range p.members {
			m.link.Delay(0)
			m.link.Late(0)
			m.link.Thaw()
			m.link.Lose(nil, nil)
		}
		p.mu.Unlock()
		p.calls.Wait()
		for len(p.open) > 0 {
			p.end(0, 100, true)
		}
		p.tellOf(len(p.ended))
		bad = errors.Join(bad, p.check(), p.rest())
	})
	return bad
}

// TestALoweredLimitBindsWhateverRuns has limits raised and lowered, and calls begin and end, while trades are under way that take any
// time to come into force, and to be answered. What must hold is in check and hold.
func TestALoweredLimitBindsWhateverRuns(t *testing.T) {
	t.Parallel()
	who, bytes := []byte{0, 0, 0, 1}, make([]byte, 60) // sampled, since the numbers that a range is drawn from are mostly small
	for i := range bytes {
		bytes[i] = byte(i)
	}
	rapid.Check(t, func(r *rapid.T) {
		n := rapid.IntRange(1, 2).Draw(r, "replicas")
		limit := rapid.SampledFrom([]int64{100, 1000, 3000}).Draw(r, "limit")
		often := []byte{
			doCall, doCall, doCall, doCall, doCall, doSettle, doSettle, doSettle, doSettle, doEnd, doTell, doWait, doWait, doWait, doWait,
			doLimit, doGive, doOwn, doOwn, doSlow, doSlow, doLate, doLate, doFreeze, doThaw, doLose, doKill, doTake,
		}
		plan := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) action {
			op := rapid.SampledFrom(often).Draw(r, "op")
			return action{op + actions*rapid.SampledFrom(who).Draw(r, "who"), rapid.SampledFrom(bytes).Draw(r, "by")}
		}), 30, 80).Draw(r, "actions")
		if bad := runProgram(t, n, limit, plan); bad != nil {
			r.Fatal(bad)
		}
	})
}

// FuzzProgram is the same of any bytes.
func FuzzProgram(f *testing.F) {
	f.Add(byte(0), []byte{doCall, 3, doCall, 3, doSlow, 2, doOwn, 1, doWait, 1, doSettle, 0, doWait, 1, doCall, 1, doWait, 2})
	f.Add(byte(1), []byte{doCall, 4, doCall + actions, 3, doFreeze, 0, doOwn, 2, doEnd, 1, doThaw, 0, doCall, 1, doTell, 9, doKill, 5, doWait, 7})
	f.Add(byte(3), []byte{doCall, 4, doLate, 4, doLose, 2, doOwn, 1, doEnd, 3, doWait, 5, doLimit, 5, doGive, 0, doCall, 4, doTake, 0, doCall, 2})
	f.Fuzz(func(t *testing.T, how byte, text []byte) {
		var plan []action
		for i := 0; i+1 < len(text) && len(plan) < 200; i += 2 {
			plan = append(plan, action{text[i], text[i+1]})
		}
		if bad := runProgram(t, 1+int(how&1), pick[int64](how/2, 100, 1000, 3000), plan); bad != nil {
			t.Fatal(bad)
		}
	})
}
