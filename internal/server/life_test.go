package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
)

// logs is what a server writes, from several goroutines.
type logs struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// streams opens n streams and returns when each has begun; wait reads them to their ends.
func (w *world) streams(n int, model string) (wait func() []transcript) {
	w.t.Helper()
	all := make([]*http.Response, n)
	for i := range all {
		resp, err := w.Ask(w.t.Context(), http.MethodPost, w.key, chatPath, penstocktest.Chat(model, strings.Repeat("four ", 400), true))
		if err != nil {
			w.t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			w.t.Fatalf("stream %d: status %d", i, resp.StatusCode)
		}
		all[i] = resp
	}
	return func() []transcript {
		w.t.Helper()
		var out []transcript
		for _, resp := range all {
			b, err := io.ReadAll(resp.Body)
			if err != nil {
				w.t.Errorf("a stream was broken off: %v behind %s", err, b)
			}
			_ = resp.Body.Close()
			out = append(out, read(w.t, string(b)))
		}
		return out
	}
}

// TestFault59StopWithOpenStreams: not ready first, and every stream comes to its own end.
func TestFault59StopWithOpenStreams(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(nil, "shutdown_grace: 10s")})
	wait := w.streams(20, w.model("gap=20ms&events=50"))
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.Stop() }()
	// The listener is open while streams are, at first, so that whoever watches readiness can look elsewhere.
	if !penstocktest.Eventually(func() bool { return w.Do(http.MethodGet, "", "/readyz", "").Status == http.StatusServiceUnavailable }) {
		t.Error("it is stopping, and says that it is ready")
	}
	if a := w.ask("sim-a/late", "hello", false); a.Status != http.StatusOK {
		t.Errorf("who has not looked elsewhere yet is served: %d %s", a.Status, a.Body)
	}
	for i, s := range wait() {
		if !s.done || len(strings.Fields(s.text(0))) != 50 {
			t.Errorf("stream %d: %d words, done %v, %s", i, len(strings.Fields(s.text(0))), s.done, s.failure())
		}
	}
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Fatal("nothing is open, and it does not stop")
	}
	w.Restart()
	if n := len(w.Records()); n != 21 {
		t.Errorf("%d records of 21 exchanges", n)
	}
	if unknown := w.CheckBill(); unknown != 0 {
		t.Errorf("%d tries are unknown after a stop in good order", unknown)
	}
}

// TestFault60StreamsLongerThanTheGrace end with an error event, and their records with what was used.
func TestFault60StreamsLongerThanTheGrace(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(nil, "shutdown_grace: 400ms")})
	wait := w.streams(10, w.model("gap=5ms&events=100000"))
	pending := make(chan penstocktest.Answer, 1)
	go func() { pending <- w.ask("sim-a/slow?first=60s", "hello", false) }()
	if !penstocktest.Eventually(func() bool { return len(w.Sim.Requests()) == 11 }) {
		t.Fatal("the providers were not asked")
	}
	began := time.Now()
	w.Stop()
	if took := time.Since(began); took < 300*time.Millisecond || took > 3*time.Second {
		t.Errorf("a grace of 400 ms took %v", took)
	}
	for i, s := range wait() {
		if s.done || s.failure() != "shutting_down" || s.text(0) == "" {
			t.Errorf("stream %d: done %v, %q", i, s.done, s.failure())
		}
	}
	a := <-pending
	if code, _ := errorOf(t, a); a.Status != http.StatusServiceUnavailable || code != "shutting_down" {
		t.Errorf("the pending call: %d %s", a.Status, a.Body)
	}
	w.Restart()
	all := w.Records()
	if len(all) != 11 {
		t.Errorf("%d records of 11 exchanges", len(all))
	}
	for _, r := range all {
		want := pipeline.SettledEstimated
		if !r.Stream {
			want = pipeline.Unknown // nothing came of it, and the prompt may have been billed
		}
		if r.Error == nil || r.Error.Code != "shutting_down" || r.Tries[0].Outcome != want {
			t.Errorf("record %+v", r)
		}
	}
	w.CheckBill()
}

// TestFault60HurriedStop: a second signal does not wait for the grace, and nothing is lost by it.
func TestFault60HurriedStop(t *testing.T) {
	t.Parallel()
	for _, when := range []time.Duration{0, 4 * time.Second} { // while new ones are taken still, and after that
		t.Run(when.String(), func(t *testing.T) {
			t.Parallel()
			var log logs
			hurry := make(chan os.Signal, 1)
			w := start(t, penstocktest.Options{Config: settings(nil, "shutdown_grace: 12s"), Hurry: hurry, Log: &log})
			wait := w.streams(3, w.model("gap=5ms&events=100000"))
			timer := time.AfterFunc(when, func() { hurry <- os.Interrupt })
			defer timer.Stop()
			w.Stop()
			if said := log.String(); !strings.Contains(said, "told to hurry") || strings.Contains(said, "the grace is over") {
				t.Errorf("it has waited: %s", said)
			}
			for i, s := range wait() {
				if s.done || s.failure() != "shutting_down" || s.text(0) == "" {
					t.Errorf("stream %d: done %v, %q", i, s.done, s.failure())
				}
			}
			w.Restart()
			if n := len(w.Records()); n != 3 {
				t.Errorf("%d records of 3 exchanges", n)
			}
			w.CheckBill()
		})
	}
}

// TestFault61ReloadUnderStreams: streams end on the configuration that they began with, and calls see all of one
// configuration or all of another.
func TestFault61ReloadUnderStreams(t *testing.T) {
	t.Parallel()
	of := func(provider string) string {
		target := []string{provider + "/gpt-x?gap=10ms&events=40"}
		return settings(map[string][]string{"stream": target, "one-" + provider: target, "two-" + provider: target})
	}
	w := start(t, penstocktest.Options{Config: of("sim-a")})
	w.Price("sim-a/gpt-x?gap=10ms&events=40")
	wait := w.streams(20, "stream")
	ctx, cancel := context.WithCancel(t.Context())
	var watchers sync.WaitGroup
	for range 4 {
		watchers.Go(func() {
			for ctx.Err() == nil {
				list := w.Do(http.MethodGet, w.key, "/v1/models", "")
				one, two := strings.Contains(list.Text(), `"one-sim-a"`), strings.Contains(list.Text(), `"two-sim-a"`)
				other := strings.Contains(list.Text(), `"one-sim-b"`)
				if list.Status != http.StatusOK || one != two || one == other {
					t.Errorf("a mixed configuration: %d %s", list.Status, list.Body)
					return
				}
			}
		})
	}
	for _, provider := range []string{"sim-b", "sim-a", "sim-b"} {
		w.WriteConfig(of(provider))
		if err := w.Server.Reload(t.Context(), w.Load); err != nil {
			t.Fatal(err)
		}
		if a := w.ask("stream", "hello", false); a.Header.Get("X-Penstock-Target") != provider+"/gpt-x?gap=10ms&events=40" {
			t.Errorf("after the reload, %q answers", a.Header.Get("X-Penstock-Target"))
		}
	}
	cancel()
	watchers.Wait()
	for i, s := range wait() {
		if !s.done || len(strings.Fields(s.text(0))) != 40 {
			t.Errorf("stream %d: %d words, done %v, %s", i, len(strings.Fields(s.text(0))), s.done, s.failure())
		}
	}
	streamed := 0
	for _, r := range w.Records() {
		if r.Stream && strings.HasPrefix(r.Target, "sim-a/") && r.Error == nil {
			streamed++
		}
	}
	if streamed != 20 {
		t.Errorf("%d of 20 streams ended where they began", streamed)
	}
	w.CheckBill()
}

// TestFault62InvalidReload: the old configuration stays, whole, and it is said why.
func TestFault62InvalidReload(t *testing.T) {
	t.Parallel()
	good := settings(map[string][]string{"support": {"sim-a/m"}})
	w := start(t, penstocktest.Options{Config: good})
	for name, c := range map[string]struct{ text, says string }{
		"unknown key":     {strings.Replace(good, "data: data", "data: data\ncache: { on: true }", 1), "penstock.yaml:4:1: cache:"},
		"unknown key two": {strings.Replace(good, "vendor: none", "vendr: none", 1), "vendr"},
		"not YAML":        {"listen: [", "penstock.yaml:1"},
		"no provider":     {strings.Replace(good, "sim-a/m", "sim-x/m", 1), "sim-x"},
		"needs a restart": {strings.Replace(good, "data: data", "data: elsewhere", 1), "data needs a restart"},
		"a literal secret": {strings.Replace(good, "vendor: none }", "vendor: none, credential: sk-literal-secret-1234 }", 1),
			"a literal secret"},
	} {
		w.WriteConfig(c.text)
		err := w.Server.Reload(t.Context(), w.Load)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "sk-literal-secret-1234") {
			t.Errorf("%s: %v, want %q", name, err, c.says)
			continue
		}
		var status admin.Status
		w.Admin(http.MethodGet, "/status", nil, &status)
		if !status.Ready || !strings.Contains(status.ConfigError, c.says) {
			t.Errorf("%s: status %+v", name, status)
		}
		if a := w.ask("support", "hello", false); a.Status != http.StatusOK {
			t.Errorf("%s: the old configuration does not work any more: %d %s", name, a.Status, a.Body)
		}
	}
	w.WriteConfig(good)
	if err := w.Server.Reload(t.Context(), w.Load); err != nil {
		t.Error(err)
	}
	var status admin.Status
	if w.Admin(http.MethodGet, "/status", nil, &status); status.ConfigError != "" {
		t.Errorf("the mistake is mended, and still shown: %+v", status)
	}
}

// TestFault63CredentialRotatedUnderLoad: no call fails, the new one is in use soon, and neither is ever seen in a log.
func TestFault63CredentialRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	const before, after = "sk-canary-before-0123456789", "sk-canary-after-9876543210"
	var log logs
	dir := t.TempDir()
	file := filepath.Join(dir, "provider.key")
	write := func(value string) {
		if err := os.WriteFile(file+".new", []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	write(before)
	text := strings.Replace(penstocktest.Config, "vendor: none }", "vendor: none, credential: \"file:provider.key\" }", 1)
	w := start(t, penstocktest.Options{Config: text, Dir: dir, Log: &log})
	model := w.model("events=3")
	ctx, cancel := context.WithCancel(t.Context())
	var load sync.WaitGroup
	for i := range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if a := w.ask(model, "hello", i%2 == 0); a.Status != http.StatusOK || a.Err != nil {
					t.Errorf("%d %v %s", a.Status, a.Err, a.Body)
				}
			}
		})
	}
	uses := func(credential string) func() bool {
		sum := sha256.Sum256([]byte(credential))
		want := "Bearer sha256:" + hex.EncodeToString(sum[:8])
		return func() bool {
			all := w.Sim.Requests()
			return len(all) > 20 && !slices.ContainsFunc(all[len(all)-20:], func(r simRequest) bool { return r.Header.Get("Authorization") != want })
		}
	}
	if !penstocktest.Eventually(uses(before)) {
		t.Error("the first credential is not in use")
	}
	write(after)
	if !penstocktest.Eventually(uses(after)) {
		t.Error("the second credential is not in use")
	}
	cancel()
	load.Wait()
	w.CheckBill()
	seen := log.String() + w.Metrics() + fmt.Sprintf("%+v", w.Records()[:50])
	for _, canary := range []string{before, after} {
		if strings.Contains(seen, canary) {
			t.Errorf("%s was seen", canary)
		}
	}
}
