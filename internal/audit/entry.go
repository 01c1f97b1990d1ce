package audit

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Version is the way in which entries are hashed: SHA-256 over the domain, and then each field behind its length, in a
// fixed order. Another way would get another number; entries of all versions stay verifiable.
const Version = 1

// The domains keep a hash of one thing from being taken for that of another.
const (
	chainDomain = "penstock audit chain v1\n"
	entryDomain = "penstock audit entry v1\n"
)

// A Hash is a SHA-256, written in hex.
type Hash [sha256.Size]byte

// String is the hash in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(h) {
		return fmt.Errorf("a hash has %d hex digits, not %d", hex.EncodedLen(len(h)), len(text))
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// An Entry is one act in the chain. Its JSON is the format of exports.
type Entry struct {
	Seq     int64          `json:"seq"`  // counted from 1, without gaps
	Time    time.Time      `json:"time"` // UTC, in microseconds, by the clock of the replica that acted
	Actor   Actor          `json:"actor"`
	Action  Action         `json:"action"`
	Object  string         `json:"object,omitzero"`
	Project string         `json:"project,omitzero"` // id of the project that the object belongs to
	Reason  string         `json:"reason,omitzero"`
	Before  jsontext.Value `json:"before,omitzero"` // the object before the act, as canonical JSON (RFC 8785)
	After   jsontext.Value `json:"after,omitzero"`  // the object after the act
	Version int            `json:"version"`         // of the way in which the entry is hashed
	Prev    Hash           `json:"prev"`            // hash of the entry before; of the empty chain, for the first
	Hash    Hash           `json:"hash"`            // over everything above
}

// NewEntry makes an entry of an act by whoever acts in the context. It has no place in the chain yet: see [Entry.Link].
func NewEntry(ctx context.Context, at time.Time, act Act) (Entry, error) {
	before, err := state(act.Before)
	if err != nil {
		return Entry{}, fmt.Errorf("audit %s of %s: before: %w", act.Action, act.Object, err)
	}
	after, err := state(act.After)
	if err != nil {
		return Entry{}, fmt.Errorf("audit %s of %s: after: %w", act.Action, act.Object, err)
	}
	a := ActorOf(ctx)
	for _, text := range []*string{&a.Key, &a.Name, &a.Prefix, &a.Role, &a.Org, &a.Project, &a.Address, &a.Agent, &a.Request} {
		*text = plain(*text)
	}
	return Entry{
		Time: at.UTC().Truncate(time.Microsecond), Actor: a, Action: act.Action, Object: plain(act.Object), Project: plain(act.Project),
		Reason: plain(act.Reason), Before: before, After: after, Version: Version,
	}, nil
}

// state is a view as canonical JSON, so that whoever reads it elsewhere hashes the same bytes; nil for none.
func state(view any) (jsontext.Value, error) {
	if view == nil {
		return nil, nil
	}
	text, err := json.Marshal(view)
	if err != nil {
		return nil, err
	}
	v := jsontext.Value(text)
	return v, v.Canonicalize()
}

// Genesis is what the first entry of a chain continues.
func Genesis(chain string) Hash {
	h := sha256.New()
	_, _ = h.Write(field([]byte(chainDomain), chain)) // a hash takes everything
	return Hash(h.Sum(nil))
}

// Link gives the entry the place behind head, and returns the head that it is then.
func (e *Entry) Link(head Head) Head {
	e.Seq, e.Prev = head.Seq+1, head.Hash
	e.Hash = e.sum()
	return Head{Chain: head.Chain, Seq: e.Seq, Hash: e.Hash}
}

// sum is the hash that the entry should have.
func (e *Entry) sum() Hash {
	b := append(make([]byte, 0, 1024+len(e.Before)+len(e.After)), entryDomain...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Version))
	b = append(b, e.Prev[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Seq))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixMicro()))
	a := &e.Actor
	for _, text := range [...]string{
		a.Key, a.Name, a.Prefix, a.Role, a.Org, a.Project, a.Address, a.Agent, a.Request,
		string(e.Action), e.Object, e.Project, e.Reason,
	} {
		b = field(b, text)
	}
	b = field(b, e.Before)
	b = field(b, e.After)
	return sha256.Sum256(b)
}

// field appends a text behind its length, so that no two lists of fields are the same bytes.
func field[T string | jsontext.Value](b []byte, text T) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(text))), text...)
}
