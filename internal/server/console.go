package server

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/console"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/retention"
)

// newConsole makes the pages of the control plane.
func (s *Server) newConsole() (*console.Console, error) {
	return console.New(console.Options{
		Keys: s.keys, Tenants: s.tenants, Records: s.store, Chain: s.store, Keeper: s.keeper, Ring: s.ring, Bodies: s.bodies.reader, Sync: s.settled,
		Holds:  &retention.Holds{Store: s.store, Now: s.clock.Now},
		Limits: s.store, LimitsChanged: s.limits.changed(s.o.Log), Ledger: s.store, Desk: s.limits.desk,
		Status: s.consoleStatus, Models: s.consoleModels, Health: s.health, Targets: s.targets, MayAnswer: func(name string) bool { return s.inForce().mayAnswer(name) }, Catalog: s.catalog, Log: s.o.Log, Register: s.metrics, Now: s.clock.Now,
	})
}

// controlPlane divides the control plane: the pages that there are, for people, are the console's; all else is the control
// API's, and so is what comes with a key in a header, which no browser sends.
func controlPlane(api http.Handler, pages *console.Console) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" && pages.Has(r.URL.EscapedPath()) {
			pages.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

func (s *Server) consoleStatus() console.Status {
	st := s.status()
	kept := s.store.Status()
	out := console.Status{
		Version: st.Version, Started: st.Started, Reason: st.Reason, ConfigLoaded: st.ConfigLoaded, ConfigError: st.ConfigError,
		Models: st.Models, Providers: st.Providers, Open: s.gateway.Open(), Backlog: st.JournalBacklog, DataURL: s.Presence().DataURL,
		Store: console.Store{Engine: kept.Engine, Bytes: kept.Bytes, LastWrite: kept.LastWrite},
	}
	for _, stop := range s.stops.InForce() {
		out.Stops = append(out.Stops, stop.Scope())
	}
	if s.writer != nil {
		out.Lag = s.writer.Lag()
	}
	out.Alerts, out.AuditProblem = s.alerts.Open(), st.AuditProblem
	cfg := s.inForce().cfg
	for _, l := range []struct {
		name    string
		section config.TLS
	}{{"tls", cfg.TLS}, {"admin.tls", cfg.Admin.TLS}} {
		if l.section.On() {
			ends, _ := CertificateEnd(l.section, cfg.Resolver()) // zero says that it cannot be read
			out.Certificates = append(out.Certificates, console.Certificate{Setting: l.name, Ends: ends})
		}
	}
	if kept.Err != nil {
		out.Store.Err = kept.Err.Error()
	}
	return out
}

// consoleModels are the models of the configuration in force.
func (s *Server) consoleModels() []console.Model {
	rt := s.inForce()
	set := map[llm.Target]time.Time{}
	for _, o := range s.catalog.Overrides() {
		set[o.Target] = o.Set
	}
	var all []console.Model
	for _, name := range rt.table.Names() {
		m := console.Model{Name: name, Route: rt.table.Policy(name)}
		for _, t := range rt.table.Targets(name) {
			target := console.Target{Name: t.String(), Provider: t.Provider}
			if known, ok := rt.view.Model(t); ok {
				target.Context, target.MaxOutput = known.Context, known.MaxOutput
				if known.Price != nil {
					price := console.PriceOf(t, *known.Price, known.Source, set[t])
					target.Price = &price
				}
			}
			m.Targets = append(m.Targets, target)
		}
		all = append(all, m)
	}
	return all
}

// health is how providers did in the last five minutes.
func (s *Server) health() map[string]console.Health {
	all := map[string]console.Health{}
	for name, c := range s.tally.providers.Counts() {
		all[name] = console.Health{Tries: int64(c.All), Failed: int64(c.Bad)}
	}
	for name := range s.tally.refusing() {
		h := all[name]
		h.Refusing = true
		all[name] = h
	}
	return all
}
