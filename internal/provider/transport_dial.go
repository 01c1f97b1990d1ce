package provider

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// A way is how a target is reached. Connections of one way are interchangeable.
type way struct {
	scheme string
	addr   string   // host and port of the target
	proxy  *url.URL // nil: directly. One proxy has one pointer, so that ways compare
}

// absolute reports whether requests go to a proxy, which then makes the connection to the target itself.
func (w way) absolute() bool { return w.proxy != nil && w.scheme == "http" }

// A dialer makes connections: name look-up, TCP, the egress proxy's tunnel, TLS; all of it under the connect timer.
type dialer struct {
	timeout time.Duration // 0: none
	host    string        // whose certificate is asked for; "" is the host of the way
	dial    func(ctx context.Context, network, addr string) (net.Conn, error)
	egress  *egress     // nil: always directly
	tls     *tls.Config // ServerName is filled in for each connection

	distances distances
}

// newTLSConfig is the TLS side of every connection to an upstream. There is no switch that turns checking off.
func newTLSConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            roots,
		NextProtos:         []string{"http/1.1"},
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
}

// way says how a URL is reached.
func (d *dialer) way(u *url.URL) (way, error) {
	w := way{scheme: u.Scheme, addr: hostPort(u)}
	if d.egress == nil {
		return w, nil
	}
	proxy, err := d.egress.proxyFor(u)
	if err != nil {
		return way{}, &Failure{
			Reason: ReasonConnect, NothingBilled: true, Err: err,
			Message: "was not called: the egress proxy's address cannot be read",
		}
	}
	w.proxy = proxy
	return w, nil
}

// hostPort is the URL's host with its port, or the scheme's own.
func hostPort(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Host
	case u.Scheme == "https":
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

// connect makes a connection, or says in a *Failure why there is none.
func (d *dialer) connect(ctx context.Context, w way) (*conn, error) {
	limited, cancel := d.limit(ctx)
	defer cancel()
	c, err := d.open(limited, w, d.tls)
	if err != nil {
		return nil, d.failure(ctx, limited, err)
	}
	c.quiet = quietCheck(c.raw)
	return c, nil
}

// limit starts the connect timer.
func (d *dialer) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.timeout <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d.timeout)
}

// open does the work of connect.
func (d *dialer) open(ctx context.Context, w way, config *tls.Config) (*conn, error) {
	first := w.addr
	if w.proxy != nil {
		first = hostPort(w.proxy)
	}
	began := time.Now()
	var clock stopwatch
	socket, err := d.dial(clock.watch(ctx), "tcp", first)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: socket, raw: socket, way: w, head: -1}
	// Whatever waits on the socket waits no longer than ctx.
	stop := context.AfterFunc(ctx, c.abort)
	if err = d.pass(ctx, c); err == nil {
		c.reach = time.Since(began)
		near := c.reach
		if w.proxy == nil {
			near = clock.elapsed(near)
		}
		d.distances.note(w.addr, near)
		err = d.secure(ctx, c, config)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.abort()
		return nil, err
	}
	return c, nil
}

// pass gets a connection past the proxy, if there is one: the proxy's TLS, and its tunnel.
func (d *dialer) pass(ctx context.Context, c *conn) error {
	proxy := c.way.proxy
	if proxy == nil {
		return nil
	}
	if proxy.Scheme == "https" {
		if err := handshake(ctx, c, proxy.Hostname(), d.tls); err != nil {
			return fmt.Errorf("egress proxy: %w", err)
		}
	}
	if c.way.absolute() {
		return nil
	}
	if err := tunnel(c.Conn, proxy, c.way.addr); err != nil {
		return fmt.Errorf("egress proxy: %w", err)
	}
	return nil
}

// secure puts the target's TLS on top, if it has any.
func (d *dialer) secure(ctx context.Context, c *conn, config *tls.Config) error {
	if c.way.scheme == "http" {
		return nil
	}
	host := d.host
	if host == "" {
		var err error
		if host, _, err = net.SplitHostPort(c.way.addr); err != nil {
			return err
		}
	}
	return handshake(ctx, c, host, config)
}

// handshake begins TLS as a client, over what is spoken so far, and checks the certificate against the host's name.
func handshake(ctx context.Context, c *conn, host string, config *tls.Config) error {
	config = config.Clone()
	config.ServerName = host
	above := tls.Client(c.Conn, config)
	if err := above.HandshakeContext(ctx); err != nil {
		return err
	}
	c.Conn = above
	return nil
}

// tunnel asks a proxy for a connection to addr.
func tunnel(c net.Conn, proxy *url.URL, addr string) error {
	head := append([]byte(nil), "CONNECT "+addr+" HTTP/1.1\r\nHost: "+addr+"\r\n"...)
	head = append(appendProxyAuth(head, proxy), "\r\n"...)
	if _, err := c.Write(head); err != nil {
		return err
	}
	answer := &conn{Conn: c, head: maxHead}
	r := bufio.NewReader(answer)
	resp, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil:
		return fmt.Errorf("read the answer to CONNECT: %w", err)
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("it answered %d to CONNECT", resp.StatusCode)
	case r.Buffered() > 0:
		return errors.New("it spoke before the target could")
	}
	return nil
}

// proxyAuth is the value of Proxy-Authorization, "" if the proxy's URL has no user.
func proxyAuth(proxy *url.URL) string {
	if proxy.User == nil {
		return ""
	}
	password, _ := proxy.User.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(proxy.User.Username()+":"+password))
}

// failure says in words why there is no connection. Nothing was sent, so nothing was billed.
func (d *dialer) failure(ctx, limited context.Context, err error) error {
	f := &Failure{Reason: ReasonConnect, NothingBilled: true, Err: err}
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	if _, timed := limited.Deadline(); timed && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)) {
		<-limited.Done() // the network's own timer may run out a moment before the context's
	}
	switch {
	case ctx.Err() != nil:
		f.Err = context.Cause(ctx)
		f.Message = "was not reached before the call ended"
	case limited.Err() != nil:
		f.Reason, f.Timer = ReasonConnectTimer, "connect"
		f.Message = "did not accept a connection in " + seconds(d.timeout)
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Message = "refused the connection"
	case errors.As(err, &dns):
		f.Message = "has a host name that does not resolve"
	case errors.As(err, &cert):
		f.Message = "showed a certificate that is not trusted"
	case errors.As(err, &plain):
		f.Message = "does not speak TLS, though its base_url begins with https"
	default:
		f.Message = "could not be reached"
	}
	return f
}

// An egress chooses the proxy for a URL. The proxy's own URL is a reference and may change while serving.
type egress struct {
	proxy   *reference
	noProxy string

	mu     sync.Mutex // guards the fields below
	value  string     // what the reference stood for when choose was made
	choose func(*url.URL) (*url.URL, error)
}

// proxyFor gives the proxy for a URL, nil for none. It fails rather than to go past a proxy that should be used.
func (e *egress) proxyFor(u *url.URL) (*url.URL, error) {
	s, err := e.proxy.read(time.Now())
	if err != nil {
		return nil, fmt.Errorf("egress.proxy: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.choose == nil || e.value != s.Reveal() {
		value := strings.TrimSpace(s.Reveal())
		if err := checkProxyURL(value); err != nil {
			return nil, fmt.Errorf("egress.proxy: its value %w", err)
		}
		e.value = s.Reveal()
		e.choose = proxyOf(value, e.noProxy)
	}
	return e.choose(u)
}

// proxyOf chooses the proxy for a URL, nil for those that are reached directly.
func proxyOf(proxy, noProxy string) func(*url.URL) (*url.URL, error) {
	return (&httpproxy.Config{HTTPProxy: proxy, HTTPSProxy: proxy, NoProxy: noProxy}).ProxyFunc()
}

// checkProxyURL refuses what httpproxy would silently take for no proxy. It never quotes the URL: it may hold a password.
func checkProxyURL(value string) error {
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "":
		return errors.New("is not a URL such as http://proxy:3128")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("does not begin with http:// or https://")
	}
	return nil
}

// seconds writes a timer for people: "120 s", "0.5 s".
func seconds(d time.Duration) string {
	return fmt.Sprintf("%g s", d.Seconds())
}
