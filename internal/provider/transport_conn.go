package provider

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	readerSize = 8 << 10
	// drainTime and drainBytes bound what the end of a stream may cost behind its end mark, see body.drain.
	drainTime  = 100 * time.Millisecond
	drainBytes = 4 << 10
)

var (
	errHeadTooLong = fmt.Errorf("the head of the answer is over %d KB", maxHead>>10)
	errInterim     = fmt.Errorf("more than %d interim answers", maxInterim)
	errSwitched    = errors.New("the upstream switched protocols unasked")
)

// readers holds the read buffers: only a connection in use has one.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readerSize) }}

// A conn is one connection to an upstream. One exchange has it at a time.
type conn struct {
	net.Conn          // what is spoken over: TLS where the target has it
	raw      net.Conn // the socket below
	way      way
	reach    time.Duration // how long it took to reach the far end by TCP, through a tunnel if there is one, without TLS
	quiet    func() bool   // reports whether the idle connection is open and silent
	reader   *bufio.Reader
	// head is how many more bytes may be read while the head of an answer is read, -1 while a body is.
	head   int
	failed error     // why the head could not be read on
	kept   bool      // it has served an exchange before
	since  time.Time // idle since
}

// abort closes the socket at once, whatever is being read or written. It may be called at any time, from anywhere.
//
// Not tls.Conn.Close: that would first try to say goodbye to an upstream that may have stopped reading.
func (c *conn) abort() { _ = c.raw.Close() }

// freeReader gives the read buffer back; what is still in it is dropped.
func (c *conn) freeReader() {
	c.reader.Reset(nil)
	readers.Put(c.reader)
	c.reader = nil
}

// Read fills the read buffer; it is where the length of heads is capped.
func (c *conn) Read(p []byte) (int, error) {
	if c.head < 0 {
		return c.Conn.Read(p)
	}
	n, err := 0, errHeadTooLong
	if c.head > 0 {
		n, err = c.Conn.Read(p[:min(len(p), c.head)])
		c.head -= n
	}
	if err != nil {
		c.failed = err
	}
	return n, err
}

// send writes the request: in one write if it is short.
func (c *conn) send(req *http.Request, body io.Reader) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	target := req.URL.RequestURI()
	if c.way.absolute() {
		target = absoluteForm(req.URL)
	}
	head := appendHead((*buf)[:0], req, target)
	if c.way.absolute() {
		head = appendProxyAuth(head, c.way.proxy)
	}
	head = append(head, "\r\n"...)
	defer func() { *buf = head[:0] }()
	if req.Body == nil {
		_, err := c.Conn.Write(head)
		return err
	}
	if req.ContentLength > joinedBody {
		if _, err := c.Conn.Write(head); err != nil {
			return err
		}
		return copyExactly(c.Conn, body, req.ContentLength)
	}
	n := len(head)
	head = append(head, make([]byte, req.ContentLength)...)
	if _, err := io.ReadFull(body, head[n:]); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	_, err := c.Conn.Write(head)
	return err
}

func copyExactly(dst io.Writer, src io.Reader, n int64) error {
	sent, err := io.Copy(dst, src)
	if err == nil && sent != n {
		return fmt.Errorf("the request has %d bytes, not %d as it says", sent, n)
	}
	return err
}

// staleWindow is how soon after a request a kept connection must end for the end to mean that the upstream had closed it
// before the request came. The news of that takes one round trip at most, and connecting took one at least. Its bounds
// are for clocks and schedulers below, and above for a look-up or a connection that took long for other reasons.
func (c *conn) staleWindow() time.Duration {
	return min(50*time.Millisecond, max(5*time.Millisecond, 2*c.reach))
}

// stale reports whether an exchange failed as it does when the upstream had closed the idle connection before the request
// came. began is when sending began, sendErr what became of that, and err of receiving.
func (c *conn) stale(began time.Time, sendErr, err error) bool {
	_, silent := errors.AsType[*silentError](err)
	if !c.kept || !silent || !hungUp(err) {
		return false
	}
	return sendErr != nil || time.Since(began) <= c.staleWindow()
}

// A silentError says that the connection failed before any byte of an answer.
type silentError struct{ err error }

func (e *silentError) Error() string { return "no answer: " + e.err.Error() }
func (e *silentError) Unwrap() error { return e.err }

// receive reads the head of the answer, past interim ones.
func (c *conn) receive(req *http.Request) (*http.Response, error) {
	c.head = maxHead + readerSize // the buffer may hold the beginning of the body too
	if _, err := c.reader.Peek(1); err != nil {
		return nil, &silentError{err}
	}
	for range maxInterim + 1 {
		resp, err := http.ReadResponse(c.reader, req)
		switch {
		case err != nil && c.failed != nil:
			// A line that is cut is parsed as if it were whole: what is wrong with it matters less.
			return nil, c.failed
		case err != nil:
			return nil, err
		case resp.ProtoMajor != 1:
			return nil, fmt.Errorf("the upstream speaks %s, not HTTP/1", resp.Proto)
		case resp.StatusCode == http.StatusSwitchingProtocols, resp.StatusCode < 100:
			return nil, errSwitched
		case resp.StatusCode >= 200:
			c.head = -1
			return resp, nil
		}
	}
	return nil, errInterim
}

// hungUp reports whether the other side ended the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// broken reports whether the network failed, rather than what came over it.
func broken(err error) bool {
	var n net.Error
	return hungUp(err) || errors.As(err, &n) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}

// A body is the body of an answer. At its end it gives the connection back; closed before, it closes the connection,
// which tells the upstream to stop. It is for one goroutine.
type body struct {
	transport *transport
	conn      *conn
	src       io.Reader // never closed: net/http would read a body to its end first
	ctx       context.Context
	stop      func() bool // ends the watch over ctx; false if it has acted
	keep      bool        // neither side objects to another exchange
	hurried   bool        // a read deadline is set
	err       error       // set once the body has ended
}

// Read reads on. Its error is the cause if the call's context has ended.
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.src.Read(p)
	if err != nil {
		whole := errors.Is(err, io.EOF)
		b.end(whole)
		if !whole {
			err = cause(b.ctx, err)
		}
		b.err = err
	}
	return n, err
}

// Close ends the exchange.
func (b *body) Close() error {
	b.end(false)
	return nil
}

// end gives the connection back, or closes it unless the exchange left nothing behind.
func (b *body) end(whole bool) {
	if b.err != nil {
		return
	}
	b.err = http.ErrBodyReadAfterClose
	if whole {
		b.err = io.EOF
	}
	c := b.conn
	intact := b.stop() && whole && b.keep && c.reader.Buffered() == 0
	c.freeReader()
	if !intact || (b.hurried && c.SetReadDeadline(time.Time{}) != nil) {
		c.abort()
		return
	}
	b.transport.idle.put(c)
}

// drain reads what a stream sends behind its end mark, commonly the end of its last frame and no more, so that the
// connection can be used again. It is bounded, since an upstream may well hold the stream open.
func (b *body) drain() {
	if b.err != nil {
		return
	}
	b.hurried = b.conn.SetReadDeadline(time.Now().Add(drainTime)) == nil
	if b.hurried {
		_, _ = io.CopyN(io.Discard, b, drainBytes)
	}
	b.end(false) // does nothing if the end was reached
}

// appendProxyAuth appends the header that carries the proxy's own credential, if its URL has one.
func appendProxyAuth(dst []byte, proxy *url.URL) []byte {
	if auth := proxyAuth(proxy); auth != "" {
		dst = append(dst, "Proxy-Authorization: "...)
		dst = append(dst, auth...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}
