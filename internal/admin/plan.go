package admin

import (
	"cmp"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/catalog"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/limit"
	"github.com/penstock/penstock/internal/llm"
)

// A planner compares a declaration with what there is, and gathers what would change and all that is wrong.
type planner struct {
	tenants *auth.Service
	now     time.Time
	prune   bool
	ring    string // that the declaration's hashes belong to

	here   map[[2]string]auth.Project     // by organisation and name
	keys   map[string]map[string]auth.Key // those that are not revoked, by id of the project and name
	old    map[string][]auth.Key          // those that were replaced and work on for their overlap, by id of the project
	hashes []auth.Hash                    // of all keys that there ever were
	prices map[string]catalog.Override
	limits *limitPlanner

	plan *Plan
}

func (p *planner) problem(path, text, hint string) {
	p.plan.Problems = append(p.plan.Problems, PlanProblem{path, text, hint})
}

// problems notes what is wrong with members of the thing at path.
func (p *planner) problems(path string, list []fault.Problem) {
	for _, one := range list {
		at := path + "." + one.Path
		if one.Path == "name" || one.Path == "org" { // which is the key in the declaration, and not a member
			at = path
		}
		p.problem(at, one.Text, one.Hint)
	}
}

func (p *planner) change(do, what, name string, fields []PlanField) {
	p.plan.Changes = append(p.plan.Changes, PlanChange{do, what, name, fields})
}

func (p *planner) declare(d Declaration) {
	p.ring = d.Keyring
	for _, name := range sortedNames(d.Tiers) { // before those who have them
		p.limits.tiers[name] = true
		p.limits.tier("tiers."+name, name, d.Tiers[name])
	}
	declared := map[string]bool{}
	for _, org := range slices.Sorted(maps.Keys(d.Organisations)) {
		for _, name := range slices.Sorted(maps.Keys(d.Organisations[org].Projects)) {
			path := "organisations." + org + ".projects." + name
			if id := p.project(path, org, name, d.Organisations[org].Projects[name]); id != "" {
				declared[id] = true
			}
		}
		within := d.Organisations[org]
		p.limits.lists("organisations."+org, org, limit.Scope{Org: org}, within.Budgets, within.Limits)
	}
	p.limits.lists("", "", limit.Scope{}, d.Budgets, d.Limits)
	p.limits.declared = declared
	p.limits.end()
	for _, project := range slices.SortedFunc(maps.Values(p.here), byOrg) {
		if !declared[project.ID] {
			p.plan.Left = append(p.plan.Left, "project "+project.Org+"/"+project.Name)
		}
	}
	for _, target := range slices.Sorted(maps.Keys(d.Prices)) {
		p.price("prices."+target, target, d.Prices[target])
	}
	for _, target := range slices.Sorted(maps.Keys(p.prices)) {
		if _, ok := d.Prices[target]; !ok {
			p.plan.Left = append(p.plan.Left, "price "+target)
		}
	}
}

func byOrg(a, b auth.Project) int {
	return cmp.Or(strings.Compare(a.Org, b.Org), strings.Compare(a.Name, b.Name))
}

// project plans one project with its keys, and gives the id of the one that is there.
func (p *planner) project(path, org, name string, d DeclaredProject) (id string) {
	want := auth.Project{
		Org: org, Name: name, Labels: d.Labels, Bodies: cmp.Or(d.Bodies, auth.BodiesNone), Strict: d.Strict, Stateless: d.Stateless,
		Regions: d.Regions, PrivateOnly: d.PrivateOnly,
	}
	if d.Retention != "" {
		var err error
		if want.Retention, err = parseSpan("retention", d.Retention); err != nil {
			p.problem(path+".retention", quote(d.Retention)+" is not a span of time", "write it as 720h or 30d")
			want.Retention = time.Hour // so that it is not missing, too
		}
	}
	p.problems(path, want.Mistakes())
	have, there := p.here[[2]string{org, name}]
	fields := projectFields(have, want)
	if !there {
		p.tenants.Stamp(&want)
		p.plan.apply.NewProjects = append(p.plan.apply.NewProjects, want)
		p.change("make", "project", org+"/"+name, append(fields, p.limits.givenBy(path, want.ID, d)...))
	} else {
		want.ID = have.ID
		if len(fields) > 0 {
			p.plan.apply.Projects = append(p.plan.apply.Projects, want)
		}
		if fields = append(fields, p.limits.givenBy(path, want.ID, d)...); len(fields) > 0 {
			p.change("change", "project", org+"/"+name, fields)
		}
	}
	p.limits.lists(path, org+"/"+name, limit.Scope{Project: want.ID}, d.Budgets, d.Limits)
	for _, key := range slices.Sorted(maps.Keys(d.Keys)) {
		p.key(path+".keys."+key, want, key, d.Keys[key])
	}
	for _, k := range slices.SortedFunc(maps.Values(p.keys[want.ID]), func(a, b auth.Key) int { return strings.Compare(a.Name, b.Name) }) {
		if _, ok := d.Keys[k.Name]; ok {
			continue
		}
		if !p.prune {
			p.plan.Left = append(p.plan.Left, "key "+org+"/"+name+"/"+k.Name)
			continue
		}
		p.end(org+"/"+name+"/"+k.Name, k)
	}
	for _, k := range p.old[want.ID] {
		if _, ok := d.Keys[k.Name]; ok {
			continue
		}
		if !p.prune {
			p.plan.Left = append(p.plan.Left, "key "+org+"/"+name+"/"+k.Name+", replaced, works until "+k.Revoked.UTC().Format(time.RFC3339))
			continue
		}
		p.end(org+"/"+name+"/"+k.Name, k)
	}
	return have.ID
}

func (p *planner) end(name string, k auth.Key) {
	p.plan.apply.Ended = append(p.plan.apply.Ended, k.ID)
	p.plan.roles = append(p.plan.roles, k.Role)
	p.change("end", "key", name, []PlanField{{"prefix", k.Prefix, ""}})
}

// key plans one key.
func (p *planner) key(path string, project auth.Project, name string, d DeclaredKey) {
	have, there := p.keys[project.ID][name]
	want := auth.Key{
		Project: project.ID, Name: name, Role: auth.Role(cmp.Or(d.Role, string(auth.RoleCaller))), Models: d.Models, Created: p.now,
		Prefix: d.Prefix, Expires: p.expiry(path+".expires", d.Expires),
	}
	hash, prefix, ok := p.hash(path, d)
	if !ok {
		return
	}
	want.Prefix = cmp.Or(want.Prefix, prefix)
	full := project.Org + "/" + project.Name + "/" + name
	// change notes what becomes of the key, and of what is set for it.
	change := func(do, id string, fields []PlanField) {
		first := p.limits.t.First(id)
		fields = append(fields, p.limits.give(path, "tier", d.Tier, limit.Assignment{Project: project.ID, Key: first})...)
		if len(fields) > 0 {
			p.change(do, "key", full, fields)
		}
		p.limits.lists(path, full, limit.Scope{Project: project.ID, Key: first}, d.Budgets, d.Limits)
	}
	switch {
	case hash == auth.Hash{} && !there:
		p.problem(path, "there is no such key, and no sha256 to make it of", "make it with: penstock key create --project "+project.Name+" --name "+name)
		return
	case hash == auth.Hash{} || there && hash == have.Hash:
		want.ID, want.Prefix, want.Created = have.ID, have.Prefix, have.Created
		p.problems(path, want.Mistakes())
		fields := keyFields(have, want)
		if len(fields) > 0 {
			p.plan.apply.Keys = append(p.plan.apply.Keys, want)
			p.plan.roles = append(p.plan.roles, have.Role, want.Role)
		}
		change("change", want.ID, fields)
		return
	case slices.Contains(p.hashes, hash):
		p.problem(path, "this very key is, or was, another one here", "a key has one name in one project; take another key")
		return
	}
	p.hashes = append(p.hashes, hash)
	if d.Prefix != "" && (d.Hash == "" || !auth.IsPrefix(d.Prefix)) {
		p.problem(path+".prefix", "is not one that an export has", "leave it out")
	}
	p.problems(path, want.Mistakes())
	if there {
		p.end(full, have)
	}
	for _, k := range p.old[project.ID] { // a file that says which key there is leaves no other of that name
		if k.Name == name {
			p.end(full, k)
		}
	}
	want.Hash = hash
	p.tenants.Stamp(nil, &want)
	p.plan.apply.NewKeys = append(p.plan.apply.NewKeys, want)
	p.plan.roles = append(p.plan.roles, want.Role)
	change("make", want.ID, append([]PlanField{{"prefix", "", want.Prefix}}, keyFields(auth.Key{}, want)...))
}

func (p *planner) expiry(path, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC().Truncate(time.Microsecond)
		}
	}
	p.problem(path, quote(text)+" is not an instant", "write it as 2027-01-31 or 2027-01-31T12:00:00Z")
	return time.Time{}
}

// hash gives the hash of a key as the store has it; the zero hash if the declaration has none.
func (p *planner) hash(path string, d DeclaredKey) (h auth.Hash, prefix string, ok bool) {
	switch {
	case d.SHA256 != "" && d.Hash != "":
		p.problem(path, "has both sha256 and hash", "keep one")
		return h, "", false
	case d.SHA256 != "":
		h, prefix, problems := p.tenants.ParseSHA256(d.SHA256)
		p.problems(path, problems)
		return h, prefix, len(problems) == 0
	case d.Hash == "":
		return h, "", true
	}
	b, err := hex.DecodeString(d.Hash)
	switch {
	case err != nil || len(b) != len(h) || auth.Hash(b) == h:
		p.problem(path+".hash", "is not a hash", "write the 64 hex digits of an export, or the key's sha256")
		return h, "", false
	case p.ring != p.tenants.Ring.ID():
		p.problem(path+".hash", "is a hash of the key ring "+quote(p.ring)+", and here is "+p.tenants.Ring.ID(),
			"apply it where that key ring is, or give the key's sha256")
		return h, "", false
	}
	return auth.Hash(b), auth.HashPrefix(auth.Hash(b)), true
}

// price plans one price. Without a source, where the one that is there came from stays.
func (p *planner) price(path, target string, d DeclaredPrice) {
	in := PriceInput{
		Target: target, Input: d.Input, Output: d.Output, CachedInput: d.CachedInput, CacheWrite: d.CacheWrite, Source: cmp.Or(d.Source, "apply"),
		PartTexts: d.PartTexts, PerCall: d.PerCall, Hourly: d.Hourly, Variants: d.Variants,
	}
	want, problems := overrideOf(in, p.now)
	if len(problems) > 0 {
		for _, one := range problems {
			at := path
			if one.Path != "target" {
				at += "." + one.Path
			}
			p.problem(at, one.Text, one.Hint)
		}
		return
	}
	have, there := p.prices[target]
	if d.Source == "" && there {
		want.Source = have.Source
	}
	fields := priceFields(have, want, there)
	if len(fields) == 0 {
		return
	}
	p.plan.prices = append(p.plan.prices, want)
	do := "make"
	if there {
		do = "change"
	}
	p.change(do, "price", target, fields)
}

// fieldsOf lists the members that differ.
func fieldsOf(all ...PlanField) []PlanField {
	out := []PlanField{}
	for _, f := range all {
		if f.Before != f.After {
			out = append(out, f)
		}
	}
	return out
}

func projectFields(have, want auth.Project) []PlanField {
	text := func(p auth.Project) (bodies, retention, strict string) {
		if p.Retention > 0 {
			retention = figure.Span(p.Retention)
		}
		if p.ID != "" || p.Bodies != "" {
			strict = strconv.FormatBool(p.Strict)
		}
		return p.Bodies, retention, strict
	}
	set := func(b bool) string { // what few projects are is said only of them
		if b {
			return "true"
		}
		return ""
	}
	bodies, retention, strict := text(have)
	newBodies, newRetention, newStrict := text(want)
	fields := []PlanField{
		{"bodies", bodies, newBodies}, {"retention", retention, newRetention}, {"strict", strict, newStrict},
		{"stateless", set(have.Stateless), set(want.Stateless)},
		{"regions", strings.Join(have.Regions, ","), strings.Join(want.Regions, ",")},
		{"private_only", set(have.PrivateOnly), set(want.PrivateOnly)},
	}
	names := map[string]bool{}
	for name := range have.Labels {
		names[name] = true
	}
	for name := range want.Labels {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, was := have.Labels[name]
		after, is := want.Labels[name]
		fields = append(fields, PlanField{"labels." + name, shownLabel(before, was), shownLabel(after, is)})
	}
	return fieldsOf(fields...)
}

// shownLabel tells a label that is empty from one that is not there.
func shownLabel(value string, there bool) string {
	if there && value == "" {
		return `""`
	}
	return value
}

func keyFields(have, want auth.Key) []PlanField {
	text := func(k auth.Key) (models, expires string) {
		if k.Role == "" {
			return "", ""
		}
		models, expires = "all", "never"
		if len(k.Models) > 0 {
			models = strings.Join(k.Models, ",")
		}
		if !k.Expires.IsZero() {
			expires = k.Expires.UTC().Format(time.RFC3339Nano)
		}
		return models, expires
	}
	models, expires := text(have)
	newModels, newExpires := text(want)
	return fieldsOf(PlanField{"role", string(have.Role), string(want.Role)}, PlanField{"models", models, newModels}, PlanField{"expires", expires, newExpires})
}

// variantWords writes variants for a person.
func variantWords(o *catalog.Override) string {
	var all []string
	for _, v := range variantsOf(o) {
		words := v.When() + ": " + v.Input + " in, " + v.CachedInput + " cached, " + v.CacheWrite + " written, " + v.Output + " out"
		for _, part := range v.Words() {
			words += ", " + part
		}
		if v.PerCall != "" {
			words += ", " + v.PerCall + " a call"
		}
		all = append(all, words)
	}
	return strings.Join(all, "; ")
}

func priceFields(have, want catalog.Override, there bool) []PlanField {
	var old Price
	if there {
		old = PriceOf(llm.Target{}, have.Price)
		old.Source = have.Source
	}
	next := PriceOf(llm.Target{}, want.Price)
	all := []PlanField{
		{"input", old.Input, next.Input}, {"output", old.Output, next.Output},
		{"cached_input", old.CachedInput, next.CachedInput}, {"cache_write", old.CacheWrite, next.CacheWrite},
		{"per_call", old.PerCall, next.PerCall},
		{"hourly", hourlyOf(&have), hourlyOf(&want)}, {"variants", variantWords(&have), variantWords(&want)}, {"source", old.Source, want.Source},
	}
	parts := old.All()
	for i, p := range next.All() {
		all = append(all, PlanField{p.Name, *parts[i].Text, *p.Text})
	}
	return fieldsOf(all...)
}
