package admin_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
)

var (
	aName   = rapid.StringMatching(`[\p{L}0-9][\p{L}0-9 _./&'"-]{0,40}[\p{L}0-9]`)
	aLabels = rapid.MapOfN(rapid.StringMatching(`[a-z0-9_.-]{1,10}`), rapid.StringMatching(`[ -~é漢]{0,20}`), 0, 4)
	aSpan   = rapid.Custom(func(t *rapid.T) string {
		return rapid.SampledFrom([]string{"1s", "90s", "1h", "1h30m", "36h", "7d", "30d", "3650d"}).Draw(t, "span")
	})
)

// seconds reads a span the way both sides may write it.
func seconds(t *rapid.T, s string) float64 {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		if _, err := fmt.Sscan(days, &n); err != nil {
			t.Fatalf("span %q: %v", s, err)
		}
		return float64(n) * 86400
	}
	if s == "" {
		return 0
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("span %q: %v", s, err)
	}
	return d.Seconds()
}

var someRegions = rapid.SliceOfN(rapid.StringMatching(`[a-zé0-9*:/._-]{1,64}`), 0, 16)

func drawProject(t *rapid.T) admin.ProjectInput {
	in := admin.ProjectInput{Name: aName.Draw(t, "name"), Org: rapid.SampledFrom([]string{"", "acme", "über & co"}).Draw(t, "org")}
	in.Labels = aLabels.Draw(t, "labels")
	in.Strict = rapid.Bool().Draw(t, "strict")
	in.Regions, in.Private = someRegions.Draw(t, "regions"), rapid.Bool().Draw(t, "private only")
	if in.Bodies = rapid.SampledFrom([]string{"", "none", "keep"}).Draw(t, "bodies"); in.Bodies == "keep" {
		in.Retention = aSpan.Draw(t, "retention")
	}
	return in
}

// What was written is what is read: from the answer, from the list, and again after a change.
func TestProjectsReadBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	rapid.Check(t, func(t *rapid.T) {
		in := drawProject(t)
		in.Name = w.fresh(in.Name)
		org, bodies := in.Org, in.Bodies
		if org == "" {
			org = "default"
		}
		if bodies == "" {
			bodies = "none"
		}
		var out admin.Project
		if status := w.Admin(http.MethodPost, "/projects", in, &out); status != http.StatusCreated {
			t.Fatalf("%+v: status %d", in, status)
		}
		want := admin.Project{ID: out.ID, Org: org, Name: in.Name, Labels: in.Labels, Bodies: bodies, Strict: in.Strict, Retention: out.Retention, Created: out.Created}
		want.Regions, want.Private = append([]string{}, in.Regions...), in.Private
		if seconds(t, out.Retention) != seconds(t, in.Retention) {
			t.Fatalf("retention %q was read back as %q", in.Retention, out.Retention)
		}
		check := func(got admin.Project) {
			if d := cmp.Diff(want, got); d != "" {
				t.Fatal(d)
			}
		}
		check(out)
		check(findProject(w, out.ID))

		change := admin.ProjectChange{}
		if rapid.Bool().Draw(t, "relabel") {
			change.Labels = aLabels.Draw(t, "new labels")
			want.Labels = change.Labels
		}
		if rapid.Bool().Draw(t, "change strict") {
			strict := rapid.Bool().Draw(t, "new strict")
			change.Strict, want.Strict = &strict, strict
		}
		if rapid.Bool().Draw(t, "change the place") {
			private := rapid.Bool().Draw(t, "new private only")
			change.Regions, change.Private = append([]string{}, someRegions.Draw(t, "new regions")...), &private
			want.Regions, want.Private = change.Regions, private
		}
		if rapid.Bool().Draw(t, "stop keeping") {
			none := "none"
			change.Bodies, want.Bodies, want.Retention = &none, none, ""
		}
		var changed admin.Project
		if status := w.Admin(http.MethodPatch, "/projects/"+out.ID, change, &changed); status != http.StatusOK {
			t.Fatalf("%+v: status %d", change, status)
		}
		check(changed)
		check(findProject(w, out.ID))
	})
}

func findProject(w *world, id string) admin.Project {
	all, _ := walk[admin.Project](w, "/projects", 1000)
	return all[slices.IndexFunc(all, func(p admin.Project) bool { return p.ID == id })]
}

func TestKeysReadBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	home := w.projectID("home")
	rapid.Check(t, func(t *rapid.T) {
		in := admin.KeyInput{
			Project: rapid.SampledFrom([]string{"home", home}).Draw(t, "project"), Name: w.fresh("key"),
			Models:  rapid.SliceOfN(rapid.StringMatching(`[a-z0-9*/.:-]{1,20}`), 0, 4).Draw(t, "models"),
			Role:    rapid.SampledFrom([]string{"", "caller", "viewer", "operator", "auditor", "metrics", "admin"}).Draw(t, "role"),
			Expires: rapid.SampledFrom([]string{"", "1h", "30d", "36500d"}).Draw(t, "expires"),
		}
		made := w.makeKey(in)
		role := in.Role
		if role == "" {
			role = "caller"
		}
		var got admin.Key
		all, _ := walk[admin.Key](w, "/keys?project=home", 1000)
		for _, k := range all {
			if k.ID == made.ID {
				got = k
			}
		}
		want := admin.Key{
			ID: made.ID, Project: home, ProjectName: "home", Name: in.Name, Prefix: made.Prefix, Role: role,
			Models: append([]string{}, in.Models...), Created: got.Created, Expires: got.Expires,
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		if !strings.HasPrefix(made.Key, made.Prefix) || made.Name != in.Name || made.Role != role || made.Project != home {
			t.Fatalf("made %+v of %+v", made, in)
		}
		switch {
		case (in.Expires == "") != (got.Expires == nil):
			t.Fatalf("expires %v of %q", got.Expires, in.Expires)
		case in.Expires != "" && (got.Expires.Sub(got.Created).Seconds() != seconds(t, in.Expires) || !got.Expires.Equal(*made.Expires)):
			t.Fatalf("expires %v of %q, made %v", got.Expires, in.Expires, got.Created)
		}
	})
}

func (w *world) projectID(name string) string {
	for _, p := range get[pageOf[admin.Project]](w, "/projects").Data {
		if p.Name == name {
			return p.ID
		}
	}
	w.T.Fatalf("no project %s", name)
	return ""
}

// Mistakes are told with their place and change nothing.
func TestMistakesOfTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	before := w.call(http.MethodGet, "/admin/v1/projects", w.AdminKey, "").body + w.call(http.MethodGet, "/admin/v1/keys", w.AdminKey, "").body
	for _, c := range []struct {
		method, path, body string
		status             int
		words              string
	}{
		{"POST", "/projects", `{"name":"x","budgett":1}`, 400, "budgett is not a member that is known here."},
		{"POST", "/projects", `{"name":"home"}`, 409, `There is a project "home"`},
		{"POST", "/projects", `{}`, 400, "name: is empty."},
		{"POST", "/projects", `{"name":"=1+1"}`, 400, `name: "=1+1" begins with '='.`},
		{"POST", "/projects", `{"name":"x","bodies":"keep"}`, 400, "retention: is missing."},
		{"POST", "/projects", `{"name":"x","bodies":"keep","retention":"0d"}`, 400, "retention: is missing."},
		{"POST", "/projects", `{"name":"x","bodies":"keep","retention":"-1h"}`, 400, "retention"},
		{"POST", "/projects", `{"name":"x","bodies":"keep","retention":"30"}`, 400, `retention: "30" is not a span of time`},
		{"POST", "/projects", `{"name":"x","bodies":"keep","retention":"1ns"}`, 400, `retention: "1ns" is not a span of time`},
		{"POST", "/projects", `{"name":"x","bodies":"sometimes"}`, 400, `bodies: "sometimes" is not known.`},
		{"POST", "/projects", `{"name":"","org":"","bodies":"perhaps"}`, 400, "2 mistakes"},
		{"PATCH", "/projects/home", `{"name":""}`, 400, "name: is empty."},
		{"PATCH", "/projects/home", `{"org":"other"}`, 400, "org is not a member that is known here."},
		{"PATCH", "/projects/home", `{"retention":"30d"}`, 400, "retention: is set although bodies are not kept."},
		{"PATCH", "/projects/home", `{"bodies":""}`, 400, `bodies: "" is not known.`},
		{"PATCH", "/projects/home", ``, 400, "The body is empty"},
		{"PATCH", "/projects/nowhere", `{"strict":true}`, 404, `There is no project "nowhere" here.`},
		{"POST", "/keys", `{"name":"x"}`, 400, "project: is missing."},
		{"POST", "/keys", `{"project":"nowhere"}`, 404, `There is no project "nowhere" here.`},
		{"POST", "/keys", `{"project":"home","role":"wizard"}`, 400, `role: "wizard" is not a role.`},
		{"POST", "/keys", `{"project":"home","expires":"0s"}`, 400, "expires: a key that is to end at once"},
		{"POST", "/keys", `{"project":"home","expires":"-1h"}`, 400, "expires: -1h0m0s lies in the past."},
		{"POST", "/keys", `{"project":"home","expires":"1e308"}`, 400, `expires: "1e308" is not a span of time`},
		{"POST", "/keys", `{"project":"home","expires":"99999999h"}`, 400, `expires`},
		{"POST", "/keys", `{"project":"home","models":"gpt"}`, 400, "models is not a list."},
		{"POST", "/keys", `{"project":"home","models":["a b"]}`, 400, "models[0]"},
		{"POST", "/keys", `{"project":"home","sha256":"abc"}`, 400, "sha256: is not a SHA-256."},
		{"POST", "/keys/key_1/rotate", ``, 404, `There is no key with the id "key_1" here.`},
		{"POST", "/keys/key_1/rotate", `{"overlap":"-1h"}`, 400, "overlap"},
		{"POST", "/keys/key_1/rotate", `{"overlap":"soon"}`, 400, `overlap: "soon" is not a span of time`},
		{"POST", "/keys/key_1/revoke", `{"id":"key_2"}`, 400, "id is not a member that is known here."},
		{"POST", "/keys/key_1/revoke", ``, 404, `There is no key with the id "key_1" here.`},
		{"GET", "/keys?projct=home", ``, 400, `has no parameter "projct"`},
		{"GET", "/keys?project=nowhere", ``, 404, `There is no project "nowhere" here.`},
		{"GET", "/projects?limit=0", ``, 400, `limit is "0"; send a number from 1 to 1000.`},
		{"GET", "/projects?limit=1001", ``, 400, `limit is "1001"`},
		{"GET", "/projects?limit=ten", ``, 400, `limit is "ten"`},
		{"GET", "/projects?after=prj_none", ``, 404, "prj_none"},
	} {
		a := w.call(c.method, "/admin/v1"+c.path, w.AdminKey, c.body)
		if got := a.refusal(t); a.status != c.status || !strings.Contains(got.Message, c.words) {
			t.Errorf("%s %s %s\n got %d %s\nwant %d %s", c.method, c.path, c.body, a.status, got.Message, c.status, c.words)
		}
	}
	after := w.call(http.MethodGet, "/admin/v1/projects", w.AdminKey, "").body + w.call(http.MethodGet, "/admin/v1/keys", w.AdminKey, "").body
	if before != after {
		t.Errorf("something was changed:\n%s\n%s", before, after)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	want := map[string]bool{w.projectID("home"): true}
	for i := range 11 {
		var p admin.Project
		w.Admin(http.MethodPost, "/projects", admin.ProjectInput{Name: fmt.Sprintf("p%d", i), Org: fmt.Sprintf("o%d", i%2)}, &p)
		want[p.ID] = true
	}
	for limit := 1; limit <= 13; limit++ {
		all, pages := walk[admin.Project](w, "/projects", limit)
		got := map[string]bool{}
		for _, p := range all {
			got[p.ID] = true
		}
		if !maps.Equal(got, want) || len(all) != len(want) || pages != (len(want)+limit-1)/limit {
			t.Errorf("limit %d: %d projects on %d pages", limit, len(all), pages)
		}
		if !slices.IsSortedFunc(all, func(x, y admin.Project) int { return strings.Compare(x.Name, y.Name) }) {
			t.Errorf("limit %d: not sorted by name", limit)
		}
	}
	keys, pages := walk[admin.Key](w, "/keys?project=home", 4)
	if len(keys) != len(w.keys)+1 || pages != 2 || !slices.IsSortedFunc(keys, func(x, y admin.Key) int { return strings.Compare(x.ID, y.ID) }) {
		t.Errorf("%d keys on %d pages", len(keys), pages)
	}
	if a := w.call(http.MethodGet, "/admin/v1/keys?project=p1", w.AdminKey, ""); a.body != `{"data":[],"next":""}` {
		t.Errorf("an empty list: %s", a.body)
	}
}

// A project is named by its id, or by its name where only one organisation has it; a name may hold slashes.
func TestNamingProjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	ids := map[string]string{}
	for _, in := range []admin.ProjectInput{{Name: "both", Org: "a"}, {Name: "both", Org: "b"}, {Name: "team/one & two?"}} {
		var p admin.Project
		if status := w.Admin(http.MethodPost, "/projects", in, &p); status != http.StatusCreated {
			t.Fatalf("%+v: %d", in, status)
		}
		ids[in.Org] = p.ID
	}
	for _, path := range []string{"/keys?project=both", "/exchanges?project=both", "/usage?project=both"} {
		a := w.call(http.MethodGet, "/admin/v1"+path, w.AdminKey, "")
		if got := a.refusal(t); a.status != http.StatusBadRequest || !strings.Contains(got.Message, `A project "both" is in the organisation "a" and in "b".`) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if a := w.call(http.MethodGet, "/admin/v1"+strings.Replace(path, "both", ids["a"], 1), w.AdminKey, ""); a.status != http.StatusOK {
			t.Errorf("%s by id: %d %s", path, a.status, a.body)
		}
		if a := w.call(http.MethodGet, "/admin/v1"+strings.Replace(path, "both", "nowhere", 1), w.AdminKey, ""); a.status != http.StatusNotFound {
			t.Errorf("%s of nothing: %d %s", path, a.status, a.body)
		}
	}
	if status := w.Admin(http.MethodPatch, "/projects/both", admin.ProjectChange{}, nil); status != http.StatusBadRequest {
		t.Errorf("change one of two: %d", status)
	}
	var p admin.Project
	strict := true
	status := w.Admin(http.MethodPatch, "/projects/"+url.PathEscape("team/one & two?"), admin.ProjectChange{Strict: &strict}, &p)
	if status != http.StatusOK || p.ID != ids[""] || !p.Strict {
		t.Errorf("a name with a slash: %d %+v", status, p)
	}
}

// Rotation makes a key that is the old one but for its secret; without a body the old one works on for a day.
func TestRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	for _, c := range []struct {
		body    string
		overlap time.Duration
	}{{``, 24 * time.Hour}, {`{}`, 24 * time.Hour}, {`{"overlap":"1h"}`, time.Hour}, {`{"overlap":"2d"}`, 48 * time.Hour}, {`{"overlap":"0s"}`, 0}} {
		old := w.makeKey(admin.KeyInput{Project: "home", Name: w.fresh("old"), Models: []string{"sim-a/*"}})
		a := w.call(http.MethodPost, "/admin/v1/keys/"+old.ID+"/rotate", w.keys["operator"], c.body)
		if a.status != http.StatusCreated {
			t.Fatalf("%s: %d %s", c.body, a.status, a.body)
		}
		var was, is admin.Key
		all, _ := walk[admin.Key](w, "/keys?project=home", 1000)
		for _, k := range all {
			if k.ID == old.ID {
				was = k
			}
			if k.Replaces == old.ID {
				is = k
			}
		}
		if was.Revoked == nil || was.Revoked.Sub(is.Created) != c.overlap || is.Name != was.Name || !slices.Equal(is.Models, was.Models) {
			t.Errorf("%s: %+v was replaced by %+v", c.body, was, is)
		}
		if a := w.call(http.MethodPost, "/admin/v1/keys/"+old.ID+"/rotate", w.AdminKey, ""); a.status != http.StatusConflict {
			t.Errorf("a second time: %d %s", a.status, a.body)
		}
	}
}
