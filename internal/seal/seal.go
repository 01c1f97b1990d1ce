// Package seal holds the key ring: the secret of an installation without which what the store keeps of API keys is
// worthless.
//
// The ring is one file, apart from the store, shared by all replicas of one store and kept in another place than the
// store's backups. It hashes presented keys; it does not say who they belong to (auth), and it encrypts nothing.
package seal

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/fault"
)

// pepperSize is the size of the pepper in bytes: as much as the hash can make use of.
const pepperSize = 32

// A Ring is an open key ring. It is immutable and safe for concurrent use; printing it shows its id only.
type Ring struct {
	id   string
	macs sync.Pool // of *mac, each with the pepper in it: to make one costs more than to use it
}

// A mac is one HMAC and the space for its input and output, which would escape to the heap at each use otherwise.
type mac struct {
	hash.Hash
	in, out [sha256.Size]byte
}

// ringFile is the JSON of a ring on disk.
type ringFile struct {
	ID      string    `json:"id"`
	Pepper  string    `json:"pepper"` // base64
	Created time.Time `json:"created"`
}

// Open reads the ring at path, or makes a new one there if there is none; created says which. Errors are
// [fault.Problem]: a ring is refused if others than its owner and group may read it, or others than its owner may write
// it (a mounted secret may be group readable), if its pepper is short, empty or plainly not random, and if it has
// members that this version does not know.
func Open(path string) (ring *Ring, created bool, err error) {
	text, err := ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(path)
		if err == nil {
			created = true
		} else if !errors.Is(err, fs.ErrExist) { // if it exists, another replica was quicker: its ring is ours
			return nil, false, err
		}
		text, err = ReadPrivate(path)
	}
	if err != nil {
		return nil, false, err
	}
	ring, err = parse(path, text)
	return ring, created, err
}

func create(path string) error {
	var pepper [pepperSize]byte
	if _, err := rand.Read(pepper[:]); err != nil {
		return fmt.Errorf("make a pepper: %w", err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	id, err := ulid.New(ulid.Timestamp(now), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a ring id: %w", err)
	}
	f := ringFile{ID: "ring_" + id.String(), Pepper: base64.StdEncoding.EncodeToString(pepper[:]), Created: now}
	text, err := json.Marshal(f, jsontext.Multiline(true))
	if err != nil {
		return fmt.Errorf("encode the key ring: %w", err)
	}
	return CreatePrivate(path, append(text, '\n'))
}

// restore is what helps against every unusable ring: a new one would make all keys in the store unknown.
const restore = "put the key ring back from its backup; a new one would make all existing keys unknown"

func parse(path string, text []byte) (*Ring, error) {
	var f ringFile
	if err := json.Unmarshal(text, &f, json.RejectUnknownMembers(true)); err != nil {
		return nil, fault.Problem{Path: path, Text: "is not a key ring: " + reason(err), Hint: restore}
	}
	if f.ID == "" {
		return nil, fault.Problem{Path: path, Text: "id: is empty", Hint: restore}
	}
	pepper, err := base64.StdEncoding.DecodeString(f.Pepper)
	switch {
	case err != nil:
		return nil, fault.Problem{Path: path, Text: "pepper: is not base64", Hint: restore}
	case len(pepper) < pepperSize:
		return nil, fault.Problem{Path: path, Text: fmt.Sprintf("pepper: has %d bytes, needs %d", len(pepper), pepperSize), Hint: restore}
	case len(pepper) > sha256.BlockSize:
		return nil, fault.Problem{Path: path, Text: fmt.Sprintf("pepper: has %d bytes, at most %d are used", len(pepper), sha256.BlockSize), Hint: restore}
	case distinct(pepper) < pepperSize/4:
		return nil, fault.Problem{Path: path, Text: "pepper: is not random", Hint: restore}
	}
	return newRing(f.ID, pepper), nil
}

// reason keeps what the decoder says of where and what, without its package's name. It quotes no values.
func reason(err error) string {
	var unknown *json.SemanticError
	if errors.As(err, &unknown) {
		return "wrong or unknown member " + string(unknown.JSONPointer)
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("broken JSON at byte %d", syntax.ByteOffset)
	}
	return "broken JSON"
}

// distinct counts the different bytes of b. 32 random ones have fewer than 8 with a chance of less than 1 in 2^100.
func distinct(b []byte) int {
	var seen [256]bool
	n := 0
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}

func newRing(id string, pepper []byte) *Ring {
	return &Ring{id: id, macs: sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, pepper)} }}}
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
