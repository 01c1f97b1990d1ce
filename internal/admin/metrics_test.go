package admin_test

import (
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/penstocktest"
)

var update = flag.Bool("update", false, "write the files that are made from the control API anew")

// scrape reads /metrics with the key of the role metrics.
func (w *world) scrape() string {
	w.T.Helper()
	a := w.call(http.MethodGet, "/metrics", w.keys[auth.RoleMetrics], "")
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		w.T.Fatalf("metrics: %d %s %.100s", a.status, a.header.Get("Content-Type"), a.body)
	}
	return a.body
}

// A family is one metric as a scrape tells it.
type family struct {
	help, kind string
	labels     map[string]bool
}

var (
	comment = regexp.MustCompile(`^# (HELP|TYPE) (\S+) (.*)$`)
	sample  = regexp.MustCompile(`^(penstock_\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? \S+$`)
	label   = regexp.MustCompile(`(\w+)="(?:[^"\\]|\\.)*"`)
)

// families reads the metrics of Penstock's own in a scrape.
func families(t *testing.T, text string) map[string]*family {
	all := map[string]*family{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := comment.FindStringSubmatch(line); m != nil && strings.HasPrefix(m[2], "penstock_") {
			if all[m[2]] == nil {
				all[m[2]] = &family{labels: map[string]bool{}}
			}
			if m[1] == "HELP" {
				all[m[2]].help = m[3]
			} else {
				all[m[2]].kind = m[3]
			}
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil || all[m[1]] == nil {
			if strings.HasPrefix(line, "penstock_") {
				t.Errorf("a metric without help: %s", line)
			}
			continue
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if l[1] != "le" {
				all[m[1]].labels["`"+l[1]+"`"] = true
			}
		}
	}
	return all
}

// Metrics need their permission, unless the file opens them to everybody; a reload is enough for that, either way.
func TestOpenMetrics(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	open := strings.Replace(penstocktest.Config, `listen: "127.0.0.1:0" }`, `listen: "127.0.0.1:0", open_metrics: true }`, 1)
	for _, c := range []struct {
		config string
		want   int
	}{{penstocktest.Config, 401}, {open, 200}, {penstocktest.Config, 401}} {
		w.WriteConfig(c.config)
		if err := w.Server.Reload(t.Context(), w.Load); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"", "psk_" + strings.Repeat("2", 44)} {
			if a := w.call(http.MethodGet, "/metrics", key, ""); a.status != c.want {
				t.Errorf("open_metrics %v: %d, want %d", c.config == open, a.status, c.want)
			}
		}
		if a := w.call(http.MethodGet, "/admin/v1/projects", "", ""); a.status != http.StatusUnauthorized {
			t.Errorf("open_metrics %v opens the projects: %d", c.config == open, a.status)
		}
	}
}

// Metrics hold ids and configured names only: no names of tenants, nothing that callers made up.
func TestMetricsHaveNoNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	w.Admin(http.MethodPost, "/projects", admin.ProjectInput{Name: "canary project", Org: "canary org", Labels: map[string]string{"canary_label": "canary value"}}, nil)
	key := w.makeKey(admin.KeyInput{Project: "canary project", Name: "canary key"})
	for _, m := range []string{"sim-a/m", "canary-model", "sim-a/canary?status=404", "sim-c/canary"} {
		body := strings.TrimSuffix(penstocktest.Chat(m, "canary prompt", false), "}") + `,"user":"canary user"}`
		w.Post(key.Key, "/v1/chat/completions", body, "X-Penstock-Tags", "canary-tag", "X-Request-Id", "canary-id")
	}
	w.Post("psk_canary"+strings.Repeat("2", 38), "/v1/chat/completions", "{}")
	w.call(http.MethodGet, "/canary", w.AdminKey, "")
	text := w.scrape()
	if i := strings.Index(text, "canary"); i >= 0 {
		t.Errorf("...%.120s", text[max(0, i-60):])
	}
	if strings.Contains(text, key.Key) || strings.Contains(text, key.Prefix) {
		t.Error("a key, or its prefix, is in the metrics")
	}
	if !strings.Contains(text, "penstock_requests_total") || !strings.Contains(text, key.Project) {
		t.Error("the exchanges are not counted: this test says nothing")
	}
}

// What callers make up does not make the metrics grow.
func TestMetricsDoNotGrow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	lines := func() int { return strings.Count(w.scrape(), "\npenstock_") }
	invent := func(i int) {
		w.Post(w.keys[auth.RoleCaller], "/v1/chat/completions", penstocktest.Chat(fmt.Sprintf("made-up-%d", i), "x", false))
		w.Post(w.keys[auth.RoleCaller], "/v1/chat/completions", penstocktest.Chat(fmt.Sprintf("sim-a/m%d?status=404", i), "x", false))
		w.Post(fmt.Sprintf("psk_%044d", i), "/v1/chat/completions", "{}")
		w.call(http.MethodGet, fmt.Sprintf("/admin/v1/%d", i), w.AdminKey, "")
		w.call(fmt.Sprintf("VERB%d", i), "/admin/v1/projects", w.AdminKey, "")
	}
	invent(0)
	lines() // the first scrape is counted after it was answered
	before := lines()
	for i := range 40 {
		invent(i + 1)
	}
	if after := lines(); after != before {
		t.Errorf("%d series, then %d", before, after)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	w.call(http.MethodGet, "/admin/v1/status", "", "")
	w.call(http.MethodGet, "/admin/v1/status", w.AdminKey, "")
	w.call(http.MethodPut, "/admin/v1/prices", w.keys[auth.RoleViewer], "")
	w.call(http.MethodPut, "/admin/v1/prices", w.AdminKey, "{")
	w.call(http.MethodGet, "/nothing", w.AdminKey, "")
	w.call(http.MethodPut, "/admin/v1/status", w.AdminKey, "")
	text := w.scrape()
	for _, want := range []string{
		`{route="other",status="401"} 1`, `{route="GET /admin/v1/status",status="200"} 1`, `{route="PUT /admin/v1/prices",status="403"} 1`,
		`{route="PUT /admin/v1/prices",status="400"} 1`, `{route="other",status="404"} 1`, `{route="other",status="405"} 1`,
	} {
		if !strings.Contains(text, "penstock_admin_requests_total"+want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

const metricsPage = `# Metrics

For whoever builds a dashboard or an alert. Generated from a scrape by ` + "`go test ./internal/admin -update`" + `; do not edit it.

` + "`GET /metrics` on the control plane, with a key of the role `metrics` (`penstock key create --project NAME --role metrics`)," + `
or without one where the file says ` + "`admin.open_metrics: true`" + `. Labels carry ids and configured names, never tenants' names or what
callers made up: ` + "`project`" + ` is an id, ` + "`model`" + ` the name that was asked for, ` + "`target`" + ` who answered (` + "`provider/model`" + `). Over 1,000 combinations
of the three, further ones are ` + "`other`" + `; what came to no provider has no model. The metrics of the Go runtime and the process
(` + "`go_*`, `process_*`" + `) are there too.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
`

// The page of metrics is made from what a running Penstock shows after all kinds of exchanges.
func TestMetricsReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	named := strings.Replace(penstocktest.Config, "vendor: none }", "vendor: none, models: [m] }", 1) // so that a target is configured
	w := newWorld(t, penstocktest.Options{Config: named})
	w.Price("sim-a/m")
	w.Admin(http.MethodPost, "/routes/disable", admin.DisableInput{Target: "sim-a/m"}, nil)
	w.Admin(http.MethodPost, "/routes/enable", admin.EnableInput{Target: "sim-a/m"}, nil)
	for _, m := range []string{"sim-a/m", "sim-b/m", "sim-a/x?status=503"} {
		w.Post(w.keys[auth.RoleCaller], "/v1/chat/completions", penstocktest.Chat(m, "say:20 hello", m == "sim-a/m"))
	}
	w.Post("", "/v1/chat/completions", "")
	all := families(t, w.scrape())
	var b strings.Builder
	b.WriteString(metricsPage)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		if !strings.HasSuffix(f.help, ".") {
			t.Errorf("%s: the help %q is no sentence", name, f.help)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, f.kind, strings.Join(slices.Sorted(maps.Keys(f.labels)), ", "), f.help)
	}
	b.WriteString("\nNext: [the API](api.md).\n")
	golden(t, "../../docs/reference/metrics.md", b.String())
}

// golden compares a file that is made from code with what the code makes, or writes it.
func golden(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(path); err != nil || string(have) != want {
		t.Errorf("%s is not current (%v): go test ./internal/admin -update", path, err)
	}
}
