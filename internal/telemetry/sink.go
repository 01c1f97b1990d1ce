package telemetry

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/secret"
	"github.com/penstock/penstock/internal/wire/otlp"
)

// A signal is one kind of telemetry: what the protocols call it.
type signal struct {
	name, path, rpc string
}

var (
	traces = signal{"traces", "/v1/traces", "/opentelemetry.proto.collector.trace.v1.TraceService/Export"}
	meters = signal{"metrics", "/v1/metrics", "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"}
)

// Ways are the ways out of the house.
type Ways struct {
	// Resolve reads what a reference stands for.
	Resolve func(ref string) (secret.String, error)
	// RoundTripper makes a way out. Plain HTTP/2, without TLS, is for gRPC to an http:// endpoint; no proxy speaks it.
	RoundTripper func(plainHTTP2 bool) http.RoundTripper
}

// A sink sends the requests of one signal to one collector. It is immutable and safe for concurrent use.
type sink struct {
	cfg    Sink
	signal signal
	to     *url.URL
	ways   Ways
	client *http.Client
}

// newSink makes the sink of a signal, nil if it goes nowhere. Headers are read now, so that a mistake is found at the
// start or the reload, and again for each request. Redirects are never followed: headers may be secrets.
func newSink(cfg Sink, s signal, ways Ways) (*sink, error) {
	if cfg.Endpoint == "" {
		return nil, nil
	}
	to, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, errors.New("telemetry: the endpoint is not a URL")
	}
	if cfg.Protocol == GRPC {
		to.Path = s.rpc
	} else if !strings.HasSuffix(to.Path, s.path) {
		to.Path = strings.TrimSuffix(to.Path, "/") + s.path
	}
	k := &sink{cfg: cfg, signal: s, to: to, ways: ways, client: &http.Client{
		Transport:     ways.RoundTripper(cfg.Protocol == GRPC && to.Scheme == "http"),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	if _, _, err := k.headers(); err != nil {
		return nil, err
	}
	return k, nil
}

func (k *sink) close() {
	if k != nil {
		k.client.CloseIdleConnections()
	}
}

// A failure is a request that the collector did not take.
type failure struct {
	text  string
	retry bool          // the same may be taken later
	after time.Duration // how long to wait, 0 if the collector did not say
}

func (f *failure) Error() string { return f.text }

// headers reads the headers that the operator wants on each request. secrets are their values, for redaction.
func (k *sink) headers() (h http.Header, secrets []secret.String, err error) {
	h = http.Header{}
	if k.cfg.Headers == "" {
		return h, nil, nil
	}
	text, err := k.ways.Resolve(k.cfg.Headers)
	if err != nil {
		return nil, nil, fmt.Errorf("telemetry: headers: %w", err)
	}
	for _, pair := range strings.FieldsFunc(text.Reveal(), func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		key, value, found := strings.Cut(pair, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if plain, err := url.PathUnescape(value); err == nil { // as the variables of OpenTelemetry have it
			value = plain
		}
		if !found || !isToken(key) || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return nil, nil, errors.New("telemetry: headers: not of the form KEY=VALUE,KEY=VALUE")
		}
		h.Set(key, value)
		secrets = append(secrets, secret.New(value))
	}
	return h, secrets, nil
}

func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(marks, r)
	})
}

// send makes one attempt. rejected is how many items the collector did not take of a request that it did take.
func (k *sink) send(ctx context.Context, body []byte) (rejected int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, k.cfg.Timeout)
	defer cancel()
	header, secrets, err := k.headers()
	if err != nil {
		return 0, &failure{text: err.Error(), retry: true} // the file may be on its way
	}
	if k.cfg.Compression == gzipped {
		body = compress(body)
	}
	rejected, err = k.attempt(ctx, header, body)
	var f *failure
	switch {
	case err == nil:
		return rejected, nil
	case !errors.As(err, &f):
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		f = &failure{text: err.Error(), retry: true}
		if errors.Is(err, context.DeadlineExceeded) {
			f.text = "no answer within " + k.cfg.Timeout.String()
		}
	}
	for _, s := range secrets {
		f.text = s.Redact(f.text)
	}
	return 0, f
}

func (k *sink) attempt(ctx context.Context, header http.Header, body []byte) (int64, error) {
	if k.cfg.Protocol == GRPC {
		return k.callGRPC(ctx, header, body)
	}
	return k.post(ctx, header, body)
}

func (k *sink) request(ctx context.Context, header http.Header, body []byte) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, k.to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("User-Agent", "penstock")
	return req, nil
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 10

// post sends a request by OTLP/HTTP.
func (k *sink) post(ctx context.Context, header http.Header, body []byte) (int64, error) {
	req, err := k.request(ctx, header, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if k.cfg.Compression == gzipped {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch code := resp.StatusCode; {
	case code/100 == 2 && err == nil:
		a, _ := otlp.ParseAnswer(answer) // one that answers something else has taken it all the same
		return a.Rejected, nil
	case code/100 == 2:
		return 0, nil
	case code/100 == 3:
		return 0, &failure{text: fmt.Sprintf("the collector answered %d, and redirects are not followed", code)}
	default:
		return 0, &failure{
			text:  fmt.Sprintf("the collector answered %d", code),
			retry: code == http.StatusTooManyRequests || code == http.StatusBadGateway || code == http.StatusServiceUnavailable || code == http.StatusGatewayTimeout,
			after: retryAfter(resp.Header.Get("Retry-After")),
		}
	}
}

// retryAfter reads a number of seconds; a date is not read.
func retryAfter(text string) time.Duration {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, lastRetry)
}

// The status codes of gRPC after which the same request may be taken later, as OTLP has it. RESOURCE_EXHAUSTED is another
// if the collector says when; else the request is too large for it, and stays so.
var retried = map[string]bool{"1": true, "4": true, "10": true, "11": true, "14": true, "15": true}

const exhausted = "8"

var grpcNames = map[string]string{
	"1": "CANCELLED", "2": "UNKNOWN", "3": "INVALID_ARGUMENT", "4": "DEADLINE_EXCEEDED", "5": "NOT_FOUND", "7": "PERMISSION_DENIED",
	"8": "RESOURCE_EXHAUSTED", "9": "FAILED_PRECONDITION", "10": "ABORTED", "11": "OUT_OF_RANGE", "12": "UNIMPLEMENTED",
	"13": "INTERNAL", "14": "UNAVAILABLE", "15": "DATA_LOSS", "16": "UNAUTHENTICATED",
}

// callGRPC makes one unary call: gRPC is a POST over HTTP/2 with a frame of five bytes before each message, and the
// outcome in the trailers. A library for the rest of gRPC would be a tenth of the program.
func (k *sink) callGRPC(ctx context.Context, header http.Header, body []byte) (int64, error) {
	framed := make([]byte, 5, 5+len(body))
	if k.cfg.Compression == gzipped {
		framed[0] = 1
		header.Set("Grpc-Encoding", "gzip")
	}
	binary.BigEndian.PutUint32(framed[1:], uint32(len(body)))
	req, err := k.request(ctx, header, append(framed, body...))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	req.Header.Set("Grpc-Timeout", strconv.FormatInt(k.cfg.Timeout.Milliseconds(), 10)+"m")
	resp, err := k.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		return 0, &failure{
			text:  fmt.Sprintf("the collector answered HTTP %d, not gRPC", resp.StatusCode),
			retry: resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusBadGateway,
		}
	}
	end := resp.Trailer
	if end.Get("Grpc-Status") == "" {
		end = resp.Header // an answer without a message has all of its end there
	}
	status := end.Get("Grpc-Status")
	switch {
	case status == "0":
		if len(answer) < 5 || answer[0] != 0 {
			return 0, nil
		}
		a, _ := otlp.ParseAnswer(answer[5:])
		return a.Rejected, nil
	case status != "":
		later := retried[status] || status == exhausted && end.Get("Grpc-Status-Details-Bin") != ""
		return 0, &failure{text: "the collector answered " + grpcName(status), retry: later}
	case err != nil:
		return 0, err
	}
	return 0, &failure{text: "the collector's answer is not gRPC"}
}

func grpcName(status string) string {
	if name := grpcNames[status]; name != "" {
		return name
	}
	if n, err := strconv.Atoi(status); err == nil {
		return "gRPC status " + strconv.Itoa(n)
	}
	return "an unknown gRPC status"
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // fails for other levels
	_, _ = z.Write(body)                            // a buffer takes everything
	_ = z.Close()
	return b.Bytes()
}
