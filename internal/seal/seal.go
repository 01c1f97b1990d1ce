// Package seal holds the key ring: the secret of an installation without which what the store keeps of API keys and of
// bodies is worthless.
//
// The ring is one file, apart from the store, shared by all replicas of one store and kept in another place than the
// store's backups. It has a pepper, which hashes presented keys, and data keys, which seal values ([Ring.Seal]) for the
// store: the newest seals, all of them unseal. [Ring.Rotate] adds one, and running processes take it over ([Ring.Run]). With
// a [Wrapper] the file has no secret in clear: a key that lies elsewhere, such as in a key service, opens it.
//
// It does not say whom API keys belong to (auth), and not what is sealed (bodies). A value is sealed in memory as a whole.
package seal

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// pepperSize is the size of the pepper in bytes: as much as the hash can make use of.
const pepperSize = 32

// A Ring is an open key ring. It is safe for concurrent use. Its id and pepper never change, its data keys may; printing it
// shows its id only.
type Ring struct {
	id     string
	pepper [sha256.Size]byte // the hash of it, to see that it stays the same
	macs   sync.Pool         // of *mac, each with the pepper in it: to make one costs more than to use it

	path    string // "" in tests: then nothing is read again
	created time.Time
	o       Options

	keys    atomic.Pointer[keySet]
	sealing atomic.Pointer[sealer] // nil until something is sealed
	openers openers

	unread  atomic.Pointer[error] // why the file could not be read again
	unwraps atomic.Pointer[error] // why the wrapper would not unwrap it

	changing  chan struct{}     // holds one while the file is read or written; guards the fields below
	seen      [sha256.Size]byte // of the text that keys came from
	file      fs.FileInfo       // that was read last
	sealedSum [sha256.Size]byte // of a text that the wrapper did not unwrap
	sealedAt  time.Time         // when that was
}

// A mac is one HMAC and the space for its input and output, which would escape to the heap at each use otherwise.
type mac struct {
	hash.Hash
	in, out [sha256.Size]byte
}

func newRing(id string, pepper []byte) *Ring {
	r := &Ring{id: id, pepper: sha256.Sum256(pepper), o: Options{}.withDefaults(), changing: make(chan struct{}, 1)}
	r.macs.New = func() any { return &mac{Hash: hmac.New(sha256.New, pepper)} }
	r.keys.Store(&keySet{})
	return r
}

// ID names the ring. The store remembers it, so that a store is never opened with the wrong ring.
func (r *Ring) ID() string { return r.id }

// Hash is HMAC-SHA-256(pepper, SHA-256(key)).
func (r *Ring) Hash(key string) [sha256.Size]byte {
	var short [128]byte // on the stack; a conversion would allocate
	if len(key) > len(short) {
		return r.HashSHA256(sha256.Sum256([]byte(key)))
	}
	return r.HashSHA256(sha256.Sum256(short[:copy(short[:], key)]))
}

// HashSHA256 is Hash of a key of which only the SHA-256 is known, such as one that another gateway made.
func (r *Ring) HashSHA256(sum [sha256.Size]byte) [sha256.Size]byte {
	m := r.macs.Get().(*mac)
	defer r.macs.Put(m)
	m.Reset()
	m.in = sum
	_, _ = m.Write(m.in[:]) // a hash takes everything
	m.Sum(m.out[:0])
	return m.out
}

// String implements [fmt.Stringer] with the id.
func (r *Ring) String() string { return r.id }

// Format implements [fmt.Formatter], so that no verb shows the pepper.
func (r *Ring) Format(f fmt.State, _ rune) { _, _ = io.Copy(f, strings.NewReader(r.id)) }

// LogValue implements [slog.LogValuer].
func (r *Ring) LogValue() slog.Value { return slog.StringValue(r.id) }
