package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

// startTime is how long a process may take to say that it listens.
const startTime = 30 * time.Second

// A world is a Penstock in front of a simulated provider, with a key for its clients.
type world struct {
	base string // what the SDKs take as their base URL
	key  string
	sim  string // root of the simulator, where it tells what it has seen
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

// penstockConfig has one name for each situation that an SDK can get into.
const penstockConfig = `listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
data: data
log: { level: warn }
timeouts: { connect: 2s, first_token: 1s, gap: 2s, total: 30s }
providers:
  sim: { dialect: openai, base_url: %s/sim/v1, credential: env:SIM_CREDENTIAL }
models:
  chat:      { targets: [sim/chat-large] }
  embed:     { targets: [sim/embed-small] }
  two-calls: { targets: ["sim/two-calls?tool_calls=2"] }
  refusing:  { targets: ["sim/refusing?status=400&code=no_poems&message=no+poems+today", sim/chat-large] }
  failing:   { targets: ["sim/failing-a?status=503", "sim/failing-b?status=500"] }
  limited:   { targets: ["sim/limited-a?status=429&retry_after=1", "sim/limited-b?status=429&retry_after=2"] }
  silent:    { targets: ["sim/silent?stall=headers"] }
  mended:    { targets: ["sim/broken?status=503", sim/chat-large] }
  cut:       { targets: ["sim/cut?cut=2"] }
  slow:      { targets: ["sim/slow?events=2000&gap=20ms"] }
`

// startWorld starts the simulator and Penstock, and makes a project with a price and a key. All ends with the test.
func startWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	binary := penstock(t, dir)
	simFile := write(t, dir, "sim.yaml", simConfig)
	upstream := serve(t, binary, "sim", "-c", simFile, "--json")
	w := &world{sim: "http://" + upstream.Addr}

	file := write(t, dir, "penstock.yaml", fmt.Sprintf(penstockConfig, w.sim))
	at := serve(t, binary, "serve", "-c", file, "--json")
	w.base = "http://" + at.Data + "/v1"
	run := func(args ...string) string { return output(t, binary, append(args, "-c", file)...) }
	run("project", "create", "support", "--json")
	run("price", "set", "sim/chat-large", "--input", "1", "--output", "4")
	w.key = run("key", "create", "--project", "support")
	return w
}

// penstock is the program under test: PENSTOCK_BIN, or built from the sources.
func penstock(t *testing.T, dir string) string {
	t.Helper()
	if binary := os.Getenv("PENSTOCK_BIN"); binary != "" {
		return binary
	}
	binary := filepath.Join(dir, "penstock")
	cmd := exec.Command("go", "build", "-o", binary, "../../cmd/penstock")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// listening is the line with which simulator and Penstock say where they serve.
type listening struct {
	Event string `json:"event"`
	Addr  string `json:"addr"`
	Data  string `json:"data"`
}

// serve starts a process, waits until it listens, and stops it when the test ends. A process that does not end cleanly
// fails the test.
func serve(t *testing.T, binary string, args ...string) listening {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = cleanEnvironment()
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, cmd, &log) })
	lines := make(chan []byte, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadBytes('\n') // an empty line is not understood, below
		lines <- line
	}()
	var at listening
	select {
	case line := <-lines:
		if err := json.Unmarshal(line, &at); err != nil || at.Event != "listening" {
			t.Fatalf("%v said %q instead of where it listens", args, line)
		}
	case <-time.After(startTime):
		t.Fatalf("%v did not listen within %s", args, startTime)
	}
	return at
}

func stop(t *testing.T, cmd *exec.Cmd, log *bytes.Buffer) {
	t.Helper()
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already; Wait tells
	killer := time.AfterFunc(startTime, func() { _ = cmd.Process.Kill() })
	defer killer.Stop()
	err := cmd.Wait()
	if err != nil {
		t.Errorf("%v did not end cleanly: %v", cmd.Args, err)
	}
	if t.Failed() {
		t.Logf("%v logged:\n%s", cmd.Args, log)
	}
}

// output runs a command of Penstock and gives what it printed.
func output(t *testing.T, binary string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = cleanEnvironment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("penstock %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// cleanEnvironment is ours without what is set up for other Penstocks and providers.
func cleanEnvironment() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PENSTOCK_") || strings.HasPrefix(v, "OPENAI_")
	})
	return append(env, "SIM_CREDENTIAL=provider-credential-1")
}

// A bill is what the simulator says it charges for.
type bill struct {
	Open   int `json:"open"` // calls that have not ended yet, and are in nothing below
	Models map[string]struct {
		Calls int64 `json:"calls"`
	} `json:"models"`
	Calls []struct {
		Seq      int64     `json:"seq"`
		Model    string    `json:"model"`
		Canceled time.Time `json:"canceled_at"`
	} `json:"calls"`
}

func (w *world) bill(t *testing.T) bill {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.sim+"/_bill", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bill
	if err := json.NewDecoder(resp.Body).Decode(&b); err != nil {
		t.Fatalf("the simulator's bill: %v", err)
	}
	return b
}

// settled is the bill once the provider has noticed the end of every call.
func (w *world) settled(t *testing.T) bill {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-tick.C {
		if b := w.bill(t); b.Open == 0 {
			return b
		}
	}
	t.Fatal("a call at the provider does not end")
	return bill{}
}

// calls is how many calls of the models have reached the provider.
func (w *world) calls(t *testing.T, models ...string) int64 {
	t.Helper()
	known := w.settled(t).Models
	var n int64
	for _, m := range models {
		n += known["sim/"+m].Calls
	}
	return n
}

// lastCall is the number of the newest call.
func (w *world) lastCall(t *testing.T) int64 {
	t.Helper()
	calls := w.settled(t).Calls
	if len(calls) == 0 {
		return 0
	}
	return calls[len(calls)-1].Seq
}

// canceledSince waits until the provider has noticed that the client of a call of the model, after number seq, had left,
// and gives the time of that.
func (w *world) canceledSince(t *testing.T, model string, seq int64) time.Time {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); <-tick.C {
		for _, c := range w.bill(t).Calls {
			if c.Model == model && c.Seq > seq && !c.Canceled.IsZero() {
				return c.Canceled
			}
		}
	}
	t.Fatalf("the provider never saw that the client of %s left", model)
	return time.Time{}
}
