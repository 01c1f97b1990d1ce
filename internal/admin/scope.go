package admin

import (
	"context"
	"strings"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/limit"
)

// A ScopeInput says whose calls a budget or limit is for; all that is given must fit. With nothing it is for all calls. A * of
// project, key or user makes one for each, without naming them.
type ScopeInput struct {
	Org     string `json:"org,omitzero"`     // name of an organisation
	Project string `json:"project,omitzero"` // id, or name if only one organisation has the name; or *
	Key     string `json:"key,omitzero"`     // id, or name within the project; or *
	User    string `json:"user,omitzero"`    // end user, as callers name it; or *
	Model   string `json:"model,omitzero"`   // as it is asked for, or PROVIDER/MODEL; * in it stands for anything
}

// A Scope is whose calls a budget or limit is for.
type Scope struct {
	Org         string `json:"org,omitzero"`          // name of the organisation
	Project     string `json:"project,omitzero"`      // id, or *: each for itself
	ProjectName string `json:"project_name,omitzero"` // of the project
	Key         string `json:"key,omitzero"`          // id, or *: each for itself
	KeyName     string `json:"key_name,omitzero"`     // of the key
	User        string `json:"user,omitzero"`         // end user, or *: each for itself
	Model       string `json:"model,omitzero"`        // glob on asked-for names and targets
}

// tenants finds projects and keys by ids and names, as of one moment.
type tenants struct {
	projects map[string]auth.Project // by id
	keys     map[string]auth.Key     // by id
	orgs     map[string]bool
}

func (a *API) tenants(ctx context.Context) (*tenants, error) {
	_, projects, keys, err := a.o.Tenants.Store.AllKeys(ctx)
	if err != nil {
		return nil, err
	}
	return tenantsOf(projects, keys), nil
}

func tenantsOf(projects []auth.Project, keys []auth.Key) *tenants {
	t := &tenants{projects: map[string]auth.Project{}, keys: map[string]auth.Key{}, orgs: map[string]bool{}}
	for _, p := range projects {
		t.projects[p.ID], t.orgs[p.Org] = p, true
	}
	for _, k := range keys {
		t.keys[k.ID] = k
	}
	return t
}

// first is the first of the keys that a key was rotated from: what is set for a key holds for those that replace it, too.
func (t *tenants) first(id string) string {
	for range len(t.keys) {
		k, ok := t.keys[id]
		if !ok || k.Replaces == "" {
			break
		}
		id = k.Replaces
	}
	return id
}

// last is the key that replaces all others of those that begin with the first.
func (t *tenants) last(first string) auth.Key {
	last := t.keys[first]
	for id, k := range t.keys {
		if t.first(id) == first && k.Created.After(last.Created) {
			last = k
		}
	}
	return last
}

// scope finds what a scope names. A project tells its organisation, and a key its project, so there is one way to say each.
func (a *API) scope(ctx context.Context, in ScopeInput) (limit.Scope, error) {
	s := limit.Scope{Org: in.Org, Project: in.Project, Key: in.Key, User: in.User, Model: in.Model}
	t, err := a.tenants(ctx)
	if err != nil {
		return s, err
	}
	if in.Org != "" && !t.orgs[in.Org] && in.Org != limit.Each {
		return s, nobody("org", "There is no organisation %s here.", in.Org)
	}
	if in.Project != "" && in.Project != limit.Each {
		p, byID := t.projects[in.Project]
		if !byID {
			if p, err = a.o.Tenants.Store.FindProject(ctx, in.Org, in.Project); err != nil {
				return s, err
			}
		}
		if in.Org != "" && p.Org != in.Org {
			return s, nobody("project", "The project is not of the organisation %s.", in.Org)
		}
		s.Org, s.Project = "", p.ID
	}
	if in.Key == "" || in.Key == limit.Each {
		return s, nil
	}
	return s, t.key(&s, in.Key)
}

// key finds a key of the scope's project, or any by its id.
func (t *tenants) key(s *limit.Scope, nameOrID string) error {
	var found auth.Key
	for _, k := range t.keys {
		if k.ID == nameOrID || k.Name == nameOrID && k.Project == s.Project && k.Revoked.IsZero() {
			found = k
		}
	}
	switch {
	case found.ID == "" && (s.Project == "" || s.Project == limit.Each):
		f := badParam("key", "There is no key with the id %s here.", quote(nameOrID))
		f.Hint = "Name its project, too: then the key may be given by its name."
		return f
	case found.ID == "":
		return nobody("key", "The project has no key %s.", nameOrID)
	case s.Project != "" && s.Project != found.Project:
		return badParam("key", "key: %s is not a key of the project.", quote(nameOrID))
	case s.Org != "" && t.projects[found.Project].Org != s.Org:
		return badParam("key", "key: %s is not a key of the organisation.", quote(nameOrID))
	}
	s.Org, s.Project, s.Key = "", found.Project, t.first(found.ID)
	return nil
}

func nobody(param, format, name string) error {
	f := fault.New(fault.NotThere, strings.ReplaceAll(format, "%s", "%[1]s"), quote(name))
	f.Param, f.Hint = param, "See: penstock project list, penstock key list"
	return f
}

// scopeOf shows a scope.
func (t *tenants) scopeOf(s limit.Scope) Scope {
	out := Scope{Org: s.Org, Project: s.Project, Key: s.Key, User: s.User, Model: s.Model}
	if p, ok := t.projects[s.Project]; ok {
		out.Org, out.ProjectName = p.Org, p.Name
	}
	if s.Key != "" && s.Key != limit.Each {
		out.KeyName = t.last(s.Key).Name
	}
	return out
}
