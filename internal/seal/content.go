package seal

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// A content is all that a ring's file holds, open.
type content struct {
	*keySet
	pepper []byte
}

// A lock is the ring's own key, under which pepper and data keys are encrypted in a wrapped file. It changes when what wraps
// the ring changes, so it stays in memory: adding a data key needs no wrapper, and works while a key service is away.
type lock struct {
	secret [dataKeySize]byte
	wraps  []wrapFile
}

// newLock makes a key and has all the wrappers wrap it. What is wrapped is unwrapped again before it counts.
func newLock(ctx context.Context, ring string, wrappers ...Wrapper) (*lock, error) {
	l := &lock{}
	_, _ = rand.Read(l.secret[:]) // ends the process rather than fail
	for _, w := range wrappers {
		if err := l.wrap(ctx, ring, w); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// wrap adds a wrap of the key, in the place of one by the same wrapper.
func (l *lock) wrap(ctx context.Context, ring string, w Wrapper) error {
	wrapped, err := w.Wrap(ctx, ring, l.secret[:])
	if err != nil {
		return &SealedError{Ring: ring, Text: fmt.Sprintf("%s does not wrap a key: %v", w, err), Hint: reachable}
	}
	again, err := w.Unwrap(ctx, ring, wrapped)
	switch {
	case err != nil:
		return &SealedError{Ring: ring, Text: fmt.Sprintf("%s does not unwrap what it has just wrapped: %v", w, err), Hint: reachable}
	case subtle.ConstantTimeCompare(again, l.secret[:]) != 1:
		return &SealedError{Ring: ring, Text: fmt.Sprintf("%s unwraps another key than it was given to wrap", w), Hint: "mend it: " + contract}
	case bytes.Contains(wrapped, l.secret[:]) || bytes.Contains(wrapped, []byte(base64.StdEncoding.EncodeToString(l.secret[:]))):
		return &SealedError{Ring: ring, Text: fmt.Sprintf("%s gives the key back in clear", w), Hint: "mend it: " + contract}
	}
	l.wraps = slices.DeleteFunc(slices.Clone(l.wraps), func(f wrapFile) bool { return f.By == w.String() })
	l.wraps = append(l.wraps, wrapFile{
		By: w.String(), Created: time.Now().UTC().Truncate(time.Second), Key: base64.StdEncoding.EncodeToString(wrapped),
	})
	return nil
}

// opens reports whether the key of a wrapped file is this one.
func (l *lock) opens(f *ringFile) bool {
	if l == nil {
		return false
	}
	_, wrong := l.read("", f.SealedPepper, bindPepper(f.ID))
	return wrong == ""
}

// unlock gets the key of a wrapped file: that which is known, if it is still the same, else from the wrapper. The wraps that
// name the wrapper come first; but another replica may name the same one otherwise.
func unlock(ctx context.Context, f *ringFile, known *lock, w Wrapper) (*lock, error) {
	if known.opens(f) {
		return &lock{secret: known.secret, wraps: f.Wraps}, nil
	}
	if w == nil {
		return nil, &SealedError{
			Ring: f.ID, Text: "it is wrapped by " + wrappersOf(f.Wraps) + ", and nothing is configured to unwrap it", NoWrapper: true,
			Hint: "name what wraps it in the configuration: keyring_wrap: file:PATH or exec:COMMAND",
		}
	}
	order := slices.Clone(f.Wraps)
	slices.SortStableFunc(order, func(a, b wrapFile) int { return boolInt(b.By == w.String()) - boolInt(a.By == w.String()) })
	var first error
	for _, wrap := range order {
		wrapped, _ := base64.StdEncoding.DecodeString(wrap.Key) // parse has seen that it is
		secret, err := w.Unwrap(ctx, f.ID, wrapped)
		if err == nil && len(secret) != dataKeySize {
			err = fmt.Errorf("it gives %d bytes, not %d", len(secret), dataKeySize)
		}
		if err == nil {
			return &lock{secret: [dataKeySize]byte(secret), wraps: f.Wraps}, nil
		}
		if first == nil {
			first = err
		}
	}
	text := fmt.Sprintf("%s does not unwrap it: %v", w, first)
	if order[0].By != w.String() {
		text = fmt.Sprintf("it is wrapped by %s, and %s does not unwrap it: %v", wrappersOf(f.Wraps), w, first)
	}
	return nil, &SealedError{Ring: f.ID, Text: text, Hint: "is it what wraps this ring, and is it within reach?", Err: first}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func wrappersOf(wraps []wrapFile) string {
	text := ""
	for i, w := range wraps {
		if i > 0 {
			text += " and by "
		}
		text += w.By
	}
	return text
}

// open reads the secrets of a parsed file. known is the ring's own key as it was before, nil if there was none.
func open(ctx context.Context, path string, f *ringFile, known *lock, w Wrapper) (*content, error) {
	c := &content{keySet: &keySet{}}
	if len(f.Wraps) > 0 {
		var err error
		if c.lock, err = unlock(ctx, f, known, w); err != nil {
			return nil, inFile(path, err)
		}
	}
	bad := func(format string, args ...any) (*content, error) {
		return nil, fault.Problem{Path: path, Text: fmt.Sprintf(format, args...), Hint: restore}
	}
	var wrong string
	if c.pepper, wrong = c.lock.read(f.Pepper, f.SealedPepper, bindPepper(f.ID)); wrong == "" {
		wrong = checkPepper(c.pepper)
	}
	if wrong != "" {
		return bad("pepper: %s", wrong)
	}
	for i := range f.Keys {
		k := &f.Keys[i]
		secret, wrong := c.lock.read(k.Key, k.Sealed, bindKey(f.ID, i, k))
		if wrong == "" {
			wrong = checkSecret(secret, dataKeySize, dataKeySize)
		}
		if wrong != "" {
			return bad("keys[%d].key: %s", i, wrong)
		}
		c.keys = append(c.keys, &dataKey{id: k.keyID(), created: k.Created, from: k.From, secret: [dataKeySize]byte(secret)})
	}
	return c, nil
}

// write puts the secrets into a file, encrypted if there is a lock.
func (c *content) write(f *ringFile) error {
	f.Wraps, f.Pepper, f.SealedPepper, f.Keys = nil, "", "", nil
	if c.lock != nil {
		f.Wraps = c.lock.wraps
	}
	var err error
	if f.Pepper, f.SealedPepper, err = c.lock.put(c.pepper, bindPepper(f.ID)); err != nil {
		return err
	}
	for _, k := range c.keys {
		if err := c.lock.add(f, k); err != nil {
			return err
		}
	}
	return nil
}

// add puts one more data key into a file.
func (l *lock) add(f *ringFile, key *dataKey) (err error) {
	k := keyFile{ID: key.id.String(), Created: key.created, From: key.from}
	k.Key, k.Sealed, err = l.put(key.secret[:], bindKey(f.ID, len(f.Keys), &k))
	f.Keys = append(f.Keys, k)
	return err
}

// What a secret in a wrapped file is bound to: its place in its ring.
func bindPepper(ring string) []byte { return Bind(nil, "penstock keyring 1", ring, "pepper") }

func bindKey(ring string, i int, k *keyFile) []byte {
	return Bind(nil, "penstock keyring 1", ring, "key", strconv.Itoa(i), k.ID, k.Created.UTC().Format(time.RFC3339Nano), k.From.UTC().Format(time.RFC3339Nano))
}

// put gives a secret as a file has it: in clear, or encrypted.
func (l *lock) put(secret, boundTo []byte) (plain, sealed string, err error) {
	if l == nil {
		return base64.StdEncoding.EncodeToString(secret), "", nil
	}
	aead, err := gcm(l.secret[:])
	if err != nil {
		return "", "", err
	}
	return "", base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, secret, boundTo)), nil
}

// read is the inverse of put. wrong says what is wrong, "" if nothing is.
func (l *lock) read(plain, sealed string, boundTo []byte) (secret []byte, wrong string) {
	b, err := base64.StdEncoding.DecodeString(plain + sealed) // parse has seen that one of them is there
	if err != nil {
		return nil, "is not base64"
	}
	if l == nil {
		return b, ""
	}
	aead, err := gcm(l.secret[:])
	if err == nil {
		b, err = aead.Open(nil, nil, b, boundTo)
	}
	if err != nil {
		return nil, "was changed, or belongs to another ring"
	}
	return b, ""
}

// gcm is AES-256-GCM with random nonces, which stand before the ciphertext.
func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("make a cipher: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// equal reports whether two contents have the same secrets.
func (c *content) equal(d *content) bool {
	return bytes.Equal(c.pepper, d.pepper) && slices.EqualFunc(c.keys, d.keys, func(a, b *dataKey) bool {
		return a.id == b.id && a.secret == b.secret && a.created.Equal(b.created) && a.from.Equal(b.from)
	})
}

// inFile says which file an error is about.
func inFile(path string, err error) error {
	if sealed, ok := errors.AsType[*SealedError](err); ok && sealed.Path == "" {
		sealed.Path = path
		return sealed
	}
	return err
}
