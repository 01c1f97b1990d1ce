package admin_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/penstocktest"
)

func sum(key string) string {
	s := sha256.Sum256([]byte(key))
	return hex.EncodeToString(s[:])
}

// declare plans or applies, as the admin.
func (w *world) declare(verb string, in admin.DeclareInput) admin.Plan {
	w.T.Helper()
	var p admin.Plan
	if status := w.Admin(http.MethodPost, "/declaration/"+verb, in, &p); status != http.StatusOK {
		w.T.Fatalf("%s: status %d", verb, status)
	}
	return p
}

func lines(p admin.Plan) string {
	var b strings.Builder
	for _, c := range p.Changes {
		fmt.Fprintf(&b, "%s %s %s", c.Do, c.What, c.Name)
		for _, f := range c.Fields {
			fmt.Fprintf(&b, " %s:%s>%s", f.Name, f.Before, f.After)
		}
		b.WriteByte('\n')
	}
	for _, one := range p.Problems {
		fmt.Fprintf(&b, "! %s: %s (%s)\n", one.Path, one.Text, one.Hint)
	}
	return b.String()
}

func organisation(projects map[string]admin.DeclaredProject) map[string]admin.DeclaredOrganisation {
	return map[string]admin.DeclaredOrganisation{"acme": {Projects: projects}}
}

func TestDeclarationIsPlannedAndApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	in := admin.DeclareInput{Declaration: admin.Declaration{
		Organisations: organisation(map[string]admin.DeclaredProject{"checkout": {
			Labels: map[string]string{"cost_center": "42"}, Bodies: "keep", Retention: "720h", Strict: true, Regions: []string{"eu", "eu-*"}, PrivateOnly: true,
			Keys: map[string]admin.DeclaredKey{"web": {SHA256: sum("a key of another gateway"), Models: []string{"sim-a/*"}, Expires: "2100-01-31"}},
		}}),
		Prices: map[string]admin.DeclaredPrice{"sim-a/m": {Input: "0.15", Output: "0.60"}},
	}}
	const made = `make project acme/checkout bodies:>keep retention:>30d strict:>true regions:>eu,eu-* private_only:>true labels.cost_center:>42
make key acme/checkout/web prefix:>sha256:SUM role:>caller models:>sim-a/* expires:>2100-01-31T00:00:00Z
make price sim-a/m input:>0.15 output:>0.6 cached_input:>0.15 cache_write:>0.15 source:>apply
`
	want := strings.Replace(made, "SUM", sum("a key of another gateway")[:8], 1)
	plan := w.declare("plan", in)
	if d := cmp.Diff(want, lines(plan)); d != "" {
		t.Fatal(d)
	}
	if got := get[pageOf[admin.Project]](w, "/projects").Data; len(got) != 1 {
		t.Fatalf("a plan made projects: %v", got)
	}
	in.Base = plan.Base
	if d := cmp.Diff(want, lines(w.declare("apply", in))); d != "" {
		t.Fatal(d)
	}
	if a := w.Post("a key of another gateway", "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:3 hello", false)); a.Status != http.StatusUnauthorized {
		t.Errorf("a key with spaces was taken: %d", a.Status)
	}
	in.Base = ""
	if got := lines(w.declare("apply", in)); got != "" {
		t.Errorf("applied again, it changes: %s", got)
	}

	p := in.Declaration.Organisations["acme"].Projects["checkout"]
	p.Bodies, p.Retention, p.Labels, p.Strict, p.Regions, p.PrivateOnly = "", "", nil, false, nil, false
	p.Keys = map[string]admin.DeclaredKey{"web": {Role: "viewer"}, "two": {SHA256: sum("second-key-of-another")}}
	in.Declaration.Organisations["acme"].Projects["checkout"] = p
	in.Declaration.Prices["sim-a/m"] = admin.DeclaredPrice{Input: "0.2", Output: "0.6", CachedInput: "0.15", CacheWrite: "0.15"}
	const changed = `change project acme/checkout bodies:keep>none retention:30d> strict:true>false regions:eu,eu-*> private_only:true> labels.cost_center:42>
make key acme/checkout/two prefix:>sha256:TWO role:>caller models:>all expires:>never
change key acme/checkout/web role:caller>viewer models:sim-a/*>all expires:2100-01-31T00:00:00Z>never
change price sim-a/m input:0.15>0.2
`
	want = strings.Replace(changed, "TWO", sum("second-key-of-another")[:8], 1)
	if d := cmp.Diff(want, lines(w.declare("apply", in))); d != "" {
		t.Fatal(d)
	}
	if a := w.Post("second-key-of-another", "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:3 hello", false)); a.Status != http.StatusOK {
		t.Errorf("a declared key is refused: %d %s", a.Status, a.Text())
	}

	// Another key under the same name replaces it; what is not declared ends only if asked for.
	p.Keys = map[string]admin.DeclaredKey{"two": {SHA256: sum("third-key-of-another")}}
	in.Declaration.Organisations["acme"].Projects["checkout"] = p
	plan = w.declare("plan", in)
	if !cmp.Equal(plan.Left, []string{"key acme/checkout/web", "project default/home"}) {
		t.Errorf("left: %q", plan.Left)
	}
	in.Prune = true
	const pruned = `end key acme/checkout/two prefix:sha256:TWO>
make key acme/checkout/two prefix:>sha256:NEW role:>caller models:>all expires:>never
end key acme/checkout/web prefix:sha256:WEB>
`
	want = strings.NewReplacer("TWO", sum("second-key-of-another")[:8], "NEW", sum("third-key-of-another")[:8],
		"WEB", sum("a key of another gateway")[:8]).Replace(pruned)
	if d := cmp.Diff(want, lines(w.declare("apply", in))); d != "" {
		t.Fatal(d)
	}
	for key, status := range map[string]int{"second-key-of-another": 401, "third-key-of-another": 200} {
		if a := w.Post(key, "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:3 hello", false)); a.Status != status {
			t.Errorf("%s: %d, want %d", key, a.Status, status)
		}
	}
}

// A rotated key that still works is ended with the key that replaced it: a leaked one must not live on unseen.
func TestDeclarationEndsKeysInTheirOverlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	first := map[string]admin.NewKey{}
	for _, name := range []string{"web", "job", "stays"} {
		first[name] = w.makeKey(admin.KeyInput{Project: "home", Name: name})
		if status := w.Admin(http.MethodPost, "/keys/"+first[name].ID+"/rotate", admin.RotateInput{Overlap: "1h"}, nil); status != http.StatusCreated {
			t.Fatal(status)
		}
	}
	in := admin.DeclareInput{Declaration: admin.Declaration{Organisations: map[string]admin.DeclaredOrganisation{"default": {
		Projects: map[string]admin.DeclaredProject{"home": {Keys: map[string]admin.DeclaredKey{"web": {SHA256: sum("web-key-of-another")}, "stays": {}}}},
	}}}}
	left := strings.Join(w.declare("plan", in).Left, "\n")
	if !strings.Contains(left, "key default/home/job\n") || !strings.Contains(left, "key default/home/job, replaced, works until ") {
		t.Errorf("left: %s", left)
	}
	in.Prune = true
	if n := strings.Count(lines(w.declare("apply", in)), "end key default/home/"); n < 4 {
		t.Errorf("%d keys end", n)
	}
	for name, status := range map[string]int{"web": 401, "job": 401, "stays": 200} {
		if a := w.Post(first[name].Key, "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:3 hello", false)); a.Status != status {
			t.Errorf("%s in its overlap: %d, want %d", name, a.Status, status)
		}
	}
}

// The prefix is what people know a key by, so a file cannot give a key that of another.
func TestDeclarationForgesNoPrefix(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	var d admin.Declaration
	w.Admin(http.MethodGet, "/declaration", nil, &d)
	one := func(k admin.DeclaredKey) string {
		d.Organisations = organisation(map[string]admin.DeclaredProject{"checkout": {Keys: map[string]admin.DeclaredKey{"web": k}}})
		return lines(w.declare("plan", admin.DeclareInput{Declaration: d}))
	}
	hash := strings.Repeat("a1", 32)
	for _, k := range []admin.DeclaredKey{
		{SHA256: sum("a"), Prefix: "psk_7f3abc"}, {Hash: hash, Prefix: "web"}, {Hash: hash, Prefix: "psk_"}, {Hash: hash, Prefix: "psk_7f3abc "},
	} {
		if got := one(k); !strings.Contains(got, "! organisations.acme.projects.checkout.keys.web.prefix: is not one that an export has") {
			t.Errorf("%+v:\n%s", k, got)
		}
	}
	for _, k := range []admin.DeclaredKey{{Hash: hash}, {Hash: hash, Prefix: "psk_7f3abc"}, {Hash: hash, Prefix: "sha256:0a1b2c3d"}, {Hash: hash, Prefix: "key a1a1a1a1"}} {
		if got := one(k); strings.Contains(got, "!") {
			t.Errorf("%+v:\n%s", k, got)
		}
	}
}

func TestDeclarationMistakesAreToldAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	in := admin.DeclareInput{Declaration: admin.Declaration{
		Keyring: "ring_of_another",
		Organisations: organisation(map[string]admin.DeclaredProject{
			"-x": {},
			"checkout": {Bodies: "some", Retention: "long", Keys: map[string]admin.DeclaredKey{
				"a": {}, "b": {SHA256: "12"}, "c": {SHA256: sum("x"), Hash: sum("x")}, "d": {Hash: sum("y")},
				"e": {SHA256: sum("some-key-of-another"), Role: "king", Expires: "soon"},
				"f": {SHA256: sum("some-key-of-another")},
			}},
		}),
		Prices: map[string]admin.DeclaredPrice{"nonsense": {Input: "1", Output: "1"}, "sim-a/m": {Input: "dear"}},
	}}
	plan := w.declare("plan", in)
	var paths []string
	for _, p := range plan.Problems {
		paths = append(paths, strings.TrimPrefix(p.Path, "organisations.acme.projects."))
		if p.Text == "" {
			t.Errorf("%s: nothing is said", p.Path)
		}
	}
	want := []string{
		"-x", "checkout.retention", "checkout.bodies", "checkout.keys.a", "checkout.keys.b.sha256", "checkout.keys.c", "checkout.keys.d.hash",
		"checkout.keys.e.expires", "checkout.keys.e.role", "checkout.keys.f", "prices.nonsense", "prices.sim-a/m.input", "prices.sim-a/m.output",
	}
	if d := cmp.Diff(want, paths); d != "" {
		t.Error(d, lines(plan))
	}
	if a := w.call(http.MethodPost, "/admin/v1/declaration/apply", w.keys[auth.RoleAdmin], `{"declaration":{"organisations":{"acme":{"projects":{"ok":{},"-x":{}}}}}}`); a.status != 400 {
		t.Errorf("a declaration with a mistake: %d %s", a.status, a.body)
	}
	if got := get[pageOf[admin.Project]](w, "/projects").Data; len(got) != 1 {
		t.Errorf("a part of a bad declaration was applied: %v", got)
	}
}

// What changed since the plan is not overwritten, and who may not make keys of a role may not declare them either.
func TestDeclarationIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	in := admin.DeclareInput{Declaration: admin.Declaration{Organisations: organisation(map[string]admin.DeclaredProject{"checkout": {}})}}
	in.Base = w.declare("plan", in).Base
	w.Key("meanwhile")
	a := w.call(http.MethodPost, "/admin/v1/declaration/apply", w.keys[auth.RoleAdmin],
		fmt.Sprintf(`{"base":%q,"declaration":{"organisations":{"acme":{"projects":{"checkout":{}}}}}}`, in.Base))
	if a.status != http.StatusConflict || a.refusal(t).Code != "changed_meanwhile" {
		t.Errorf("an old plan: %d %s", a.status, a.body)
	}
	body := fmt.Sprintf(`{"declaration":{"organisations":{"acme":{"projects":{"checkout":{"keys":{"a":{"sha256":%q,"role":"admin"}}}}}}}}`, sum("key-of-an-admin-to-be"))
	for _, verb := range []string{"plan", "apply"} {
		if a := w.call(http.MethodPost, "/admin/v1/declaration/"+verb, w.keys[auth.RoleOperator], body); a.status != http.StatusForbidden {
			t.Errorf("an operator declares an admin: %d %s", a.status, a.body)
		}
	}
	if got := get[pageOf[admin.Project]](w, "/projects").Data; len(got) != 2 {
		t.Errorf("something was made: %v", got)
	}
}

// What was exported changes nothing, whatever there is.
func TestExportRoundTrip(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	rapid.Check(t, func(t *rapid.T) {
		in := drawProject(t)
		in.Name = w.fresh(in.Name)
		w.Admin(http.MethodPost, "/projects", in, nil)
		for range rapid.IntRange(0, 3).Draw(t, "keys") {
			k := admin.KeyInput{Project: in.Name, Role: string(rapid.SampledFrom(auth.Roles()).Draw(t, "role"))}
			if rapid.Bool().Draw(t, "named") {
				k.Name = aName.Draw(t, "key")
			}
			if rapid.Bool().Draw(t, "ends") {
				k.Expires = "1h30m"
			}
			if rapid.Bool().Draw(t, "imported") {
				k.SHA256 = sum(w.fresh("key"))
			}
			k.Models = rapid.SampledFrom([][]string{nil, {"a*"}, {"a", "b/*"}}).Draw(t, "models")
			w.Admin(http.MethodPost, "/keys", k, nil)
		}
		drawLimits(t, w, in.Name)
		var d admin.Declaration
		if status := w.Admin(http.MethodGet, "/declaration", nil, &d); status != http.StatusOK {
			t.Fatalf("export: %d", status)
		}
		plan := w.declare("plan", admin.DeclareInput{Declaration: d, Prune: true})
		if got := lines(plan); got != "" {
			t.Fatalf("an export changes something:\n%s", got)
		}
		if len(plan.Left) > 0 {
			t.Fatalf("an export leaves something out: %q", plan.Left)
		}
	})
	// What an export makes elsewhere, with the same ring, is the same; here, of other names.
	var d, again admin.Declaration
	w.Admin(http.MethodGet, "/declaration", nil, &d)
	w.Admin(http.MethodGet, "/declaration", nil, &again)
	if diff := cmp.Diff(d, again, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}

// drawLimits sets budgets, limits and tiers for a project, its first key, its end users, its organisation and all.
func drawLimits(t *rapid.T, w *world, project string) {
	scopes := []admin.ScopeInput{{}, {Org: "default"}, {Project: "*", Key: "*", Model: "a*"}, {Org: "default", User: "*"}, {Project: project}, {Project: project, Key: "*", User: "ann"}}
	keys := get[pageOf[admin.Key]](w, "/keys?project="+url.QueryEscape(project)).Data
	assign := []admin.AssignmentInput{{Tier: "gold", Project: project}, {Tier: "gold", Project: project, User: "*"}, {Tier: "gold", Project: project, User: "bob: #1"}}
	if len(keys) > 0 {
		scopes = append(scopes, admin.ScopeInput{Project: project, Key: keys[0].ID, User: "*"})
		assign = append(assign, admin.AssignmentInput{Tier: "gold", Project: project, Key: keys[0].ID})
	}
	tier := admin.TierInput{Name: "gold", Class: "flex", Models: []string{"b*"}, MaxOutput: 5, Limits: []admin.Rate{{Measure: "tokens", Amount: 5, Mode: "observe"}}}
	if rapid.Bool().Draw(t, "tier with a budget") {
		tier.Budgets = append(tier.Budgets, drawTerms(t))
	}
	w.Admin(http.MethodPut, "/tiers", tier, nil)
	for _, a := range assign {
		if rapid.Bool().Draw(t, "assign") {
			w.Admin(http.MethodPut, "/assignments", a, nil)
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "budgets") {
		scope := rapid.SampledFrom(scopes).Draw(t, "scope")
		w.Admin(http.MethodPut, "/budgets", admin.BudgetInput{ScopeInput: scope, TermsInput: drawTerms(t)}, nil)
		w.Admin(http.MethodPut, "/limits", admin.LimitInput{ScopeInput: scope, Rate: admin.Rate{Measure: "requests", Amount: rapid.Int64Range(1, 9).Draw(t, "rate")}}, nil)
	}
}

// Budgets, limits and tiers are declared beside what they are for; what is not declared stays, or ends where it is pruned.
func TestLimitsAreDeclared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	budget := func(amount string) []admin.DeclaredBudget {
		return []admin.DeclaredBudget{{DeclaredTerms: admin.DeclaredTerms{Amount: amount, Per: "day"}}}
	}
	in := admin.DeclareInput{Declaration: admin.Declaration{
		Tiers: map[string]admin.DeclaredTier{"gold": {MaxOutput: "500", Limits: []admin.DeclaredRate{{Measure: "requests", Amount: "60"}}}},
		Organisations: map[string]admin.DeclaredOrganisation{"acme": {
			Budgets: []admin.DeclaredBudget{{DeclaredScope: admin.DeclaredScope{Project: "*"}, DeclaredTerms: admin.DeclaredTerms{Amount: "9", From: "2026-01-01", To: "2027-01-01"}}},
			Projects: map[string]admin.DeclaredProject{"checkout": {
				Tier: "gold", UserTiers: map[string]string{"ann": "gold"}, Budgets: budget("1.00"),
				Limits: []admin.DeclaredLimit{{DeclaredScope: admin.DeclaredScope{User: "*"}, DeclaredRate: admin.DeclaredRate{Measure: "tokens", Amount: "5", Mode: "observe"}}},
				Keys:   map[string]admin.DeclaredKey{"web": {SHA256: sum("web"), Tier: "gold", Budgets: budget("0.5")}},
			}},
		}},
	}}
	want := `make tier gold max_output:>500 limits:>60 requests
make project acme/checkout bodies:>none strict:>false tier:>gold user_tiers.ann:>gold
make budget acme/checkout usd/day amount:>1 mode:>enforce
make limit acme/checkout each user tokens amount:>5 mode:>observe
make key acme/checkout/web prefix:>` + "sha256:" + sum("web")[:8] + ` role:>caller models:>all expires:>never tier:>gold
make budget acme/checkout/web usd/day amount:>0.5 mode:>enforce
make budget acme each project usd/term amount:>9 mode:>enforce to:>2027-01-01T00:00:00Z
`
	plan := w.declare("plan", in)
	if got := lines(plan); got != want {
		t.Errorf("plan:\n%s\nwant:\n%s", got, want)
	}
	w.declare("apply", in)
	if got := lines(w.declare("plan", in)); got != "" {
		t.Errorf("after it was applied:\n%s", got)
	}
	checkout := in.Declaration.Organisations["acme"].Projects["checkout"]
	checkout.Tier, checkout.UserTiers, checkout.Limits, checkout.Budgets = "", nil, nil, budget("2")
	in.Declaration.Tiers, in.Declaration.Organisations["acme"] = nil, admin.DeclaredOrganisation{Projects: map[string]admin.DeclaredProject{"checkout": checkout}}
	plan = w.declare("plan", in)
	want = "change project acme/checkout tier:gold>\nchange budget acme/checkout usd/day amount:1>2\n"
	if got := lines(plan); got != want {
		t.Errorf("plan:\n%s\nwant:\n%s", got, want)
	}
	if left := strings.Join(plan.Left, "; "); !strings.Contains(left, "budget acme each project usd/term; limit acme/checkout each user tokens; tiers of 1 end users of acme/checkout") {
		t.Errorf("left: %s", left)
	}
	in.Prune = true
	want += "end limit acme/checkout each user tokens amount:5> mode:observe>\nchange project acme/checkout user_tiers.ann:gold>\n"
	if got := lines(w.declare("apply", in)); got != want {
		t.Errorf("pruned:\n%s\nwant:\n%s", got, want)
	}
	if got := lines(w.declare("plan", in)); got != "" {
		t.Errorf("after it was applied:\n%s", got)
	}
	checkout.Tier, checkout.UserTiers, checkout.Budgets = "none", map[string]string{"*": "gold"}, append(budget("x"), budget("1")...)
	checkout.Budgets = append(checkout.Budgets, admin.DeclaredBudget{DeclaredScope: admin.DeclaredScope{Project: "*", Key: "web"}, DeclaredTerms: admin.DeclaredTerms{Tokens: "1.5", Per: "day"}}, budget("1")[0])
	in.Declaration.Organisations["acme"].Projects["checkout"] = checkout
	got := lines(w.declare("plan", in))
	for _, mistake := range []string{
		`! organisations.acme.projects.checkout.tier: there is no tier "none"`, `! organisations.acme.projects.checkout.user_tiers: "*" is not the name of an end user`,
		`! organisations.acme.projects.checkout.budgets[0].amount: "x" is not an amount`, `! organisations.acme.projects.checkout.budgets[2].tokens: "1.5" is not a whole number`,
		`! organisations.acme.projects.checkout.budgets[2].project: stands within one already`, `! organisations.acme.projects.checkout.budgets[2].key: "web" is not *`,
		`! organisations.acme.projects.checkout.budgets[3]: there are two budgets of the same scope`,
	} {
		if !strings.Contains(got, mistake) {
			t.Errorf("not told: %s", mistake)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestKeysChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	k := w.makeKey(admin.KeyInput{Project: "home", Name: "trial"})
	chat := penstocktest.Chat("sim-a/m", "say:3 hello", false)
	var got admin.Key
	if status := w.Admin(http.MethodPatch, "/keys/"+k.ID, admin.KeyChange{Models: []string{"sim-b/*"}}, &got); status != http.StatusOK || got.Name != "trial" || len(got.Models) != 1 {
		t.Fatalf("%d %+v", status, got)
	}
	if a := w.Post(k.Key, "/v1/chat/completions", chat); a.Status != http.StatusNotFound {
		t.Errorf("a model that the key may no longer use: %d", a.Status)
	}
	month, never, name := "30d", "0s", "other"
	w.Admin(http.MethodPatch, "/keys/"+k.ID, admin.KeyChange{Models: []string{}, Expires: &month, Name: &name}, &got)
	if got.Expires == nil || got.Name != "other" || len(got.Models) != 0 {
		t.Errorf("%+v", got)
	}
	if a := w.Post(k.Key, "/v1/chat/completions", chat); a.Status != http.StatusOK {
		t.Errorf("all models again: %d", a.Status)
	}
	w.Admin(http.MethodPatch, "/keys/"+k.ID, admin.KeyChange{Expires: &never}, &got)
	if got.Expires != nil {
		t.Errorf("ends at %v", got.Expires)
	}
	role := "admin"
	for _, c := range []struct {
		by     auth.Role
		id     string
		body   string
		status int
	}{
		{auth.RoleOperator, k.ID, `{"role":"admin"}`, 403},
		{auth.RoleAdmin, k.ID, `{"role":"king"}`, 400},
		{auth.RoleAdmin, k.ID, `{"models":["?"]}`, 400},
		{auth.RoleAdmin, k.ID, `{"name":"of the role admin"}`, 409},
		{auth.RoleAdmin, "key_none", `{"name":"x"}`, 404},
		{auth.RoleAdmin, k.ID, `{"secret":"x"}`, 400},
	} {
		if a := w.call(http.MethodPatch, "/admin/v1/keys/"+c.id, w.keys[c.by], c.body); a.status != c.status {
			t.Errorf("%s of %s: %d %s", c.body, c.id, a.status, a.body)
		}
	}
	w.Admin(http.MethodPost, "/keys/"+k.ID+"/revoke", nil, nil)
	if status := w.Admin(http.MethodPatch, "/keys/"+k.ID, admin.KeyChange{Role: &role}, nil); status != http.StatusBadRequest {
		t.Errorf("a revoked key changes: %d", status)
	}
}
