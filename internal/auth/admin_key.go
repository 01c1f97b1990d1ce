package auth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// An AdminKeyFile says how the admin key's file stands to the store.
type AdminKeyFile int

// What EnsureAdminKey can find.
const (
	// AdminKeyMade: the store had no admin key; the one in the file is it now.
	AdminKeyMade AdminKeyFile = iota
	// AdminKeyThere: the file holds the store's admin key.
	AdminKeyThere
	// AdminKeyElsewhere: the store has an admin key, and there is no file here, as on every replica but the first.
	AdminKeyElsewhere
	// AdminKeyOther: the file holds another key than the store's admin key, so commands that read it will be refused.
	AdminKeyOther
)

// EnsureAdminKey makes the first admin key, if the store knows of none, and writes it to the file at path (mode 0600, the
// key and a newline). The file comes first, so that a crash in between leaves a key that the next start takes up, and
// never a store that nobody has the key of.
func EnsureAdminKey(ctx context.Context, store Store, ring *seal.Ring, path string) (AdminKeyFile, error) {
	kept, _, err := store.AdminKeyHash(ctx, Hash{})
	if err != nil {
		return 0, fmt.Errorf("read the admin key's hash: %w", err)
	}
	key, err := readAdminKey(path)
	missing := errors.Is(err, fs.ErrNotExist)
	switch {
	case err != nil && !missing:
		return 0, err
	case kept != Hash{} && missing:
		return AdminKeyElsewhere, nil
	case kept != Hash{}:
		return compare(kept, ring.Hash(key)), nil
	case missing:
		key, _ = NewKey()
		err := seal.CreatePrivate(path, []byte(key+"\n"))
		if errors.Is(err, fs.ErrExist) { // another process on this directory was quicker
			key, err = readAdminKey(path)
		}
		if err != nil {
			return 0, err
		}
	}
	kept, created, err := store.AdminKeyHash(ctx, ring.Hash(key))
	switch {
	case err != nil:
		return 0, fmt.Errorf("write the admin key's hash: %w", err)
	case created:
		return AdminKeyMade, nil
	case missing && compare(kept, ring.Hash(key)) == AdminKeyOther: // a replica was quicker, so ours opens nothing
		return AdminKeyElsewhere, os.Remove(path)
	}
	return compare(kept, ring.Hash(key)), nil
}

func compare(kept, have Hash) AdminKeyFile {
	if subtle.ConstantTimeCompare(kept[:], have[:]) == 1 {
		return AdminKeyThere
	}
	return AdminKeyOther
}

// readAdminKey reads a key from its file. Errors are as for [seal.ReadPrivate].
func readAdminKey(path string) (string, error) {
	text, err := seal.ReadPrivate(path)
	if err != nil {
		return "", err
	}
	key := strings.TrimSpace(string(text))
	if checkForm(key) != nil {
		return "", fault.Problem{Path: path, Text: "holds no key", Hint: "put the admin key back; if the store is new, remove the file and a key is made"}
	}
	return key, nil
}

// CheckRing makes sure that the store belongs to the key ring that was read from path; a new store takes it as its
// own. A ring that is another one is a [*WrongRingError].
func CheckRing(ctx context.Context, store Store, ring *seal.Ring, path string) error {
	kept, err := store.RingID(ctx, ring.ID())
	if err != nil {
		return fmt.Errorf("read the key ring's id: %w", err)
	}
	if kept != ring.ID() {
		return &WrongRingError{fault.Problem{
			Path: path,
			Text: fmt.Sprintf("is key ring %s, but the store belongs to key ring %s", ring.ID(), kept),
			Hint: "put that ring's file here, or name the store that belongs to this one; with the wrong ring no key would be known",
		}}
	}
	return nil
}

// A WrongRingError says that a store belongs to another key ring.
type WrongRingError struct{ fault.Problem }

// Unwrap gives the [fault.Problem].
func (e *WrongRingError) Unwrap() error { return e.Problem }
