package admin

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
)

func (a *API) createProject(r *http.Request) (any, error) {
	var in ProjectInput
	if err := read(r, &in); err != nil {
		return nil, err
	}
	spec := auth.ProjectSpec{Org: in.Org, Name: in.Name, Labels: in.Labels, Bodies: in.Bodies, Strict: in.Strict != nil && *in.Strict}
	var err error
	if spec.Retention, err = parseSpan("retention", in.Retention); err != nil {
		return nil, err
	}
	p, err := a.o.Tenants.CreateProject(r.Context(), spec)
	if err != nil {
		return nil, err
	}
	return projectOf(p), nil
}

func (a *API) updateProject(r *http.Request) (any, error) {
	var in ProjectInput
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if in.Org != "" {
		return nil, fault.New(fault.InvalidRequest, "A project cannot move to another organisation; make one there.")
	}
	change := auth.ProjectChange{Labels: in.Labels, Strict: in.Strict}
	if in.Name != "" {
		change.Name = &in.Name
	}
	if in.Bodies != "" {
		change.Bodies = &in.Bodies
	}
	if in.Retention != "" {
		d, err := parseSpan("retention", in.Retention)
		if err != nil {
			return nil, err
		}
		change.Retention = &d
	}
	p, err := a.o.Tenants.UpdateProject(r.Context(), r.PathValue("id"), change)
	if err != nil {
		return nil, err
	}
	return projectOf(p), nil
}

func (a *API) listProjects(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	rows, err := a.o.Tenants.Store.Projects(r.Context(), r.URL.Query().Get("after"), limit+1)
	if err != nil {
		return nil, err
	}
	return cut(rows, limit, func(p auth.Project) string { return p.ID }, projectOf), nil
}

func (a *API) createKey(r *http.Request) (any, error) {
	var in KeyInput
	if err := read(r, &in); err != nil {
		return nil, err
	}
	spec := auth.KeySpec{Project: in.Project, Name: in.Name, Models: in.Models, Role: auth.Role(in.Role), SHA256: in.SHA256}
	var err error
	if spec.Expires, err = parseSpan("expires", in.Expires); err != nil {
		return nil, err
	}
	issued, err := a.o.Tenants.CreateKey(r.Context(), grantOf(r.Context()).Key.Role, spec)
	if err != nil {
		return nil, err
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

func (a *API) listKeys(r *http.Request) (any, error) {
	limit, err := limitOf(r)
	if err != nil {
		return nil, err
	}
	project, err := a.projectID(r.Context(), r.URL.Query().Get("project"))
	if err != nil {
		return nil, err
	}
	rows, err := a.o.Tenants.Store.Keys(r.Context(), project, r.URL.Query().Get("after"), limit+1)
	if err != nil {
		return nil, err
	}
	names, err := a.projectNames(r.Context(), rows)
	if err != nil {
		return nil, err
	}
	show := func(k auth.Key) Key { return keyOf(k, names[k.Project]) }
	return cut(rows, limit, func(k auth.Key) string { return k.ID }, show), nil
}

func (a *API) projectNames(ctx context.Context, keys []auth.Key) (map[string]string, error) {
	names := map[string]string{}
	for _, k := range keys {
		if names[k.Project] != "" {
			continue
		}
		p, err := a.o.Tenants.Store.FindProject(ctx, "", k.Project)
		if err != nil {
			return nil, err
		}
		names[k.Project] = p.Name
	}
	return names, nil
}

func (a *API) revokeKey(r *http.Request) (any, error) {
	var in struct{}
	if r.ContentLength != 0 {
		if err := read(r, &in); err != nil {
			return nil, err
		}
	}
	k, err := a.o.Tenants.RevokeKey(r.Context(), grantOf(r.Context()).Key.Role, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	names, err := a.projectNames(r.Context(), []auth.Key{k})
	if err != nil {
		return nil, err
	}
	return keyOf(k, names[k.Project]), nil
}

// defaultOverlap is how long a rotated key works on if nothing else is said.
const defaultOverlap = 24 * time.Hour

func (a *API) rotateKey(r *http.Request) (any, error) {
	var in RotateInput
	if r.ContentLength != 0 {
		if err := read(r, &in); err != nil {
			return nil, err
		}
	}
	overlap := defaultOverlap
	if in.Overlap != "" {
		var err error
		if overlap, err = parseSpan("overlap", in.Overlap); err != nil {
			return nil, err
		}
	}
	issued, err := a.o.Tenants.RotateKey(r.Context(), grantOf(r.Context()).Key.Role, r.PathValue("id"), overlap)
	if err != nil {
		return nil, err
	}
	return newKey(issued), nil
}

// parseSpan reads a span of time with a unit: what Go reads, and days ("30d").
func parseSpan(member, s string) (time.Duration, error) {
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n <= 36500 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		f := fault.New(fault.InvalidRequest, "%s: %q is not a span of time; write it as 720h or 30d.", member, s)
		f.Param = member
		return 0, f
	}
	return d, nil
}

// span writes a span of time the way parseSpan reads it, in days where it is whole days.
func span(d time.Duration) string {
	if day := 24 * time.Hour; d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	return d.String()
}
