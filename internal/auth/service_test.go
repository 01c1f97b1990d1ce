package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/fault"
)

func TestCreateProjectTakesDefaults(t *testing.T) {
	t.Parallel()
	f := setup(t)
	p, err := f.CreateProject(t.Context(), ProjectSpec{Name: "search", Labels: map[string]string{"cost_center": "42"}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(p.ID, "prj_") || p.Org != "default" || p.Bodies != "none" || p.Created.IsZero() {
		t.Errorf("%+v", p)
	}
	if diff := cmp.Diff(p, f.store.projects[p.ID]); diff != "" {
		t.Errorf("what was answered is not what was kept: %s", diff)
	}
	_, err = f.CreateProject(t.Context(), ProjectSpec{Name: "search"})
	wantFault(t, err, fault.AlreadyThere)
	if _, err = f.CreateProject(t.Context(), ProjectSpec{Name: "search", Org: "acme"}); err != nil {
		t.Errorf("the same name in another organisation: %v", err)
	}
}

func TestBadProjectsAreRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	many := map[string]string{}
	for i := range 33 {
		many[fmt.Sprint("l", i)] = ""
	}
	for _, tt := range []struct {
		name string
		spec ProjectSpec
		want string
	}{
		{"no name", ProjectSpec{}, "name: is empty."},
		{"long name", ProjectSpec{Name: strings.Repeat("é", 65)}, "name: has 65 characters, limit 64."},
		{"flag", ProjectSpec{Name: "--org"}, `name: "--org" begins with '-'.`},
		{"formula", ProjectSpec{Name: "=cmd"}, `begins with '='`},
		{"space first", ProjectSpec{Name: " a"}, `begins with ' '`},
		{"space last", ProjectSpec{Name: "a "}, `"a " ends with a space`},
		{"newline", ProjectSpec{Name: "a\nb"}, `"a\nb" has a character that cannot be seen`},
		{"right to left", ProjectSpec{Name: "a\u202eb"}, `"a\u202eb" has a character that cannot be seen`},
		{"zero width", ProjectSpec{Name: "a\u200bb"}, `cannot be seen`},
		{"NUL", ProjectSpec{Name: "a\x00"}, `cannot be seen`},
		{"bad UTF-8", ProjectSpec{Name: "a\xff"}, "name: is not UTF-8."},
		{"like an id", ProjectSpec{Name: "prj_1"}, "looks like an id"},
		{"like a key", ProjectSpec{Name: "psk_1"}, "looks like an id or a key"},
		{"bad org", ProjectSpec{Name: "a", Org: "/"}, `org: "/" begins with '/'.`},
		{"label's name", ProjectSpec{Name: "a", Labels: map[string]string{"Cost": "1"}}, `labels["Cost"]: is not a label's name.`},
		{"label's value", ProjectSpec{Name: "a", Labels: map[string]string{"a": "1\n2"}}, `labels["a"]: has a value with`},
		{"long label", ProjectSpec{Name: "a", Labels: map[string]string{"a": strings.Repeat("x", 257)}}, "257 characters, limit 256"},
		{"many labels", ProjectSpec{Name: "a", Labels: many}, "labels: are 33, limit 32."},
		{"bodies", ProjectSpec{Name: "a", Bodies: "all"}, `bodies: "all" is not known.`},
		{"no retention", ProjectSpec{Name: "a", Bodies: "keep"}, "retention: is missing."},
		{"useless retention", ProjectSpec{Name: "a", Retention: time.Hour}, "retention: is set although"},
		{"negative retention", ProjectSpec{Name: "a", Bodies: "keep", Retention: -1}, "retention: is missing."},
		{"endless retention", ProjectSpec{Name: "a", Bodies: "keep", Retention: math.MaxInt64}, "is longer than 36500 days"},
		{"two at once", ProjectSpec{Name: "", Bodies: "x"}, "2 mistakes: name: is empty (use 1 to 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := f.CreateProject(t.Context(), tt.spec)
			e := faultOf(t, err, fault.InvalidRequest)
			if !strings.Contains(e.Message, tt.want) || e.Param == "" || e.Advice() == "" {
				t.Errorf("got %q, param %q, hint %q; want %q", e.Message, e.Param, e.Advice(), tt.want)
			}
		})
	}
}

func TestGoodNames(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"a", "checkout", "Team 7 (EU)", "données", "客服", "a/b", "x.y-z_0", "7", strings.Repeat("é", 64)} {
		if bad := badName(s); bad != "" {
			t.Errorf("%q %s", s, bad)
		}
	}
}

func TestUpdateProjectChangesOnlyWhatIsGiven(t *testing.T) {
	t.Parallel()
	f := setup(t)
	p, err := f.CreateProject(t.Context(), ProjectSpec{Name: "a", Bodies: "keep", Retention: time.Hour, Labels: map[string]string{"x": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	yes, none, empty := true, BodiesNone, ""
	got, err := f.UpdateProject(t.Context(), p.ID, ProjectChange{Strict: &yes})
	want := p
	want.Strict = true
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	got, err = f.UpdateProject(t.Context(), p.ID, ProjectChange{Bodies: &none, Labels: map[string]string{}})
	want.Bodies, want.Retention, want.Labels = BodiesNone, 0, map[string]string{}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	_, err = f.UpdateProject(t.Context(), p.ID, ProjectChange{Name: &empty})
	wantFault(t, err, fault.InvalidRequest)
	_, err = f.UpdateProject(t.Context(), "prj_none", ProjectChange{})
	wantFault(t, err, fault.NotThere)
	k, key := f.issueKey(t, KeySpec{})
	if _, err := f.UpdateProject(t.Context(), k.Project, ProjectChange{Strict: &yes}); err != nil {
		t.Fatal(err)
	}
	if g, err := f.keys.Check(key); err != nil || !g.Caller.Strict {
		t.Errorf("a change of the project is not known at once: %v, %v", g, err)
	}
}

// What two people change of a project at once both stands, whoever's write comes last.
func TestChangesOfAProjectAtOnceBothStand(t *testing.T) {
	t.Parallel()
	f := setup(t)
	p, err := f.CreateProject(t.Context(), ProjectSpec{Name: "a"})
	if err != nil {
		t.Fatal(err)
	}
	yes, renamed := true, "b"
	f.store.breakWith(func(_ context.Context, method string) error {
		if method != "UpdateProject" {
			return nil
		}
		f.store.breakWith(nil) // somebody else is faster, once
		_, err := f.UpdateProject(t.Context(), p.ID, ProjectChange{Strict: &yes})
		return err
	})
	got, err := f.UpdateProject(t.Context(), p.ID, ProjectChange{Name: &renamed})
	if err != nil || got.Name != renamed || !got.Strict {
		t.Errorf("%+v, %v", got, err)
	}
	if diff := cmp.Diff(got, f.store.projects[p.ID]); diff != "" {
		t.Errorf("what was answered is not what was kept: %s", diff)
	}
}

func TestCreateKeyTakesDefaults(t *testing.T) {
	t.Parallel()
	f := setup(t)
	made, err := f.CreateKey(t.Context(), RoleOperator, KeySpec{Project: "checkout"})
	if err != nil {
		t.Fatal(err)
	}
	k, text := made.Key, made.Secret.Reveal()
	if !strings.HasPrefix(k.ID, "key_") || k.Role != RoleCaller || !k.Expires.IsZero() || k.Name != k.Prefix || !strings.HasPrefix(text, k.Prefix) {
		t.Errorf("%+v", k)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", made, made, made), text) {
		t.Error("printing an issued key shows it")
	}
	for _, kept := range f.store.keys {
		if strings.Contains(fmt.Sprintf("%+v", kept), text[10:]) {
			t.Error("the store was given the key itself")
		}
	}
}

func TestBadKeysAreRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, tt := range []struct {
		name string
		spec KeySpec
		want string
	}{
		{"no project", KeySpec{}, "project: is missing."},
		{"negative expiry", KeySpec{Project: "checkout", Expires: -time.Hour}, "expires: -1h0m0s lies in the past."},
		{"endless expiry", KeySpec{Project: "checkout", Expires: math.MaxInt64}, "expires: 2562047h47m16.854775807s is longer than 36500 days."},
		{"bad name", KeySpec{Project: "checkout", Name: "\t"}, "name: "},
		{"empty glob", KeySpec{Project: "checkout", Models: []string{"a", ""}}, "models[1]: is empty."},
		{"bracket", KeySpec{Project: "checkout", Models: []string{"["}}, `models[0]: "[" has a sign of other patterns`},
		{"regular expression", KeySpec{Project: "checkout", Models: []string{`gpt-\d`}}, "has a sign of other patterns"},
		{"list in one", KeySpec{Project: "checkout", Models: []string{"a,b"}}, "has a character that no model's name has"},
		{"long glob", KeySpec{Project: "checkout", Models: []string{strings.Repeat("a", 129)}}, "has 129 characters, limit 128"},
		{"many globs", KeySpec{Project: "checkout", Models: make([]string, 101)}, "models: are 101, limit 100."},
		{"role", KeySpec{Project: "checkout", Role: "root"}, `role: "root" is not a role.`},
		{"hash", KeySpec{Project: "checkout", SHA256: "abc"}, "sha256: is not a SHA-256."},
		{"hash of nothing", KeySpec{Project: "checkout", SHA256: emptySHA256}, "sha256: is that of an empty key."},
		{"hash of zeros", KeySpec{Project: "checkout", SHA256: strings.Repeat("0", 64)}, "sha256: is that of an empty key."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := f.CreateKey(t.Context(), RoleAdmin, tt.spec)
			e := faultOf(t, err, fault.InvalidRequest)
			if !strings.Contains(e.Message, tt.want) || e.Advice() == "" {
				t.Errorf("got %q, hint %q; want %q", e.Message, e.Advice(), tt.want)
			}
		})
	}
	_, err := f.CreateKey(t.Context(), RoleAdmin, KeySpec{Project: "none"})
	wantFault(t, err, fault.NotThere)
}

func TestNoNameTwiceAmongLiveKeys(t *testing.T) {
	t.Parallel()
	f := setup(t)
	k, _ := f.issueKey(t, KeySpec{Name: "trial"})
	_, err := f.CreateKey(t.Context(), RoleAdmin, KeySpec{Project: "checkout", Name: "trial"})
	wantFault(t, err, fault.AlreadyThere)
	if _, err := f.RevokeKey(t.Context(), RoleAdmin, k.ID); err != nil {
		t.Fatal(err)
	}
	f.issueKey(t, KeySpec{Name: "trial"})
}

func TestKeysOfOtherGatewaysAreTakenOver(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const theirs = "sk-1234567890abcdef"
	sum := sha256.Sum256([]byte(theirs))
	made, err := f.CreateKey(t.Context(), RoleOperator, KeySpec{Project: "checkout", SHA256: hex.EncodeToString(sum[:])})
	if err != nil {
		t.Fatal(err)
	}
	if !made.Secret.IsZero() || made.Key.Prefix != "sha256:"+hex.EncodeToString(sum[:4]) {
		t.Errorf("%+v", made)
	}
	if _, err := f.keys.Check(theirs); err != nil {
		t.Errorf("the key taken over: %v", err)
	}
}

// Nobody may raise their rights by making, rotating or revoking a key that can do more than their own.
func TestOnlyAdminsHandleKeysWithARole(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, by := range append(Roles(), "", "root") {
		for _, role := range Roles() {
			may := by == RoleAdmin || by == RoleOperator && role == RoleCaller
			_, err := f.CreateKey(t.Context(), by, KeySpec{Project: "checkout", Role: role})
			checkMay(t, may, err, by, "create", role)
			k, _ := f.issueKey(t, KeySpec{Role: role})
			made, err := f.RotateKey(t.Context(), by, k.ID, 0)
			checkMay(t, may, err, by, "rotate", role)
			if err == nil {
				k = made.Key
			}
			_, err = f.RevokeKey(t.Context(), by, k.ID)
			checkMay(t, may, err, by, "revoke", role)
		}
	}
}

func checkMay(t *testing.T, may bool, err error, by Role, act string, role Role) {
	t.Helper()
	if may && err != nil {
		t.Errorf("%s cannot %s a key of %s: %v", by, act, role, err)
	}
	if !may && (err == nil || fault.From(err).Code != fault.NotAllowed) {
		t.Errorf("%s wants to %s a key of %s: got %v, want a fault %s", by, act, role, err, fault.NotAllowed)
	}
}

func TestBadRotations(t *testing.T) {
	t.Parallel()
	f := setup(t)
	k, _ := f.issueKey(t, KeySpec{Expires: time.Hour})
	for overlap, want := range map[time.Duration]string{
		-time.Second:         "overlap: -1s lies in the past.",
		366 * 24 * time.Hour: "overlap: 8784h0m0s is longer than 365 days.",
	} {
		_, err := f.RotateKey(t.Context(), RoleAdmin, k.ID, overlap)
		if e := faultOf(t, err, fault.InvalidRequest); e.Message != want {
			t.Errorf("got %q, want %q", e.Message, want)
		}
	}
	_, err := f.RotateKey(t.Context(), RoleAdmin, "key_none", 0)
	wantFault(t, err, fault.NotThere)
	f.Now = func() time.Time { return time.Now().Add(time.Hour) }
	_, err = f.RotateKey(t.Context(), RoleAdmin, k.ID, 0)
	if e := faultOf(t, err, fault.InvalidRequest); !strings.Contains(e.Message, "expired") {
		t.Errorf("got %q", e.Message)
	}
}

func TestRotationOfAKeyWithoutNameNamesTheNewOneAfterItself(t *testing.T) {
	t.Parallel()
	f := setup(t)
	k, _ := f.issueKey(t, KeySpec{})
	made, err := f.RotateKey(t.Context(), RoleAdmin, k.ID, 0)
	if err != nil || made.Key.Name != made.Key.Prefix || made.Key.Name == k.Name {
		t.Errorf("%+v, %v", made.Key, err)
	}
}

func TestEveryRoleIsListedAndNoPermissionIsLost(t *testing.T) {
	t.Parallel()
	if got, want := Roles(), slices.Sorted(maps.Keys(may)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, p := range []Permission{Call, ReadTenants, WriteTenants, WriteRoles, ReadExchanges, ReadUsage, ReadPrices, WritePrices, ReadRoutes, ReadMetrics, ReadAudit} {
		if RoleAdmin.Can(p) == (p == Call) {
			t.Errorf("admin and %s", p)
		}
	}
	if Role("root").Can(Call) || Role("").Known() {
		t.Error("an unknown role can do something")
	}
}
