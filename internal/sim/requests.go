package sim

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of the request log.
const (
	maxRequests   = 500
	maxLoggedBody = 64 << 10
)

// A Request is what the simulator was sent. Fast models' requests are not kept.
type Request struct {
	ID       string `json:"id"`
	Provider string `json:"provider"`
	Method   string `json:"method"`
	Path     string `json:"path"`
	// Header is what was sent; of credentials only the beginning of their SHA-256: "Bearer sha256:1f2e3d4c5b6a7988".
	Header http.Header `json:"header"`
	Body   string      `json:"body"` // up to 64 KiB
	Size   int         `json:"size"` // of the whole body, in bytes
	Time   time.Time   `json:"time"`
	// Status is what was answered; 0 if nothing was, or not yet.
	Status   int       `json:"status"`
	Ended    time.Time `json:"ended,omitzero"`
	Canceled time.Time `json:"canceled_at,omitzero"`
}

// credentialHeaders are shown as their hash.
var credentialHeaders = []string{"Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "X-Amz-Security-Token", "Proxy-Authorization", "Cookie"}

// A requestLog holds the last requests.
type requestLog struct {
	mu   sync.Mutex // guards the fields below
	next int
	ring []*Request // also guarded: what they point at, once they are in
}

// add keeps a request; it is changed later only through update.
func (l *requestLog) add(r *Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < maxRequests {
		l.ring = append(l.ring, r)
	} else {
		l.ring[l.next%maxRequests] = r
	}
	l.next++
}

func (l *requestLog) update(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// last copies the last n requests, the oldest first; all for n below 0.
func (l *requestLog) last(n int) []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n < 0 || n > len(l.ring) {
		n = len(l.ring)
	}
	out := make([]Request, 0, n)
	for i := l.next - n; i < l.next; i++ {
		out = append(out, *l.ring[i%maxRequests])
	}
	return out
}

func (l *requestLog) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.next = nil, 0
}

// shownHeader is the header without credentials.
func shownHeader(h http.Header) http.Header {
	shown := h.Clone()
	for name, values := range shown {
		if slices.Contains(credentialHeaders, name) {
			for i, v := range values {
				values[i] = fingerprint(v)
			}
		}
	}
	return shown
}

// fingerprint is "Bearer sha256:1f2e3d4c5b6a7988", so that two credentials can be told apart and none be read.
func fingerprint(credential string) string {
	scheme, rest, ok := strings.Cut(credential, " ")
	if !ok {
		scheme, rest = "", credential
	} else {
		scheme += " "
	}
	sum := sha256.Sum256([]byte(rest))
	return scheme + "sha256:" + hex.EncodeToString(sum[:8])
}
