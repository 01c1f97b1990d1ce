package auth

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/fresh"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/seal"
)

// KeysOptions are the times of a [Keys]; zero fields take the defaults.
type KeysOptions struct {
	MaxStale time.Duration // see Config; 5 s
	Poll     time.Duration // between two looks at the store's version; 1 s
	Write    time.Duration // between two writings of times of last use; 10 s
	// Now is civil time, against which keys expire. Everything else here is measured by the monotonic clock.
	Now func() time.Time
}

// Keys checks presented keys against a snapshot of all keys in memory, so that no request waits for the store. A change
// is known here after Poll; when the store does not answer, all keys are refused MaxStale after the last good read.
type Keys struct {
	store Store
	ring  *seal.Ring
	log   *slog.Logger
	o     KeysOptions

	snapshot *fresh.Copy[snapshot]

	mu   sync.Mutex // guards the field below, and use.written; never held while the store works
	used map[string]*use
}

// A snapshot is all keys of one version of the store. It is immutable but for the times of last use.
type snapshot struct {
	byHash map[Hash]*entry
	byID   map[string]*entry // those that have business at the control plane, for sessions of the console
	names  map[string]string // of projects and keys, by their ids
}

type entry struct {
	grant Grant
	use   *use // nil for the admin key
}

// A use is when a key was last used, in microseconds since 1970; 0 if it was not since this process began.
type use struct {
	at      atomic.Int64
	written int64 // the one that the store knows of; guarded by Keys.mu
}

// touch notes a use. Uses less than a second apart count as one, so that a busy key is not written at every call.
func (u *use) touch(now time.Time) {
	if at := now.UnixMicro(); at-u.at.Load() >= int64(time.Second/time.Microsecond) {
		u.at.Store(at)
	}
}

// NewKeys makes a Keys that refuses all keys until its first Refresh.
func NewKeys(store Store, ring *seal.Ring, log *slog.Logger, o KeysOptions) *Keys {
	if o.MaxStale == 0 {
		o.MaxStale = DefaultConfig().MaxStale
	}
	if o.Write == 0 {
		o.Write = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	k := &Keys{store: store, ring: ring, log: log, o: o, used: map[string]*use{}}
	k.snapshot = fresh.New(fresh.Options[snapshot]{
		What: "keys", Version: store.KeyVersion, Read: k.read, Log: log, MaxStale: o.MaxStale, Poll: o.Poll,
	}, nil)
	return k
}

// Check finds out whom a key that came with a call belongs to. Whether its role may do what is asked is for the caller of
// Check. Errors are the faults InvalidAPIKey; NotAllowed for the admin key, which makes no calls; and KeysUnavailable if
// the store has not answered for too long, never InvalidAPIKey then.
func (k *Keys) Check(presented string) (*Grant, error) {
	e, err := k.find(presented)
	if err != nil {
		return nil, err
	}
	if e.use == nil {
		return nil, fault.New(fault.NotAllowed, "This is the admin key, which works on the control plane only. "+
			"A key for calls is made with: penstock key create --project NAME")
	}
	return &e.grant, nil
}

// CheckAdmin finds out who is at the control plane: the holder of the admin key, or of a key with a role that has any
// business there. Errors are as for Check.
func (k *Keys) CheckAdmin(presented string) (*Grant, error) {
	e, err := k.find(presented)
	if err != nil {
		return nil, err
	}
	if e.grant.Key.Role == RoleCaller {
		return nil, fault.New(fault.NotAllowed, "Key %s has the role caller, which is for calls to models only. "+
			"An admin makes keys for the control plane with: penstock key create --project NAME --role viewer", e.grant.Key.Prefix)
	}
	return &e.grant, nil
}

// Holder finds the holder of a key for the control plane by the key's id: whoever showed the key before and now shows a
// session that was made of it. Who asks must have proof that the key was shown, and that it had the grant's hash then.
// Errors are the faults InvalidAPIKey, if the key is gone, revoked or expired, and KeysUnavailable as for Check.
func (k *Keys) Holder(id string) (*Grant, error) {
	if !k.snapshot.Ready() {
		return nil, k.stale()
	}
	e := k.snapshot.Load().byID[id]
	if e == nil || e.use != nil && !e.grant.Key.Live(k.o.Now()) {
		return nil, fault.New(fault.InvalidAPIKey, "The key of this session was revoked, or has expired.")
	}
	if e.use != nil {
		e.use.touch(k.o.Now())
	}
	return &e.grant, nil
}

// Name is the name of a project or key, by its id; the id itself if it is not known here.
func (k *Keys) Name(id string) string {
	if s := k.snapshot.Load(); s != nil && s.names[id] != "" {
		return s.names[id]
	}
	return id
}

// find does the same work for every well-formed key, known or not; what is not well formed costs less than that.
func (k *Keys) find(presented string) (*entry, error) {
	if err := checkForm(presented); err != nil {
		return nil, err
	}
	if !k.snapshot.Ready() {
		return nil, k.stale()
	}
	e := k.snapshot.Load().byHash[k.ring.Hash(presented)]
	if e == nil {
		return nil, unknown(presented)
	}
	if e.use == nil {
		return e, nil
	}
	now := k.o.Now()
	if !e.grant.Key.Live(now) {
		return nil, dead(e.grant.Key, now, presented)
	}
	e.use.touch(now)
	return e, nil
}

// checkForm refuses what cannot be a key before anything is computed from it, and quotes nothing of it.
func checkForm(presented string) error {
	if n := len(presented); n < minKeyLen || n > maxKeyLen {
		return fault.New(fault.InvalidAPIKey, "What was sent as the key is no key: it has %d characters; keys have %d to %d.", n, minKeyLen, maxKeyLen)
	}
	if i := malformed(presented); i >= 0 {
		return fault.New(fault.InvalidAPIKey, "What was sent as the key is no key: its character %d is not a letter, digit or one of -._~+/=.", i+1)
	}
	return nil
}

func unknown(presented string) error {
	return fault.New(fault.InvalidAPIKey, "No key %s exists here, or it was revoked.", shown(presented))
}

// dead says why a key that is known does not work. The one who is told holds the key.
func dead(key *Key, now time.Time, presented string) error {
	if key.Revoked.IsZero() || now.Before(key.Revoked) {
		return fault.New(fault.InvalidAPIKey, "Key %s expired %s.", shown(presented), instant(key.Expires))
	}
	return unknown(presented)
}

func (k *Keys) stale() error {
	since := "yet"
	if age, read := k.snapshot.Age(); read {
		since = "for " + age.Round(time.Second).String()
	}
	f := fault.New(fault.KeysUnavailable, "Keys cannot be checked: the store has not answered %s.", since)
	f.RetryAfter = 2 * time.Second
	return f
}

// Ready reports whether keys can be checked at the moment.
func (k *Keys) Ready() bool { return k.snapshot.Ready() }

// adminID stands for the admin key where other keys have an id.
const adminID = "admin"

// newSnapshot indexes all keys. Times of last use live on from one snapshot to the next.
func newSnapshot(projects []Project, keys []Key, admin Hash, used map[string]*use) *snapshot {
	owner := make(map[string]*Project, len(projects))
	for i := range projects {
		owner[projects[i].ID] = &projects[i]
	}
	s := &snapshot{byHash: make(map[Hash]*entry, len(keys)+1), byID: map[string]*entry{}}
	s.names = make(map[string]string, len(projects)+len(keys)+1)
	for i := range projects {
		s.names[projects[i].ID] = projects[i].Name
	}
	replaces := map[string]string{}
	for i := range keys {
		replaces[keys[i].ID] = keys[i].Replaces
	}
	for i := range keys {
		key := &keys[i]
		p := owner[key.Project]
		if p == nil {
			continue // a key without a project belongs to nobody
		}
		if used[key.ID] == nil {
			used[key.ID] = &use{}
		}
		e := &entry{use: used[key.ID], grant: Grant{Key: key, Caller: &pipeline.Caller{
			Org: p.Org, Project: p.ID, Key: key.ID, ProjectName: p.Name, KeyName: key.Name, KeyPrefix: key.Prefix, Strict: p.Strict,
			KeepBodies: p.Bodies == BodiesKeep, Stateless: p.Stateless, Labels: p.Labels, Regions: p.Regions, PrivateOnly: p.PrivateOnly,
			FirstKey: firstKey(len(keys), key.ID, func(id string) string { return replaces[id] }),
		}}}
		s.byHash[key.Hash], s.names[key.ID] = e, key.Name
		if key.Role != RoleCaller {
			s.byID[key.ID] = e
		}
	}
	if admin != (Hash{}) {
		e := &entry{grant: Grant{
			Key:    &Key{ID: adminID, Name: "admin key", Prefix: keyStart, Hash: admin, Role: RoleAdmin},
			Caller: &pipeline.Caller{Key: adminID, FirstKey: adminID, KeyName: "admin key", KeyPrefix: keyStart},
		}}
		s.byHash[admin], s.byID[adminID], s.names[adminID] = e, e, e.grant.Key.Name
	}
	return s
}
