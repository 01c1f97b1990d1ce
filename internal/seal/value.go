package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/penstock/penstock/internal/fault"
)

// A sealed value is: the version (1 byte), the data key's id (8 bytes), a salt (16 bytes), then the nonce (12 bytes), the
// ciphertext and the tag (16 bytes) of AES-256-GCM, under the key HKDF-SHA-256(data key, salt, "penstock seal 1").
//
// Nonces are random, and NIST SP 800-38D allows 2^32 of them under one key. Replicas that share a data key would have to
// count together to keep to that. So each process draws a salt and encrypts under a key of its own, for [perSalt] values
// at most: then two nonces of one key are the same with a chance of less than 2^-48, and a data key lasts for 2^80 values
// and more, whoever restarts how often. To derive a key for each value, as XAES-256-GCM does, would cost a key schedule
// each time; this costs it once in perSalt values.
const (
	version  = 1
	saltSize = 16
	headSize = 1 + len(keyID{}) + saltSize
	perSalt  = 1 << 24
	info     = "penstock seal 1"

	// Overhead is by how many bytes a sealed value is longer than what it holds.
	Overhead = headSize + 12 + 16
)

// What a value can fail to seal or unseal with.
var (
	// ErrNoDataKey means that the ring cannot seal: it was made by a version that sealed nothing, and its file could not be
	// written since.
	ErrNoDataKey = errors.New("the key ring has no data key (add one where its file can be written: penstock keyring rotate)")
	// ErrForeign means that the value was changed, or was sealed for another place: another project, another exchange.
	ErrForeign = errors.New("the sealed value does not open: it was changed, or belongs somewhere else")
	// ErrNewer means that the value was sealed by a version of Penstock that this one does not know.
	ErrNewer = errors.New("the value was sealed by a newer Penstock")
)

// A MissingKeyError says that a value was sealed with a data key that the ring does not have.
type MissingKeyError struct{ KeyID string }

// Error implements error.
func (e *MissingKeyError) Error() string {
	return fmt.Sprintf("the key ring does not have the data key %s", e.KeyID)
}

// Fault is what a caller is told who asked for a value that does not open for want of a data key: it is there, and opens as
// soon as the ring's newest file is. nil for all other errors.
func Fault(err error) *fault.Error {
	if missing, ok := errors.AsType[*MissingKeyError](err); ok {
		return fault.Wrap(fault.KeyRingBehind, err, "It is sealed with data key %s, which this Penstock's key ring does not have.", missing.KeyID)
	}
	if errors.Is(err, ErrNoDataKey) {
		return fault.Wrap(fault.KeyRingFailed, err, "Nothing can be sealed: the key ring has no data key.")
	}
	return nil
}

// A head is how a sealed value begins. Whoever changes it changes the key that the rest is opened with.
type head [headSize]byte

func (h *head) key() keyID { return keyID(h[1 : 1+len(keyID{})]) }

// aead derives the cipher that values with this head are under.
func (h *head) aead(k *dataKey) (cipher.AEAD, error) {
	derived, err := hkdf.Key(sha256.New, k.secret[:], h[1+len(keyID{}):], info, dataKeySize)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("derive a key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// A sealer is the derived key of this process.
type sealer struct {
	head head
	aead cipher.AEAD
	left atomic.Int64 // how many values may still be sealed with it
}

// Seal appends the sealed value to dst, which must not overlap with value. What it is bound to must be given again to
// unseal it: see [Bind].
func (r *Ring) Seal(dst, value, boundTo []byte) ([]byte, error) {
	s, err := r.sealer()
	if err != nil {
		return dst, err
	}
	dst = append(dst, s.head[:]...)
	return s.aead.Seal(dst, nil, value, boundTo), nil
}

// sealer is the one in use, or a new one if there is another data key by now, or it has sealed enough.
func (r *Ring) sealer() (*sealer, error) {
	for {
		k := r.keys.Load().current()
		if k == nil {
			return nil, ErrNoDataKey
		}
		old := r.sealing.Load()
		if old != nil && old.head.key() == k.id && old.left.Add(-1) >= 0 {
			return old, nil
		}
		s := &sealer{}
		s.head[0] = version
		copy(s.head[1:], k.id[:])
		_, _ = rand.Read(s.head[1+len(k.id):]) // ends the process rather than fail
		var err error
		if s.aead, err = s.head.aead(k); err != nil {
			return nil, err
		}
		s.left.Store(perSalt)
		r.sealing.CompareAndSwap(old, s) // else another goroutine was quicker
	}
}

// Unseal appends to dst what was sealed. Errors are a [*MissingKeyError], [ErrForeign] or [ErrNewer].
func (r *Ring) Unseal(dst, sealed, boundTo []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return dst, ErrForeign
	}
	if sealed[0] != version {
		return dst, ErrNewer
	}
	aead, err := r.opener(head(sealed[:headSize]))
	if err != nil {
		return dst, err
	}
	out, err := aead.Open(dst, nil, sealed[headSize:], boundTo)
	if err != nil {
		return dst, ErrForeign
	}
	return out, nil
}

// KeyID names the data key that a value was sealed with, "" if it is no sealed value.
func KeyID(sealed []byte) string {
	if len(sealed) < Overhead || sealed[0] != version {
		return ""
	}
	h := head(sealed[:headSize])
	return h.key().String()
}

// opener gives the cipher of a head. A key that is not known may have been added by another process just now, so the file
// is read again before that is an error.
func (r *Ring) opener(h head) (cipher.AEAD, error) {
	if aead := r.openers.find(h); aead != nil {
		return aead, nil
	}
	k := r.keys.Load().find(h.key())
	if k == nil {
		r.lookAgain()
		if k = r.keys.Load().find(h.key()); k == nil {
			return nil, &MissingKeyError{h.key().String()}
		}
	}
	aead, err := h.aead(k)
	if err == nil {
		r.openers.add(h, aead)
	}
	return aead, err
}

// openers holds derived keys for unsealing: neighbours in the store were mostly sealed by the same process.
type openers struct {
	mu    sync.Mutex
	aeads map[head]cipher.AEAD
}

// maxOpeners bounds the derived keys in memory; each is about 1 KiB.
const maxOpeners = 256

func (o *openers) find(h head) cipher.AEAD {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.aeads[h]
}

func (o *openers) add(h head, aead cipher.AEAD) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.aeads == nil || len(o.aeads) >= maxOpeners {
		o.aeads = map[head]cipher.AEAD{}
	}
	o.aeads[h] = aead
}

// Bind appends to dst what a value is bound to: what it is, and whose. Each part stands behind its length, so that no two
// lists of parts are the same bytes.
func Bind(dst []byte, parts ...string) []byte {
	for _, p := range parts {
		dst = binary.AppendUvarint(dst, uint64(len(p)))
		dst = append(dst, p...)
	}
	return dst
}
