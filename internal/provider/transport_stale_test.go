package provider

import (
	"crypto/tls"
	"net"
	"net/http"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

// A connection may have been closed by the upstream just before a request took it (S21). Every row says what the first
// connection does when it has answered once, and whether the request that takes it then goes out again.
func TestTransportStale(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		dial  time.Duration // how long connecting takes
		then  func(p *peer)
		again bool  // the request goes out again, and is answered
		asked int32 // requests that the upstream has read whole, the first and the repeated one included
	}{
		{"closed while idle", 0, func(*peer) {}, true, 2},
		{"closes on the request", 0, works(0), true, 3},
		{"closes just within the least window", 0, works(5 * time.Millisecond), true, 3},
		{"closes just behind the least window", 0, works(5*time.Millisecond + 1), false, 2},
		{"closes within two round trips", 8 * time.Millisecond, works(16 * time.Millisecond), true, 3},
		{"closes behind two round trips", 8 * time.Millisecond, works(16*time.Millisecond + 1), false, 2},
		{"closes within the most window", time.Second, works(50 * time.Millisecond), true, 3},
		{"closes behind the most window", time.Second, works(50*time.Millisecond + 1), false, 2},
		{"works for 100 ms and closes", time.Second, works(100 * time.Millisecond), false, 2},
		{"reads half of the request and closes much later", 0, func(p *peer) {
			_, _ = p.Read(make([]byte, 20))
			time.Sleep(time.Minute)
		}, true, 2},
		{"closes after a byte of an answer", 0, func(p *peer) {
			_, _, _ = p.request()
			p.say("H")
		}, false, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				up := &upstream{}
				cl := newTestClient(t, Config{BaseURL: "http://up"}, Options{DialContext: pipesTo(up, c.dial, func(p *peer) {
					if p.n > 1 {
						answering(hello)(p)
						return
					}
					_, _, _ = p.request()
					p.say(hello)
					c.then(p)
				})})
				if _, f := callAndWalk(t.Context(), cl, plain()); f != nil {
					t.Fatal(f)
				}
				synctest.Wait()
				_, f := callAndWalk(t.Context(), cl, plain())
				switch {
				case (f == nil) != c.again:
					t.Errorf("failure %v; want the request sent again: %t", f, c.again)
				case f != nil && (f.Reason != ReasonCut || f.NothingBilled || !f.Fallback()):
					t.Errorf("failure %+v, want a cut that another target may mend and that may have been billed", f)
				}
				if asked := up.asked.Load(); asked != c.asked {
					t.Errorf("the upstream read %d requests, want %d", asked, c.asked)
				}
			})
		})
	}
}

// works is an upstream that takes a request, does something with it for a while, and closes without an answer.
func works(d time.Duration) func(p *peer) {
	return func(p *peer) {
		_, _, _ = p.request()
		time.Sleep(d)
	}
}

// On real sockets: the upstream resets an idle connection between the look at it and the request.
func TestTransportStaleReset(t *testing.T) {
	t.Parallel()
	up := startUpstream(t, func(p *peer) {
		if p.n > 1 {
			answering(hello)(p)
			return
		}
		_, _, _ = p.request()
		p.say(hello)
		_ = p.Conn.(*net.TCPConn).SetLinger(0) // the close that follows then resets
	})
	tr := newTestTransport(t, Options{})
	if _, _, err := exchange(t, tr, up.url()); err != nil {
		t.Fatal(err)
	}
	w, err := tr.dialer.way(post(t.Context(), up.url(), nil).URL)
	if err != nil {
		t.Fatal(err)
	}
	c := tr.idle.idle[w][0]
	for c.quiet() { // until the reset has arrived
		runtime.Gosched()
	}
	c.quiet = func() bool { return true } // the look came before it
	if _, body, err := exchange(t, tr, up.url()); body != "hello" || err != nil {
		t.Errorf("got %q %v", body, err)
	}
	if conns, asked := up.conns.Load(), up.asked.Load(); conns != 2 || asked != 2 {
		t.Errorf("%d connections and %d requests, want 2 and 2", conns, asked)
	}
}

// A long request that the upstream stops reading goes out again whole.
func TestTransportStaleSendsTheWholeBodyAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := 0
		tr := newTestTransport(t, Options{DialContext: pipesTo(&upstream{}, 0, func(p *peer) {
			_, body, _ := p.request()
			p.say(hello)
			if p.n == 1 {
				_, _ = p.Read(make([]byte, joinedBody))
				return
			}
			got = len(body)
		})})
		if _, _, err := exchange(t, tr, "http://up"); err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(post(t.Context(), "http://up", make([]byte, 2*joinedBody)))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		synctest.Wait()
		if got != 2*joinedBody {
			t.Errorf("the second connection was sent %d bytes, want %d", got, 2*joinedBody)
		}
	})
}

// A connection that was made for the request is never tried again, whatever happens.
func TestTransportFreshConnectionIsNotRetried(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(p *peer){
		"closes on the request": works(0),
		"does not read it":      func(*peer) {},
	} {
		synctest.Test(t, func(t *testing.T) {
			up := &upstream{}
			tr := newTestTransport(t, Options{DialContext: pipesTo(up, 0, serve)})
			if _, _, err := exchange(t, tr, "http://up"); err == nil || up.conns.Load() != 1 {
				t.Errorf("%s: error %v on %d connections, want one on 1", name, err, up.conns.Load())
			}
		})
	}
}

// What the window is measured by is the way to the far end: a tunnel with what is behind it counts, TLS does not.
func TestReachIsMeasured(t *testing.T) {
	t.Parallel()
	server, roots := startTLS(t, nil)
	synctest.Test(t, func(t *testing.T) {
		tr := newTestTransport(t, Options{
			Egress: Egress{Proxy: "http://proxy.test:3128", Roots: roots},
			DialContext: pipesTo(&upstream{}, 3*time.Millisecond, func(p *peer) {
				if _, err := http.ReadRequest(p.r); err != nil {
					return
				}
				time.Sleep(4 * time.Millisecond)
				p.say("HTTP/1.1 200 OK\r\n\r\n")
				time.Sleep(8 * time.Millisecond)
				_ = tls.Server(p.Conn, &tls.Config{Certificates: server.TLS.Certificates}).Handshake()
			}),
		})
		w, err := tr.dialer.way(post(t.Context(), "https://example.com", nil).URL)
		if err != nil {
			t.Fatal(err)
		}
		c, err := tr.dialer.connect(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		defer c.abort()
		if want := 7 * time.Millisecond; c.reach != want || c.staleWindow() != 2*want {
			t.Errorf("it took %v to reach, which makes a window of %v; want %v and twice that", c.reach, c.staleWindow(), want)
		}
	})
}
