package auth

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// Changes are what a declaration changes of projects and keys. They are made together, or none of them is.
type Changes struct {
	Version     int64     // of the keys, on which the changes were planned
	At          time.Time // when keys end that are to end
	NewProjects []Project
	Projects    []Project // as they are to be; organisation, name and time of making stay
	NewKeys     []Key
	Keys        []Key    // as they are to be: role, models and expiry; all else stays
	Ended       []string // ids of keys
}

// Empty reports whether there is nothing to change.
func (c *Changes) Empty() bool {
	return len(c.NewProjects)+len(c.Projects)+len(c.NewKeys)+len(c.Keys)+len(c.Ended) == 0
}

// Changed is the fault of a store that is no longer what changes were planned on.
func Changed() error {
	return fault.New(fault.ChangedMeanwhile, "Somebody changed projects, keys, prices, budgets, limits or tiers since the plan was made; nothing was changed by it.")
}

// Mistakes are all that is wrong with a project, by the names of its members.
func (p *Project) Mistakes() []fault.Problem {
	var m mistakes
	m.project(p)
	return m
}

// Mistakes are all that is wrong with a key, by the names of its members. A name that is the key's prefix is one that keys
// get which were given none.
func (k *Key) Mistakes() []fault.Problem {
	var m mistakes
	if k.Name != k.Prefix {
		m.add("name", badName(k.Name), nameHint)
	}
	m.globs(k.Models)
	m.role(k.Role)
	if !k.Expires.IsZero() {
		m.span("expires", max(0, k.Expires.Sub(k.Created)), maxSpan, "write an earlier time, or leave it out for a key without end")
	}
	return m
}

// Stamp gives a project that is new its id and its time, and a key as well.
func (s *Service) Stamp(p *Project, keys ...*Key) {
	now := s.now()
	if p != nil {
		p.ID, p.Created = newID(projectStart, now), now
	}
	for _, k := range keys {
		k.ID, k.Created = newID(keyIDStart, now), now
	}
}

// MayDeclare refuses changes to those who could raise their own rights by them. roles are those that the keys have which
// are made, changed or ended, and those that they get.
func MayDeclare(by Role, roles []Role) error {
	for _, r := range roles {
		if err := mayHandle(by, r); err != nil {
			return err
		}
	}
	return nil
}

// ParseSHA256 reads the SHA-256 of a key of another gateway, and gives the hash that it has here.
func (s *Service) ParseSHA256(text string) (h Hash, prefix string, problems []fault.Problem) {
	var m mistakes
	sum := m.sha256Of(text)
	if len(m) > 0 {
		return h, "", m
	}
	return s.Ring.HashSHA256(sum), sumPrefix(sum), nil
}

// Refresh lets this process know at once of a change that was made past the Service.
func (s *Service) Refresh(ctx context.Context) { s.changed(ctx) }

// A KeyChange says what to change of a key; nil fields stay as they are. Its secret never changes: see [Service.RotateKey].
type KeyChange struct {
	Name    *string
	Models  []string       // nil: as they are; empty: all models
	Expires *time.Duration // from now; 0 is never
	Role    *Role
}

// UpdateKey changes a key on behalf of somebody with the role by. A key that was revoked does not change any more.
func (s *Service) UpdateKey(ctx context.Context, by Role, id string, c KeyChange) (Key, error) {
	now := s.now()
	k, err := s.Store.UpdateKey(ctx, id, func(k *Key) error {
		if !k.Revoked.IsZero() {
			f := fault.New(fault.InvalidRequest, "Key %s is revoked, or was replaced; it does not change any more.", k.ID)
			f.Hint = "List the others with: penstock key list"
			return f
		}
		if err := mayHandle(by, k.Role); err != nil {
			return err
		}
		var m mistakes
		if c.Name != nil {
			k.Name = *c.Name
			m.add("name", badName(k.Name), nameHint)
		}
		if c.Models != nil {
			k.Models = c.Models
			m.globs(k.Models)
		}
		if c.Role != nil {
			k.Role = *c.Role
			m.role(k.Role)
		}
		if c.Expires != nil {
			m.span("expires", *c.Expires, maxSpan, "give a span from now, such as 720h, or 0 for a key without end")
			k.Expires = time.Time{}
			if *c.Expires > 0 {
				k.Expires = now.Add(*c.Expires)
			}
		}
		if err := m.fault(); err != nil {
			return err
		}
		return mayHandle(by, k.Role)
	})
	if err != nil {
		return Key{}, err
	}
	s.changed(ctx)
	return k, nil
}
