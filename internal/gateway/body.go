package gateway

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// A body is a request's body in a buffer. It has one owner, who frees it after the exchange has ended.
type body struct {
	*buffer
	g    *Gateway
	held int64 // counted against Limits.InFlight
}

// readBody reads a body under the limits on size, on time, and on what all bodies together may hold.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, c *call) (*body, error) {
	b, err := g.tryBody(w, r, c.runtime.Limits)
	if err != nil {
		c.leaveBody(w, r)
	}
	return b, err
}

func (g *Gateway) tryBody(w http.ResponseWriter, r *http.Request, l Limits) (*body, error) {
	if r.ContentLength > l.Body {
		return nil, tooLarge(r.ContentLength, l.Body)
	}
	if err := checkCharset(r.Header.Get("Content-Type")); err != nil {
		return nil, err
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(l.BodyTime)) // recorders in tests cannot
	src, err := decoded(r)
	if err != nil {
		return nil, bodyError(err, l)
	}
	b := &body{g: g}
	if err := b.read(src, max(r.ContentLength, 0), l); err != nil {
		b.free()
		return nil, bodyError(err, l)
	}
	_ = rc.SetReadDeadline(time.Time{})
	return b, nil
}

// How long a client that is still sending may take to notice that it has its answer already: altogether, which is a body of 20 MB
// at 6 Mbit/s, and without sending anything.
const (
	linger  = 30 * time.Second
	silence = time.Second
)

// leaveBody lets a request be answered without its body: the server must not wait for one that may never come, neither
// before the answer nor after it, so the connection is closed. HTTP/2 ends the one stream by itself; told to close, it
// would send away all that share the connection, and their clients would open further ones.
func (c *call) leaveBody(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength == 0 || r.ProtoMajor != 1 {
		return
	}
	c.left = true
	w.Header()["Connection"] = closing
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex() // recorders in tests cannot, nor this
	_ = rc.SetReadDeadline(time.Now().Add(silence))
}

// hearOut throws away what a client goes on sending after it was answered. Many clients read no answer before they have
// sent everything: if the connection were closed under them, they would see it broken, and never what was wrong.
func hearOut(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	if rc.Flush() != nil {
		return
	}
	scrap := takeBuffer(64 << 10)
	defer scrap.free()
	for end := time.Now().Add(linger); time.Now().Before(end); {
		_ = rc.SetReadDeadline(time.Now().Add(silence))
		if _, err := r.Body.Read(scrap.b[:cap(scrap.b)]); err != nil {
			return
		}
	}
}

// free gives the buffer back.
func (b *body) free() {
	b.g.held.Add(-b.held)
	b.held = 0
	if b.buffer != nil {
		b.buffer.free()
	}
}

// grow replaces the buffer by one that holds n bytes, but not more than a body may have and the one that shows that it
// has too many, if all bodies together may grow by that much.
func (b *body) grow(n int64, l Limits) error {
	n = min(n, l.Body+1)
	more := min(n, l.Body) - b.held
	if !b.g.hold(more, l.InFlight) {
		return overloaded(l)
	}
	b.held += more
	bigger := takeBuffer(int(n))
	if b.buffer != nil {
		bigger.b = append(bigger.b, b.b...)
		b.buffer.free()
	}
	b.buffer = bigger
	return nil
}

// overloaded is that bodies hold all that they may.
func overloaded(l Limits) error {
	err := fault.New(fault.Overloaded, "Bodies of %s are being handled at the moment, which is the most this Penstock holds (limits.in_flight).", size(l.InFlight))
	err.RetryAfter = time.Second
	return err
}

// read reads src to its end and refuses the first byte over the limit. expect is the announced length, 0 if unknown; it is
// believed up to the largest pooled buffer, so that nobody takes much room by announcements alone.
func (b *body) read(src io.Reader, expect int64, l Limits) error {
	if err := b.grow(min(max(expect+1, 1<<minShift), 1<<maxShift), l); err != nil {
		return err
	}
	for {
		n, err := src.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		switch {
		case int64(len(b.b)) > l.Body:
			return errLimit
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if len(b.b) == cap(b.b) {
			if err := b.grow(2*int64(cap(b.b)), l); err != nil {
				return err
			}
		}
	}
}

// hold reserves n bytes if that stays under the limit.
func (g *Gateway) hold(n, most int64) bool {
	for {
		held := g.held.Load()
		if held+n > most {
			return false
		}
		if g.held.CompareAndSwap(held, held+n) {
			return true
		}
	}
}

// checkCharset refuses a body that says that it is something else than UTF-8. A content type that is none is no reason:
// what counts is whether the body is JSON.
func checkCharset(contentType string) error {
	if contentType == "" || contentType == jsonType[0] {
		return nil
	}
	_, params, _ := mime.ParseMediaType(contentType)
	switch name := params["charset"]; strings.ToLower(name) {
	case "", "utf-8", "utf8", "us-ascii":
		return nil
	default:
		return fault.New(fault.BadEncoding, "The body's charset is %q; JSON is UTF-8.", clip(name))
	}
}

// decoded undoes the one content encoding that is read.
func decoded(r *http.Request) (io.Reader, error) {
	switch enc := r.Header.Get("Content-Encoding"); strings.ToLower(enc) {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		return &gunzip{src: r.Body}, nil
	default:
		return nil, fault.New(fault.BadEncoding, "The body's Content-Encoding is %q.", clip(enc))
	}
}

// A gunzip undoes gzip and marks its errors, but for those of the network, as such.
type gunzip struct {
	src io.Reader
	z   *gzip.Reader
}

func (g *gunzip) Read(p []byte) (n int, err error) {
	if g.z == nil {
		g.z, err = gzip.NewReader(g.src)
	}
	if err == nil {
		n, err = g.z.Read(p)
	}
	if err != nil && err != io.EOF { //nolint:errorlint // a Reader's EOF is never wrapped
		err = fmt.Errorf("%w: %w", errGzip, err)
	}
	return n, err
}

var (
	errGzip  = errors.New("gzip")
	errLimit = errors.New("over the limit")
)

func bodyError(err error, l Limits) error {
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, errLimit):
		return fault.New(fault.BodyTooLarge, "The body is over %s (limits.body).", size(l.Body))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Wrap(fault.SlowBody, err, "The body did not arrive within %s (limits.body_time).", l.BodyTime)
	case errors.Is(err, errGzip):
		return fault.Wrap(fault.BadEncoding, err, "The body says Content-Encoding: gzip, and is not.")
	}
	return fault.Wrap(fault.InvalidRequest, err, "The body ended before its length.")
}

func tooLarge(n, limit int64) error {
	is, most := size(n), size(limit)
	if is == most {
		is, most = fmt.Sprintf("%d bytes", n), fmt.Sprintf("%d bytes", limit)
	}
	return fault.New(fault.BodyTooLarge, "The body is %s, the limit is %s (limits.body).", is, most)
}

// size writes bytes as people do: "21.3 MB".
func size(n int64) string {
	switch {
	case n >= 1e6:
		return strings.Replace(fmt.Sprintf("%.1f MB", float64(n)/1e6), ".0 ", " ", 1)
	case n >= 1e3:
		return strings.Replace(fmt.Sprintf("%.1f KB", float64(n)/1e3), ".0 ", " ", 1)
	}
	return fmt.Sprintf("%d bytes", n)
}
