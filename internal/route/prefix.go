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

	mu      sync.Mutex     // guards the fields below
	known   map[string]int // the bits of upstreams, by their keys
	entries map[uint64]prefixEntry
	old     map[uint64]prefixEntry // what was there before entries filled up
}

// A prefixEntry says which upstreams were sent a beginning: a bit each, and when.
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
	prefixBits    = 64 // upstreams that are told apart
)

func newPrefixes() *prefixes {
	return &prefixes{seed: maphash.MakeSeed(), born: time.Now(), known: map[string]int{}, entries: map[uint64]prefixEntry{}, old: map[uint64]prefixEntry{}}
}

// A beginning is a prompt as prefixes knows it: the hashes of its blocks, each over all before it.
type beginning struct {
	n      int
	hashes [prefixBlocks]uint64
}

// A prompt is one as the prefixes of a pool know it.
type prompt struct {
	begin  beginning
	cached [prefixBits]int64 // tokens that upstreams were sent of it, by their bits
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

// noBit is that of an upstream of which nothing is remembered.
const noBit = -1

// number gives each of some upstreams its bit, the one that it had if it had one: an index that went by places would take one
// server's prompts for another's when a third comes. If there are not enough for new ones, all is forgotten first.
func (p *prefixes) number(all []*upstream) {
	if p == nil {
		for _, u := range all {
			u.bit = noBit
		}
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := 0
	for _, u := range all {
		if _, known := p.known[u.key]; !known {
			fresh++
		}
	}
	if len(p.known)+fresh > prefixBits {
		clear(p.known)
		clear(p.entries)
		clear(p.old)
	}
	for _, u := range all {
		bit, known := p.known[u.key]
		switch {
		case known:
			u.bit = bit
		case len(p.known) < prefixBits:
			u.bit = len(p.known)
			p.known[u.key] = u.bit
		default:
			u.bit = noBit
		}
	}
}

// match puts how many tokens of the prompt's beginning each upstream was sent of late into tokens, by their bits.
func (p *prefixes) match(b *beginning, now int64, tokens *[prefixBits]int64) {
	*tokens = [prefixBits]int64{}
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
		for left := alive; left != 0; left &= left - 1 {
			tokens[bits.TrailingZeros64(left)] = int64(i+1) * prefixTokens
		}
	}
}

// sent remembers that an upstream was sent the prompt.
func (p *prefixes) sent(b *beginning, now int64, bit int) {
	if b.n == 0 || bit == noBit {
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
		p.entries[b.hashes[i]] = prefixEntry{who: e.who | 1<<bit, at: now}
	}
}

// since is a time for prefixes: seconds by the monotonic clock.
func since(born, now time.Time) int64 { return int64(now.Sub(born) / time.Second) }
