package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/server"
	"github.com/penstock/penstock/internal/sim"
	"github.com/penstock/penstock/internal/usage"
)

// A demoFlags says what is played.
type demoFlags struct {
	length time.Duration
	rate   float64
	seed   uint64
	trace  string
	json   bool
}

func (a *app) demoCommand() *cobra.Command {
	f := &demoFlags{}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole system at work on simulated providers, with nothing configured",
		Long: `Show the whole system at work on simulated providers, with nothing configured.

A gateway and three simulated providers run in this process, in a fresh data directory. A workload
with the shape of a real production trace (arrival times and lengths of the Azure 2023 conversation
trace) goes through them; one provider fails for a while and fallback hides it. At the end there is
a summary, with the providers' own bill beside Penstock's.`,
		Example: "  penstock demo\n  penstock demo --for 60s --rate 100\n  penstock demo --trace azure_conv.csv.gz --for 0",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.demo(cmd.Context(), f) },
	}
	c.Flags().DurationVar(&f.length, "for", 30*time.Second, "how long to send requests; 0 goes on until Ctrl-C")
	c.Flags().Float64Var(&f.rate, "rate", 50, "requests a second, on average; a trace is sped up or slowed down to it")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the workload and the providers")
	c.Flags().StringVar(&f.trace, "trace", "", "play this trace: CSV with the columns ms,input,output, or an Azure LLM trace; plain or gzip")
	c.Flags().BoolVar(&f.json, "json", false, "print the summary as JSON")
	return c
}

// A stage for the demo: everything that runs while it plays.
type theatre struct {
	app    *app
	flags  *demoFlags
	dir    string
	sim    *sim.Sim
	client *adminClient
	base   string
	keys   map[string]string // by project name
	begun  time.Time
	length time.Duration // of the playing, 0 until Ctrl-C
	outage window

	mu   sync.Mutex // guards the fields below
	hits *tally
	open int
	seen demoCounts
	// saved is an exchange that fallback saved, to be looked at afterwards.
	saved string
	look  *usage.Record // of saved
}

// A window is a span of time from the start.
type window struct{ from, length time.Duration }

type demoCounts struct {
	sent, answered, failed, hidden int64
	errors                         map[string]int64
}

func (a *app) demo(ctx context.Context, f *demoFlags) error {
	if f.rate <= 0 || f.length < 0 {
		return fail(exitUsage, "see: penstock demo --help", "--rate must be positive and --for not negative")
	}
	arrivals, err := demoArrivals(f)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(".", "penstock-demo-")
	if err != nil {
		return fail(exitFailure, "run it where you may write", "%v", err)
	}
	t := &theatre{app: a, flags: f, dir: dir, hits: newTally(), keys: map[string]string{}, length: f.length}
	t.seen.errors = map[string]int64{}
	t.outage = window{10 * time.Second, 12 * time.Second}
	if f.length > 0 {
		t.outage = window{f.length / 5, f.length / 4}
	}

	// What serves outlives ctx: after Ctrl-C the open calls finish and the books are read.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, running := errgroup.WithContext(serving)
	if err := t.raise(running, group); err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	if err := t.furnish(running); err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	t.play(ctx, running, arrivals)
	summary, err := t.summary(running)
	stop()
	if err := errors.Join(err, group.Wait()); err != nil {
		return err
	}
	return a.printDemo(f, t, summary)
}

// demoArrivals is the workload: the fitted one, or a trace brought to the rate.
func demoArrivals(f *demoFlags) (iter.Seq[sim.Arrival], error) {
	if f.trace == "" {
		return sim.Workload{Seed: f.seed, Rate: f.rate}.Arrivals(), nil
	}
	file, err := os.Open(f.trace)
	if err != nil {
		return nil, fail(exitFailure, "", "%v", err)
	}
	defer file.Close()
	trace, err := sim.ReadTrace(file)
	if err != nil {
		return nil, fail(exitFailure, "", "%s: %v", f.trace, err)
	}
	first, last := trace[0].At, trace[len(trace)-1].At
	speed := 1.0
	if last > first {
		speed = f.rate * (last - first).Seconds() / float64(len(trace))
	}
	return func(yield func(sim.Arrival) bool) {
		for _, t := range trace {
			t.At = time.Duration(float64(t.At-first) / speed)
			if !yield(t) {
				return
			}
		}
	}, nil
}

// The models of the demo. The simulators speak the OpenAI dialect whatever the models' names.
const demoConfig = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: .
log: { level: error }
timeouts: { connect: 1s, first_token: 10s, gap: 5s, total: 2m }
providers:
  sim-a: { dialect: openai, base_url: "http://%[1]s/sim-a/v1", vendor: none }
  sim-b: { dialect: openai, base_url: "http://%[1]s/sim-b/v1", vendor: none }
models:
  gpt-5-mini: { targets: [sim-a/gpt-5-mini, sim-b/claude-haiku-4-5] }
  claude-haiku-4-5: { targets: [sim-b/claude-haiku-4-5, sim-a/gpt-5-mini] }
  embed-small: { targets: [sim-a/embed-small, sim-b/embed-small] }
`

func demoProviders(seed uint64) sim.Config {
	return sim.Config{Seed: seed, Providers: map[string]sim.Provider{
		"sim-a": {Models: map[string]sim.Model{
			"gpt-5-mini":  {Price: sim.Price{Input: "0.25", Cached: "0.025", Output: "2"}, FirstToken: "lognormal(180ms, 900ms)", Gap: "exponential(4ms)", CachedShare: 0.2, TokensPerEvent: 4},
			"embed-small": {Price: sim.Price{Input: "0.02"}, FirstToken: "lognormal(20ms, 80ms)"},
		}},
		"sim-b": {Models: map[string]sim.Model{
			"claude-haiku-4-5": {Price: sim.Price{Input: "1", Cached: "0.10", Output: "5"}, FirstToken: "lognormal(250ms, 1s)", Gap: "exponential(6ms)", CachedShare: 0.2, TokensPerEvent: 4},
			"embed-small":      {Price: sim.Price{Input: "0.02"}, FirstToken: "lognormal(20ms, 80ms)"},
		}},
	}}
}

// raise starts the simulated providers and a Penstock in front of them.
func (t *theatre) raise(ctx context.Context, group *errgroup.Group) error {
	var err error
	if t.sim, err = sim.New(demoProviders(t.flags.seed)); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fail(exitFailure, "", "%v", err)
	}
	group.Go(func() error { return t.sim.Run(ctx, l) })
	file := filepath.Join(t.dir, "penstock.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, demoConfig, l.Addr()), 0o600); err != nil {
		return err
	}
	cfg, err := config.Load(ctx, config.Options{File: file, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		return configError(err)
	}
	s, err := server.New(ctx, cfg, server.Options{Log: t.app.logger(cfg, false), Version: t.app.version})
	if err != nil {
		return startError(err)
	}
	p := s.Presence()
	t.base = p.DataURL
	group.Go(func() error { return s.Run(ctx) })
	t.client, err = t.app.client(ctx, &adminFlags{url: p.AdminURL, keyFile: filepath.Join(cfg.Data, "admin.key")})
	return err
}

// demoProjects are who calls, with their share of the calls.
var demoProjects = []struct {
	name  string
	share float64
}{{"checkout", 0.37}, {"support", 0.55}, {"search", 0.08}}

// furnish makes projects, keys and prices, the way an operator would.
func (t *theatre) furnish(ctx context.Context) error {
	for _, p := range demoProjects {
		key, err := t.client.makeKey(ctx, p.name)
		if err != nil {
			return err
		}
		t.keys[p.name] = key
	}
	return t.client.setPrices(ctx, demoProviders(0))
}

// play sends the workload, takes one provider down for a while, and waits for what is open.
func (t *theatre) play(ctx, running context.Context, arrivals iter.Seq[sim.Arrival]) {
	t.begun = time.Now()
	playing, done := ctx, context.CancelFunc(func() {})
	if t.length > 0 {
		playing, done = context.WithTimeout(ctx, t.length)
	}
	defer done()
	g := newGunner(t.base, 512)
	defer g.close()
	var calls sync.WaitGroup
	calls.Go(func() { t.breakDown(playing) })
	stop := t.app.progress(t.begun, t.length, t.state)
	r := rand.New(rand.NewPCG(t.flags.seed, 7)) //nolint:gosec // a workload, not a secret
	for arrival := range arrivals {
		due := t.begun.Add(arrival.At)
		if !sleepUntil(playing, due) {
			break
		}
		s := t.shot(r, arrival)
		t.count(func() { t.open++; t.seen.sent++ })
		calls.Go(func() { t.note(g.fire(running, s, due)) })
	}
	calls.Wait()
	stop()
}

// breakDown takes sim-a down for its window.
func (t *theatre) breakDown(ctx context.Context) {
	if sleepUntil(ctx, t.begun.Add(t.outage.from)) {
		_ = t.sim.Outage("sim-a", "503", t.outage.length) // fails for names and kinds that do not exist
	}
}

// shot draws who calls and what, from the shares of the projects.
func (t *theatre) shot(r *rand.Rand, arrival sim.Arrival) *shot {
	u, project := r.Float64(), demoProjects[len(demoProjects)-1].name
	for _, p := range demoProjects {
		if u < p.share {
			project = p.name
			break
		}
		u -= p.share
	}
	stream := r.Float64() < 0.6
	text := sim.Prompt(arrival.Input, arrival.Output)
	switch {
	case project == "search":
		return embedShot(t.keys[project], "embed-small", text)
	case r.Float64() < 0.25:
		return chatShot(t.keys[project], "claude-haiku-4-5", text, stream, 0)
	}
	return chatShot(t.keys[project], "gpt-5-mini", text, stream, 0)
}

func (t *theatre) count(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

// note counts a hit.
func (t *theatre) note(h hit) {
	t.hits.add(context.Background(), h) // the show counts what it breaks
	t.count(func() {
		t.open--
		if h.err != nil {
			t.seen.failed++
			t.seen.errors[h.err.Error()]++
			return
		}
		t.seen.answered++
		if h.tries != "" && h.tries != "1" {
			t.seen.hidden++
			t.saved = h.id
		}
	})
}

// state is the line that is shown while the demo plays.
func (t *theatre) state() string {
	t.mu.Lock()
	seen, open := t.seen, t.open
	t.mu.Unlock()
	took := time.Since(t.begun)
	s := fmt.Sprintf("%.0f req/s   open %d   client errors %d   hidden failures %d   %s", float64(seen.sent)/took.Seconds(), open,
		seen.failed, seen.hidden, figure.Money(t.sim.Bill().Total.Cost))
	if end := t.outage.from + t.outage.length; took >= t.outage.from && took < end {
		s += fmt.Sprintf("   sim-a DOWN until %.0f s", end.Seconds())
	}
	return s
}

// errorLines says which errors callers saw, the most frequent first.
func (c *demoCounts) errorLines() []string {
	type line struct {
		text string
		n    int64
	}
	var lines []line
	for text, n := range c.errors {
		lines = append(lines, line{text, n})
	}
	slices.SortFunc(lines, func(x, y line) int {
		if x.n != y.n {
			return int(y.n - x.n)
		}
		return strings.Compare(x.text, y.text)
	})
	out := []string{}
	for _, l := range lines[:min(len(lines), 5)] {
		out = append(out, fmt.Sprintf("  %d x %s", l.n, clean(l.text)))
	}
	return out
}
