package server_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"

	"testing"
	"time"

	trace "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/telemetry/collectortest"
	"github.com/penstock/penstock/internal/wire/w3c"
)

const (
	theirTrace  = "4bf92f3577b34da6a3ce929d0e0e4736"
	theirParent = "00-" + theirTrace + "-00f067aa0ba902b7-01"
)

// private makes sim-b one's own server.
func private(config string) string {
	return strings.Replace(config, `/sim-b/v1", vendor: none`, `/sim-b/v1", vendor: none, private: true`, 1)
}

func byID(spans []*trace.Span) map[string]*trace.Span {
	m := map[string]*trace.Span{}
	for _, s := range spans {
		m[w3c.SpanID(s.SpanId).String()] = s
	}
	return m
}

// One trace from the caller through Penstock to its own model server: the caller's span is the parent of the exchange,
// that of its tries, and the try of what the server does. A provider that is not private learns nothing.
func TestATraceGoesThrough(t *testing.T) {
	t.Parallel()
	c := collectortest.GRPC(t)
	w := start(t, penstocktest.Options{Config: private(settings(twoTargets("status=503"), "telemetry: { endpoint: "+c.URL+", protocol: grpc }"))})
	a := w.ask("two", "a secret plan", true, "Traceparent", theirParent, "Tracestate", "vendor=1")
	w.fellBack(a, "status")
	r := w.record(a)
	if r.Trace.String() != theirTrace {
		t.Errorf("the record is of trace %s", r.Trace)
	}
	c.Wait(t, "three spans", func() bool { return len(c.Spans()) >= 3 })
	spans := byID(c.Spans())
	root, first, second := spans[w3c.SpanOf(a.ID()).String()], spans[w3c.SpanOf(r.Tries[0].ID).String()], spans[w3c.SpanOf(r.Tries[1].ID).String()]
	if root == nil || first == nil || second == nil {
		t.Fatalf("spans %v", spans)
	}
	if w3c.SpanID(root.ParentSpanId).String() != "00f067aa0ba902b7" || !bytes.Equal(second.ParentSpanId, root.SpanId) || root.TraceState != "vendor=1" {
		t.Errorf("root %v, second %v", root, second)
	}
	for _, s := range spans {
		if w3c.TraceID(s.TraceId).String() != theirTrace || strings.Contains(s.String(), "secret plan") || strings.Contains(s.String(), "acme") {
			t.Errorf("span %v", s)
		}
	}
	for _, up := range w.Sim.Requests() {
		if up.Method == http.MethodGet {
			continue // a probe of one's own server is nobody's call
		}
		want, state := "", ""
		if up.Provider == "sim-b" {
			want, state = "00-"+theirTrace+"-"+w3c.SpanID(second.SpanId).String()+"-01", "vendor=1"
		}
		if got := up.Header.Get("Traceparent"); got != want || up.Header.Get("Tracestate") != state {
			t.Errorf("%s was told %q, want %q", up.Provider, got, want)
		}
	}
	attrs := collectortest.Attrs(second.Attributes)
	if attrs["gen_ai.usage.output_tokens"] != r.Usage.Output || attrs["server.address"] != "127.0.0.1" || attrs["gen_ai.request.model"] != "good" {
		t.Errorf("attributes %v of %+v", attrs, r.Usage)
	}
}

// Without a trace of the caller's there is one of Penstock's own, which finds the record again.
func TestATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	c := collectortest.HTTP(t, "")
	w := start(t, penstocktest.Options{Config: settings(nil, "telemetry: { traces: { endpoint: "+c.URL+", propagate: all } }")})
	a := w.ask(w.model(""), "hello", false)
	c.Wait(t, "two spans", func() bool { return len(c.Spans()) >= 2 })
	root := byID(c.Spans())[w3c.SpanOf(a.ID()).String()]
	if root == nil || len(root.ParentSpanId) != 0 || w3c.TraceID(root.TraceId) != w.record(a).Trace {
		t.Fatalf("root %v", root)
	}
	var found struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if w.Admin(http.MethodGet, "/exchanges?trace="+w3c.TraceID(root.TraceId).String(), nil, &found); len(found.Data) != 1 || found.Data[0].ID != a.ID() {
		t.Errorf("found %v", found)
	}
	if got := w.lastRequest().Header.Get("Traceparent"); !strings.HasPrefix(got, "00-"+w3c.TraceID(root.TraceId).String()) || !strings.HasSuffix(got, "-03") {
		t.Errorf("the provider was told %q", got)
	}
	if len(c.Metrics()) != 0 {
		t.Error("metrics were sent, too")
	}
}

// What the caller does not record is not recorded here either, and is passed on as it came.
func TestATraceThatIsNotRecorded(t *testing.T) {
	t.Parallel()
	c := collectortest.HTTP(t, "")
	w := start(t, penstocktest.Options{Config: settings(nil, "telemetry: { traces: { endpoint: "+c.URL+", propagate: all } }")})
	model := w.model("")
	not := strings.TrimSuffix(theirParent, "1") + "0"
	w.ask(model, "hello", false, "Traceparent", not)
	if got := w.lastRequest().Header.Get("Traceparent"); got != not {
		t.Errorf("the provider was told %q, want %q", got, not)
	}
	w.ask(model, "hello", false)
	c.Wait(t, "the other exchange", func() bool { return len(c.Spans()) >= 2 })
	for _, s := range c.Spans() {
		if w3c.TraceID(s.TraceId).String() == theirTrace {
			t.Errorf("span %v", s)
		}
	}
}

// A collector that never answers slows nobody down, raises an alert, and does not hold up the end. A reload to another one
// delivers what waited.
func TestAHangingCollectorIsNobodysTrouble(t *testing.T) {
	t.Parallel()
	hangs, c := collectortest.HTTP(t, ""), collectortest.HTTP(t, "")
	hangs.Answer(func(collectortest.Request) collectortest.Answer { return collectortest.Answer{Hang: true} })
	log := &logs{}
	w := start(t, penstocktest.Options{Log: log, Config: settings(nil, "telemetry: { endpoint: "+hangs.URL+", timeout: 500ms, metrics: { every: 1s } }")})
	model := w.model("")
	var slowest time.Duration
	for range 50 {
		began := time.Now()
		if a := w.ask(model, "hello", false); a.Status != http.StatusOK {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		slowest = max(slowest, time.Since(began))
	}
	if slowest > 5*time.Second {
		t.Errorf("a call took %v", slowest)
	}
	if !penstocktest.Eventually(func() bool {
		return strings.Contains(log.String(), "signal=traces") && strings.Contains(log.String(), "signal=metrics")
	}) {
		t.Errorf("nothing is said of it: %s", log)
	}
	w.WriteConfig(settings(nil, "telemetry: { endpoint: "+c.URL+" }"))
	if err := w.Server.Reload(context.Background(), w.Load); err != nil {
		t.Fatal(err)
	}
	c.Wait(t, "what had waited", func() bool { return len(c.Spans()) >= 100 }) // more where a stage took a millisecond
	began := time.Now()
	w.Stop()
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the end took %v", took)
	}
	if all := c.Metrics(); all["gen_ai.client.operation.duration"] == nil || all["penstock_requests_total"] == nil {
		t.Error("the last metrics were not sent")
	}
	if strings.Count(log.String(), "telemetry is not taken") > 2 {
		t.Errorf("said more than once: %s", log)
	}
}
