package gateway

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/oklog/ulid/v2"
)

// newID makes an exchange's id: "ex_" and a ULID, so that ids sort by time. The random half comes from the runtime's
// ChaCha8 generator, which is seeded by the system and needs no lock.
func newID(now time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(now.UnixMilli())) // fails in the year 10889
	binary.BigEndian.PutUint64(id[6:], rand.Uint64())
	binary.BigEndian.PutUint16(id[14:], uint16(rand.Uint32()))
	var text [3 + ulid.EncodedSize]byte
	copy(text[:], "ex_")
	_ = id.MarshalTextTo(text[3:])
	return string(text[:])
}

// clip shortens text that a client made up, and takes out what cannot be seen, for errors and records.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}

// A sampler lets one event a second through, for log lines that a stranger can cause at will.
type sampler struct{ next atomic.Int64 }

func (s *sampler) pass(now time.Time) bool {
	due := s.next.Load()
	n := now.UnixNano()
	return n >= due && s.next.CompareAndSwap(due, n+int64(time.Second))
}
