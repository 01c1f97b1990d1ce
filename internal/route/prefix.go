package route

import (
	"hash/maphash"
	"math/bits"
	"sync"
	"time"
)

// prefixes remembers which upstreams of a pool were sent which beginnings of prompts, because servers keep what they have
// read: a prompt that begins alike is answered sooner there, and its beginning may be cheaper. It knows what was sent, not
// what is still kept; so it forgets, by time and by room.
//
// A prompt is cut into blocks of 256 bytes, about 64 tokens, and the hash of a block covers all before it: one entry for
// each block says who had it. It is the whole body's text that is hashed, since servers render all of it.
type prefixes struct {
	seed maphash.Seed
	born time.Time

	mu      sync.Mutex // guards the fields below
	entries map[uint64]prefixEntry
	old     map[uint64]prefixEntry // what was there before entries filled up
}

// A prefixEntry says which upstreams were sent a beginning: a bit each, by place, and when.
type prefixEntry struct {
	who uint64
	at  int64 // Unix seconds of the monotonic clock's origin; see since
}

const (
	prefixBlock   = 256    // bytes
	prefixBlocks  = 64     // at most, of one prompt
	prefixEntries = 31_250 // of one generation; there are two
	prefixKept    = 5 * 60 // seconds that servers are taken to keep what nobody asks for
	prefixTokens  = prefixBlock / 4
)

func newPrefixes() *prefixes {
	return &prefixes{seed: maphash.MakeSeed(), born: time.Now(), entries: map[uint64]prefixEntry{}, old: map[uint64]prefixEntry{}}
}

// A beginning is a prompt as prefixes knows it: the hashes of its blocks, each over all before it.
type beginning struct {
	n      int
	hashes [prefixBlocks]uint64
}

// of hashes a prompt.
func (p *prefixes) of(b *beginning, text []byte) {
	var last uint64
	for b.n = 0; b.n < prefixBlocks && len(text) >= prefixBlock; b.n++ {
		last = (bits.RotateLeft64(last, 25) ^ maphash.Bytes(p.seed, text[:prefixBlock])) * 0x9E3779B97F4A7C15 // odd, so nothing is lost
		b.hashes[b.n] = last
		text = text[prefixBlock:]
	}
}

// match puts how many tokens of the prompt's beginning each upstream was sent of late into tokens, by place.
func (p *prefixes) match(b *beginning, now int64, tokens []int64) {
	clear(tokens)
	if b.n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	alive := ^uint64(0)
	for i := range b.n {
		e, ok := p.entries[b.hashes[i]]
		if !ok {
			e, ok = p.old[b.hashes[i]]
		}
		if !ok || now-e.at > prefixKept {
			return
		}
		if alive &= e.who; alive == 0 {
			return
		}
		for place := range min(len(tokens), 64) {
			if alive&(1<<place) != 0 {
				tokens[place] = int64(i+1) * prefixTokens
			}
		}
	}
}

// sent remembers that an upstream was sent the prompt.
func (p *prefixes) sent(b *beginning, now int64, place int) {
	if b.n == 0 || place >= 64 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range b.n {
		e, ok := p.entries[b.hashes[i]]
		if !ok {
			if e, ok = p.old[b.hashes[i]]; ok && now-e.at > prefixKept {
				e = prefixEntry{}
			}
			if len(p.entries) >= prefixEntries {
				p.old, p.entries = p.entries, p.old
				clear(p.entries)
			}
		}
		if now-e.at > prefixKept {
			e.who = 0
		}
		p.entries[b.hashes[i]] = prefixEntry{who: e.who | 1<<place, at: now}
	}
}

// since is a time for prefixes: seconds by the monotonic clock.
func since(born, now time.Time) int64 { return int64(now.Sub(born) / time.Second) }
