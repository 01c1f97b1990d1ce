//go:build linux

package chaos

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An upstream is a provider of the test's own, with TLS.
type upstream struct {
	addr string

	mu   sync.Mutex // guards the field below
	seen []http.Header
}

const hi = `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`

func newUpstream(t *testing.T, p pair) *upstream {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{p.tls(t)}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{addr: l.Addr().String()}
	quiet := log.New(io.Discard, "", 0) // of those who do not trust us
	h := &http.Server{ReadHeaderTimeout: patience, ErrorLog: quiet, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		u.seen = append(u.seen, r.Header.Clone())
		u.mu.Unlock()
		rw.Header().Set("Content-Type", "application/json")
		fmt.Fprint(rw, hi)
	})}
	go func() { _ = h.Serve(l) }() // until Close
	t.Cleanup(func() { _ = h.Close() })
	return u
}

func (u *upstream) count() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.seen)
}

// A proxy makes tunnels to one address, whatever name it is asked for, for those who know the password.
type proxy struct {
	addr string
	to   string

	mu    sync.Mutex // guards the field below
	heads []string   // what it was sent in clear
}

const proxyUser, proxyPassword = "egress", "canary-proxy-word-5e11"

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), to: to}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	req, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.heads = append(p.heads, fmt.Sprintf("%s %s %v", req.Method, req.RequestURI, req.Header))
	p.mu.Unlock()
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxyPassword))
	if req.Method != http.MethodConnect || req.Header.Get("Proxy-Authorization") != want {
		fmt.Fprint(c, "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
		return
	}
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer to.Close()
	fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(to, in); _ = to.Close() }()
	_, _ = io.Copy(c, to)
}

func (p *proxy) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.heads...)
}

// The way out leads through a proxy: it makes tunnels and sees no credential; loopback is reached directly.
func TestEgressProxy(t *testing.T) {
	rng := draws(t)
	house := newAuthority(t, "house")
	up := newUpstream(t, house.issue(t, "upstream", "models.example.test"))
	p := newProxy(t, up.addr)
	w := &world{t: t, rng: rng, dir: t.TempDir(), http: newClient(), plan: plan{
		sim: simulated, env: []string{"EGRESS=http://" + proxyUser + ":" + proxyPassword + "@" + p.addr},
	}}
	w.file = filepath.Join(w.dir, "penstock.yaml")
	w.write(filepath.Join(w.dir, "house.pem"), house.pem)
	w.simulate("127.0.0.1:0")
	w.configure(`egress: { proxy: env:EGRESS, ca: "file:house.pem" }
providers:
  far:  { dialect: openai, base_url: "https://models.example.test/v1", credential: env:SIM_KEY }
  near: { dialect: openai, base_url: "http://$SIM/sim-a/v1", credential: env:SIM_KEY }
models: { far: { targets: [far/m] }, near: { targets: ["near/x?events=2"] } }
`)
	w.up()
	w.key = w.newKey("chaos")
	w.must(call{model: "near"})
	if heads := p.asked(); len(heads) > 0 {
		t.Errorf("loopback was reached through the proxy: %v", heads)
	}
	w.must(call{model: "far"})
	heads := p.asked()
	if len(heads) != 1 || !strings.HasPrefix(heads[0], "CONNECT models.example.test:443") {
		t.Errorf("the proxy was asked for %v", heads)
	}
	for _, head := range heads {
		if strings.Contains(head, providerKey) {
			t.Errorf("the proxy was sent the provider's credential: %s", head)
		}
	}
	for _, h := range up.seen {
		if h.Get("Authorization") != "Bearer "+providerKey || h.Get("Proxy-Authorization") != "" {
			t.Errorf("the provider was sent %v", h)
		}
	}
	w.free(providerKey, proxyPassword)
}

// A provider that is gone is a 502 in words; when it is back, it is used again without a restart.
func TestProviderGoneAndBack(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: providers + "models: { plain: { targets: [\"sim-a/x?events=3\"] } }\n"})
	f := w.drive(4, func(_, turn int) call { return call{model: "plain", stream: turn%2 == 0} })
	<-time.After(200 * time.Millisecond)
	for range longer(2, 20) {
		w.sim.end(t, syscall.SIGKILL, patience)
		eventually(t, patience, "refused", func() error {
			a := w.chat(context.Background(), call{model: "plain"})
			if a.status != http.StatusBadGateway || a.code() != "provider_failed" || !strings.Contains(string(a.body), "sim-a") {
				return errors.New(a.String())
			}
			return nil
		})
		w.simulate(w.simAddr)
		w.must(call{model: "plain"}) // the very next one
		<-time.After(200 * time.Millisecond)
	}
	for _, a := range f.home() {
		switch {
		case a.whole, a.status == http.StatusBadGateway:
		case a.status == http.StatusOK && a.streamed() && a.code() == "stream_interrupted":
		default:
			t.Fatalf("neither an answer nor an honest error: %s", a)
		}
	}
	if a := w.get(w.url+"/readyz", ""); a.status != http.StatusOK {
		t.Errorf("providers do not count for readiness: %s", a)
	}
}

// A provider that stops in its tracks: the timer is named, and a second provider answers in its place.
func TestProviderHangs(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: `timeouts: { connect: 500ms, first_token: 400ms, gap: 500ms, total: 20s }
` + providers + `  far:   { dialect: openai, base_url: "http://$FAR/sim-b/v1", vendor: none, credential: env:SIM_KEY }
models:
  alone:  { targets: ["sim-a/x?events=3"] }
  mended: { targets: ["sim-a/x?events=3", "far/y?events=3"] }
  long:   { targets: ["sim-a/x?events=40&gap=50ms"] }
`})
	w.must(call{model: "mended"})
	s := w.streams(5, call{model: "long"})
	w.sim.signal(t, syscall.SIGSTOP)
	resumed := false
	resume := func() {
		if !resumed {
			resumed = true
			w.sim.signal(t, syscall.SIGCONT)
		}
	}
	defer resume() // or it could not even be stopped
	stopped := time.Now()
	for _, a := range s.wait() {
		if a.whole || a.status != http.StatusOK || a.code() != "timeout" || !strings.Contains(string(a.body), "gap") {
			t.Errorf("a stream that fell silent: %s", a)
		}
	}
	for i := range 3 {
		a := w.chat(context.Background(), call{model: "alone"})
		if a.status != http.StatusGatewayTimeout || a.code() != "timeout" || !strings.Contains(string(a.body), "first_token") {
			t.Errorf("a provider that does not answer: %s", a)
		}
		a = w.must(call{model: "mended"})
		// Streams and calls that hung have had the first one ejected by the last time.
		if tries := a.header.Get("X-Penstock-Tries"); a.target() != "far/y?events=3" || tries != "2" && (i == 0 || tries != "1") {
			t.Errorf("the second provider: %s %v", a, a.header)
		}
	}
	<-time.After(3*time.Second - time.Since(stopped))
	resume()
	eventually(t, patience, "the first provider again", func() error {
		if a := w.chat(context.Background(), call{model: "mended"}); a.target() != "sim-a/x?events=3" {
			return errors.New(a.String())
		}
		return nil
	})
}
