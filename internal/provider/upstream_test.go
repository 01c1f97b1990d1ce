package provider

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// An upstream is a server that is nothing but a script over raw connections, for everything that net/http's own server
// would never do.
type upstream struct {
	t     testing.TB
	l     net.Listener
	conns atomic.Int32 // connections so far
	asked atomic.Int32 // requests read so far
}

// A peer is one connection as the upstream sees it. n counts from 1.
type peer struct {
	net.Conn
	up *upstream
	r  *bufio.Reader
	n  int
}

// startUpstream serves every connection by the script, each on its own goroutine. The connection is closed behind it.
func startUpstream(t testing.TB, script func(p *peer)) *upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{t: t, l: l}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			p := newPeer(u, c)
			all.Go(func() {
				defer func() { _ = c.Close() }()
				script(p)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return u
}

func newPeer(u *upstream, c net.Conn) *peer {
	return &peer{Conn: c, up: u, r: bufio.NewReader(c), n: int(u.conns.Add(1))}
}

// url is where the upstream's API begins.
func (u *upstream) url() string { return "http://" + u.l.Addr().String() }

// request reads one request; ok is false at the connection's end.
func (p *peer) request() (req *http.Request, body []byte, ok bool) {
	req, err := http.ReadRequest(p.r)
	if err != nil {
		return nil, nil, false
	}
	body, err = io.ReadAll(req.Body)
	p.up.asked.Add(1)
	return req, body, err == nil
}

// say writes raw bytes; an error is what closed connections are for.
func (p *peer) say(s string) { _, _ = io.WriteString(p.Conn, s) }

// gone waits until the other side has closed the connection, and reports whether it did within the time.
func (p *peer) gone(within time.Duration) bool {
	_ = p.SetReadDeadline(time.Now().Add(within))
	_, err := io.Copy(io.Discard, p.r)
	var n net.Error
	return err == nil || !(asNet(err, &n) && n.Timeout())
}

func asNet(err error, n *net.Error) bool {
	e, ok := err.(net.Error)
	if ok {
		*n = e
	}
	return ok
}

// answering is the script of an upstream that gives every request the same bytes.
func answering(answer string) func(p *peer) {
	return func(p *peer) {
		for {
			if _, _, ok := p.request(); !ok {
				return
			}
			p.say(answer)
		}
	}
}

// hello is a plain answer with the body "hello".
const hello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

// newTestTransport makes a transport that is closed with the test.
func newTestTransport(t testing.TB, o Options) *transport {
	t.Helper()
	tr := newTransport(newDialer(o, 3*time.Second))
	t.Cleanup(tr.CloseIdleConnections)
	return tr
}

func post(ctx context.Context, url string, body []byte) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		panic(err)
	}
	return req
}

// exchange sends a request and reads the whole answer.
func exchange(t testing.TB, rt http.RoundTripper, url string) (status int, body string, err error) {
	t.Helper()
	resp, err := rt.RoundTrip(post(t.Context(), url, []byte("ask")))
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}
