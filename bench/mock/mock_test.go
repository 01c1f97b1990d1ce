package mock

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// ask makes one call and gives status and body.
func ask(t *testing.T, path, body string) (status int, answer string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(l) }()
	defer func() {
		l.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: m\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// Every dialect has its own end, all words of the answer, and takes the messages in its own form only.
func TestEveryDialect(t *testing.T) {
	t.Parallel()
	const stream = `,"stream":true`
	for _, c := range []struct {
		path, prompt, more, end string
	}{
		{"/v1/chat/completions", asOpenAI(prompt10), "", "}"},
		{"/v1/chat/completions", asOpenAI(prompt1), stream, "data: [DONE]\n\n"},
		{"/v1/messages", asBlocks(prompt10), "", "}"},
		{"/v1/messages", asAnthropic(prompt1), stream, "data: {\"type\":\"message_stop\"}\n\n"},
		{"/v1beta/models/bench-model:generateContent", asContents(prompt10), "", "}"},
		{"/v1beta/models/bench-model:streamGenerateContent?alt=sse", asContents(prompt1), "", "\"responseId\":\"bench\"}\r\n\r\n"},
		{"/model/bench-model/converse", asConverse(prompt10), "", "}"},
		{"/model/bench-model/converse-stream", asConverse(prompt1), "", ""},
	} {
		status, answer := ask(t, c.path, "{"+c.prompt+c.more+"}")
		if status != http.StatusOK || !strings.HasSuffix(answer, c.end) {
			t.Errorf("%s: %d, ...%.100q", c.path, status, answer[max(0, len(answer)-100):])
		}
		for i := range Tokens {
			if strings.Count(answer, word(i)) != 1 {
				t.Errorf("%s: %q is not there, or more than once", c.path, word(i))
			}
		}
		for name, prompt := range map[string]string{"changed": strings.Replace(c.prompt, "4711", "4712", 1), "as others": asConverse(messages(3, 100))} {
			if status, _ := ask(t, c.path, "{"+prompt+c.more+"}"); status != http.StatusBadRequest {
				t.Errorf("%s: messages %s are taken: %d", c.path, name, status)
			}
		}
	}
	if status, _ := ask(t, "/v1/responses", "{}"); status != http.StatusBadRequest {
		t.Errorf("an unknown path: %d", status)
	}
}
