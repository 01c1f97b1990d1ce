package admin

import (
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/usage"
)

// The types of the API are its own, and never those that the store keeps: what is not named here cannot leak. Their
// comments become the descriptions in api/openapi.yaml.

// A Project owns keys, records and settings.
type Project struct {
	ID        string            `json:"id"`
	Org       string            `json:"org"` // the organisation's name
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	Bodies    string            `json:"bodies"`             // none or keep
	Retention string            `json:"retention,omitzero"` // how long kept bodies live, such as 30d
	Strict    bool              `json:"strict"`             // the record of every try is synced to the disk before it is sent
	Stateless bool              `json:"stateless"`          // no response is kept that callers of /v1/responses could go on from
	Regions   []string          `json:"regions"`            // where its calls may go, as globs on the regions of targets; none is anywhere
	Private   bool              `json:"private_only"`       // its calls go to targets that are marked private only
	Held      bool              `json:"held"`               // a hold is on it or on its organisation: no retention deletes anything of it
	Created   time.Time         `json:"created"`
}

func projectOf(p auth.Project, holds []retention.Hold) Project {
	out := Project{ID: p.ID, Org: p.Org, Name: p.Name, Labels: p.Labels, Bodies: p.Bodies, Strict: p.Strict, Stateless: p.Stateless, Private: p.PrivateOnly, Created: p.Created.UTC()}
	out.Regions = append([]string{}, p.Regions...)
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if p.Retention > 0 {
		out.Retention = figure.Span(p.Retention)
	}
	for i := range holds {
		out.Held = out.Held || holds[i].Of(p.ID, p.Org)
	}
	return out
}

// A ProjectInput makes a project.
type ProjectInput struct {
	Name      string            `json:"name"`               // unique in its organisation
	Org       string            `json:"org,omitzero"`       // made if it is new; "default" if it is left out
	Labels    map[string]string `json:"labels,omitempty"`   // such as cost_center: "42"
	Bodies    string            `json:"bodies,omitzero"`    // none (the default) or keep
	Retention string            `json:"retention,omitzero"` // needed with bodies: keep; such as 30d
	Strict    bool              `json:"strict,omitzero"`    // sync the record of every try to the disk before it is sent
	Stateless bool              `json:"stateless,omitzero"` // keep no response that callers of /v1/responses could go on from
	// Regions are where its calls may go, as globs on the regions of targets; anywhere if it is left out.
	Regions []string `json:"regions,omitempty"`
	Private bool     `json:"private_only,omitzero"` // its calls go to targets that are marked private only
}

// A ProjectChange changes a project; what is left out stays as it is.
type ProjectChange struct {
	Name      *string           `json:"name,omitzero"`
	Labels    map[string]string `json:"labels,omitzero"` // replaces all labels
	Bodies    *string           `json:"bodies,omitzero"` // none or keep
	Retention *string           `json:"retention,omitzero"`
	Strict    *bool             `json:"strict,omitzero"`
	Stateless *bool             `json:"stateless,omitzero"`
	Regions   []string          `json:"regions,omitzero"` // replaces all regions; [] is anywhere
	Private   *bool             `json:"private_only,omitzero"`
}

// A Key is a key as it may be seen: never the key itself, never its hash.
type Key struct {
	ID          string     `json:"id"`
	Project     string     `json:"project"` // id
	ProjectName string     `json:"project_name"`
	Name        string     `json:"name"`
	Prefix      string     `json:"prefix"` // the first characters of the key
	Role        string     `json:"role"`
	Models      []string   `json:"models"` // globs on the models that it may ask for; none means all
	Created     time.Time  `json:"created"`
	Expires     *time.Time `json:"expires"`           // null: never
	Revoked     *time.Time `json:"revoked"`           // null: not revoked; may lie in the future, after a rotation
	Replaces    string     `json:"replaces,omitzero"` // id of the key that this one was rotated from
	LastUsed    *time.Time `json:"last_used"`         // null: never; may lag by seconds
}

func keyOf(k auth.Key, project string) Key {
	return Key{
		ID: k.ID, Project: k.Project, ProjectName: project, Name: k.Name, Prefix: k.Prefix, Role: string(k.Role),
		Models: append([]string{}, k.Models...), Created: k.Created.UTC(), Replaces: k.Replaces,
		Expires: instant(k.Expires), Revoked: instant(k.Revoked), LastUsed: instant(k.LastUsed),
	}
}

// instant makes an absent time null.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// A KeyInput makes a key.
type KeyInput struct {
	Project string   `json:"project"`          // id, or name if only one organisation has the name
	Name    string   `json:"name,omitzero"`    // the key's prefix if it is left out
	Models  []string `json:"models,omitempty"` // globs on the models that it may ask for; all if it is left out
	Expires string   `json:"expires,omitzero"` // span from now, such as 720h or 30d; never if it is left out
	Role    string   `json:"role,omitzero"`    // caller if it is left out
	SHA256  string   `json:"sha256,omitzero"`  // takes over a key of another gateway by its SHA-256, in hex
}

// A KeyChange changes a key; what is left out stays as it is. Its secret changes by rotation only.
type KeyChange struct {
	Name    *string  `json:"name,omitzero"`
	Models  []string `json:"models,omitzero"`  // globs on the models that it may ask for; [] is all
	Expires *string  `json:"expires,omitzero"` // span from now, such as 720h or 30d; 0s is never
	Role    *string  `json:"role,omitzero"`
}

// A RotateInput says how long the old key works on.
type RotateInput struct {
	Overlap string `json:"overlap,omitzero"` // 24h if it is left out; 0s is not at all
}

// Nothing is the body of a request that has nothing to say.
type Nothing struct{}

// A NewKey is the one answer that holds a key.
type NewKey struct {
	ID      string     `json:"id"`
	Key     string     `json:"key"` // shown this once; "" for a key that was taken over
	Prefix  string     `json:"prefix"`
	Project string     `json:"project"` // id
	Name    string     `json:"name"`
	Role    string     `json:"role"`
	Expires *time.Time `json:"expires"` // null: never
}

// A Price is what a target costs, in US dollars per million tokens, as decimal text.
type Price struct {
	Target      string `json:"target"` // PROVIDER/MODEL
	Input       string `json:"input,omitzero"`
	Output      string `json:"output,omitzero"`
	CachedInput string `json:"cached_input,omitzero"`
	CacheWrite  string `json:"cache_write,omitzero"`

	catalog.PartTexts `json:",inline"`

	PerCall  string         `json:"per_call,omitzero"`  // US dollars for each call, beside its tokens
	Variants []PriceVariant `json:"variants,omitempty"` // what holds instead for some calls
	Hourly   string         `json:"hourly,omitzero"`    // US dollars an hour, whatever is used, spread over tokens: rates are what these weigh
	Source   string         `json:"source,omitzero"`    // where the price is from
	Set      *time.Time     `json:"set,omitzero"`       // when an operator set it; left out if none did
	Unpriced bool           `json:"unpriced,omitzero"`  // there is no price, which is not zero
	Unused   bool           `json:"unused,omitzero"`    // no provider of this name is configured, so the price is for nothing yet
}

// A PriceVariant is what holds instead of a target's price for calls that all its conditions are true of: of the variants that fit, the
// one with the most conditions, of as many the first.
type PriceVariant struct {
	Tier        string `json:"tier,omitzero" yaml:"tier,omitempty"`             // service_tier that the provider is asked for
	Credential  int    `json:"credential,omitzero" yaml:"credential,omitempty"` // which of the provider's, counted from 1
	Hours       string `json:"hours,omitzero" yaml:"hours,omitempty"`           // HH:MM-HH:MM of each day
	Zone        string `json:"zone,omitzero" yaml:"zone,omitempty"`             // time zone of the hours; UTC if it is left out
	Input       string `json:"input" yaml:"input" kind:"decimal"`               // as of a price
	Output      string `json:"output" yaml:"output" kind:"decimal"`
	CachedInput string `json:"cached_input,omitzero" yaml:"cached_input,omitempty" kind:"decimal"`
	CacheWrite  string `json:"cache_write,omitzero" yaml:"cache_write,omitempty" kind:"decimal"`

	catalog.PartTexts `json:",inline" yaml:",inline"` // those of the usual price if they are left out

	PerCall string `json:"per_call,omitzero" yaml:"per_call,omitempty" kind:"decimal"` // that of the usual price if it is left out
}

// When says for a person which calls a variant is for.
func (v *PriceVariant) When() string {
	return (&catalog.VariantText{Tier: v.Tier, Credential: v.Credential, Hours: v.Hours, Zone: v.Zone}).When()
}

// hourlyOf writes an amount an hour, "" if there is none.
func hourlyOf(o *catalog.Override) string {
	if o.Hourly == 0 {
		return ""
	}
	return o.Hourly.String()
}

// feeBeside is what a call of a variant costs, "" if that is as usual.
func feeBeside(fee string, o *catalog.Override) string {
	if fee == o.Price.Call.String() {
		return ""
	}
	return fee
}

// feeOf writes what each call costs, "" if that is nothing.
func feeOf(p llm.Price) string {
	if p.Call == 0 {
		return ""
	}
	return p.Call.String()
}

func variantsOf(o *catalog.Override) (all []PriceVariant) {
	for i := range o.Variants {
		v := o.Variants[i].TextOf()
		all = append(all, PriceVariant{
			v.Tier, v.Credential, v.Hours, v.Zone, v.Input, v.Output, v.CachedInput, v.CacheWrite,
			v.Beside(catalog.PartsOf(&o.Price)), feeBeside(v.PerCall, o),
		})
	}
	return all
}

// PriceOf writes a price as the API has it.
func PriceOf(t llm.Target, p llm.Price) Price {
	return Price{
		Target: t.String(), Input: p.Input.PerMillion(), Output: p.Output.PerMillion(),
		CachedInput: p.CachedInput.PerMillion(), CacheWrite: p.CacheWrite.PerMillion(), PerCall: feeOf(p),
		PartTexts: catalog.PartsOf(&p),
	}
}

// A PricesInput sets prices.
type PricesInput struct {
	Data []PriceInput `json:"data"`
}

// A PriceInput sets what a target costs, in US dollars per million tokens, as decimal text with at most six decimals.
type PriceInput struct {
	Target      string `json:"target"`                               // PROVIDER/MODEL
	Input       string `json:"input" kind:"decimal"`                 // prompt tokens
	Output      string `json:"output" kind:"decimal"`                // generated tokens
	CachedInput string `json:"cached_input,omitzero" kind:"decimal"` // prompt tokens from the provider's cache; as input if it is left out
	CacheWrite  string `json:"cache_write,omitzero" kind:"decimal"`  // prompt tokens written to the provider's cache; as input if it is left out
	Source      string `json:"source,omitzero"`                      // where the price is from; "set" if it is left out

	catalog.PartTexts `json:",inline"`

	PerCall string `json:"per_call,omitzero" kind:"decimal"` // US dollars for each call, beside its tokens; nothing if it is left out
	// Hourly is what the target costs an hour in US dollars, whatever is used, spread over its tokens; nothing if it is left out.
	Hourly string `json:"hourly,omitzero" kind:"decimal"`
	// Variants are what holds instead for some calls; none if it is left out.
	Variants []PriceVariant `json:"variants,omitempty"`
}

// PriceInputOf writes a price the way it is set.
func PriceInputOf(o catalog.Override) PriceInput {
	p := PriceOf(o.Target, o.Price)
	return PriceInput{
		Target: p.Target, Input: p.Input, Output: p.Output, CachedInput: p.CachedInput, CacheWrite: p.CacheWrite, Source: o.Source,
		PartTexts: p.PartTexts, Variants: variantsOf(&o), PerCall: p.PerCall, Hourly: hourlyOf(&o),
	}
}

// Latencies are the answer to a question for percentiles of durations. Exchanges that failed are not in it.
type Latencies struct {
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"` // not part of the span
	GroupBy []string          `json:"group_by"`
	Data    []usage.Latency   `json:"data"`
	Names   map[string]string `json:"names"` // of the projects in data, by their ids
	// Behind says that records wait in the journal for the store, and are missing here.
	Behind bool `json:"behind,omitzero"`
}

// A Usage is the answer to a question for sums.
type Usage struct {
	From    time.Time         `json:"from"`
	To      time.Time         `json:"to"` // not part of the span
	GroupBy []string          `json:"group_by"`
	Data    []usage.Sum       `json:"data"`
	Names   map[string]string `json:"names"` // of the projects and keys in data, by their ids
	// Behind says that records wait in the journal for the store, and are missing here.
	Behind bool `json:"behind,omitzero"`
}

// A Route is what answers for one model name.
type Route struct {
	Model   string        `json:"model"` // as it is asked for
	Route   string        `json:"route"` // how a target is chosen: failover, weighted, fastest or cheapest
	Targets []RouteTarget `json:"targets"`
}

// A RouteTarget is one of the targets of a Route, in the order in which they are tried.
type RouteTarget struct {
	Target    string       `json:"target"`     // PROVIDER/MODEL
	Price     *Price       `json:"price"`      // null: unpriced
	Context   int64        `json:"context"`    // tokens of prompt and answer together; 0: unknown
	MaxOutput int64        `json:"max_output"` // tokens; 0: unknown
	Health    TargetHealth `json:"health"`
}

// A Status says how the process is.
type Status struct {
	Version        string    `json:"version"`
	Started        time.Time `json:"started"`
	Ready          bool      `json:"ready"`
	Reason         string    `json:"reason,omitzero"` // why it is not ready
	ConfigLoaded   time.Time `json:"config_loaded"`
	ConfigVersion  string    `json:"config_version"`        // begins the SHA-256 of the file in force
	ConfigError    string    `json:"config_error,omitzero"` // of the last reload; left out if it succeeded
	Models         int       `json:"models"`
	Providers      int       `json:"providers"`
	Stops          int       `json:"stops"`                  // what operators have stopped, and not lifted
	JournalBacklog int64     `json:"journal_backlog_bytes"`  // records that wait for the store
	AuditIntact    bool      `json:"audit_intact"`           // no bad entry was found in the audit chain
	AuditProblem   string    `json:"audit_problem,omitzero"` // the first bad entry, or why checkpoints do not get where they should go
}

// A Replica is a Penstock that uses the same store.
type Replica struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`    // of its machine
	Version  string    `json:"version"` // of Penstock
	Schema   int64     `json:"schema"`  // the last migration that its version knows
	Config   string    `json:"config_version"`
	Started  time.Time `json:"started"`
	Running  bool      `json:"running"`           // false: it did not stop in good order, and has said nothing for half a minute
	SeenAgo  float64   `json:"seen_ago_seconds"`  // since it last said that it is there
	ClockOff float64   `json:"clock_off_seconds"` // by how much its clock is ahead of the database's
}

// Health is the answer of the probes.
type Health struct {
	Status string `json:"status"` // alive or ready
}

// A Refusal is the answer to every request that is not served.
type Refusal struct {
	Error RefusalError `json:"error"`
}

// A RefusalError says what was wrong and what to do.
type RefusalError struct {
	Code    string `json:"code"`    // stable; listed in docs/reference/errors.md
	Message string `json:"message"` // what, and where
	Hint    string `json:"hint"`    // what to do; may be ""
}

// A list is a page of a list.
type list[T any] struct {
	Data []T    `json:"data"`
	Next string `json:"next"` // send it as after for the next page; "" at the end
	// Behind says that records wait in the journal for the store, and are missing here.
	Behind bool `json:"behind,omitzero"`
}

// page makes a page of the rows that a store gave, one more than asked for telling that there are more.
func page[T, U any](rows []T, limit int, id func(T) string, show func(T) U) list[U] {
	out := list[U]{Data: []U{}}
	if len(rows) > limit {
		rows = rows[:limit]
		out.Next = id(rows[limit-1])
	}
	for _, r := range rows {
		out.Data = append(out.Data, show(r))
	}
	return out
}
