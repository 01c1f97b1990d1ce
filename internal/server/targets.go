package server

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/admission"
	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/quota"
	"github.com/penstock/penstock/internal/route"
)

// openTargets makes what is known of targets beside what a configuration says: their health, their limits, their speeds.
func (s *Server) openTargets(cfg *config.File) (err error) {
	if s.targets, err = health.New(health.Options{Store: s.store, Log: s.o.Log, Metrics: s.metrics, Instance: instance(cfg), Now: s.clock.Now}); err != nil {
		return err
	}
	queue, err := admission.New(admission.Options{Metrics: s.metrics, Label: s.labelOf})
	if err != nil {
		return err
	}
	if s.choices, err = route.NewMetrics(s.metrics); err != nil {
		return err
	}
	s.quotas = quota.New(quota.Options{Metrics: s.metrics, Random: rand.Float64})
	s.upstreams = &route.State{Health: s.targets, Admission: queue}
	return nil
}

// targets are what may answer by the configuration, sorted, each once. Where callers may ask for any model of a provider there
// are more.
func (rt *runtime) targets() []string {
	var all []string
	for _, name := range rt.table.Names() {
		for _, t := range rt.table.Targets(name) {
			all = append(all, t.String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// mayAnswer tells whether there is a target, one address of it, or a provider of a name.
func (rt *runtime) mayAnswer(name string) bool {
	if rt.clients[name] != nil {
		return true
	}
	if len(rt.cfg.Models) == 0 { // callers may ask for any model
		t, ok := llm.ParseTarget(name)
		return ok && rt.clients[t.Provider] != nil
	}
	return slices.ContainsFunc(rt.targets(), func(t string) bool { return health.Covers(t, name) })
}

// withHealth adds to routes how their targets are.
func (s *Server) withHealth(routes []admin.Route) []admin.Route {
	now, civil := time.Now(), s.clock.Now()
	at := func(t time.Time) time.Time { return civil.Add(t.Sub(now)) }
	for i := range routes {
		for j := range routes[i].Targets {
			t := &routes[i].Targets[j]
			t.Health = admin.TargetHealthOf(s.targets.Look(t.Target, now), at)
		}
	}
	return routes
}

// named reports whether metrics may name a model of a provider: others may be callers' inventions. It takes no lock, since
// whoever asks may hold one.
func (s *Server) named(provider, model string) bool {
	all := s.configured.Load()
	if all == nil {
		return false
	}
	_, found := slices.BinarySearch(*all, provider+"/"+model)
	return found
}

// labelOf is what metrics call an upstream: its target, if that is configured.
func (s *Server) labelOf(key string) string {
	name, _, _ := strings.Cut(key, "@")
	if t, ok := llm.ParseTarget(name); ok && s.named(t.Provider, t.Model) {
		return name
	}
	return "other"
}

func (l *lookout) lookAtTargets(now time.Time) {
	ejected := map[string]bool{}
	for _, s := range l.targets.Standings() {
		switch {
		case !s.Configured: // its name may be a caller's invention
		case s.Kind == health.Ejected, s.Kind == health.HalfOpen:
			ejected[s.Target] = true
			l.alerts.Report(alert.TargetEjected, s.Target, fmt.Sprintf("It has been failing for %s, the last time with %s: others get its calls.",
				figure.Duration(now.Sub(s.Failing).Round(time.Second)), s.Reason))
		case s.Kind == health.Ramping:
			ejected[s.Target] = true // it is not over yet, and there is nothing new to say
		}
	}
	l.alerts.ClearOthers(alert.TargetEjected, ejected)
	disabled := map[string]bool{}
	for _, d := range l.targets.Disabled() {
		disabled[d.Name] = true
		text := "Disabled since " + d.Since.UTC().Format(time.DateTime) + " UTC, until it is enabled."
		if !d.Until.IsZero() {
			text = "Disabled until " + d.Until.UTC().Format(time.DateTime) + " UTC."
		}
		l.alerts.Report(alert.TargetDisabled, d.Name, text)
	}
	l.alerts.ClearOthers(alert.TargetDisabled, disabled)
}

func (s *Server) routes() []admin.Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.withHealth(s.runtime.routes())
}
