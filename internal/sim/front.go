package sim

import (
	"bufio"
	"bytes"
	"net"
	"net/textproto"
	"strconv"
	"sync"
	"time"
)

// frontBuffer is the largest request, head and body, that a front answers itself.
const frontBuffer = 64 << 10

// A front stands before net/http: it answers calls to fast models itself, on the bare connection, for a third of the
// CPU time. A connection that asks for anything else goes over to net/http for good, with all that was read of it; so
// net/http alone decides about everything that is unusual.
type front struct {
	sim      *Sim
	listener net.Listener
	handed   chan net.Conn // to net/http
	done     chan struct{}
	working  sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	err   error      // why done is closed; nil while it is open
	conns map[net.Conn]struct{}
}

// newFront begins to accept connections from l.
func newFront(s *Sim, l net.Listener) *front {
	f := &front{sim: s, listener: l, handed: make(chan net.Conn), done: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	f.working.Go(f.accept)
	return f
}

// accept takes connections until the listener ends.
func (f *front) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			f.fail(err)
			return
		}
		if !f.sim.anyFast {
			f.hand(conn)
			continue
		}
		f.mu.Lock()
		if f.err != nil {
			f.mu.Unlock()
			_ = conn.Close()
			return
		}
		f.conns[conn] = struct{}{}
		f.working.Go(func() { f.serve(conn) })
		f.mu.Unlock()
	}
}

// fail ends the front: Accept gives err from now on.
func (f *front) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return
	}
	f.err = err
	close(f.done)
	for conn := range f.conns {
		_ = conn.Close()
	}
}

// Accept gives the connections that are for net/http.
func (f *front) Accept() (net.Conn, error) {
	select {
	case c := <-f.handed:
		return c, nil
	case <-f.done:
		f.mu.Lock()
		defer f.mu.Unlock()
		return nil, f.err
	}
}

// Close ends the listener and the connections that are not net/http's. It may be called more than once.
func (f *front) Close() error {
	f.fail(net.ErrClosed)
	return f.listener.Close()
}

// Addr is the listener's.
func (f *front) Addr() net.Addr { return f.listener.Addr() }

// wait returns when all goroutines of a closed front have ended.
func (f *front) wait() { f.working.Wait() }

// hand gives a connection to net/http.
func (f *front) hand(conn net.Conn) {
	select {
	case f.handed <- conn:
	case <-f.done:
		_ = conn.Close()
	}
}

// serve answers calls to fast models on one connection, until there comes something else or its end.
func (f *front) serve(conn net.Conn) {
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, conn)
	}()
	r := bufio.NewReaderSize(conn, frontBuffer)
	var out []byte
	for {
		head, err := peekHead(r)
		if err != nil {
			_ = conn.Close()
			return
		}
		var ok bool
		if out, ok = f.answer(r, head, out[:0]); !ok {
			f.hand(&replayed{Conn: conn, r: r})
			return
		}
		if _, err := conn.Write(out); err != nil {
			_ = conn.Close()
			return
		}
	}
}

// peekHead waits for a whole request head, and gives as much as there is if there is none within the buffer. An error
// means that nothing more comes.
func peekHead(r *bufio.Reader) ([]byte, error) {
	for need := 1; ; need = r.Buffered() + 1 {
		if need > frontBuffer {
			return nil, nil
		}
		if _, err := r.Peek(need); err != nil {
			return nil, err
		}
		seen, err := r.Peek(r.Buffered())
		if err != nil {
			return nil, err
		}
		if end := bytes.Index(seen, []byte("\r\n\r\n")); end >= 0 {
			return seen[:end+4], nil
		}
	}
}

// answer makes the whole response to the request at the reader's front, and takes that off the reader. ok is false,
// and nothing taken, if it is one for net/http.
func (f *front) answer(r *bufio.Reader, head, out []byte) (_ []byte, ok bool) {
	h, ok := parseHead(head)
	if !ok || len(head)+h.length > frontBuffer {
		return out, false
	}
	p := f.sim.providerOf(h.path)
	now := time.Now()
	if p == nil || !p.plainSailing(now) || (p.key != "" && string(h.credential) != p.key) {
		return out, false
	}
	whole, err := r.Peek(len(head) + h.length)
	if err != nil {
		return out, false
	}
	fast, ok := p.fastCall(whole[len(head):])
	if !ok {
		return out, false
	}
	f.sim.ledger.open(p.name)
	line := Call{ID: "req_" + f.sim.nextID(), Provider: p.name, Started: now, Try: string(h.try)}
	out, line.Bytes = fast.response(out, line.ID)
	fast.bill(&line)
	_, _ = r.Discard(len(whole)) // it was peeked, so it is there
	line.Ended = time.Now()
	f.sim.ledger.close(&line)
	return out, true
}

// response is the HTTP response, and the size of its body.
func (f *fastCall) response(out []byte, id string) (_ []byte, size int64) {
	out = append(out, "HTTP/1.1 200 OK\r\nX-Request-Id: "...)
	out = append(out, id...)
	if !f.stream {
		out = append(out, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		size := len(f.model.fast.plain) + len(appendFastUsage(make([]byte, 0, 256), f.prompt)) + 1
		out = strconv.AppendInt(out, int64(size), 10)
		out = append(out, "\r\n\r\n"...)
		return f.model.fast.appendPlain(out, f.prompt), int64(size)
	}
	out = append(out, "\r\nContent-Type: "+typeStream+"\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"...)
	const sizeDigits = 6 // of the one chunk, with leading zeros
	start := len(out) + sizeDigits + 2
	out = append(out, "000000\r\n"...)
	out = f.model.fast.appendStream(out, f.prompt, f.usage)
	n := len(out) - start
	for i, left := 0, n; i < sizeDigits; i, left = i+1, left>>4 {
		out[start-3-i] = hexDigits[left&15]
	}
	return append(out, "\r\n0\r\n\r\n"...), int64(n)
}

// A head is what a front reads of a request's head.
type head struct {
	path            []byte
	length          int
	credential, try []byte
}

// parseHead reads a plain POST with a length. ok is false for all else.
func parseHead(b []byte) (h head, ok bool) {
	line, rest, _ := bytes.Cut(b, []byte("\r\n"))
	target, isPost := bytes.CutPrefix(line, []byte("POST "))
	h.path, isPost = cutSuffix(target, " HTTP/1.1", isPost)
	if !isPost {
		return h, false
	}
	h.length = -1
	for len(rest) > 2 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch textproto.CanonicalMIMEHeaderKey(string(name)) {
		case "Content-Length":
			n, err := strconv.Atoi(string(value))
			if err != nil || n < 0 || h.length >= 0 {
				return h, false
			}
			h.length = n
		case "Authorization":
			h.credential = bytes.TrimPrefix(value, []byte("Bearer "))
		case "Connection":
			if !bytes.EqualFold(value, []byte("keep-alive")) {
				return h, false
			}
		case TryHeader:
			h.try = value
		case KnobHeader, "Api-Key", "Expect", "Transfer-Encoding", "Content-Encoding", "Upgrade":
			return h, false
		}
	}
	return h, h.length >= 0
}

func cutSuffix(b []byte, suffix string, ok bool) ([]byte, bool) {
	b, found := bytes.CutSuffix(b, []byte(suffix))
	return b, ok && found
}

// providerOf is the provider of a chat path, nil if it is not one. Of fast models only the OpenAI dialect's.
func (s *Sim) providerOf(path []byte) *provider {
	name, ok := bytes.CutSuffix(path, []byte("/v1/chat/completions"))
	switch {
	case !ok:
		return nil
	case len(name) == 0:
		return s.standard
	}
	return s.providers[string(name[1:])]
}

// A replayed is a connection of which something was read already.
type replayed struct {
	net.Conn
	r *bufio.Reader
}

// Read gives what was read ahead, then what comes.
func (c *replayed) Read(b []byte) (int, error) { return c.r.Read(b) }

// SetLinger is that of TCP, so that the connection can be reset.
func (c *replayed) SetLinger(seconds int) error {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		return tcp.SetLinger(seconds)
	}
	return nil
}
