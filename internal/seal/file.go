package seal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/fault"
)

// ringFile is the JSON of a ring on disk. Rings of the first version have no keys.
type ringFile struct {
	ID      string    `json:"id"`
	Pepper  string    `json:"pepper"` // base64
	Created time.Time `json:"created"`
	Keys    []keyFile `json:"keys,omitempty"` // the oldest first; the last one seals
}

// keyFile is a data key on disk, in clear or wrapped: one of Key and Wrapped is there.
type keyFile struct {
	ID      string    `json:"id"` // hexadecimal
	Created time.Time `json:"created"`
	Key     string    `json:"key,omitempty"`     // base64
	Wrapped string    `json:"wrapped,omitempty"` // base64 of what Options.Wrapper gave
}

// Open is Load without a wrapper and without a log.
func Open(path string) (ring *Ring, created bool, err error) {
	return Load(context.Background(), path, Options{})
}

// Load reads the ring at path, or makes a new one there if there is none; created says which. Errors are
// [fault.Problem]: a ring is refused if others than its owner and group may read it, or others than its owner may write
// it (a mounted secret may be group readable), if a secret in it is short, empty or plainly not random, if it has
// members that this version does not know, and if a data key in it cannot be unwrapped.
func Load(ctx context.Context, path string, o Options) (ring *Ring, created bool, err error) {
	o = o.withDefaults()
	text, err := ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(ctx, path, o)
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
	f, pepper, err := parse(path, text)
	if err != nil {
		return nil, false, err
	}
	ring = newRing(f.ID, pepper)
	ring.path, ring.o = path, o
	if err := ring.adopt(ctx, f, text); err != nil {
		return nil, false, err
	}
	return ring, created, ring.measure()
}

func create(ctx context.Context, path string, o Options) error {
	var pepper [pepperSize]byte
	_, _ = rand.Read(pepper[:]) // ends the process rather than fail
	now := time.Now().UTC().Truncate(time.Second)
	id, err := ulid.New(ulid.Timestamp(now), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a ring id: %w", err)
	}
	key, err := newKeyFile(ctx, o.Wrapper)
	if err != nil {
		return err
	}
	text, err := encode(&ringFile{
		ID: "ring_" + id.String(), Pepper: base64.StdEncoding.EncodeToString(pepper[:]), Created: now, Keys: []keyFile{key},
	})
	if err != nil {
		return err
	}
	return CreatePrivate(path, text)
}

func encode(f *ringFile) ([]byte, error) {
	text, err := json.Marshal(f, jsontext.Multiline(true))
	if err != nil {
		return nil, fmt.Errorf("encode the key ring: %w", err)
	}
	return append(text, '\n'), nil
}

// restore is what helps against every unusable ring: a new one would make all keys in the store unknown.
const restore = "put the key ring back from its backup; a new one would make all existing keys unknown"

// parse reads a ring's text and checks all of it but its data keys.
func parse(path string, text []byte) (*ringFile, []byte, error) {
	var f ringFile
	problem := func(format string, args ...any) (*ringFile, []byte, error) {
		return nil, nil, fault.Problem{Path: path, Text: fmt.Sprintf(format, args...), Hint: restore}
	}
	if err := json.Unmarshal(text, &f, json.RejectUnknownMembers(true)); err != nil {
		return problem("is not a key ring: %s", reason(err))
	}
	if f.ID == "" {
		return problem("id: is empty")
	}
	pepper, err := base64.StdEncoding.DecodeString(f.Pepper)
	switch {
	case err != nil:
		return problem("pepper: is not base64")
	case len(pepper) < pepperSize:
		return problem("pepper: has %d bytes, needs %d", len(pepper), pepperSize)
	case len(pepper) > sha256.BlockSize:
		return problem("pepper: has %d bytes, at most %d are used", len(pepper), sha256.BlockSize)
	case distinct(pepper) < pepperSize/4:
		return problem("pepper: is not random")
	}
	return &f, pepper, nil
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
