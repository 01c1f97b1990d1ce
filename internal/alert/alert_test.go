package alert

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/penstock/penstock/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key   = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX" // 24 bytes
	other = "////////////////////////////////"
	token = "T0/B0/q7Zx9"
)

var secrets = map[string]string{
	"env:URL": "https://alerts.example.com/" + token, "env:KEY": "whsec_" + key, "env:BOTH": "whsec_" + key + "\nwhsec_" + other,
	"env:SHORT": "whsec_AAAA", "env:BARE": key, "env:FTP": "ftp://x/y",
}

func lookup(secrets map[string]string) func(string) (secret.String, error) {
	return func(ref string) (secret.String, error) {
		if s, ok := secrets[ref]; ok {
			return secret.New(s), nil
		}
		return secret.String{}, errors.New("the variable " + ref + " is not set")
	}
}

var resolve = lookup(secrets)

// A receiver takes messages as a receiver would, and verifies each.
type receiver struct {
	t    *testing.T
	mu   sync.Mutex // guards the fields below
	got  []told
	answ func(attempt int) (*http.Response, error) // of the next attempts; nil is 204
	n    int
}

type told struct {
	at     time.Time
	id     string
	status bool // it was taken
	body   struct {
		Type string
		Alert
	}
	raw string
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, err := io.ReadAll(req.Body)
	if err != nil {
		r.t.Error(err)
	}
	verify(r.t, req.Header, b)
	one := told{at: time.Now(), id: req.Header.Get("webhook-id"), raw: string(b)}
	if err := json.Unmarshal(b, &one.body); err != nil {
		r.t.Errorf("%v in %s", err, b)
	}
	if strings.Contains(string(b), token) || strings.Contains(string(b), key) {
		r.t.Errorf("a secret in the payload: %s", b)
	}
	r.n++
	resp, err := &http.Response{StatusCode: 204, Body: http.NoBody}, error(nil)
	if r.answ != nil {
		resp, err = r.answ(r.n)
	}
	one.status = err == nil && resp.StatusCode/100 == 2
	r.got = append(r.got, one)
	return resp, err
}

// verify is what a library for Standard Webhooks does.
func verify(t *testing.T, h http.Header, body []byte) {
	t.Helper()
	at, signature := h.Get("webhook-timestamp"), h.Get("webhook-signature")
	k, _ := base64.StdEncoding.DecodeString(key)
	mac := hmac.New(sha256.New, k)
	mac.Write([]byte(h.Get("webhook-id") + "." + at + "." + string(body)))
	want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if at == "" || h.Get("webhook-id") == "" || !slices.Contains(strings.Fields(signature), want) {
		t.Errorf("id %q, timestamp %q, signature %q, want %q", h.Get("webhook-id"), at, signature, want)
	}
}

// states are the messages that were taken: "raised store_down".
func (r *receiver) states() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []string{}
	for _, one := range r.got {
		if one.status {
			list = append(list, strings.TrimSpace(string(one.body.State)+" "+string(one.body.Kind)+" "+one.body.Object))
		}
	}
	return list
}

func (r *receiver) expect(want ...string) {
	r.t.Helper()
	synctest.Wait()
	if got := r.states(); !slices.Equal(got, want) {
		r.t.Errorf("told %q, want %q", got, want)
	}
}

// A world is a board with a receiver.
type world struct {
	*Board
	*receiver
	log     *bytes.Buffer
	metrics *prometheus.Registry
}

// messages is the value of penstock_alert_messages_total for an outcome.
func (w *world) messages(outcome string) float64 {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "penstock_alert_messages_total" && m.GetLabel()[0].GetValue() == outcome {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// bubble runs a test in fake time with a board that runs.
func bubble(t *testing.T, cfg Config, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{t: t}
		if cfg.Webhook == "" {
			cfg.Webhook, cfg.Secret = "env:URL", "env:KEY"
		}
		hook, err := NewWebhook(cfg, resolve, r)
		if err != nil {
			t.Fatal(err)
		}
		log := &bytes.Buffer{}
		metrics := prometheus.NewRegistry()
		b := New(Options{Log: slog.New(slog.NewTextHandler(log, nil)), Metrics: metrics})
		b.Use(hook)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		test(&world{b, r, log, metrics})
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// pass lets time go by, with what keeps reporting.
func (w *world) pass(d time.Duration, report func()) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		if report != nil {
			report()
		}
		time.Sleep(2 * time.Second)
	}
	synctest.Wait()
}

func TestRaisedOnceRemindedAndResolved(t *testing.T) {
	t.Parallel()
	bubble(t, Config{Repeat: time.Hour, Instance: "one"}, func(w *world) {
		down := func() { w.Report(StoreDown, "", "The store does not answer.") }
		w.pass(4*time.Second, down)
		w.expect() // not yet: it must last
		w.pass(10*time.Minute, down)
		w.expect("raised store_down")
		w.pass(55*time.Minute, down)
		w.expect("raised store_down", "still store_down")
		w.Clear(StoreDown, "")
		w.pass(25*time.Second, nil)
		w.expect("raised store_down", "still store_down")
		w.pass(10*time.Second, nil)
		w.expect("raised store_down", "still store_down", "resolved store_down")
		first, last := w.got[0].body, w.got[2].body
		if first.ID != last.ID || first.ID == "" || !first.Since.Equal(last.Since) || first.Type != "alert.raised" ||
			first.Severity != Critical || first.Instance != "one" || first.Runbook != "docs/reference/alerts.md#store_down" || w.got[0].id == w.got[2].id {
			t.Errorf("%+v and %+v", first, last)
		}
		if n := strings.Count(w.log.String(), "\n"); n != 3 {
			t.Errorf("%d lines in the log, want one for each change:\n%s", n, w.log)
		}
		w.pass(2*time.Hour, nil)
		if len(w.items) != 0 {
			t.Errorf("%d conditions are remembered", len(w.items))
		}
	})
}

func TestWhatIsNotReportedAnyMoreIsOver(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(w *world) {
		w.pass(70*time.Second, func() { w.Report(ProviderDown, "a", "x") })
		w.pass(30*time.Second, func() { w.Report(ProviderDown, "b", "x") })
		w.expect("raised provider_down a")
		w.pass(5*time.Minute, nil)
		w.expect("raised provider_down a", "resolved provider_down a")
	})
}

func TestObjectsAreToldApart(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(w *world) {
		for range 3 {
			w.Report(CredentialRefused, "a", "x")
			w.Report(CredentialRefused, "b", "x")
		}
		w.expect("raised credential_refused a", "raised credential_refused b")
		w.ClearOthers(CredentialRefused, map[string]bool{"b": true})
		w.pass(2*time.Minute, nil)
		w.expect("raised credential_refused a", "raised credential_refused b", "resolved credential_refused a")
		if open := w.Open(); len(open) != 1 || open[0].Object != "b" {
			t.Errorf("open: %+v", open)
		}
	})
}

// A condition that comes and goes each minute for a day is told of a few times, and not two thousand.
func TestFlapsAreDamped(t *testing.T) {
	t.Parallel()
	bubble(t, Config{Repeat: 4 * time.Hour}, func(w *world) {
		for range 720 {
			w.Report(JournalFailing, "", "x")
			w.pass(10*time.Second, nil)
			w.Clear(JournalFailing, "")
			w.pass(110*time.Second, nil)
		}
		if n := len(w.states()); n < 3 || n > 20 {
			t.Errorf("told %d times: %q", n, w.states())
		}
		w.pass(3*time.Hour, nil)
		if all := w.states(); all[len(all)-1] != "resolved journal_failing" {
			t.Errorf("the last word is %q", all[len(all)-1])
		}
	})
}

func TestARefusedMessageIsSentAgain(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(w *world) {
		w.answ = func(n int) (*http.Response, error) {
			switch n {
			case 1:
				return nil, errors.New("connection refused")
			case 2:
				return &http.Response{StatusCode: 503, Body: http.NoBody, Header: http.Header{"Retry-After": {"60"}}}, nil
			case 3:
				return &http.Response{StatusCode: 302, Body: http.NoBody, Header: http.Header{"Location": {"https://elsewhere.example.com"}}}, nil
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}
		w.Report(CredentialRefused, "a", "x")
		w.pass(10*time.Minute, nil)
		w.expect("raised credential_refused a")
		if len(w.got) != 4 {
			t.Fatalf("%d attempts, want 4: a redirect is not followed", len(w.got))
		}
		for i, least := range []time.Duration{800 * time.Millisecond, time.Minute, 3 * time.Second} {
			if gap := w.got[i+1].at.Sub(w.got[i].at); gap < least {
				t.Errorf("attempt %d came after %v, want at least %v", i+2, gap, least)
			}
			if w.got[i+1].id != w.got[0].id {
				t.Errorf("the id of a message changes from attempt to attempt")
			}
		}
		if strings.Contains(w.log.String(), token) || strings.Count(w.log.String(), "could not be told") != 1 {
			t.Errorf("log: %s", w.log)
		}
	})
}

// While the receiver is away, the latest state of each alert waits, and nothing else.
func TestALongOutageOfTheReceiver(t *testing.T) {
	t.Parallel()
	bubble(t, Config{Repeat: time.Minute}, func(w *world) {
		away := true
		w.answ = func(int) (*http.Response, error) {
			if away {
				return nil, errors.New("no route to host")
			}
			return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
		}
		w.pass(time.Hour, func() { w.Report(StoreDown, "", "x") })
		w.Clear(StoreDown, "")
		w.pass(time.Hour, func() { w.Report(DiskLow, "/data", "x") })
		away = false
		w.pass(10*time.Minute, func() { w.Report(DiskLow, "/data", "x") })
		got := w.states()
		if !slices.Contains(got, "resolved store_down") || !slices.Contains(got, "still disk_low /data") || slices.Contains(got, "raised store_down") {
			t.Errorf("told %q", got)
		}
		if n := w.messages("superseded"); n < 50 {
			t.Errorf("%v superseded", n)
		}
		if len(w.got) > 600 {
			t.Errorf("%d attempts in two hours", len(w.got))
		}
	})
}

func TestThereIsABoundOfAlerts(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(w *world) {
		for i := range 2 * maxItems {
			w.Report(ModelUnpriced, strings.Repeat("x", i+1), "x")
		}
		if len(w.items) != maxItems || w.messages("lost") != maxItems {
			t.Errorf("%d alerts, %v lost", len(w.items), w.messages("lost"))
		}
	})
}

func TestNobodyIsToldWithoutAReceiver(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(w *world) {
		w.Use(nil)
		w.Report(CredentialRefused, "a", "x")
		w.pass(time.Minute, nil)
		w.expect()
		if _, err := w.Test(w.t.Context()); !errors.Is(err, ErrNobody) {
			t.Errorf("%v", err)
		}
		if len(w.Open()) != 1 || !strings.Contains(w.log.String(), "state=raised") {
			t.Errorf("it is open and in the log all the same: %+v\n%s", w.Open(), w.log)
		}
	})
}

func TestTest(t *testing.T) {
	t.Parallel()
	bubble(t, Config{Runbooks: "https://wiki.example.com/penstock"}, func(w *world) {
		sent, err := w.Test(w.t.Context())
		if err != nil || sent.Kind != Test {
			t.Errorf("%+v, %v", sent, err)
		}
		w.expect("raised test")
		if got := w.got[0].body; got.Runbook != "https://wiki.example.com/penstock#test" || got.ID != sent.ID || len(w.Open()) != 0 {
			t.Errorf("%+v", got)
		}
		w.answ = func(int) (*http.Response, error) { return &http.Response{StatusCode: 401, Body: http.NoBody}, nil }
		if _, err := w.Test(w.t.Context()); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("%v", err)
		}
	})
}

func TestTheOrderOfOpenAlerts(t *testing.T) {
	t.Parallel()
	bubble(t, Config{}, func(w *world) {
		w.Report(ClockJumped, "", "x")
		w.Report(CredentialRefused, "b", "x")
		w.pass(2*time.Second, nil)
		w.Report(CredentialRefused, "a", "x")
		var got []string
		for _, o := range w.Open() {
			got = append(got, string(o.Kind)+o.Object)
		}
		if want := []string{"credential_refusedb", "credential_refuseda", "clock_jumped"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
