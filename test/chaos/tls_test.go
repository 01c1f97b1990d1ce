//go:build linux

package chaos

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// secured is a configuration with certificates of clients on both listeners.
const secured = `tls: { cert: "file:data.crt", key: "file:data.key", client_ca: "file:clients.pem" }
admin: { listen: "127.0.0.1:0", tls: { cert: "file:admin.crt", key: "file:admin.key", client_ca: "file:clients.pem" } }
` + providers + `models:
  plain: { targets: ["sim-a/x?events=3"] }
  long:  { targets: ["sim-a/x?events=80&gap=50ms"] }
`

// A fortress is a world in which everybody shows a certificate.
type fortress struct {
	*world
	servers, clients *authority
}

func (f *fortress) put(name string, p pair) {
	f.t.Helper()
	f.write(filepath.Join(f.dir, name+".crt"), p.cert)
	f.write(filepath.Join(f.dir, name+".key"), p.key)
}

// client trusts the servers' authority, and shows a certificate of the given one, nil for none.
func (f *fortress) client(by *authority) *http.Client {
	f.t.Helper()
	c := &tls.Config{RootCAs: pool(f.servers), MinVersion: tls.VersionTLS12}
	if by != nil {
		c.Certificates = []tls.Certificate{by.issue(f.t, "somebody").tls(f.t)}
	}
	return &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}}
}

func newFortress(t *testing.T, around string) *fortress {
	t.Helper()
	f := &fortress{
		world:   &world{t: t, rng: draws(t), dir: t.TempDir(), plan: plan{config: secured, sim: simulated, around: around}},
		servers: newAuthority(t, "servers"), clients: newAuthority(t, "clients"),
	}
	f.file = filepath.Join(f.dir, "penstock.yaml")
	f.put("data", f.servers.issue(t, "data", "127.0.0.1"))
	f.put("admin", f.servers.issue(t, "admin", "127.0.0.1"))
	f.write(filepath.Join(f.dir, "clients.pem"), f.clients.pem)
	f.http = f.client(f.clients)
	f.simulate("127.0.0.1:0")
	f.configure(secured)
	f.up()
	f.key = f.newKey("chaos")
	return f
}

// Without a certificate, or with one that somebody else signed, nobody gets in, and plain HTTP neither.
func TestClientsShowCertificates(t *testing.T) {
	f := newFortress(t, "")
	f.must(call{model: "plain"})
	f.must(call{model: "plain", stream: true})
	for name, client := range map[string]*http.Client{
		"none":           f.client(nil),
		"a stranger's":   f.client(newAuthority(t, "strangers")),
		"the servers'":   f.client(f.servers),
		"no trust in us": {Timeout: patience, Transport: &http.Transport{}},
	} {
		for _, target := range []string{f.url + "/healthz", f.adminURL + "/healthz"} {
			if resp, err := client.Get(target); err == nil {
				resp.Body.Close()
				t.Errorf("with %s certificate, %s answered %d", name, target, resp.StatusCode)
			}
		}
	}
	plain := strings.Replace(f.url, "https", "http", 1)
	if a := f.get(plain+"/healthz", ""); a.status == http.StatusOK {
		t.Errorf("over plain HTTP: %s", a)
	}
	for _, version := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		c := f.client(f.clients)
		c.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
		c.Transport.(*http.Transport).TLSClientConfig.MaxVersion = version
		if resp, err := c.Get(f.url + "/healthz"); err == nil {
			resp.Body.Close()
			t.Errorf("TLS version %x is taken", version)
		}
	}
}

// shown is the serial number of the certificate that a listener shows to somebody who comes now.
func (f *fortress) shown(target string) (*big.Int, error) {
	c := f.client(f.clients)
	defer c.CloseIdleConnections()
	resp, err := c.Get(target + "/healthz")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return resp.TLS.PeerCertificates[0].SerialNumber, nil
}

func (f *fortress) shows(target string, want pair) error {
	got, err := f.shown(target)
	switch {
	case err != nil:
		return err
	case got.Cmp(want.serial) != 0:
		return fmt.Errorf("serial number %d, want %d", got, want.serial)
	}
	return nil
}

// A certificate is replaced on the disk: within 2 s the new one is shown, and streams that are open go on. One that is
// broken is not taken.
func TestCertificatesReplaced(t *testing.T) {
	f := newFortress(t, "")
	s := f.streams(20, call{model: "long"})
	next := map[string]pair{}
	for name, target := range map[string]string{"data": f.url, "admin": f.adminURL} {
		next[name] = f.servers.issue(t, name+" again", "127.0.0.1")
		f.put(name, next[name])
		eventually(t, 2*time.Second, "the new certificate", func() error { return f.shows(target, next[name]) })
	}
	f.write(filepath.Join(f.dir, "data.crt"), "-----BEGIN CERTIFICATE-----\nbroken")
	<-time.After(1200 * time.Millisecond)
	for range 3 {
		if err := f.shows(f.url, next["data"]); err != nil {
			t.Errorf("after a broken replacement: %v", err)
		}
		<-time.After(1100 * time.Millisecond)
	}
	if told := lines(f.serve.log(t), "certificate cannot be read"); len(told) != 1 {
		t.Errorf("told %d times of one broken certificate", len(told))
	}
	other := f.servers.issue(t, "of another key", "127.0.0.1")
	f.write(filepath.Join(f.dir, "data.crt"), other.cert) // but not its key
	<-time.After(1200 * time.Millisecond)
	if err := f.shows(f.url, next["data"]); err != nil {
		t.Errorf("after a replacement without its key: %v", err)
	}
	f.write(filepath.Join(f.dir, "data.key"), other.key)
	eventually(t, 2*time.Second, "certificate and key", func() error { return f.shows(f.url, other) })
	for _, a := range s.wait() {
		if !a.whole {
			t.Errorf("a stream that was open: %s", a)
		}
	}
	f.turnAway()
}

// turnAway replaces the clients' authority: those of the old one are refused then, those of the new one get in.
func (f *fortress) turnAway() {
	f.t.Helper()
	before, after := f.client(f.clients), newAuthority(f.t, "clients again")
	if err := reach(before, f.url); err != nil {
		f.t.Errorf("before the authority was replaced: %v", err)
	}
	before.CloseIdleConnections()
	f.write(filepath.Join(f.dir, "clients.pem"), after.pem)
	eventually(f.t, 3*time.Second, "the new authority", func() error {
		old := reach(before, f.url)
		before.CloseIdleConnections()
		if old == nil {
			return errors.New("the old one is still trusted")
		}
		return reach(f.client(after), f.url)
	})
	f.http = f.client(after)
}

func reach(c *http.Client, target string) error {
	resp, err := c.Get(target + "/healthz")
	if err == nil {
		resp.Body.Close()
	}
	return err
}

// TestUpstreamCertificates: a provider whose certificate nobody vouches for is not called; egress.ca vouches.
func TestUpstreamCertificates(t *testing.T) {
	rng := draws(t)
	house := newAuthority(t, "house")
	upstream := newUpstream(t, house.issue(t, "upstream", "127.0.0.1"))
	section := "providers: { house: { dialect: openai, base_url: \"https://" + upstream.addr + "/v1\", credential: env:SIM_KEY } }\nmodels: { plain: { targets: [house/m] } }\n"
	w := newWorld(t, rng, plan{config: section})
	a := w.chat(context.Background(), call{model: "plain"})
	if a.status != http.StatusBadGateway || !strings.Contains(string(a.body), "certificate") || strings.Contains(string(a.body), providerKey) {
		t.Errorf("an unknown authority: %s", a)
	}
	if n := upstream.count(); n > 0 {
		t.Errorf("%d calls reached a provider that cannot be trusted", n)
	}
	w.write(filepath.Join(w.dir, "house.pem"), house.pem)
	w.configure(section + "egress: { ca: \"file:house.pem\" }\n")
	eventually(t, patience, "trust", func() error {
		if a := w.chat(context.Background(), call{model: "plain"}); !a.whole {
			return errors.New(a.String())
		}
		return nil
	})
	w.free(providerKey)
}

// A public control plane without TLS has to be asked for in words.
func TestPublicControlPlaneNeedsTLS(t *testing.T) {
	draws(t)
	dir := t.TempDir()
	w := &world{t: t, dir: dir, file: filepath.Join(dir, "penstock.yaml")}
	open := "listen: 127.0.0.1:0\nadmin: { listen: \"0.0.0.0:0\"%s }\nproviders: { p: { dialect: openai, base_url: \"http://127.0.0.1:1/v1\" } }\n"
	w.write(w.file, fmt.Sprintf(open, ""))
	_, words, code := command(t, dir, "serve", "-c", w.file)
	if code != 3 || !strings.Contains(words, "penstock.yaml:2:") || !strings.Contains(words, "allow_plaintext") {
		t.Errorf("exit code %d:\n%s", code, words)
	}
	w.write(w.file, fmt.Sprintf(open, ", allow_plaintext: true"))
	w.up()
}
