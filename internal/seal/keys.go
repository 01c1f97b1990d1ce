package seal

import (
	"crypto/rand"
	"encoding/hex"
	"time"
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
	from    time.Time // when it begins to seal; zero: at once
	secret  [dataKeySize]byte
}

// newDataKey makes a key that seals from an instant on.
func newDataKey(from time.Time) *dataKey {
	k := &dataKey{created: time.Now().UTC().Truncate(time.Second)}
	if from = from.UTC().Truncate(time.Second); from.After(k.created) {
		k.from = from
	}
	_, _ = rand.Read(k.id[:]) // ends the process rather than fail
	_, _ = rand.Read(k.secret[:])
	return k
}

// A keySet is the data keys of a ring at one time, the oldest first. It is immutable.
type keySet struct {
	keys []*dataKey
	lock *lock // nil: the file had all in clear
}

// current is the key that seals: the newest whose time has come. nil if there is none.
func (s *keySet) current() *dataKey {
	for i := len(s.keys) - 1; i >= 0; i-- {
		if k := s.keys[i]; i == 0 || k.from.IsZero() || !time.Now().Before(k.from) {
			return k
		}
	}
	return nil
}

func (s *keySet) find(id keyID) *dataKey {
	for _, k := range s.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// keyID is the id of a key in a parsed file, which is known to be one.
func (f *keyFile) keyID() keyID {
	id, _ := hex.DecodeString(f.ID)
	return keyID(id)
}

// A Key is what may be known of a data key.
type Key struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
	From    time.Time `json:"from,omitzero"` // when it begins to seal, if that was not when it was made
	Current bool      `json:"current"`       // seals what is sealed now; the others only unseal
}

func (k *dataKey) public(current bool) Key {
	return Key{ID: k.id.String(), Created: k.created, From: k.from, Current: current}
}

// Keys lists the data keys, the oldest first.
func (r *Ring) Keys() []Key {
	set := r.keys.Load()
	current, out := set.current(), make([]Key, len(set.keys))
	for i, k := range set.keys {
		out[i] = k.public(k == current)
	}
	return out
}
