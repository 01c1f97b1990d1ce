package sim

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// outageKinds are the kinds of outages.
var outageKinds = []string{"refuse", "hang", "503", "429"}

// A provider is a Provider compiled.
type provider struct {
	name    string
	key     string
	dialect dialect
	models  map[string]*model
	names   []string // of the models, sorted
	outages []outage
	limit   limiter
	anyFast bool
	lists   atomic.Int64 // of models that were asked for in trouble

	mu       sync.Mutex // guards the fields below
	byHand   outage
	troubles map[string]trouble // by model; "" is all
	plans    map[string]int     // calls so far, by model name with knobs; for plans
}

// An outage is an Outage compiled: kind holds from one moment until another.
type outage struct {
	kind        string
	from, until time.Time
}

// A model is a Model compiled.
type model struct {
	name        string
	price       price
	first, gap  distribution
	length      distribution
	capacity    capacity
	perEvent    int
	cachedShare float64
	dimensions  int
	do          behaviour
	doText      string
	faults      []seldom
	fast        *fastAnswer // nil for ordinary models
	calls       atomic.Int64
}

// A seldom is a Fault compiled.
type seldom struct {
	share float64
	text  string
}

// compile makes providers of a configuration that is valid.
func compile(c Config, now time.Time) map[string]*provider {
	providers := make(map[string]*provider, len(c.Providers))
	for name, p := range c.Providers {
		out := &provider{
			name: name, key: p.Key, dialect: dialects[p.dialect()], models: map[string]*model{}, plans: map[string]int{}, troubles: map[string]trouble{},
			limit: limiter{requests: p.RateLimit.Requests, per: time.Minute},
		}
		if p.RateLimit.Per != "" {
			out.limit.per = must(parseDuration(p.RateLimit.Per))
		}
		for _, o := range p.Outages {
			from := now.Add(must(optional(o.After, parseDuration)))
			out.outages = append(out.outages, outage{kind: o.Kind, from: from, until: from.Add(must(parseDuration(o.For)))})
		}
		for m, declared := range p.Models {
			out.models[m] = compileModel(m, declared)
			out.anyFast = out.anyFast || declared.Fast
			if m != anyModel {
				out.names = append(out.names, m)
			}
		}
		slices.Sort(out.names)
		providers[name] = out
	}
	return providers
}

func compileModel(name string, m Model) *model {
	out := &model{
		name: name, capacity: newCapacity(m), perEvent: m.TokensPerEvent, cachedShare: m.CachedShare, dimensions: m.Dimensions, doText: m.Do,
		first: must(optional(m.FirstToken, parseDelay)), gap: must(optional(m.Gap, parseDelay)),
		length: distribution{a: 50},
		price:  newPrice(&m.Price),
	}
	if m.Output != "" {
		out.length = must(parseLength(m.Output))
	}
	if out.dimensions == 0 {
		out.dimensions = 256
	}
	if err := out.do.set(m.Do); err != nil {
		panic(err)
	}
	out.faults = compileFaults(m.Faults)
	if m.Fast {
		out.fast = newFastAnswer(name)
	}
	return out
}

// must is for what Validate has found to be right.
func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("sim: compiled before it was validated: %v", err))
	}
	return v
}

// find gives the model that answers for a name, nil if there is none.
func (p *provider) find(name string) *model {
	if m := p.models[name]; m != nil {
		return m
	}
	return p.models[anyModel]
}

// down is the kind of the outage that holds now, "" if none does.
func (p *provider) down(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.byHand.until) {
		return p.byHand.kind
	}
	for _, o := range p.outages {
		if !now.Before(o.from) && now.Before(o.until) {
			return o.kind
		}
	}
	return ""
}

// takeDown begins an outage by hand; a duration of 0 ends the one before.
func (p *provider) takeDown(kind string, now time.Time, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byHand = outage{kind: kind, until: now.Add(d)}
}

// maxPlans bounds the counters of plans; a simulator that has seen more begins anew.
const maxPlans = 10_000

// planned counts the calls with one plan, from 0.
func (p *provider) planned(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.plans) >= maxPlans {
		clear(p.plans)
	}
	n := p.plans[name]
	p.plans[name] = n + 1
	return n
}

// reset forgets counters, and the outage and the troubles that were begun by hand.
func (p *provider) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byHand = outage{}
	clear(p.troubles)
	clear(p.plans)
	p.limit.reset()
	for _, m := range p.models {
		m.calls.Store(0)
	}
}

// allowed reports whether the request has the provider's key.
func (p *provider) allowed(r *http.Request, body []byte) bool {
	if d, ok := p.dialect.(doorkeeper); ok {
		return d.admits(r, body, p.key)
	}
	return p.key == "" || credential(r.Header) == p.key
}

// credential is what the request identifies itself with.
func credential(h http.Header) string {
	for _, name := range []string{"Api-Key", "X-Api-Key", "X-Goog-Api-Key"} {
		if key := h.Get(name); key != "" {
			return key
		}
	}
	return strings.TrimPrefix(h.Get("Authorization"), "Bearer ")
}

// masked shows the ends of a key, as providers' errors do.
func masked(key string) string {
	if len(key) < 12 {
		return strings.Repeat("*", len(key))
	}
	return key[:8] + strings.Repeat("*", min(len(key)-12, 40)) + key[len(key)-4:]
}

// A limiter admits so many requests in any window of per. The zero requests is no limit.
type limiter struct {
	requests int
	per      time.Duration

	mu    sync.Mutex // guards the field below
	times []time.Time
}

// admit takes a place, or says how long to wait for the next.
func (l *limiter) admit(now time.Time) (wait time.Duration, ok bool) {
	if l.requests == 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := slices.IndexFunc(l.times, func(t time.Time) bool { return now.Sub(t) < l.per })
	if fresh < 0 {
		fresh = len(l.times)
	}
	l.times = l.times[fresh:]
	if len(l.times) >= l.requests {
		return l.per - now.Sub(l.times[0]), false
	}
	l.times = append(l.times, now)
	return 0, true
}

func (l *limiter) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.times = nil
}

// stream of randomness: a call's draws depend on seed, provider, model and the call's number, and on nothing else.
func randomness(seed uint64, provider, model string, number int64) *rand.Rand {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{provider, "/", model} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	return rand.New(rand.NewPCG(seed^h, uint64(number)))
}
