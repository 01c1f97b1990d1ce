package admin

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock/penstock/internal/fault"
)

// open makes a control API of which only what needs no key can be called.
func open(o Options) (*API, *bytes.Buffer) {
	var log bytes.Buffer
	o.Register, o.Log, o.OpenMetrics = prometheus.NewRegistry(), slog.New(slog.NewTextHandler(&log, nil)), func() bool { return true }
	return New(o), &log
}

// A panic is a 500 in our shape, with an id that the log has too; the next request is served.
func TestPanics(t *testing.T) {
	t.Parallel()
	broken := true
	a, log := open(Options{Ready: func() error {
		if broken {
			panic("hunter2")
		}
		return nil
	}})
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), `"code":"internal_error"`) || strings.Contains(w.Body.String(), "hunter2") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if id := w.Header().Get("X-Request-Id"); !strings.Contains(log.String(), id) || !strings.Contains(log.String(), "hunter2") {
		t.Errorf("the log does not tell of %s: %s", id, log)
	}
	broken = false
	w = httptest.NewRecorder()
	if a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil)); w.Code != http.StatusOK || w.Body.String() != `{"status":"ready"}` {
		t.Errorf("afterwards: %d %s", w.Code, w.Body)
	}
}

// An answer that has begun cannot be made an error any more: it is cut, so that nobody takes it for whole.
func TestPanicsInMidAnswer(t *testing.T) {
	t.Parallel()
	a, _ := open(Options{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		panic("x")
	})})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v", p)
		}
	}()
	a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/metrics", nil))
	t.Error("the answer was ended as if it were whole")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	behind := fault.New(fault.RecordsBehind, "Later.")
	behind.RetryAfter = 1500 * time.Millisecond
	for _, c := range []struct {
		err    error
		status int
		body   string
		retry  string
		logged bool
	}{
		{errors.New("dial tcp 10.0.0.7: hunter2"), 500, `"code":"internal_error"`, "", true},
		{fault.Wrap(fault.NotThere, errors.New("hunter2"), "Not there."), 404, `{"error":{"code":"not_found","message":"Not there.","hint":""}}`, "", false},
		{
			fault.Wrap(fault.StoreFailed, errors.New("disk I/O error"), "The store could not be read."), 503,
			`"code":"store_unavailable","message":"The store could not be read.","hint":"Look at the disk, or the database, and retry; to see whether calls go on: penstock doctor"`, "", true,
		},
		{behind, 503, `"hint":"Retry; none is lost. To see whether the store is away, and calls go on: penstock doctor"`, "2", false},
		{fault.New(fault.InvalidRequest, "a %s", "\xff\x00"), 400, `"message":"a ` + "\ufffd" + `\u0000"`, "", false},
	} {
		var log bytes.Buffer
		w := httptest.NewRecorder()
		(&answer{w: w, id: "ad_1"}).refuse(slog.New(slog.NewTextHandler(&log, nil)), c.err)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.body) || w.Header().Get("Retry-After") != c.retry {
			t.Errorf("%v: %d %v %s", c.err, w.Code, w.Header(), w.Body)
		}
		if strings.Contains(w.Body.String(), "hunter2") || strings.Contains(log.String(), "ad_1") != c.logged {
			t.Errorf("%v: sent %s and logged %s", c.err, w.Body, &log)
		}
	}
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	a, _ := open(Options{Ready: func() error { return errors.New("keys cannot be checked") }})
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "Not ready: keys cannot be checked.") {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
	w = httptest.NewRecorder()
	if a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/healthz", nil)); w.Code != http.StatusOK {
		t.Errorf("healthz: %d", w.Code)
	}
}
