// Package drill rehearses trouble: it plays an outage, a brown-out and their like on simulated twins of a configuration's
// targets, sends a load through a Penstock of its own in front of them, and says what clients would have seen and what in the
// configuration would have spared them.
//
// It works from the file that a team runs, and touches nothing of a Penstock that runs: no provider is called, no credential
// is read, and all that it keeps is in a directory of its own, which is gone afterwards. It is not a load test: twins are as
// fast as they are made, and the load is small.
//
//	d, err := drill.New(drill.Options{Scenario: "outage", Config: cfg, Length: time.Minute, Rate: 20})
//	report, err := d.Run(ctx)
package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/server"
	"github.com/penstock/penstock/internal/sim"
)

// Bounds of what may be asked for.
const (
	MinLength = 2 * time.Second // what is shorter shows nothing
	MaxRate   = 500             // calls a second: twins are no load test
)

// Options say what is played.
type Options struct {
	Scenario string
	Config   *config.File
	Model    string        // that is called; "" is the first of the file
	Targets  []string      // that have the trouble: PROVIDER or PROVIDER/MODEL; none is the model's first
	Length   time.Duration // of the load, at least MinLength
	Wait     time.Duration // for calls that are open when the load has ended
	Rate     float64       // calls a second, on average, at most MaxRate
	Seed     uint64
	Allow    float64 // the share of calls that may fail, 0 to 1
	Log      *slog.Logger
	Version  string
}

// A Drill is one scenario on one model. Run it once.
type Drill struct {
	o        Options
	scenario Scenario
	model    string
	targets  []llm.Target // of the model, in the order of the file
	trouble  []llm.Target // a Model of "" is all of the provider's
	phases   [3]span      // quiet, trouble, recovery

	dir    string
	sim    *sim.Sim
	admin  *control
	caller *caller
	watch  *watch
	begun  time.Time

	mu    sync.Mutex // guards the fields below
	calls []*call
	open  int
	seen  struct{ sent, failed int }
}

// A span is a part of the load's time, counted from its start.
type span struct {
	name        string
	from, until time.Duration
}

// New says what is wrong with the options, if anything is.
func New(o Options) (*Drill, error) {
	s, ok := Find(o.Scenario)
	switch {
	case !ok:
		return nil, fmt.Errorf("there is no scenario %q", o.Scenario)
	case o.Length < MinLength:
		return nil, fmt.Errorf("a drill takes at least %v", MinLength)
	case !(o.Rate > 0 && o.Rate <= MaxRate):
		return nil, fmt.Errorf("the rate is above 0 and at most %d calls a second", MaxRate)
	case !(o.Allow >= 0 && o.Allow <= 1):
		return nil, errors.New("the share of calls that may fail is from 0 % to 100 %")
	}
	d := &Drill{o: o, scenario: s}
	if err := d.choose(); err != nil {
		return nil, err
	}
	d.phases = [3]span{
		{"quiet", 0, o.Length / 10}, {"trouble", o.Length / 10, o.Length * 3 / 4}, {"recovery", o.Length * 3 / 4, o.Length},
	}
	return d, nil
}

// choose finds the model, its targets, and which of them have the trouble.
func (d *Drill) choose() error {
	cfg := d.o.Config
	d.model = d.o.Model
	if d.model == "" {
		d.model = firstModel(cfg)
	}
	if d.model == "" {
		return errors.New("there is no model to call: name one with --model, as PROVIDER/MODEL")
	}
	if m, ok := cfg.Models[d.model]; ok {
		for _, t := range m.Targets {
			if target, ok := llm.ParseTarget(t.Target); ok {
				d.targets = append(d.targets, target)
			}
		}
	} else if t, ok := llm.ParseTarget(d.model); ok && len(cfg.Models) == 0 {
		if _, known := cfg.Providers[t.Provider]; known {
			d.targets = []llm.Target{t}
		}
	}
	if len(d.targets) == 0 {
		return fmt.Errorf("there is no model %q in the configuration (there are: %s)", d.model, strings.Join(slices.Sorted(maps.Keys(cfg.Models)), ", "))
	}
	if len(d.o.Targets) == 0 {
		d.trouble = d.targets[:1]
		return nil
	}
	for _, name := range d.o.Targets {
		t, ok := llm.ParseTarget(name)
		if !ok {
			t = llm.Target{Provider: name}
		}
		if !slices.ContainsFunc(d.targets, func(one llm.Target) bool { return covers(t, one) }) {
			return fmt.Errorf("the model %s has no target %q (it has: %s)", d.model, name, joined(d.targets))
		}
		d.trouble = append(d.trouble, t)
	}
	return nil
}

// covers reports whether a target is another, or all of its provider's.
func covers(t, one llm.Target) bool {
	return t.Provider == one.Provider && (t.Model == "" || t.Model == one.Model)
}

// troubled reports whether a target has the trouble.
func (d *Drill) troubled(one llm.Target) bool {
	return slices.ContainsFunc(d.trouble, func(t llm.Target) bool { return covers(t, one) })
}

// troubledNames are the model's targets that have the trouble.
func (d *Drill) troubledNames() (names []string) {
	for _, t := range d.targets {
		if d.troubled(t) {
			names = append(names, t.String())
		}
	}
	return names
}

func joined(targets []llm.Target) string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.String()
	}
	return strings.Join(names, ", ")
}

// firstModel is the one that stands first in the file; where there are no models, a model of the first provider that has some.
func firstModel(cfg *config.File) string {
	first, at := "", 0
	for _, name := range slices.Sorted(maps.Keys(cfg.Models)) {
		place := cfg.Origin("models." + name)
		line, _ := strconv.Atoi(place[strings.LastIndexByte(place, ':')+1:]) // 0 if the file does not say it
		if first == "" || line < at {
			first, at = name, line
		}
	}
	if first != "" {
		return first
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
		if models := cfg.Providers[name].Models; len(models) > 0 {
			return name + "/" + models[0]
		}
		newest := catalog.Model{}
		for _, m := range catalog.Default().Models(cfg.Vendor(name, catalog.Default())) {
			if m.Can(catalog.Tools) && m.Released > newest.Released { // so it chats
				newest = m
			}
		}
		if newest.Name != "" {
			return name + "/" + newest.Name
		}
	}
	return ""
}

// Scenario is what is played.
func (d *Drill) Scenario() Scenario { return d.scenario }

// Model is the one that is called.
func (d *Drill) Model() string { return d.model }

// Troubled are the targets that have the trouble.
func (d *Drill) Troubled() []string { return d.troubledNames() }

// State is how far the drill is.
type State struct {
	Phase               string // quiet, trouble, recovery, or waiting for open calls
	Sent, Open, Failed  int
	Took, UntilNextTurn time.Duration
}

// State may be asked while the drill runs.
func (d *Drill) State() State {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := State{Phase: "preparing", Sent: d.seen.sent, Open: d.open, Failed: d.seen.failed}
	if d.begun.IsZero() {
		return s
	}
	s.Phase, s.Took = "waiting for open calls", time.Since(d.begun)
	for _, p := range d.phases {
		if s.Took < p.until {
			s.Phase, s.UntilNextTurn = p.name, p.until-s.Took
			break
		}
	}
	return s
}

// Run plays the scenario and gives what came of it. When ctx ends, the report is about what was played until then. Its error
// says that there could be no drill, or that it could not be evaluated.
func (d *Drill) Run(ctx context.Context) (*Report, error) {
	dir, err := os.MkdirTemp("", "penstock-drill-")
	if err != nil {
		return nil, err
	}
	d.dir = dir
	// What serves outlives ctx: the books are read after it has ended.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, running := errgroup.WithContext(serving)
	report, err := d.run(ctx, running, group)
	stop()
	err = errors.Join(err, group.Wait())
	if report != nil && !report.Books.Agree {
		report.Data = dir // it is evidence
		return report, err
	}
	return report, errors.Join(err, os.RemoveAll(dir))
}

func (d *Drill) run(ctx, running context.Context, group *errgroup.Group) (*Report, error) {
	if err := d.raise(running, group); err != nil {
		return nil, err
	}
	watching, unwatch := context.WithCancel(running)
	defer unwatch()
	d.watch = newWatch(d.admin, d.model)
	d.mu.Lock()
	d.begun = time.Now()
	d.mu.Unlock()
	group.Go(func() error { d.watch.run(watching, d.begun); return nil })
	d.play(ctx, running)
	unwatch()
	return d.report(running, ctx.Err() != nil)
}

// raise starts the twins and a Penstock in front of them, and makes a project that calls.
func (d *Drill) raise(ctx context.Context, group *errgroup.Group) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	t, err := newTwins(d.o.Config, d.targets, d.dir, l.Addr().String(), d.o.Seed)
	if err == nil {
		d.sim, err = sim.New(t.sims)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	group.Go(func() error { return d.sim.Run(ctx, l) })
	s, err := server.New(ctx, t.cfg, server.Options{Log: d.o.Log, Version: d.o.Version})
	if err != nil {
		return err
	}
	p := s.Presence()
	group.Go(func() error { return s.Run(ctx) })
	if d.admin, err = newControl(p.AdminURL, filepath.Join(d.dir, "admin.key")); err != nil {
		return err
	}
	key, err := d.admin.key(ctx)
	if err != nil {
		return err
	}
	if len(t.prices.Data) > 0 {
		if err := d.admin.put(ctx, "/prices", t.prices); err != nil {
			return err
		}
	}
	d.caller = newCaller(p.DataURL, key, d.model, d.embeds(t.cfg))
	return nil
}

// embeds reports whether the model makes vectors and does not chat.
func (d *Drill) embeds(cfg *config.File) bool {
	t := d.targets[0]
	m, ok := catalog.Default().Find(cfg.Providers[t.Provider].Vendor, t.Model)
	return ok && m.Can(catalog.Embeddings)
}

// play sends the load, makes the trouble in its middle, and waits for what is open.
func (d *Drill) play(ctx, running context.Context) {
	waiting, giveUp := context.WithCancel(running)
	defer giveUp()
	playing, done := context.WithDeadline(ctx, d.begun.Add(d.o.Length))
	defer done()
	var calls sync.WaitGroup
	calls.Go(func() { d.makeTrouble(playing) })
	r := rand.New(rand.NewPCG(d.o.Seed, 5)) //nolint:gosec // a workload, not a secret
	for due, n := time.Duration(0), 1; ; n++ {
		due += time.Duration(r.ExpFloat64() / d.o.Rate * float64(time.Second))
		one := &call{number: n, due: due, stream: r.IntN(2) == 0 && !d.caller.embed}
		if due >= d.o.Length || !sleepUntil(playing, d.begun.Add(due)) {
			break
		}
		d.count(func() { d.seen.sent++; d.open++; d.calls = append(d.calls, one) })
		calls.Go(func() {
			d.caller.send(waiting, d.begun, one)
			d.count(func() {
				d.open--
				if one.kind != "" {
					d.seen.failed++
				}
			})
		})
	}
	patience := time.AfterFunc(time.Until(d.begun.Add(d.o.Length+d.o.Wait)), giveUp)
	defer patience.Stop()
	defer context.AfterFunc(ctx, giveUp)()
	calls.Wait()
	d.caller.http.CloseIdleConnections()
}

// makeTrouble begins the trouble when it is time; it ends by itself.
func (d *Drill) makeTrouble(ctx context.Context) {
	p := d.phases[1]
	if !sleepUntil(ctx, d.begun.Add(p.from)) {
		return
	}
	for _, t := range d.trouble {
		model := simModel(t.Model)
		if d.scenario.server && d.o.Config.Providers[t.Provider].Private {
			model = "" // one server, which Penstock's probes ask, too
		}
		// It fails for names and faults that do not exist; these do.
		_ = d.sim.Trouble(simName(t.Provider), model, d.scenario.faults, p.until-p.from)
	}
}

func (d *Drill) count(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// sleepUntil waits for an instant; it reports false if ctx ended first.
func sleepUntil(ctx context.Context, due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
