package provider

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/penstock/penstock/internal/secret"
)

// startTLS starts an HTTPS server that answers "hello PROTO", and gives its authority.
func startTLS(t *testing.T, config *tls.Config) (*httptest.Server, *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello "+r.Proto)
	}))
	s.TLS = config
	s.EnableHTTP2 = true
	s.Config.ErrorLog = discardLog()
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s, roots
}

// Security 14.
func TestTLS(t *testing.T) {
	t.Parallel()
	good, roots := startTLS(t, nil)
	old, oldRoots := startTLS(t, &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	_, port, err := net.SplitHostPort(good.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	plainUp := startUpstream(t, func(p *peer) { p.say("HTTP/1.1 400 Bad Request\r\n\r\n") })
	for _, c := range []struct {
		name, url string
		roots     *x509.CertPool
		http2     bool
		want      string // the answer, or the failure's message
	}{
		{"own authority", good.URL, roots, false, "hello HTTP/1.1"},
		{"own authority, HTTP/2", good.URL, roots, true, "hello HTTP/2.0"},
		{"self-signed", good.URL, nil, false, "showed a certificate that is not trusted"},
		{"self-signed, HTTP/2", good.URL, nil, true, "showed a certificate that is not trusted"},
		{"another authority", good.URL, x509.NewCertPool(), false, "showed a certificate that is not trusted"},
		{"another name", "https://localhost:" + port, roots, false, "showed a certificate that is not trusted"},
		{"TLS 1.1", old.URL, oldRoots, false, "could not be reached"},
		{"no TLS", strings.Replace(plainUp.url(), "http:", "https:", 1), nil, false, "does not speak TLS, though its base_url begins with https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cl := newTestClient(t, Config{BaseURL: c.url, HTTP2: c.http2}, Options{Egress: Egress{Roots: c.roots}})
			for range 2 {
				words, f := callAndWalk(t.Context(), cl, plain())
				got := strings.Join(words, "")
				if f != nil {
					got = f.Message
					if f.Reason != ReasonConnect || !f.NothingBilled {
						t.Errorf("failure %+v", f)
					}
				}
				if got != c.want {
					t.Errorf("got %q (%v), want %q", got, f, c.want)
				}
			}
		})
	}
}

func TestTLSConnectionsAreKept(t *testing.T) {
	t.Parallel()
	s, roots := startTLS(t, nil)
	var dials atomic.Int32
	cl := newTestClient(t, Config{BaseURL: s.URL}, Options{Egress: Egress{Roots: roots},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		}})
	for range 5 {
		if _, f := callAndWalk(t.Context(), cl, plain()); f != nil {
			t.Fatal(f)
		}
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("5 calls took %d connections, want 1", n)
	}
}

// A proxy is an egress proxy that notes what it is asked for.
type proxy struct {
	t    *testing.T
	mu   sync.Mutex // guards seen
	seen []string
	deny bool
}

func (p *proxy) note(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, s)
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.note(r.Method + " " + r.RequestURI + " " + r.Header.Get("Proxy-Authorization"))
	if p.deny {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		_, _ = io.WriteString(w, "by proxy")
		return
	}
	_, port, _ := net.SplitHostPort(r.Host)
	far, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		p.t.Error(err)
		return
	}
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		p.t.Error(err)
		return
	}
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	var both sync.WaitGroup
	both.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
	both.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
	both.Wait()
}

func TestEgressProxy(t *testing.T) {
	t.Parallel()
	target, roots := startTLS(t, nil)
	// Loopback is never proxied, so the target goes by a name that only the proxy's dialing resolves.
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, strings.Replace(addr, "proxy.test", "127.0.0.1", 1))
	}
	p := &proxy{t: t}
	plainProxy := httptest.NewServer(p)
	t.Cleanup(plainProxy.Close)
	sp := &proxy{t: t}
	tlsProxy := httptest.NewTLSServer(sp)
	t.Cleanup(tlsProxy.Close)
	denying := &proxy{t: t, deny: true}
	denyingProxy := httptest.NewServer(denying)
	t.Cleanup(denyingProxy.Close)
	at := func(s *httptest.Server, user string) string {
		u, err := url.Parse(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Scheme + "://" + user + u.Host
	}
	auth := "Basic " + base64.StdEncoding.EncodeToString([]byte("me:pass word"))
	for _, c := range []struct {
		name, proxy, base string
		http2             bool
		want              string // the answer, or the failure's reason
		seen              string // by any proxy, last
	}{
		{"tunnel", at(plainProxy, "me:pass%20word@"), "https://example.com:" + portOf(target), false, "hello HTTP/1.1", "CONNECT example.com:" + portOf(target) + " " + auth},
		{"tunnel, HTTP/2", at(plainProxy, ""), "https://example.com:" + portOf(target), true, "hello HTTP/2.0", "CONNECT example.com:" + portOf(target) + " "},
		{"tunnel in TLS", at(tlsProxy, "me:pass%20word@"), "https://example.com:" + portOf(target), false, "hello HTTP/1.1", "CONNECT example.com:" + portOf(target) + " " + auth},
		{"absolute form", at(plainProxy, "me:pass%20word@"), "http://example.com/v1", false, "by proxy", "POST http://example.com/v1/words " + auth},
		{"refused", at(denyingProxy, ""), "https://example.com", false, string(ReasonConnect), "CONNECT example.com:443 "},
		{"not a URL", "proxy:3128", "https://example.com", false, string(ReasonConnect), ""},
		{"another scheme", "socks5://" + canary + "@proxy:1080", "https://example.com", false, string(ReasonConnect), ""},
		{"written out", at(plainProxy, ""), "http://example.com/v1", false, "by proxy", "POST http://example.com/v1/words "},
		{"unset", "", "https://example.com", false, string(ReasonConnect), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ref := "env:P"
			if c.name == "written out" {
				ref = c.proxy
			}
			cl := newTestClient(t, Config{BaseURL: c.base, HTTP2: c.http2}, Options{
				Egress:      Egress{Proxy: ref, Roots: roots},
				DialContext: dial,
				Resolve: func(string) (secret.String, error) {
					if c.proxy == "" {
						return secret.String{}, errors.New("the variable P is not set")
					}
					return secret.New(c.proxy), nil
				},
			})
			words, f := callAndWalk(t.Context(), cl, plain())
			got := strings.Join(words, "")
			if f != nil {
				got = string(f.Reason)
				if strings.Contains(f.Error(), canary) || strings.Contains(f.Error(), "pass") {
					t.Errorf("the failure shows the proxy's credential: %v", f)
				}
			}
			if got != c.want {
				t.Errorf("got %q (%v), want %q", got, f, c.want)
			}
			last := ""
			for _, one := range []*proxy{p, sp, denying} {
				one.mu.Lock()
				if len(one.seen) > 0 {
					last = one.seen[len(one.seen)-1]
				}
				one.seen = nil
				one.mu.Unlock()
			}
			if last != c.seen {
				t.Errorf("the proxy saw %q, want %q", last, c.seen)
			}
		})
	}
}

func portOf(s *httptest.Server) string {
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	return port
}

func TestNoProxy(t *testing.T) {
	t.Parallel()
	value := "http://proxy:3128"
	e := &egress{
		proxy:   &reference{ref: "env:P", resolve: func(string) (secret.String, error) { return secret.New(value), nil }},
		noProxy: "internal.test,10.0.0.0/8",
	}
	for target, want := range map[string]string{
		"https://api.openai.com/v1": "http://proxy:3128", "http://a.internal.test": "", "http://10.1.2.3:8000/v1": "",
		"http://127.0.0.1:1": "", "http://localhost": "", "http://11.0.0.1": "http://proxy:3128",
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.proxyFor(u)
		if err != nil {
			t.Fatal(err)
		}
		if (got == nil) != (want == "") || (got != nil && got.String() != want) {
			t.Errorf("%s goes by %v, want %q", target, got, want)
		}
	}
}

// What a proxy says before the target could have spoken would be taken for the target's words.
func TestTunnelRefusesEarlyWords(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"early words":  "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n",
		"not HTTP":     "SSH-2.0-x\r\n\r\n",
		"endless head": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 1<<17),
		"nothing":      "",
	} {
		near, far := net.Pipe()
		go func() {
			_, _ = http.ReadRequest(bufio.NewReader(far))
			_, _ = io.WriteString(far, answer)
			_ = far.Close()
		}()
		if err := tunnel(near, &url.URL{Scheme: "http", Host: "proxy"}, "up:443"); err == nil {
			t.Errorf("%s: the tunnel was taken", name)
		}
		_ = near.Close()
	}
}
