package seal

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// dataKeySize is the size of a data key in bytes.
const dataKeySize = 32

// A keyID names a data key in sealed values. It is random and says nothing about the key.
type keyID [8]byte

func (id keyID) String() string { return hex.EncodeToString(id[:]) }

// A dataKey is what keys of sealers are derived from; nothing is encrypted with it itself.
type dataKey struct {
	id      keyID
	created time.Time
	secret  [dataKeySize]byte
	wrapped string // as the file has it, "" if that has the key in clear
}

// A keySet is the data keys of a ring at one time, the oldest first. It is immutable.
type keySet struct{ keys []*dataKey }

// current is the key that seals, nil if there is none.
func (s *keySet) current() *dataKey {
	if len(s.keys) == 0 {
		return nil
	}
	return s.keys[len(s.keys)-1]
}

func (s *keySet) find(id keyID) *dataKey {
	for _, k := range s.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// A Key is what may be known of a data key.
type Key struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	Current bool      `json:"current"` // seals what is sealed now; the others only unseal
	Wrapped bool      `json:"wrapped"` // encrypted in the file, by the wrapper
}

// Keys lists the data keys, the oldest first.
func (r *Ring) Keys() []Key {
	set := r.keys.Load()
	out := make([]Key, len(set.keys))
	for i, k := range set.keys {
		out[i] = Key{ID: k.id.String(), Created: k.created, Current: i == len(set.keys)-1, Wrapped: k.wrapped != ""}
	}
	return out
}

// newKeyFile makes a data key, wrapped if there is a wrapper.
func newKeyFile(ctx context.Context, w Wrapper) (keyFile, error) {
	var id keyID
	var secret [dataKeySize]byte
	_, _ = rand.Read(id[:]) // ends the process rather than fail
	_, _ = rand.Read(secret[:])
	f := keyFile{ID: id.String(), Created: time.Now().UTC().Truncate(time.Second)}
	err := f.put(ctx, w, secret[:])
	return f, err
}

// put sets the key, wrapped if there is a wrapper.
func (f *keyFile) put(ctx context.Context, w Wrapper, secret []byte) error {
	f.Key, f.Wrapped = "", ""
	if w == nil {
		f.Key = base64.StdEncoding.EncodeToString(secret)
		return nil
	}
	wrapped, err := w.Wrap(ctx, secret)
	if err != nil {
		return fmt.Errorf("wrap a data key with %s: %w", w, err)
	}
	f.Wrapped = base64.StdEncoding.EncodeToString(wrapped)
	return nil
}

// read makes the keys of a file. What is wrapped as it was before is not unwrapped again.
func (r *Ring) read(ctx context.Context, f *ringFile) (*keySet, error) {
	before, set := r.keys.Load(), &keySet{}
	for i := range f.Keys {
		k, err := r.readKey(ctx, &f.Keys[i], before)
		if err == nil && set.find(k.id) != nil {
			err = fault.Problem{Text: "id: is there twice", Hint: restore}
		}
		if err != nil {
			return nil, r.keyProblem(i, err)
		}
		set.keys = append(set.keys, k)
	}
	return set, nil
}

func (r *Ring) keyProblem(i int, err error) error {
	p, ok := err.(fault.Problem) //nolint:errorlint // made just now
	if !ok {
		return fault.Problem{Path: r.path, Text: fmt.Sprintf("keys[%d]: %v", i, err)}
	}
	return fault.Problem{Path: r.path, Text: fmt.Sprintf("keys[%d].%s", i, p.Text), Hint: p.Hint}
}

func (r *Ring) readKey(ctx context.Context, f *keyFile, before *keySet) (*dataKey, error) {
	k := &dataKey{created: f.Created, wrapped: f.Wrapped}
	id, err := hex.DecodeString(f.ID)
	switch {
	case err != nil || len(id) != len(k.id):
		return nil, fault.Problem{Text: "id: is not 16 hexadecimal digits", Hint: restore}
	case (f.Key == "") == (f.Wrapped == ""):
		return nil, fault.Problem{Text: "key: has to be there, or wrapped, and not both", Hint: restore}
	}
	k.id = keyID(id)
	if old := before.find(k.id); old != nil && f.Wrapped != "" && old.wrapped == f.Wrapped {
		return old, nil
	}
	text := f.Key + f.Wrapped
	secret, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fault.Problem{Text: "key: is not base64", Hint: restore}
	}
	if f.Wrapped != "" {
		if secret, err = r.unwrap(ctx, secret); err != nil {
			return nil, err
		}
	}
	switch {
	case len(secret) != dataKeySize:
		return nil, fault.Problem{Text: fmt.Sprintf("key: has %d bytes, needs %d", len(secret), dataKeySize), Hint: restore}
	case distinct(secret) < dataKeySize/4:
		return nil, fault.Problem{Text: "key: is not random", Hint: restore}
	}
	k.secret = [dataKeySize]byte(secret)
	return k, nil
}

func (r *Ring) unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	w := r.o.Wrapper
	if w == nil {
		return nil, fault.Problem{
			Text: "wrapped: is encrypted, and nothing is configured to unwrap it",
			Hint: "name what wrapped it in the configuration: keyring: { file: ..., wrap: file:PATH or exec:COMMAND }",
		}
	}
	secret, err := w.Unwrap(ctx, wrapped)
	if err != nil {
		return nil, fault.Problem{
			Text: fmt.Sprintf("wrapped: %s does not unwrap it: %v", w, err),
			Hint: "is it the one that wrapped this ring, and is it within reach?",
		}
	}
	return secret, nil
}
