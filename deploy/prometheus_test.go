package deploy

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestRulesDoWhatTheySay(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool")
	run(t, "prometheus", promtool, "check", "rules", "rules.yaml")
	run(t, "prometheus", promtool, "check", "config", "--syntax-only", "prometheus.yaml")
	run(t, "prometheus", promtool, "test", "rules", "rules_test.yaml")
}

// A rule is one of rules.yaml.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

func rules(t *testing.T) []rule {
	t.Helper()
	text, err := os.ReadFile("prometheus/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []rule } }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// Every alert has a severity, a test, and a runbook that is there.
func TestAlertsHaveRunbooksAndTests(t *testing.T) {
	t.Parallel()
	tests, err := os.ReadFile("prometheus/rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, r.Labels["severity"]) || !strings.Contains(string(tests), "alertname: "+r.Alert) {
			t.Errorf("%s has no known severity, or no test", r.Alert)
		}
		page, anchor, _ := strings.Cut(r.Annotations["runbook_url"], "#")
		text, err := os.ReadFile(filepath.Join("..", page))
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
		heading := regexp.MustCompile(`(?im)^#+ ` + regexp.QuoteMeta(anchor) + `$`)
		if !strings.Contains(anchor, "{{") && !heading.Match(text) {
			t.Errorf("%s: %s has no heading %s", r.Alert, page, anchor)
		}
	}
}

// expressions are those of rules and dashboards, with Grafana's variables replaced.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for i, r := range rules(t) {
		all[fmt.Sprintf("rules.yaml %d %s%s", i, r.Record, r.Alert)] = r.Expr
	}
	grafana := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*", "$instance", ".*")
	for _, d := range dashboards {
		for _, p := range d.panels {
			for i, q := range p.queries {
				all[fmt.Sprintf("%s %s %d", d.file, p.title, i)] = grafana.Replace(q.expr)
			}
		}
	}
	return all
}

func TestExpressionsOfDashboardsParse(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool")
	var b strings.Builder
	b.WriteString("groups:\n  - name: all\n    rules:\n")
	i := 0
	for where, expr := range expressions(t) {
		i++
		fmt.Fprintf(&b, "      - { record: 'check:%d', expr: %s } # %s\n", i, strconv.Quote(expr), where)
	}
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, ".", promtool, "check", "rules", "--lint=none", file); !strings.Contains(out, fmt.Sprintf("%d rules found", i)) {
		t.Errorf("%s", out)
	}
}

var (
	metricName = regexp.MustCompile(`\b(?:penstock|process|go)_[a-z0-9_]+\b`)
	selector   = regexp.MustCompile(`\b((?:penstock|process|go)_[a-z0-9_]+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
	sample     = regexp.MustCompile(`(?m)^([a-z_0-9]+)(?:\{(.*)\})? \S+$`)
	label      = regexp.MustCompile(`([a-z_]+)="`)
	defined    = regexp.MustCompile(`penstock:[a-z0-9_:]+`)
)

// Every metric and label that rules and dashboards name is in a scrape of the real program.
func TestMetricsAreThere(t *testing.T) {
	t.Parallel()
	known := map[string]map[string]bool{}
	for _, m := range sample.FindAllStringSubmatch(scrape(t), -1) {
		if known[m[1]] == nil {
			known[m[1]] = map[string]bool{"job": true, "instance": true}
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			known[m[1]][l[1]] = true
		}
	}
	records := map[string]bool{}
	for _, r := range rules(t) {
		records[r.Record] = true
	}
	for where, expr := range expressions(t) {
		labels := map[string]bool{"job": true, "instance": true}
		for _, name := range metricName.FindAllString(expr, -1) {
			if known[name] == nil {
				t.Errorf("%s: the program has no metric %s", where, name)
			}
			for l := range known[name] {
				labels[l] = true
			}
		}
		for _, name := range defined.FindAllString(expr, -1) {
			if !records[name] {
				t.Errorf("%s: no rule records %s", where, name)
			}
		}
		for _, s := range selector.FindAllStringSubmatch(expr, -1) {
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if !known[s[1]][m[1]] {
					t.Errorf("%s: %s has no label %s", where, s[1], m[1])
				}
			}
		}
		for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
			for l := range strings.SplitSeq(g[1], ",") {
				if !labels[strings.TrimSpace(l)] {
					t.Errorf("%s: there is no label %s", where, l)
				}
			}
		}
	}
}

const served = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0", open_metrics: true }
providers:
  sim-a: { dialect: openai, base_url: "http://%s/sim-a/v1", vendor: none }
`

// scrape runs a Penstock, has it serve all kinds of calls, and reads its metrics.
func scrape(t *testing.T) string {
	t.Helper()
	bin, dir := binary(t), t.TempDir()
	sim := start(t, dir, bin, "sim", "--listen", "127.0.0.1:0", "--json")
	if err := os.WriteFile(filepath.Join(dir, "penstock.yaml"), []byte(fmt.Sprintf(served, sim.Addr)), 0o600); err != nil {
		t.Fatal(err)
	}
	p := start(t, dir, bin, "serve", "--json", "-c", "penstock.yaml")
	cli := func(args ...string) string { return run(t, dir, bin, append(args, "-c", "penstock.yaml")...) }
	cli("project", "create", "acme")
	keys := strings.Fields(cli("key", "create", "--project", "acme"))
	cli("price", "set", "sim-a/m", "--input", "1", "--output", "2")
	key := keys[slices.IndexFunc(keys, func(s string) bool { return strings.HasPrefix(s, "psk_") && len(s) > 40 })]
	for _, model := range []string{"sim-a/m", "sim-a/unpriced", "sim-a/x?status=503"} {
		call(t, "POST", "http://"+p.Data+"/v1/chat/completions", key, fmt.Sprintf(`{"model":%q,"stream":true,"messages":[{"role":"user","content":"say:20 hello"}]}`, model))
	}
	call(t, "POST", "http://"+p.Data+"/v1/chat/completions", "psk_wrong", "{}")
	status, text := call(t, "GET", "http://"+p.Admin+"/metrics", "", "")
	if status != 200 {
		t.Fatalf("metrics: %d", status)
	}
	return text
}
