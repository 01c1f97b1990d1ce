package deploy

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the dashboards anew")

// A panel is one picture. Width is in columns of 24.
type panel struct {
	title, about string
	kind         string // timeseries or stat
	unit         string // in Grafana's words
	width        int
	queries      []query
}

type query struct{ expr, legend string }

type dashboard struct {
	file, title string
	panels      []panel
}

const (
	chosen  = `{job=~"$job",instance=~"$instance"}`
	perSec  = "reqps"
	dollars = "currencyUSD"
)

func quantile(q float64, by, metric string) query {
	return query{
		fmt.Sprintf("histogram_quantile(%g, sum by (le%s) (rate(%s_bucket%s[$__rate_interval])))", q, by, metric, chosen),
		fmt.Sprintf("p%g", q*100),
	}
}

func byTarget(q float64, metric string) query {
	one := quantile(q, ", target", metric)
	one.legend = "{{target}}"
	return one
}

// dashboards are all of them. Every expression is parsed, and every metric looked for in a scrape of the real program.
var dashboards = []dashboard{
	{"overview.json", "Penstock: overview", []panel{
		{"Calls", "All exchanges that came with a valid key, by the status that the client was sent; 499 is a client that left.", "timeseries", perSec, 12,
			[]query{{"sum by (status) (rate(penstock_requests_total" + chosen + "[$__rate_interval]))", "{{status}}"}}},
		{"Failures", "Share of calls that ended with 5xx.", "timeseries", "percentunit", 12, []query{{
			`sum(rate(penstock_requests_total{job=~"$job",instance=~"$instance",status=~"5.."}[$__rate_interval])) / sum(rate(penstock_requests_total` +
				`{job=~"$job",instance=~"$instance",status!="499"}[$__rate_interval]))`, "failed"}}},
		{"First token", "From a request's head to the first content of a stream.", "timeseries", "s", 12, []query{
			quantile(0.5, "", "penstock_time_to_first_token_seconds"), quantile(0.95, "", "penstock_time_to_first_token_seconds"),
			quantile(0.99, "", "penstock_time_to_first_token_seconds")}},
		{"Penstock's own time", "Of an exchange, without its tries at providers.", "timeseries", "s", 12, []query{
			quantile(0.5, "", "penstock_overhead_seconds"), quantile(0.99, "", "penstock_overhead_seconds")}},
		{"Tokens", "A second; input holds cached ones, output holds reasoning.", "timeseries", "short", 12,
			[]query{{"sum by (direction) (rate(penstock_tokens_total" + chosen + "[$__rate_interval]))", "{{direction}}"}}},
		{"Money an hour", "Priced tries only.", "timeseries", dollars, 12,
			[]query{{"sum(rate(penstock_cost_dollars_total" + chosen + "[$__rate_interval])) * 3600", "an hour"}}},
		{"In flight", "Exchanges that have begun and not ended.", "stat", "short", 6, []query{{"sum(penstock_in_flight" + chosen + ")", ""}}},
		{"Open alerts", "penstock alert list says which.", "stat", "short", 6, []query{{"sum by (severity) (penstock_alerts_open" + chosen + ")", "{{severity}}"}}},
		{"Records wait", "Age of the oldest record that waits for the store.", "stat", "s", 6, []query{{"max(penstock_journal_lag_seconds" + chosen + ")", ""}}},
		{"Replicas", "That can be scraped.", "stat", "short", 6, []query{{`sum(up{job=~"$job",instance=~"$instance"})`, ""}}},
	}},
	{"targets.json", "Penstock: models and targets", []panel{
		{"Calls by model", "As it was asked for.", "timeseries", perSec, 12,
			[]query{{"topk(10, sum by (model) (rate(penstock_requests_total" + chosen + "[$__rate_interval])))", "{{model}}"}}},
		{"Errors by code", "docs/reference/errors.md says what each means.", "timeseries", perSec, 12,
			[]query{{"sum by (code) (rate(penstock_errors_total" + chosen + "[$__rate_interval]))", "{{code}}"}}},
		{"Tries by target", "All attempts, fallbacks included.", "timeseries", perSec, 12,
			[]query{{"sum by (target) (rate(penstock_tries_total" + chosen + "[$__rate_interval]))", "{{target}}"}}},
		{"Tries that failed", "By target and reason.", "timeseries", perSec, 12,
			[]query{{`sum by (target, reason) (rate(penstock_tries_total{job=~"$job",instance=~"$instance",reason!="ok"}[$__rate_interval]))`, "{{target}} {{reason}}"}}},
		{"First token, p95", "Streams, by the target that answered.", "timeseries", "s", 12, []query{byTarget(0.95, "penstock_time_to_first_token_seconds")}},
		{"Time per output token, p50", "After the first token.", "timeseries", "s", 12, []query{byTarget(0.5, "penstock_time_per_output_token_seconds")}},
		{"Whole answer, p95", "From a request's head to the last event.", "timeseries", "s", 12, []query{byTarget(0.95, "penstock_request_duration_seconds")}},
		{"Output tokens", "A second, by the target that answered.", "timeseries", "short", 12,
			[]query{{`sum by (target) (rate(penstock_tokens_total{job=~"$job",instance=~"$instance",direction="output"}[$__rate_interval]))`, "{{target}}"}}},
	}},
	{"money.json", "Penstock: money", []panel{
		{"Today", "The last 24 hours, priced tries only. The records are the truth (penstock usage); this is for watching.", "stat", dollars, 6,
			[]query{{"sum(increase(penstock_cost_dollars_total" + chosen + "[24h]))", ""}}},
		{"Unpriced calls, 24 hours", "In no sum; penstock price list --missing.", "stat", "short", 6, []query{{"sum(increase(penstock_unpriced_total" + chosen + "[24h]))", ""}}},
		{"A thousand calls", "What they cost on average, over an hour.", "stat", dollars, 6, []query{{
			"1000 * sum(rate(penstock_cost_dollars_total" + chosen + "[1h])) / sum(rate(penstock_requests_total" + chosen + "[1h]))", ""}}},
		{"From the provider's cache", "Share of prompt tokens.", "stat", "percentunit", 6, []query{{
			"sum(rate(penstock_cached_input_tokens_total" + chosen + `[1h])) / sum(rate(penstock_tokens_total{job=~"$job",instance=~"$instance",direction="input"}[1h]))`, ""}}},
		{"An hour, by target", "", "timeseries", dollars, 12,
			[]query{{"topk(10, sum by (target) (rate(penstock_cost_dollars_total" + chosen + "[$__rate_interval])) * 3600)", "{{target}}"}}},
		{"An hour, by project", "By id; penstock project list has the names.", "timeseries", dollars, 12,
			[]query{{"topk(10, sum by (project) (rate(penstock_cost_dollars_total" + chosen + "[$__rate_interval])) * 3600)", "{{project}}"}}},
		{"Against a day ago", "Dollars an hour.", "timeseries", dollars, 12, []query{
			{"sum(rate(penstock_cost_dollars_total" + chosen + "[1h])) * 3600", "now"},
			{"sum(rate(penstock_cost_dollars_total" + chosen + "[1h] offset 1d)) * 3600", "a day ago"}}},
		{"Unpriced calls by target", "", "timeseries", perSec, 12,
			[]query{{"sum by (target) (rate(penstock_unpriced_total" + chosen + "[$__rate_interval]))", "{{target}}"}}},
	}},
	{"process.json", "Penstock: process", []panel{
		{"CPU", "Cores in use.", "timeseries", "short", 12, []query{{"rate(process_cpu_seconds_total" + chosen + "[$__rate_interval])", "{{instance}}"}}},
		{"Memory", "Resident, and the heap in use.", "timeseries", "bytes", 12, []query{
			{"process_resident_memory_bytes" + chosen, "{{instance}} resident"}, {"go_memstats_heap_inuse_bytes" + chosen, "{{instance}} heap"}}},
		{"Connections", "Of clients on the data plane, and how many there may be.", "timeseries", "short", 12, []query{
			{"penstock_open_connections" + chosen, "{{instance}}"}, {"penstock_connection_limit" + chosen, "{{instance}} limit"}}},
		{"Bodies held", "Bytes of requests' bodies.", "timeseries", "bytes", 12, []query{{"penstock_held_body_bytes" + chosen, "{{instance}}"}}},
		{"Journal", "Bytes that the store does not have yet, and that the journal may still grow by.", "timeseries", "bytes", 12, []query{
			{"penstock_journal_lag_bytes" + chosen, "{{instance}} waits"}, {"penstock_journal_free_bytes" + chosen, "{{instance}} free"}}},
		{"Records written", "A second.", "timeseries", "short", 12, []query{{"rate(penstock_records_written_total" + chosen + "[$__rate_interval])", "{{instance}}"}}},
		{"Goroutines", "", "timeseries", "short", 12, []query{{"go_goroutines" + chosen, "{{instance}}"}}},
		{"Refused before they were exchanges", "By error code.", "timeseries", perSec, 12,
			[]query{{"sum by (code) (rate(penstock_refused_requests_total" + chosen + "[$__rate_interval]))", "{{code}}"}}},
		{"Control plane", "Requests by route.", "timeseries", perSec, 12,
			[]query{{"sum by (route) (rate(penstock_admin_requests_total" + chosen + "[$__rate_interval]))", "{{route}}"}}},
		{"Messages about alerts", "By outcome, and those that wait.", "timeseries", "short", 12, []query{
			{"sum by (outcome) (increase(penstock_alert_messages_total" + chosen + "[$__rate_interval]))", "{{outcome}}"},
			{"sum(penstock_alert_messages_waiting" + chosen + ")", "waiting"}}},
	}},
}

type object = map[string]any

// model is a dashboard in Grafana's form (its schema 39).
func (d dashboard) model() object {
	source := object{"type": "prometheus", "uid": "${datasource}"}
	choose := func(name, query string) object {
		return object{
			"name": name, "type": "query", "datasource": source, "query": query, "refresh": 2, "includeAll": true, "multi": true,
			"allValue": ".*", "current": object{"text": "All", "value": "$__all"},
		}
	}
	panels, x, y, tallest := []object{}, 0, 0, 0
	for i, p := range d.panels {
		height := map[string]int{"timeseries": 8, "stat": 4}[p.kind]
		if x+p.width > 24 {
			x, y, tallest = 0, y+tallest, 0
		}
		targets := []object{}
		for n, q := range p.queries {
			targets = append(targets, object{"refId": string(rune('A' + n)), "datasource": source, "expr": q.expr, "legendFormat": q.legend})
		}
		panels = append(panels, object{
			"id": i + 1, "type": p.kind, "title": p.title, "description": p.about, "datasource": source, "targets": targets,
			"gridPos":     object{"x": x, "y": y, "w": p.width, "h": height},
			"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}, "overrides": []object{}},
		})
		x, tallest = x+p.width, max(tallest, height)
	}
	return object{
		"title": d.title, "uid": "penstock-" + d.file[:len(d.file)-len(".json")], "schemaVersion": 39, "version": 1, "editable": true,
		"tags": []string{"penstock"}, "time": object{"from": "now-6h", "to": "now"}, "refresh": "30s", "panels": panels,
		"templating": object{"list": []object{
			{"name": "datasource", "type": "datasource", "query": "prometheus"},
			choose("job", "label_values(penstock_in_flight, job)"), choose("instance", `label_values(penstock_in_flight{job=~"$job"}, instance)`),
		}},
		"links": []object{{"type": "dashboards", "tags": []string{"penstock"}, "title": "Penstock", "asDropdown": true, "includeVars": true, "keepTime": true}},
	}
}

// The dashboards are made from the table above, so that they look alike.
func TestDashboardsIsCurrent(t *testing.T) {
	t.Parallel()
	for _, d := range dashboards {
		want, err := json.MarshalIndent(d.model(), "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, '\n')
		file := filepath.Join("grafana", d.file)
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || string(have) != string(want) {
			t.Errorf("%s is not current (%v): go test ./deploy -update", file, err)
		}
	}
}
