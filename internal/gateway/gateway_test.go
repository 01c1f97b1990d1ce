package gateway

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/provider"
	"github.com/penstock/penstock/internal/route"
	"github.com/penstock/penstock/internal/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The keys that the fake knows.
const (
	good   = "psk_good-key-of-a-caller"
	other  = "psk_good-key-of-another"
	viewer = "psk_key-of-a-viewer-only"
)

type fakeKeys map[string]*auth.Grant

func (k fakeKeys) Check(presented string) (*auth.Grant, error) {
	if g := k[presented]; g != nil {
		return g, nil
	}
	return nil, fault.New(fault.InvalidAPIKey, "No such key.")
}

func grant(id string, role auth.Role, globs ...string) *auth.Grant {
	return &auth.Grant{
		Caller: &pipeline.Caller{Org: "default", Project: "prj_" + id, Key: "key_" + id, ProjectName: "project " + id},
		Key:    &auth.Key{ID: "key_" + id, Prefix: "psk_" + id, Role: role, Models: globs},
	}
}

// fakeRecords holds records by project and id.
type fakeRecords map[[2]string]*usage.Record

func (f fakeRecords) Record(_ context.Context, project, id string) (*usage.Record, error) {
	if r := f[[2]string{project, id}]; r != nil {
		return r, nil
	}
	return nil, fault.New(fault.RecordNotFound, "No exchange with this id.")
}

// nobody stands for providers that are never called: the pipeline is a fake.
type nobody struct{}

func (nobody) Do(context.Context, provider.Via, llm.Target, *llm.Request) (*llm.Response, error) {
	return nil, errors.New("there is no provider in this test")
}

// A world is a gateway on a real socket, before a handler that the test gives it.
type world struct {
	*Gateway
	tb   testing.TB
	addr string
	log  *lockedBuffer
	last chan *pipeline.Exchange // what the handler was given last
}

// setup serves a gateway with the models "m" and "provider/m" until the test ends.
func setup(tb testing.TB, h pipeline.Handler, change ...func(*Limits)) *world {
	tb.Helper()
	w := unheard(tb, h, change...)
	srv := httptest.NewServer(w.Gateway)
	tb.Cleanup(srv.Close)
	w.addr = srv.Listener.Addr().String()
	return w
}

// unheard is a gateway without a socket.
func unheard(tb testing.TB, h pipeline.Handler, change ...func(*Limits)) *world {
	tb.Helper()
	w := &world{tb: tb, log: &lockedBuffer{}, last: make(chan *pipeline.Exchange, 1)}
	w.Gateway = New(Options{
		Keys: fakeKeys{
			good: grant("good", auth.RoleCaller), other: grant("other", auth.RoleCaller, "other*"),
			viewer: grant("viewer", auth.RoleViewer),
		},
		Records: fakeRecords{{"prj_good", "ex_1"}: {ID: "ex_1", Error: &usage.Error{Code: "c", Detail: "operators only"}}},
		Sync:    func(context.Context) error { return nil },
		Ready:   func() error { return nil },
		Log:     slog.New(slog.NewTextHandler(w.log, nil)),
		Metrics: prometheus.NewRegistry(), Version: "test",
	})
	limits := DefaultLimits()
	for _, c := range change {
		c(&limits)
	}
	table := route.NewTable(route.Config{
		"m": {Targets: route.Targets("provider/m")}, "provider/m": {Targets: route.Targets("provider/m")}, "other-m": {Targets: route.Targets("provider/m")},
	}, route.Surroundings{Providers: map[string]route.Provider{"provider": nobody{}}})
	w.Swap(&Runtime{Table: table, Limits: limits, Handler: func(ctx context.Context, x *pipeline.Exchange) (*llm.Response, error) {
		for kept := false; !kept; { // the last one, also of several at once
			select {
			case w.last <- x:
				kept = true
			case <-w.last:
			}
		}
		if x.Refused != nil {
			return nil, x.Refused
		}
		return h(ctx, x)
	}})
	return w
}

// lockedBuffer is a log that is written by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// plain answers every exchange with one event.
func plain(_ context.Context, x *pipeline.Exchange) (*llm.Response, error) {
	x.Tries = []pipeline.Try{{CostNano: 2012}}
	return events(false, llm.Event{Has: llm.Content | llm.End, Raw: []byte(`{"model":"m-2026","choices":[]}`), ModelAt: llm.Span{Start: 9, End: 17}}), nil
}

func events(stream bool, list ...llm.Event) *llm.Response {
	return response(stream, func(yield func(llm.Event, error) bool) {
		for _, ev := range list {
			ev.Dialect = llm.OpenAI
			if !yield(ev, nil) {
				return
			}
		}
	})
}

func response(stream bool, seq iter.Seq2[llm.Event, error]) *llm.Response {
	return &llm.Response{Target: llm.Target{Provider: "provider", Model: "m"}, Stream: stream, Events: seq}
}

// An answer is what came back over a socket.
type answer struct {
	status int
	header http.Header
	body   string
	closes bool // the server will close the connection
}

// raw sends bytes as they are and reads one answer; the connection stays open for that long. half closes our side first.
func (w *world) raw(half bool, text string) answer {
	w.tb.Helper()
	c, err := net.Dial("tcp", w.addr)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		w.tb.Fatal(err)
	}
	if half {
		_ = c.(*net.TCPConn).CloseWrite()
	}
	a, err := readAnswer(bufio.NewReader(c), text)
	if err != nil {
		w.tb.Fatalf("no answer to %.80q: %v", text, err)
	}
	return a
}

func readAnswer(r *bufio.Reader, request string) (answer, error) {
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	b, err := io.ReadAll(resp.Body)
	return answer{status: resp.StatusCode, header: resp.Header, body: string(b), closes: resp.Close}, err
}

// post sends a body with the good key. Headers are whole lines.
func (w *world) post(path, body string, headers ...string) answer {
	w.tb.Helper()
	return w.raw(false, request("POST", path, body, append(headers, "Authorization: Bearer "+good)...))
}

func request(method, path, body string, headers ...string) string {
	head := ""
	if body != "" {
		head = fmt.Sprintf("Content-Length: %d\r\n", len(body))
	}
	for _, h := range headers {
		head += h + "\r\n"
	}
	return method + " " + path + " HTTP/1.1\r\nHost: penstock\r\n" + head + "\r\n" + body
}

// rest waits until nothing is held, as it must be soon after the last answer.
func (w *world) rest() {
	w.tb.Helper()
	if !eventually(func() bool { return w.Open() == 0 && w.held.Load() == 0 }) {
		w.tb.Errorf("at rest there are %d open requests and %d bytes of bodies", w.Open(), w.held.Load())
	}
}

// eventually waits up to five seconds for something that no channel tells.
func eventually(is func() bool) bool {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); <-time.After(time.Millisecond) {
		if is() {
			return true
		}
	}
	return is()
}

const chat = `{"model":"m","messages":[{"role":"user","content":"hello"}]}`

// TestEveryRouteNeedsAKey is control 1: what answers without a key is on the short list of open routes.
func TestEveryRouteNeedsAKey(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	open := 0
	for _, r := range Routes() {
		path := r.Path
		if strings.HasSuffix(path, "/") {
			path += "x"
		}
		a := w.raw(false, request(r.Method, path, ""))
		switch {
		case r.Open && a.status != 200, !r.Open && a.status != 401:
			t.Errorf("%s %s without a key: %d", r.Method, path, a.status)
		case !r.Open && !strings.Contains(a.body, `code":"invalid_api_key"`):
			t.Errorf("%s %s: %s", r.Method, path, a.body)
		}
		if r.Open {
			open++
		}
		if a.header.Get("X-Request-Id") == "" {
			t.Errorf("%s %s: no X-Request-Id", r.Method, path)
		}
	}
	if open != 2 {
		t.Errorf("%d open routes; /healthz and /readyz are all there may be", open)
	}
	select {
	case x := <-w.last:
		t.Errorf("an exchange began without a key: %+v", x)
	default:
	}
	w.rest()
}

// TestPathIsReadInOneWay is control 3: a path is served as it is written in the table, or not at all.
func TestPathIsReadInOneWay(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	for target, want := range map[string]int{
		"/v1/models": 200, "/v1/models?x=1": 200, "/v1/models/m": 200, "/v1/models/provider/m": 200, "/v1/models/provider%2Fm": 200,
		"/": 404, "//v1/models": 404, "/v1//models": 404, "/v1/./models": 404, "/healthz/../v1/models": 404, "/v1/models/": 404,
		"/%76%31/models": 404, "/v1/%6dodels": 404, "/v1%2Fmodels": 404, "/v1/%2e%2e/v1/models": 404, "/%76%31/models/m": 404,
		"/v1/models%00": 404, "/v1/models%20": 404, "/v1/models;x=1": 404, "/v1/models.": 404, "/V1/Models": 404, "/v1/models#x": 404,
		"/healthz/": 404, "/v1/%c0%af": 404, "/v1/models/m%2500": 404, "/v1/models/%6d": 200, "/admin/v1/keys": 404, "/metrics": 404,
		"http://penstock/v1/models": 400, "http://elsewhere/v1/models": 400, "https:/v1/models": 400,
	} {
		if a := w.raw(false, request("GET", target, "", "Authorization: Bearer "+good)); a.status != want {
			t.Errorf("GET %s: %d, want %d: %s", target, a.status, want, a.body)
		}
	}
	w.rest()
}

func TestHostIsReadInOneWay(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	const head = "GET /v1/models HTTP/1.1\r\nAuthorization: Bearer " + good + "\r\n"
	for host, want := range map[string]int{
		"": 400, "Host: penstock:8080\r\n": 200, "Host: [::1]:8080\r\n": 200, "Host: a\r\nHost: b\r\n": 400, "Host: x/#@y\r\n": 400,
		"Host: x@y\r\n": 400, "Host: x/v1\r\n": 400, "Host: x#y\r\n": 400, "Host: x?y\r\n": 400, "Host: x y\r\n": 400, `Host: x\y` + "\r\n": 400,
	} {
		if a := w.raw(false, head+host+"\r\n"); a.status != want {
			t.Errorf("%q: %d, want %d", host, a.status, want)
		}
	}
	if a := w.raw(false, "CONNECT penstock:443 HTTP/1.1\r\nHost: penstock:443\r\n\r\n"); a.status != 400 {
		t.Errorf("CONNECT: %d", a.status)
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/v1/models", 200, ""},
		{"HEAD", "/v1/models", 200, ""},
		{"HEAD", "/healthz", 200, ""},
		{"POST", "/v1/models", 405, "GET, HEAD"},
		{"DELETE", "/penstock/v1/self", 405, "GET, HEAD"},
		{"TRACE", "/healthz", 405, "GET, HEAD"},
		{"PROPFIND", "/v1/models/m", 405, "GET, HEAD"},
		{"GET", "/v1/chat/completions", 405, "POST"},
		{"OPTIONS", "/v1/embeddings", 405, "POST"},
		{"HEAD", "/v1/embeddings", 405, "POST"},
		{"post", "/v1/embeddings", 405, "POST"},
	} {
		a := w.raw(false, request(c.method, c.path, "", "Authorization: Bearer "+good, "X-HTTP-Method-Override: GET"))
		if a.status != c.status || a.header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d and Allow %q, want %d and %q", c.method, c.path, a.status, a.header.Get("Allow"), c.status, c.allow)
		}
	}
}

func TestPresentedKey(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	bearer, plainKey := "Authorization: Bearer "+good, "X-Api-Key: "+good
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		says    string
	}{
		{"bearer", []string{bearer}, 200, ""},
		{"scheme in other case", []string{"Authorization: bEARER   " + good}, 200, ""},
		{"x-api-key", []string{plainKey}, 200, ""},
		{"both, the same", []string{bearer, plainKey}, 200, ""},
		{"space around", []string{"Authorization:  Bearer " + good + " \t"}, 200, ""},
		{"none", nil, 401, "carries no key"},
		{"both, differing", []string{bearer, "X-Api-Key: " + other}, 401, "carry different keys"},
		{"both, one empty", []string{bearer, "X-Api-Key:"}, 401, "carry different keys"},
		{"two bearers", []string{bearer, bearer}, 401, "more than one key"},
		{"two x-api-keys", []string{plainKey, plainKey}, 401, "more than one key"},
		{"bearer alone", []string{"Authorization: Bearer"}, 401, "carries no key"},
		{"empty", []string{"Authorization:"}, 401, "not of the form"},
		{"no scheme", []string{"Authorization: " + good}, 401, "not of the form"},
		{"basic", []string{"Authorization: Basic cHNrOnBzaw=="}, 401, "not of the form"},
		{"basic beside a key", []string{"Authorization: Basic cHNrOnBzaw==", plainKey}, 401, "not of the form"},
		{"two values in one", []string{bearer + ", Bearer " + good}, 401, "No such key"},
		{"in the query", []string{"X-Other: " + good}, 401, "carries no key"},
		{"in a cookie", []string{"Cookie: key=" + good}, 401, "carries no key"},
		{"proxy's header", []string{"Proxy-Authorization: Bearer " + good}, 401, "carries no key"},
		{"a role that makes no calls", []string{"Authorization: Bearer " + viewer}, 403, "role viewer"},
	} {
		a := w.raw(false, request("GET", "/v1/models?key="+good, "", c.headers...))
		if a.status != c.status || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %d, want %d: %s", c.name, a.status, c.status, a.body)
		}
		if strings.Contains(a.body, good) {
			t.Errorf("%s: the key is repeated: %s", c.name, a.body)
		}
	}
	if log := w.log.String(); strings.Contains(log, good) {
		t.Errorf("the log has the key: %s", log)
	}
}

// TestRefusalsDoNotFillTheLog is for strangers, who can cause as many as they like.
func TestRefusalsDoNotFillTheLog(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	for range 50 {
		w.raw(false, request("GET", "/v1/models", ""))
	}
	if n := strings.Count(w.log.String(), "\n"); n == 0 || n > 5 {
		t.Errorf("%d lines for 50 refusals", n)
	}
}
