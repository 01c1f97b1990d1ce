// Package penstocktest runs a whole Penstock before simulated providers, in the test's own process: the real server on
// real sockets, with a store of its own.
//
// It is for tests that need everything at once: promises about money, records, tenants and failure. It is not for what a
// test of one package can show.
package penstocktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/server"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/usage"
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
	// Dir is the data directory; "" is a fresh one.
	Dir string
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

	stop func() error
}

// Start runs a Penstock until the test ends, or Stop.
func Start(t testing.TB, o Options) *Env {
	t.Helper()
	e := &Env{T: t, Dir: o.Dir}
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
	e.serve(o)
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

func (e *Env) serve(o Options) {
	e.T.Helper()
	log := o.Log
	if log == nil {
		log = io.Discard
	}
	cfg, err := e.Load(context.Background())
	if err != nil {
		e.T.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, cfg, server.Options{Log: slog.New(slog.NewTextHandler(log, nil)), Version: "test"})
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

// Admin calls the control plane and decodes the answer into out, unless that is nil. It gives the status.
func (e *Env) Admin(method, path string, in, out any) int {
	e.T.Helper()
	b, err := json.Marshal(in)
	if err != nil {
		e.T.Fatal(err)
	}
	req, err := http.NewRequest(method, e.AdminURL+"/admin/v1"+path, bytes.NewReader(b))
	if err != nil {
		e.T.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+e.AdminKey)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.T.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		e.T.Fatal(err)
	}
	if out != nil {
		if err := json.Unmarshal(answer, out); err != nil {
			e.T.Fatalf("%s %s answered %d: %s", method, path, resp.StatusCode, answer)
		}
	}
	return resp.StatusCode
}

// Key makes a project, if it is new, and a key in it. Globs narrow the key to models.
func (e *Env) Key(project string, globs ...string) string {
	e.T.Helper()
	e.Admin(http.MethodPost, "/projects", admin.ProjectInput{Name: project}, nil) // 409 if it is there already
	var key admin.NewKey
	if status := e.Admin(http.MethodPost, "/keys", admin.KeyInput{Project: project, Models: globs}, &key); status != http.StatusCreated {
		e.T.Fatalf("no key for %s: status %d", project, status)
	}
	return key.Key
}

// Price gives a target the prices of [Fast].
func (e *Env) Price(targets ...string) {
	e.T.Helper()
	var in struct {
		Data []admin.Price `json:"data"`
	}
	for _, t := range targets {
		in.Data = append(in.Data, admin.Price{Target: t, Input: "1", CachedInput: "0.5", Output: "4"})
	}
	if status := e.Admin(http.MethodPut, "/prices", in, nil); status != http.StatusOK {
		e.T.Fatalf("prices: status %d", status)
	}
}

// An Answer is what came back from the data plane.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error // of reading the body
}

// Text is the body.
func (a Answer) Text() string { return string(a.Body) }

// ID is the exchange's id.
func (a Answer) ID() string { return a.Header.Get("X-Request-Id") }

// Post sends a body to the data plane. Headers are names and values in turn.
func (e *Env) Post(key, path, body string, headers ...string) Answer {
	e.T.Helper()
	return e.Do(http.MethodPost, key, path, body, headers...)
}

// Do sends a request to the data plane. Key "" sends none.
func (e *Env) Do(method, key, path, body string, headers ...string) Answer {
	e.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, e.URL+path, strings.NewReader(body))
	if err != nil {
		e.T.Fatal(err)
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Answer{Err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return Answer{Status: resp.StatusCode, Header: resp.Header, Body: b, Err: err}
}

// Chat is the body of a chat with one user message.
func Chat(model, text string, stream bool) string {
	b, err := json.Marshal(map[string]any{
		"model": model, "stream": stream, "messages": []map[string]string{{"role": "user", "content": text}},
	}, json.Deterministic(true))
	if err != nil {
		panic(err) // strings and booleans always encode
	}
	return string(b)
}

// Record reads an exchange's record from the control plane; nil if there is none.
func (e *Env) Record(id string) *usage.Record {
	e.T.Helper()
	var r usage.Record
	if e.Admin(http.MethodGet, "/exchanges/"+id, nil, &r) != http.StatusOK {
		return nil
	}
	return &r
}

// Records reads all records, the newest first.
func (e *Env) Records() []usage.Record {
	e.T.Helper()
	var all []usage.Record
	after := ""
	for {
		var p struct {
			Data []usage.Record `json:"data"`
			Next string         `json:"next"`
		}
		if status := e.Admin(http.MethodGet, fmt.Sprintf("/exchanges?limit=1000&after=%s", after), nil, &p); status != http.StatusOK {
			e.T.Fatalf("exchanges: status %d", status)
		}
		all = append(all, p.Data...)
		if p.Next == "" {
			return all
		}
		after = p.Next
	}
}

// CheckBill fails the test unless Penstock's records and the providers' own bill are one, call by call: every billed call
// is a try of a record with the same tokens and money, and no record claims more. Records that say "unknown" are not
// compared; their number is returned.
func (e *Env) CheckBill() (unknown int) {
	e.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := e.Sim.Idle(ctx); err != nil {
		e.T.Fatal(errors.Join(errors.New("simulated providers do not come to rest"), err))
	}
	billed := map[string]sim.Call{}
	for _, c := range e.Sim.Bill().Calls {
		billed[c.ID] = c
	}
	for _, r := range e.Records() {
		for _, try := range r.Tries {
			call, ok := billed[try.Upstream]
			delete(billed, try.Upstream)
			switch {
			case try.Outcome == "unknown":
				unknown++
			case !ok && try.CostNano != 0:
				e.T.Errorf("%s: try %s cost %s, and is not on the bill", r.ID, try.ID, try.CostNano)
			case ok && (try.CostNano != call.Cost || try.Usage.Input != call.Prompt || try.Usage.Output != call.Completion):
				e.T.Errorf("%s: try %s (%s) has %d in, %d out, %s; the bill has %d, %d, %s", r.ID, try.ID, try.Reason,
					try.Usage.Input, try.Usage.Output, try.CostNano, call.Prompt, call.Completion, call.Cost)
			}
		}
	}
	for _, c := range billed {
		if c.Cost != 0 && unknown == 0 {
			e.T.Errorf("call %s to %s cost %s, and is in no record", c.ID, c.Model, c.Cost)
		}
	}
	return unknown
}
