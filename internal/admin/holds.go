package admin

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/retention"
)

// A Hold keeps the records and bodies of a project, or of an organisation, from being deleted by any retention.
type Hold struct {
	ID          string    `json:"id"`
	Org         string    `json:"org,omitzero"`          // of this organisation's projects; left out where it is of one project
	Project     string    `json:"project,omitzero"`      // id; left out where it is of an organisation
	ProjectName string    `json:"project_name,omitzero"` // name of that project
	Reason      string    `json:"reason"`
	ByKey       string    `json:"by_key"`  // id of the key of whoever made it
	ByName      string    `json:"by_name"` // name of that key
	Since       time.Time `json:"since"`
}

// A HoldInput makes a hold of a project or of an organisation.
type HoldInput struct {
	Project string `json:"project,omitzero"` // id, or name if only one organisation has the name
	Org     string `json:"org,omitzero"`     // name: all projects that it has and will have
	Reason  string `json:"reason"`           // one line; it stays in the audit chain
}

// A LiftInput says why a hold is lifted.
type LiftInput struct {
	Reason string `json:"reason"` // one line; it stays in the audit chain
}

func (a *API) holdOf(h retention.Hold) Hold {
	out := Hold{ID: h.ID, Org: h.Org, Project: h.Project, Reason: h.Reason, ByKey: h.ByKey, ByName: h.ByName, Since: h.Since}
	if h.Project != "" {
		out.ProjectName = a.o.Keys.Name(h.Project)
	}
	return out
}

func (a *API) makeHold(ctx context.Context, c *call, in HoldInput) (Hold, error) {
	project, err := a.projectID(ctx, in.Project)
	if err != nil {
		return Hold{}, err
	}
	h, err := a.o.Holds.Make(ctx, retention.Hold{
		Org: in.Org, Project: project, Reason: in.Reason, ByKey: c.grant.Key.ID, ByName: c.grant.Key.Name,
	})
	if err != nil {
		return Hold{}, err
	}
	return a.holdOf(h), nil
}

func (a *API) listHolds(ctx context.Context, _ *call) (list[Hold], error) {
	out := list[Hold]{Data: []Hold{}}
	holds, err := a.o.Holds.Store.Holds(ctx)
	for _, h := range holds {
		out.Data = append(out.Data, a.holdOf(h))
	}
	return out, err
}

func (a *API) liftHold(ctx context.Context, c *call, in LiftInput) (Hold, error) {
	h, err := a.o.Holds.Lift(ctx, c.id, in.Reason)
	if err != nil {
		return Hold{}, err
	}
	return a.holdOf(h), nil
}

// shown is a project that was made or changed just now. That it is on hold is left out if it cannot be read: what was asked
// for is done.
func (a *API) shown(ctx context.Context, p auth.Project) Project {
	holds, err := a.o.Holds.Store.Holds(ctx)
	if err != nil {
		a.o.Log.Warn("a project was changed, and whether it is on hold cannot be read", "project", p.ID, "error", err)
	}
	return projectOf(p, holds)
}
