package store

import (
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/health"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/retention"
	"github.com/penstock/penstock/internal/stop"
)

// What the audit chain keeps of an object, which is for good. The types are the chain's own: what is not named here, such
// as the hash of a key, cannot get into it.

type projectState struct {
	Org       string            `json:"org"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels,omitempty"`
	Bodies    string            `json:"bodies"`
	Retention string            `json:"retention,omitzero"`
	Strict    bool              `json:"strict"`
	Stateless bool              `json:"stateless,omitzero"`
	Regions   []string          `json:"regions,omitempty"`
	Private   bool              `json:"private_only,omitzero"`
}

func projectStateOf(p auth.Project) projectState {
	s := projectState{
		Org: p.Org, Name: p.Name, Labels: p.Labels, Bodies: p.Bodies, Strict: p.Strict, Stateless: p.Stateless, Regions: p.Regions, Private: p.PrivateOnly,
	}
	if p.Retention > 0 {
		s.Retention = p.Retention.String()
	}
	return s
}

type keyState struct {
	Name     string    `json:"name"`
	Prefix   string    `json:"prefix"`
	Role     string    `json:"role"`
	Models   []string  `json:"models,omitempty"`
	Expires  time.Time `json:"expires,omitzero"`
	Revoked  time.Time `json:"revoked,omitzero"`
	Replaces string    `json:"replaces,omitzero"`
}

func keyStateOf(k auth.Key) keyState {
	return keyState{
		Name: k.Name, Prefix: k.Prefix, Role: string(k.Role), Models: k.Models, Expires: k.Expires, Revoked: k.Revoked, Replaces: k.Replaces,
	}
}

type entryState struct {
	Seq     int64  `json:"seq"`
	Kind    string `json:"kind"`
	Debit   string `json:"debit"`
	Credit  string `json:"credit"`
	Amount  int64  `json:"amount_nano"`
	Settles int64  `json:"settles,omitzero"`
}

func entryStateOf(e *ledger.Entry) entryState {
	return entryState{Seq: e.Seq, Kind: e.Kind.String(), Debit: e.Debit, Credit: e.Credit, Amount: int64(e.Amount), Settles: e.Settles}
}

// A rotation is what there is after one: the old key with its end, and the new one.
type rotation struct {
	keyState
	ReplacedBy string   `json:"replaced_by"`
	New        keyState `json:"new"`
}

// A disabledState is what an operator has said of a target, or took back.
type disabledState struct {
	Disabled bool      `json:"disabled"`
	Until    time.Time `json:"until,omitzero"`
	Ejected  []string  `json:"ejected,omitempty"` // targets whose ejection ended
}

func disabledStateOf(d health.Disabling) disabledState {
	return disabledState{Disabled: true, Until: d.Until}
}

type stopState struct {
	Model   string    `json:"model,omitzero"`
	Project string    `json:"project,omitzero"`
	Until   time.Time `json:"until,omitzero"`
	Running string    `json:"running"` // what becomes of exchanges that run
}

func stopStateOf(s stop.Stop) stopState {
	running := "finish"
	if s.Cut {
		running = "end"
	}
	return stopState{Model: s.Model, Project: s.Project, Until: s.Until, Running: running}
}

type holdState struct {
	Org     string    `json:"org,omitzero"`
	Project string    `json:"project,omitzero"`
	Reason  string    `json:"reason"`
	ByKey   string    `json:"by_key"`
	Since   time.Time `json:"since"`
}

func holdStateOf(h retention.Hold) holdState {
	return holdState{Org: h.Org, Project: h.Project, Reason: h.Reason, ByKey: h.ByKey, Since: h.Since}
}

// priceState has US dollars per million tokens, as decimal text.
type priceState struct {
	Input       string `json:"input"`
	Output      string `json:"output"`
	CachedInput string `json:"cached_input"`
	CacheWrite  string `json:"cache_write"`
	Source      string `json:"source,omitzero"`

	catalog.PartTexts `json:",inline"`

	Long     *priceState `json:"long,omitzero"`
	LongOver int64       `json:"long_over,omitzero"` // tokens
	PerCall  string      `json:"per_call,omitzero"`  // dollars
	Hourly   string      `json:"hourly,omitzero"`    // dollars
	// Variants are the prices that hold for some calls.
	Variants []variantState `json:"variants,omitempty"`
}

type variantState struct {
	Tier       string `json:"tier,omitzero"`
	Credential int    `json:"credential,omitzero"`
	Hours      string `json:"hours,omitzero"`
	Zone       string `json:"zone,omitzero"`
	priceState `json:",inline"`
}

func priceStateOf(o catalog.Override) priceState {
	s := priceState{
		Input: o.Price.Input.PerMillion(), Output: o.Price.Output.PerMillion(),
		CachedInput: o.Price.CachedInput.PerMillion(), CacheWrite: o.Price.CacheWrite.PerMillion(),
		Source: o.Source, LongOver: o.Price.LongOver, PartTexts: catalog.PartsOf(&o.Price),
	}
	if o.Price.Long != nil {
		long := priceStateOf(catalog.Override{Price: *o.Price.Long})
		s.Long = &long
	}
	if o.Price.Call > 0 {
		s.PerCall = o.Price.Call.String()
	}
	if o.Hourly > 0 {
		s.Hourly = o.Hourly.String()
	}
	for _, v := range o.Variants {
		s.Variants = append(s.Variants, variantState{v.Tier, v.Credential, v.Hours.String(), v.Hours.Zone, priceStateOf(catalog.Override{Price: v.Price})})
	}
	return s
}
