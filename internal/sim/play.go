package sim

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// How an answer may end before its end.
var (
	errCanceled = errors.New("the client left")
	errCut      = errors.New("cut, as was asked for")
	errEnded    = errors.New("ended early and cleanly, as was asked for")
)

// packetBytes is how much is gathered before it is written, where nothing asks for smaller packets.
const packetBytes = 3500

// A player puts an answer's bytes on the wire: framed, delayed, compressed, cut up and cut off as the behaviour says. It
// belongs to one request and one goroutine.
type player struct {
	ctx     context.Context //nolint:containedctx // a player lives as long as its request
	w       http.ResponseWriter
	control *http.ResponseController
	do      *behaviour
	stream  bool
	framer  framer // nil for server-sent events

	buffer []byte // framed and not yet written
	events int    // framed so far
	packet int    // of do.chunks, the next
	bytes  int64  // of the body, written
	zip    *gzip.Writer
}

func newPlayer(ctx context.Context, w http.ResponseWriter, do *behaviour) *player {
	return &player{ctx: ctx, w: w, control: http.NewResponseController(w), do: do}
}

// begin sets status and headers; they leave with the first bytes or flush. length below 0 is not declared.
func (p *player) begin(status int, contentType string, length int) {
	h := p.w.Header()
	h.Set("Content-Type", contentType)
	if length >= 0 {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	if p.stream {
		h.Set("Cache-Control", "no-cache")
		switch p.do.encoding {
		case "gzip", "gzip-hidden":
			p.zip = gzip.NewWriter(packets{p})
		}
	}
	if name := p.do.encodingName(); name != "" && status == http.StatusOK {
		h.Set("Content-Encoding", name)
	}
	for name, values := range p.do.header {
		h[name] = append(h[name], values...)
	}
	p.w.WriteHeader(status)
}

// encodingName is the Content-Encoding that is claimed.
func (b *behaviour) encodingName() string {
	if name, lie := strings.CutSuffix(b.encoding, "-lie"); lie || name == "gzip" {
		return name
	}
	return ""
}

// emit frames one event. It is written when enough has come together, or when something waits.
func (p *player) emit(f frame) error {
	p.events++
	if p.framer != nil {
		p.buffer = p.framer.appendFrame(p.buffer, f)
	} else {
		p.buffer = appendEvent(p.buffer, f, p.events, p.do)
	}
	if p.do.flush || len(p.buffer) > packetBytes {
		return p.flush()
	}
	return nil
}

// comment frames a comment, where the framing has them.
func (p *player) comment() {
	if p.framer != nil {
		return
	}
	p.buffer = append(append(append(p.buffer, ": ping"...), eol(p.do)...), eol(p.do)...)
}

// flush writes what was framed and sends it.
func (p *player) flush() error {
	var err error
	switch {
	case len(p.buffer) == 0:
	case p.zip != nil:
		if _, err = p.zip.Write(p.buffer); err == nil {
			err = p.zip.Flush()
		}
	default:
		err = p.write(p.buffer)
	}
	p.buffer = p.buffer[:0]
	if err != nil {
		return err
	}
	return p.send()
}

// send hands the written bytes to the connection.
func (p *player) send() error {
	if err := p.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errCanceled
	}
	return nil
}

// write puts bytes into the body: in the packets that were asked for, and no further than the cut.
func (p *player) write(b []byte) error {
	cut := false
	if limit := p.do.cutBytes; limit != nil && p.bytes+int64(len(b)) > int64(*limit) {
		b, cut = b[:int64(*limit)-p.bytes], true
	}
	for len(b) > 0 {
		n := len(b)
		if sizes := p.do.chunks; len(sizes) > 0 {
			n = min(n, sizes[p.packet%len(sizes)])
			p.packet++
		}
		wrote, err := p.w.Write(b[:n])
		p.bytes += int64(wrote)
		if err != nil {
			return errCanceled
		}
		if n < len(b) || len(p.do.chunks) > 0 {
			if err := p.send(); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	if cut {
		return errors.Join(p.send(), errCut)
	}
	return nil
}

// finish writes the rest and ends the body. The server sends it, as the call returns.
func (p *player) finish() error {
	if p.zip == nil {
		return p.write(p.buffer)
	}
	if err := p.flush(); err != nil {
		return err
	}
	return p.zip.Close()
}

// packets lets the compressor write through write.
type packets struct{ p *player }

func (w packets) Write(b []byte) (int, error) {
	if err := w.p.write(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// until waits for a moment; what was framed goes out first. It does nothing about a moment that has passed, so events
// that are due together share a packet.
func (p *player) until(moment time.Time) error {
	if left := time.Until(moment); left > 0 {
		return p.pause(left)
	}
	return nil
}

// pause waits for d, or for ever if d is 0, while comments keep a stream alive if that was asked for.
func (p *player) pause(d time.Duration) error {
	if len(p.buffer) > 0 {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if !p.stream || p.do.ping == 0 {
		return sleep(p.ctx, d)
	}
	for end := time.Now().Add(d); ; {
		nap := p.do.ping
		if d > 0 {
			nap = min(nap, time.Until(end))
		}
		if d > 0 && nap <= 0 {
			return nil
		}
		if err := sleep(p.ctx, nap); err != nil {
			return err
		}
		p.comment()
		if err := p.flush(); err != nil {
			return err
		}
	}
}

// sleep waits for d, or for ever if d is 0; it ends early if the client leaves.
func sleep(ctx context.Context, d time.Duration) error {
	var due <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-due:
		return nil
	case <-ctx.Done():
		return errCanceled
	}
}

// hangUp ends the connection in mid-answer.
func (p *player) hangUp(reset bool) {
	conn, _, err := p.control.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // the server then closes the connection
	}
	if lingering, ok := conn.(interface{ SetLinger(int) error }); ok && reset {
		_ = lingering.SetLinger(0) // the close that follows then resets
	}
	_ = conn.Close()
}

// whole sends a plain body. half runs when half of it is out, if it is not nil.
func (p *player) whole(status int, contentType string, body []byte, half func() error) error {
	if status == http.StatusOK && (p.do.encoding == "gzip" || p.do.encoding == "gzip-hidden") {
		body = compress(body)
	}
	p.begin(status, contentType, len(body))
	if p.do.stall.at == spotBody {
		if err := p.send(); err != nil {
			return err
		}
		if err := p.pause(p.do.stallFor); err != nil {
			return err
		}
	}
	if half != nil {
		middle := len(body) / 2
		if err := p.write(body[:middle]); err != nil {
			return err
		}
		if err := p.send(); err != nil {
			return err
		}
		if err := half(); err != nil {
			return err
		}
		body = body[middle:]
	}
	return p.write(body)
}

func compress(body []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(body) // writing to memory does not fail
	_ = z.Close()
	return out.Bytes()
}

// eol is the line end of a stream.
func eol(do *behaviour) string {
	if do.crlf {
		return "\r\n"
	}
	return "\n"
}

// appendEvent frames one server-sent event, the n-th of its stream.
func appendEvent(b []byte, f frame, n int, do *behaviour) []byte {
	end, field := eol(do), "data: "
	if do.tight {
		field = "data:"
	}
	if do.comments == "1" {
		b = append(append(append(b, ": ping"...), end...), end...)
	}
	name := f.name
	if do.namedEvents {
		b = append(append(strconv.AppendInt(append(b, "id: "...), int64(n), 10), end...), "retry: 1000"...)
		b = append(b, end...)
		if name == "" {
			name = "message"
		}
	}
	if name != "" {
		b = append(append(append(b, "event: "...), name...), end...)
	}
	data := f.data
	if do.multiline && len(data) > 0 && data[0] == '{' {
		// A reader joins the lines with a line feed, which may follow the bracket.
		b = append(append(append(b, field...), '{'), end...)
		data = data[1:]
	}
	b = append(append(append(b, field...), data...), end...)
	return append(b, end...)
}
