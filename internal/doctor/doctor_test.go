package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/config"
)

const canary = "CANARYSECRETCANARY"

// configured loads a file of a few lines in a directory of its own.
func configured(t *testing.T, text string) (*exam, config.Options) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"penstock.yaml": text, "key": canary} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o := config.Options{File: filepath.Join(dir, "penstock.yaml"), Env: func(string) (string, bool) { return "", false }}
	cfg, err := config.Load(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return &exam{o: Options{Config: o, Now: time.Now}, cfg: cfg}, o
}

const minimal = "listen: 127.0.0.1:0\nadmin: { listen: \"127.0.0.1:0\" }\ndata: data\n"

// found fails the test unless some finding is so.
func (e *exam) found(t *testing.T, state State, check, words string) {
	t.Helper()
	for _, f := range e.findings {
		if f.State == state && f.Check == check && strings.Contains(f.Text, words) {
			if (state == Fail || state == Warn) && f.Do == "" {
				t.Errorf("%+v does not say what to do", f)
			}
			return
		}
	}
	t.Errorf("no %s of %s with %q in %+v", state, check, words, e.findings)
}

func write(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Repeat("x", 4096)), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	e, _ := configured(t, minimal)
	look := func() {
		e.findings = nil
		for _, check := range []func(context.Context){e.data, e.keyring, e.adminKey, e.store, e.disk, e.files, e.plaintext} {
			check(t.Context())
		}
	}
	look()
	for _, check := range []string{"data", "keyring", "admin key", "store"} {
		e.found(t, OK, check, "first start")
	}
	e.found(t, OK, "plaintext", "")

	write(t, e.cfg.AdminKeyPath(), 0o644)
	write(t, e.cfg.StorePath(), 0o600)
	if err := os.Chmod(e.cfg.Data, 0o777); err != nil {
		t.Fatal(err)
	}
	e.cfg.Alerts.DiskFree = 1 << 60
	look()
	e.found(t, Fail, "data", "can be written by others (mode 0777)")
	e.found(t, Fail, "admin key", "mode 0644")
	e.found(t, Fail, "keyring", "is not there, and the store is")
	e.found(t, Fail, "store", "cannot be read")
	e.found(t, Fail, "disk", "less than alerts.disk_free")

	write(t, e.cfg.KeyringPath(), 0o600)
	if err := os.Chmod(e.cfg.Data, 0o755); err != nil {
		t.Fatal(err)
	}
	e.cfg.Listen, e.cfg.Admin.Listen = "0.0.0.0:1", ":2"
	look()
	e.found(t, Warn, "data", "can be listed by others")
	e.found(t, OK, "keyring", "mode 0600")
	e.found(t, Warn, "plaintext", "the data plane listens on 0.0.0.0:1 without TLS")
	e.found(t, Warn, "plaintext", "the control plane listens on :2 without TLS")
}

func TestMemory(t *testing.T) {
	t.Parallel()
	e, _ := configured(t, minimal)
	for limit, want := range map[int64]State{0: OK, 100 << 20: Warn, 2 << 30: OK} {
		e.findings = nil
		e.memoryLimit(limit)
		e.found(t, want, "memory", "limit")
	}
	dir := t.TempDir()
	for name, want := range map[string]int64{"max": 0, "536870912\n": 536870912, "9223372036854771712": 0, "": 0} {
		path := filepath.Join(dir, "memory.max")
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readLimit([]string{filepath.Join(dir, "absent"), path}); got != want {
			t.Errorf("%q is a limit of %d, want %d", name, got, want)
		}
	}
}

func TestClocksAndCertificates(t *testing.T) {
	t.Parallel()
	e, _ := configured(t, minimal)
	e.clock("the database's clock", 900*time.Millisecond, 0)
	e.found(t, OK, "clock", "agree within")
	e.clock("the database's clock", -90*time.Second, time.Millisecond)
	e.found(t, Fail, "clock", "differ by")
	for left, want := range map[time.Duration]State{-time.Hour: Fail, time.Hour: Fail, 20 * day: Warn, 90 * day: OK} {
		e.findings = nil
		e.certificate("tls", "renew it", time.Now().Add(left))
		e.found(t, want, "certificate", "that of tls")
	}
}

// A provider is asked for its models, with its credential, and for nothing else; what it answers is told without the
// credential, and without its own words.
func TestUpstreams(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		status int
		date   time.Duration
		state  State
		check  string
		words  string
	}{
		"well":    {200, 0, OK, "upstream", "answers in"},
		"refused": {401, 0, Fail, "upstream", "the credential in file:key is refused"},
		"limited": {429, 0, Warn, "upstream", "rate limit"},
		"no list": {404, 0, Warn, "upstream", "has no list of models"},
		"broken":  {503, 0, Warn, "upstream", "it answers 503"},
		"moved":   {302, 0, Warn, "upstream", "redirects"},
		"clock":   {200, -time.Hour, Fail, "clock", "the clock of house"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := make(chan string, 10)
			up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization")
				if tt.date != 0 {
					w.Header().Set("Date", time.Now().Add(tt.date).UTC().Format(http.TimeFormat))
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				fmt.Fprint(w, canary)
			}))
			defer up.Close()
			e, _ := configured(t, minimal+"providers:\n  house: { dialect: openai, base_url: \""+up.URL+"/v1\", credential: file:key }\n")
			e.upstreams(t.Context())
			e.found(t, tt.state, tt.check, tt.words)
			if got := <-asked; got != "GET /v1/models Bearer "+canary || len(asked) != 0 {
				t.Errorf("it was asked %q, and %d more", got, len(asked))
			}
			if strings.Contains(fmt.Sprint(e.findings), canary) {
				t.Errorf("the credential is told: %+v", e.findings)
			}
		})
	}
}

// A provider of another dialect is asked in its own: where its list is, with the header that has its key.
func TestUpstreamOfAnthropic(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.Method + " " + r.URL.Path + " " + r.Header.Get("X-Api-Key") + r.Header.Get("Authorization") + " " + r.Header.Get("Anthropic-Version")
	}))
	defer up.Close()
	e, _ := configured(t, minimal+"providers:\n  house: { dialect: anthropic, base_url: \""+up.URL+"\", credential: file:key }\n")
	e.upstreams(t.Context())
	e.found(t, OK, "upstream", "answers in")
	if got := <-asked; got != "GET /v1/models "+canary+" 2023-06-01" || len(asked) != 0 {
		t.Errorf("it was asked %q, and %d more", got, len(asked))
	}
}

// All of it: a file with mistakes ends the branch, a missing secret does not; what serves is part of it.
func TestExamine(t *testing.T) {
	t.Parallel()
	_, o := configured(t, minimal+"providers:\n  house: { dialect: openai, base_url: \"http://127.0.0.1:1/v1\", credential: file:gone }\n")
	now := time.Now()
	serving := func(context.Context) (*admin.Status, []admin.Alert, error) {
		return &admin.Status{Version: "1", Reason: "the store is away", Stops: 2, ConfigError: "line 3"}, []admin.Alert{
			{Severity: "critical", Kind: "disk_low", Since: now}, {Severity: "warning", Kind: "model_errors", Since: now}, {Severity: "info", Kind: "stopped"},
		}, nil
	}
	e := &exam{findings: Examine(t.Context(), Options{Config: o, Serving: serving})}
	e.found(t, Fail, "config", "gone")
	e.found(t, Fail, "serving", "is not ready: the store is away")
	e.found(t, Fail, "serving", "could not be taken over")
	e.found(t, Warn, "serving", "2 stops")
	e.found(t, Fail, "alert", "disk_low")
	e.found(t, Warn, "alert", "model_errors")
	e.found(t, Fail, "upstream", "house")

	if err := os.WriteFile(o.File, []byte("listen: nowhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	e = &exam{findings: Examine(t.Context(), Options{Config: o})}
	e.found(t, Fail, "config", "listen")
	e.found(t, Skip, "rest", "")

	_, o = configured(t, minimal)
	silent := func(context.Context) (*admin.Status, []admin.Alert, error) {
		return nil, nil, errors.New("no Penstock serves")
	}
	e = &exam{findings: Examine(t.Context(), Options{Config: o, Serving: silent})}
	e.found(t, Fail, "config", "no providers")
	e.found(t, Warn, "serving", "no Penstock serves")
}
