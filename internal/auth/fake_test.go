package auth

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

// memory is a Store in memory. before, if set, runs at the start of each method and may fail it; it must be set with
// break.
type memory struct {
	mu       sync.Mutex
	before   func(ctx context.Context, method string) error
	version  int64
	projects map[string]Project
	keys     map[string]Key
	admin    Hash
	ring     string
}

var _ Store = (*memory)(nil)

func newMemory() *memory { return &memory{projects: map[string]Project{}, keys: map[string]Key{}} }

func (m *memory) breakWith(f func(ctx context.Context, method string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = f
}

// enter holds the lock; leave it with the function returned.
func (m *memory) enter(ctx context.Context, method string) (leave func(), err error) {
	m.mu.Lock()
	before := m.before
	m.mu.Unlock()
	if before != nil {
		if err := before(ctx, method); err != nil {
			return func() {}, err
		}
	}
	m.mu.Lock()
	return m.mu.Unlock, ctx.Err()
}

func (m *memory) CreateProject(ctx context.Context, p Project) error {
	leave, err := m.enter(ctx, "CreateProject")
	defer leave()
	if err != nil {
		return err
	}
	for _, q := range m.projects {
		if q.Org == p.Org && q.Name == p.Name {
			return fault.New(fault.AlreadyThere, "project %q", p.Name)
		}
	}
	m.projects[p.ID] = p
	m.version++
	return nil
}

func (m *memory) UpdateProject(ctx context.Context, id string, change func(*Project) error) (Project, error) {
	leave, err := m.enter(ctx, "UpdateProject")
	defer leave()
	if err != nil {
		return Project{}, err
	}
	p, ok := m.projects[id]
	if !ok {
		return Project{}, fault.New(fault.NotThere, "project %q", id)
	}
	if err := change(&p); err != nil {
		return Project{}, err
	}
	m.projects[id] = p
	m.version++
	return p, nil
}

func (m *memory) Projects(ctx context.Context, _ string, _ int) ([]Project, error) {
	leave, err := m.enter(ctx, "Projects")
	defer leave()
	return slices.Collect(maps.Values(m.projects)), err
}

func (m *memory) FindProject(ctx context.Context, org, nameOrID string) (Project, error) {
	leave, err := m.enter(ctx, "FindProject")
	defer leave()
	if err != nil {
		return Project{}, err
	}
	for _, p := range m.projects {
		if p.ID == nameOrID || p.Name == nameOrID && (org == "" || p.Org == org) {
			return p, nil
		}
	}
	return Project{}, fault.New(fault.NotThere, "no project %q", nameOrID)
}

func (m *memory) CreateKey(ctx context.Context, k Key) error {
	leave, err := m.enter(ctx, "CreateKey")
	defer leave()
	if err != nil {
		return err
	}
	for _, other := range m.keys {
		if other.Project == k.Project && other.Name == k.Name && other.Revoked.IsZero() {
			return fault.New(fault.AlreadyThere, "key %q", k.Name)
		}
	}
	m.keys[k.ID] = k
	m.version++
	return nil
}

func (m *memory) UpdateKey(ctx context.Context, id string, change func(*Key) error) (Key, error) {
	leave, err := m.enter(ctx, "UpdateKey")
	defer leave()
	if err != nil {
		return Key{}, err
	}
	k, ok := m.keys[id]
	if !ok {
		return Key{}, fault.New(fault.NotThere, "key %q", id)
	}
	if err := change(&k); err != nil {
		return Key{}, err
	}
	m.keys[id] = k
	m.version++
	return k, nil
}

func (m *memory) RevokeKey(ctx context.Context, id string, at time.Time) (Key, error) {
	leave, err := m.enter(ctx, "RevokeKey")
	defer leave()
	if err != nil {
		return Key{}, err
	}
	k := m.keys[id]
	if k.Revoked.IsZero() || at.Before(k.Revoked) {
		k.Revoked = at
		m.keys[id] = k
		m.version++
	}
	return k, nil
}

func (m *memory) RotateKey(ctx context.Context, oldID string, at time.Time, next Key) error {
	leave, err := m.enter(ctx, "RotateKey")
	defer leave()
	if err != nil {
		return err
	}
	old := m.keys[oldID]
	if !old.Revoked.IsZero() {
		return fault.New(fault.AlreadyThere, "key %q was rotated or revoked", oldID)
	}
	old.Revoked = at
	m.keys[oldID], m.keys[next.ID] = old, next
	m.version++
	return nil
}

func (m *memory) Keys(ctx context.Context, _, _ string, _ int) ([]Key, error) {
	leave, err := m.enter(ctx, "Keys")
	defer leave()
	return slices.SortedFunc(maps.Values(m.keys), func(a, b Key) int { return cmp.Compare(a.ID, b.ID) }), err
}

func (m *memory) FindKey(ctx context.Context, id string) (Key, error) {
	leave, err := m.enter(ctx, "FindKey")
	defer leave()
	if err != nil {
		return Key{}, err
	}
	k, ok := m.keys[id]
	if !ok {
		return Key{}, fault.New(fault.NotThere, "no key %q", id)
	}
	return k, nil
}

func (m *memory) TouchKeys(ctx context.Context, lastUsed map[string]time.Time) error {
	leave, err := m.enter(ctx, "TouchKeys")
	defer leave()
	if err != nil {
		return err
	}
	for id, at := range lastUsed {
		k := m.keys[id]
		k.LastUsed = at
		m.keys[id] = k
	}
	return nil
}

func (m *memory) KeyVersion(ctx context.Context) (int64, error) {
	leave, err := m.enter(ctx, "KeyVersion")
	defer leave()
	return m.version, err
}

func (m *memory) AllKeys(ctx context.Context) (int64, []Project, []Key, error) {
	leave, err := m.enter(ctx, "AllKeys")
	defer leave()
	return m.version, slices.Collect(maps.Values(m.projects)), slices.Collect(maps.Values(m.keys)), err
}

func (m *memory) AdminKeyHash(ctx context.Context, fresh Hash) (Hash, bool, error) {
	leave, err := m.enter(ctx, "AdminKeyHash")
	defer leave()
	if err != nil {
		return Hash{}, false, err
	}
	created := m.admin == Hash{} && fresh != Hash{}
	if created {
		m.admin = fresh
	}
	return m.admin, created, nil
}

func (m *memory) RingID(ctx context.Context, fresh string) (string, error) {
	leave, err := m.enter(ctx, "RingID")
	defer leave()
	if err != nil {
		return "", err
	}
	if m.ring == "" {
		m.ring = fresh
	}
	return m.ring, nil
}

func newRing(t testing.TB) *seal.Ring {
	t.Helper()
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

var quiet = slog.New(slog.DiscardHandler)

// fixture is one replica on a store: its service and its keys.
type fixture struct {
	store *memory
	keys  *Keys
	*Service
}

// setup makes a first replica, with the project "checkout" in it.
func setup(t testing.TB) *fixture {
	t.Helper()
	f := join(t, newMemory(), newRing(t))
	if _, err := f.CreateProject(t.Context(), ProjectSpec{Name: "checkout"}); err != nil {
		t.Fatal(err)
	}
	return f
}

// join makes a further replica on a store.
func join(t testing.TB, store *memory, ring *seal.Ring) *fixture {
	t.Helper()
	keys := NewKeys(store, ring, quiet, KeysOptions{})
	if err := keys.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return &fixture{store, keys, &Service{Store: store, Ring: ring, Keys: keys}}
}

// issue makes a key of checkout and gives its text.
func (f *fixture) issueKey(t testing.TB, spec KeySpec) (Key, string) {
	t.Helper()
	spec.Project = "checkout"
	made, err := f.CreateKey(t.Context(), RoleAdmin, spec)
	if err != nil {
		t.Fatal(err)
	}
	return made.Key, made.Secret.Reveal()
}

// wantFault fails the test unless err is a fault of the code.
func wantFault(t testing.TB, err error, code fault.Code) {
	t.Helper()
	_ = faultOf(t, err, code)
}

// faultOf is wantFault for those who look at the fault.
func faultOf(t testing.TB, err error, code fault.Code) *fault.Error {
	t.Helper()
	if err == nil || fault.From(err).Code != code {
		t.Fatalf("got %v, want a fault %s", err, code)
	}
	return fault.From(err)
}
