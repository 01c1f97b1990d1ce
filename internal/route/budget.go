package route

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A budget bounds what is retried at one upstream: tries beyond the first fallback of a call. Without it, the retries of
// many calls would hold an upstream down that is about to recover (algorithms.md §3.2).
type budget struct {
	mu      sync.Mutex // guards the fields below
	seconds [budgetSeconds]spent
}

// A spent is what was sent within one second.
type spent struct {
	second        int64 // from born
	sent, retried int64 // prompt tokens
}

// The bounds: a fifth of the calls under way, but three always, and a tenth of the tokens of the last ten seconds.
const (
	budgetShare   = 0.2
	budgetFloor   = 3
	budgetTokens  = 0.1
	budgetSeconds = 10
)

// allow reports whether a retry of so many prompt tokens may be sent now.
func (s *shared) allow(now time.Time, tokens int64) bool {
	retries := s.load.retries.Load()
	if retries < budgetFloor {
		return true
	}
	if float64(retries+1) > budgetShare*float64(s.load.inflight.Load()) {
		return false
	}
	second := int64(now.Sub(s.load.born) / time.Second)
	b := &s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	var sent, retried int64
	for i := range b.seconds {
		if second-b.seconds[i].second < budgetSeconds {
			sent += b.seconds[i].sent
			retried += b.seconds[i].retried
		}
	}
	return float64(retried+tokens) <= budgetTokens*float64(sent)
}

// note counts what is sent.
func (s *shared) note(now time.Time, tokens int64, retry bool) {
	second := int64(now.Sub(s.load.born) / time.Second)
	b := &s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	one := &b.seconds[second%budgetSeconds]
	if one.second != second {
		*one = spent{second: second}
	}
	one.sent += tokens
	if retry {
		one.retried += tokens
	}
}

// backoff is how long to wait before the n-th retry (from 0) of an upstream that did not say: full jitter, of which the
// bound doubles from a fifth of a second to two seconds.
func backoff(n int) time.Duration {
	const base, most = 200 * time.Millisecond, 2 * time.Second
	return rand.N(min(base<<min(n, 10), most) + 1)
}
