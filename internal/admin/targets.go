package admin

import (
	"context"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/health"
)

// A TargetHealth is how a target is, as the replica that was asked sees it; others see the same within seconds.
type TargetHealth struct {
	State   string     `json:"state"`                  // healthy, ramping, half_open, ejected or disabled
	Share   float64    `json:"share"`                  // what it may get of its full share, 0 to 1
	Since   *time.Time `json:"since,omitzero"`         // left out: ever since the process began
	Until   *time.Time `json:"until,omitzero"`         // when it will be otherwise by itself: an ejected target is tried by one call, a ramping one has all of its share, a disabled one is enabled
	Failing *time.Time `json:"failing_since,omitzero"` // of an ejected target
	Reason  string     `json:"reason,omitzero"`        // of an ejected target how the last try failed, of a disabled one what the operator wrote
	By      string     `json:"by,omitzero"`            // who disabled it
	OK      int        `json:"ok"`                     // tries that were answered within the last 30 s, since the last change
	Failed  int        `json:"failed"`                 // tries that failed as they do where a target is not well, in the same time
}

// A DisableInput takes a target out.
type DisableInput struct {
	Target string `json:"target"`          // PROVIDER/MODEL, or PROVIDER for all of its models
	Reason string `json:"reason,omitzero"` // one line; the audit chain keeps it
	For    string `json:"for,omitzero"`    // how long, such as 1h or 30m; until it is enabled if it is left out
}

// An EnableInput takes a target back.
type EnableInput struct {
	Target string `json:"target"` // as it was disabled, or an ejected target, or a provider for all of its ejected targets
}

// A Disabled is a target, or a provider, that an operator has taken out.
type Disabled struct {
	Target string     `json:"target"`
	Reason string     `json:"reason,omitzero"`
	ByKey  string     `json:"by_key"`  // id of the key of whoever disabled it
	ByName string     `json:"by_name"` // name of that key
	Since  time.Time  `json:"since"`
	Until  *time.Time `json:"until,omitzero"` // left out: until it is enabled
}

// An Enabled is a target, or a provider, that was taken back.
type Enabled struct {
	Target string `json:"target"`
}

// TargetHealthOf is a standing as the API tells it. civil makes the time that records go by of an instant.
func TargetHealthOf(s health.Standing, civil func(time.Time) time.Time) TargetHealth {
	at := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return instant(civil(t).Truncate(time.Millisecond))
	}
	return TargetHealth{
		State: s.Kind.String(), Share: s.Share, Since: at(s.Since), Until: at(s.Until), Failing: at(s.Failing), Reason: s.Reason, By: s.By, OK: s.OK, Failed: s.Failed,
	}
}

func (a *API) disableTarget(ctx context.Context, c *call, in DisableInput) (Disabled, error) {
	if !a.o.MayAnswer(in.Target) {
		f := badParam("target", "There is no target and no provider %s here.", quote(in.Target))
		f.Hint = "Nothing was changed. Write PROVIDER/MODEL, or PROVIDER; see: penstock route status"
		return Disabled{}, f
	}
	var span time.Duration
	if in.For != "" {
		var err error
		if span, err = parseSpan("for", in.For); err != nil {
			return Disabled{}, err
		}
		if span == 0 { // it would hold until it is enabled
			return Disabled{}, badParam("for", "for is no time; write one such as 1h, or leave it out.")
		}
	}
	d, err := a.o.Targets.Disable(ctx, health.Disabling{
		Name: in.Target, Reason: in.Reason, ByKey: c.grant.Key.ID, ByName: c.grant.Key.Name,
	}, span)
	if err != nil {
		return Disabled{}, err
	}
	return Disabled{Target: d.Name, Reason: d.Reason, ByKey: d.ByKey, ByName: d.ByName, Since: d.Since, Until: instant(d.Until)}, nil
}

func (a *API) enableTarget(ctx context.Context, _ *call, in EnableInput) (Enabled, error) {
	err := a.o.Targets.Enable(ctx, in.Target)
	if err == nil {
		return Enabled(in), nil
	}
	if provider, _, ok := strings.Cut(in.Target, "/"); ok { // the most likely mistake
		for _, d := range a.o.Targets.Disabled() {
			if d.Name == provider {
				f := badParam("target", "%s is not disabled by itself: all of %s is.", quote(in.Target), quote(provider))
				f.Hint = "Nothing was changed. To enable all of it: penstock route enable " + provider
				return Enabled{}, f
			}
		}
	}
	return Enabled{}, err
}
