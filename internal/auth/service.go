package auth

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/secret"
)

// Whether a project's bodies are kept.
const (
	BodiesNone = "none"
	BodiesKeep = "keep"
)

// DefaultOverlap is how long a rotated key works on if nothing else is said.
const DefaultOverlap = 24 * time.Hour

// DefaultOrg is the organisation of projects that name none.
const DefaultOrg = "default"

// What ids begin with. Names may not, so that whoever names a project or key by either is never misunderstood.
const (
	projectStart = "prj_"
	keyIDStart   = "key_"
)

// A Service makes and changes projects and keys. All errors of its methods that are not faults are the store's.
type Service struct {
	Store Store
	Ring  *seal.Ring
	// Keys is read again after each change, so that this process knows of it at once; the others' polls find it. May be nil.
	Keys *Keys
	Now  func() time.Time // civil time; nil is time.Now
}

// A ProjectSpec says what project to make. Zero fields take the defaults: organisation "default", no bodies, not strict.
type ProjectSpec struct {
	Org, Name string
	Labels    map[string]string
	Bodies    string
	Retention time.Duration
	Strict    bool
	Stateless bool
	// Regions and PrivateOnly are as in [Project].
	Regions     []string
	PrivateOnly bool
}

// CreateProject makes a project, and its organisation if that is new.
func (s *Service) CreateProject(ctx context.Context, spec ProjectSpec) (Project, error) {
	now := s.now()
	p := Project{
		Org: spec.Org, Name: spec.Name, Labels: spec.Labels, Bodies: spec.Bodies, Retention: spec.Retention,
		Strict: spec.Strict, Stateless: spec.Stateless, Regions: spec.Regions, PrivateOnly: spec.PrivateOnly, Created: now,
	}
	if p.Org == "" {
		p.Org = DefaultOrg
	}
	if p.Bodies == "" {
		p.Bodies = BodiesNone
	}
	if err := checkProject(&p); err != nil {
		return Project{}, err
	}
	p.ID = newID(projectStart, now)
	if err := s.Store.CreateProject(ctx, p); err != nil {
		return Project{}, err
	}
	s.changed(ctx)
	return p, nil
}

func checkProject(p *Project) error { return mistakes(p.Mistakes()).fault() }

// A ProjectChange says what to change of a project; nil fields stay as they are. Labels and Regions, where given, replace all.
type ProjectChange struct {
	Name      *string
	Labels    map[string]string
	Bodies    *string
	Retention *time.Duration
	Strict    *bool
	Stateless *bool
	// Regions that are empty, and not nil, are anywhere.
	Regions     []string
	PrivateOnly *bool
}

// Empty reports whether there is nothing to change.
func (c *ProjectChange) Empty() bool {
	return c.Name == nil && c.Labels == nil && c.Bodies == nil && c.Retention == nil && c.Strict == nil && c.Stateless == nil &&
		c.Regions == nil && c.PrivateOnly == nil
}

// apply makes the change. Bodies that are no longer kept have no retention either.
func (c *ProjectChange) apply(p *Project) {
	set(&p.Name, c.Name)
	set(&p.Bodies, c.Bodies)
	if c.Bodies != nil && *c.Bodies == BodiesNone {
		p.Retention = 0
	}
	set(&p.Retention, c.Retention)
	set(&p.Strict, c.Strict)
	set(&p.Stateless, c.Stateless)
	set(&p.PrivateOnly, c.PrivateOnly)
	if c.Regions != nil {
		p.Regions = c.Regions
	}
	if c.Labels != nil {
		p.Labels = c.Labels
	}
}

// UpdateProject changes the project with the given id. Changes at the same time that touch different fields both stand.
func (s *Service) UpdateProject(ctx context.Context, id string, c ProjectChange) (Project, error) {
	p, err := s.Store.UpdateProject(ctx, id, func(p *Project) error {
		c.apply(p)
		return checkProject(p)
	})
	if err != nil {
		return Project{}, err
	}
	s.changed(ctx)
	return p, nil
}

func set[T any](field, to *T) {
	if to != nil {
		*field = *to
	}
}

// A KeySpec says what key to make. Zero fields take the defaults: the role caller, all models, no end, and the key's
// prefix as its name.
type KeySpec struct {
	Project string // id, or name if only one organisation has a project of that name
	Name    string
	Models  []string
	Expires time.Duration // from now
	Role    Role
	// SHA256 takes over a key that another gateway made, by its SHA-256 in 64 hex digits.
	SHA256 string
}

// Issued is a new key. Secret is the key itself: this is the only time that it is known; empty for a key taken over.
type Issued struct {
	Key    Key
	Secret secret.String
}

// CreateKey makes a key on behalf of somebody with the role by, who needs WriteRoles for any role but caller.
func (s *Service) CreateKey(ctx context.Context, by Role, spec KeySpec) (Issued, error) {
	if spec.Role == "" {
		spec.Role = RoleCaller
	}
	var m mistakes
	if spec.Project == "" {
		m.add("project", "is missing", "name the project that the key is for; list them with: penstock project list")
	}
	if spec.Name != "" {
		m.add("name", badName(spec.Name), nameHint)
	}
	m.globs(spec.Models)
	m.role(spec.Role)
	m.span("expires", spec.Expires, maxSpan, "give a span from now, such as 720h, or leave it out for a key without end")
	var sum [32]byte
	if spec.SHA256 != "" {
		sum = m.sha256Of(spec.SHA256)
	}
	if err := m.fault(); err != nil {
		return Issued{}, err
	}
	if err := mayHandle(by, spec.Role); err != nil {
		return Issued{}, err
	}
	p, err := s.Store.FindProject(ctx, "", spec.Project)
	if err != nil {
		return Issued{}, err
	}
	now := s.now()
	out := s.issue(Key{Project: p.ID, Name: spec.Name, Role: spec.Role, Models: spec.Models, Created: now})
	if spec.SHA256 != "" {
		out.Key.Hash, out.Key.Prefix, out.Secret = s.Ring.HashSHA256(sum), sumPrefix(sum), secret.String{}
	}
	if spec.Name == "" {
		out.Key.Name = out.Key.Prefix
	}
	if spec.Expires > 0 {
		out.Key.Expires = now.Add(spec.Expires)
	}
	if err := s.Store.CreateKey(ctx, out.Key); err != nil {
		return Issued{}, err
	}
	s.changed(ctx)
	return out, nil
}

// issue gives a key its id and its secret.
func (s *Service) issue(k Key) Issued {
	text, prefix := NewKey()
	k.ID, k.Prefix, k.Hash = newID(keyIDStart, k.Created), prefix, s.Ring.Hash(text)
	return Issued{Key: k, Secret: secret.New(text)}
}

// mayHandle refuses to make, rotate or revoke keys of a role to those who could raise their own rights by it.
func mayHandle(by, role Role) error {
	if by.MayHandle(role) {
		return nil
	}
	return fault.New(fault.NotAllowed, "A key with the role %s is for an admin to make, rotate or revoke; your role is %s.", role, by)
}

// RevokeKey ends a key now, on behalf of somebody with the role by. A key that has ended before stays as it was.
func (s *Service) RevokeKey(ctx context.Context, by Role, id string) (Key, error) {
	k, err := s.Store.FindKey(ctx, id)
	if err != nil {
		return Key{}, err
	}
	if err := mayHandle(by, k.Role); err != nil {
		return Key{}, err
	}
	k, err = s.Store.RevokeKey(ctx, id, s.now())
	if err != nil {
		return Key{}, err
	}
	s.changed(ctx)
	return k, nil
}

// RotateKey makes a key that is the old one but for its secret, on behalf of somebody with the role by. The old key works
// on for the overlap, 0 being not at all.
func (s *Service) RotateKey(ctx context.Context, by Role, id string, overlap time.Duration) (Issued, error) {
	var m mistakes
	m.span("overlap", overlap, maxOverlap, "say how long the old key works on, such as 24h")
	if err := m.fault(); err != nil {
		return Issued{}, err
	}
	old, err := s.Store.FindKey(ctx, id)
	if err != nil {
		return Issued{}, err
	}
	if err := mayHandle(by, old.Role); err != nil {
		return Issued{}, err
	}
	now := s.now()
	if !old.Expires.IsZero() && !now.Before(old.Expires) {
		f := fault.New(fault.InvalidRequest, "Key %s expired %s; there is nothing to rotate.", old.ID, instant(old.Expires))
		f.Hint = "Make a new one with: penstock key create --project " + old.Project
		return Issued{}, f
	}
	out := s.issue(Key{
		Project: old.Project, Name: old.Name, Role: old.Role, Models: old.Models, Created: now, Expires: old.Expires,
		Replaces: old.ID,
	})
	if old.Name == old.Prefix {
		out.Key.Name = out.Key.Prefix
	}
	if err := s.Store.RotateKey(ctx, old.ID, now.Add(overlap), out.Key); err != nil {
		return Issued{}, err
	}
	s.changed(ctx)
	return out, nil
}

// changed lets this process know of a change at once. The change stands whether or not that succeeds, and the poll finds
// it within a second.
func (s *Service) changed(ctx context.Context) {
	if s.Keys != nil {
		_ = s.Keys.Refresh(ctx)
	}
}

// now is the instant as the store can keep it.
func (s *Service) now() time.Time {
	if s.Now != nil {
		return s.Now().UTC().Truncate(time.Microsecond)
	}
	return time.Now().UTC().Truncate(time.Microsecond)
}

func newID(start string, now time.Time) string {
	return start + ulid.MustNew(ulid.Timestamp(now), rand.Reader).String()
}

// instant writes a time for a person.
func instant(t time.Time) string { return t.UTC().Format(time.DateTime) + " UTC" }
