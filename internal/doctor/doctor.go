// Package doctor looks whether everything that a Penstock needs is well, on the machine where it runs: its file, its data
// directory, its store, clocks, limits, disks, certificates and providers. Each finding says what to do.
//
// It reads only: it makes no file, migrates nothing, and asks providers only what costs nothing. It works whether or not a
// Penstock serves; if one does, what that says of itself is part of the findings. It is not monitoring: what changes by the
// minute is for alerts and metrics.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
)

// A State says how a finding is.
type State string

// The states.
const (
	OK   State = "ok"
	Warn State = "warn" // it works, and will not for ever, or not under load
	Fail State = "fail" // it does not work
	Skip State = "skip" // it could not be looked at, because of another finding
)

// A Finding is what one check has found.
type Finding struct {
	State State  `json:"state"`
	Check string `json:"check"`       // stable: config, data, store, ...
	Text  string `json:"text"`        // one line
	Do    string `json:"do,omitzero"` // what to do; "" if nothing has to be done
}

// Options say what to examine, and how.
type Options struct {
	Config config.Options
	// Serving asks the Penstock that serves from the data directory how it is; its error says that none answers.
	Serving func(context.Context) (*admin.Status, []admin.Alert, error)
	// Progress is told the name of each check before it begins; may be nil.
	Progress func(check string)
	Now      func() time.Time // civil time; nil is time.Now
}

// An exam is one examination.
type exam struct {
	o        Options
	cfg      *config.File
	findings []Finding
}

// maxCheck bounds one check.
const maxCheck = 15 * time.Second

// Examine runs all checks, in the order in which they depend on each other.
func Examine(ctx context.Context, o Options) []Finding {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	e := &exam{o: o}
	e.run(ctx, "config", e.config)
	if e.cfg == nil {
		e.add(Skip, "rest", "", "not looked at: without a configuration it is not known where anything is")
		return e.findings
	}
	for _, c := range []struct {
		name string
		look func(context.Context)
	}{
		{"serving", e.serving}, {"data", e.data}, {"keyring", e.keyring}, {"admin key", e.adminKey}, {"store", e.store}, {"files", e.files},
		{"disk", e.disk}, {"memory", e.memory}, {"plaintext", e.plaintext}, {"certificate", e.certificates}, {"upstream", e.upstreams},
	} {
		e.run(ctx, c.name, c.look)
	}
	return e.findings
}

// run makes one check, which never takes for ever and never ends the others.
func (e *exam) run(ctx context.Context, name string, look func(context.Context)) {
	e.o.Progress(name)
	ctx, cancel := context.WithTimeout(ctx, maxCheck)
	defer cancel()
	look(ctx)
}

func (e *exam) add(s State, check, do, format string, args ...any) {
	e.findings = append(e.findings, Finding{State: s, Check: check, Text: line(fmt.Sprintf(format, args...)), Do: do})
}

// line makes one line of a text that may come from elsewhere.
func line(s string) string { return strings.Join(strings.Fields(s), " ") }

// config loads the file, and if only what it refers to is missing goes on without that.
func (e *exam) config(ctx context.Context) {
	o := e.o.Config
	o.References = true
	cfg, err := config.Load(ctx, o)
	if err != nil {
		e.problems(err)
		o.References = false
		if cfg, err = config.Load(ctx, o); err != nil {
			return
		}
		e.cfg = cfg
		return
	}
	e.cfg = cfg
	what := "no file: defaults and the environment"
	if o.File != "" {
		what = o.File + " is in order"
	}
	if len(cfg.Providers) == 0 {
		e.add(Fail, "config", "set OPENAI_API_KEY or OLLAMA_HOST, or write a file with providers", "%s, and there are no providers", what)
		return
	}
	e.add(OK, "config", "", "%s, %d providers", what, len(cfg.Providers))
}

func (e *exam) problems(err error) {
	var p *config.Problems
	if !errors.As(err, &p) {
		e.add(Fail, "config", "see: penstock config check", "%v", err)
		return
	}
	for _, one := range p.List {
		place := ""
		if one.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d: ", p.File, one.Line, one.Col)
		}
		e.add(Fail, "config", "mend it, then: penstock config check", "%s%v", place, one)
	}
}

// serving asks the running process.
func (e *exam) serving(ctx context.Context) {
	if e.o.Serving == nil {
		return
	}
	st, alerts, err := e.o.Serving(ctx)
	if err != nil {
		e.add(Warn, "serving", "if it should be running: penstock serve, or look at the service's log", "%v", err)
		return
	}
	if st.Ready {
		e.add(OK, "serving", "", "Penstock %s is ready, up since %s", st.Version, st.Started.UTC().Format(time.DateTime+" UTC"))
	} else {
		e.add(Fail, "serving", "see the findings below, and the log", "Penstock %s is not ready: %s", st.Version, st.Reason)
	}
	if st.ConfigError != "" {
		e.add(Fail, "serving", "mend the file, or: penstock config rollback", "the file has changed and could not be taken over: %s", st.ConfigError)
	}
	if st.Stops > 0 {
		e.add(Warn, "serving", "see: penstock stop list", "operators have stopped calls: %d stops are in force", st.Stops)
	}
	for _, a := range alerts {
		state := Warn
		switch a.Severity {
		case "critical":
			state = Fail
		case "info":
			continue
		}
		e.add(state, "alert", "see "+a.Runbook, "%s %s since %s: %s", a.Kind, a.Object, a.Since.UTC().Format(time.DateTime+" UTC"), a.Text)
	}
}
