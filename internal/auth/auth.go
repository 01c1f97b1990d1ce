// Package auth says who is calling: organisations, projects, keys and roles, and the check of a presented key against a
// snapshot of all keys in memory.
//
// It does not decide how much a caller may use (limit), and holds no HTTP; admin and gateway call it.
package auth

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/pipeline"
)

// A Project owns keys, records and settings. Names are unique within an organisation.
type Project struct {
	ID        string            `json:"id"`
	Org       string            `json:"org"` // an organisation's name; "default" if none was given
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitempty"`
	Bodies    string            `json:"bodies"`              // "none" or "keep"
	Retention time.Duration     `json:"-"`                   // of bodies; 0 without bodies
	Strict    bool              `json:"strict"`              // intents are synced to disk before dispatch
	Stateless bool              `json:"stateless,omitempty"` // no response is kept that callers could go on from
	// Regions are where the project's calls may go, as globs on the regions of targets; none is anywhere. PrivateOnly keeps
	// them on servers that are marked as one's own.
	Regions     []string  `json:"regions,omitempty"`
	PrivateOnly bool      `json:"private_only,omitempty"`
	Created     time.Time `json:"created"`
}

// A Key is a virtual API key. The key itself is shown once, at creation; only its hash is kept.
type Key struct {
	ID      string
	Project string // id
	Name    string
	Prefix  string // the first characters, safe to show: "psk_7f3a"
	Hash    Hash
	Role    Role
	Models  []string // globs on the asked-for model name, where * stands for anything; none means all
	Created time.Time
	Expires time.Time // zero: never
	Revoked time.Time // zero: not revoked. May lie in the future: a rotated key overlaps
	// Replaces is the id of the key that this one was rotated from, "" if none.
	Replaces string
	LastUsed time.Time // zero: never. Written back in batches, so it may lag by seconds
}

// Hash is HMAC-SHA-256(pepper, SHA-256(key)).
type Hash [32]byte

// Live reports whether the key works at the instant.
func (k *Key) Live(now time.Time) bool {
	return (k.Expires.IsZero() || now.Before(k.Expires)) && (k.Revoked.IsZero() || now.Before(k.Revoked))
}

// MayUse reports whether the key's globs allow the asked-for model name.
func (k *Key) MayUse(model string) bool {
	if len(k.Models) == 0 {
		return true
	}
	for _, glob := range k.Models {
		if match(glob, model) {
			return true
		}
	}
	return false
}

// Store is what auth needs to have kept. Each method is one transaction; a write is durable when it returns. Errors are
// faults AlreadyThere and NotThere where those are meant.
type Store interface {
	// CreateProject makes a project, and its organisation if that is new.
	CreateProject(ctx context.Context, p Project) error
	// UpdateProject lets change work on a project as it is, keeps what comes of it, and returns that; nobody else changes
	// the project in between. Id, organisation and the time of its making stay, whatever change does to them. An error of
	// change is a fault: it is returned as it is, and nothing is kept. change must not call the store, which waits for it.
	UpdateProject(ctx context.Context, id string, change func(*Project) error) (Project, error)
	// Projects lists projects by name behind the one with the given id ("" is from the start), at most limit.
	Projects(ctx context.Context, after string, limit int) ([]Project, error)
	// FindProject finds a project by id, or by name in the organisation ("" is any, if the name is in only one).
	FindProject(ctx context.Context, org, nameOrID string) (Project, error)

	// CreateKey makes a key. Of a project's keys that are not revoked, no two have the same name.
	CreateKey(ctx context.Context, k Key) error
	// UpdateKey is UpdateProject for a key: role, models, name and expiry can change, all else stays.
	UpdateKey(ctx context.Context, id string, change func(*Key) error) (Key, error)
	// RevokeKey sets when the key stops working, if it is not revoked earlier already.
	RevokeKey(ctx context.Context, id string, at time.Time) (Key, error)
	// RotateKey makes next and revokes the old key at the instant given, both or neither. A key is rotated once, and not
	// after it was revoked: a fault AlreadyThere.
	RotateKey(ctx context.Context, oldID string, at time.Time, next Key) error
	// Keys lists keys by id after the given one, at most limit; project "" is all.
	Keys(ctx context.Context, project, after string, limit int) ([]Key, error)
	FindKey(ctx context.Context, id string) (Key, error)
	// TouchKeys moves keys' times of last use forward. It does not raise the version.
	TouchKeys(ctx context.Context, lastUsed map[string]time.Time) error

	// KeyVersion grows with every change of a key or project.
	KeyVersion(ctx context.Context) (int64, error)
	// AllKeys reads everything that a snapshot needs, of one version.
	AllKeys(ctx context.Context) (version int64, projects []Project, keys []Key, err error)

	// AdminKeyHash gives the hash of the first admin key, set to fresh if there is none yet; created says that it was. With
	// a zero fresh it only reads, and a zero kept means that there is none.
	AdminKeyHash(ctx context.Context, fresh Hash) (kept Hash, created bool, err error)
	// RingID gives the id of the key ring that the store belongs to, set to fresh if there is none yet.
	RingID(ctx context.Context, fresh string) (kept string, err error)
}

// A Grant is what a checked key stands for. It is shared and immutable; the key's LastUsed is not kept up to date in it.
type Grant struct {
	Caller *pipeline.Caller
	Key    *Key
}
