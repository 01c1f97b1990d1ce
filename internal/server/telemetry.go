package server

import (
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/telemetry"
	"github.com/penstock/penstock/internal/wire/w3c"
)

// instance is what this replica is called, in alerts and in telemetry.
func instance(cfg *config.File) string {
	if cfg.Alerts.Instance != "" {
		return cfg.Alerts.Instance
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}

func waysOf(out wayOut, resolve config.Resolver) telemetry.Ways {
	return telemetry.Ways{
		Resolve:      resolve.Resolve,
		RoundTripper: func(plainHTTP2 bool) http.RoundTripper { return roundTripper(out, resolve, plainHTTP2) },
	}
}

// peersOf is what telemetry says of the configured providers. Vendors that the catalogue does not know have no name that
// others would know.
func peersOf(cfg *config.File, vendors map[string]string, known []string) map[string]telemetry.Peer {
	peers := make(map[string]telemetry.Peer, len(cfg.Providers))
	for name, p := range cfg.Providers {
		peer := telemetry.Peer{Name: name}
		if vendor := vendors[name]; slices.Contains(known, vendor) {
			peer.Name = telemetry.ProviderName(vendor)
		}
		if base, err := p.Base(); err == nil {
			peer.Address, peer.Port = base.Hostname(), portOf(base)
		}
		peers[name] = peer
	}
	return peers
}

func portOf(u *url.URL) int64 {
	if port, err := strconv.ParseInt(u.Port(), 10, 32); err == nil {
		return port
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

// traceOf says what providers are told of traces, nil if nothing. A try whose span is recorded is the parent of what its
// provider does; where none is, the provider learns what the caller said, unchanged.
func traceOf(cfg *config.File) func(*pipeline.Exchange, llm.Target, *pipeline.Try) w3c.Context {
	told := map[string]bool{}
	for name, p := range cfg.Providers {
		if cfg.Telemetry.Propagates(p.Private) {
			told[name] = true
		}
	}
	if len(told) == 0 {
		return nil
	}
	recorded := cfg.Telemetry.TracesOn()
	return func(x *pipeline.Exchange, t llm.Target, try *pipeline.Try) w3c.Context {
		switch {
		case !told[t.Provider]:
			return w3c.Context{}
		case recorded && x.Trace.IsSampled() || x.Trace.Span.IsZero():
			return x.Trace.Child(w3c.SpanOf(try.ID))
		}
		return x.Trace
	}
}

func (l *lookout) lookAtTelemetry() {
	for _, signal := range telemetry.Signals() {
		text, _ := l.telemetry.Trouble(signal)
		l.alerts.Set(alert.TelemetryFailing, signal, text != "", "The collector does not take "+signal+".")
	}
}

func (s *Server) openMetrics() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runtime.cfg.Admin.OpenMetrics
}
