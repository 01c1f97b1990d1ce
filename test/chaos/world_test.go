//go:build linux

package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// providerKey is what the simulated providers ask for. No file, log or metric may ever hold it.
const providerKey = "sk-canary-provider-1d6f0c2b9a"

// simulated are the providers of a test that says nothing else: any model name is taken, with knobs behind a "?".
const simulated = `listen: 127.0.0.1:0
seed: 1
providers:
  sim-a: &p
    key: ` + providerKey + `
    models:
      "*": { price: { input: "1", output: "4" }, output: "20" }
      fast: { price: { input: "1", output: "4" }, fast: true }
  sim-b: *p
`

// providers is the section of that name for them.
const providers = `providers:
  sim-a: { dialect: openai, base_url: "http://$SIM/sim-a/v1", vendor: none, credential: env:SIM_KEY }
  sim-b: { dialect: openai, base_url: "http://$SIM/sim-b/v1", vendor: none, credential: env:SIM_KEY }
`

// A plan says how the world of a test differs from the usual one.
type plan struct {
	config  string // sections of the file besides listeners and data
	sim     string // of the simulator; "" is simulated
	data    string // the data directory; "" is one below the file's
	targets []string
	around  string // see launch
	env     []string
}

// A world is a Penstock in front of simulated providers, with a project and a key. Whoever changes its fields does so
// while nobody calls it.
type world struct {
	t    *testing.T
	rng  *rand.Rand
	dir  string
	file string // Penstock's
	plan plan

	sim     *process
	simAddr string
	simBorn time.Time // when it was ready
	farAddr string    // of a second simulator, "" if the file does not name it

	serve    *process
	other    string // program than the one under test, "" for that one
	url      string // of the data plane
	adminURL string
	adminKey string
	key      string
	http     *http.Client
}

// newWorld makes a world. The targets named in the plan get the simulated price.
func newWorld(t *testing.T, rng *rand.Rand, p plan) *world {
	t.Helper()
	w := &world{t: t, rng: rng, dir: t.TempDir(), plan: p, http: newClient()}
	if w.plan.sim == "" {
		w.plan.sim = simulated
	}
	w.file = filepath.Join(w.dir, "penstock.yaml")
	w.simulate("127.0.0.1:0")
	if strings.Contains(p.config, "$FAR") {
		_, w.farAddr = w.startSim("127.0.0.1:0")
	}
	w.configure(p.config)
	w.up()
	w.key = w.newKey("chaos")
	w.price(p.targets...)
	return w
}

// newClient is a client that keeps as many connections as it needs and never tries again by itself.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true, IdleConnTimeout: time.Minute,
	}}
}

// simulate starts the simulated providers.
func (w *world) simulate(addr string) {
	w.t.Helper()
	w.sim, w.simAddr = w.startSim(addr)
	w.simBorn = time.Now()
}

func (w *world) startSim(addr string) (p *process, at string) {
	w.t.Helper()
	file := filepath.Join(w.dir, "sim.yaml")
	w.write(file, w.plan.sim)
	var line struct{ Addr string }
	p = start(w.t, launch{dir: w.dir, args: []string{"sim", "-c", file, "--listen", addr, "--json"}}, &line)
	return p, line.Addr
}

// configure writes Penstock's file, at once and whole. $SIM and $FAR are replaced.
func (w *world) configure(sections string) {
	w.t.Helper()
	data := w.plan.data
	if data == "" {
		data = "data"
	}
	text := "listen: 127.0.0.1:0\nadmin: { listen: \"127.0.0.1:0\" }\ndata: " + data + "\n" + sections
	if strings.Contains(sections, "admin:") {
		text = "listen: 127.0.0.1:0\ndata: " + data + "\n" + sections
	}
	w.write(w.file, os.Expand(text, func(name string) string {
		return map[string]string{"SIM": w.simAddr, "FAR": w.farAddr}[name]
	}))
}

// write replaces a file as careful programs do: there is never half a file.
func (w *world) write(file, text string) {
	w.t.Helper()
	next := file + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(next, file); err != nil {
		w.t.Fatal(err)
	}
}

// up starts Penstock.
func (w *world) up() {
	w.t.Helper()
	var line struct {
		Data, Admin string
		KeyFile     string `json:"admin_key_file"`
	}
	env := append([]string{"SIM_KEY=" + providerKey}, w.plan.env...)
	w.serve = start(w.t, launch{dir: w.dir, args: []string{"serve", "-c", w.file, "--json"}, env: env, around: w.plan.around, program: w.other}, &line)
	scheme := "http://"
	if strings.Contains(w.plan.config, "tls: {") {
		scheme = "https://"
	}
	w.url, w.adminURL = scheme+line.Data, scheme+line.Admin
	key, err := os.ReadFile(line.KeyFile)
	if err != nil {
		w.t.Fatal(err)
	}
	w.adminKey = strings.TrimSpace(string(key))
}

// dataDir is where the data lies.
func (w *world) dataDir() string {
	if filepath.IsAbs(w.plan.data) {
		return w.plan.data
	}
	return filepath.Join(w.dir, "data")
}

// newKey makes a key in a project of the name, which is made if need be.
func (w *world) newKey(project string) string {
	w.t.Helper()
	_ = w.admin(http.MethodPost, "/projects", map[string]any{"name": project}, nil) // it may be there
	var made struct{ Key string }
	if err := w.admin(http.MethodPost, "/keys", map[string]any{"project": project}, &made); err != nil {
		w.t.Fatal(err)
	}
	return made.Key
}

// price gives targets the price that the simulator bills.
func (w *world) price(targets ...string) {
	w.t.Helper()
	for _, target := range targets {
		set := map[string]any{"data": []any{map[string]any{"target": target, "input": "1", "output": "4"}}}
		if err := w.admin(http.MethodPut, "/prices", set, nil); err != nil {
			w.t.Fatal(err)
		}
	}
}

// admin calls the control plane.
func (w *world) admin(method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = strings.NewReader(string(text))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, w.adminURL+"/admin/v1"+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+w.adminKey)
	return w.decode(req, out)
}

// decode sends a request and decodes its answer; another status than 2xx is an error.
func (w *world) decode(req *http.Request, out any) error {
	resp, err := w.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return fmt.Errorf("%s %s: %d %s", req.Method, req.URL.Path, resp.StatusCode, text)
	case out == nil:
		return nil
	}
	return json.Unmarshal(text, out)
}

// A record is what the tests look at of one.
type record struct {
	ID       string
	Model    string
	Target   string
	Status   int
	Replayed bool
	Unpriced bool
	Cost     int64 `json:"cost_nano"`
	Error    *struct{ Code, Message, Detail string }
	Tries    []struct {
		ID, Target, Reason, Detail, Outcome string
		Upstream                            string `json:"upstream_id"`
		Cost                                int64  `json:"cost_nano"`
		Bound                               int64  `json:"bound_nano"`
		Usage                               struct{ Input, Output int64 }
	}
}

// records reads all records there are.
func (w *world) records() []record {
	w.t.Helper()
	var all []record
	query := url.Values{"limit": {"1000"}}
	for {
		var page struct {
			Data []record
			Next string
		}
		if err := w.admin(http.MethodGet, "/exchanges?"+query.Encode(), nil, &page); err != nil {
			w.t.Fatal(err)
		}
		all = append(all, page.Data...)
		if page.Next == "" {
			return all
		}
		query.Set("after", page.Next)
	}
}

// A bill is what the simulator charges.
type bill struct {
	Open  int // calls that have not ended, and are in nothing below
	Total struct {
		Calls    int64
		Canceled int64
		Cost     int64 `json:"cost_nano"`
	}
	Calls []struct {
		ID, Provider, Model string
		Status              int
		Prompt              int64     `json:"prompt_tokens"`
		Completion          int64     `json:"completion_tokens"`
		Cost                int64     `json:"cost_nano"`
		Started             time.Time `json:"started"`
		Canceled            time.Time `json:"canceled_at"`
	}
}

// bill reads the simulator's bill once no call is open.
func (w *world) bill() bill {
	w.t.Helper()
	var b bill
	eventually(w.t, patience, "the end of all calls at the provider", func() error {
		b = bill{}
		if err := w.billNow(&b); err != nil {
			return err
		}
		if b.Open > 0 {
			return fmt.Errorf("%d are open", b.Open)
		}
		return nil
	})
	return b
}

func (w *world) billNow(b *bill) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.simAddr+"/_bill", nil)
	if err != nil {
		return err
	}
	return w.decode(req, b)
}

// metric reads one figure without labels from the control plane.
func (w *world) metric(name string) float64 {
	w.t.Helper()
	var value float64
	for line := range strings.Lines(w.metrics()) {
		if _, err := fmt.Sscanf(line, name+" %g", &value); err == nil {
			return value
		}
	}
	w.t.Fatalf("no metric %s", name)
	return 0
}

func (w *world) metrics() string {
	w.t.Helper()
	a := w.get(w.adminURL+"/metrics", w.adminKey)
	if a.status != http.StatusOK {
		w.t.Fatalf("metrics: %s", a)
	}
	return string(a.body)
}
