package server_test

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
)

// TestFault40RetryAfter: what providers ask for is passed on, in seconds, if all are busy; the shortest counts, and
// nonsense does not.
func TestFault40RetryAfter(t *testing.T) {
	t.Parallel()
	busy := func(after string) string { return "status=429&retry_after=" + url.QueryEscape(after) }
	began := time.Now()
	in60 := began.Add(60 * time.Second).UTC().Format(http.TimeFormat)
	cases := []struct {
		name, a, b string
		status     int
		least      int // seconds; 0: no Retry-After
		most       int
	}{
		{"seconds", busy("2"), busy("5"), 429, 2, 2},
		{"the-other-is-shorter", busy("30"), busy("7"), 429, 7, 7},
		{"a-date", busy(in60), busy("90"), 429, 59, 60},
		{"negative", busy("-5"), busy("-5"), 429, 0, 0},
		{"for-ever", busy("1000000000"), busy("1000000000"), 429, 1, 86400},
		{"words", busy("soon"), busy("4"), 429, 4, 4},
		{"none", "status=429", "status=429", 429, 0, 0},
		{"one-is-broken-otherwise", busy("3"), "status=500", 502, 3, 3},
		{"overloaded", "status=503&retry_after=9", "status=503", 503, 9, 9},
	}
	models := map[string][]string{}
	for _, c := range cases {
		models[c.name] = []string{"sim-a/x?" + c.a, "sim-b/x?" + c.b}
	}
	w := start(t, penstocktest.Options{Config: settings(models)})
	for _, c := range cases {
		since := time.Now()
		if c.name == "a-date" {
			since = began
		}
		a := w.ask(c.name, "hello", false)
		spent := int(math.Ceil(time.Since(since).Seconds())) - 1 // whole seconds that are over since the provider said so
		after, err := time.ParseDuration(a.Header.Get("Retry-After") + "s")
		if c.least == 0 {
			if a.Header["Retry-After"] != nil {
				t.Errorf("%s: Retry-After %q", c.name, a.Header["Retry-After"])
			}
		} else if err != nil || int(after.Seconds()) < c.least-spent || int(after.Seconds()) > c.most {
			t.Errorf("%s: Retry-After %q, want %d to %d", c.name, a.Header["Retry-After"], c.least, c.most)
		}
		if a.Status != c.status || a.Header.Get("X-Should-Retry") != "false" {
			t.Errorf("%s: %d %v %s", c.name, a.Status, a.Header, a.Body)
		}
	}
	w.CheckBill()
}

// TestFault42RefusalsAreNotRetried: the second target is never asked what the first has refused.
func TestFault42RefusalsAreNotRetried(t *testing.T) {
	t.Parallel()
	refusals := map[string]int{ // knobs to the status that the caller sees
		"status=400": 400, "status=400&code=context_length_exceeded&message=too+long": 400, "status=404": 404, "status=413": 413,
		"status=422": 422, "status=403": 502,
	}
	models := map[string][]string{}
	for knobs := range refusals {
		models[knobs] = []string{"sim-a/x?" + knobs, "sim-b/good"}
	}
	w := start(t, penstocktest.Options{Config: settings(models)})
	asked := 0
	for knobs, status := range refusals {
		for _, stream := range []bool{false, true} {
			a := w.ask(knobs, "hello", stream)
			asked++
			code, says := errorOf(t, a)
			if a.Status != status || status == 502 && code != "provider_credential_refused" {
				t.Errorf("%s: %d %s", knobs, a.Status, a.Body)
			}
			if strings.Contains(knobs, "context") && (code != "context_length_exceeded" || says != "too long") {
				t.Errorf("the provider's own words: %s", a.Body)
			}
			r := w.record(a)
			if len(r.Tries) != 1 || r.Tries[0].Outcome != pipeline.Released || r.Status != status || r.Tries[0].Upstream == "" {
				t.Errorf("%s: record %+v", knobs, r)
			}
		}
	}
	for _, call := range w.calls() {
		if strings.HasPrefix(call, "sim-b") {
			t.Errorf("the other target was asked: %s", call)
		}
	}
	if n := len(w.Sim.Requests()); n != asked {
		t.Errorf("%d calls for %d requests", n, asked)
	}
	w.CheckBill()
}

// TestFault42AnotherTargetStandsInForARefusedCredential: it is Penstock's own, so the caller is not to suffer for it.
func TestFault42AnotherTargetStandsInForARefusedCredential(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"m": {"sim-a/x?status=401", "sim-b/good"}})})
	a := w.ask("m", "hello", false)
	if r := w.record(a); a.Status != http.StatusOK || len(r.Tries) != 2 || r.Tries[0].Outcome != pipeline.Released || r.Tries[1].Target != "sim-b/good" {
		t.Errorf("%d %s, record %+v", a.Status, a.Body, r)
	}
	w.CheckBill()
}

// TestFault44TriesAreBounded: each target is asked once, over all layers together.
func TestFault44TriesAreBounded(t *testing.T) {
	t.Parallel()
	failures := []string{"status=503", "status=500", "status=408", "status=409", "status=429", "status=drop", "status=rst", "empty=1", "garbage=1", "cut=0"}
	models := map[string][]string{}
	for _, failure := range failures {
		for _, stream := range []bool{false, true} { // each has targets of its own: what has failed is asked with care
			knobs := fmt.Sprintf("%s&tag=%v", failure, stream)
			models[knobs] = []string{"sim-a/x?" + knobs, "sim-b/x?" + knobs, "sim-a/y?" + knobs}
		}
	}
	w := start(t, penstocktest.Options{Config: settings(models)})
	w.ask("status=500&tag=true", "to have a kept connection", false)
	for _, failure := range failures {
		for _, stream := range []bool{false, true} {
			knobs := fmt.Sprintf("%s&tag=%v", failure, stream)
			w.Sim.Reset()
			a := w.ask(knobs, "hello", stream)
			want := models[knobs]
			// A kept connection that is closed without a word was closed before the request came; it is sent anew, once.
			if got := w.calls(); !slices.Equal(got, want) && !(failure == "status=drop" && slices.Equal(slices.Compact(got), want)) {
				t.Errorf("%s, stream %v: calls %v", knobs, stream, got)
			}
			if a.Status < 400 || a.Header.Get("X-Should-Retry") != "false" || a.Header.Get("X-Penstock-Tries") != "3" {
				t.Errorf("%s, stream %v: %d %v", knobs, stream, a.Status, a.Header)
			}
			code, says := errorOf(t, a)
			if code == "" || !strings.Contains(says, "3 targets tried") || !strings.Contains(says, a.ID()) {
				t.Errorf("%s: %s", knobs, a.Body)
			}
			if r := w.record(a); len(r.Tries) != 3 || r.Status != a.Status || r.Target != "" {
				t.Errorf("%s: record %+v", knobs, r)
			}
		}
	}
}
