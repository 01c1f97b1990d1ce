package rate

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// shards is how many parts the table has, each with a lock of its own. It is a multiple of 64.
const shards = 256

// A table holds the windows that are in use, by name. A name is a hash of rule and subject with a seed of this process, so that nobody
// can make two that are the same: of a million windows two are with a probability of less than one in a million, and would count
// together for a minute, which can only refuse.
type table struct {
	ruleSeed, subjectSeed maphash.Seed
	shards                [shards]shard
}

// A shard is an open table with linear probing. Entries do not move but when it is made anew.
type shard struct {
	mu      sync.Mutex
	entries []entry
	used    int      // entries with a name, in use or not
	_       [24]byte // so that two locks do not share a cache line
}

// An entry is a window, or, of calls at once, their number in n. It has 40 bytes: a million end users have a few million of them.
type entry struct {
	name uint64 // 0 if there is none
	Window
	share *share // of an amount that replicas share; nil if none is held
}

func (e *entry) kind() kind { return kind(e.name & kindBits) }

// has is how much counts against the rule now. Of what is not there, nil, it is nothing.
func (e *entry) has(now int64) int64 {
	if e == nil {
		return 0
	}
	if e.kind() == concurrent {
		return e.n
	}
	return e.Used(now)
}

// idle reports whether the entry can be forgotten.
func (e *entry) idle(now int64) bool { return e.has(now) == 0 && (e.share == nil || e.share.mayGo()) }

func (t *table) seed() {
	t.ruleSeed, t.subjectSeed = maphash.MakeSeed(), maphash.MakeSeed()
}

// nameOf is the name of what a rule counts; 0 if that is nothing.
func (t *table) nameOf(r *Rule) uint64 {
	if r.name != 0 {
		return r.name
	}
	k := kindOf(r.Measure)
	if k == noKind {
		return 0
	}
	h := maphash.String(t.ruleSeed, r.ID)
	if r.Subject != "" {
		h = bits.RotateLeft64(h, 29)*0x9e3779b97f4a7c15 ^ maphash.String(t.subjectSeed, r.Subject)
	}
	return h&^kindBits | uint64(k)
}

// shardOf is the number of the shard that a name is in. What is looked up there is by other bits.
func shardOf(name uint64) int { return int(name>>3) % shards }

func (t *table) shard(name uint64) *shard { return &t.shards[shardOf(name)] }

// find gives an entry, nil if there is none. The shard is locked.
func (s *shard) find(name uint64) *entry {
	if len(s.entries) == 0 {
		return nil
	}
	for i := home(name, len(s.entries)); ; {
		switch e := &s.entries[i]; e.name {
		case name:
			return e
		case 0:
			return nil
		}
		if i++; i == len(s.entries) {
			i = 0
		}
	}
}

// get gives an entry, which is made if there is none. The shard is locked and has room.
func (s *shard) get(name uint64) *entry {
	for i := home(name, len(s.entries)); ; {
		e := &s.entries[i]
		if e.name == name {
			return e
		}
		if e.name == 0 {
			e.name = name
			s.used++
			return e
		}
		if i++; i == len(s.entries) {
			i = 0
		}
	}
}

// home is where to look for a name first.
func home(name uint64, size int) int {
	hi, _ := bits.Mul64(name, uint64(size))
	return int(hi)
}

// room makes sure that n more entries fit. Pointers to entries are not good after it.
func (s *shard) room(now int64, n int) {
	if (s.used+n)*4 > len(s.entries)*3 {
		s.rebuild(now, n)
	}
}

// rebuild makes the table anew, without what is idle, and with room for n more.
func (s *shard) rebuild(now int64, n int) {
	live := 0
	for i := range s.entries {
		if e := &s.entries[i]; e.name != 0 && !e.idle(now) {
			live++
		}
	}
	old := s.entries
	s.entries, s.used = nil, 0
	if live+n == 0 {
		return
	}
	s.entries = make([]entry, (live+n)*2+4) // half full; it is made again when it is full to three quarters
	for i := range old {
		if e := &old[i]; e.name != 0 && !e.idle(now) {
			*s.get(e.name) = *e
		}
	}
}

// sweep forgets what is idle, if that is worth it.
func (s *shard) sweep(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := 0
	for i := range s.entries {
		if e := &s.entries[i]; e.name != 0 && e.idle(now) {
			idle++
		}
	}
	if idle > 0 && idle*4 >= s.used || len(s.entries) > 64 && s.used*4 < len(s.entries) {
		s.rebuild(now, 0)
	}
}
