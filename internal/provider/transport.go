package provider

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

const (
	// maxHead caps an answer's status line and headers, interim answers and CONNECT answers included, in bytes.
	maxHead = 64 << 10
	// maxInterim is how many 1xx answers may precede an answer.
	maxInterim = 5
	// joinedBody is up to which size a body is copied behind its head, so that both leave in one write.
	joinedBody = 32 << 10
)

// A transport is an HTTP/1.1 client that does a whole exchange on the caller's own goroutine, where http.Transport hands
// it over to two more: that is most of the CPU time of a short call (docs/benchmarks.md). It keeps connections, follows
// no redirect, asks for no compression and undoes none, and knows no cookies.
//
// The answer is parsed by http.ReadResponse, so that framing has one well-tested reading. A connection is used again
// only if its last exchange left nothing behind: body read to its end, no byte more, no objection of either side.
type transport struct {
	dialer *dialer
	idle   pool
}

func newTransport(d *dialer) *transport {
	return &transport{dialer: d, idle: pool{most: maxIdle, timeout: idleTimeout}}
}

// CloseIdleConnections closes the connections that no exchange uses now, and the others when their exchange ends.
func (t *transport) CloseIdleConnections() { t.idle.closeAll() }

// RoundTrip sends the request and reads the head of the answer. The request's length must be known. All of the request
// is sent, or given up, before it returns, so the body may be used again.
//
// The upstream may close a kept connection at the moment we take it. Then the request is sent again, once, on a new
// connection. It is no second try, for there is evidence that the upstream has not worked on the request: the connection
// had been idle, it ended before any byte of an answer, and either the request had not been sent whole, or the end came as
// soon as an end does that was under way already (conn.staleWindow). Whatever ends otherwise may have been worked on, and
// billed: it is a failure, and asking anew is for the caller to decide and to record.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := req.Body
	if body != nil {
		defer func() { _ = body.Close() }()
	}
	if err := checkRequest(req); err != nil {
		return nil, err
	}
	way, err := t.dialer.way(req.URL)
	if err != nil {
		return nil, err
	}
	c := t.idle.take(way)
	if c != nil {
		resp, err := t.exchange(c, req, body)
		_, stale := errors.AsType[*staleError](err)
		if !stale || (req.Body != nil && req.GetBody == nil) {
			return resp, err
		}
		if req.GetBody != nil {
			again, err := req.GetBody()
			if err != nil {
				return nil, fmt.Errorf("read the request again: %w", err)
			}
			defer func() { _ = again.Close() }()
			body = again
		}
	}
	c, err = t.dialer.connect(req.Context(), way)
	if err != nil {
		return nil, err
	}
	return t.exchange(c, req, body)
}

// A staleError says that a kept connection turned out to have been closed by the other side while it was idle.
type staleError struct{ err error }

func (e *staleError) Error() string { return "idle connection was closed: " + e.err.Error() }
func (e *staleError) Unwrap() error { return e.err }

// exchange sends a request on a connection and reads the head of its answer. The connection is given back or closed by
// the answer's body, or here if there is no answer.
func (t *transport) exchange(c *conn, req *http.Request, reqBody io.Reader) (*http.Response, error) {
	ctx := req.Context()
	stop := context.AfterFunc(ctx, c.abort)
	c.reader = readers.Get().(*bufio.Reader)
	c.reader.Reset(c)
	began := time.Time{}
	if c.kept {
		began = time.Now()
	}
	sendErr := c.send(req, reqBody)
	if sendErr != nil && !hungUp(sendErr) {
		t.discard(c, stop)
		return nil, cause(ctx, sendErr)
	}
	// A failed send is no end yet: an upstream that refuses a long body answers and closes before it has read all of it.
	resp, err := c.receive(req)
	if err != nil {
		stale := c.stale(began, sendErr, err)
		t.discard(c, stop)
		if stale && ctx.Err() == nil {
			return nil, &staleError{err}
		}
		return nil, cause(ctx, err)
	}
	b := &body{
		transport: t, conn: c, src: resp.Body, ctx: ctx, stop: stop,
		keep: sendErr == nil && !resp.Close && !req.Close,
	}
	if resp.Body == http.NoBody {
		b.end(true)
	}
	resp.Body = b
	return resp, nil
}

// discard ends an exchange whose connection is of no further use.
func (t *transport) discard(c *conn, stop func() bool) {
	stop()
	c.abort()
	c.freeReader()
}

// cause is why a call failed: what ended its context, if that has ended, else what the network says.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// checkRequest refuses what must not reach the wire: everything in a request comes from the configuration and the
// codec, but a credential is read from a file that anybody may have edited.
func checkRequest(req *http.Request) error {
	if req.ContentLength < 0 || (req.ContentLength == 0 && req.Body != nil && req.Body != http.NoBody) {
		return errors.New("the length of the request is not known")
	}
	if s := req.URL.Scheme; s != "http" && s != "https" {
		return fmt.Errorf("scheme %q is not http or https", s)
	}
	for name, values := range req.Header {
		if !isToken(name) {
			return fmt.Errorf("header name %q has characters that it must not have", name)
		}
		for _, v := range values {
			if !isHeaderValue(v) {
				return fmt.Errorf("the value of header %s has characters that it must not have", name)
			}
		}
	}
	return nil
}

// isToken reports whether s may be the name of a header.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return s != ""
}

// isHeaderValue reports whether s may be the value of a header: no control characters, above all no line breaks.
func isHeaderValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// buffers holds heads, and small bodies behind them, while they are sent.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// appendHead appends the request line and the headers. target is a path, or a whole URL towards a proxy.
func appendHead(dst []byte, req *http.Request, target string) []byte {
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	host := req.Host
	if host == "" {
		host = req.URL.Host
	}
	dst = append(dst, host...)
	dst = append(dst, "\r\n"...)
	for name, values := range req.Header {
		for _, v := range values {
			dst = append(dst, name...)
			dst = append(dst, ": "...)
			dst = append(dst, v...)
			dst = append(dst, "\r\n"...)
		}
	}
	if req.Body != nil {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, req.ContentLength, 10)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// absoluteForm is the request target towards a proxy.
func absoluteForm(u *url.URL) string { return u.Scheme + "://" + u.Host + u.RequestURI() }
