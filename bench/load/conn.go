package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

	"github.com/penstock/penstock/bench/mock"
)

// maxAnswer bounds what is read of one answer.
const maxAnswer = 1 << 20

// A Call is a prepared request, and what its answer has to be.
type Call struct {
	wire   []byte
	text   string
	model  string
	stream bool
	shape  shape
}

// A shape is where an answer says what it says.
type shape struct {
	content []byte // what stands before each piece of the text
	end     []byte // what a stream ends with
}

var (
	openAIShape    = shape{[]byte(`"content":"`), []byte("data: [DONE]\n\n")}
	anthropicShape = shape{[]byte(`"text":"`), []byte("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")}
)

// NewCall prepares a chat call with the key in a dialect of clients, OpenAI's or Anthropic's, for an answer with this text. A plain
// answer must name the model, unless that is "".
func NewCall(d mock.Dialect, key, body, text, model string, stream bool) *Call {
	c := &Call{text: text, model: model, stream: stream, shape: openAIShape}
	path, headers := "/v1/chat/completions", "Authorization: Bearer "+key
	if d == mock.Anthropic {
		c.shape = anthropicShape
		path, headers = "/v1/messages", "X-Api-Key: "+key+"\r\nAnthropic-Version: 2023-06-01"
	}
	c.wire = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: bench\r\n%s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, headers, len(body), body)
	return c
}

// A Conn is a kept connection to a target. It carries one call at a time.
type Conn struct {
	conn net.Conn
	in   *bufio.Reader
	body []byte
	text []byte
	stop func() bool
}

// Dial connects. The connection breaks when ctx ends.
func Dial(ctx context.Context, addr string) (*Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return wrap(ctx, conn), nil
}

func wrap(ctx context.Context, conn net.Conn) *Conn {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return &Conn{conn: conn, in: bufio.NewReaderSize(conn, 16<<10), stop: stop}
}

// Close closes the connection.
func (c *Conn) Close() {
	c.stop()
	c.conn.Close()
}

// Do makes a call and checks its answer. After an error the connection is of no use.
func (c *Conn) Do(call *Call) error {
	if _, err := c.conn.Write(call.wire); err != nil {
		return err
	}
	length, ok, err := c.readHead()
	if err != nil {
		return fmt.Errorf("head of an answer: %w", err)
	}
	if err := c.readBody(length); err != nil {
		return fmt.Errorf("body of an answer: %w", err)
	}
	if !ok {
		return fmt.Errorf("not 200: %.300s", c.body)
	}
	if call.stream {
		return c.checkStream(call)
	}
	return c.checkPlain(call)
}

// chunked is the length of a body that comes in chunks.
const chunked = -1

// readHead reads status line and headers: the body's length, and whether the status is 200.
func (c *Conn) readHead() (length int, ok bool, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, false, err
	}
	ok = bytes.HasPrefix(line, []byte("HTTP/1.1 200 "))
	length = -2
	for {
		line, err = c.in.ReadSlice('\n')
		if err != nil {
			return 0, false, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, false, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")) && bytes.EqualFold(value, []byte("chunked")):
			length = chunked
		}
	}
	if length < chunked || length > maxAnswer {
		return 0, false, errors.New("no usable length")
	}
	return length, ok, nil
}

// readBody reads the body whole.
func (c *Conn) readBody(length int) error {
	c.body = c.body[:0]
	if length != chunked {
		return c.readMore(length)
	}
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(bytes.TrimRight(line, "\r\n")), 16, 20)
		if err != nil {
			return err
		}
		if err := c.readMore(int(n)); err != nil {
			return err
		}
		if line, err = c.in.ReadSlice('\n'); err != nil || len(bytes.TrimRight(line, "\r\n")) != 0 {
			return fmt.Errorf("end of a chunk: %q, %w", line, err)
		}
		if n == 0 {
			return nil
		}
	}
}

func (c *Conn) readMore(n int) error {
	at := len(c.body)
	if at+n > maxAnswer {
		return errors.New("too long")
	}
	c.body = append(c.body, make([]byte, n)...)
	_, err := io.ReadFull(c.in, c.body[at:])
	return err
}

// checkPlain compares the text and the model of a plain answer.
func (c *Conn) checkPlain(call *Call) error {
	text, _ := value(c.body, call.shape.content)
	if string(text) != call.text {
		return fmt.Errorf("a plain answer with another text: %.300q", c.body)
	}
	if model, _ := value(c.body, []byte(`"model":"`)); call.model != "" && string(model) != call.model {
		return fmt.Errorf("an answer of model %q, asked for %q", model, call.model)
	}
	return nil
}

// checkStream compares the text of all events, and demands the end mark at the very end.
func (c *Conn) checkStream(call *Call) error {
	if !bytes.HasSuffix(c.body, call.shape.end) {
		return fmt.Errorf("a stream without its end mark: ...%.100q", tail(c.body, 100))
	}
	c.text = c.text[:0]
	for rest := c.body; ; {
		var piece []byte
		if piece, rest = value(rest, call.shape.content); rest == nil {
			break
		}
		c.text = append(c.text, piece...)
	}
	if string(c.text) != call.text {
		return fmt.Errorf("a stream with another text: %.300q", c.text)
	}
	return nil
}

// value is the JSON string behind the key, which holds no escapes in answers of the mock, and what follows; nil if the
// key is not there.
func value(b, key []byte) (text, rest []byte) {
	at := bytes.Index(b, key)
	if at < 0 {
		return nil, nil
	}
	b = b[at+len(key):]
	end := bytes.IndexByte(b, '"')
	if end < 0 {
		return nil, nil
	}
	return b[:end], b[end:]
}

func tail(b []byte, n int) []byte { return b[max(len(b)-n, 0):] }
