package server

import (
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/config"
	"github.com/penstock/penstock/internal/gateway"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/provider/anthropic"
	"github.com/penstock/penstock/internal/provider/azure"
	"github.com/penstock/penstock/internal/provider/bedrock"
	"github.com/penstock/penstock/internal/provider/gemini"
	"github.com/penstock/penstock/internal/provider/openai"
	"github.com/penstock/penstock/internal/quota"
	"github.com/penstock/penstock/internal/route"
	"github.com/penstock/penstock/internal/telemetry"
	"github.com/penstock/penstock/internal/tokens"
)

// codecs is every dialect that this version speaks to providers.
var codecs = map[llm.Dialect]func() provider.Codec{
	llm.OpenAI:    openai.New,
	llm.Anthropic: anthropic.New,
	llm.Azure:     azure.New,
	llm.Bedrock:   bedrock.New,
	llm.Gemini:    gemini.New,
}

// Codec is that of a dialect, nil if this version does not speak it.
func Codec(d llm.Dialect) provider.Codec {
	if of := codecs[d]; of != nil {
		return of()
	}
	return nil
}

// A runtime is what one configuration makes of the request path. It is immutable; reloads build another.
type runtime struct {
	cfg     *config.File
	clients map[string]*client
	// accounts are those at the providers, by their names.
	accounts map[string]*quota.Account
	table    *route.Table
	view     catalog.View
	gateway  *gateway.Runtime
	webhook  *alert.Webhook // nil: nobody is told of alerts
	// telemetry is where spans and metrics go, nil if nowhere.
	telemetry *telemetry.Settings
}

// A client is a provider's client with what it was made from, so that a reload that does not concern it keeps its
// connections.
type client struct {
	*provider.Client
	made madeFrom
}

// madeFrom counts what references stand for too, for that may change while the configuration does not; except where the
// client reads them anew by itself, which are credentials and the proxy's URL.
type madeFrom struct {
	provider       provider.Config
	timeouts       provider.Timeouts
	proxy, noProxy string
	authorities    [sha256.Size]byte
	body           int64
}

// A wayOut is the egress of one runtime.
type wayOut struct {
	provider.Egress
	authorities [sha256.Size]byte // the hash of the PEM that egress.ca stands for, zero without it
}

// build makes the runtime of a configuration, taking over from old what did not change. It changes nothing that serves.
func (s *Server) build(cfg *config.File, old *runtime) (*runtime, error) {
	rt := &runtime{cfg: cfg, clients: map[string]*client{}, accounts: map[string]*quota.Account{}}
	out, err := egressOf(cfg.Egress, cfg.Resolver())
	if err != nil {
		return nil, err
	}
	if rt.webhook, err = alert.NewWebhook(cfg.Alerts, cfg.Resolver().Resolve, roundTripper(out, cfg.Resolver(), false)); err != nil {
		return nil, err
	}
	vendors := map[string]string{}
	providers := map[string]route.Provider{}
	for _, name := range slices.Sorted(maps.Keys(cfg.Providers)) {
		c, err := s.buildClient(cfg, name, out, old)
		if err != nil {
			return nil, fmt.Errorf("providers.%s: %w", name, err)
		}
		rt.clients[name] = c
		rt.accounts[name] = s.accountOf(name, cfg.Providers[name], c)
		providers[name] = c
		vendors[name] = cfg.Vendor(name, s.catalog.Table())
	}
	rt.view = s.catalog.View(vendors).Dispatching(func(name string) bool { return cfg.Providers[name].ServiceTiers }, s.clock.Now)
	rt.table = route.NewTable(cfg.Models, route.Surroundings{
		Providers: providers, Offered: offered(cfg, rt.view), Model: rt.view.Model, State: s.upstreams, Region: cfg.Region,
		Places: func(name string) route.Place {
			p := cfg.Providers[name]
			return route.Place{Region: p.Region, Private: p.Private}
		},
		Account: func(name string) *quota.Account { return rt.accounts[name] },
	})
	router := route.New(route.Options{Table: rt.table, Prices: rt.view, Journal: s.recorder, Reserver: s.limits.reserver(), Stops: s.stops, Admission: s.upstreams.Admission, Count: tokens.Prompt, Trace: traceOf(cfg), Metrics: s.choices})
	rt.gateway = &gateway.Runtime{
		Table: rt.table, Handler: buildPipeline(s.recorder, s.limits.told(), s.stops.Stage(), s.limits.stage(), s.bodies.keeper, s.recall, router), Limits: cfg.Limits.Gateway(), Sample: cfg.Telemetry.Sampler(),
	}
	rt.telemetry, err = telemetry.NewSettings(cfg.Telemetry, waysOf(out, cfg.Resolver()), peersOf(cfg, vendors, s.catalog.Table().VendorNames()))
	return rt, err
}

// offered are the models that providers are known to have: those that the file lists, else those of the catalogue.
func offered(cfg *config.File, view catalog.View) map[string][]string {
	out := map[string][]string{}
	for name, p := range cfg.Providers {
		out[name] = p.Models
		if len(p.Models) == 0 {
			out[name] = view.Names(name)
		}
	}
	return out
}

// buildClient gives the client of a provider: the old runtime's, if a new one would be the same.
func (s *Server) buildClient(cfg *config.File, name string, out wayOut, old *runtime) (*client, error) {
	made := madeFrom{cfg.Providers[name], cfg.Timeouts, out.Proxy, out.NoProxy, out.authorities, cfg.Limits.Body}
	if old != nil {
		if c := old.clients[name]; c != nil && reflect.DeepEqual(c.made, made) {
			return c, nil
		}
	}
	codec := Codec(made.provider.Dialect)
	if codec == nil {
		return nil, fmt.Errorf("dialect %q is not in this version", made.provider.Dialect)
	}
	c, err := provider.New(name, made.provider, provider.Options{
		Codec: codec, Egress: out.Egress, Resolve: cfg.Resolver().Resolve, Defaults: made.timeouts,
		MaxIdle: max(s.budget.idle/len(cfg.Providers), 1), Traits: s.traitsOf(cfg, name),
	})
	if err != nil {
		return nil, err
	}
	return &client{c, made}, nil
}

// traitsOf gives what the catalogue knows of a provider's models and decides how they are asked.
func (s *Server) traitsOf(cfg *config.File, name string) func(model string) llm.Traits {
	vendor := sync.OnceValue(func() string { return cfg.Vendor(name, s.catalog.Table()) })
	return func(model string) llm.Traits {
		m, ok := s.catalog.Table().Find(vendor(), model)
		if !ok {
			return catalog.TraitsOf(vendor(), model)
		}
		return m.Traits()
	}
}

// egressOf is the way out: the proxy, the hosts that NO_PROXY excepts from it, and the authorities that providers'
// certificates are checked against beside the system's.
func egressOf(e config.Egress, resolver config.Resolver) (wayOut, error) {
	out := wayOut{Egress: provider.Egress{Proxy: e.Proxy}}
	if direct, err := resolver.Resolve("env:NO_PROXY"); err == nil && e.Proxy != "" { // it need not be there
		out.NoProxy = direct.Reveal()
	}
	if e.CA == "" {
		return out, nil
	}
	pem, err := resolver.Resolve(e.CA)
	if err != nil {
		return out, fmt.Errorf("egress.ca: %w", err)
	}
	if out.Roots, err = x509.SystemCertPool(); err != nil {
		out.Roots = x509.NewCertPool()
	}
	if !out.Roots.AppendCertsFromPEM([]byte(pem.Reveal())) {
		return out, errors.New("egress.ca: holds no certificate in PEM")
	}
	out.authorities = sha256.Sum256([]byte(pem.Reveal()))
	return out, nil
}

// retire closes what the next runtime did not take over. Calls that are under way keep their connections.
func (rt *runtime) retire(next *runtime) {
	for name, c := range rt.clients {
		if next == nil || next.clients[name] != c {
			c.Close()
		}
	}
}

// vendors are the configured providers, and the vendor that each is.
func (rt *runtime) vendors() map[string]string {
	all := make(map[string]string, len(rt.clients))
	for name := range rt.clients {
		all[name] = rt.view.Vendor(name)
	}
	return all
}

// routes describes the runtime for the control plane.
func (rt *runtime) routes() []admin.Route {
	list := []admin.Route{}
	for _, name := range rt.table.Names() {
		r := admin.Route{Model: name, Route: rt.table.Policy(name)}
		for _, t := range rt.table.Targets(name) {
			target := admin.RouteTarget{Target: t.String()}
			if m, ok := rt.view.Model(t); ok {
				target.Context, target.MaxOutput = m.Context, m.MaxOutput
				if m.Price != nil {
					p := admin.PriceOf(t, *m.Price)
					p.Source = m.Source
					target.Price = &p
				}
			}
			r.Targets = append(r.Targets, target)
		}
		list = append(list, r)
	}
	return list
}

// describe is one line a provider, for the start.
func (rt *runtime) describe() []string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(rt.clients)) {
		priced, total := 0, 0
		for _, r := range rt.routes() {
			for _, t := range r.Targets {
				if strings.HasPrefix(t.Target, name+"/") {
					total++
					if t.Price != nil {
						priced++
					}
				}
			}
		}
		noun := "models"
		if total == 1 {
			noun = "model"
		}
		lines = append(lines, fmt.Sprintf("%-10s %4d %s, %d priced", name, total, noun, priced))
	}
	return lines
}
