package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCommandsReachAControlPlaneWithTLS: with the authority and a client certificate a command is served, and without one of
// them it says what is missing.
func TestCommandsReachAControlPlaneWithTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	pool := selfSigned(t, cert, key)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer psk_test" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"data":[],"next":""}`) // a client that left asks for nothing
	}))
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		flags []string
		env   map[string]string
		code  int
		words string
	}{
		"flags":           {flags: []string{"--admin-ca", ca, "--admin-cert", cert, "--admin-cert-key", key}},
		"environment":     {env: map[string]string{"PENSTOCK_ADMIN_CA": ca, "PENSTOCK_ADMIN_CERT": cert, "PENSTOCK_ADMIN_CERT_KEY": key}},
		"no authority":    {flags: []string{"--admin-cert", cert, "--admin-cert-key", key}, code: exitUnreachable, words: "certificate"},
		"no certificate":  {flags: []string{"--admin-ca", ca}, code: exitUnreachable, words: "certificate"},
		"half a pair":     {flags: []string{"--admin-ca", ca, "--admin-cert", cert}, code: exitUsage, words: "belong together"},
		"no such file":    {flags: []string{"--admin-ca", filepath.Join(dir, "none")}, code: exitUsage, words: "--admin-ca cannot be read"},
		"not a PEM":       {flags: []string{"--admin-ca", key}, code: exitUsage, words: "holds no certificate"},
		"not a key of it": {flags: []string{"--admin-ca", ca, "--admin-cert", ca, "--admin-cert-key", key}, code: exitUsage, words: "--admin-cert cannot be used"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"PENSTOCK_ADMIN_URL": s.URL, "PENSTOCK_ADMIN_KEY": "psk_test"}
			for k, v := range tt.env {
				env[k] = v
			}
			var out, words bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &out, err: &words, env: func(k string) (string, bool) { v, ok := env[k]; return v, ok }}
			if code := a.run(t.Context(), append([]string{"project", "list"}, tt.flags...)); code != tt.code || !strings.Contains(words.String(), tt.words) {
				t.Errorf("exit code %d, want %d\n%s", code, tt.code, words.String())
			}
		})
	}
}

// selfSigned writes a client certificate and its key, and gives the pool that knows it.
func selfSigned(t *testing.T, cert, key string) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "operator"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}
