package storetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/seal"
)

func project(id, org, name string) auth.Project {
	return auth.Project{ID: id, Org: org, Name: name, Bodies: auth.BodiesNone, Created: day}
}

func key(id, project, name string) auth.Key {
	return auth.Key{ID: id, Project: project, Name: name, Prefix: "psk_" + name, Hash: sha256.Sum256([]byte(id)), Role: auth.RoleCaller, Created: day}
}

func testProjects(t *testing.T, s Store) {
	ctx := t.Context()
	full := auth.Project{
		ID: "prj_1", Org: "acme", Name: "checkout", Labels: map[string]string{"cost_center": "42", "team": "é"},
		Bodies: auth.BodiesKeep, Retention: 720 * time.Hour, Strict: true, Created: day, Stateless: true, Regions: []string{"eu", "é-*"}, PrivateOnly: true,
	}
	must(t, s.CreateProject(ctx, full))
	got, err := s.FindProject(ctx, "", "prj_1")
	must(t, err)
	same(t, "project", got, full)
	changed := full
	changed.Name, changed.Labels, changed.Bodies, changed.Retention, changed.Strict = "search", nil, auth.BodiesNone, 0, false
	changed.Stateless, changed.Regions, changed.PrivateOnly = false, nil, false
	asked := changed
	asked.Org, asked.Created = "other", day.Add(time.Hour) // which do not change
	got, err = s.UpdateProject(ctx, "prj_1", func(p *auth.Project) error {
		same(t, "project to change", *p, full)
		*p = asked
		return nil
	})
	must(t, err)
	same(t, "changed project", got, changed)
	got, err = s.FindProject(ctx, "acme", "search")
	must(t, err)
	same(t, "changed project, read again", got, changed)
	_, err = s.UpdateProject(ctx, "prj_2", func(*auth.Project) error { t.Error("changes a project that is not there"); return nil })
	refused(t, err, fault.NotThere)
	_, err = s.UpdateProject(ctx, "search", rename("x"))
	refused(t, err, fault.NotThere) // ids only
	before := version(t, s)
	_, err = s.UpdateProject(ctx, "prj_1", func(p *auth.Project) error {
		p.Name = "half"
		return fault.New(fault.InvalidRequest, "No.")
	})
	refused(t, err, fault.InvalidRequest)
	got, err = s.FindProject(ctx, "", "prj_1")
	must(t, err)
	same(t, "project after a change that was refused", got, changed)
	same(t, "version", version(t, s), before)
	_, err = s.FindProject(ctx, "", "checkout")
	refused(t, err, fault.NotThere)
}

func rename(name string) func(*auth.Project) error {
	return func(p *auth.Project) error { p.Name = name; return nil }
}

// testChangesAtOnce: a change works on what the one before has left, so none undoes another.
func testChangesAtOnce(t *testing.T, s Store) {
	ctx := t.Context()
	p := project("prj_1", "acme", "checkout")
	must(t, s.CreateProject(ctx, p))
	before := version(t, s)
	changes := []func(*auth.Project) error{
		rename("search"),
		func(p *auth.Project) error { p.Strict = true; return nil },
		func(p *auth.Project) error { p.Bodies, p.Retention = auth.BodiesKeep, time.Hour; return nil },
	}
	want := p
	want.Name, want.Strict, want.Bodies, want.Retention, want.Labels = "search", true, auth.BodiesKeep, time.Hour, map[string]string{}
	for i := range 20 {
		label := fmt.Sprint("l", i)
		want.Labels[label] = "1"
		changes = append(changes, func(p *auth.Project) error {
			if p.Labels == nil {
				p.Labels = map[string]string{}
			}
			p.Labels[label] = "1"
			return nil
		})
	}
	var wg sync.WaitGroup
	for _, change := range changes {
		wg.Go(func() {
			if _, err := s.UpdateProject(ctx, p.ID, change); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := s.FindProject(ctx, "", p.ID)
	must(t, err)
	same(t, "project", got, want)
	same(t, "changes", version(t, s)-before, int64(len(changes)))
}

func testProjectNames(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "a", "checkout")))
	must(t, s.CreateProject(ctx, project("prj_2", "b", "checkout")))
	must(t, s.CreateProject(ctx, project("prj_3", "a", "search")))
	refused(t, s.CreateProject(ctx, project("prj_4", "a", "checkout")), fault.AlreadyThere)
	refused(t, s.CreateProject(ctx, project("prj_1", "c", "x")), fault.AlreadyThere)
	_, err := s.UpdateProject(ctx, "prj_3", rename("checkout"))
	refused(t, err, fault.AlreadyThere)
	_, err = s.FindProject(ctx, "", "checkout")
	refused(t, err, fault.InvalidRequest) // of which organisation?
	for org, want := range map[string]string{"a": "prj_1", "b": "prj_2"} {
		p, err := s.FindProject(ctx, org, "checkout")
		must(t, err)
		same(t, "by organisation", p.ID, want)
	}
	_, err = s.FindProject(ctx, "c", "checkout")
	refused(t, err, fault.NotThere)

	var seen []string
	for after := ""; ; {
		page, err := s.Projects(ctx, after, 2)
		must(t, err)
		for _, p := range page {
			seen = append(seen, p.ID)
		}
		if len(page) < 2 {
			break
		}
		after = page[len(page)-1].ID
	}
	same(t, "pages", seen, []string{"prj_1", "prj_2", "prj_3"})
	_, err = s.Projects(ctx, "prj_none", 2)
	refused(t, err, fault.NotThere)
}

func testKeys(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "a", "checkout")))
	must(t, s.CreateProject(ctx, project("prj_2", "a", "search")))
	full := auth.Key{
		ID: "key_1", Project: "prj_1", Name: "trial", Prefix: "psk_7f3a", Hash: auth.Hash{0, 1, 0xff}, Role: auth.RoleAuditor,
		Models: []string{"gpt-*", "é"}, Created: day, Expires: day.Add(time.Hour), Replaces: "key_0",
	}
	must(t, s.CreateKey(ctx, full))
	got, err := s.FindKey(ctx, "key_1")
	must(t, err)
	same(t, "key", got, full)
	must(t, s.CreateKey(ctx, key("key_3", "prj_2", "c")))
	must(t, s.CreateKey(ctx, key("key_2", "prj_1", "b")))
	list := func(project, after string, limit int) string {
		keys, err := s.Keys(ctx, project, after, limit)
		must(t, err)
		var ids []string
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
		return strings.Join(ids, " ")
	}
	same(t, "all", list("", "", 10), "key_1 key_2 key_3")
	same(t, "of a project", list("prj_1", "", 10), "key_1 key_2")
	same(t, "first page", list("", "", 2), "key_1 key_2")
	same(t, "second page", list("", "key_2", 2), "key_3")
	same(t, "of no project", list("prj_9", "", 2), "")
	_, err = s.FindKey(ctx, "trial")
	refused(t, err, fault.NotThere)
	refused(t, s.CreateKey(ctx, key("key_4", "prj_9", "x")), fault.NotThere)
}

func testKeyNames(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "a", "checkout")))
	must(t, s.CreateProject(ctx, project("prj_2", "a", "search")))
	must(t, s.CreateKey(ctx, key("key_1", "prj_1", "trial")))
	must(t, s.CreateKey(ctx, key("key_2", "prj_2", "trial")))
	refused(t, s.CreateKey(ctx, key("key_3", "prj_1", "trial")), fault.AlreadyThere)
	twin := key("key_4", "prj_1", "other")
	twin.Hash = key("key_1", "", "").Hash
	refused(t, s.CreateKey(ctx, twin), fault.AlreadyThere)
	_, err := s.RevokeKey(ctx, "key_1", day)
	must(t, err)
	must(t, s.CreateKey(ctx, key("key_3", "prj_1", "trial")))
}

func testRevoke(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "a", "checkout")))
	must(t, s.CreateKey(ctx, key("key_1", "prj_1", "a")))
	for _, step := range []struct {
		at, want time.Duration
		changes  bool
	}{{2 * time.Hour, 2 * time.Hour, true}, {3 * time.Hour, 2 * time.Hour, false}, {time.Hour, time.Hour, true}, {time.Hour, time.Hour, false}} {
		before := version(t, s)
		k, err := s.RevokeKey(ctx, "key_1", day.Add(step.at))
		must(t, err)
		same(t, "revoked", k.Revoked, day.Add(step.want))
		kept, err := s.FindKey(ctx, "key_1")
		must(t, err)
		same(t, "kept", kept, k)
		same(t, "version rose", version(t, s) > before, step.changes)
	}
	_, err := s.RevokeKey(ctx, "key_2", day)
	refused(t, err, fault.NotThere)
}

func testRotate(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "a", "checkout")))
	old, next := key("key_1", "prj_1", "trial"), key("key_2", "prj_1", "trial")
	next.Replaces = old.ID
	must(t, s.CreateKey(ctx, old))
	must(t, s.CreateKey(ctx, key("key_9", "prj_1", "taken")))
	before := version(t, s)

	clash := next
	clash.Name = "taken"
	refused(t, s.RotateKey(ctx, old.ID, day, clash), fault.AlreadyThere)
	got, err := s.FindKey(ctx, old.ID)
	must(t, err)
	same(t, "the old key of a rotation that failed", got, old)
	same(t, "version", version(t, s), before)

	must(t, s.RotateKey(ctx, old.ID, day.Add(time.Hour), next))
	old.Revoked = day.Add(time.Hour)
	for _, want := range []auth.Key{old, next} {
		got, err := s.FindKey(ctx, want.ID)
		must(t, err)
		same(t, "rotated", got, want)
	}
	if version(t, s) <= before {
		t.Error("a rotation does not raise the version")
	}
	refused(t, s.RotateKey(ctx, old.ID, day.Add(time.Hour), key("key_3", "prj_1", "x")), fault.AlreadyThere)
	refused(t, s.RotateKey(ctx, "key_none", day, key("key_3", "prj_1", "x")), fault.NotThere)
	_, err = s.FindKey(ctx, "key_3")
	refused(t, err, fault.NotThere)
}

func version(t testing.TB, s Store) int64 {
	t.Helper()
	v, err := s.KeyVersion(t.Context())
	must(t, err)
	return v
}

func testTouch(t *testing.T, s Store) {
	ctx := t.Context()
	must(t, s.CreateProject(ctx, project("prj_1", "a", "checkout")))
	must(t, s.CreateKey(ctx, key("key_1", "prj_1", "a")))
	must(t, s.CreateKey(ctx, key("key_2", "prj_1", "b")))
	before := version(t, s)
	must(t, s.TouchKeys(ctx, map[string]time.Time{"key_1": day, "key_none": day}))
	must(t, s.TouchKeys(ctx, map[string]time.Time{"key_1": day.Add(-time.Hour)})) // another replica was slower to write
	must(t, s.TouchKeys(ctx, nil))
	for id, want := range map[string]time.Time{"key_1": day, "key_2": {}} {
		k, err := s.FindKey(ctx, id)
		must(t, err)
		same(t, id, k.LastUsed, want)
	}
	same(t, "version", version(t, s), before)
}

func testAllKeys(t *testing.T, s Store) {
	ctx := t.Context()
	last := version(t, s)
	rose := func(what string) {
		t.Helper()
		v, projects, keys, err := s.AllKeys(ctx)
		must(t, err)
		if v <= last || v != version(t, s) {
			t.Errorf("%s: version %d, before %d", what, v, last)
		}
		last = v
		if len(projects) == 0 && len(keys) > 0 {
			t.Errorf("%s: keys without projects", what)
		}
	}
	must(t, s.CreateProject(ctx, project("prj_1", "a", "checkout")))
	rose("create a project")
	_, err := s.UpdateProject(ctx, "prj_1", rename("search"))
	must(t, err)
	rose("update a project")
	must(t, s.CreateKey(ctx, key("key_1", "prj_1", "a")))
	rose("create a key")
	refused(t, s.CreateKey(ctx, key("key_2", "prj_1", "a")), fault.AlreadyThere)
	same(t, "version after a refusal", version(t, s), last)
}

func testSettings(t *testing.T, s Store) {
	ctx := t.Context()
	for _, step := range []struct {
		fresh, kept auth.Hash
		created     bool
	}{{}, {auth.Hash{1}, auth.Hash{1}, true}, {auth.Hash{2}, auth.Hash{1}, false}, {auth.Hash{}, auth.Hash{1}, false}} {
		kept, created, err := s.AdminKeyHash(ctx, step.fresh)
		must(t, err)
		same(t, "admin key", kept, step.kept)
		same(t, "created", created, step.created)
	}
	for _, step := range [][2]string{{"", ""}, {"ring_1", "ring_1"}, {"ring_2", "ring_1"}, {"", "ring_1"}} {
		kept, err := s.RingID(ctx, step[0])
		must(t, err)
		same(t, "ring", kept, step[1])
	}
}

func testAdminsAtOnce(t *testing.T, s Store) {
	var wg sync.WaitGroup
	var made [8]bool
	var kept [8]auth.Hash
	for i := range made {
		wg.Go(func() {
			var err error
			if kept[i], made[i], err = s.AdminKeyHash(t.Context(), auth.Hash{byte(i + 1)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for i := range made {
		same(t, "kept", kept[i], kept[0])
		if made[i] {
			n++
			same(t, "made", kept[i], auth.Hash{byte(i + 1)})
		}
	}
	same(t, "how many say that they made it", n, 1)
}

// testTenantsAgainstModel does random things to a store and to a map, which must look alike after each.
func testTenantsAgainstModel(t *testing.T, s Store) {
	ctx := context.WithoutCancel(t.Context())
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		if run++; run > checks {
			return
		}
		p := project(fmt.Sprintf("prj_%d", run), "org", fmt.Sprintf("p%d", run))
		must(t, s.CreateProject(ctx, p))
		model := map[string]auth.Key{}
		n := 0
		name := func() string { return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "name") }
		at := func() time.Time { return day.Add(time.Duration(rapid.IntRange(1, 9).Draw(rt, "at")) * time.Minute) }
		taken := func(name, but string) bool {
			return slices.ContainsFunc(slices.Collect(maps.Values(model)), func(k auth.Key) bool {
				return k.Name == name && k.Revoked.IsZero() && k.ID != but
			})
		}
		fresh := func() auth.Key { n++; return key(fmt.Sprintf("key_%d_%02d", run, n), p.ID, name()) }
		some := func() string { return fmt.Sprintf("key_%d_%02d", run, rapid.IntRange(1, n+1).Draw(rt, "key")) }
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(*rapid.T) {
				k := fresh()
				if err := s.CreateKey(ctx, k); (err != nil) != taken(k.Name, "") {
					rt.Fatalf("create %q: %v", k.Name, err)
				} else if err == nil {
					model[k.ID] = k
				}
			},
			"revoke": func(*rapid.T) {
				id, at := some(), at()
				_, err := s.RevokeKey(ctx, id, at)
				k, ok := model[id]
				if ok != (err == nil) {
					rt.Fatalf("revoke %s: %v", id, err)
				}
				if ok && (k.Revoked.IsZero() || at.Before(k.Revoked)) {
					k.Revoked = at
					model[id] = k
				}
			},
			"rotate": func(*rapid.T) {
				id, at, next := some(), at(), fresh()
				err := s.RotateKey(ctx, id, at, next)
				old, ok := model[id]
				if may := ok && old.Revoked.IsZero() && !taken(next.Name, id); may != (err == nil) {
					rt.Fatalf("rotate %+v to %+v: %v", old, next, err)
				} else if may {
					old.Revoked = at
					model[id], model[next.ID] = old, next
				}
			},
			"touch": func(*rapid.T) {
				id, at := some(), at()
				if err := s.TouchKeys(ctx, map[string]time.Time{id: at}); err != nil {
					rt.Fatal(err)
				}
				if k, ok := model[id]; ok && k.LastUsed.Before(at) {
					k.LastUsed = at
					model[id] = k
				}
			},
			"": func(*rapid.T) {
				got, err := s.Keys(ctx, p.ID, "", 1000)
				if err != nil {
					rt.Fatal(err)
				}
				want := slices.SortedFunc(maps.Values(model), func(a, b auth.Key) int { return strings.Compare(a.ID, b.ID) })
				same(rt, "keys", got, want)
			},
		})
	})
}

// testReplicas runs the whole of auth over the store: what one process changes, another knows of without being told.
func testReplicas(t *testing.T, s Store) {
	ctx := t.Context()
	ring, _, err := seal.Open(filepath.Join(t.TempDir(), "keyring.json"))
	must(t, err)
	must(t, auth.CheckRing(ctx, s, ring, "keyring.json"))
	log := slog.New(slog.DiscardHandler)
	here, there := auth.NewKeys(s, ring, log, auth.KeysOptions{}), auth.NewKeys(s, ring, log, auth.KeysOptions{})
	tenants := &auth.Service{Store: s, Ring: ring, Keys: here}
	_, err = tenants.CreateProject(ctx, auth.ProjectSpec{Name: "checkout"})
	must(t, err)
	made, err := tenants.CreateKey(ctx, auth.RoleOperator, auth.KeySpec{Project: "checkout", Name: "trial"})
	must(t, err)
	text := made.Secret.Reveal()
	must(t, there.Refresh(ctx))
	for _, keys := range []*auth.Keys{here, there} {
		g, err := keys.Check(text)
		must(t, err)
		same(t, "key", g.Key.ID, made.Key.ID)
	}
	next, err := tenants.RotateKey(ctx, auth.RoleOperator, made.Key.ID, 0)
	must(t, err)
	must(t, there.Refresh(ctx))
	for _, keys := range []*auth.Keys{here, there} {
		_, err := keys.Check(text)
		refused(t, err, fault.InvalidAPIKey)
		_, err = keys.Check(next.Secret.Reveal())
		must(t, err)
	}
}

// random is text that is in no store.
func random() string { return rand.Text() }
