package gateway

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/penstock/penstock/internal/fault"
)

// A body is a request's body in a pooled buffer. It has one owner, who frees it after the exchange has ended.
type body struct {
	g    *Gateway
	b    []byte
	held int64 // counted against Limits.InFlight
}

// readBody reads a body under the limits on size, on time, and on what all bodies together may hold.
func (g *Gateway) readBody(w http.ResponseWriter, r *http.Request, l Limits) (*body, error) {
	if r.ContentLength > l.Body {
		return nil, tooLarge(r.ContentLength, l.Body)
	}
	if err := checkCharset(r.Header); err != nil {
		return nil, err
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(l.BodyTime)) // writers that cannot are test recorders
	b := &body{g: g}
	src, err := decoded(r)
	if err == nil {
		err = b.read(src, max(r.ContentLength, 0), l)
	}
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		b.free()
		return nil, bodyError(err, l)
	}
	return b, nil
}

// free gives the buffer back.
func (b *body) free() {
	b.g.held.Add(-b.held)
	putBuffer(b.b)
	b.b, b.held = nil, 0
}

// grow replaces the buffer by one that holds n bytes, if all bodies together may grow by that much.
func (b *body) grow(n int64, l Limits) error {
	if !b.g.hold(n-b.held, l.InFlight) {
		err := fault.New(fault.Overloaded, "Bodies of %s are being handled at the moment, which is the most this Penstock holds (limits.in_flight).", size(l.InFlight))
		err.RetryAfter = time.Second
		return err
	}
	b.held = n
	bigger := append(takeBuffer(int(n)), b.b...)
	putBuffer(b.b)
	b.b = bigger
	return nil
}

// read reads src to its end and refuses the first byte over the limit. expect is the announced length, 0 if unknown.
func (b *body) read(src io.Reader, expect int64, l Limits) error {
	if err := b.grow(max(expect+1, 1<<minShift), l); err != nil {
		return err
	}
	for {
		n, err := src.Read(b.b[len(b.b):cap(b.b)])
		b.b = b.b[:len(b.b)+n]
		switch {
		case int64(len(b.b)) > l.Body:
			return errLimit
		case err == io.EOF: //nolint:errorlint // a Reader's EOF is never wrapped, and ErrUnexpectedEOF is another thing
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

// hold reserves n bytes if that stays under the limit. One body is always let in.
func (g *Gateway) hold(n, most int64) bool {
	if g.held.Add(n) > most {
		if g.held.Add(-n) > 0 {
			return false
		}
		g.held.Add(n)
	}
	return true
}

func checkCharset(h http.Header) error {
	ct := h.Get("Content-Type")
	if i := strings.Index(strings.ToLower(ct), "charset="); i >= 0 {
		name := strings.Trim(ct[i+len("charset="):], `"' ;`)
		if !strings.EqualFold(name, "utf-8") && !strings.EqualFold(name, "utf8") {
			return fault.New(fault.BadEncoding, "The body's charset is %q; JSON is UTF-8.", clip(name))
		}
	}
	return nil
}

// decoded undoes the one content encoding that is read.
func decoded(r *http.Request) (io.Reader, error) {
	switch enc := r.Header.Get("Content-Encoding"); strings.ToLower(enc) {
	case "", "identity":
		return r.Body, nil
	case "gzip":
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errGzip, err)
		}
		return z, nil
	default:
		return nil, fault.New(fault.BadEncoding, "The body's Content-Encoding is %q.", clip(enc))
	}
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
		return tooLarge(-1, l.Body)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Wrap(fault.SlowBody, err, "The body did not arrive within %s (limits.body_time).", l.BodyTime)
	case errors.Is(err, errGzip), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return fault.Wrap(fault.BadEncoding, err, "The body says Content-Encoding: gzip, and is not.")
	}
	return fault.Wrap(fault.InvalidRequest, err, "The body ended before its length.")
}

func tooLarge(n, limit int64) error {
	if n < 0 {
		return fault.New(fault.BodyTooLarge, "The body is over %s (limits.body).", size(limit))
	}
	return fault.New(fault.BodyTooLarge, "The body is %s, the limit is %s (limits.body).", size(n), size(limit))
}

// size writes bytes as people do: "21.3 MB".
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return strings.Replace(fmt.Sprintf("%.1f MB", float64(n)/(1<<20)), ".0 ", " ", 1)
	case n >= 1<<10:
		return strings.Replace(fmt.Sprintf("%.1f KB", float64(n)/(1<<10)), ".0 ", " ", 1)
	}
	return fmt.Sprintf("%d bytes", n)
}

// Buffers are pooled by powers of two, from 4 KB to 1 MB; larger ones are left to the collector, so that memory follows
// the requests that are open and not the largest that ever was.
const (
	minShift = 12
	maxShift = 20
)

var buffers [maxShift - minShift + 1]sync.Pool

func takeBuffer(n int) []byte {
	shift := max(bits.Len(uint(max(n, 1)-1)), minShift)
	if shift > maxShift {
		return make([]byte, 0, n)
	}
	if p, ok := buffers[shift-minShift].Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, 1<<shift)
}

func putBuffer(b []byte) {
	shift := bits.Len(uint(cap(b))) - 1
	if shift < minShift || shift > maxShift || cap(b) != 1<<shift {
		return
	}
	buffers[shift-minShift].Put(&b)
}
