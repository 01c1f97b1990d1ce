package cli_test

import (
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/penstock/penstock/internal/telemetry/collectortest"
)

// collect runs a collector of traces and metrics until the story ends. $OTLP is its address with the path that the story
// names; it wants the user pk-lf-a with the password sk-lf-b. What it takes goes to collected.txt, a span or metric a line.
func collect(ts *testscript.TestScript, _ bool, args []string) {
	path := strings.Join(args, "")
	c := collectortest.New()
	c.Answer(func(r collectortest.Request) collectortest.Answer {
		if r.Header.Get("Authorization") != "Basic cGstbGYtYTpzay1sZi1i" {
			return collectortest.Answer{Status: 401}
		}
		if f, err := os.OpenFile(ts.MkAbs("collected.txt"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintf(f, "path=%s authorization=%s\n%s", r.Path, r.Header.Get("Authorization"), lines(r))
			f.Close()
		}
		return collectortest.Answer{}
	})
	server := httptest.NewServer(c.Handler(path))
	ts.Defer(server.Close)
	ts.Check(os.WriteFile(ts.MkAbs("collected.txt"), nil, 0o600))
	ts.Setenv("OTLP", server.URL+path)
}

// lines shows a request for grep.
func lines(r collectortest.Request) string {
	var b strings.Builder
	for _, rs := range r.Traces.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				attrs := collectortest.Attrs(s.GetAttributes())
				fmt.Fprintf(&b, "%s trace=%x parent=%x", s.GetName(), s.GetTraceId(), s.GetParentSpanId())
				for _, k := range slices.Sorted(maps.Keys(attrs)) {
					fmt.Fprintf(&b, " %s=%v", k, attrs[k])
				}
				for i, e := range s.GetEvents() {
					b.WriteString([]string{" events=", ","}[min(i, 1)] + e.GetName())
				}
				b.WriteByte('\n')
			}
		}
	}
	for _, rm := range r.Metrics.GetResourceMetrics() {
		for _, sm := range rm.GetScopeMetrics() {
			for _, m := range sm.GetMetrics() {
				if strings.HasPrefix(m.GetName(), "gen_ai.") || strings.HasPrefix(m.GetName(), "penstock_request") {
					fmt.Fprintf(&b, "%v\n", m)
				}
			}
		}
	}
	return b.String()
}
