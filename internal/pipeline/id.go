package pipeline

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/wire/w3c"
)

const idStart = "ex_"

// NewID makes an exchange's id and the id of its own trace, for callers that are in none. The id is "ex_" and a ULID, so
// that ids sort by time; its random part comes from the runtime's ChaCha8 generator, which is seeded by the system and
// needs no lock. The trace's id is the same 16 bytes: what is known by one is found by the other, without an index, and
// its last seven bytes are random, as samplers want them.
func NewID(now time.Time) (string, w3c.TraceID) {
	var id ulid.ULID
	_ = id.SetTime(uint64(now.UnixMilli())) // fails in the year 10889
	binary.BigEndian.PutUint64(id[6:], rand.Uint64())
	binary.BigEndian.PutUint16(id[14:], uint16(rand.Uint32()))
	return idOf(id), w3c.TraceID(id)
}

// IDOfTrace is the id of the exchange whose own trace t would be.
func IDOfTrace(t w3c.TraceID) string { return idOf(ulid.ULID(t)) }

// FirstID is before the ids of all exchanges that began at a time or later, to the millisecond, and behind those of all
// that began earlier.
func FirstID(at time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(max(at.UnixMilli(), 0)))
	return idOf(id)
}

func idOf(id ulid.ULID) string {
	var text [len(idStart) + ulid.EncodedSize]byte
	copy(text[:], idStart)
	_ = id.MarshalTextTo(text[len(idStart):]) // fails if there is no room
	return string(text[:])
}
