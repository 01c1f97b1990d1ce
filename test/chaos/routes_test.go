//go:build linux

package chaos

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/gateway"
)

// Controls 1 and 57: every route of the inventory, on the real binary. Without a key only those answer that are marked
// open; those that can spend leave a record; and nothing else is there.
func TestEveryRoute(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: providers + "models: { plain: { targets: [\"sim-a/x?events=3\"] } }\n"})
	const messages = `{"model":"plain","max_tokens":9,"messages":[{"role":"user","content":"hello"}]}`
	bodies := map[string]string{
		"/v1/messages":               messages,
		"/v1/messages/count_tokens":  messages,
		"/v1/chat/completions":       string(call{model: "plain"}.body()),
		"/v1/embeddings":             `{"model":"plain","input":"hello"}`,
		"/v1/moderations":            `{"model":"plain","input":"hello"}`,
		"/v1/responses":              `{"model":"plain","input":"hello"}`,
		"/v1/responses/input_tokens": `{"model":"plain","input":"hello"}`,
	}
	below := map[string]string{"/v1/models/": "plain", "/penstock/v1/exchanges/": "%s", "/v1/responses/": "resp_%s"}
	last, spent, counted := w.must(call{model: "plain"}).id(), 1, 0
	for _, r := range gateway.Routes() {
		path := r.Path
		if rest, ok := below[path]; ok {
			path += strings.ReplaceAll(rest, "%s", last)
		}
		ask := func(key string) answer {
			req, err := http.NewRequestWithContext(context.Background(), r.Method, w.url+path, strings.NewReader(bodies[path]))
			if err != nil {
				t.Fatal(err)
			}
			if key != "" {
				req.Header.Set("Authorization", "Bearer "+key)
			}
			return do(w.http, req, nil)
		}
		if r.Spends && bodies[path] == "" {
			t.Errorf("%s can spend, and this test has no body for it", path)
		}
		for _, key := range []string{"", w.adminKey, w.key + "x"} {
			a := ask(key)
			refused := a.status == http.StatusUnauthorized || key == w.adminKey && a.status == http.StatusForbidden
			if r.Open != (a.status == http.StatusOK) || !r.Open && !refused {
				t.Errorf("%s %s with a key that is none (%d letters): %s", r.Method, path, len(key), a)
			}
		}
		a := ask(w.key)
		if path == "/v1/responses" {
			last = a.id() // it can be read, and deleted
		}
		if a.status != http.StatusOK || a.id() == "" {
			t.Errorf("%s %s with a key: %s", r.Method, path, a)
		}
		if r.Spends {
			spent++
		}
		if path == "/v1/messages/count_tokens" || path == "/v1/responses/input_tokens" {
			counted++ // by Penstock itself: this provider has no call for it
		}
	}
	if records, b := w.records(), w.bill(); len(records) != spent || b.Total.Calls != int64(spent-counted) {
		t.Errorf("%d records and %d calls at the provider of %d that spent", len(records), b.Total.Calls, spent)
	}
	w.nothingElse()
}

// nothingElse tries what must not be there, on the listener that everybody reaches.
func (w *world) nothingElse() {
	w.t.Helper()
	for _, path := range []string{
		"/", "/admin/v1/keys", "/admin/v1/status", "/metrics", "/debug/pprof/", "/debug/vars", "/v1", "/v1/", "/v1/files",
		"/v1//models", "/v1/%6dodels", "/v1/models/../../admin/v1/keys", "/v1/models;x=1", "//healthz", "/healthz/", "/HEALTHZ",
	} {
		for _, key := range []string{"", w.key, w.adminKey} {
			a := w.get(w.url+path, key)
			if a.status != http.StatusNotFound && a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
				w.t.Errorf("%s: %s", path, a)
			}
		}
	}
	for _, host := range []string{"x/#@y", "a b", "x?y"} {
		c := w.dial()
		fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n", host)
		text := make([]byte, 12)
		if n, _ := c.Read(text); string(text[:n]) != "HTTP/1.1 400" {
			w.t.Errorf("the host %q: %q", host, text[:n])
		}
	}
	for _, path := range []string{"/admin/v1/keys", "/admin/v1/status", "/metrics", "/anything"} {
		for _, key := range []string{"", w.key} {
			if a := w.get(w.adminURL+path, key); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
				w.t.Errorf("control plane, %s: %s", path, a)
			}
		}
	}
	if a := w.get(w.adminURL+"/debug/pprof/", w.adminKey); a.status != http.StatusNotFound {
		w.t.Errorf("a profiler on the control plane: %s", a)
	}
}
