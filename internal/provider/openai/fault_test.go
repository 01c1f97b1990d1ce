package openai

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

var target = llm.Target{Provider: "house", Model: "m"}

func request(t testing.TB, stream bool) *llm.Request {
	t.Helper()
	r, err := wire.ParseChat(fmt.Appendf(nil, `{"model":"asked","messages":[{"role":"user","content":"Hi"}],"stream":%t}`, stream))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serve answers each request that comes over a connection with a script.
func serve(script func(w io.Writer)) func(net.Conn) {
	return func(c net.Conn) {
		defer func() { _ = c.Close() }()
		r := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			script(c)
		}
	}
}

// overPipe makes a client whose upstream is a script at the other end of a pipe; it works in a synctest bubble.
func overPipe(t testing.TB, o provider.Options, script func(w io.Writer)) *provider.Client {
	t.Helper()
	o.DialContext = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go serve(script)(far)
		return near, nil
	}
	return newClient(t, "http://up.test/v1", o)
}

// overTCP makes a client whose upstream is a script behind a socket.
func overTCP(t testing.TB, o provider.Options, script func(w io.Writer)) *provider.Client {
	t.Helper()
	return newClient(t, "http://"+listen(t, script)+"/v1", o)
}

// listen gives the address of a script.
func listen(t testing.TB, script func(w io.Writer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(script)(c)
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func newClient(t testing.TB, base string, o provider.Options) *provider.Client {
	t.Helper()
	o.Codec = New()
	c, err := provider.New("house", provider.Config{Dialect: llm.OpenAI, BaseURL: base}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const (
	streamHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
	jsonHead   = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
)

// chunkOf is an event with a piece of text.
func chunkOf(text string) string {
	return `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"` + text +
		`"},"finish_reason":null}]}` + "\n\n"
}

const (
	finish = `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	done   = "data: [DONE]\n\n"
)

// outcome walks a call's answer: its text, how many events there were, and the failure.
func outcome(ctx context.Context, c *provider.Client, r *llm.Request) (text string, events int, f *provider.Failure) {
	resp, err := c.Do(ctx, provider.Via{}, target, r)
	if err != nil {
		f, _ = errors.AsType[*provider.Failure](err)
		return "", 0, f
	}
	var b strings.Builder
	whole := false
	for e, err := range resp.Events {
		if err != nil {
			f, _ = errors.AsType[*provider.Failure](err)
			return b.String(), events, f
		}
		events++
		b.Write(e.Text)
		whole = e.Is(llm.End)
	}
	if !whole {
		return b.String(), events, &provider.Failure{Message: "the sequence ended without an end"}
	}
	return b.String(), events, nil
}

// Fault 25, S2: neither chunks nor packets show in the events.
func TestS2AnyChunks(t *testing.T) {
	t.Parallel()
	body := ": hi\n\n" + chunkOf("Hel") + "\n" + strings.ReplaceAll(chunkOf("lo, 漢字"), "\n", "\r\n") + finish + done
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 200), 1, 40).Draw(rt, "sizes")
		synctest.Test(t, func(t *testing.T) {
			c := overPipe(t, provider.Options{}, func(w io.Writer) {
				_, _ = io.WriteString(w, streamHead)
				cw := httputil.NewChunkedWriter(w)
				rest := body
				for i := 0; rest != ""; i++ {
					n := min(sizes[i%len(sizes)], len(rest))
					_, _ = io.WriteString(cw, rest[:n])
					rest = rest[n:]
				}
				_ = cw.Close()
				_, _ = io.WriteString(w, "\r\n")
			})
			if text, n, f := outcome(t.Context(), c, request(t, true)); text != "Hello, 漢字" || n != 4 || f != nil {
				t.Errorf("%q, %d events, %v", text, n, f)
			}
		})
	})
}

// Fault 28: an event is there at the moment at which the upstream has written it, the last one before the connection's
// end too.
func TestNothingIsHeldBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var written []time.Time
		c := overPipe(t, provider.Options{}, func(w io.Writer) {
			_, _ = io.WriteString(w, streamHead)
			cw := httputil.NewChunkedWriter(w)
			for _, s := range []string{chunkOf("a"), chunkOf("b"), chunkOf("c"), finish, done} {
				time.Sleep(250 * time.Millisecond)
				written = append(written, time.Now())
				_, _ = io.WriteString(cw, s)
			}
			time.Sleep(time.Minute)
		})
		resp, err := c.Do(t.Context(), provider.Via{}, target, request(t, true))
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for e, err := range resp.Events {
			if err != nil {
				t.Fatal(err)
			}
			if lag := time.Since(written[i]); lag != 0 || e.More {
				t.Errorf("event %d came %v after it was written; more: %t", i, lag, e.More)
			}
			i++
		}
		if i != 5 {
			t.Errorf("%d events", i)
		}
		if lag := time.Since(written[4]); lag > 200*time.Millisecond {
			t.Errorf("the call went on for %v behind the end mark", lag)
		}
		time.Sleep(time.Hour) // until the upstream has ended
	})
}

// allocated is how many bytes are allocated while f runs, whoever allocates them.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Fault 32, S4: a line of 10 MB ends the call at the limit, and not in memory.
func TestLongLine(t *testing.T) {
	c := overTCP(t, provider.Options{MaxEvent: 1 << 20}, func(w io.Writer) {
		_, _ = io.WriteString(w, streamHead)
		cw := httputil.NewChunkedWriter(w)
		_, _ = io.WriteString(cw, "data: ")
		piece := strings.Repeat("x", 64<<10)
		for range 160 {
			if _, err := io.WriteString(cw, piece); err != nil {
				return
			}
		}
	})
	var f *provider.Failure
	grown := allocated(func() { _, _, f = outcome(t.Context(), c, request(t, true)) })
	if f == nil || f.Reason != provider.ReasonTooLarge || f.Message != "sent an event of more than 1 MB" {
		t.Errorf("got %v", f)
	}
	if grown > 16<<20 {
		t.Errorf("%d bytes were allocated", grown)
	}
}

// Fault 32, S5: 100,000 tiny events pass with flat memory.
func TestManyEvents(t *testing.T) {
	const n = 100_000
	piece := strings.Repeat(chunkOf("a"), 100)
	c := overTCP(t, provider.Options{}, func(w io.Writer) {
		_, _ = io.WriteString(w, streamHead)
		cw := httputil.NewChunkedWriter(w)
		for range n / 100 {
			_, _ = io.WriteString(cw, piece)
		}
		_, _ = io.WriteString(cw, finish+done)
		_ = cw.Close()
		_, _ = io.WriteString(w, "\r\n")
	})
	resp, err := c.Do(t.Context(), provider.Via{}, target, request(t, true))
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	var first, most uint64
	for _, err := range resp.Events {
		if err != nil {
			t.Fatal(err)
		}
		if events++; events%20_000 == 1 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if first == 0 {
				first = m.HeapAlloc
			}
			most = max(most, m.HeapAlloc)
		}
	}
	if events != n+2 {
		t.Errorf("%d events, want %d", events, n+2)
	}
	if most > first+8<<20 { // kept, the events would be 20 MB
		t.Errorf("the heap grew from %d to %d bytes", first, most)
	}
}

// Security 19: a body without end stops at the limit.
func TestEndlessBody(t *testing.T) {
	for name, head := range map[string]string{
		"chunked": jsonHead, "until close": "HTTP/1.1 200 OK\r\n\r\n", "a length of 1 TB": "HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n",
		"an error": strings.Replace(jsonHead, "200", "500", 1),
	} {
		c := overTCP(t, provider.Options{MaxBody: 1 << 20}, func(w io.Writer) {
			_, _ = io.WriteString(w, head)
			if strings.Contains(head, "chunked") {
				w = httputil.NewChunkedWriter(w)
			}
			piece := strings.Repeat(" ", 64<<10)
			for {
				if _, err := io.WriteString(w, piece); err != nil {
					return
				}
			}
		})
		want := provider.ReasonTooLarge
		if name == "an error" {
			want = provider.ReasonStatus
		}
		var f *provider.Failure
		grown := allocated(func() { _, _, f = outcome(t.Context(), c, request(t, false)) })
		if f == nil || f.Reason != want {
			t.Errorf("%s: %v", name, f)
		}
		if grown > 32<<20 {
			t.Errorf("%s: %d bytes were allocated", name, grown)
		}
	}
}

// S20, fault 35: an upstream that goes on when it has been left does not hold the call.
func TestKeepsSendingAfterCancel(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	c := overTCP(t, provider.Options{}, func(w io.Writer) {
		defer close(stopped)
		_, _ = io.WriteString(w, streamHead)
		cw := httputil.NewChunkedWriter(w)
		for {
			if _, err := io.WriteString(cw, chunkOf("more")); err != nil {
				return
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	resp, err := c.Do(ctx, provider.Via{}, target, request(t, true))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range resp.Events {
		if n++; n == 100 {
			cancel()
		}
		if f, ok := errors.AsType[*provider.Failure](err); ok && f.Reason != provider.ReasonCanceled {
			t.Errorf("got %v", f)
		}
	}
	cancel()
	select {
	case <-stopped:
	case <-time.After(time.Second):
		t.Error("the upstream could go on for a second")
	}
}

// Streams give their connection back, so that a busy gateway does not dial for each.
func TestStreamsKeepTheConnection(t *testing.T) {
	t.Parallel()
	dials := 0
	c := newClient(t, "http://up.test/v1", provider.Options{DialContext: func(context.Context, string, string) (net.Conn, error) {
		dials++
		near, far := net.Pipe()
		go serve(func(w io.Writer) {
			_, _ = io.WriteString(w, streamHead)
			cw := httputil.NewChunkedWriter(w)
			_, _ = io.WriteString(cw, chunkOf("a")+finish)
			_, _ = io.WriteString(cw, done)
			_ = cw.Close()
			_, _ = io.WriteString(w, "\r\n")
		})(far)
		return near, nil
	}})
	for range 10 {
		if text, _, f := outcome(t.Context(), c, request(t, true)); text != "a" || f != nil {
			t.Fatalf("%q %v", text, f)
		}
	}
	if dials != 1 {
		t.Errorf("10 streams took %d connections, want 1", dials)
	}
}
