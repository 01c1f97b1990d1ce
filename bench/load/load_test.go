package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock/penstock/bench/mock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serveMock starts the mock and gives its address.
func serveMock(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- mock.Serve(l) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func body(t *testing.T, kilobytes int, more string) string {
	t.Helper()
	messages, err := mock.Prompt(mock.OpenAI, kilobytes)
	if err != nil {
		t.Fatal(err)
	}
	return `{"model":"bench",` + messages + more + `}`
}

func TestTheMockAnswersAreRight(t *testing.T) {
	t.Parallel()
	addr := serveMock(t)
	for _, tt := range []struct {
		name      string
		kilobytes int
		more      string
		stream    bool
	}{
		{"1 KB", 1, "", false},
		{"10 KB", 10, "", false},
		{"stream", 1, `,"stream":true`, true},
		{"stream with usage", 1, `,"stream":true,"stream_options":{"include_usage":true}`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			call := NewCall(mock.OpenAI, "k", body(t, tt.kilobytes, tt.more), mock.Text(), "", tt.stream)
			got, err := Count(context.Background(), addr, call, 4, 100)
			if err != nil || got.Answers != 100 {
				t.Fatalf("got %d answers, %v", got.Answers, err)
			}
			if p99 := got.Quantile(99); p99 <= 0 || p99 > time.Minute {
				t.Errorf("p99 %s", p99)
			}
		})
	}
}

func TestTheMockRefusesChangedMessages(t *testing.T) {
	t.Parallel()
	addr := serveMock(t)
	changed := strings.Replace(body(t, 1, ""), "Order 4711", "Order 4712", 1)
	_, err := Count(context.Background(), addr, NewCall(mock.OpenAI, "k", changed, mock.Text(), "", false), 1, 1)
	if err == nil || !strings.Contains(err.Error(), "not those that were sent") {
		t.Errorf("got %v", err)
	}
}

func TestAFixedRateIsKept(t *testing.T) {
	t.Parallel()
	addr := serveMock(t)
	got, err := At(context.Background(), addr, NewCall(mock.OpenAI, "k", body(t, 1, ""), mock.Text(), "", false), 8, 200, 500*time.Millisecond)
	if err != nil || got.Answers != 100 {
		t.Fatalf("got %d answers, %v; want 100", got.Answers, err)
	}
}

func TestAClosedLoopEnds(t *testing.T) {
	t.Parallel()
	addr := serveMock(t)
	got, err := For(context.Background(), addr, NewCall(mock.OpenAI, "k", body(t, 1, ""), mock.Text(), "", false), 8, 100*time.Millisecond)
	if err != nil || got.Answers == 0 || got.Rate() <= 0 {
		t.Fatalf("got %d answers, %v", got.Answers, err)
	}
}

func TestALateAnswerIsChargedFromWhenItWasDue(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	first := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if first {
			first = false
			<-release
		}
		io.WriteString(w, `{"content":"a"}`)
	}))
	defer server.Close()
	timer := time.AfterFunc(300*time.Millisecond, func() { close(release) })
	defer timer.Stop()
	got, err := At(context.Background(), server.Listener.Addr().String(), NewCall(mock.OpenAI, "k", "{}", "a", "", false), 1, 50, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if p50 := got.Quantile(50); p50 < 100*time.Millisecond {
		t.Errorf("p50 %s: the calls behind the stalled one were not charged for their waiting", p50)
	}
}

func TestMistakesOfTheTargetAreFound(t *testing.T) {
	t.Parallel()
	plain := func(body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	chunks := func(parts ...string) string {
		b := "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
		for _, p := range parts {
			b += fmt.Sprintf("%x\r\n%s\r\n", len(p), p)
		}
		return b
	}
	const event = `data: {"content":"a"}` + "\n\n"
	for _, tt := range []struct {
		name, answer string
		stream       bool
		want         string // "" is right
	}{
		{"right", plain(`{"model":"m","content":"a"}`), false, ""},
		{"other text", plain(`{"model":"m","content":"b"}`), false, "another text"},
		{"no text", plain(`{"model":"m"}`), false, "another text"},
		{"other model", plain(`{"model":"x","content":"a"}`), false, `of model "x", asked for "m"`},
		{"status", "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nwhat", false, "not 200: what"},
		{"no length", "HTTP/1.1 200 OK\r\n\r\n", false, "no usable length"},
		{"cut", "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n{", false, "EOF"},
		{"right stream", chunks(event, "data: [DONE]\n\n", ""), true, ""},
		{"stream in two pieces", chunks(event[:9], event[9:]+"data: [DONE]\n\n", ""), true, ""},
		{"event twice", chunks(event, event, "data: [DONE]\n\n", ""), true, "another text"},
		{"event missing", chunks("data: [DONE]\n\n", ""), true, "another text"},
		{"no end mark", chunks(event, ""), true, "without its end mark"},
		{"data after the end mark", chunks("data: [DONE]\n\n", event, ""), true, "without its end mark"},
		{"cut stream", chunks(event, "data: [DONE]\n\n"), true, "EOF"},
		{"broken chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", true, "end of a chunk"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			client, server := net.Pipe()
			go func() {
				defer server.Close()
				go io.Copy(io.Discard, server)
				io.WriteString(server, tt.answer)
			}()
			conn := wrap(context.Background(), client)
			defer conn.Close()
			err := conn.Do(NewCall(mock.OpenAI, "k", "{}", "a", "m", tt.stream))
			if tt.want == "" && err != nil {
				t.Errorf("got %v, want no error", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}
