package config

import (
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/internal/telemetry"
)

// standardTelemetry takes over the variables by which OpenTelemetry's own programs are told where to send, as
// https://opentelemetry.io/docs/specs/otel/protocol/exporter/ has them. The file wins: one endpoint in it, and none of
// those that say where and how counts.
func (d *decoder) standardTelemetry(f *File) {
	t := &f.Telemetry
	d.standard(f, "telemetry.service", &t.Service, "OTEL_SERVICE_NAME")
	if text := f.variable("OTEL_RESOURCE_ATTRIBUTES"); text != "" && t.Attributes == nil {
		t.Attributes = strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
		f.origins["telemetry.attributes"] = "OTEL_RESOURCE_ATTRIBUTES"
	}
	if t.Endpoint != "" || t.Traces.Endpoint != "" || t.Metrics.Endpoint != "" || f.variable("OTEL_SDK_DISABLED") == "true" {
		return
	}
	d.standardSink(f, "telemetry", &t.Sink, "OTEL_EXPORTER_OTLP_")
	d.standardSink(f, "telemetry.traces", &t.Traces.Sink, "OTEL_EXPORTER_OTLP_TRACES_")
	d.standardSink(f, "telemetry.metrics", &t.Metrics.Sink, "OTEL_EXPORTER_OTLP_METRICS_")
}

// standardSink fills a sink whose endpoint a variable names, from the variables with the same beginning.
func (d *decoder) standardSink(f *File, path string, s *telemetry.Sink, prefix string) {
	if f.variable(prefix+"ENDPOINT") == "" {
		return
	}
	d.standard(f, path+".endpoint", &s.Endpoint, prefix+"ENDPOINT")
	d.standard(f, path+".compression", &s.Compression, prefix+"COMPRESSION")
	switch name := prefix + "PROTOCOL"; f.variable(name) {
	case "":
	case "http/protobuf", telemetry.HTTP:
		s.Protocol, f.origins[path+".protocol"] = telemetry.HTTP, name
	case telemetry.GRPC:
		s.Protocol, f.origins[path+".protocol"] = telemetry.GRPC, name
	default:
		d.add(0, 0, name, quote(f.variable(name))+" is not in this version", "set it to grpc or http/protobuf")
	}
	if name := prefix + "HEADERS"; f.variable(name) != "" {
		s.Headers, f.origins[path+".headers"] = "env:"+name, name
	}
	if name := prefix + "TIMEOUT"; f.variable(name) != "" {
		ms, err := strconv.ParseInt(f.variable(name), 10, 32)
		if err != nil || ms <= 0 {
			d.add(0, 0, name, quote(f.variable(name))+" is not a number of milliseconds", "set it to 10000")
		}
		s.Timeout, f.origins[path+".timeout"] = time.Duration(max(ms, 0))*time.Millisecond, name
	}
}

// standard takes a setting from a variable, unless the file has it.
func (d *decoder) standard(f *File, path string, field *string, name string) {
	text := f.variable(name)
	if _, inFile := d.places[path]; inFile || text == "" {
		return
	}
	s := settingAt(path)
	if problem, hint := s.set(reflect.ValueOf(field).Elem(), path, text, ast.StringType); problem != "" {
		d.add(0, 0, name, problem, hint)
	}
	f.origins[path] = name
}

// variable is a variable's value; an empty one counts as none.
func (f *File) variable(name string) string {
	text, _ := f.env(name)
	return text
}

func (d *decoder) checkTelemetry(f *File) {
	d.adopt(f.Telemetry.Validate())
	if f.Usage.Off() && f.Telemetry.On() {
		d.reportSet(f, "telemetry", "is made from records, and there are none", "remove records: off, or the endpoint")
	}
}

func checkShare(text, _ string) (problem, hint string) {
	if _, err := telemetry.ParseShare(text); err != nil {
		return quote(text) + " is not a share of all", "write 100%, 5% or 0.05"
	}
	return "", ""
}
