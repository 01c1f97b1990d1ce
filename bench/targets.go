package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/bench/load"
	"github.com/penstock/penstock/bench/mock"
	"github.com/penstock/penstock/bench/proc"
)

// asked is the model that clients ask for. The provider's own name of it is another one, so Penstock has to change the
// name on the way there and on the way back, in every event.
const asked = "bench"

// A target is a process under test.
type target struct {
	name    string
	process *proc.Process
	addr    string
	key     string
	model   string // what plain answers must say; "" is whatever
	sent    int64  // calls answered so far, all parts together

	admin, adminKey string // of Penstock
}

// A workload is one kind of call.
type workload struct {
	name      string
	kilobytes int
	stream    bool
}

var workloads = []workload{
	{"1 KB plain", 1, false},
	{"10 KB plain", 10, false},
	{"stream of 50 events", 1, true},
}

// call prepares the workload's call for the target. A stream's client asks for usage, so that all targets pass on the
// same events.
func (t *target) call(w workload) (*load.Call, error) {
	return t.callOf(mock.OpenAI, asked, t.model, w)
}

// callOf prepares the workload's call in a client's dialect for a model; answers is the model that plain answers must name, "" for
// whatever.
func (t *target) callOf(d mock.Dialect, model, answers string, w workload) (*load.Call, error) {
	return t.prepare(d, model, answers, w, "")
}

// callOfUser is call for an end user.
func (t *target) callOfUser(w workload, user string) (*load.Call, error) {
	return t.prepare(mock.OpenAI, asked, t.model, w, fmt.Sprintf(`,"user":%q`, user))
}

// prepare prepares a call whose body has more members.
func (t *target) prepare(d mock.Dialect, model, answers string, w workload, more string) (*load.Call, error) {
	messages, err := mock.Prompt(d, w.kilobytes)
	if err != nil {
		return nil, err
	}
	if w.stream {
		more += `,"stream":true`
	}
	if w.stream && d == mock.OpenAI {
		more += `,"stream_options":{"include_usage":true}`
	}
	body := fmt.Sprintf(`{"model":%q,%s,"temperature":0.2,"max_tokens":200%s}`, model, messages, more)
	return load.NewCall(d, t.key, body, mock.Text(), answers, w.stream), nil
}

// The names of the targets.
const (
	proxyName = "plain proxy"
	offName   = "Penstock, records off"
	onName    = "Penstock, records on"
	pgName    = "Penstock, records in PostgreSQL"
	keptName  = "Penstock, bodies kept"
)

// startMock starts the provider and gives its address.
func startMock(ctx context.Context, dir string) (address string, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	var upstream listening
	_, err = start(ctx, dir, &upstream, append(environment(), "GOMAXPROCS=1"), self, "-role", "mock")
	return "http://" + upstream.Addr, err
}

// startTargets starts the proxy and the Penstocks that are compared with it, in front of the mock at address; dir takes their data,
// and database is the address of one in PostgreSQL, "" for none.
func startTargets(ctx context.Context, o options, dir, address, database string) ([]*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var front listening
	process, err := start(ctx, dir, &front, environment(), self, "-role", "proxy", "-upstream", address)
	if err != nil {
		return nil, err
	}
	targets := []*target{{name: proxyName, process: process, addr: front.Addr, key: "none"}}
	for _, p := range []struct {
		name, records, store string
		project              []string // how the project is made
	}{
		{offName, "off", "", nil}, {onName, "on", "", nil}, {pgName, "on", database, nil},
		{keptName, "on", "", []string{"--bodies", "keep", "--retention", "30d"}},
	} {
		if p.name == pgName && database == "" {
			continue
		}
		t, err := startPenstock(ctx, o.binary, filepath.Join(dir, strconv.Itoa(len(targets))), penstock{
			configuration: fmt.Sprintf(configuration, p.records, address, mock.Model, asked, mock.Model),
			store:         p.store, project: p.project, providers: []string{"mock"},
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		t.name, t.model = p.name, asked
		targets = append(targets, t)
	}
	return targets, nil
}

// start starts a process, with its log in the folder, and reads the line with which it says where it listens.
func start(ctx context.Context, dir string, into *listening, env []string, program string, args ...string) (*proc.Process, error) {
	log, err := os.CreateTemp(dir, "*.log")
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	p, line, err := proc.Start(ctx, log, env, program, args...)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(line, into); err != nil || into.Event != "listening" {
		p.Stop()
		return nil, fmt.Errorf("%s said %q instead of where it listens", program, line)
	}
	return p, nil
}

// environment is ours without what would change how Penstock is set up.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PENSTOCK_") })
}

// configuration is Penstock's file: its defaults, a log line for each exchange among them, one provider and one model.
const configuration = `listen: 127.0.0.1:0
admin: { listen: 127.0.0.1:0 }
data: data
records: %s
providers:
  mock: { dialect: openai, base_url: %s/v1, models: [%s] }
models:
  %s: { targets: [mock/%s] }
`

// A penstock is how a Penstock is set up.
type penstock struct {
	configuration string
	store         string   // "" is a file
	project       []string // settings of the project
	keyName       string   // "" is none
	providers     []string // whose model gets a price
}

// startPenstock starts a Penstock with a project, a key and prices.
func startPenstock(ctx context.Context, binary, dir string, p penstock) (*target, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "penstock.yaml")
	text := p.configuration
	if p.store != "" {
		text += "store: " + p.store + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	var at listening
	process, err := start(ctx, dir, &at, environment(), binary, "serve", "-c", file, "--json")
	if err != nil {
		return nil, err
	}
	t := &target{process: process, addr: at.Data, admin: at.Admin}
	steps := [][]string{append([]string{"project", "create", "bench", "--json", "-c", file}, p.project...)}
	for _, name := range p.providers {
		steps = append(steps, []string{"price", "set", name + "/" + mock.Model, "--input", "0.25", "--output", "2", "-c", file})
	}
	key := []string{"key", "create", "--project", "bench", "-c", file}
	if p.keyName != "" {
		key = append(key, "--name", p.keyName)
	}
	for _, step := range append(steps, key) {
		if t.key, err = output(ctx, binary, step...); err != nil {
			return nil, err
		}
	}
	adminKey, err := os.ReadFile(at.AdminKeyFile)
	t.adminKey = strings.TrimSpace(string(adminKey))
	return t, err
}

// output runs a command of Penstock and gives what it printed.
func output(ctx context.Context, binary string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = environment()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", binary, strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(string(out)), nil
}

// records asks the control plane how many exchanges are in the store.
func (t *target) records(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.admin+"/admin/v1/usage?group_by=project&from=2000-01-01T00:00:00Z", nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+t.adminKey)
	client := &http.Client{}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Data []struct {
			Requests int64 `json:"requests"`
		} `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("the control plane answered %s to a question for usage (%w)", resp.Status, err)
	}
	var n int64
	for _, sum := range answer.Data {
		n += sum.Requests
	}
	return n, nil
}
