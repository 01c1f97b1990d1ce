// Package mock is the provider of the benchmark: it answers chat calls at once, with the same 50 tokens, and costs as
// little as it can, so that the process under test is what the machine is busy with.
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
	"strings"
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
	conn net.Conn
	in   *bufio.Reader
	body []byte
}

// exchange reads one request and answers it.
func (s *session) exchange() error {
	if err := s.read(); err != nil {
		if !errors.Is(err, io.EOF) {
			s.refuse(err.Error())
		}
		return err
	}
	if !intact(s.body) {
		s.refuse("the messages are not those that were sent")
		return errors.New("refused")
	}
	if !bytes.Contains(s.body, []byte(`"stream":true`)) {
		_, err := s.conn.Write(plain)
		return err
	}
	events := stream
	if !bytes.Contains(s.body, []byte(`"include_usage":true`)) {
		events = streamWithoutUsage
	}
	for _, frame := range events { // one write for each event, as a provider that generates would
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
		if first && !bytes.HasPrefix(line, []byte("POST /v1/chat/completions ")) {
			return fmt.Errorf("not a chat call: %.80q", line)
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

// The two prompts: two messages of 1 KB together, and ten of 10 KB.
var (
	prompt1  = messages(2, 1<<10)
	prompt10 = messages(10, 10<<10)
)

// Prompt is the JSON of the messages of about 1 or 10 KB.
func Prompt(kilobytes int) (string, error) {
	switch kilobytes {
	case 1:
		return prompt1, nil
	case 10:
		return prompt10, nil
	}
	return "", fmt.Errorf("there is no prompt of %d KB (1 and 10 there are)", kilobytes)
}

// intact reports whether the body holds one of the prompts, byte for byte.
func intact(body []byte) bool {
	return bytes.Contains(body, []byte(prompt1)) || bytes.Contains(body, []byte(prompt10))
}

// messages writes n messages with so many bytes of text in all, with escapes as in real prompts: line ends and quotes.
func messages(n, size int) string {
	const sentence = `Order 4711 came late,\nand the customer writes: \"where is my parcel?\" Answer in two lines. `
	var b strings.Builder
	b.WriteString(`[{"role":"system","content":"You answer for a shop. Be brief."}`)
	for i := 1; i < n; i++ {
		role := "user"
		if i%2 == 0 {
			role = "assistant"
		}
		text := strings.Repeat(sentence, size/(n-1)/len(sentence))
		fmt.Fprintf(&b, `,{"role":%q,"content":"%sMessage %d."}`, role, text, i)
	}
	return b.String() + "]"
}

// Text is the answer.
func Text() string {
	var b strings.Builder
	for i := range Tokens {
		b.WriteString(word(i))
	}
	return b.String()
}

func word(i int) string { return fmt.Sprintf("word%02d ", i) }

// The answers, made once.
var (
	plain              = makePlain()
	stream             = makeStream(true)
	streamWithoutUsage = makeStream(false)
)

const usage = `{"prompt_tokens":250,"completion_tokens":50,"total_tokens":300}`

func makePlain() []byte {
	body := fmt.Sprintf(`{"id":"chatcmpl-bench","object":"chat.completion","created":1764000000,"model":%q,"choices":[{"index":0,`+
		`"message":{"role":"assistant","content":%q,"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":%s}`, Model, Text(), usage)
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// makeStream gives the writes of a stream: the head with the role event, the content, the end.
func makeStream(withUsage bool) [][]byte {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	frames := [][]byte{append([]byte(head), choice(`{"role":"assistant","content":""}`, "null")...)}
	for i := range Tokens {
		frames = append(frames, choice(fmt.Sprintf(`{"content":%q}`, word(i)), "null"))
	}
	end := choice("{}", `"stop"`)
	if withUsage {
		end = append(end, event(`[]`, `,"usage":`+usage)...)
	}
	end = append(end, chunk("data: [DONE]\n\n")...)
	return append(frames, append(end, "0\r\n\r\n"...))
}

func choice(delta, finish string) []byte {
	return event(fmt.Sprintf(`[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s}]`, delta, finish), "")
}

func event(choices, more string) []byte {
	return chunk(fmt.Sprintf("data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":%q,\"choices\":%s%s}\n\n",
		Model, choices, more))
}

func chunk(data string) []byte { return fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data) }
