package telemetry

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/telemetry/collectortest"
	"github.com/penstock/penstock/internal/usage"
	"github.com/penstock/penstock/internal/wire/w3c"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*persistConn).writeLoop"), goleak.IgnoreAnyFunction("net/http.(*persistConn).readLoop"))
}

var at = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

const client = "00f067aa0ba902b7" // the caller's span

// record is an exchange that fell back: the first target refused it, the second streamed an answer.
func record() *usage.Record {
	trace, _ := w3c.ParseTraceID("4bf92f3577b34da6a3ce929d0e0e4736")
	var parent w3c.SpanID
	_ = parent.UnmarshalText([]byte(client))
	return &usage.Record{
		ID: "ex_01", Time: at, Org: "org_1", Project: "prj_1", Key: "key_1", User: "the-user", Model: "support", Target: "claude/haiku",
		Op: llm.OpChat, Dialect: llm.OpenAI, Stream: true, Status: 200, CostNano: 1_234_567, Tags: []string{"checkout"}, ClientID: "mine",
		Timings: usage.Timings{TotalNS: 3e9, FirstNS: 1e9, OverheadNS: 1e6},
		Trace:   trace, ParentSpan: parent, TraceFlags: w3c.Sampled, TraceState: "vendor=1",
		Choice: &pipeline.Choice{Policy: "fastest", Rule: "TENANT", Candidates: []pipeline.Candidate{
			{Target: "openai/gpt-5-mini", Probability: 1}, {Target: "claude/haiku"}, {Target: "house/m", Excluded: "TENANT wants none"},
		}},
		Tries: []pipeline.Try{
			{
				ID: "ex_01-1", Target: "openai/gpt-5-mini", StartNS: 1e6, TookNS: 200e6, Status: 429, Reason: "status", Outcome: pipeline.Released,
				Detail: "openai: the prompt was SECRET CONTENT",
			},
			{
				ID: "ex_01-2", Target: "claude/haiku", StartNS: 300e6, TookNS: 2700e6, FirstNS: 1e9, Status: 200, Reason: "ok", Upstream: "req_9",
				Endpoint: "10.0.0.7:8000", Credential: 2, Hedge: true,
				AnswerID: "msg_7", Model: "haiku-2026-01", Finish: []llm.FinishReason{llm.FinishStop, llm.FinishLength},
				Outcome: pipeline.SettledActual, CostNano: 1_234_567,
				Usage: llm.Usage{Input: 1000, Output: 50, CachedInput: 400, Reasoning: 20},
			},
		},
		Stages: []pipeline.Decision{
			{Stage: "auth", Decision: "key ci (psk_abc), project TENANT", AtNS: 21e6},
			{Stage: "old", Decision: "of a version that knew no times"},
			{Stage: "bodies", Decision: "kept", AtNS: 2999e6, TookNS: 300e3},
		},
	}
}

var peers = map[string]Peer{
	"openai": {"openai", "api.openai.com", 443}, "claude": {"anthropic", "api.anthropic.com", 443},
}

// A bench is an exporter under test.
type bench struct {
	*Exporter
	reg *prometheus.Registry
	log *bytes.Buffer
	mu  sync.Mutex // guards log
}

func (b *bench) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.Write(p)
}

func (b *bench) logged() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.log.String()
}

func (b *bench) spans(outcome string) float64 {
	return testutil.ToFloat64(b.counts.spans.WithLabelValues(outcome))
}

func newBench() *bench {
	b := &bench{reg: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	b.Exporter = New(Options{Log: slog.New(slog.NewTextHandler(b, nil)), Metrics: b.reg, Gather: b.reg, Version: "v9", Instance: "one"})
	return b
}

// run runs the exporter until the function that it gives is called, or the test ends.
func (b *bench) run(t testing.TB) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = b.Run(ctx) }()
	stop = func() { cancel(); <-done; b.inForce.Load().Close() }
	t.Cleanup(stop)
	return stop
}

var secrets = map[string]string{
	"env:AUTH": "Authorization=Basic%20cGstbGY6c2stbGY=,x-langfuse-ingestion-version=4", "env:WRONG": "no pairs", "env:INJECT": "a=b%0d%0aX: y",
}

func ways(roots *x509.CertPool) Ways {
	return Ways{
		Resolve: func(ref string) (secret.String, error) {
			if s, ok := secrets[ref]; ok {
				return secret.New(s), nil
			}
			return secret.String{}, errors.New("the variable is not set")
		},
		RoundTripper: func(plain bool) http.RoundTripper {
			t := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
			if plain {
				t.Protocols = new(http.Protocols)
				t.Protocols.SetUnencryptedHTTP2(true)
			}
			return t
		},
	}
}

// config is a section with its defaults.
func config(endpoint, protocol string) Config {
	sink := Sink{Endpoint: endpoint, Protocol: protocol, Timeout: 10 * time.Second}
	return Config{Service: "penstock", Queue: 16e6, Traces: Traces{Sink: sink, Sample: "100%"}, Metrics: Metrics{Every: time.Minute}}
}

func settings(t testing.TB, cfg Config, w Ways) *Settings {
	t.Helper()
	s, err := NewSettings(cfg, w, peers)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpansOfAnExchange(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{HTTP, GRPC} {
		for _, compression := range []string{"", gzipped} {
			t.Run(protocol+compression, func(t *testing.T) {
				t.Parallel()
				c := collectortest.HTTP(t, "")
				if protocol == GRPC {
					c = collectortest.GRPC(t)
				}
				cfg := config(c.URL, protocol)
				cfg.Traces.Compression = compression
				cfg.Attributes = []string{"deployment.environment.name=prod"}
				b := newBench()
				b.Use(settings(t, cfg, ways(nil)))
				b.run(t)
				b.Observe(record())
				c.Wait(t, "three spans", func() bool { return len(c.Spans()) == 3 })
				checkSpans(t, c)
				waitFor(t, "the count", func() bool { return b.spans("sent") == 3 })
			})
		}
	}
}

func checkSpans(t *testing.T, c *collectortest.Collector) {
	t.Helper()
	rs := c.Requests()[0].Traces.GetResourceSpans()[0]
	if diff := cmp.Diff(map[string]any{
		"service.name": "penstock", "service.version": "v9", "service.instance.id": "one", "deployment.environment.name": "prod",
	}, collectortest.Attrs(rs.GetResource().GetAttributes())); diff != "" {
		t.Error(diff)
	}
	if scope := rs.GetScopeSpans()[0]; scope.GetScope().GetName() != "github.com/penstock/penstock" || scope.GetSchemaUrl() != "https://opentelemetry.io/schemas/1.41.0" {
		t.Errorf("scope %v, %s", scope.GetScope(), scope.GetSchemaUrl())
	}
	spans := c.Spans()
	root, first, second := spans[0], spans[1], spans[2]
	for _, s := range spans {
		if hex(s.TraceId) != "4bf92f3577b34da6a3ce929d0e0e4736" || s.TraceState != "vendor=1" || s.Flags&1 == 0 {
			t.Errorf("%s is of trace %x, %q, %b", s.Name, s.TraceId, s.TraceState, s.Flags)
		}
		if s != root && hex(s.ParentSpanId) != w3c.SpanOf("ex_01").String() {
			t.Errorf("%s is below %x", s.Name, s.ParentSpanId)
		}
	}
	if root.Name != "POST /v1/chat/completions" || root.Kind != trace.Span_SPAN_KIND_SERVER || hex(root.ParentSpanId) != client || root.Flags&(1<<9) == 0 ||
		hex(root.SpanId) != w3c.SpanOf("ex_01").String() || root.StartTimeUnixNano != uint64(at.UnixNano()) || root.EndTimeUnixNano-root.StartTimeUnixNano != 3e9 || root.Status != nil {
		t.Errorf("root: %v", root)
	}
	if diff := cmp.Diff(map[string]any{
		"http.request.method": "POST", "http.route": "/v1/chat/completions", "url.path": "/v1/chat/completions", "http.response.status_code": int64(200),
		"penstock.exchange.id": "ex_01", "penstock.organization.id": "org_1", "penstock.project.id": "prj_1", "penstock.key.id": "key_1",
		"penstock.model": "support", "penstock.target": "claude/haiku", "penstock.tries": int64(2), "penstock.cost_nano": int64(1_234_567),
		"penstock.overhead": 0.001, "penstock.client_request.id": "mine", "penstock.tags": []any{"checkout"},
		"penstock.route.policy": "fastest", "penstock.route.eligible": int64(2),
	}, attrs(root)); diff != "" {
		t.Error(diff)
	}
	if first.Name != "chat gpt-5-mini" || first.Kind != trace.Span_SPAN_KIND_CLIENT || first.Status.GetCode() != trace.Status_STATUS_CODE_ERROR || first.Status.GetMessage() != "" {
		t.Errorf("first try: %v", first)
	}
	if diff := cmp.Diff(map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5-mini", "gen_ai.request.stream": true,
		"server.address": "api.openai.com", "server.port": int64(443), "http.response.status_code": int64(429), "error.type": "status",
		"penstock.target": "openai/gpt-5-mini", "penstock.try.outcome": "released", "penstock.cost_nano": int64(0),
	}, attrs(first)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "haiku", "gen_ai.request.stream": true,
		"gen_ai.response.time_to_first_chunk": 0.7, "gen_ai.usage.input_tokens": int64(1000), "gen_ai.usage.output_tokens": int64(50),
		"gen_ai.usage.cache_read.input_tokens": int64(400), "gen_ai.usage.reasoning.output_tokens": int64(20), "gen_ai.usage.cost": 0.001234567,
		"server.address": "10.0.0.7", "server.port": int64(8000), "http.response.status_code": int64(200),
		"penstock.try.hedge": true, "penstock.try.credential": int64(2),
		"penstock.target": "claude/haiku", "penstock.try.outcome": "settled_actual", "penstock.cost_nano": int64(1_234_567),
		"penstock.upstream_request.id": "req_9",
		"gen_ai.response.id":           "msg_7", "gen_ai.response.model": "haiku-2026-01", "gen_ai.response.finish_reasons": []any{"stop", "length"},
	}, attrs(second)); diff != "" {
		t.Error(diff)
	}
	if e := second.Events; len(e) != 1 || e[0].Name != "gen_ai.first_token" || e[0].TimeUnixNano != uint64(at.UnixNano())+1e9 || second.Status != nil ||
		second.EndTimeUnixNano != uint64(at.UnixNano())+3e9 {
		t.Errorf("second try: %v", second)
	}
	if all := rs.String(); strings.Contains(all, "SECRET") || strings.Contains(all, "TENANT") || strings.Contains(all, "the-user") {
		t.Errorf("content, a tenant's name or a user is told: %s", all)
	}
}

// TestStagesInATrace: what stages decided are moments of the exchange, in their order; one that took its time is a span.
func TestStagesInATrace(t *testing.T) {
	t.Parallel()
	c := collectortest.HTTP(t, "")
	b := newBench()
	b.Use(settings(t, config(c.URL, HTTP), ways(nil)))
	b.run(t)
	rec := record()
	rec.ClockMS = -90_000
	rec.Stages = append([]pipeline.Decision{{Stage: "read", Decision: "SECRET", AtNS: 20e6, TookNS: 19e6}}, rec.Stages...)
	b.Observe(rec)
	c.Wait(t, "four spans", func() bool { return len(c.Spans()) == 4 })
	root, read := c.Spans()[0], c.Spans()[1]
	if read.Name != "penstock.read" || read.Kind != trace.Span_SPAN_KIND_INTERNAL || hex(read.ParentSpanId) != hex(root.SpanId) ||
		read.StartTimeUnixNano != uint64(at.UnixNano())+1e6 || read.EndTimeUnixNano != uint64(at.UnixNano())+20e6 || len(read.Events) > 0 {
		t.Errorf("the stage that took its time: %v", read)
	}
	if got := attrs(root)["penstock.clock.corrected"]; got != -90.0 {
		t.Errorf("the clock was corrected by %v", got)
	}
	type moment struct {
		Name  string
		At    uint64
		Attrs map[string]any
	}
	var got []moment
	for _, e := range root.Events {
		got = append(got, moment{e.Name, e.TimeUnixNano - uint64(at.UnixNano()), attrs(e)})
	}
	want := []moment{
		{"penstock.auth", 21e6, map[string]any{}}, {"gen_ai.first_token", 1e9, map[string]any{}},
		{"penstock.bodies", 2999e6, map[string]any{"penstock.stage.took": 0.0003}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	waitFor(t, "the count", func() bool { return b.spans("sent") == 4 })
}

func hex(b []byte) string {
	if len(b) == 8 {
		return w3c.SpanID(b).String()
	}
	return w3c.TraceID(b).String()
}

func attrs(s interface{ GetAttributes() []*common.KeyValue }) map[string]any {
	return collectortest.Attrs(s.GetAttributes())
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{HTTP, GRPC} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			c := collectortest.HTTP(t, "")
			if protocol == GRPC {
				c = collectortest.GRPC(t)
			}
			b := newBench()
			counter := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "penstock_requests_total", Help: "Exchanges."}, []string{"project"})
			latency := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "penstock_latency", Buckets: []float64{1, 2}})
			b.reg.MustRegister(counter, latency)
			counter.WithLabelValues("prj_1").Add(3)
			for _, v := range []float64{.5, 1.5, 1.6, 9} {
				latency.Observe(v)
			}
			cfg := config("", protocol)
			cfg.Endpoint, cfg.Protocol, cfg.Timeout, cfg.Metrics.Every = c.URL, protocol, 10*time.Second, time.Second
			b.Use(settings(t, cfg, ways(nil)))
			b.Observe(record())
			b.run(t)
			c.Wait(t, "metrics", func() bool { return len(c.Metrics()) > 0 })
			all := c.Metrics()
			duration := all["gen_ai.client.operation.duration"].GetHistogram().GetDataPoints()
			if len(duration) != 2 || all["gen_ai.client.operation.duration"].GetUnit() != "s" {
				t.Fatalf("durations %v", duration)
			}
			tokens := all["gen_ai.client.token.usage"].GetHistogram().GetDataPoints()
			if len(tokens) != 2 || all["gen_ai.client.token.usage"].GetHistogram().GetAggregationTemporality() != 2 {
				t.Fatalf("tokens %v", tokens)
			}
			for _, p := range tokens {
				want := map[string]any{
					"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "haiku",
					"server.address": "api.anthropic.com", "server.port": int64(443), "gen_ai.token.type": "input",
				}
				sum, bucket := 1000.0, 5
				if attrs(p)["gen_ai.token.type"] == "output" {
					want["gen_ai.token.type"], sum, bucket = "output", 50.0, 3
				}
				if diff := cmp.Diff(want, attrs(p)); diff != "" || p.GetSum() != sum || p.Count != 1 || p.BucketCounts[bucket] != 1 || len(p.BucketCounts) != len(p.ExplicitBounds)+1 {
					t.Errorf("%s %v", diff, p)
				}
			}
			if p := all["gen_ai.client.operation.time_to_first_chunk"].GetHistogram().GetDataPoints(); len(p) != 1 || p[0].GetSum() != 0.7 {
				t.Errorf("first chunk %v", p)
			}
			sum := all["penstock_requests_total"].GetSum()
			if p := sum.GetDataPoints(); len(p) != 1 || p[0].GetAsDouble() != 3 || !sum.IsMonotonic || attrs(p[0])["project"] != "prj_1" || p[0].StartTimeUnixNano == 0 {
				t.Errorf("bridged counter %v", sum)
			}
			if p := all["penstock_latency"].GetHistogram().GetDataPoints(); len(p) != 1 || !cmp.Equal(p[0].BucketCounts, []uint64{1, 2, 1}) || p[0].Count != 4 {
				t.Errorf("bridged histogram %v", p)
			}
		})
	}
}

func TestSampler(t *testing.T) {
	t.Parallel()
	for share, want := range map[string]int{"100%": 1000, "0%": 0, "25%": 250, "0.5": 500} {
		cfg := config("http://127.0.0.1:1", HTTP)
		cfg.Traces.Sample = share
		sample, got := cfg.Sampler(), 0
		for i := range 1000 {
			_, id := pipeline.NewID(at.Add(time.Duration(i)))
			if sample != nil && sample(id) {
				got++
			}
		}
		if d := got - want; d < -100 || d > 100 || (want%1000 == 0 && d != 0) {
			t.Errorf("%s: %d of 1000", share, got)
		}
	}
	b := newBench()
	b.Use(settings(t, config("http://127.0.0.1:1", HTTP), ways(nil)))
	rec := record()
	rec.TraceFlags = 0
	if b.Observe(rec); b.queue.size() != 0 {
		t.Error("a trace that is not sampled has spans")
	}
}

func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	m := newMeter()
	for i := range 3 * maxSeries {
		rec := record()
		rec.Tries = rec.Tries[1:]
		rec.Tries[0].Target = "claude/" + strings.Repeat("x", i%7) + time.Duration(i).String()
		m.count(rec, peers)
	}
	if n := len(m.duration.series); n > maxSeries+1 || m.duration.series[beyond] == nil {
		t.Errorf("%d series", n)
	}
	made := record()
	made.Tries = made.Tries[:1]
	made.Tries[0].Target, made.Tries[0].Status = "openai/invented", 404
	m = newMeter()
	if m.count(made, peers); len(m.duration.series) != 1 || m.duration.series[beyond] == nil {
		t.Errorf("an invented model has its series: %v", m.duration.series)
	}
}

func BenchmarkObserve(b *testing.B) {
	e := New(Options{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Gather: prometheus.NewRegistry()})
	cfg := config("", HTTP)
	cfg.Sink = Sink{Endpoint: "http://127.0.0.1:1"}
	s, err := NewSettings(cfg, ways(nil), peers)
	if err != nil {
		b.Fatal(err)
	}
	e.Use(s)
	rec := record()
	rec.Tries = rec.Tries[1:]
	b.ReportAllocs()
	for b.Loop() {
		e.Observe(rec)
		if e.queue.size() > 1<<20 {
			e.queue.clear()
		}
	}
}

// An exchange is of the route by which its client came.
func TestRoutesOfDialects(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect llm.Dialect
		op      llm.Operation
		route   string
	}{
		{llm.OpenAI, llm.OpChat, "/v1/chat/completions"}, {llm.Anthropic, llm.OpChat, "/v1/messages"}, {llm.Responses, llm.OpChat, "/v1/responses"},
		{llm.Anthropic, llm.OpCount, "/v1/messages/count_tokens"}, {llm.Responses, llm.OpCount, "/v1/responses/input_tokens"},
		{llm.OpenAI, llm.OpEmbeddings, "/v1/embeddings"}, {llm.OpenAI, "new", ""},
	} {
		if got := routeOf(c.dialect, c.op); got != c.route {
			t.Errorf("%s %s: %q", c.dialect, c.op, got)
		}
	}
}
