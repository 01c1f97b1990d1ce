package telemetry

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// Config is the section telemetry of the file.
type Config struct {
	Sink `yaml:",inline"`
	// Service and Attributes say whose the telemetry is, on every request.
	Service    string   `yaml:"service" default:"penstock" doc:"service.name; or OTEL_SERVICE_NAME"`
	Attributes []string `yaml:"attributes" doc:"more of the resource, as [deployment.environment.name=prod]; or OTEL_RESOURCE_ATTRIBUTES"`
	Queue      int64    `yaml:"queue" kind:"bytes" default:"16MB" doc:"spans that wait for the collector; what does not fit is dropped, the oldest first, and counted"`
	Traces     Traces   `yaml:"traces" doc:"a span for each exchange and for each try"`
	Metrics    Metrics  `yaml:"metrics" doc:"metrics with GenAI names, and all that /metrics has"`
}

// A Sink is where one signal goes, or both.
type Sink struct {
	Endpoint    string        `yaml:"endpoint" kind:"url" doc:"the collector: for http https://HOST:4318 or with a path (/v1/traces and /v1/metrics follow), for grpc https://HOST:4317; or OTEL_EXPORTER_OTLP_ENDPOINT; without, nothing is sent"`
	Protocol    string        `yaml:"protocol" enum:"http,grpc" doc:"how OTLP is spoken: protobuf over http, the default, or grpc"`
	Headers     string        `yaml:"headers" kind:"reference" doc:"headers of each request, as env:NAME or file:PATH of a text KEY=VALUE, more of them behind commas or on lines of their own; read for each request"`
	Compression string        `yaml:"compression" enum:"none,gzip" doc:"of requests; by default none"`
	Timeout     time.Duration `yaml:"timeout" default:"10s" doc:"for one request"`
}

// Traces is what becomes of spans. A sink that names its own endpoint takes nothing from the section around it.
type Traces struct {
	Sink   `yaml:",inline"`
	Sample string `yaml:"sample" kind:"share" default:"100%" doc:"how many of the traces that begin here are recorded; of those that callers began, they decide"`
	// Propagate is which providers are told the trace.
	Propagate string `yaml:"propagate" enum:"none,private,all" default:"private" doc:"which providers are sent traceparent and tracestate: those with private: true, all or none"`
}

// Metrics is what becomes of metrics.
type Metrics struct {
	Sink  `yaml:",inline"`
	Every time.Duration `yaml:"every" default:"60s" doc:"how often they are sent"`
}

// Choices of Sink.Protocol, Sink.Compression and Traces.Propagate.
const (
	HTTP = "http"
	GRPC = "grpc"

	gzipped = "gzip"

	PropagateAll     = "all"
	PropagatePrivate = "private"
)

const (
	minEvery = time.Second
	minQueue = 64 << 10
)

// On reports whether anything is sent.
func (c Config) On() bool { return c.traces().Endpoint != "" || c.metrics().Endpoint != "" }

// TracesOn reports whether spans are sent.
func (c Config) TracesOn() bool { return c.traces().Endpoint != "" }

// traces is the sink of spans, with what holds where the file says nothing.
func (c Config) traces() Sink { return c.Traces.Sink.or(c.Sink) }

// metrics is the sink of metrics, likewise.
func (c Config) metrics() Sink { return c.Metrics.Sink.or(c.Sink) }

// or is the sink, or the common one if it names no endpoint: headers are for the endpoint that they stand beside.
func (s Sink) or(common Sink) Sink {
	if s.Endpoint == "" {
		s = common
	}
	if s.Protocol == "" {
		s.Protocol = HTTP
	}
	return s
}

// Propagates reports whether a provider is told the trace.
func (c Config) Propagates(private bool) bool {
	return c.Traces.Propagate == PropagateAll || c.Traces.Propagate == PropagatePrivate && private
}

// Validate reports all problems of the section.
func (c Config) Validate() (problems []fault.Problem) {
	add := func(path, text, hint string) {
		problems = append(problems, fault.Problem{Path: "telemetry." + path, Text: text, Hint: hint})
	}
	c.Sink.validate("", add)
	c.Traces.Sink.validate("traces.", add)
	c.Metrics.Sink.validate("metrics.", add)
	if c.Metrics.Every < minEvery {
		add("metrics.every", c.Metrics.Every.String()+" is too often", "write 1s or more")
	}
	if c.Queue < minQueue {
		add("queue", "is too small", "write 64KB or more")
	}
	if _, err := ParseShare(c.Traces.Sample); err != nil {
		add("traces.sample", err.Error(), "write 100%, 5% or 0.05")
	}
	for i, pair := range c.Attributes {
		if key, _, found := strings.Cut(pair, "="); !found || strings.TrimSpace(key) == "" {
			add(fmt.Sprintf("attributes[%d]", i), "is not KEY=VALUE", "write deployment.environment.name=prod")
		}
	}
	return problems
}

func (s Sink) validate(at string, add func(path, text, hint string)) {
	if s.Endpoint == "" {
		for _, one := range []struct {
			key string
			set bool
		}{{"headers", s.Headers != ""}, {"protocol", s.Protocol != ""}, {"compression", s.Compression != ""}} {
			if one.set {
				add(at+one.key, "is of no use without an endpoint beside it", "add "+at+"endpoint, or remove it")
			}
		}
		return
	}
	u, err := url.Parse(s.Endpoint)
	if err != nil || u.Host == "" {
		return // reported when it was read
	}
	if s.Protocol == GRPC && strings.Trim(u.Path, "/") != "" {
		add(at+"endpoint", "has a path, and grpc has none", "write https://HOST:PORT, or protocol: http")
	}
}

// ParseShare reads how many of all are meant: "5%" or "0.05", from none to all.
func ParseShare(text string) (float64, error) {
	digits, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) {
		return 0, fmt.Errorf("%q is not a share from 0%% to 100%%", text)
	}
	return share, nil
}
