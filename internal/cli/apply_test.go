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
	key := rapid.Custom(func(t *rapid.T) admin.DeclaredKey {
		return admin.DeclaredKey{
			Hash: rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "hash"), Prefix: text.Draw(t, "prefix"), Role: text.Draw(t, "role"),
			Models: rapid.SliceOfN(rapid.StringMatching(`[a-z0-9*][a-z0-9*:/.-]{0,10}`), 0, 3).Draw(t, "models"), Expires: text.Draw(t, "expires"),
		}
	})
	project := rapid.Custom(func(t *rapid.T) admin.DeclaredProject {
		return admin.DeclaredProject{
			Labels: rapid.MapOfN(rapid.StringMatching(`[a-z0-9_.-]{1,10}`), text, 0, 3).Draw(t, "labels"),
			Bodies: "keep", Retention: "30d", Strict: rapid.Bool().Draw(t, "strict"), Keys: rapid.MapOfN(name, key, 0, 3).Draw(t, "keys"),
			Stateless: rapid.Bool().Draw(t, "stateless"), PrivateOnly: rapid.Bool().Draw(t, "private only"),
			Regions: rapid.SliceOfN(rapid.OneOf(name, rapid.StringMatching(`[a-z0-9*][a-z0-9*:/.-]{0,10}`)), 0, 3).Draw(t, "regions"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		want := admin.Declaration{Keyring: "ring_1", Organisations: map[string]admin.DeclaredOrganisation{}, Prices: map[string]admin.DeclaredPrice{}}
		for _, org := range rapid.SliceOfN(name, 0, 3).Draw(t, "orgs") {
			want.Organisations[org] = admin.DeclaredOrganisation{Projects: rapid.MapOfN(name, project, 0, 3).Draw(t, "projects")}
		}
		want.Prices["a/"+name.Draw(t, "target")] = admin.DeclaredPrice{Input: "0.15", Output: "10", Source: "set"}
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
