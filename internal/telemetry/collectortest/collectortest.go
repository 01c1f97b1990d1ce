// Package collectortest is an OpenTelemetry collector for tests. It takes traces and metrics by OTLP over HTTP and, with
// the real gRPC server, over gRPC, reads them with the protocol's own generated types, and answers what a test wants. It is not for anything but tests.
package collectortest

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metricrpc "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracerpc "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metric "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // as collectors have it
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// A Collector keeps what it was sent.
type Collector struct {
	URL string

	mu       sync.Mutex // guards the fields below
	requests []Request
	answer   func(r Request) Answer
	changed  chan struct{}
}

// A Request is one export. One of Traces and Metrics is set.
type Request struct {
	Path    string
	Header  http.Header // of gRPC: its metadata
	Traces  *tracerpc.ExportTraceServiceRequest
	Metrics *metricrpc.ExportMetricsServiceRequest
}

// An Answer is what becomes of a request. The zero value is: taken.
type Answer struct {
	Status int        // of HTTP, 0 is 200
	Code   codes.Code // of gRPC
	Hang   bool       // no answer at all, until the caller leaves
	Reject int64      // of what is taken, so many items are not
	Header http.Header
	// RetryAfter is, of gRPC, when the caller may come again, in the status's details.
	RetryAfter time.Duration
}

// New makes a collector that is not reached yet; see Handler.
func New() *Collector { return &Collector{changed: make(chan struct{})} }

// HTTP starts a collector that speaks OTLP/HTTP under the path, which may be "".
func HTTP(t testing.TB, path string) *Collector {
	t.Helper()
	c := New()
	s := httptest.NewServer(c.Handler(path))
	t.Cleanup(s.Close)
	c.URL = s.URL + path
	return c
}

// TLS is HTTP with a certificate that the returned authority, in PEM, vouches for.
func TLS(t testing.TB, path string) (*Collector, *httptest.Server) {
	t.Helper()
	c := New()
	s := httptest.NewUnstartedServer(c.Handler(path))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	c.URL = s.URL + path
	return c, s
}

// Handler speaks OTLP/HTTP under the path.
func (c *Collector) Handler(path string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+path+"/v1/traces", func(w http.ResponseWriter, r *http.Request) {
		m := &tracerpc.ExportTraceServiceRequest{}
		c.serve(w, r, m, Request{Traces: m}, func(n int64) proto.Message {
			return &tracerpc.ExportTraceServiceResponse{PartialSuccess: &tracerpc.ExportTracePartialSuccess{RejectedSpans: n}}
		})
	})
	mux.HandleFunc("POST "+path+"/v1/metrics", func(w http.ResponseWriter, r *http.Request) {
		m := &metricrpc.ExportMetricsServiceRequest{}
		c.serve(w, r, m, Request{Metrics: m}, func(n int64) proto.Message {
			return &metricrpc.ExportMetricsServiceResponse{PartialSuccess: &metricrpc.ExportMetricsPartialSuccess{RejectedDataPoints: n}}
		})
	})
	return mux
}

func (c *Collector) serve(w http.ResponseWriter, r *http.Request, m proto.Message, req Request, reject func(int64) proto.Message) {
	body, err := io.ReadAll(r.Body)
	if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
		body, err = unzip(body)
	}
	if err == nil {
		err = proto.Unmarshal(body, m)
	}
	if err == nil && r.Header.Get("Content-Type") != "application/x-protobuf" {
		err = fmt.Errorf("content type %q", r.Header.Get("Content-Type"))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req.Path, req.Header = r.URL.Path, r.Header
	a := c.take(req)
	if a.Hang {
		<-r.Context().Done()
		return
	}
	maps.Copy(w.Header(), a.Header)
	if a.Status != 0 {
		w.WriteHeader(a.Status)
		return
	}
	out, err := proto.Marshal(reject(a.Reject))
	if err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(out)
}

func unzip(body []byte) ([]byte, error) {
	z, err := gzip.NewReader(strings.NewReader(string(body)))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

// GRPC starts a collector that speaks OTLP/gRPC, without TLS if there are no options.
func GRPC(t testing.TB, options ...grpc.ServerOption) *Collector {
	t.Helper()
	c := New()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	tracerpc.RegisterTraceServiceServer(s, traceServer{c: c})
	metricrpc.RegisterMetricsServiceServer(s, metricServer{c: c})
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	c.URL = "http://" + l.Addr().String()
	if len(options) > 0 {
		c.URL = "https://" + l.Addr().String()
	}
	return c
}

type traceServer struct {
	tracerpc.UnimplementedTraceServiceServer
	c *Collector
}

func (s traceServer) Export(ctx context.Context, m *tracerpc.ExportTraceServiceRequest) (*tracerpc.ExportTraceServiceResponse, error) {
	n, err := s.c.call(ctx, Request{Path: tracerpc.TraceService_Export_FullMethodName, Traces: m})
	return &tracerpc.ExportTraceServiceResponse{PartialSuccess: &tracerpc.ExportTracePartialSuccess{RejectedSpans: n}}, err
}

type metricServer struct {
	metricrpc.UnimplementedMetricsServiceServer
	c *Collector
}

func (s metricServer) Export(ctx context.Context, m *metricrpc.ExportMetricsServiceRequest) (*metricrpc.ExportMetricsServiceResponse, error) {
	_, err := s.c.call(ctx, Request{Path: metricrpc.MetricsService_Export_FullMethodName, Metrics: m})
	return &metricrpc.ExportMetricsServiceResponse{}, err
}

func (c *Collector) call(ctx context.Context, r Request) (rejected int64, err error) {
	r.Header = http.Header{}
	md, _ := metadata.FromIncomingContext(ctx)
	for k, v := range md {
		r.Header[http.CanonicalHeaderKey(k)] = v
	}
	a := c.take(r)
	if a.Hang {
		<-ctx.Done()
		return 0, status.FromContextError(ctx.Err()).Err()
	}
	if a.Code != codes.OK {
		s := status.New(a.Code, "not now")
		if a.RetryAfter > 0 {
			if s, err = s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(a.RetryAfter)}); err != nil {
				return 0, err
			}
		}
		return 0, s.Err()
	}
	return a.Reject, nil
}

// take keeps a request, if it is taken, and says what is answered.
func (c *Collector) take(r Request) Answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var a Answer
	if c.answer != nil {
		a = c.answer(r)
	}
	if a.Status/100 <= 2 && a.Code == codes.OK && !a.Hang {
		c.requests = append(c.requests, r)
		close(c.changed)
		c.changed = make(chan struct{})
	}
	return a
}

// Answer says what is answered from now on; nil is: all is taken. It is asked by one request at a time.
func (c *Collector) Answer(f func(r Request) Answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = f
}

// Requests are those that were taken.
func (c *Collector) Requests() []Request {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.requests)
}

// Spans are all that were taken, in the order of their starts.
func (c *Collector) Spans() []*trace.Span {
	var all []*trace.Span
	for _, r := range c.Requests() {
		for _, rs := range r.Traces.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				all = append(all, ss.GetSpans()...)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b *trace.Span) int { return int(int64(a.StartTimeUnixNano) - int64(b.StartTimeUnixNano)) })
	return all
}

// Metrics are those of the last request that had any, by name.
func (c *Collector) Metrics() map[string]*metric.Metric {
	all := map[string]*metric.Metric{}
	for _, r := range c.Requests() {
		for _, rm := range r.Metrics.GetResourceMetrics() {
			for _, sm := range rm.GetScopeMetrics() {
				for _, m := range sm.GetMetrics() {
					all[m.GetName()] = m
				}
			}
		}
	}
	return all
}

// Wait waits until something holds, looking again whenever a request was taken. It gives up after ten seconds.
func (c *Collector) Wait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if holds() {
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			t.Fatalf("waited for %s", what)
		}
	}
}

// Attrs are attributes as Go values.
func Attrs(list []*common.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range list {
		m[kv.GetKey()] = value(kv.GetValue())
	}
	return m
}

func value(v *common.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *common.AnyValue_StringValue:
		return v.StringValue
	case *common.AnyValue_BoolValue:
		return v.BoolValue
	case *common.AnyValue_IntValue:
		return v.IntValue
	case *common.AnyValue_DoubleValue:
		return v.DoubleValue
	case *common.AnyValue_ArrayValue:
		var list []any
		for _, one := range v.ArrayValue.GetValues() {
			list = append(list, value(one))
		}
		return list
	}
	return nil
}
