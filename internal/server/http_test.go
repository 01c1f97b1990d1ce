package server_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/gateway"
	"github.com/penstock/penstock/internal/penstocktest"
)

// raw sends bytes as they are to the data plane and reads one answer; closes says that the connection ends behind it.
func (w *world) raw(text string) (status int, body string, closes bool) {
	w.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		w.t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		w.t.Errorf("no answer to %.60q: %v", text, err)
		return 0, "", false
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Errorf("half an answer to %.60q: %v", text, err)
	}
	if resp.Close {
		if _, err := r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			w.t.Errorf("the connection of %.60q goes on: %v", text, err)
		}
	}
	return resp.StatusCode, string(b), resp.Close
}

// TestControl1EveryRouteNeedsAKey, on the real listener.
func TestControl1EveryRouteNeedsAKey(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	for _, r := range gateway.Routes() {
		path := r.Path
		if strings.HasSuffix(path, "/") {
			path += "x"
		}
		if a := w.Do(r.Method, "", path, ""); (a.Status == http.StatusUnauthorized) == r.Open {
			t.Errorf("%s %s without a key: %d", r.Method, path, a.Status)
		}
	}
	if status, _, _ := w.raw("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); status != http.StatusNotFound {
		t.Errorf("OPTIONS *: %d", status)
	}
	if n := len(w.Sim.Requests()) + len(w.Records()); n != 0 {
		t.Errorf("%d calls or records of strangers", n)
	}
}

// TestControl3OneReadingOfPathAndHost, on the real listener: nothing that is spelled oddly reaches a route, and nothing
// administrative is on the data plane however it is spelled.
func TestControl3OneReadingOfPathAndHost(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	for target, want := range map[string]int{
		"/v1//models": 404, "/v1/%2e%2e/v1/models": 404, "/v1/models;x": 404, "/v1/%6dodels": 404, "//v1/models": 404,
		"/admin/v1/keys": 404, "/%61dmin/v1/keys": 404, "/v1/../admin/v1/keys": 404, "http://admin/admin/v1/keys": 400,
	} {
		status, body, _ := w.raw("GET " + target + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.key + "\r\n\r\n")
		if status != want {
			t.Errorf("%s: %d %s", target, status, body)
		}
	}
	for _, host := range []string{"x/#@y", "x@y", "x#y"} {
		if status, _, _ := w.raw("POST /admin/v1/keys HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer " + w.AdminKey + "\r\nContent-Length: 2\r\n\r\n{}"); status != 400 {
			t.Errorf("host %s: %d", host, status)
		}
	}
}

// TestControl15NothingToDebugWith.
func TestControl15NothingToDebugWith(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	for _, path := range []string{"/debug/pprof/", "/debug/vars", "/metrics", "/admin/v1/status", "/console", "/"} {
		if a := w.Do(http.MethodGet, w.key, path, ""); a.Status != http.StatusNotFound {
			t.Errorf("data plane, %s: %d", path, a.Status)
		}
		if path == "/" || path == "/console" {
			continue
		}
		resp, err := w.Client.Get(w.AdminURL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("control plane without a key, %s: %d", path, resp.StatusCode)
		}
	}
}

// TestControl17TheCredentialStaysWithItsHost: a provider that sends Penstock elsewhere is not followed.
func TestControl17TheCredentialStaysWithItsHost(t *testing.T) {
	t.Parallel()
	var visits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer elsewhere.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "key"), []byte("sk-canary-0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(settings(nil), "vendor: none }", "vendor: none, credential: \"file:key\" }", 1)
	w := start(t, penstocktest.Options{Dir: dir, Config: text})
	for _, knobs := range []string{"redirect=" + elsewhere.URL, "status=308&header=Location:+" + elsewhere.URL} {
		a := w.ask("sim-a/x?"+knobs, "hello", false)
		if code, _ := errorOf(t, a); a.Status != http.StatusBadGateway || code != "provider_failed" {
			t.Errorf("%s: %d %s", knobs, a.Status, a.Body)
		}
	}
	w.ask("sim-b/x", "hello", false)
	if h := w.lastRequest().Header.Get("Authorization"); h != "" {
		t.Errorf("sim-b has no credential, and was sent %s", h)
	}
	if visits.Load() != 0 {
		t.Errorf("%d visits elsewhere", visits.Load())
	}
}

// TestControl18HeadersAreAnAllowList: of what a client sends, nothing but the body reaches a provider.
func TestControl18HeadersAreAnAllowList(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	a := w.ask("sim-a/x", "hello", true, "Connection", "keep-alive, X-A", "X-A", "1", "Proxy-Authorization", "Basic eA==", "Cookie", "c=1",
		"X-Forwarded-For", "1.2.3.4", "Forwarded", "for=1.2.3.4", "X-Real-Ip", "1.2.3.4", "Referer", "http://x", "Origin", "http://x", "Te", "trailers",
		"Openai-Organization", "org", "X-Penstock-Tags", "a", "X-Request-Id", "mine", "X-Api-Key", w.key, "X-Sim-Do", "status=500", "Traceparent", "00-x")
	if a.Status != http.StatusOK {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	allowed := map[string]string{
		"Accept": "text/event-stream", "Accept-Encoding": "identity", "Content-Type": "application/json", "User-Agent": "penstock", "Content-Length": "*",
	}
	for name, values := range w.lastRequest().Header {
		if want, ok := allowed[name]; !ok || want != "*" && values[0] != want || len(values) > 1 {
			t.Errorf("the provider was sent %s: %q", name, values)
		}
	}
}

// TestControl19UpstreamIsUntrusted: what a provider sends without end is not waited for.
func TestControl19UpstreamIsUntrusted(t *testing.T) {
	t.Parallel()
	hostile := http.NewServeMux()
	answer := func(name string, f func(w http.ResponseWriter, r *http.Request)) {
		hostile.HandleFunc("/"+name+"/", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			f(w, r)
		})
	}
	answer("announces-a-terabyte", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000000000")
		_, _ = io.WriteString(w, `{"choices":[`)
	})
	answer("headers-without-end", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 100<<10))
		_, _ = io.WriteString(w, `{}`)
	})
	answer("interim-without-end", func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			w.WriteHeader(http.StatusEarlyHints)
		}
		_, _ = io.WriteString(w, `{}`)
	})
	answer("line-without-end", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: ")
		for r.Context().Err() == nil {
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return
			}
		}
	})
	upstream := httptest.NewServer(hostile)
	defer upstream.Close()
	names := []string{"announces-a-terabyte", "headers-without-end", "interim-without-end", "line-without-end"}
	text, models := "", map[string][]string{}
	for _, name := range names {
		text += fmt.Sprintf("  %s: { dialect: openai, base_url: %q, vendor: none }\n", name, upstream.URL+"/"+name)
		models["m-"+name] = []string{name + "/x", "sim-b/good"}
	}
	w := start(t, penstocktest.Options{Config: settings(models, text)})
	for _, name := range names {
		began := time.Now()
		a := w.ask("m-"+name, "hello", name == "line-without-end")
		if a.Status != http.StatusOK || a.Header.Get("X-Penstock-Target") != "sim-b/good" || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %d after %v %q %s", name, a.Status, time.Since(began), reasons(w.record(a)), a.Body)
		}
	}
	w.CheckBill()
}

// TestControl20SizesAreLimited: whoever sends too much is told so, although it is still sending.
func TestControl20SizesAreLimited(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	large := penstocktest.Chat("sim-a/x", strings.Repeat("x", 25<<20), false)
	deep := `{"model":"sim-a/x","messages":[{"role":"user","content":"x"}],"metadata":` + strings.Repeat(`{"a":`, 100_000) + `1` + strings.Repeat(`}`, 100_000) + `}`
	for name, c := range map[string]struct {
		body io.Reader
		want int
		says string
	}{
		"25 MB, announced": {strings.NewReader(large), 413, "limits.body"},
		"25 MB, chunked":   {struct{ io.Reader }{strings.NewReader(large)}, 413, "limits.body"},
		"nesting":          {strings.NewReader(deep), 400, "128"},
		"n":                {strings.NewReader(`{"model":"sim-a/x","n":10000,"messages":[{"role":"user","content":"x"}]}`), 400, `"n"`},
	} {
		began := time.Now()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+chatPath, c.body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+w.key)
		resp, err := w.Client.Do(req)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != c.want || !strings.Contains(string(b), c.says) || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %d %s, %v, after %v", name, resp.StatusCode, b, err, time.Since(began))
		}
	}
	if status, _, _ := w.raw("GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 80<<10) + "\r\n\r\n"); status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("80 KB of headers: %d", status)
	}
	w.AtRest()
	if n := len(w.Records()); n != 4 || len(w.Sim.Requests()) != 0 {
		t.Errorf("%d records of 4 exchanges, %d calls to providers", n, len(w.Sim.Requests()))
	}
}

// TestControl22Smuggling: what could be read as one request or as two is refused, and its connection ends.
func TestControl22Smuggling(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	body := penstocktest.Chat("sim-a/x", "hello", false)
	post := "POST " + chatPath + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.key + "\r\n"
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	chunked := "Transfer-Encoding: chunked\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	for name, text := range map[string]string{
		"two lengths":             post + length + "Content-Length: 5\r\n\r\n" + body,
		"lengths in a list":       post + fmt.Sprintf("Content-Length: %d, %d\r\n\r\n", len(body), len(body)+1) + body,
		"negative length":         post + "Content-Length: -5\r\n\r\n" + body,
		"signed length":           post + fmt.Sprintf("Content-Length: +%d\r\n\r\n", len(body)) + body,
		"hexadecimal length":      post + "Content-Length: 0x5\r\n\r\n" + body,
		"huge length":             post + "Content-Length: 99999999999999999999\r\n\r\n" + body,
		"another encoding":        post + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk,
		"encoding twice":          post + chunked + "Transfer-Encoding: identity\r\n\r\n" + chunk,
		"encoding with a tab":     post + "Transfer-Encoding:\tchunked, x\r\n\r\n" + chunk,
		"space before the colon":  post + "Content-Length : 5\r\n\r\n" + body,
		"NUL in a name":           post + "X-\x00: b\r\n" + length + "\r\n" + body,
		"bare CR in a value":      post + "X-A: b\rX-B: c\r\n" + length + "\r\n" + body,
		"high bytes in a name":    post + "X-\xff: b\r\n" + length + "\r\n" + body,
		"chunk size with a sign":  post + chunked + "\r\n+5\r\nhello\r\n0\r\n\r\n",
		"chunk size of 17 digits": post + chunked + "\r\n10000000000000000\r\nhello\r\n0\r\n\r\n",
		"chunk size with spaces":  post + chunked + "\r\n 5\r\nhello\r\n0\r\n\r\n",
		"long chunk extension":    post + chunked + "\r\n5;x=" + strings.Repeat("y", 64<<10) + "\r\nhello\r\n0\r\n\r\n",
		"a folded header":         post + "X-A: b\r\n c\r\n" + length + "\r\n" + body,
		"a folded first header":   strings.Replace(post, "Host", "\tHost", 1) + length + "\r\n" + body,
		"chunks after a length":   post + length + chunked + "\r\n" + chunk,
		"a length after chunks":   post + chunked + length + "\r\n" + chunk,
		"chunks in HTTP/1.0":      strings.Replace(post, "HTTP/1.1", "HTTP/1.0", 1) + length + chunked + "\r\n" + chunk,
		"a length twice":          post + length + length + "\r\n" + body,
		"lines without CR":        strings.ReplaceAll(post+length+"\r\n", "\r", "") + body,
		"the last without CR":     post + length + "\n" + body,
		"no version":              "POST " + chatPath + "\r\n\r\n",
		"HTTP/1.2":                strings.Replace(post, "HTTP/1.1", "HTTP/9.9", 1) + length + "\r\n" + body,
		"space in the target":     strings.Replace(post, chatPath, chatPath+" x", 1) + length + "\r\n" + body,
	} {
		status, answer, closes := w.raw(text)
		if status < 400 || status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported || !closes {
			t.Errorf("%s: %d, closes %v, %s", name, status, closes, answer)
		}
	}
	// After a chunked body, what follows is not taken for a request.
	inner := "GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.key + "\r\n\r\n"
	if status, answer, closes := w.raw(post + chunked + "\r\n" + chunk + inner); !closes || status != 200 || strings.Contains(answer, `"list"`) {
		t.Errorf("a chunked body: %d, closes %v, %s", status, closes, answer)
	}
	if n := len(w.Sim.Requests()); n != 1 {
		t.Errorf("%d calls to providers", n)
	}
	// A connection is of use again after an error that leaves no doubt where the next request begins.
	two := post + fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(`{"model":`), `{"model":`)
	status, _, closes := w.raw(two)
	if status != 400 || closes {
		t.Errorf("a broken body: %d, closes %v", status, closes)
	}
}
