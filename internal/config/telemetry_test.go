package config

import (
	"strings"
	"testing"
	"time"
)

func TestTheStandardVariablesOfOpenTelemetry(t *testing.T) {
	t.Parallel()
	f := load(t, Options{Env: env(
		"OTEL_SERVICE_NAME=llm", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=prod,team=a",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://traces.example.com/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/protobuf",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS=Authorization=Basic%20abc", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT=2500",
		"OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
	)})
	c := f.Telemetry
	if c.Service != "llm" || len(c.Attributes) != 2 || c.Endpoint != "http://collector:4317" || c.Protocol != "grpc" || c.Compression != "gzip" || c.Headers != "" {
		t.Errorf("got %+v", c)
	}
	if s := c.Traces; s.Endpoint != "https://traces.example.com/v1/traces" || s.Protocol != "http" || s.Headers != "env:OTEL_EXPORTER_OTLP_TRACES_HEADERS" ||
		s.Timeout != 2500*time.Millisecond {
		t.Errorf("got %+v", s)
	}
	if shown := string(Show(f)); strings.Contains(shown, "Basic") || !strings.Contains(shown, "endpoint: http://collector:4317  # OTEL_EXPORTER_OTLP_ENDPOINT") {
		t.Errorf("shown: %s", shown)
	}
}

func TestTheFileWinsOverTheStandardVariables(t *testing.T) {
	t.Parallel()
	environment := env("OTEL_EXPORTER_OTLP_ENDPOINT=http://other:4318", "OTEL_EXPORTER_OTLP_HEADERS=a=b", "OTEL_SERVICE_NAME=other")
	f := load(t, Options{Env: environment, File: write(t, "telemetry: { service: mine, traces: { endpoint: http://mine:4318 } }\n")})
	if c := f.Telemetry; c.Endpoint != "" || c.Headers != "" || c.Traces.Headers != "" || c.Traces.Endpoint != "http://mine:4318" || c.Service != "mine" {
		t.Errorf("got %+v", c)
	}
	if f := load(t, Options{Env: env("OTEL_EXPORTER_OTLP_ENDPOINT=http://other:4318", "OTEL_SDK_DISABLED=true")}); f.Telemetry.On() {
		t.Errorf("got %+v", f.Telemetry)
	}
	if f := load(t, Options{Env: env("OTEL_EXPORTER_OTLP_HEADERS=a=b", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")}); f.Telemetry.On() {
		t.Errorf("got %+v", f.Telemetry)
	}
}

func TestWrongStandardVariables(t *testing.T) {
	t.Parallel()
	got := problems(t, Options{Env: env(
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://me:hunter2hunter2@collector", "OTEL_EXPORTER_OTLP_PROTOCOL=http/json",
		"OTEL_EXPORTER_OTLP_TIMEOUT=10s",
	)})
	for _, want := range []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT: a literal secret", `OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" is not in this version`,
		`OTEL_EXPORTER_OTLP_TIMEOUT: "10s" is not a number of milliseconds`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got %s, want %s in it", got, want)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Errorf("a secret is repeated: %s", got)
	}
}
