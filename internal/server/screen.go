package server

import (
	"bytes"
	"io"
	"net"
	"sync/atomic"
)

// A screen looks at the head of each request of an HTTP/1 connection before net/http does, for what net/http forgives and
// says nothing of: a Content-Length beside a Transfer-Encoding, a Content-Length twice, a header line that goes on in the
// next one, a line that ends without its CR. Something in front of Penstock may read such a request in another way, and see two where
// we see one (request smuggling). From the first such byte on, net/http is given a head that it refuses: the client gets
// its 400, and the connection ends.
//
// Only what net/http needs to find the next head is understood of a body: its announced length. After a chunked one the
// connection is not used again (see usher).
type screen struct {
	net.Conn
	scan    headScan
	refusal []byte // what is still to be read in place of what was sent
	refused bool
	once    atomic.Bool // a request has come after which the connection must not be used again
}

// NetConn gives the connection beneath.
func (s *screen) NetConn() net.Conn { return s.Conn }

// CloseWrite lets net/http end its side first, so that a refusal is read before the connection is gone.
func (s *screen) CloseWrite() error {
	if c, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Read implements [net.Conn].
func (s *screen) Read(p []byte) (int, error) {
	if s.refused {
		n := copy(p, s.refusal)
		s.refusal = s.refusal[n:]
		if n == 0 && len(p) > 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n, err := s.Conn.Read(p)
	good := s.scan.next(p[:n])
	if s.scan.in == rest {
		s.once.Store(true) // before net/http sees the request, which others handle than whoever reads here next
	}
	if good == n {
		return n, err
	}
	s.refused = true
	s.refusal = s.scan.refusal()
	if good == 0 {
		return s.Read(p)
	}
	return good, nil
}

// What a headScan is within. The zero value is before a request.
type part uint8

const (
	between    part = iota // before the first byte of a head
	firstLine              // the request line
	lineBegins             // the first byte of any other line
	name
	value
	lastLine // the LF of the empty line
	content  // a body of known length
	rest     // nothing is looked at any more
)

// A headScan follows the requests of a connection, however they are cut.
type headScan struct {
	in      part
	last    byte // the byte before this one
	length  int64
	has     framing // headers that this head had so far
	reads   framing // the header whose value comes, 0 if it is none of them
	matched int     // how much of the name was read
	fits    framing // which names it may still be
}

// framing is a set of the headers that say where a body ends.
type framing uint8

const (
	contentLength framing = 1 << iota
	transferEncoding
	notANumber // the length is none that net/http takes
)

const (
	nameOfLength   = "content-length"
	nameOfEncoding = "transfer-encoding"
	// maxLength is where a length is as good as endless; there is no body of its size.
	maxLength = 1 << 60
)

// next follows b and gives how many of its bytes are above suspicion: all of them, or those before the first that is not.
func (s *headScan) next(b []byte) int {
	for i := 0; i < len(b); {
		n, ok := s.step(b[i:])
		if !ok {
			return i
		}
		i += n
		s.last = b[i-1]
	}
	return len(b)
}

// step takes at least one byte of b, unless it is one to refuse.
func (s *headScan) step(b []byte) (n int, ok bool) {
	c := b[0]
	switch s.in {
	case between:
		if c != '\r' && c != '\n' { // an old client's surplus line end after a body
			s.in = firstLine
		}
		return 1, true
	case firstLine, value:
		return s.text(b)
	case lineBegins:
		return 1, s.begin(c)
	case name:
		return 1, s.letter(c)
	case lastLine:
		if c != '\n' {
			s.in = rest // net/http refuses it
			return 1, true
		}
		s.end()
		return 1, true
	case content:
		n := int(min(int64(len(b)), s.length))
		if s.length -= int64(n); s.length == 0 {
			s.in = between
		}
		return n, true
	}
	return len(b), true
}

// text follows a request line or a value to the end of its line.
func (s *headScan) text(b []byte) (n int, ok bool) {
	end := bytes.IndexByte(b, '\n')
	line := b
	if end >= 0 {
		line = b[:end]
	}
	if s.reads&contentLength != 0 {
		s.digits(line)
	}
	if end < 0 {
		return len(b), true
	}
	before := s.last
	if end > 0 {
		before = b[end-1]
	}
	if before != '\r' {
		if end == 0 {
			return 0, false
		}
		return end, true // what is good of it; the next step refuses its end
	}
	s.in, s.reads = lineBegins, 0
	return end + 1, true
}

// digits reads on in a length.
func (s *headScan) digits(b []byte) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9' && s.length < maxLength/10:
			s.length = s.length*10 + int64(c-'0')
		case c != ' ' && c != '\t' && c != '\r':
			s.has |= notANumber
		}
	}
}

// begin looks at the first byte of a line.
func (s *headScan) begin(c byte) bool {
	switch c {
	case ' ', '\t', '\n': // the line before goes on; an empty line without its CR
		return false
	case '\r':
		s.in = lastLine
		return true
	}
	s.in, s.matched, s.fits = name, 0, contentLength|transferEncoding
	return s.letter(c)
}

// letter reads on in the name of a header.
func (s *headScan) letter(c byte) bool {
	switch c {
	case ':':
		return s.named()
	case '\n':
		if s.last != '\r' {
			return false
		}
		s.in = lineBegins // no header at all; net/http refuses it
		return true
	}
	c |= 0x20 // letters become small, and no other byte becomes a letter or a hyphen of these names that would not be refused
	if s.matched >= len(nameOfLength) || nameOfLength[s.matched] != c {
		s.fits &^= contentLength
	}
	if s.matched >= len(nameOfEncoding) || nameOfEncoding[s.matched] != c {
		s.fits &^= transferEncoding
	}
	s.matched++
	return true
}

// named is at the colon behind a name.
func (s *headScan) named() bool {
	s.in, s.reads = value, 0
	switch {
	case s.fits&contentLength != 0 && s.matched == len(nameOfLength):
		s.reads = contentLength
	case s.fits&transferEncoding != 0 && s.matched == len(nameOfEncoding):
		s.reads = transferEncoding
	}
	if s.reads == 0 {
		return true
	}
	if s.has&contentLength != 0 || s.reads == contentLength && s.has != 0 {
		s.in = name
		return false
	}
	s.has |= s.reads
	return true
}

// end is behind a head.
func (s *headScan) end() {
	switch {
	case s.has&(transferEncoding|notANumber) != 0:
		s.in = rest
	case s.length > 0:
		s.in = content
	default:
		s.in = between
	}
	s.has = 0
	if s.in != content {
		s.length = 0
	}
}

// refusal is how a head goes on that net/http refuses: with a line that is no header.
func (s *headScan) refusal() []byte {
	if s.in == lineBegins {
		return []byte("\x00\r\n\r\n")
	}
	return []byte("\r\n\x00\r\n\r\n")
}
