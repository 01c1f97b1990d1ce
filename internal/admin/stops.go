package admin

import (
	"context"
	"time"

	"github.com/penstock/penstock/internal/stop"
)

// A Stop says what is not served. With neither model nor project that is everything; with both, that model to that project.
type Stop struct {
	ID          string     `json:"id"`
	All         bool       `json:"all"`                   // everything is stopped
	Model       string     `json:"model,omitzero"`        // asked-for names and targets; * stands for anything
	Project     string     `json:"project,omitzero"`      // id
	ProjectName string     `json:"project_name,omitzero"` // of the project
	Reason      string     `json:"reason,omitzero"`       // callers are told
	ByKey       string     `json:"by_key"`                // id of the key of whoever stopped it
	ByName      string     `json:"by_name"`               // name of that key
	Since       time.Time  `json:"since"`
	Until       *time.Time `json:"until,omitzero"` // left out: until it is lifted
	Now         bool       `json:"now"`            // exchanges that ran were ended as well
}

// A StopInput makes a stop: all, or a model, or a project, or a model for one project.
type StopInput struct {
	All     bool   `json:"all,omitzero"`     // stop everything
	Model   string `json:"model,omitzero"`   // as it is asked for, or PROVIDER/MODEL; * stands for anything, as in openai/*
	Project string `json:"project,omitzero"` // id, or name if only one organisation has the name
	Reason  string `json:"reason,omitzero"`  // one line; callers are told, and the audit chain keeps it
	For     string `json:"for,omitzero"`     // how long, such as 1h or 30m; until it is lifted if it is left out
	Now     bool   `json:"now,omitzero"`     // end exchanges that run as well, with an error; they finish otherwise
}

func (a *API) stopOf(s stop.Stop) Stop {
	out := Stop{
		ID: s.ID, All: s.Model == "" && s.Project == "", Model: s.Model, Project: s.Project, Reason: s.Reason,
		ByKey: s.ByKey, ByName: s.ByName, Since: s.Since, Until: instant(s.Until), Now: s.Cut,
	}
	if s.Project != "" {
		out.ProjectName = a.o.Keys.Name(s.Project)
	}
	return out
}

func (a *API) setStop(ctx context.Context, c *call, in StopInput) (Stop, error) {
	if named := in.Model != "" || in.Project != ""; in.All == named {
		f := badParam("all", "Say what to stop: all, or a model, or a project, or a model and a project.")
		f.Hint = "Nothing was changed."
		return Stop{}, f
	}
	var span time.Duration
	if in.For != "" {
		var err error
		if span, err = parseSpan("for", in.For); err != nil {
			return Stop{}, err
		}
		if span == 0 { // it would hold until it is lifted
			return Stop{}, badParam("for", "for is no time; write one such as 1h, or leave it out.")
		}
	}
	project, err := a.projectID(ctx, in.Project)
	if err != nil {
		return Stop{}, err
	}
	s, err := a.o.Stops.Set(ctx, stop.Stop{
		Model: in.Model, Project: project, Reason: in.Reason, Cut: in.Now, ByKey: c.grant.Key.ID, ByName: c.grant.Key.Name,
	}, span)
	if err != nil {
		return Stop{}, err
	}
	return a.stopOf(s), nil
}

func (a *API) listStops(context.Context, *call) (list[Stop], error) {
	out := list[Stop]{Data: []Stop{}}
	for _, s := range a.o.Stops.InForce() {
		out.Data = append(out.Data, a.stopOf(s))
	}
	return out, nil
}

func (a *API) liftStop(ctx context.Context, c *call, _ Nothing) (Stop, error) {
	s, err := a.o.Stops.Lift(ctx, c.id)
	if err != nil {
		return Stop{}, err
	}
	return a.stopOf(s), nil
}
