package seal

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/fault"
)

// ringFile is the JSON of a ring on disk. It has its secrets in clear, or encrypted under the ring's own key, which then is
// there once for each wrapper that can give it. Rings of the first version have no data keys.
type ringFile struct {
	ID           string     `json:"id"`
	Created      time.Time  `json:"created"`
	Wraps        []wrapFile `json:"wraps,omitempty"`         // none: all is in clear
	Pepper       string     `json:"pepper,omitempty"`        // base64
	SealedPepper string     `json:"sealed_pepper,omitempty"` // base64, under the ring's own key
	Keys         []keyFile  `json:"keys,omitempty"`          // the oldest first
}

// keyFile is a data key on disk: one of Key and Sealed is there.
type keyFile struct {
	ID      string    `json:"id"` // hexadecimal
	Created time.Time `json:"created"`
	From    time.Time `json:"from,omitzero"`    // when it begins to seal; zero: at once
	Key     string    `json:"key,omitempty"`    // base64
	Sealed  string    `json:"sealed,omitempty"` // base64, under the ring's own key
}

// wrapFile is the ring's own key as one wrapper has encrypted it.
type wrapFile struct {
	By      string    `json:"by"` // as the configuration names the wrapper
	Created time.Time `json:"created"`
	Key     string    `json:"key"` // base64
}

// maxWraps bounds what a file may make us try.
const maxWraps = 8

// Open is Load without a wrapper and without a log.
func Open(path string) (ring *Ring, created bool, err error) {
	return Load(context.Background(), path, Options{})
}

// Load reads the ring at path, or makes a new one there if there is none; created says which. Errors are
// [fault.Problem] or a [*SealedError]: a ring is refused if others than its owner and group may read it, or others than its
// owner may write it (a mounted secret may be group readable), if a secret in it is short, empty or plainly not random, if
// it has members that this version does not know, and if it is wrapped and cannot be unwrapped.
func Load(ctx context.Context, path string, o Options) (ring *Ring, created bool, err error) {
	o = o.withDefaults()
	text, err := ReadPrivate(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = create(ctx, path, o.Wrapper)
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
	f, err := parse(path, text)
	if err != nil {
		return nil, false, err
	}
	c, err := open(ctx, path, f, nil, o.Wrapper)
	if err != nil {
		return nil, false, err
	}
	ring = newRing(f.ID, c.pepper)
	ring.path, ring.o, ring.created = path, o, f.Created
	ring.adopt(c.keySet, text)
	return ring, created, ring.measure()
}

func create(ctx context.Context, path string, w Wrapper) error {
	now := time.Now().UTC().Truncate(time.Second)
	id, err := ulid.New(ulid.Timestamp(now), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a ring id: %w", err)
	}
	c := &content{keySet: &keySet{keys: []*dataKey{newDataKey(now)}}, pepper: make([]byte, pepperSize)}
	_, _ = rand.Read(c.pepper) // ends the process rather than fail
	f := &ringFile{ID: "ring_" + id.String(), Created: now}
	if w != nil {
		if c.lock, err = newLock(ctx, f.ID, w); err != nil {
			return inFile(path, err)
		}
	}
	if err := c.write(f); err != nil {
		return err
	}
	text, err := encode(f)
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
	if len(text) >= maxPrivate { // it could not be read again
		return nil, fmt.Errorf("the key ring would have %d bytes, limit %d: the wraps are too long", len(text), maxPrivate)
	}
	return append(text, '\n'), nil
}

// restore is what helps against every unusable ring: a new one would make all keys in the store unknown.
const restore = "put the key ring back from its backup; a new one would make all existing keys unknown"

// parse reads a ring's text and checks all of it that can be seen without unwrapping it.
func parse(path string, text []byte) (*ringFile, error) {
	var f ringFile
	problem := func(format string, args ...any) (*ringFile, error) {
		return nil, fault.Problem{Path: path, Text: fmt.Sprintf(format, args...), Hint: restore}
	}
	if err := json.Unmarshal(text, &f, json.RejectUnknownMembers(true)); err != nil {
		return problem("is not a key ring: %s", reason(err))
	}
	wrapped := len(f.Wraps) > 0
	switch {
	case f.ID == "":
		return problem("id: is empty")
	case len(f.Wraps) > maxWraps:
		return problem("wraps: there are %d, limit %d", len(f.Wraps), maxWraps)
	case wrapped && (f.Pepper != "" || f.SealedPepper == ""):
		return problem("sealed_pepper: a wrapped ring has it, and no pepper")
	case !wrapped && f.SealedPepper != "":
		return problem("wraps: there are none, and the pepper is sealed")
	}
	for i, w := range f.Wraps {
		if _, err := base64.StdEncoding.DecodeString(w.Key); err != nil || w.Key == "" {
			return problem("wraps[%d].key: is not base64", i)
		}
	}
	seen := map[string]bool{}
	for i, k := range f.Keys {
		id, err := hex.DecodeString(k.ID)
		switch {
		case err != nil || len(id) != len(keyID{}):
			return problem("keys[%d].id: is not 16 hexadecimal digits", i)
		case seen[k.ID]:
			return problem("keys[%d].id: is there twice", i)
		case wrapped && (k.Sealed == "" || k.Key != ""):
			return problem("keys[%d].sealed: a wrapped ring has it, and no key", i)
		case !wrapped && (k.Key == "" || k.Sealed != ""):
			return problem("keys[%d].key: a ring that is not wrapped has it, and nothing sealed", i)
		}
		seen[k.ID] = true
	}
	return &f, nil
}

// checkSecret says what is wrong with a secret of a ring, "" if nothing is.
func checkSecret(secret []byte, least, most int) string {
	switch {
	case len(secret) < least:
		return fmt.Sprintf("has %d bytes, needs %d", len(secret), least)
	case len(secret) > most:
		return fmt.Sprintf("has %d bytes, at most %d are used", len(secret), most)
	case distinct(secret) < least/4:
		return "is not random"
	}
	return ""
}

func checkPepper(pepper []byte) string { return checkSecret(pepper, pepperSize, sha256.BlockSize) }

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
