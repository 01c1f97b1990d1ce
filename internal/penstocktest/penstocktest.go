// Package penstocktest runs a whole Penstock before simulated providers, in the test's own process: the real server on
// real sockets, with a store of its own.
//
// It is for tests that need everything at once: promises about money, records, tenants and failure. It is not for what a
// test of one package can show.
package penstocktest

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/server"
	"github.com/penstock/penstock/internal/sim"
)

// Options say what differs from the usual.
type Options struct {
	// Config is YAML; %SIM% in it is the address of the simulated providers. The default has the providers sim-a and
	// sim-b with every model of theirs, and the model "support" over both.
	Config string
	// Sim are the simulated providers; the zero value is sim.Default without delays.
	Sim *sim.Config
	// Log takes what the server logs; nil throws it away.
	Log io.Writer
	// Hurry is server.Options.Hurry.
	Hurry <-chan os.Signal
	// Dir is the data directory; "" is a fresh one.
	Dir string
	// Skew is server.Options.Skew.
	Skew time.Duration
}

// Config is what a test runs on that says nothing else.
const Config = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  sim-a: { dialect: openai, base_url: "http://%SIM%/sim-a/v1", vendor: none }
  sim-b: { dialect: openai, base_url: "http://%SIM%/sim-b/v1", vendor: none }
`

// Fast is a set of simulated providers without delays. Every model name is accepted, so every knob can be used.
func Fast() *sim.Config {
	model := sim.Model{Price: sim.Price{Input: "1", Cached: "0.5", Output: "4"}, Output: "20"}
	provider := sim.Provider{Models: map[string]sim.Model{"*": model, "embed": {Price: sim.Price{Input: "0.02"}}}}
	return &sim.Config{Seed: 1, Providers: map[string]sim.Provider{"sim-a": provider, "sim-b": provider}}
}

// An Env is a running Penstock.
type Env struct {
	T        testing.TB
	Sim      *sim.Sim
	SimURL   string
	Server   *server.Server
	URL      string // of the data plane
	AdminURL string
	AdminKey string
	Dir      string // of the configuration file; the data lies in Dir/data
	File     string
	Client   *http.Client // what calls are made with; it keeps connections

	log   io.Writer
	hurry <-chan os.Signal
	skew  time.Duration
	stop  func() error
}

// Start runs a Penstock until the test ends, or Stop.
func Start(t testing.TB, o Options) *Env {
	t.Helper()
	e := &Env{T: t, Dir: o.Dir, hurry: o.Hurry, skew: o.Skew, Client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true}}}
	t.Cleanup(e.Client.CloseIdleConnections)
	if e.Dir == "" {
		e.Dir = t.TempDir()
	}
	e.startSim(o)
	text := o.Config
	if text == "" {
		text = Config
	}
	e.File = filepath.Join(e.Dir, "penstock.yaml")
	e.WriteConfig(text)
	e.log = o.Log
	if e.log == nil {
		e.log = io.Discard
	}
	e.serve()
	return e
}

// WriteConfig writes the configuration file; %SIM% is replaced.
func (e *Env) WriteConfig(text string) {
	e.T.Helper()
	text = strings.ReplaceAll(text, "%SIM%", strings.TrimPrefix(e.SimURL, "http://"))
	if err := os.WriteFile(e.File, []byte(text), 0o600); err != nil {
		e.T.Fatal(err)
	}
}

// Load reads the configuration file.
func (e *Env) Load(ctx context.Context) (*config.File, error) {
	return config.Load(ctx, config.Options{File: e.File, Env: os.LookupEnv})
}

func (e *Env) startSim(o Options) {
	e.T.Helper()
	cfg := o.Sim
	if cfg == nil {
		cfg = Fast()
	}
	s, err := sim.New(*cfg)
	if err != nil {
		e.T.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		e.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, l) }()
	e.T.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			e.T.Errorf("simulated providers: %v", err)
		}
	})
	e.Sim, e.SimURL = s, "http://"+l.Addr().String()
}

func (e *Env) serve() {
	e.T.Helper()
	cfg, err := e.Load(context.Background())
	if err != nil {
		e.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, cfg, server.Options{Log: slog.New(slog.NewTextHandler(e.log, nil)), Version: "test", Hurry: e.hurry, Skew: e.skew})
	if err != nil {
		cancel()
		e.T.Fatal(err)
	}
	p := s.Presence()
	e.Server, e.URL, e.AdminURL = s, p.DataURL, p.AdminURL
	key, err := os.ReadFile(filepath.Join(cfg.Data, "admin.key"))
	if err != nil {
		e.T.Error(err)
	}
	e.AdminKey = strings.TrimSpace(string(key))
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	e.stop = sync.OnceValue(func() error { cancel(); return <-done })
	e.T.Cleanup(func() {
		if err := e.stop(); err != nil {
			e.T.Errorf("serve: %v", err)
		}
	})
}

// Stop stops the Penstock in good order, as SIGTERM does.
func (e *Env) Stop() {
	e.T.Helper()
	if err := e.stop(); err != nil {
		e.T.Errorf("stop: %v", err)
	}
}

// Restart stops the Penstock, if that has not been done, and starts another on the same data, configuration file and
// simulated providers. Its addresses are new.
func (e *Env) Restart() {
	e.T.Helper()
	e.Stop()
	e.serve()
}
