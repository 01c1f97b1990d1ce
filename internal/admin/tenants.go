package admin

import (
	"context"

	"github.com/penstock/penstock/internal/auth"
)

func (a *API) createProject(ctx context.Context, _ *call, in ProjectInput) (Project, error) {
	spec := auth.ProjectSpec{
		Org: in.Org, Name: in.Name, Labels: in.Labels, Bodies: in.Bodies, Strict: in.Strict, Stateless: in.Stateless,
		Regions: in.Regions, PrivateOnly: in.Private,
	}
	if in.Retention != "" {
		var err error
		if spec.Retention, err = parseSpan("retention", in.Retention); err != nil {
			return Project{}, err
		}
	}
	p, err := a.o.Tenants.CreateProject(ctx, spec)
	if err != nil {
		return Project{}, err
	}
	return a.shown(ctx, p), nil
}

func (a *API) changeProject(ctx context.Context, c *call, in ProjectChange) (Project, error) {
	change := auth.ProjectChange{
		Name: in.Name, Labels: in.Labels, Bodies: in.Bodies, Strict: in.Strict, Stateless: in.Stateless, Regions: in.Regions, PrivateOnly: in.Private,
	}
	if in.Retention != nil {
		d, err := parseSpan("retention", *in.Retention)
		if err != nil {
			return Project{}, err
		}
		change.Retention = &d
	}
	id, err := a.projectID(ctx, c.id)
	if err != nil {
		return Project{}, err
	}
	p, err := a.o.Tenants.UpdateProject(ctx, id, change)
	if err != nil {
		return Project{}, err
	}
	return a.shown(ctx, p), nil
}

func (a *API) listProjects(ctx context.Context, c *call) (list[Project], error) {
	limit, err := c.query.limit()
	if err != nil {
		return list[Project]{}, err
	}
	rows, err := a.o.Tenants.Store.Projects(ctx, c.query["after"], limit+1)
	if err != nil {
		return list[Project]{}, err
	}
	holds, err := a.o.Holds.Store.Holds(ctx)
	if err != nil {
		return list[Project]{}, err
	}
	show := func(p auth.Project) Project { return projectOf(p, holds) }
	return page(rows, limit, func(p auth.Project) string { return p.ID }, show), nil
}

func (a *API) createKey(ctx context.Context, c *call, in KeyInput) (NewKey, error) {
	spec := auth.KeySpec{Project: in.Project, Name: in.Name, Models: in.Models, Role: auth.Role(in.Role), SHA256: in.SHA256}
	if in.Expires != "" {
		var err error
		if spec.Expires, err = parseSpan("expires", in.Expires); err != nil {
			return NewKey{}, err
		}
		if spec.Expires == 0 { // to auth, it would be a key without end
			return NewKey{}, badParam("expires", "expires: a key that is to end at once; send a span such as 720h, or leave it out for a key without end.")
		}
	}
	issued, err := a.o.Tenants.CreateKey(ctx, c.grant.Key.Role, spec)
	if err != nil {
		return NewKey{}, err
	}
	return newKey(issued), nil
}

// newKey is the one place where a key leaves: it is shown to whoever made it, this once.
func newKey(i auth.Issued) NewKey {
	return NewKey{
		ID: i.Key.ID, Key: i.Secret.Reveal(), Prefix: i.Key.Prefix, Project: i.Key.Project, Name: i.Key.Name,
		Role: string(i.Key.Role), Expires: instant(i.Key.Expires),
	}
}

func (a *API) listKeys(ctx context.Context, c *call) (list[Key], error) {
	limit, err := c.query.limit()
	if err != nil {
		return list[Key]{}, err
	}
	project, err := a.projectID(ctx, c.query["project"])
	if err != nil {
		return list[Key]{}, err
	}
	rows, err := a.o.Tenants.Store.Keys(ctx, project, c.query["after"], limit+1)
	if err != nil {
		return list[Key]{}, err
	}
	names := map[string]string{}
	for _, k := range rows {
		if err := a.projectName(ctx, names, k.Project); err != nil {
			return list[Key]{}, err
		}
	}
	show := func(k auth.Key) Key { return keyOf(k, names[k.Project]) }
	return page(rows, limit, func(k auth.Key) string { return k.ID }, show), nil
}

// projectID lets callers name a project by id or name; "" is all.
func (a *API) projectID(ctx context.Context, nameOrID string) (string, error) {
	if nameOrID == "" {
		return "", nil
	}
	p, err := a.o.Tenants.Store.FindProject(ctx, "", nameOrID)
	return p.ID, err
}

// projectName adds a project's name to names, unless it is there.
func (a *API) projectName(ctx context.Context, names map[string]string, id string) error {
	if _, known := names[id]; known {
		return nil
	}
	p, err := a.o.Tenants.Store.FindProject(ctx, "", id)
	names[id] = p.Name
	return err
}

func (a *API) changeKey(ctx context.Context, c *call, in KeyChange) (Key, error) {
	change := auth.KeyChange{Name: in.Name, Models: in.Models}
	if in.Expires != nil {
		d, err := parseSpan("expires", *in.Expires)
		if err != nil {
			return Key{}, err
		}
		change.Expires = &d
	}
	if in.Role != nil {
		role := auth.Role(*in.Role)
		change.Role = &role
	}
	k, err := a.o.Tenants.UpdateKey(ctx, c.grant.Key.Role, c.id, change)
	if err != nil {
		return Key{}, err
	}
	names := map[string]string{}
	if err := a.projectName(ctx, names, k.Project); err != nil {
		return Key{}, err
	}
	return keyOf(k, names[k.Project]), nil
}

func (a *API) revokeKey(ctx context.Context, c *call, _ Nothing) (Key, error) {
	k, err := a.o.Tenants.RevokeKey(ctx, c.grant.Key.Role, c.id)
	if err != nil {
		return Key{}, err
	}
	names := map[string]string{}
	if err := a.projectName(ctx, names, k.Project); err != nil {
		return Key{}, err
	}
	return keyOf(k, names[k.Project]), nil
}

func (a *API) rotateKey(ctx context.Context, c *call, in RotateInput) (NewKey, error) {
	overlap := auth.DefaultOverlap
	if in.Overlap != "" {
		var err error
		if overlap, err = parseSpan("overlap", in.Overlap); err != nil {
			return NewKey{}, err
		}
	}
	issued, err := a.o.Tenants.RotateKey(ctx, c.grant.Key.Role, c.id, overlap)
	if err != nil {
		return NewKey{}, err
	}
	return newKey(issued), nil
}
