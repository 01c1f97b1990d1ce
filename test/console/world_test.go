package console_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long is waited for what must happen soon, on a machine that is busy with other tests.
const patience = 30 * time.Second

// A world is a Penstock in front of simulated providers, and what an operator made in it.
type world struct {
	admin, data string // roots of both planes
	file        string // the configuration
	adminKey    string
	processes   []*process
	keys        map[string]string // by role, and callers' by project
	keyIDs      map[string]string
	exchanges   map[string]string // ids, by what happened
	user        string            // whom calls name as their end user
}

// simConfig is the simulated provider. It takes any model's name, and steering behind a "?" in it.
const simConfig = `listen: 127.0.0.1:0
seed: 1
providers:
  sim:
    key: provider-credential-1
    models:
      "*": { price: { input: "1", output: "4" }, output: "20", dimensions: 16 }
`

const penstockConfig = `listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
data: data
log: { level: warn }
timeouts: { connect: 2s, first_token: 1s, gap: 2s, total: 30s }
providers:
  sim: { dialect: openai, base_url: %s/sim/v1, credential: env:SIM_CREDENTIAL }
models:
  chat:     { targets: [sim/chat-large] }
  embed:    { targets: [sim/embed-small] }
  failing:  { targets: ["sim/failing-a?status=503", "sim/failing-b?status=500"] }
  limited:  { targets: ["sim/limited-a?status=429&retry_after=1"] }
  mended:   { targets: ["sim/broken?status=503", sim/chat-large] }
  cut:      { targets: ["sim/cut?cut=2"] }
  rude:     { targets: ["sim/rude?status=400&code=no&message=%%3Cscript%%3Ewindow.pwned=1%%3C/script%%3E%%3Cimg+src=https://elsewhere.invalid/x%%3E"] }
  unpriced: { targets: [sim/free-of-price] }
  lost:     { targets: ["sim/lost?hidden_reasoning=300&cut=0:rst"] }
  spare:    { targets: [sim/spare] }
`

// newWorld starts a world for one test, without anything in it.
func newWorld(t *testing.T) *world {
	t.Helper()
	w, err := startWorld(t.TempDir())
	if w != nil {
		t.Cleanup(func() {
			if err := w.stop(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func startWorld(dir string) (*world, error) {
	w := &world{file: filepath.Join(dir, "penstock.yaml"), keys: map[string]string{}, keyIDs: map[string]string{}, exchanges: map[string]string{}, user: "ada"}
	simFile := filepath.Join(dir, "sim.yaml")
	if err := os.WriteFile(simFile, []byte(simConfig), 0o600); err != nil {
		return nil, err
	}
	upstream, err := w.start("sim", "-c", simFile, "--json")
	if err != nil {
		return w, err
	}
	if err := os.WriteFile(w.file, fmt.Appendf(nil, penstockConfig, "http://"+upstream.Addr), 0o600); err != nil {
		return w, err
	}
	at, err := w.start("serve", "-c", w.file, "--json")
	if err != nil {
		return w, err
	}
	w.data, w.admin = "http://"+at.Data, "http://"+at.Admin
	key, err := os.ReadFile(filepath.Join(dir, "data", "admin.key"))
	w.adminKey = strings.TrimSpace(string(key))
	w.keys["admin"] = w.adminKey
	return w, err
}

// furnish makes one of each of what pages show.
func (w *world) furnish() error {
	run := func(args ...string) {
		if _, err := w.command(args...); err != nil {
			panic(err)
		}
	}
	return catch(func() {
		run("project", "create", "checkout", "--label", "cost_center=42")
		run("project", "create", "support", "--bodies", "keep", "--retention", "30d", "--strict")
		run("price", "set", "sim/chat-large", "--input", "1", "--output", "4")
		run("budget", "set", "--project", "support", "--amount", "100.00", "--per", "day", "--keep", "gold=30")
		run("budget", "set", "--project", "*", "--user", "*", "--tokens", "5000000", "--per", "month", "--observe", "--model", "<script>*")
		run("limit", "set", "--project", "*", "--requests", "60000")
		run("tier", "set", "gold", "--requests", "60000", "--budget", "1000/day", "--models", "*")
		run("tier", "set", "unused")
		run("tier", "assign", "gold", "--project", "support", "--user", "*")
		run("budget", "set", "--project", "checkout", "--amount", "0.0003", "--per", "day", "--observe")
		run("budget", "set", "--project", "checkout", "--amount", "0", "--per", "month", "--observe")
		run("route", "disable", "sim/spare", "--reason", `<script>window.pwned=1</script>`)
		run("price", "set", "sim/embed-small", "--input", "0.02", "--output", "0")
		for _, project := range []string{"checkout", "support"} {
			w.key(project, "caller", project+" calls")
		}
		for _, role := range roles {
			w.key("checkout", role, role)
		}
		w.key("support", "caller", "trial", "--models", "chat", "--expires", "30d")
		for i := range 6 {
			w.exchanges["answered"] = w.chat([]string{"checkout", "support"}[i%2], "chat", "say:20", true)
		}
		for _, model := range []string{"failing", "limited", "mended", "cut", "unpriced"} {
			w.exchanges[model] = w.chat("checkout", model, "say:5", true)
		}
		w.lost()
		w.exchanges["unknown model"] = w.chat("support", "gpt-9", "say:5", false)
	})
}

// lost makes a call whose end nobody saw, and a correction.
func (w *world) lost() {
	w.chat("support", "lost", "say:5", true)
	for _, args := range [][]string{
		{"price", "set", "sim/lost?hidden_reasoning=300&cut=0:rst", "--input", "1", "--output", "4"},
		{"ledger", "adjust", "--project", "checkout", "--provider", "sim", "--amount", "-0.000001", "--reason", "<script>window.pwned=1</script>"},
	} {
		if _, err := w.command(args...); err != nil {
			panic(err)
		}
	}
	w.chat("support", "lost", "say:5", true)
}

// roles are those that may sign in, but for admin, who has a key at the start.
var roles = []string{"viewer", "operator", "auditor"}

// catch runs what panics with an error and gives that.
func catch(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			var ok bool
			if err, ok = p.(error); !ok {
				panic(p)
			}
		}
	}()
	f()
	return nil
}

// key makes a key and keeps it under its role; a caller's under its project.
func (w *world) key(project, role, name string, more ...string) string {
	out, err := w.command(append([]string{"key", "create", "--project", project, "--role", role, "--name", name, "--json"}, more...)...)
	var made struct{ ID, Key string }
	if err == nil {
		err = json.Unmarshal([]byte(out), &made)
	}
	if err != nil {
		panic(err)
	}
	under := role
	if role == "caller" {
		under = project
	}
	if w.keys[under] == "" {
		w.keys[under], w.keyIDs[under] = made.Key, made.ID
	}
	return made.Key
}

// chat asks a model and gives the id of the exchange, however it ended.
func (w *world) chat(project, model, text string, stream bool) string {
	var body bytes.Buffer
	writing := json.NewEncoder(&body)
	writing.SetEscapeHTML(false) // what is hostile in the text is so in the body as well
	if err := writing.Encode(map[string]any{
		"model": model, "stream": stream, "user": w.user, "messages": []map[string]string{{"role": "user", "content": text}},
	}); err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.data+"/v1/chat/completions", &body)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.keys[project])
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // a stream that breaks off is one of the cases
	id := resp.Header.Get("X-Request-Id")
	if id == "" {
		panic(fmt.Errorf("%s: %s without an id", model, resp.Status))
	}
	return id
}

// command runs a command of Penstock and gives what it printed.
func (w *world) command(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(args, "-c", w.file)...)
	cmd.Env = environment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("penstock %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}

// A process is a Penstock or a simulator.
type process struct {
	cmd *exec.Cmd
	log *bytes.Buffer // complete once it has ended
}

// listening is the line with which both say where they serve.
type listening struct {
	Event, Addr, Data, Admin string
}

func (w *world) start(args ...string) (at listening, err error) {
	p := &process{cmd: exec.Command(binary, args...), log: &bytes.Buffer{}}
	p.cmd.Env, p.cmd.Stderr = environment(), p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return at, err
	}
	if err := p.cmd.Start(); err != nil {
		return at, err
	}
	w.processes = append(w.processes, p)
	lines := make(chan []byte, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadBytes('\n') // an empty line is not understood, below
		lines <- line
	}()
	select {
	case line := <-lines:
		if err := json.Unmarshal(line, &at); err != nil || at.Event != "listening" {
			return at, fmt.Errorf("%v said %q instead of where it listens", args, line)
		}
		return at, nil
	case <-time.After(patience):
		return at, fmt.Errorf("%v did not listen within %s", args, patience)
	}
}

// stop ends all processes, Penstock first. One that does not end cleanly, or that logged an error, is an error.
func (w *world) stop() error {
	var all []error
	for _, p := range slices.Backward(w.processes) {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already; Wait tells
		killer := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
		err := p.cmd.Wait()
		killer.Stop()
		if err != nil || strings.Contains(p.log.String(), "panic") || strings.Contains(p.log.String(), "page failed") {
			all = append(all, fmt.Errorf("%v: %w; it logged:\n%s", p.cmd.Args, err, p.log))
		}
	}
	w.processes = nil
	return errors.Join(all...)
}

// environment is ours without what is set up for other Penstocks and providers.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PENSTOCK_") || strings.HasPrefix(v, "OPENAI_") || strings.HasPrefix(strings.ToLower(v), "http")
	})
	return append(env, "SIM_CREDENTIAL=provider-credential-1")
}
