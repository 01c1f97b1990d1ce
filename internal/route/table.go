package route

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/penstock/penstock/internal/catalog"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/quota"
)

// A Table resolves names to what answers for them. It is immutable; a reload builds another.
type Table struct {
	models    map[string]*pool
	providers map[string]Provider
	open      bool // without configured models, any PROVIDER/MODEL may be asked for
	names     []string
	state     *State
	around    Surroundings

	asked  sync.Map     // of open tables: the pools of names that were asked for, by name
	askedN atomic.Int64 // how many they are
}

// Surroundings are what a table is built in.
type Surroundings struct {
	// Providers by name, and the models that each is known to have, from its configuration or the catalogue; these count only
	// if the configuration names no models: then clients may ask for any PROVIDER/MODEL, and for the bare name of a model that
	// exactly one provider offers.
	Providers map[string]Provider
	Offered   map[string][]string
	// Places says where a provider is; nil knows nothing.
	Places func(provider string) Place
	// Model is what the catalogue knows of a target; nil knows nothing.
	Model func(llm.Target) (catalog.Model, bool)
	// Account is that at a provider, whose limits and credentials bound what may be sent; nil knows none.
	Account func(provider string) *quota.Account
	// Region is where this Penstock is, for rules.
	Region string
	// State is what is learnt of upstreams, and outlives the table; nil begins anew.
	State *State
}

// A Place is where a provider's data goes.
type Place struct {
	Region  string // "" is not known
	Private bool   // it stays with whoever runs Penstock
}

// NewTable builds the table. cfg must be valid.
func NewTable(cfg Config, s Surroundings) *Table {
	t := &Table{models: map[string]*pool{}, providers: s.Providers, open: len(cfg) == 0, state: s.State, around: s}
	if t.state == nil {
		t.state = &State{}
	}
	for name, m := range cfg {
		t.models[name] = t.pool(m)
	}
	if t.open {
		t.offer(s.Offered)
	}
	for name := range t.models {
		t.names = append(t.names, name)
	}
	slices.Sort(t.names)
	return t
}

// pool compiles the configuration of a model.
func (t *Table) pool(m ModelConfig) *pool {
	p := &pool{policy: policyOf(m.Route), tries: m.Tries, retryWait: m.RetryWait, chosen: len(m.Targets) > 1 || len(m.Rules) > 0}
	if p.tries == 0 {
		p.tries = defaultTries
	}
	for _, one := range m.Targets {
		u := t.upstream(one, len(p.upstreams))
		p.upstreams = append(p.upstreams, u)
		p.finds = p.finds || u.finder() != nil
	}
	p.chosen = p.chosen || p.finds
	for _, target := range m.OnContextLength {
		p.onContext = append(p.onContext, t.upstream(TargetConfig{Target: target}, len(p.upstreams)))
	}
	for _, target := range m.OnContentPolicy {
		p.onPolicy = append(p.onPolicy, t.upstream(TargetConfig{Target: target}, len(p.upstreams)))
	}
	if share, _ := ParseShare(m.Hedge.Share); share > 0 {
		p.hedge = &hedging{share: share}
		if m.Hedge.Most != "" {
			most, _ := llm.ParseMoney(m.Hedge.Most)
			p.hedge.most = &most
		}
	}
	for i, r := range m.Rules {
		p.rules = append(p.rules, newRule(i, r, m.Targets, p.policy))
	}
	p.output = int64(m.MaxOutput)
	if share, _ := ParseShare(m.WhenLow.At); share > 0 {
		p.low, p.lowAt, p.lowOutput = &rule{name: "when_low", policy: p.policy, only: placesOf(m.WhenLow.Only, m.Targets)}, int(share*100+0.5), int64(m.WhenLow.MaxOutput)
	}
	if p.wantsPrefixes() {
		p.prefix = newPrefixes()
	}
	p.prefix.number(slices.Concat(p.upstreams, p.onContext, p.onPolicy))
	p.words = p.policy.name() + " over " + strings.Join(p.keys(), ", ")
	if !p.chosen {
		p.words = "the only target is " + p.upstreams[0].key
	}
	return p
}

const (
	defaultTries     = 4
	defaultRetryWait = 5 * time.Second
)

// wantsPrefixes reports whether a policy of the pool goes by what upstreams were sent before.
func (p *pool) wantsPrefixes() bool {
	goesBy := func(one policy) bool { return one.name() == Fastest || one.name() == Cheapest }
	return goesBy(p.policy) || slices.ContainsFunc(p.rules, func(r rule) bool { return goesBy(r.policy) })
}

func (p *pool) keys() []string {
	keys := make([]string, len(p.upstreams))
	for i, u := range p.upstreams {
		keys[i] = u.key
	}
	return keys
}

// upstream makes what a target is sent to.
func (t *Table) upstream(c TargetConfig, place int) *upstream {
	target, _ := llm.ParseTarget(c.Target)
	u := &upstream{
		Target: target, key: c.Target, name: c.Target, provider: t.providers[target.Provider], place: place, origin: place,
		weight: float64(c.Weight), region: c.Region, slots: c.Slots, shared: t.state.of(c.Target),
	}
	if u.gate != nil {
		u.gate.Expect(c.Slots)
	}
	if t.around.Places != nil {
		at := t.around.Places(target.Provider)
		u.private = at.Private
		u.region = cmp.Or(u.region, at.Region)
	}
	if t.around.Account != nil {
		u.account = t.around.Account(target.Provider)
	}
	if c.Private != nil {
		u.private = *c.Private
	}
	if t.around.Model != nil {
		if m, ok := t.around.Model(target); ok {
			u.lacks, u.context = lacks(&m), m.Context
		}
	}
	return u
}

// offer adds a bare name for every model that one provider offers, and the qualified names of those that several do.
func (t *Table) offer(offered map[string][]string) {
	owners := map[string][]string{}
	for provider, models := range offered {
		for _, m := range models {
			owners[m] = append(owners[m], provider)
		}
	}
	for model, providers := range owners {
		for _, p := range providers {
			name := model
			if len(providers) > 1 {
				name = p + "/" + model
			}
			t.models[name] = t.single(llm.Target{Provider: p, Model: model})
		}
	}
}

// single is the pool of a target that is asked for by itself.
func (t *Table) single(target llm.Target) *pool {
	return t.pool(ModelConfig{Targets: Targets(target.String()), RetryWait: defaultRetryWait})
}

// Names lists what can be asked for by name, sorted. Without configured models there is more than it lists.
func (t *Table) Names() []string { return t.names }

// Has reports whether the name resolves.
func (t *Table) Has(model string) bool {
	_, named := t.models[model]
	_, direct := t.direct(model)
	return named || direct
}

// Targets gives what answers for a name, in order.
func (t *Table) Targets(model string) []llm.Target {
	p, ok := t.find(model)
	if !ok {
		return nil
	}
	return p.targets()
}

// Policy is the one of a name, "" if it does not resolve.
func (t *Table) Policy(model string) string {
	p, ok := t.find(model)
	if !ok {
		return ""
	}
	return p.policy.name()
}

func (t *Table) find(model string) (*pool, bool) {
	if p, ok := t.models[model]; ok {
		return p, true
	}
	target, ok := t.direct(model)
	if !ok {
		return nil, false
	}
	if p, ok := t.asked.Load(model); ok {
		return p.(*pool), true
	}
	p := t.single(target)
	if t.askedN.Load() < maxShared {
		if _, there := t.asked.LoadOrStore(strings.Clone(model), p); !there {
			t.askedN.Add(1)
		}
	}
	return p, true
}

// direct reads a PROVIDER/MODEL, of which only the provider needs to be known. Such a name is the caller's own and ends up
// in headers, records and metrics, so it has nothing in it that cannot be seen.
func (t *Table) direct(model string) (llm.Target, bool) {
	if !t.open {
		return llm.Target{}, false
	}
	target, ok := llm.ParseTarget(model)
	return target, ok && t.providers[target.Provider] != nil && !strings.ContainsFunc(model, unseen)
}

func unseen(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }

// NotFound is the 404 for a model that does not exist for a caller, with the nearest names that do. may says which names
// the caller may use.
func (t *Table) NotFound(model string, may func(string) bool) *fault.Error {
	near := near(model, t.names, may)
	err := fault.New(fault.ModelNotFound, "No model %q for this key.", clip(model))
	err.Param = "model"
	if len(near) > 0 {
		err.Message += " Near: " + strings.Join(near, ", ") + "."
	}
	return err
}

// clip keeps a name that a caller made up from filling an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// near gives at most three permitted names whose edit distance to model is small against its length, nearest first.
func near(model string, names []string, may func(string) bool) []string {
	const most = 3
	type scored struct {
		name string
		d    int
	}
	var found []scored
	asked := strings.ToLower(clip(model))
	far := max(2, len(asked)/3)
	for _, n := range names {
		if !may(n) {
			continue
		}
		have := strings.ToLower(n)
		within := strings.Contains(have, asked) || strings.Contains(asked, have)
		if !within && max(len(have)-len(asked), len(asked)-len(have)) > far {
			continue // each byte too many is a step, so there is no need to count the others
		}
		d := distance(asked, have)
		if within {
			d = min(d, 2)
		}
		if d <= far {
			found = append(found, scored{n, d})
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		if a.d != b.d {
			return a.d - b.d
		}
		return strings.Compare(a.name, b.name)
	})
	out := []string{}
	for _, s := range found[:min(len(found), most)] {
		out = append(out, s.name)
	}
	return out
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
