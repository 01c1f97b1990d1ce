package sdk_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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

// A world is a Penstock in front of simulated providers of all dialects, with a key for its clients.
type world struct {
	url string // of the data plane
	key string
	sim string // root of the simulator, where it tells what it has seen

	admin, adminKey string // the control plane, for what was recorded
}

// startWorld starts the simulator and Penstock, and makes a project with prices and a key. All ends with the test.
func startWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	binary := penstock(t, dir)
	all := situations(t)
	upstream := serve(t, binary, "sim", "-c", write(t, dir, "sim.yaml", simConfig(all)), "--json")
	w := &world{sim: "http://" + upstream.Addr}

	file := write(t, dir, "penstock.yaml", penstockConfig(all, w.sim))
	at := serve(t, binary, "serve", "-c", file, "--json")
	w.url, w.admin = "http://"+at.Data, "http://"+at.Admin
	secret, err := os.ReadFile(at.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	w.adminKey = strings.TrimSpace(string(secret))
	run := func(args ...string) string { return output(t, binary, append(args, "-c", file)...) }
	run("project", "create", "support", "--json")
	run("apply", "-f", write(t, dir, "prices.yaml", prices(all)))
	for _, d := range dialects {
		run("stop", "--model", "stopped-"+d, "--reason", "not today")
		run("budget", "set", "--project", "support", "--model", "spent-"+d, "--amount", "0", "--per", "month")
	}
	run("limit", "set", "--project", "support", "--requests", "100000", "--tokens", "100000000")
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
	Admin string `json:"admin"`

	KeyFile string `json:"admin_key_file"`
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
		return slices.ContainsFunc([]string{"PENSTOCK_", "OPENAI_", "ANTHROPIC_", "AWS_", "LANG"}, func(p string) bool { return strings.HasPrefix(v, p) })
	})
	return append(env, "SIM_CREDENTIAL="+credential)
}
