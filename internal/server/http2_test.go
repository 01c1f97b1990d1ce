package server_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
)

// certificate writes a certificate for 127.0.0.1 and its key into dir, and gives who trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(parsed)
	return roots
}

// TestHTTP2: the data plane keeps its promises over TLS and HTTP/2 too, where a client leaves by resetting its stream.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := certificate(t, dir)
	w := start(t, penstocktest.Options{Dir: dir, Config: settings(nil, `tls: { cert: "file:tls.crt", key: "file:tls.key" }`, "limits: { body_time: 300ms }")})
	model := w.model("gap=10ms&events=10000")
	var connections atomic.Int32
	over := &http.Client{Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connections.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	}}
	t.Cleanup(over.CloseIdleConnections)
	own := w.Client
	ask := func(f func() penstocktest.Answer) penstocktest.Answer {
		w.Client = over
		defer func() { w.Client = own }() // the control plane is called in the plain way
		return f()
	}
	w.model("")
	a := ask(func() penstocktest.Answer { return w.ask("sim-a/gpt-x", "say:5", true) })
	if s := read(t, a.Text()); a.Status != http.StatusOK || !s.done {
		t.Errorf("stream: %d %v %s", a.Status, a.Err, a.Body)
	}
	for name, c := range map[string]struct {
		key    string
		body   string
		status int
	}{
		"plain": {w.key, penstocktest.Chat("sim-a/gpt-x", "say:5", false), 200}, "no key": {"", strings.Repeat("x", 1<<20), 401},
		"too large": {w.key, strings.Repeat("x", 21<<20), 413}, "broken": {w.key, "{", 400},
	} {
		a := ask(func() penstocktest.Answer { return w.Post(c.key, chatPath, c.body) })
		if a.Status != c.status || a.ID() == "" {
			t.Errorf("%s: %d %v %s", name, a.Status, a.Err, a.Body)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+chatPath, strings.NewReader(penstocktest.Chat(model, "hello", true)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	resp, err := over.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 2 {
		t.Errorf("%s", resp.Proto)
	}
	for r := bufio.NewReader(resp.Body); ; {
		if line, err := r.ReadString('\n'); err != nil || strings.Contains(line, "content") {
			break
		}
	}
	cancel()
	left := time.Now()
	if !penstocktest.Eventually(func() bool { _, open := w.Sim.Peak(); return open["sim-a"].Open == 0 }) || time.Since(left) > time.Second {
		t.Errorf("the provider's call went on for %v", time.Since(left))
	}

	// A body that does not come to its end is not waited for, and the connection is not lost by it.
	r, slow := io.Pipe()
	defer slow.Close()
	req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+chatPath, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	if resp, err = over.Do(req); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("a slow body: %d", resp.StatusCode)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections were opened: a refusal must not send away those who share one", n)
	}
	w.CheckBill()
}

// What is refused of HTTP/1 is refused behind TLS too; and who speaks without TLS is told so.
func TestScreenBehindTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := certificate(t, dir)
	w := start(t, penstocktest.Options{Dir: dir, Config: settings(nil, `tls: { cert: "file:tls.crt", key: "file:tls.key" }`)})
	address := strings.TrimPrefix(w.URL, "https://")
	ask := func(c net.Conn, err error, text string) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
		answer, err := io.ReadAll(c) // it closes
		if err != nil {
			t.Errorf("%s: %v", answer, err)
		}
		return string(answer)
	}
	secure := func() (net.Conn, error) {
		return tls.Dial("tcp", address, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	}
	c, err := secure()
	if got := ask(c, err, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Error(got)
	}
	c, err = secure()
	if got := ask(c, err, "GET /healthz HTTP/1.1\r\nHost: x\r\nX: y\r\n z\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
		t.Error(got)
	}
	c, err = net.Dial("tcp", address)
	if got := ask(c, err, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.0 400 ") || !strings.Contains(got, "HTTPS") {
		t.Error(got)
	}
	// One who connects and says nothing holds up nobody.
	silent, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c, err = secure()
	if got := ask(c, err, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Error(got)
	}
}
