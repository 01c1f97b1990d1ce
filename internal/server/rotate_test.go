package server_test

import (
	"context"
	"encoding/pem"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/server"
)

// startHouse starts a provider over TLS, and gives its authority in PEM. conns counts its connections.
func startHouse(t *testing.T) (url, authority string, conns *atomic.Int64) {
	t.Helper()
	conns = new(atomic.Int64)
	house := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":"1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}`)
	}))
	house.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	house.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	house.StartTLS()
	t.Cleanup(house.Close)
	return house.URL, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: house.Certificate().Raw})), conns
}

// startWithHangup is start for a Penstock that takes signals.
func startWithHangup(t *testing.T, dir, text string, log io.Writer) (w *world, hangup chan<- os.Signal) {
	t.Helper()
	e := &penstocktest.Env{T: t, Dir: dir, File: filepath.Join(dir, "penstock.yaml"), Client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(e.Client.CloseIdleConnections)
	e.WriteConfig(text)
	cfg, err := e.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal)
	e.Server, err = server.New(t.Context(), cfg, server.Options{
		Log: slog.New(slog.NewTextHandler(log, nil)), Version: "test", Hangup: signals,
		Load: e.Load,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	key, err := os.ReadFile(cfg.AdminKeyPath())
	if err != nil {
		t.Fatal(err)
	}
	p := e.Server.Presence()
	e.URL, e.AdminURL, e.AdminKey = p.DataURL, p.AdminURL, strings.TrimSpace(string(key))
	return &world{Env: e, t: t, key: e.Key("acme")}, signals
}

// TestHangupTakesOverARotatedAuthority: the file that egress.ca names is not watched, and no key of the configuration
// changes with it, but a signal has it read anew.
func TestHangupTakesOverARotatedAuthority(t *testing.T) {
	t.Parallel()
	url, right, conns := startHouse(t)
	dir := t.TempDir()
	certificate(t, dir)
	wrong, err := os.ReadFile(filepath.Join(dir, "tls.crt"))
	if err != nil {
		t.Fatal(err)
	}
	write := func(authority string) {
		if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(authority), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(string(wrong))
	var log logs
	w, hangup := startWithHangup(t, dir, `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
egress: { ca: "file:ca.pem" }
providers:
  house: { dialect: openai, base_url: "`+url+`", vendor: none }
`, &log)
	if a := w.ask("house/x", "hello", false); a.Status != http.StatusBadGateway {
		t.Fatalf("a provider that cannot be trusted: %d %s", a.Status, a.Body)
	}
	for _, step := range []struct{ name, authority, says string }{
		{"rotated", right, "configuration taken over"},
		{"the same", right, "the configuration is the one in force already"},
		{"broken", "no PEM", "egress.ca: holds no certificate in PEM"},
		{"mended", right, "the configuration is the one in force already"},
	} {
		write(step.authority)
		before := strings.Count(log.String(), step.says)
		seen := conns.Load()
		hangup <- syscall.SIGHUP
		if !penstocktest.Eventually(func() bool { return strings.Count(log.String(), step.says) > before }) {
			t.Fatalf("%s: the log does not say %q:\n%s", step.name, step.says, log.String())
		}
		if a := w.ask("house/x", "hello", false); a.Status != http.StatusOK {
			t.Errorf("%s: %d %s", step.name, a.Status, a.Body)
		}
		if again := conns.Load() == seen; again != (step.name != "rotated") {
			t.Errorf("%s: the connections were kept: %t", step.name, again)
		}
	}
}
