package provider

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/secret"
)

// lookEvery is how often what a reference stands for is looked at for changes.
const lookEvery = time.Second

// A reference is a secret that may change while serving. It is safe for concurrent use.
type reference struct {
	ref     string
	resolve func(ref string) (secret.String, error)

	mu   sync.Mutex // held while looking
	last atomic.Pointer[look]
}

// A look is what a reference was found to stand for.
type look struct {
	at    time.Time
	value secret.String
	err   error
	// blurred says that the look itself failed and value is that of the one before.
	blurred bool
}

// read gives the secret as it was at most lookEvery ago; while somebody else is looking, as it was before. One look that
// fails changes nothing: the secret may just then be being replaced. The second in a row is the error.
func (r *reference) read(now time.Time) (secret.String, error) {
	last := r.last.Load()
	if last != nil && now.Sub(last.at) < lookEvery {
		return last.value, last.err
	}
	if last == nil {
		r.mu.Lock()
	} else if !r.mu.TryLock() {
		return last.value, last.err
	}
	defer r.mu.Unlock()
	if newer := r.last.Load(); newer != last {
		return newer.value, newer.err
	}
	next := &look{at: now}
	next.value, next.err = r.resolve(r.ref)
	if next.err != nil && last != nil && last.err == nil && !last.blurred {
		next.value, next.err, next.blurred = last.value, nil, true
	}
	r.last.Store(next)
	return next.value, next.err
}
