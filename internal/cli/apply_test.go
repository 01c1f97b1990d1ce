package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
)

// What export writes is what apply reads, whatever tenants are named.
func TestDeclarationsReadBack(t *testing.T) {
	t.Parallel()
	name := rapid.OneOf(
		rapid.StringMatching(`[\p{L}0-9][\p{L}0-9 _./&'":#%@,{}\[\]*!|>?-]{0,40}`),
		rapid.SampledFrom([]string{"true", "null", "1", "0x1f", "1e3", "~", "2027-01-01", "yes", "a: b", "a #b", "sha256:12ab34cd", "psk_2tp8Sb", "<<", "=", "é漢🙂"}),
	)
	text := rapid.OneOf(name, rapid.Just(""))
	terms := rapid.Custom(func(t *rapid.T) admin.DeclaredTerms {
		d := admin.DeclaredTerms{
			Amount: "1.5", Tokens: text.Draw(t, "tokens"), Per: text.Draw(t, "per"), Zone: text.Draw(t, "zone"), From: text.Draw(t, "from"), To: text.Draw(t, "to"),
			Mode: text.Draw(t, "mode"), Alerts: rapid.SliceOfN(rapid.IntRange(1, 100), 0, 3).Draw(t, "alerts"),
		}
		for range rapid.IntRange(0, 2).Draw(t, "kept") {
			d.Kept = append(d.Kept, admin.DeclaredKept{Tag: name.Draw(t, "tag"), Share: rapid.IntRange(1, 99).Draw(t, "share")})
		}
		return d
	})
	rate := rapid.Custom(func(t *rapid.T) admin.DeclaredRate {
		return admin.DeclaredRate{Measure: name.Draw(t, "measure"), Amount: "60", Mode: text.Draw(t, "mode")}
	})
	scope := rapid.Custom(func(t *rapid.T) admin.DeclaredScope {
		return admin.DeclaredScope{Project: text.Draw(t, "project"), Key: text.Draw(t, "key"), User: text.Draw(t, "user"), Model: text.Draw(t, "model")}
	})
	budgets := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) admin.DeclaredBudget {
		return admin.DeclaredBudget{DeclaredScope: scope.Draw(t, "scope"), DeclaredTerms: terms.Draw(t, "terms")}
	}), 0, 2)
	limits := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) admin.DeclaredLimit {
		return admin.DeclaredLimit{DeclaredScope: scope.Draw(t, "scope"), DeclaredRate: rate.Draw(t, "rate")}
	}), 0, 2)
	tier := rapid.Custom(func(t *rapid.T) admin.DeclaredTier {
		return admin.DeclaredTier{
			Class: text.Draw(t, "class"), Models: rapid.SliceOfN(name, 0, 2).Draw(t, "models"), MaxInput: text.Draw(t, "max input"), MaxOutput: "5",
			Limits: rapid.SliceOfN(rate, 0, 2).Draw(t, "limits"), Budgets: rapid.SliceOfN(terms, 0, 2).Draw(t, "budgets"),
		}
	})
	key := rapid.Custom(func(t *rapid.T) admin.DeclaredKey {
		return admin.DeclaredKey{
			Hash: rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "hash"), Prefix: text.Draw(t, "prefix"), Role: text.Draw(t, "role"),
			Models: rapid.SliceOfN(rapid.StringMatching(`[a-z0-9*][a-z0-9*:/.-]{0,10}`), 0, 3).Draw(t, "models"), Expires: text.Draw(t, "expires"),
			Tier: text.Draw(t, "tier"), Budgets: budgets.Draw(t, "budgets"), Limits: limits.Draw(t, "limits"),
		}
	})
	project := rapid.Custom(func(t *rapid.T) admin.DeclaredProject {
		return admin.DeclaredProject{
			Labels: rapid.MapOfN(rapid.StringMatching(`[a-z0-9_.-]{1,10}`), text, 0, 3).Draw(t, "labels"),
			Bodies: "keep", Retention: "30d", Strict: rapid.Bool().Draw(t, "strict"), Keys: rapid.MapOfN(name, key, 0, 3).Draw(t, "keys"),
			Tier: text.Draw(t, "tier"), UserTier: text.Draw(t, "user tier"), UserTiers: rapid.MapOfN(name, name, 0, 2).Draw(t, "user tiers"),
			Budgets: budgets.Draw(t, "budgets"), Limits: limits.Draw(t, "limits"),
			Stateless: rapid.Bool().Draw(t, "stateless"), PrivateOnly: rapid.Bool().Draw(t, "private only"),
			Regions: rapid.SliceOfN(rapid.OneOf(name, rapid.StringMatching(`[a-z0-9*][a-z0-9*:/.-]{0,10}`)), 0, 3).Draw(t, "regions"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := admin.Declaration{Keyring: "ring_1", Organisations: map[string]admin.DeclaredOrganisation{}, Prices: map[string]admin.DeclaredPrice{}}
		for _, org := range rapid.SliceOfN(name, 0, 3).Draw(t, "orgs") {
			want.Organisations[org] = admin.DeclaredOrganisation{
				Projects: rapid.MapOfN(name, project, 0, 3).Draw(t, "projects"), Budgets: budgets.Draw(t, "budgets"), Limits: limits.Draw(t, "limits"),
			}
		}
		want.Prices["a/"+name.Draw(t, "target")] = admin.DeclaredPrice{Input: "0.15", Output: "10", Source: "set"}
		want.Tiers, want.Budgets, want.Limits = rapid.MapOfN(name, tier, 0, 2).Draw(t, "tiers"), budgets.Draw(t, "budgets"), limits.Draw(t, "limits")
		text := declarationYAML(want)
		var got admin.Declaration
		if _, err := config.ReadDocument("f.yaml", []byte(text), &got); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%s\n%s", d, text)
		}
	})
}
