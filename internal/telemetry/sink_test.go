package telemetry

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/penstock/penstock/internal/telemetry/collectortest"
)

func TestLangfuse(t *testing.T) {
	t.Parallel()
	c := collectortest.HTTP(t, "/api/public/otel")
	cfg := config(c.URL, HTTP)
	cfg.Traces.Headers = "env:AUTH"
	b := newBench()
	b.Use(settings(t, cfg, ways(nil)))
	b.run(t)
	b.Observe(record())
	c.Wait(t, "spans", func() bool { return len(c.Spans()) == 3 })
	r := c.Requests()[0]
	if r.Path != "/api/public/otel/v1/traces" || r.Header.Get("Authorization") != "Basic cGstbGY6c2stbGY=" || r.Header.Get("X-Langfuse-Ingestion-Version") != "4" {
		t.Errorf("got %s with %v", r.Path, r.Header)
	}
	// One generation a try, and no other: what a second span with usage says would be counted twice.
	for i, s := range c.Spans() {
		_, model := attrs(s)["gen_ai.request.model"]
		_, tokens := attrs(s)["gen_ai.usage.input_tokens"]
		if model != (i > 0) || tokens != (i == 2) {
			t.Errorf("span %s: %v", s.Name, attrs(s))
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	c, server := collectortest.TLS(t, "")
	roots := server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	pair := server.TLS.Certificates[0]
	g := collectortest.GRPC(t, grpc.Creds(credentials.NewServerTLSFromCert(&pair)))
	for protocol, c := range map[string]*collectortest.Collector{HTTP: c, GRPC: g} {
		b := newBench()
		b.Use(settings(t, config(c.URL, protocol), ways(roots)))
		stop := b.run(t)
		b.Observe(record())
		c.Wait(t, "spans over TLS, by "+protocol, func() bool { return len(c.Spans()) == 3 })
		stop()

		b = newBench()
		b.Use(settings(t, config(c.URL, protocol), ways(x509.NewCertPool())))
		stop = b.run(t)
		b.Observe(record())
		waitFor(t, "trouble", func() bool { return strings.Contains(b.logged(), "certificate") })
		if text, _ := b.Trouble("traces"); !strings.Contains(text, "certificate") {
			t.Errorf("trouble: %q", text)
		}
		stop()
		if b.spans("dropped") != 3 {
			t.Errorf("%v spans dropped", b.spans("dropped"))
		}
	}
}

// waitFor waits for what no collector tells of.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(10 * time.Second); !holds(); <-tick.C {
		if time.Now().After(until) {
			t.Fatalf("waited for %s", what)
		}
	}
}

func TestWhatTheCollectorRefusesIsCountedAndToldOnce(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, protocol string
		answer         collectortest.Answer
		says           string
	}{
		{"unauthorized", HTTP, collectortest.Answer{Status: 401}, "the collector answered 401"},
		{"not found", HTTP, collectortest.Answer{Status: 404}, "the collector answered 404"},
		{"redirect", HTTP, collectortest.Answer{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}, "redirects are not followed"},
		{"unauthenticated", GRPC, collectortest.Answer{Code: codes.Unauthenticated}, "the collector answered UNAUTHENTICATED"},
		{"too large", GRPC, collectortest.Answer{Code: codes.ResourceExhausted}, "the collector answered RESOURCE_EXHAUSTED"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := collectortest.HTTP(t, "")
			if tt.protocol == GRPC {
				c = collectortest.GRPC(t)
			}
			c.Answer(func(collectortest.Request) collectortest.Answer { return tt.answer })
			b := newBench()
			b.Use(settings(t, config(c.URL, tt.protocol), ways(nil)))
			b.run(t)
			b.Observe(record())
			waitFor(t, "a refusal", func() bool { return b.spans("refused") == 3 })
			b.Observe(record())
			waitFor(t, "another refusal", func() bool { return b.spans("refused") == 6 })
			if n := strings.Count(b.logged(), "level=WARN"); n != 1 || !strings.Contains(b.logged(), tt.says) {
				t.Errorf("%d lines: %s", n, b.logged())
			}
			if text, since := b.Trouble("traces"); !strings.Contains(text, tt.says) || since.IsZero() {
				t.Errorf("trouble %q", text)
			}
			c.Answer(nil)
			b.Observe(record())
			waitFor(t, "the recovery", func() bool { return b.spans("sent") == 3 })
			if text, _ := b.Trouble("traces"); text != "" || !strings.Contains(b.logged(), "telemetry is taken again") {
				t.Errorf("trouble %q, log %s", text, b.logged())
			}
		})
	}
}

func TestWhatTheCollectorMayTakeLaterIsOfferedAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		protocol string
		answer   collectortest.Answer
	}{
		{HTTP, collectortest.Answer{Status: 429, Header: http.Header{"Retry-After": {"1"}}}}, {HTTP, collectortest.Answer{Status: 503}},
		{GRPC, collectortest.Answer{Code: codes.Unavailable}},
		{GRPC, collectortest.Answer{Code: codes.ResourceExhausted, RetryAfter: time.Second}},
	} {
		t.Run(fmt.Sprint(tt.protocol, tt.answer.Status, tt.answer.Code), func(t *testing.T) {
			t.Parallel()
			c := collectortest.HTTP(t, "")
			if tt.protocol == GRPC {
				c = collectortest.GRPC(t)
			}
			tries := 0
			c.Answer(func(collectortest.Request) collectortest.Answer {
				if tries++; tries < 3 {
					return tt.answer
				}
				return collectortest.Answer{Reject: 1}
			})
			b := newBench()
			b.Use(settings(t, config(c.URL, tt.protocol), ways(nil)))
			b.run(t)
			b.Observe(record())
			c.Wait(t, "spans", func() bool { return len(c.Spans()) == 3 })
			waitFor(t, "the counts", func() bool { return b.spans("sent") == 2 && b.spans("refused") == 1 })
		})
	}
}

// A reload must not wait for an interval of an hour, nor for the pause after a failure.
func TestNewSettingsAreFelt(t *testing.T) {
	t.Parallel()
	one, two := collectortest.HTTP(t, ""), collectortest.HTTP(t, "")
	one.Answer(func(collectortest.Request) collectortest.Answer {
		return collectortest.Answer{Status: 503, Header: http.Header{"Retry-After": {"3600"}}}
	})
	rare := config(one.URL, HTTP)
	rare.Metrics.Sink, rare.Metrics.Every = rare.Traces.Sink, time.Hour
	b := newBench()
	b.Use(settings(t, rare, ways(nil)))
	b.run(t)
	b.Observe(record())
	waitFor(t, "a try that failed", func() bool { text, _ := b.Trouble("traces"); return text != "" })
	often := config(two.URL, HTTP)
	often.Metrics.Sink, often.Metrics.Every = often.Traces.Sink, time.Second
	b.Use(settings(t, often, ways(nil)))
	two.Wait(t, "spans", func() bool { return len(two.Spans()) == 3 })
	two.Wait(t, "metrics", func() bool { return len(two.Requests()) > 1 })
}

func TestAHangingCollectorCostsABoundedQueueAndNothingElse(t *testing.T) {
	t.Parallel()
	c := collectortest.HTTP(t, "")
	c.Answer(func(collectortest.Request) collectortest.Answer { return collectortest.Answer{Hang: true} })
	cfg := config(c.URL, HTTP)
	cfg.Queue = 256 << 10
	b := newBench()
	b.Use(settings(t, cfg, ways(nil)))
	stop := b.run(t)
	rec := record()
	var longest time.Duration
	const exchanges = 5000
	for range exchanges {
		began := time.Now()
		b.Observe(rec)
		longest = max(longest, time.Since(began))
		if b.queue.size() > cfg.Queue+4096 {
			t.Fatalf("%d bytes wait", b.queue.size())
		}
	}
	if longest > time.Second {
		t.Errorf("an exchange waited for %v", longest)
	}
	began := time.Now()
	stop()
	if took := time.Since(began); took > flushTime+2*time.Second {
		t.Errorf("the end took %v", took)
	}
	if lost := b.spans("dropped") + b.spans("refused") + b.spans("sent"); lost != 3*exchanges || b.spans("sent") != 0 {
		t.Errorf("%v of %d spans are accounted for", lost, 3*exchanges)
	}
}

func TestTheNewestAreKept(t *testing.T) {
	t.Parallel()
	c := collectortest.HTTP(t, "")
	cfg := config(c.URL, HTTP)
	cfg.Queue = 64 << 10
	b := newBench()
	b.Use(settings(t, cfg, ways(nil)))
	for i := range 1000 { // nobody sends yet
		rec := record()
		rec.ID = "ex_" + string(rune('a'+i/100))
		b.Observe(rec)
	}
	b.run(t)
	waitFor(t, "what was kept", func() bool { return b.queue.size() == 0 && b.spans("sent")+b.spans("dropped") == 3000 })
	spans := c.Spans()
	if len(spans) < 60 || len(spans) > 600 {
		t.Fatalf("%d spans were kept", len(spans))
	}
	for _, s := range spans {
		if id := attrs(s)["penstock.exchange.id"]; id != nil && id != "ex_j" {
			t.Errorf("%v was kept", id)
		}
	}
}

func TestWhatIsLeftIsSentAtTheEnd(t *testing.T) {
	t.Parallel()
	c := collectortest.HTTP(t, "")
	cfg := config("", HTTP)
	cfg.Sink = Sink{Endpoint: c.URL, Timeout: 10 * time.Second}
	b := newBench()
	b.Use(settings(t, cfg, ways(nil)))
	stop := b.run(t)
	b.Observe(record())
	stop()
	if len(c.Spans()) != 3 || c.Metrics()["gen_ai.client.operation.duration"] == nil {
		t.Errorf("%d spans, metrics %v", len(c.Spans()), c.Metrics())
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	one, two := collectortest.HTTP(t, ""), collectortest.HTTP(t, "")
	b := newBench()
	b.Observe(record()) // nothing is on
	b.run(t)
	b.Use(settings(t, config(one.URL, HTTP), ways(nil)))
	b.Observe(record())
	one.Wait(t, "spans", func() bool { return len(one.Spans()) == 3 })
	one.Answer(func(collectortest.Request) collectortest.Answer { return collectortest.Answer{Status: 503} })
	b.Observe(record())
	waitFor(t, "trouble", func() bool { text, _ := b.Trouble("traces"); return text != "" })
	b.Use(settings(t, config(two.URL, HTTP), ways(nil)))
	two.Wait(t, "what had waited", func() bool { return len(two.Spans()) == 3 })
	b.Use(nil)
	b.Observe(record())
	if text, _ := b.Trouble("traces"); text != "" || b.queue.size() != 0 {
		t.Errorf("off, and %q; %d bytes wait", text, b.queue.size())
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	for _, ref := range []string{"env:WRONG", "env:INJECT", "env:NONE"} {
		cfg := config("http://127.0.0.1:1", HTTP)
		cfg.Traces.Headers = ref
		if _, err := NewSettings(cfg, ways(nil), nil); err == nil || !strings.Contains(err.Error(), "telemetry: headers: ") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
