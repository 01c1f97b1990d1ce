package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

// cleanEnds are how a stream ends in each dialect if all is well, and no otherwise.
var cleanEnds = map[string]string{"/v1/chat/completions": "data: [DONE]", "/v1/messages": "event: message_stop", "/v1/responses": "event: response.completed"}

// Fault 37: in every dialect of callers and providers, what fails before the first content, also after events such as
// message_start and response.created, is answered by another target as if nothing had been; and what fails after it is not.
func TestFault37(t *testing.T) {
	t.Parallel()
	before := []string{"error_at=0", "error_at=0&early_headers=1&first=20ms", "cut=0", "cut=0:rst&early_headers=1&first=20ms", "garbage=1", "status=500"}
	after := []string{"error_at=2&events=5", "cut=2&flush=1&events=5", "cut=2:rst&flush=1&events=5", "garbage=3&events=5"}
	providers := []string{"gpt", "second", "claude", "bed", "gem"}
	text := strings.Builder{}
	text.WriteString(allDialects)
	all := slices.Concat(before, after)
	var targets []string
	for _, p := range providers {
		for i, k := range all {
			target := p + "/gpt-5-mini?" + k
			targets = append(targets, target)
			fmt.Fprintf(&text, "  %s-%d: { targets: [%q, gpt/good] }\n", p, i, target)
		}
	}
	e := penstocktest.Start(t, penstocktest.Options{Config: text.String(), Sim: &sim.Config{Seed: 1, Providers: speakerProviders()}})
	e.Price(append(targets, "gpt/good")...)
	key := e.Key("home")
	for path, end := range cleanEnds {
		for _, p := range providers {
			for i, k := range all {
				body := fmt.Sprintf(`{"model":"%s-%d","stream":true,"max_tokens":50,"messages":[{"role":"user","content":"say:8"}]}`, p, i)
				if path == "/v1/responses" {
					body = fmt.Sprintf(`{"model":"%s-%d","stream":true,"input":"say:8"}`, p, i)
				}
				a := e.Post(key, path, body, "Anthropic-Version", "2023-06-01")
				ended, failed := strings.Contains(a.Text(), end), strings.Contains(a.Text(), `"error":{`) || strings.Contains(a.Text(), "event: error")
				target, tries := a.Header.Get("X-Penstock-Target"), a.Header.Get("X-Penstock-Tries")
				if i < len(before) {
					if a.Status != http.StatusOK || !ended || failed || target != "gpt/good" || tries != "2" {
						t.Errorf("%s of %s, %s: %d from %s after %s tries: %s", path, p, k, a.Status, target, tries, a.Text())
					}
				} else if a.Status != http.StatusOK || ended || !failed || target == "gpt/good" || tries != "1" {
					t.Errorf("%s of %s, %s: %d from %s after %s tries: %s", path, p, k, a.Status, target, tries, a.Text())
				}
				if n := strings.Count(a.Text(), "response.created\"") + strings.Count(a.Text(), "event: message_start"); n > 2 {
					t.Errorf("%s of %s, %s: it begins twice: %s", path, p, k, a.Text())
				}
				e.Admin(http.MethodPost, "/routes/enable", map[string]string{"target": p}, nil) // health is not what is tested
				e.Admin(http.MethodPost, "/routes/enable", map[string]string{"target": "gpt"}, nil)
			}
		}
	}
	e.AtRest()
	e.CheckBill()
}

// Fault 41: of a call with a deadline of half a second no provider hears after that, and none hears of it whose first token could
// not come in time.
func TestFault41(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{
		"slow":  {"sim-a/x?first=400ms&status=503", "sim-b/y"},
		"waits": {"sim-a/z?status=503&retry_after=1"},
	})})
	for _, model := range []string{"slow", "waits"} {
		for _, stream := range []bool{false, true} {
			begun := time.Now()
			a := w.ask(model, "hello", stream, "X-Request-Timeout-Ms", "500")
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("%s, streamed %t: %v", model, stream, took)
			}
			r := w.record(a)
			for _, try := range r.Tries {
				if time.Duration(try.StartNS) > 500*time.Millisecond {
					t.Errorf("%s: a try began after %v", model, time.Duration(try.StartNS))
				}
			}
			if model == "waits" && (a.Status != 503 || a.Header.Get("Retry-After") != "1" || len(r.Tries) != 1) {
				t.Errorf("%s: %d %v, %q", model, a.Status, a.Header, reasons(r))
			}
		}
	}
	w.CheckBill()
}

// Fault 44: all layers together make as many attempts as the file says, of each kind of failure, and clients are told not to add any.
func TestFault44(t *testing.T) {
	t.Parallel()
	// On a connection that was kept, an end at once is the upstream's that had closed it before, and the attempt was none; so those
	// that end come first, while there are none.
	knobs := []string{"status=rst", "status=drop", "cut=0", "empty=1", "status=503", "status=529"}
	text := settings(nil, "models:")
	for i, k := range knobs {
		text += fmt.Sprintf("  m%d: { targets: [\"sim-a/x%d?%s\", \"sim-b/y%d?%s\"], tries: 3, retry_wait: 1s }\n", i, i, k, i, k)
	}
	w := start(t, penstocktest.Options{Config: text})
	for i, k := range knobs {
		for _, stream := range []bool{false, true} {
			from := len(w.Sim.Requests())
			a := w.ask(fmt.Sprintf("m%d", i), "hello", stream)
			n := len(w.Sim.Requests()) - from
			if a.Status < 400 || n < 2 || n > 3 || a.Header.Get("X-Should-Retry") != "false" || a.Header.Get("X-Penstock-Tries") != fmt.Sprint(n) {
				t.Errorf("%s, streamed %t: the providers saw %d attempts, and the client %d %v", k, stream, n, a.Status, a.Header)
			}
		}
	}
	w.AtRest()
	w.CheckBill()
}

// Fault 46: what is ejected is one line of the log for each change, however many calls there are.
func TestFault46(t *testing.T) {
	t.Parallel()
	var log logs
	w := start(t, penstocktest.Options{Log: &log, Config: settings(map[string][]string{"two": {"sim-a/x?status=503", "sim-b/y"}})})
	var callers sync.WaitGroup
	begun := time.Now()
	for range 8 {
		callers.Go(func() {
			for range 60 {
				if a := w.ask("two", "hello", false); a.Status != http.StatusOK {
					t.Errorf("%d %s", a.Status, a.Body)
				}
			}
		})
	}
	callers.Wait()
	took := time.Since(begun)
	// The alert that is raised within a second is a line of its own, and a change of the alert's.
	var lines []string
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "a target is ejected") || strings.Contains(line, "a target stays ejected") {
			lines = append(lines, line)
		}
	}
	if most := 1 + int(took/(4*time.Second)); len(lines) < 1 || len(lines) > most {
		t.Errorf("%d lines in %v:\n%s", len(lines), took, strings.Join(lines, ""))
	}
	w.AtRest()
}

// TestHedgedCallsAreBookedTwice: whoever is first answers, what the other cost is estimated, and the books are the provider's.
func TestHedgedCallsAreBookedTwice(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(nil,
		`models: { m: { targets: ["sim-a/x?first=exponential(30ms)&events=3", "sim-b/y?first=10ms&events=3"], hedge: { share: "100%" } } }`)})
	w.Price("sim-a/x?first=exponential(30ms)&events=3", "sim-b/y?first=10ms&events=3")
	hedged, won := 0, 0
	for i := range 200 {
		a := w.ask("m", "hello", i%2 == 0)
		if a.Status != http.StatusOK || a.Err != nil {
			t.Fatalf("%d %v %s", a.Status, a.Err, a.Body)
		}
		r := w.record(a)
		if len(r.Tries) > 2 {
			t.Errorf("%q", reasons(r))
		}
		if len(r.Tries) == 2 {
			hedged++
			if r.Tries[1].Reason == "ok" {
				won++
			}
			if !r.Tries[1].Hedge || (r.Tries[0].Reason == "ok") == (r.Tries[1].Reason == "ok") {
				t.Errorf("%q", reasons(r))
			}
		}
	}
	if hedged == 0 || won == 0 {
		t.Errorf("%d hedged, %d won", hedged, won)
	}
	w.AtRest()
	w.CheckBill()
}
