package gateway

import (
	"strings"
	"sync/atomic"
	"time"
	"unicode"
)

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
