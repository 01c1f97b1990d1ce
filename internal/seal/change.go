package seal

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// EnsureKey adds a data key to a ring that has none. Replicas may do it at the same time: one of them adds it, and all have
// the same. Errors are [fault.Problem], as where the file cannot be written; then the ring hashes and seals nothing.
func (r *Ring) EnsureKey(ctx context.Context) error {
	if r.keys.Load().current() != nil {
		return nil
	}
	return r.change(ctx, func(f *ringFile, now *content) (bool, error) {
		if len(now.keys) > 0 {
			return false, nil
		}
		return true, now.lock.add(f, newDataKey(time.Time{}))
	}, nothing)
}

// Rotate adds a data key to the file, which seals from now on, or from a later instant on, so that copies of the file can be
// handed out first; all others stay, for unsealing. Other processes take it over within a second ([Ring.Run]). record is
// called when all is ready: if it fails, nothing has changed. Errors are [fault.Problem], a [*SealedError], or record's.
func (r *Ring) Rotate(ctx context.Context, from time.Time, record func(context.Context, Key) error) (Key, error) {
	key := newDataKey(from)
	public := key.public(key.from.IsZero())
	err := r.change(ctx, func(f *ringFile, now *content) (bool, error) {
		if len(now.keys) >= maxKeys {
			return false, fault.Problem{Path: r.path, Text: fmt.Sprintf("has %d data keys, limit %d", len(now.keys), maxKeys)}
		}
		return true, now.lock.add(f, key)
	}, func() error { return record(ctx, public) })
	return public, err
}

// maxKeys keeps a file within maxPrivate, with room for its wraps.
const maxKeys = 200

// nothing is what happens before a change that needs no record.
func nothing() error { return nil }

// change changes the file under its lock, and takes over what it has become. change says whether there is something to
// write; commit is called just before it is in force, and may still prevent it.
func (r *Ring) change(ctx context.Context, change func(*ringFile, *content) (bool, error), commit func() error) error {
	if err := r.enter(ctx); err != nil {
		return err
	}
	defer r.leave()
	path, free, err := lockFile(r.path)
	if err != nil {
		return gone(r.path, err)
	}
	defer free()
	sweep(path)
	text, err := ReadPrivate(path)
	if err != nil {
		return gone(r.path, err)
	}
	f, err := parse(r.path, text)
	if err != nil {
		return err
	}
	now, err := r.open(ctx, f)
	if err != nil {
		return err
	}
	write, err := change(f, now)
	if err != nil {
		return err
	}
	if write {
		if text, err = encode(f); err != nil {
			return err
		}
		proof := func(text []byte) error { _, err := prove(ctx, r.path, text, now.lock, nil); return err }
		if err := replace(path, text, proof, commit); err != nil {
			return err
		}
		if now, err = r.open(ctx, f); err != nil {
			return err
		}
	}
	r.adopt(now.keySet, text)
	return nil
}

// open reads the secrets of a file, and makes sure that it is still this ring.
func (r *Ring) open(ctx context.Context, f *ringFile) (*content, error) {
	if f.ID != r.id {
		return nil, r.other()
	}
	c, err := open(ctx, r.path, f, r.keys.Load().lock, r.o.Wrapper)
	if err == nil && sha256.Sum256(c.pepper) != r.pepper {
		err = r.other()
	}
	if err == nil {
		err = r.lacks(c.keySet)
	}
	return c, err
}

// lacks refuses a file without a data key that is known: data keys are never taken away, so it is an older copy, and this
// process may be the last to know what opens what was sealed since.
func (r *Ring) lacks(set *keySet) error {
	for _, known := range r.keys.Load().keys {
		if !slices.ContainsFunc(set.keys, func(k *dataKey) bool { return k.id == known.id }) {
			return fault.Problem{
				Path: r.path, Text: fmt.Sprintf("lacks the data key %s, which is in use: it is an older copy", known.id),
				Hint: "put the newest copy back, from another replica or a backup of the file; until then do not restart this process",
			}
		}
	}
	return nil
}

func (r *Ring) other() error {
	return &OtherRingError{fault.Problem{
		Path: r.path, Text: fmt.Sprintf("has become another key ring than %s, which this process began with", r.id), Hint: restore,
	}}
}

// An OtherRingError says that the file holds another ring than the process began with.
type OtherRingError struct{ fault.Problem }

// Unwrap gives the [fault.Problem].
func (e *OtherRingError) Unwrap() error { return e.Problem }

// gone puts words to a file that is not there any more.
func gone(path string, err error) error {
	if problem := new(fault.Problem); errors.As(err, problem) {
		return err
	}
	return fault.Problem{Path: path, Text: "is not there any more", Hint: restore}
}

// sweep removes what a process that was killed while it changed the file has left beside it, for that holds what the ring
// holds. Whoever changes the file at the moment has its lock, and so is not disturbed; who makes a first one is, if that
// takes a minute.
func sweep(path string) {
	left, _ := filepath.Glob(path + ".new*") // the pattern is good, or the path has a [ in it and nothing is found
	for _, name := range left {
		if info, err := os.Lstat(name); err == nil && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(name) // another time
		}
	}
}

// prove reads a text as a process that starts would, or, with a known lock, as one that runs.
func prove(ctx context.Context, path string, text []byte, known *lock, w Wrapper) (*content, error) {
	f, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	return open(ctx, path, f, known, w)
}

// A Rewrapping says how a ring's own key is to be wrapped.
type Rewrapping struct {
	From Wrapper // what unwraps the file as it is; nil if it is in clear
	To   Wrapper // what wraps it then; nil puts all in clear
	Add  bool    // what wraps it now goes on to: for a change without a moment in which a start fails
}

// String names what shall wrap the ring, "" if nothing.
func (r Rewrapping) String() string {
	if r.To == nil {
		return ""
	}
	return r.To.String()
}

// Rewrap changes what wraps the ring at path. Data keys and pepper stay, so nothing in the store has to be sealed anew;
// without Add, the key that they are encrypted under is a new one. The file is in the place of the old one only when what
// lies on the disk has been read back and opened; whenever the process ends, there is the one or the other. Errors are
// [fault.Problem], a [*SealedError], or match [fs.ErrNotExist].
func Rewrap(ctx context.Context, path string, how Rewrapping) (Status, error) {
	place, free, err := lockFile(path)
	if err != nil {
		return Status{}, err
	}
	defer free()
	sweep(place)
	text, err := ReadPrivate(place)
	if err != nil {
		return Status{}, err
	}
	f, err := parse(path, text)
	if err != nil {
		return Status{}, err
	}
	old, err := open(ctx, path, f, nil, how.From)
	if err != nil {
		return Status{}, err
	}
	next := &content{pepper: old.pepper, keySet: &keySet{keys: old.keys}}
	switch {
	case how.To == nil:
	case how.Add && old.lock != nil:
		next.lock = &lock{secret: old.lock.secret, wraps: old.lock.wraps}
		err = next.lock.wrap(ctx, f.ID, how.To)
	default:
		next.lock, err = newLock(ctx, f.ID, how.To)
	}
	if err != nil {
		return Status{}, inFile(path, err)
	}
	if err := next.write(f); err != nil {
		return Status{}, err
	}
	if text, err = encode(f); err != nil {
		return Status{}, err
	}
	proof := func(text []byte) error {
		again, err := prove(ctx, path, text, nil, how.To)
		if err == nil && !again.equal(old) {
			err = fault.Problem{Path: path, Text: "is not read back as it was written; nothing was changed", Hint: "look at the disk"}
		}
		return err
	}
	if err := replace(place, text, proof, nothing); err != nil {
		return Status{}, err
	}
	return statusOf(path, f), nil
}
