package server

import (
	"net/http"
	"time"

	"github.com/penstock/penstock/internal/console"
)

// newConsole makes the pages of the control plane.
func (s *Server) newConsole() (*console.Console, error) {
	return console.New(console.Options{
		Keys: s.keys, Tenants: s.tenants, Records: s.store, Chain: s.store, Keeper: s.keeper, Ring: s.ring, Sync: s.settled,
		Status: s.consoleStatus, Log: s.o.Log, Register: s.metrics, Now: time.Now,
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
	if kept.Err != nil {
		out.Store.Err = kept.Err.Error()
	}
	return out
}
