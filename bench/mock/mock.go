// Package mock is the provider of the benchmark: it answers chat calls at once, with the same 50 tokens, in the dialect of the
// path that is called, and costs as little as it can, so that the process under test is what the machine is busy with.
//
// It refuses a request whose messages did not arrive as they were sent. It is not a simulator: for behaviours, delays and
// a bill there is `penstock sim`.
package mock

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Tokens is how many tokens an answer has; a stream has one content event for each.
const Tokens = 50

// Model is what the answers say they come from.
const Model = "bench-model"

// maxBody bounds a request.
const maxBody = 1 << 20

// Serve answers on the listener until it is closed.
func Serve(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			s := &session{conn: conn, in: bufio.NewReaderSize(conn, 32<<10)}
			for s.exchange() == nil {
			}
		}()
	}
}

// A session is one connection.
type session struct {
	conn   net.Conn
	in     *bufio.Reader
	speech *speech
	body   []byte
}

// exchange reads one request and answers it.
func (s *session) exchange() error {
	if err := s.read(); err != nil {
		if !errors.Is(err, io.EOF) {
			s.refuse(err.Error())
		}
		return err
	}
	if !s.speech.intact(s.body) {
		s.refuse("the messages are not those that were sent")
		return errors.New("refused")
	}
	for _, frame := range s.speech.answer(s.body) { // one write for each event, as a provider that generates would
		if _, err := s.conn.Write(frame); err != nil {
			return err
		}
	}
	return nil
}

// read reads head and body of a request.
func (s *session) read() error {
	length := -1
	for first := true; ; first = false {
		line, err := s.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			if s.speech = speechFor(line); s.speech == nil {
				return fmt.Errorf("not a chat call: %.80q", line)
			}
		}
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return fmt.Errorf("content length: %w", err)
			}
		}
	}
	if length < 0 || length > maxBody {
		return fmt.Errorf("a body of %d bytes (-1 is unknown)", length)
	}
	s.body = append(s.body[:0], make([]byte, length)...)
	_, err := io.ReadFull(s.in, s.body)
	return err
}

func (s *session) refuse(message string) {
	body := fmt.Sprintf(`{"error":{"message":%q,"type":"invalid_request_error","param":null,"code":null}}`, message)
	fmt.Fprintf(s.conn, "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}
