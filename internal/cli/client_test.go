package cli

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
)

// What may take long is waited for, however long other calls are.
func TestPatience(t *testing.T) {
	t.Parallel()
	impatient := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			<-r.Context().Done() // longer than the client waits
			close(impatient)
			return
		}
		<-impatient
		_, _ = w.Write([]byte(`{"drifts":3}`))
	}))
	defer s.Close()
	c := &adminClient{base: s.URL, http: &http.Client{Timeout: 50 * time.Millisecond}}
	if err := c.call(t.Context(), http.MethodGet, "/reconcile", nil, nil, nil); err == nil {
		t.Error("a call that is no slow one is waited for")
	}
	var out struct {
		Drifts int `json:"drifts"`
	}
	if err := c.patiently().call(t.Context(), http.MethodPost, "/reconcile", nil, struct{}{}, &out); err != nil || out.Drifts != 3 {
		t.Errorf("%+v, %v", out, err)
	}
}

// A correction whose answer is lost on the way is sent again under its key, and is booked once.
func TestACorrectionWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	e := penstocktest.Start(t, penstocktest.Options{})
	e.Key("home")
	target, err := url.Parse(e.AdminURL)
	if err != nil {
		t.Fatal(err)
	}
	var lose, asked atomic.Int64 // so many answers
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if asked.Add(1); lose.Add(-1) >= 0 {
			_, _ = io.Copy(io.Discard, r.Body) // it is done
			return errors.New("lost")
		}
		return nil
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	s := httptest.NewServer(proxy)
	defer s.Close()
	run := func(more ...string) (out, words string, code int) {
		var o, w strings.Builder
		a := &app{in: strings.NewReader(""), out: &o, err: &w, env: func(name string) (string, bool) {
			if name == "PENSTOCK_ADMIN_KEY" {
				return e.AdminKey, true
			}
			return "", false
		}}
		code = a.run(t.Context(), append([]string{
			"ledger", "adjust", "--project", "home", "--provider", "sim-a", "--amount", "0.25", "--reason", "bill", "--admin-url", s.URL, "--json",
		}, more...))
		return o.String(), w.String(), code
	}
	entries := func() []admin.LedgerEntry {
		var all page[admin.LedgerEntry]
		if status := e.Admin(http.MethodGet, "/ledger?kind=adjusted", nil, &all); status != http.StatusOK {
			t.Fatal(status)
		}
		return all.Data
	}

	lose.Store(1)
	if out, words, code := run(); code != 0 || asked.Load() != 2 || !strings.Contains(out, `"kind": "adjusted"`) {
		t.Errorf("one answer lost: %d after %d requests: %s %s", code, asked.Load(), out, words)
	}
	if n := len(entries()); n != 1 {
		t.Fatalf("booked %d times", n)
	}

	// If it goes on, one is told how to repeat it.
	lose.Store(2)
	_, words, code := run()
	_, rest, ok := strings.Cut(words, "--once ")
	key, _, _ := strings.Cut(rest, ",")
	if code != exitUnreachable || !ok || key == "" {
		t.Fatalf("all answers lost: %d %s", code, words)
	}
	for range 2 {
		if out, words, code := run("--once", key); code != 0 {
			t.Errorf("again: %d %s %s", code, out, words)
		}
	}
	if n := len(entries()); n != 2 {
		t.Errorf("booked %d times, want one more", n-1)
	}
}
