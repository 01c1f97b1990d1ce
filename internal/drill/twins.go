package drill

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/sim"
)

// How fast twins are, and how long their answers.
const (
	twinFirst  = "lognormal(300ms, 900ms)"
	twinGap    = "exponential(10ms)"
	twinTokens = "50"
)

// Twins is a configuration of which each provider is simulated, with all prices that its targets have.
type twins struct {
	cfg    *config.File
	sims   sim.Config
	prices admin.PricesInput
}

// simName is the name of a provider's twin at the simulator: a part of a path whatever the provider is called.
func simName(provider string) string { return "twin-" + url.PathEscape(provider) }

// simModel is what a simulator knows a model by: without the knobs that its name may carry.
func simModel(model string) string {
	name, _, _ := strings.Cut(model, "?")
	return name
}

// newTwins makes the twins of a configuration, whose files go into dir and whose providers are at the address of a simulator.
// called are the targets that the load will come to.
//
// All that decides about an exchange stays as it is: models, targets, policies, timers, limits, regions. What would reach out,
// or touch what a running Penstock has, is replaced: addresses and how they are found, credentials, TLS, proxy, store, key ring,
// alerts, telemetry.
func newTwins(team *config.File, called []llm.Target, dir, address string, seed uint64) (*twins, error) {
	cfg := *team
	cfg.Listen, cfg.TLS = "127.0.0.1:0", config.TLS{}
	cfg.Admin = config.Admin{Listen: "127.0.0.1:0"}
	cfg.Data, cfg.Store, cfg.Password = dir, "sqlite:"+filepath.Join(dir, "penstock.db"), ""
	cfg.Keyring, cfg.Wrap = "file:"+filepath.Join(dir, "keyring.json"), ""
	cfg.Egress = config.Egress{}
	cfg.Audit.Key, cfg.Audit.Checkpoints = "file:"+filepath.Join(dir, "audit.key"), ""
	cfg.Usage.Records = "on"
	cfg.Alerts.Webhook, cfg.Alerts.Secret = "", ""
	cfg.Telemetry.Endpoint, cfg.Telemetry.Headers = "", ""
	cfg.Telemetry.Traces.Endpoint, cfg.Telemetry.Traces.Headers = "", ""
	cfg.Telemetry.Metrics.Endpoint, cfg.Telemetry.Metrics.Headers = "", ""

	t := &twins{cfg: &cfg, sims: sim.Config{Seed: seed, Providers: map[string]sim.Provider{}}}
	cfg.Providers = make(map[string]provider.Config, len(team.Providers))
	for _, name := range slices.Sorted(maps.Keys(team.Providers)) {
		p, err := twinOf(team, name, dir, address)
		if err != nil {
			return nil, err
		}
		cfg.Providers[name] = p
		t.sims.Providers[simName(name)] = sim.Provider{
			Dialect: string(p.Dialect), Models: map[string]sim.Model{"*": {FirstToken: twinFirst, Gap: twinGap, Output: twinTokens}},
		}
	}
	for _, target := range configured(&cfg, called) {
		t.price(target, cfg.Providers[target.Provider].Vendor)
	}
	return t, nil
}

// twinOf is the section of a provider's twin.
func twinOf(team *config.File, name, dir, address string) (provider.Config, error) {
	p := team.Providers[name]
	p.Vendor = team.Vendor(name, catalog.Default()) // which the address may have told
	if p.Vendor == "" {
		p.Vendor = "none"
	}
	if p.Dialect == llm.Bedrock && p.SigningRegion() != "" {
		if at := p.SigningRegion(); p.Region == "" {
			p.Region = at // which the address has told
		}
	}
	p.BaseURL = "http://" + address + "/" + simName(name) + basePath(p)
	p.HTTP2 = false                     // needs TLS
	p.Discover, p.DiscoverEvery = "", 0 // asks the DNS, which knows no twins
	var err error
	p.Credential, p.Credentials, err = credentials(p, dir, simName(name))
	return p, err
}

// basePath is what a twin's address ends with, by its dialect.
func basePath(p provider.Config) string {
	switch p.Dialect {
	case llm.OpenAI:
		return "/v1"
	case llm.Gemini:
		if u, err := url.Parse(p.BaseURL); err == nil && strings.Contains(u.Path, "/projects/") {
			return strings.TrimRight(u.Path, "/") // Vertex AI
		}
	}
	return ""
}

// credentials makes as many keys as the provider has, so that it is seen how one takes over from another. Twins take any.
func credentials(p provider.Config, dir, name string) (one string, several []string, err error) {
	for i := range p.References() {
		path := filepath.Join(dir, name+"-"+strconv.Itoa(i+1)+".key")
		if err := os.WriteFile(path, fmt.Appendf(nil, "drill-key-%d\n", i+1), 0o600); err != nil {
			return "", nil, err
		}
		several = append(several, "file:"+path)
	}
	if p.Credential != "" {
		return several[0], nil, nil
	}
	return "", several, nil
}

// price gives a target's twin the price that the catalogue has for it. It is the same at the twin and in the books, so that
// the two can be compared; a target that the catalogue does not know costs nothing.
func (t *twins) price(target llm.Target, vendor string) {
	twin := t.sims.Providers[simName(target.Provider)]
	m := twin.Models["*"]
	if known, ok := catalog.Default().Find(vendor, target.Model); ok && known.Price != nil {
		p := admin.PriceOf(target, *known.Price)
		m.Price = sim.Price{Input: p.Input, Cached: p.CachedInput, Output: p.Output}
		t.prices.Data = append(t.prices.Data, admin.PriceInput{
			Target: target.String(), Input: p.Input, Output: p.Output, CachedInput: p.CachedInput, CacheWrite: p.CacheWrite, PartTexts: p.PartTexts, Source: "drill",
		})
	}
	twin.Models[simModel(target.Model)] = m
}

// configured are all targets that the file names, and those that are called without being named in it, each once.
func configured(cfg *config.File, called []llm.Target) (all []llm.Target) {
	seen := map[llm.Target]bool{}
	add := func(target string) {
		if t, ok := llm.ParseTarget(target); ok && !seen[t] {
			seen[t] = true
			all = append(all, t)
		}
	}
	for _, t := range called {
		add(t.String())
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Models)) {
		m := cfg.Models[name]
		for _, t := range m.Targets {
			add(t.Target)
		}
		for _, t := range append(slices.Clone(m.OnContextLength), m.OnContentPolicy...) {
			add(t)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
		for _, m := range cfg.Providers[name].Models {
			add(name + "/" + m)
		}
	}
	return all
}
