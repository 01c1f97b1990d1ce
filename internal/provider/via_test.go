package provider

import (
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestViaEndpoint: another address is dialled, and nothing else is different: not the URL, the Host header, nor the name that the
// certificate must have.
func TestViaEndpoint(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.Proto+" "+r.Host+r.URL.Path)
	})
	overTLS := httptest.NewUnstartedServer(handler) // whose certificate is for example.com
	overTLS.EnableHTTP2 = true
	overTLS.Config.ErrorLog = discardLog()
	overTLS.StartTLS()
	t.Cleanup(overTLS.Close)
	open := httptest.NewServer(handler)
	t.Cleanup(open.Close)
	roots := x509.NewCertPool()
	roots.AddCert(overTLS.Certificate())
	for _, c := range []struct {
		name, base string
		at         net.Addr
		http2      bool
		want       string
	}{
		{"plain", "http://house.example/v1", open.Listener.Addr(), false, "HTTP/1.1 house.example/v1/words"},
		{"plain with a port", "http://house.example:8000/v1", open.Listener.Addr(), false, "HTTP/1.1 house.example:8000/v1/words"},
		{"TLS", "https://example.com/v1", overTLS.Listener.Addr(), false, "HTTP/1.1 example.com/v1/words"},
		{"HTTP/2", "https://example.com/v1", overTLS.Listener.Addr(), true, "HTTP/2.0 example.com/v1/words"},
		{"another's certificate", "https://example.org/v1", overTLS.Listener.Addr(), false, "showed a certificate that is not trusted"},
		{"another's certificate, HTTP/2", "https://example.org/v1", overTLS.Listener.Addr(), true, "showed a certificate that is not trusted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cl := newTestClient(t, Config{BaseURL: c.base, HTTP2: c.http2}, Options{Egress: Egress{Roots: roots}})
			for range 2 {
				resp, err := cl.Do(t.Context(), Via{Endpoint: c.at.String()}, house, plain())
				var got string
				if err != nil {
					got = err.(*Failure).Message
				} else {
					words, _ := walk(resp)
					got = strings.Join(words, "")
				}
				if got != c.want {
					t.Errorf("got %q (%v), want %q", got, err, c.want)
				}
			}
		})
	}
}

// TestViaKeepsEndpointsApart: a connection to one is not taken for another.
func TestViaKeepsEndpointsApart(t *testing.T) {
	t.Parallel()
	one, two := startUpstream(t, answering(hello)), startUpstream(t, answering(hello))
	cl := newTestClient(t, Config{BaseURL: "http://house.example"}, Options{})
	for range 3 {
		for _, up := range []*upstream{one, two} {
			resp, err := cl.Do(t.Context(), Via{Endpoint: up.l.Addr().String()}, house, plain())
			if err != nil {
				t.Fatal(err)
			}
			walk(resp)
		}
	}
	for _, up := range []*upstream{one, two} {
		if up.conns.Load() != 1 || up.asked.Load() != 3 {
			t.Errorf("%d connections, %d requests", up.conns.Load(), up.asked.Load())
		}
	}
}

func TestViaFirstToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ configured, via, want time.Duration }{
		{time.Minute, 0, time.Minute},
		{time.Minute, time.Second, time.Second},
		{time.Second, time.Minute, time.Second},
		{0, time.Minute, time.Minute},
		{0, 0, 0},
		{time.Minute, -1, time.Minute},
	} {
		if got := (Via{FirstToken: c.via}).timers(Timeouts{FirstToken: c.configured, Gap: 1}); got.FirstToken != c.want || got.Gap != 1 {
			t.Errorf("%v configured, %v asked for: %+v, want %v", c.configured, c.via, got, c.want)
		}
	}
}

func TestViaFirstTokenFires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cl := newTestClient(t, Config{BaseURL: "http://house"}, Options{
			Defaults: Timeouts{FirstToken: time.Minute}, DialContext: pipes(func(p *peer) { _, _, _ = p.request(); p.gone(time.Hour) }),
		})
		began := time.Now()
		_, err := cl.Do(t.Context(), Via{FirstToken: 3 * time.Second}, house, stream())
		if f, ok := err.(*Failure); !ok || f.Reason != ReasonFirstToken || f.Message != "sent no first token in 3 s" || time.Since(began) != 3*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}
