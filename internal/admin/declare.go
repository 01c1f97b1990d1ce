package admin

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/limit"
)

// A Declaration says what projects, keys, prices, budgets, limits and tiers there are to be. What it names is made so, whole: a
// member that is left out has its default. What it does not name stays, but for the keys, budgets and limits of its projects if
// they are to be pruned.
//
// It is what a declaration file has (docs/apply.md), so its members have names for YAML too.
type Declaration struct {
	// Keyring is the id of the key ring that the hashes of keys belong to. Only exports have them.
	Keyring       string                          `json:"keyring,omitzero" yaml:"keyring,omitempty"`
	Organisations map[string]DeclaredOrganisation `json:"organisations,omitzero" yaml:"organisations,omitempty"` // by name
	Prices        map[string]DeclaredPrice        `json:"prices,omitzero" yaml:"prices,omitempty"`               // by PROVIDER/MODEL
	Tiers         map[string]DeclaredTier         `json:"tiers,omitzero" yaml:"tiers,omitempty"`                 // by name
	Budgets       []DeclaredBudget                `json:"budgets,omitzero" yaml:"budgets,omitempty"`             // for calls of all organisations
	Limits        []DeclaredLimit                 `json:"limits,omitzero" yaml:"limits,omitempty"`               // as budgets
}

// A DeclaredOrganisation has the projects of an organisation.
type DeclaredOrganisation struct {
	Projects map[string]DeclaredProject `json:"projects,omitzero" yaml:"projects,omitempty"` // by name
	Budgets  []DeclaredBudget           `json:"budgets,omitzero" yaml:"budgets,omitempty"`   // for calls of all its projects
	Limits   []DeclaredLimit            `json:"limits,omitzero" yaml:"limits,omitempty"`     // as budgets
}

// A DeclaredProject is a project as it is to be.
type DeclaredProject struct {
	Labels    map[string]string      `json:"labels,omitzero" yaml:"labels,omitempty"`
	Bodies    string                 `json:"bodies,omitzero" yaml:"bodies,omitempty"`       // none (the default) or keep
	Retention string                 `json:"retention,omitzero" yaml:"retention,omitempty"` // needed with bodies: keep; such as 30d
	Strict    bool                   `json:"strict,omitzero" yaml:"strict,omitempty"`       // sync the record of every try to the disk before it is sent
	Stateless bool                   `json:"stateless,omitzero" yaml:"stateless,omitempty"` // keep no response that callers of /v1/responses could go on from
	Regions   []string               `json:"regions,omitzero" yaml:"regions,omitempty"`     // where its calls may go, as globs on the regions of targets
	Keys      map[string]DeclaredKey `json:"keys,omitzero" yaml:"keys,omitempty"`           // by name
	// PrivateOnly lets its calls go to targets that are marked private only.
	PrivateOnly bool              `json:"private_only,omitzero" yaml:"private_only,omitempty"`
	Tier        string            `json:"tier,omitzero" yaml:"tier,omitempty"`             // that it has; none if it is left out
	UserTier    string            `json:"user_tier,omitzero" yaml:"user_tier,omitempty"`   // that end users have who are given none of their own
	UserTiers   map[string]string `json:"user_tiers,omitzero" yaml:"user_tiers,omitempty"` // of end users, by how callers name them
	Budgets     []DeclaredBudget  `json:"budgets,omitzero" yaml:"budgets,omitempty"`
	Limits      []DeclaredLimit   `json:"limits,omitzero" yaml:"limits,omitempty"`
}

// A DeclaredKey is a key as it is to be. A key without sha256 and hash is one that exists already, made by the command line.
type DeclaredKey struct {
	SHA256  string   `json:"sha256,omitzero" yaml:"sha256,omitempty"`   // of the key itself, in hex
	Hash    string   `json:"hash,omitzero" yaml:"hash,omitempty"`       // as the store has it, in hex; means nothing without its key ring
	Prefix  string   `json:"prefix,omitzero" yaml:"prefix,omitempty"`   // what people see of the key; only beside a hash, as exports have it
	Role    string   `json:"role,omitzero" yaml:"role,omitempty"`       // caller if it is left out
	Models  []string `json:"models,omitzero" yaml:"models,omitempty"`   // globs on the models that it may ask for; all if it is left out
	Expires string   `json:"expires,omitzero" yaml:"expires,omitempty"` // an instant: RFC 3339, or a day (its start in UTC); never if it is left out

	Tier    string           `json:"tier,omitzero" yaml:"tier,omitempty"` // that it has; none if it is left out
	Budgets []DeclaredBudget `json:"budgets,omitzero" yaml:"budgets,omitempty"`
	Limits  []DeclaredLimit  `json:"limits,omitzero" yaml:"limits,omitempty"`
}

// A DeclaredPrice is what a target costs, in US dollars per million tokens, as decimal text.
type DeclaredPrice struct {
	Input       string `json:"input" yaml:"input" kind:"decimal"`
	Output      string `json:"output" yaml:"output" kind:"decimal"`
	CachedInput string `json:"cached_input,omitzero" yaml:"cached_input,omitempty" kind:"decimal"` // as input if it is left out
	CacheWrite  string `json:"cache_write,omitzero" yaml:"cache_write,omitempty" kind:"decimal"`   // as input if it is left out
	Source      string `json:"source,omitzero" yaml:"source,omitempty"`                            // where the price is from

	catalog.PartTexts `json:",inline" yaml:",inline"`

	PerCall string `json:"per_call,omitzero" yaml:"per_call,omitempty" kind:"decimal"` // US dollars for each call, beside its tokens
	// Hourly is what the target costs an hour in US dollars, whatever is used, spread over its tokens.
	Hourly string `json:"hourly,omitzero" yaml:"hourly,omitempty" kind:"decimal"`
	// Variants are what holds instead for some calls.
	Variants []PriceVariant `json:"variants,omitempty" yaml:"variants,omitempty"`
}

// A DeclareInput is a declaration to plan or to apply.
type DeclareInput struct {
	Declaration Declaration `json:"declaration"`
	Prune       bool        `json:"prune,omitzero"` // end the keys, budgets and limits of declared projects that are not declared themselves
	// Base is that of a plan: apply just it, or nothing if anything has changed since. "" applies to what there is.
	Base string `json:"base,omitzero"`
}

// A Plan is what a declaration changes, or has changed.
type Plan struct {
	Base     string        `json:"base"` // what it was made on; send it back to apply just this
	Changes  []PlanChange  `json:"changes"`
	Left     []string      `json:"left"`     // what is not declared and stays as it is, in the declared projects and besides
	Problems []PlanProblem `json:"problems"` // with any, nothing can be applied
	apply    auth.Changes  // the same, for the store
	roles    []auth.Role   // of the keys that it is about
	prices   []catalog.Override
	limits   limit.Changes
	versions [2]int64 // of keys and prices
}

// A PlanChange is one thing that is made, changed or ended.
type PlanChange struct {
	Do     string      `json:"do"`   // make, change, or end
	What   string      `json:"what"` // project, key, price, tier, budget, or limit
	Name   string      `json:"name"` // ORGANISATION/PROJECT, ORGANISATION/PROJECT/KEY, or PROVIDER/MODEL
	Fields []PlanField `json:"fields"`
}

// A PlanField is one member that is set or changes.
type PlanField struct {
	Name   string `json:"name"`
	Before string `json:"before"` // "" if there is nothing before
	After  string `json:"after"`
}

// A PlanProblem is one thing that is wrong with a declaration.
type PlanProblem struct {
	Path string `json:"path"` // from the declaration's root: organisations.acme.projects.checkout.retention
	Text string `json:"text"`
	Hint string `json:"hint"`
}

// A Declarer makes changes of tenants, prices and limits together.
type Declarer interface {
	// Declare makes all the changes or none. If keys, prices or limits are of other versions than those given, it is the fault
	// ChangedMeanwhile.
	Declare(ctx context.Context, c auth.Changes, priceVersion int64, prices []catalog.Override, limits limit.Changes) error
}

// planDeclaration says what applying would do.
func (a *API) planDeclaration(ctx context.Context, c *call, in DeclareInput) (*Plan, error) {
	return a.plan(ctx, c, in)
}

// applyDeclaration does it, all or nothing.
func (a *API) applyDeclaration(ctx context.Context, c *call, in DeclareInput) (*Plan, error) {
	p, err := a.plan(ctx, c, in)
	if err != nil {
		return nil, err
	}
	if in.Base != "" && in.Base != p.Base {
		return nil, auth.Changed()
	}
	if n := len(p.Problems); n > 0 {
		texts := make([]string, 0, maxMistakes)
		for _, problem := range p.Problems[:min(n, maxMistakes)] {
			texts = append(texts, fault.Problem(problem).Error())
		}
		f := badParam("declaration", "%d mistakes: %s.", n, strings.Join(texts, "; "))
		f.Hint = "Nothing was changed."
		return nil, f
	}
	if err := a.o.Declarer.Declare(ctx, p.apply, p.versions[1], p.prices, p.limits); err != nil {
		return nil, err
	}
	a.o.Tenants.Refresh(ctx)
	if err := a.o.Catalog.Refresh(ctx); err != nil {
		a.o.Log.WarnContext(ctx, "prices were set but cannot be read back yet", "error", err)
	}
	a.limitsChanged(ctx)
	return p, nil
}

// exportDeclaration writes a declaration of all that there is: applying it changes nothing. It is the one answer with hashes
// of keys, so that it can be applied elsewhere; without the pepper in the key ring nothing can be tried against them.
func (a *API) exportDeclaration(ctx context.Context, _ *call) (Declaration, error) {
	_, projects, keys, err := a.o.Tenants.Store.AllKeys(ctx)
	if err != nil {
		return Declaration{}, err
	}
	if err := a.o.Catalog.Refresh(ctx); err != nil {
		return Declaration{}, err
	}
	limits, err := a.o.Limits.Definitions(ctx)
	if err != nil {
		return Declaration{}, err
	}
	if err := a.o.Audit.AppendAudit(ctx, audit.Act{Action: audit.TenantsExported}); err != nil {
		return Declaration{}, err
	}
	out := Declaration{Keyring: a.o.Tenants.Ring.ID(), Organisations: map[string]DeclaredOrganisation{}, Prices: map[string]DeclaredPrice{}}
	named := map[string]auth.Project{}
	for _, p := range projects {
		named[p.ID] = p
		if out.Organisations[p.Org].Projects == nil {
			out.Organisations[p.Org] = DeclaredOrganisation{Projects: map[string]DeclaredProject{}}
		}
		d := DeclaredProject{
			Labels: p.Labels, Bodies: p.Bodies, Strict: p.Strict, Stateless: p.Stateless, Regions: p.Regions, PrivateOnly: p.PrivateOnly,
			Keys: map[string]DeclaredKey{},
		}
		if p.Retention > 0 {
			d.Retention = figure.Span(p.Retention)
		}
		out.Organisations[p.Org].Projects[p.Name] = d
	}
	for _, k := range keys {
		if p, ok := named[k.Project]; ok && k.Revoked.IsZero() {
			out.Organisations[p.Org].Projects[p.Name].Keys[k.Name] = declaredKey(k)
		}
	}
	for _, o := range a.o.Catalog.Overrides() {
		p := PriceInputOf(o)
		out.Prices[p.Target] = DeclaredPrice{Input: p.Input, Output: p.Output, CachedInput: p.CachedInput, CacheWrite: p.CacheWrite, Source: p.Source, PartTexts: p.PartTexts, PerCall: p.PerCall, Hourly: p.Hourly, Variants: p.Variants}
	}
	tenants{auth.NewDirectory(projects, keys)}.declareLimits(&out, &limits)
	return out, nil
}

func declaredKey(k auth.Key) DeclaredKey {
	d := DeclaredKey{Hash: hex.EncodeToString(k.Hash[:]), Prefix: k.Prefix, Role: string(k.Role), Models: k.Models}
	if !k.Expires.IsZero() {
		d.Expires = k.Expires.UTC().Format(time.RFC3339Nano)
	}
	return d
}

// plan compares a declaration with what there is.
func (a *API) plan(ctx context.Context, c *call, in DeclareInput) (*Plan, error) {
	if err := a.o.Catalog.Refresh(ctx); err != nil {
		return nil, err
	}
	priceVersion, overrides := a.o.Catalog.Version(), a.o.Catalog.Overrides()
	version, projects, keys, err := a.o.Tenants.Store.AllKeys(ctx)
	if err != nil {
		return nil, err
	}
	limits, err := a.o.Limits.Definitions(ctx)
	if err != nil {
		return nil, err
	}
	pl := &planner{
		tenants: a.o.Tenants, now: a.o.Now().UTC().Truncate(time.Microsecond), prune: in.Prune, here: map[[2]string]auth.Project{},
		keys: map[string]map[string]auth.Key{}, old: map[string][]auth.Key{}, prices: map[string]catalog.Override{},
		plan: &Plan{
			Base: fmt.Sprintf("%d.%d.%d", version, priceVersion, limits.Version), Changes: []PlanChange{}, Left: []string{}, Problems: []PlanProblem{},
			versions: [2]int64{version, priceVersion},
		},
	}
	pl.plan.apply.Version, pl.plan.apply.At = version, pl.now
	for _, p := range projects {
		pl.here[[2]string{p.Org, p.Name}] = p
		pl.keys[p.ID] = map[string]auth.Key{}
	}
	for _, k := range keys {
		switch {
		case k.Revoked.IsZero() && pl.keys[k.Project] != nil:
			pl.keys[k.Project][k.Name] = k
		case k.Revoked.After(pl.now):
			pl.old[k.Project] = append(pl.old[k.Project], k)
		}
		pl.hashes = append(pl.hashes, k.Hash)
	}
	for _, o := range overrides {
		pl.prices[o.Target.String()] = o
	}
	pl.limits = pl.limitsOf(tenants{auth.NewDirectory(projects, keys)}, &limits)
	pl.declare(in.Declaration)
	if err := auth.MayDeclare(c.grant.Key.Role, pl.plan.roles); err != nil {
		return nil, err
	}
	if len(pl.plan.prices) > 0 && !c.grant.Key.Role.Can(auth.WritePrices) {
		return nil, fault.New(fault.NotAllowed, "The declaration sets prices, which your role %s may not.", c.grant.Key.Role)
	}
	if !pl.plan.limits.Empty() && !c.grant.Key.Role.Can(auth.WriteBudgets) {
		return nil, fault.New(fault.NotAllowed, "The declaration sets budgets, limits or tiers, which your role %s may not.", c.grant.Key.Role)
	}
	return pl.plan, nil
}
