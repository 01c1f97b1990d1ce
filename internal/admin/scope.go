package admin

import (
	"context"

	"github.com/penstock/penstock/internal/auth"
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

// tenants shows names beside ids.
type tenants struct{ *auth.Directory }

func (a *API) tenants(ctx context.Context) (tenants, error) {
	d, err := a.o.Tenants.Directory(ctx)
	return tenants{d}, err
}

// scope finds what a scope names.
func (a *API) scope(ctx context.Context, in ScopeInput) (limit.Scope, error) {
	s := limit.Scope{Org: in.Org, Project: in.Project, Key: in.Key, User: in.User, Model: in.Model}
	if problems := s.Mistakes(); len(problems) > 0 {
		return s, limit.Refusal(problems)
	}
	t, err := a.tenants(ctx)
	if err != nil {
		return s, err
	}
	s.Org, s.Project, s.Key, err = t.Resolve(in.Org, in.Project, in.Key)
	return s, err
}

// scopeOf shows a scope.
func (t tenants) scopeOf(s limit.Scope) Scope {
	out := Scope{Org: s.Org, Project: s.Project, Key: s.Key, User: s.User, Model: s.Model}
	if p, ok := t.Projects[s.Project]; ok {
		out.Org, out.ProjectName = p.Org, p.Name
	}
	if s.Key != "" && s.Key != limit.Each {
		k, _ := t.Last(s.Key)
		out.KeyName = k.Name
	}
	return out
}

// A defining is a question for definitions, with all that there are.
type defining struct {
	limit.Definitions
	tenants

	most           int // on a page
	project, after string
}

// defined reads the question, and what there is.
func (a *API) defined(ctx context.Context, c *call) (q defining, err error) {
	q.after = c.query["after"]
	if q.most, err = c.query.limit(); err != nil {
		return q, err
	}
	if q.project, err = a.projectID(ctx, c.query["project"]); err != nil {
		return q, err
	}
	if q.Definitions, err = a.o.Limits.Definitions(ctx); err != nil {
		return q, err
	}
	q.tenants, err = a.tenants(ctx)
	return q, err
}

// of reports whether what is set for a project is asked for.
func (q *defining) of(project string) bool { return q.project == "" || q.project == project }
