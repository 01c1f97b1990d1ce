package gateway

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func (w *world) read(path, key string) answer {
	w.tb.Helper()
	return w.raw(false, request("GET", path, "", "Authorization: Bearer "+key))
}

func TestModels(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	for _, c := range []struct {
		path, key string
		status    int
		body      string
	}{
		{"/v1/models", good, 200, `{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"provider"},` +
			`{"id":"other-m","object":"model","created":0,"owned_by":"provider"},{"id":"provider/m","object":"model","created":0,"owned_by":"provider"}]}`},
		{"/v1/models", other, 200, `{"object":"list","data":[{"id":"other-m","object":"model","created":0,"owned_by":"provider"}]}`},
		{"/v1/models/provider/m", good, 200, `{"id":"provider/m","object":"model","created":0,"owned_by":"provider"}`},
		{"/v1/models/other-m", other, 200, `{"id":"other-m","object":"model","created":0,"owned_by":"provider"}`},
		{"/v1/models/n", good, 404, `{"error":{"message":"No model \"n\" for this key. Near: m. All: GET /v1/models","type":"invalid_request_error","param":"model","code":"model_not_found"}}`},
	} {
		a := w.read(c.path, c.key)
		if a.status != c.status || a.body != c.body {
			t.Errorf("%s: %d %s\nwant %s", c.path, a.status, a.body, c.body)
		}
	}
	// What a key may not use is, for it, as if it were not there.
	hidden, absent := w.read("/v1/models/m", other), w.read("/v1/models/r", other)
	if hidden.status != 404 || strings.Replace(hidden.body, `"m\"`, `"r\"`, 1) != absent.body {
		t.Errorf("a hidden model answers %s, an absent one %s", hidden.body, absent.body)
	}
}

func TestSelf(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	want := `{"organisation":"default","project":"prj_other","project_name":"project other",` +
		`"key":{"id":"key_other","name":"","prefix":"psk_other","models":["other*"]},"models":["other-m"],"limits":{"body_bytes":20000000},"tiers":[],"rates":[],"budgets":[]}`
	a := w.read("/penstock/v1/self", other)
	if a.body != want {
		t.Errorf("got  %s\nwant %s", a.body, want)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", a.header)
	}
	g, err := w.o.Keys.Check(good)
	if err != nil {
		t.Fatal(err)
	}
	g.Key.Expires = time.Date(2026, 11, 24, 12, 0, 0, 0, time.FixedZone("", 3600))
	if a := w.read("/penstock/v1/self", good); !strings.Contains(a.body, `"expires":"2026-11-24T11:00:00Z"`) || !strings.Contains(a.body, `"models":[],"expires"`) {
		t.Errorf("%s", a.body)
	}
}

// TestForeignRecordsAreNotThere is control 2 at this level: another project's exchange answers as one that never was.
func TestForeignRecordsAreNotThere(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	own := w.read("/penstock/v1/exchanges/ex_1", good)
	if own.status != 200 || !strings.Contains(own.body, `"id":"ex_1"`) || strings.Contains(own.body, "operators only") {
		t.Errorf("own: %d %s", own.status, own.body)
	}
	foreign, random := w.read("/penstock/v1/exchanges/ex_1", other), w.read("/penstock/v1/exchanges/ex_2", other)
	if foreign.status != 404 || foreign.body != random.body {
		t.Errorf("foreign %d %s\nrandom  %d %s", foreign.status, foreign.body, random.status, random.body)
	}
}

// TestRecordsThatWait: with a store that takes nothing, what it has is read all the same.
func TestRecordsThatWait(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	w.o.Sync = func(context.Context) error { return errors.New("the store is at 10.0.0.7") }
	if a := w.read("/penstock/v1/exchanges/ex_1", good); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	a := w.read("/penstock/v1/exchanges/ex_2", good)
	if a.status != 503 || a.header.Get("Retry-After") != "2" || strings.Contains(a.body, "10.0.0.7") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	w := setup(t, plain)
	if a := w.raw(false, request("GET", "/healthz", "")); a.status != 200 || a.body != `{"status":"alive","version":"test"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := w.raw(false, request("GET", "/readyz", "")); a.status != 200 || a.body != `{"status":"ready"}` {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.o.Ready = func() error { return errors.New("this Penstock is stopping") }
	a := w.raw(false, request("GET", "/readyz", ""))
	if a.status != 503 || a.header.Get("Retry-After") != "1" || !strings.Contains(a.body, "Not ready: this Penstock is stopping.") {
		t.Errorf("%d %v %s", a.status, a.header, a.body)
	}
	if a := w.raw(false, request("GET", "/healthz", "")); a.status != 200 {
		t.Errorf("what is not ready is alive all the same: %d", a.status)
	}
}
