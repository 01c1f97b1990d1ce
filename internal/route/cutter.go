package route

import (
	"bytes"
	"hash/maphash"
	"math/bits"

	"github.com/penstock/penstock/internal/llm"
)

// A cutter cuts a prompt into the blocks of a beginning.
type cutter struct {
	seed maphash.Seed
	to   *beginning
	last uint64 // the hash of all so far
	room int    // bytes that the block lacks
}

// blockBytes are those of the nth block: the further in, the less it matters where exactly two prompts part. So few blocks reach
// far, and it is always known to a sixteenth how much is shared.
func blockBytes(n int) int { return prefixBlock << (n / 16) }

// prefixTokens are about how many there are up to the end of each block.
var prefixTokens = func() (tokens [prefixBlocks]int64) {
	sum := 0
	for n := range tokens {
		sum += blockBytes(n)
		tokens[n] = int64(sum) / 4
	}
	return tokens
}()

// of hashes what a request begins with.
func (p *prefixes) of(b *beginning, r *llm.Request) {
	b.n = 0
	c := cutter{seed: p.seed, to: b, room: blockBytes(0)}
	c.request(r)
}

// beforeTurns are the members of requests that come before what was said, wherever they stand in the body.
var beforeTurns = [...]string{"system", "instructions"}

// turns are the members that hold what was said. A request has one of them.
var turns = [...]string{"messages", "input", "prompt"}

// request cuts what servers render of a request: tools, the system's words, and then what was said, that of a response which the
// request goes on from included. Caps, labels and all else of the body are no part of it, nor where they stand.
func (c *cutter) request(r *llm.Request) {
	c.add(r.Field("tools"))
	for _, name := range beforeTurns {
		c.texts(r.Field(name))
	}
	for _, name := range turns {
		if value := r.Field(name); value != nil {
			c.texts(value)
			return
		}
	}
	if len(r.Fields) == 0 {
		c.add(r.Raw)
	}
}

// full reports whether there are as many blocks as are kept.
func (c *cutter) full() bool { return c.to.n == prefixBlocks }

// add cuts the next piece of a prompt.
func (c *cutter) add(text []byte) {
	for len(text) > 0 && !c.full() {
		piece := text[:min(c.room, len(text))]
		c.last = (bits.RotateLeft64(c.last, 25) ^ maphash.Bytes(c.seed, piece)) * 0x9E3779B97F4A7C15 // odd, so nothing is lost
		text = text[len(piece):]
		if c.room -= len(piece); c.room == 0 {
			c.to.hashes[c.to.n] = c.last
			c.to.n++
			c.room = blockBytes(c.to.n)
		}
	}
}

// texts cuts the strings of a JSON value, each for itself, and nothing else of it: what was said is written differently when it is
// said again, as a string or as parts, with an id or a mark for the cache or without.
func (c *cutter) texts(value []byte) {
	form := false // the string belongs to a member that says nothing
	for !c.full() {
		start := bytes.IndexByte(value, '"')
		if start < 0 {
			return
		}
		value = value[start+1:]
		end := closing(value)
		text := value[:end]
		value = value[min(end+1, len(value)):]
		if named(value) {
			form = isForm(text)
			continue
		}
		if !form {
			c.add(text)
		}
		form = false
	}
}

// closing is where the quote is that ends a string, the length of the text if there is none.
func closing(text []byte) int {
	for at := 0; ; at++ {
		next := bytes.IndexByte(text[at:], '"')
		if next < 0 {
			return len(text)
		}
		at += next
		before := at
		for before > 0 && text[before-1] == '\\' {
			before--
		}
		if (at-before)%2 == 0 {
			return at
		}
	}
}

// named reports whether what comes behind a string says that it was the name of a member.
func named(rest []byte) bool {
	for _, b := range rest {
		switch b {
		case ' ', '\t', '\n', '\r':
		default:
			return b == ':'
		}
	}
	return false
}

// isForm reports whether a member's string says how something is written, and not what is said.
func isForm(name []byte) bool {
	switch string(name) {
	case "id", "type", "role", "status", "ttl":
		return true
	}
	return false
}
