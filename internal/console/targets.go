package console

import (
	"net/http"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/health"
)

// A targetView answers: how is this target, and do I want it to be used?
type targetView struct {
	Name     string
	Provider string
	Models   []string // that it may answer for
	State    targetState
	By       string // who disabled it, or its provider
	Whole    bool   // its provider as a whole is disabled
	May      bool
	For      string
	Reason   string
	Said     string
	Problem  *problem
}

// A targetState is how a target is, in a word.
type targetState struct {
	Class, Word, Note     string
	Since, Until, Failing time.Time // zero if there is none
	OK, Failed            int
	Out                   bool // disabled
	Ejected               bool
}

// targetStateOf writes how a target is.
func (c *Console) targetStateOf(name string, now, civil time.Time) (targetState, health.Standing) {
	s := c.o.Targets.Look(name, now)
	at := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return civil.Add(t.Sub(now))
	}
	out := targetState{Class: "ok", Word: "healthy", Since: at(s.Since), Until: at(s.Until), Failing: at(s.Failing), OK: s.OK, Failed: s.Failed}
	failing := "failing for " + figure.Duration(now.Sub(s.Failing).Round(time.Second)) + ", the last time with " + s.Reason
	switch s.Kind {
	case health.Ramping:
		out.Class, out.Word, out.Note = "warn", "ramping", "it gets "+figure.Percent(int64(s.Share*100+0.5), 100)+" of its share, more each second"
	case health.HalfOpen:
		out.Class, out.Word, out.Note, out.Ejected = "warn", "being tried", failing+"; one call finds out whether it is well", true
	case health.Ejected:
		out.Class, out.Word, out.Note, out.Ejected = "bad", "ejected", failing+"; others get its calls", true
	case health.Disabled:
		out.Class, out.Word, out.Note, out.Out = "off", "disabled", s.Reason, true
	}
	return out, s
}

func (c *Console) target(v *visit) error {
	return c.showTarget(v, http.StatusOK, v.r.URL.Query().Get("name"), nil)
}

func (c *Console) showTarget(v *visit, status int, name string, fill func(*targetView)) error {
	d := &targetView{Name: name, May: v.may(auth.WriteStops)}
	for _, m := range c.o.Models() {
		for _, t := range m.Targets {
			if t.Name == name {
				d.Models, d.Provider = append(d.Models, m.Name), t.Provider
			}
		}
	}
	if d.Provider == "" {
		f := fault.New(fault.NotThere, "There is no target of this name in the configuration.")
		f.Hint = "Look at the page of models."
		return f
	}
	var is health.Standing
	d.State, is = c.targetStateOf(name, time.Now(), v.now)
	d.By = is.By
	if d.State.Out {
		d.Whole = true
		for _, w := range c.o.Targets.Disabled() {
			d.Whole = d.Whole && w.Name != name
		}
	}
	if v.r.Method == http.MethodGet {
		d.Said = map[string]string{
			"disabled": "The target is disabled. That is felt everywhere within 5 s; tries that run finish.",
			"enabled":  "The target is taken back. It gets calls everywhere within 5 s.",
		}[v.r.URL.Query().Get("said")]
	}
	if fill != nil {
		fill(d)
	}
	f := c.frame(v, "target", "Target "+name, d)
	f.Command = "penstock route status"
	return c.send(v, status, "frame.html", f)
}

// disableTarget takes a target out, as penstock route disable does.
func (c *Console) disableTarget(v *visit) error {
	text := func(field string) string { return strings.TrimSpace(v.r.PostFormValue(field)) }
	name, reason, length := text("target"), text("reason"), text("for")
	refuse := func(err error) error {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		return c.showTarget(v, status, name, func(d *targetView) { d.Reason, d.For, d.Problem = reason, length, why })
	}
	if text("again") != name {
		return refuse(fault.New(fault.InvalidRequest, "That is not the name of this target, so nothing was changed."))
	}
	var span time.Duration
	if length != "" {
		var err error
		if span, err = parseSpan(length); err != nil {
			return refuse(err)
		}
		if span == 0 {
			return refuse(fault.New(fault.InvalidRequest, "That is no time; write one such as 1h, or nothing to disable it until it is enabled."))
		}
	}
	if !c.o.MayAnswer(name) {
		return refuse(fault.New(fault.NotThere, "There is no target of this name in the configuration."))
	}
	_, err := c.o.Targets.Disable(v.ctx(), health.Disabling{Name: name, Reason: reason, ByKey: v.grant.Key.ID, ByName: v.grant.Key.Name}, span)
	if err != nil {
		return refuse(err)
	}
	return v.redirect("targets?" + pairsOf([]string{"name", name, "said", "disabled"}).Encode())
}

// enableTarget takes one back, as penstock route enable does.
func (c *Console) enableTarget(v *visit) error {
	name := strings.TrimSpace(v.r.PostFormValue("target"))
	if err := c.o.Targets.Enable(v.ctx(), name); err != nil {
		status, why, ok := refusal(err)
		if !ok {
			return err
		}
		return c.showTarget(v, status, name, func(d *targetView) { d.Problem = why })
	}
	return v.redirect("targets?" + pairsOf([]string{"name", name, "said", "enabled"}).Encode())
}
