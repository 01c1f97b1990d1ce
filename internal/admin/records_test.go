package admin_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/usage"
)

// traffic makes exchanges that differ in everything that can be filtered by, and gives their records, the newest first.
func traffic(t *testing.T) (*world, []usage.Record) {
	t.Helper()
	w := newWorld(t, penstocktest.Options{Config: penstocktest.Config + `models:
  good: { targets: [sim-a/m] }
  other: { targets: [sim-b/m] }
  failing: { targets: ["sim-a/x?status=503"] }
  refusing: { targets: ["sim-a/x?status=422"] }
`})
	w.Price("sim-a/m")
	first, second := w.Key("checkout"), w.Key("search")
	for i, c := range []struct{ key, model, user, tags string }{
		{first, "good", "ada", "a"}, {first, "good", "bob", "a,b"}, {second, "good", "ada", "b"}, {first, "other", "ada", ""},
		{second, "other", "", "a"}, {first, "failing", "bob", "a"}, {second, "failing", "ada", "b"}, {first, "refusing", "", ""},
		{second, "missing", "ada", "a"}, {first, "good", "", ""}, {second, "good", "bob", "b"},
	} {
		body := penstocktest.Chat(c.model, fmt.Sprintf("say:%d hello", i+1), i%2 == 0)
		if c.user != "" {
			body = strings.TrimSuffix(body, "}") + `,"user":"` + c.user + `"}`
		}
		if a := w.Post(c.key, "/v1/chat/completions", body, "X-Penstock-Tags", c.tags); a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	w.Post(first, "/v1/chat/completions", `{"model":`)
	all := w.Records()
	if len(all) != 12 {
		t.Fatalf("%d records of 12 exchanges", len(all))
	}
	return w, all
}

// A choice is what one parameter may be, and which records that selects.
type choice struct {
	name    string
	values  []string
	selects func(r *usage.Record, value string) bool
}

// earlier compares two instants as a query has them. As texts they do not compare: "05.12Z" is behind "05.123Z".
func earlier(t testing.TB, from, to string) bool {
	t.Helper()
	var at [2]time.Time
	for i, text := range []string{from, to} {
		var err error
		if at[i], err = time.Parse(time.DateOnly, text); err == nil {
			continue
		}
		if at[i], err = time.Parse(time.RFC3339Nano, text); err != nil {
			t.Fatal(err)
		}
	}
	return at[0].Before(at[1])
}

func TestEarlier(t *testing.T) {
	t.Parallel()
	if earlier(t, "2026-11-24T13:40:05.123Z", "2026-11-24T13:40:05.12Z") || !earlier(t, "2026-11-24T13:40:05.12Z", "2026-11-24T13:40:05.123Z") ||
		!earlier(t, "2026-11-24", "2026-11-24T00:00:00.1Z") || earlier(t, "2026-11-24", "2026-11-24T00:00:00Z") {
		t.Error("instants are compared as texts")
	}
}

// choices are the parameters of the list of exchanges, told independently of the store.
func choices(w *world, all []usage.Record) []choice {
	checkout, names := w.projectID("checkout"), map[string]string{}
	for _, name := range []string{"checkout", "search", "home"} {
		names[name] = w.projectID(name)
	}
	var times []string
	for _, r := range all {
		times = append(times, r.Time.Format(time.RFC3339Nano))
	}
	tomorrow := time.Now().UTC().AddDate(0, 0, 1).Format(time.DateOnly)
	instant := func(s string) time.Time {
		for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
			if at, err := time.Parse(layout, s); err == nil {
				return at
			}
		}
		panic(s)
	}
	return []choice{
		{"project", []string{"checkout", checkout, "search", "home"}, func(r *usage.Record, v string) bool { return r.Project == v || r.Project == names[v] }},
		{"key", []string{all[0].Key, all[3].Key, "key_none"}, func(r *usage.Record, v string) bool { return r.Key == v }},
		{"model", []string{"good", "other", "failing", "missing", "never asked for"}, func(r *usage.Record, v string) bool { return r.Model == v }},
		{"target", []string{"sim-a/m", "sim-b/m", "sim-c/m"}, func(r *usage.Record, v string) bool { return r.Target == v }},
		{"user", []string{"ada", "bob", "eve"}, func(r *usage.Record, v string) bool { return r.User == v }},
		{"tag", []string{"a", "b", "c"}, func(r *usage.Record, v string) bool { return slices.Contains(r.Tags, v) }},
		{"status", []string{"ok", "error", "2xx", "4xx", "5xx", "3xx", "200", "404", "422", "502", "418"}, hasStatus},
		{"from", append(times, "2000-01-01", tomorrow), func(r *usage.Record, v string) bool { return !r.Time.Before(instant(v)) }},
		{"to", append(times, "2000-01-01", tomorrow), func(r *usage.Record, v string) bool { return r.Time.Before(instant(v)) }},
	}
}

func hasStatus(r *usage.Record, v string) bool {
	switch {
	case v == "ok":
		return r.Error == nil
	case v == "error":
		return r.Error != nil
	case strings.HasSuffix(v, "xx"):
		return strconv.Itoa(r.Status/100)+"xx" == v
	}
	return strconv.Itoa(r.Status) == v
}

// Each filter alone, and any together, select what a plain loop over all records selects; pages of any size hold the same.
func TestFilters(t *testing.T) {
	t.Parallel()
	w, all := traffic(t)
	known := choices(w, all)
	check := func(t *testing.T, asked url.Values) {
		var want []string
		for i := range all {
			fits := true
			for _, c := range known {
				if v := asked.Get(c.name); v != "" && !c.selects(&all[i], v) {
					fits = false
				}
			}
			if fits {
				want = append(want, all[i].ID)
			}
		}
		for _, limit := range []int{1, 3, 1000} {
			var got []string
			records, _ := walk[usage.Record](w, "/exchanges?"+asked.Encode(), limit)
			for _, r := range records {
				got = append(got, r.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s by %d:\n got %v\nwant %v", asked.Encode(), limit, got, want)
			}
		}
	}
	selected := 0
	for _, c := range known {
		for _, v := range c.values {
			check(t, url.Values{c.name: {v}})
			for i := range all {
				if c.selects(&all[i], v) {
					selected++
				}
			}
		}
	}
	if selected < 100 {
		t.Errorf("only %d records were selected: this test says nothing", selected)
	}
	rapid.Check(t, func(rt *rapid.T) {
		asked := url.Values{}
		for _, c := range known {
			if v := rapid.SampledFrom(append(c.values, make([]string, 2*len(c.values))...)).Draw(rt, c.name); v != "" {
				asked.Set(c.name, v)
			}
		}
		if from, to := asked.Get("from"), asked.Get("to"); from != "" && to != "" && !earlier(t, from, to) {
			asked.Del("to")
		}
		check(t, asked)
		if t.Failed() {
			rt.FailNow()
		}
	})
}

func TestMistakesOfReading(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	for _, c := range []struct {
		path   string
		status int
		words  string
	}{
		{"/exchanges?status=bad", 400, `"bad" is not a status to look for.`},
		{"/exchanges?status=600", 400, `"600" is not a status to look for.`},
		{"/exchanges?status=6xx", 400, `"6xx" is not a status to look for.`},
		{"/exchanges?limit=0", 400, "limit is"},
		{"/exchanges?limit=100000", 400, "limit is"},
		{"/exchanges?after=ex_none", 404, "There is no exchange"},
		{"/exchanges?phase=1", 400, `has no parameter "phase"`},
		{"/exchanges?trace=1", 400, `"1" is not a trace id`},
		{"/exchanges?trace=" + strings.Repeat("a", 10<<10), 400, "is not a trace id"},
		{"/exchanges?from=2026-11-25&to=2026-11-24", 400, "There is nothing from 2026-11-25T00:00:00Z to 2026-11-24T00:00:00Z."},
		{"/exchanges?from=now", 400, "from is"},
		{"/exchanges/ex_none", 404, `There is no exchange "ex_none" here.`},
		{"/exchanges/%00", 404, `There is no exchange "\x00" here.`},
		{"/usage?group_by=colour", 400, `group_by has "colour"; send some of org, project, key, user, model, target, provider, tag, day, hour, label:NAME, each once, and only one of day and hour.`},
		{"/usage?group_by=model,model", 400, `group_by has "model"`},
		{"/usage?group_by=model,", 400, `group_by has ""`},
		{"/usage?group_by=model%20,key", 400, `group_by has "model "`},
		{"/usage?groupby=model", 400, `has no parameter "groupby". `},
		{"/usage?limit=5", 400, `has no parameter "limit"`},
		{"/usage?from=2026-11-24&to=2026-11-24", 400, "There is nothing from"},
		{"/usage?from=2999-01-01", 400, "There is nothing from 2999-01-01T00:00:00Z to"},
		{"/usage?to=1999-01-01", 400, "to 1999-01-01T00:00:00Z."},
		{"/routes?model=x", 400, "has no parameter"},
		{"/status?verbose=1", 400, "has no parameter"},
	} {
		a := w.call(http.MethodGet, "/admin/v1"+c.path, w.AdminKey, "")
		if got := a.refusal(t); a.status != c.status || !strings.Contains(got.Message+" ", c.words) {
			t.Errorf("%s\n got %d %s\nwant %d %s", c.path, a.status, got.Message, c.status, c.words)
		}
	}
}

// Sums are what a plain loop over the records gives, for any columns and any half-open span.
func TestUsage(t *testing.T) {
	t.Parallel()
	w, all := traffic(t)
	columns := []string{"org", "project", "key", "user", "model", "target", "tag", "day"}
	times := []string{"", "2000-01-01"}
	for _, r := range all {
		times = append(times, r.Time.Format(time.RFC3339Nano))
	}
	rapid.Check(t, func(t *rapid.T) {
		by := rapid.SliceOfNDistinct(rapid.SampledFrom(columns), 1, 4, rapid.ID).Draw(t, "by")
		from, to := rapid.SampledFrom(times).Draw(t, "from"), rapid.SampledFrom(times).Draw(t, "to")
		if from != "" && to != "" && !earlier(w.T, from, to) || to == "2000-01-01" {
			to = ""
		}
		asked := url.Values{"group_by": {strings.Join(by, ",")}, "from": {from}, "to": {to}}
		got := get[admin.Usage](w, "/usage?"+asked.Encode())
		if !slices.Equal(got.GroupBy, by) {
			t.Fatalf("grouped by %v, want %v", got.GroupBy, by)
		}
		sums := map[string]usage.Sum{}
		for _, s := range got.Data {
			sums[fmt.Sprint(s.Group)] = s
		}
		if d := cmp.Diff(naiveSums(all, by, got.From, got.To), sums); d != "" {
			t.Fatalf("%s\n%s", asked.Encode(), d)
		}
	})
}

func naiveSums(all []usage.Record, by []string, from, to time.Time) map[string]usage.Sum {
	sums := map[string]usage.Sum{}
	for _, r := range all {
		if r.Time.Before(from) || !r.Time.Before(to) {
			continue
		}
		tags := r.Tags
		if !slices.Contains(by, "tag") || len(tags) == 0 {
			tags = []string{""}
		}
		for _, tag := range tags {
			values := map[string]string{
				"org": r.Org, "project": r.Project, "key": r.Key, "user": r.User, "model": r.Model, "target": r.Target, "tag": tag,
				"day": r.Time.Format(time.DateOnly),
			}
			maps.DeleteFunc(values, func(name, _ string) bool { return !slices.Contains(by, name) })
			s := sums[fmt.Sprint(values)]
			s.Group = values
			s.Requests++
			if r.Error != nil {
				s.Errors++
			}
			if r.Unpriced {
				s.Unpriced++
			}
			if r.CostUnknown() {
				s.Unknown++
			}
			s.Usage, s.CostNano = s.Usage.Add(r.Usage), s.CostNano+r.CostNano
			sums[fmt.Sprint(values)] = s
		}
	}
	return sums
}

func TestUsageDefaultsAndNames(t *testing.T) {
	t.Parallel()
	w, all := traffic(t)
	got := get[admin.Usage](w, "/usage")
	now := time.Now().UTC()
	if !slices.Equal(got.GroupBy, []string{"model"}) || got.From.Day() != 1 || got.From.Format("15:04:05.000000000") != "00:00:00.000000000" || got.To.Sub(now).Abs() > time.Minute {
		t.Errorf("by %v from %v to %v", got.GroupBy, got.From, got.To)
	}
	var requests int64
	for _, s := range got.Data {
		requests += s.Requests
	}
	if requests != int64(len(all)) || len(got.Names) != 0 {
		t.Errorf("%d requests of %d, names %v", requests, len(all), got.Names)
	}
	named := get[admin.Usage](w, "/usage?group_by=project,key")
	for _, s := range named.Data {
		if n := named.Names[s.Group["project"]]; n != "checkout" && n != "search" {
			t.Errorf("the project %s is called %q", s.Group["project"], n)
		}
		if named.Names[s.Group["key"]] == "" {
			t.Errorf("the key %s has no name", s.Group["key"])
		}
	}
	if only := get[admin.Usage](w, "/usage?group_by=project&project=checkout"); len(only.Data) != 1 || only.Names[only.Data[0].Group["project"]] != "checkout" {
		t.Errorf("got %+v", only)
	}
	if none := w.call(http.MethodGet, "/admin/v1/usage?from=2000-01-01&to=2000-01-02", w.AdminKey, ""); !strings.Contains(none.body, `"data":[]`) || !strings.Contains(none.body, `"names":{}`) {
		t.Errorf("sums of nothing: %s", none.body)
	}
}

// A record can be read as soon as its answer was.
func TestRecordsAreThereAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	for range 20 {
		id := w.exchange()
		if r := w.Record(id); r == nil || r.ID != id {
			t.Fatalf("no record of %s", id)
		}
	}
}
