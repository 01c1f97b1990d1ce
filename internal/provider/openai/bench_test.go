package openai

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/provider"
	wire "github.com/penstock/penstock/internal/wire/openai"
)

// streamOf is the body of a stream with n events of text.
func streamOf(n int) string { return strings.Repeat(chunkOf(" token"), n) + finish + done }

// repeated is a stream without end, of one event.
type repeated struct {
	event []byte
	at    int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m := copy(p[n:], r.event[r.at:])
		n += m
		r.at = (r.at + m) % len(r.event)
	}
	return n, nil
}

// One event of a stream costs no allocation.
func TestEventAllocations(t *testing.T) {
	a, err := New().Decode(&http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}},
		Body: io.NopCloser(&repeated{event: []byte(chunkOf(" token"))}), ContentLength: -1,
	}, provider.Settings{MaxEvent: 1 << 20}, target, request(t, true))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Close() }()
	next := func() {
		if _, err := a.Next(); err != nil {
			t.Fatal(err)
		}
	}
	next()
	if n := testing.AllocsPerRun(10_000, next); n > 0 {
		t.Errorf("%v allocations an event, want none", n)
	}
}

func BenchmarkEvent(b *testing.B) {
	a, err := New().Decode(&http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}},
		Body: io.NopCloser(&repeated{event: []byte(chunkOf(" token"))}), ContentLength: -1,
	}, provider.Settings{MaxEvent: 1 << 20}, target, request(b, true))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	body := `{"model":"asked","messages":[{"role":"user","content":"` + strings.Repeat("word ", 2000) + `"}],"stream":true}`
	r, err := wire.ParseChat([]byte(body))
	if err != nil {
		b.Fatal(err)
	}
	base := provider.Settings{BaseURL: &url.URL{Scheme: "http", Host: "up.test", Path: "/v1"}, StreamUsage: true}
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := New().Encode(b.Context(), base, target, r); err != nil {
			b.Fatal(err)
		}
	}
}

const plainBody = `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant",` +
	`"content":"Hello, world"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}`

// A whole call over loopback, the upstream in the same process: a plain answer, and a stream of 50 events that come as
// single packets or all at once.
func BenchmarkDo(b *testing.B) {
	plain := func(w io.Writer) {
		_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(plainBody))+"\r\n\r\n"+plainBody)
	}
	var all bytes.Buffer
	all.WriteString(streamHead)
	cw := httputil.NewChunkedWriter(&all)
	_, _ = io.WriteString(cw, streamOf(50))
	_ = cw.Close()
	all.WriteString("\r\n")
	together := func(w io.Writer) { _, _ = w.Write(all.Bytes()) }
	single := func(w io.Writer) {
		_, _ = io.WriteString(w, streamHead)
		for range 50 {
			event := chunkOf(" token")
			_, _ = io.WriteString(w, strconv.FormatInt(int64(len(event)), 16)+"\r\n"+event+"\r\n")
		}
		_, _ = io.WriteString(w, strconv.FormatInt(int64(len(finish+done)), 16)+"\r\n"+finish+done+"\r\n0\r\n\r\n")
	}
	for _, c := range []struct {
		name   string
		stream bool
		script func(io.Writer)
	}{{"plain", false, plain}, {"stream50_together", true, together}, {"stream50_single", true, single}} {
		b.Run(c.name, func(b *testing.B) {
			cl := overTCP(b, provider.Options{Defaults: provider.Timeouts{
				Connect: 3 * time.Second, FirstToken: 2 * time.Minute, Gap: 30 * time.Second, Total: 10 * time.Minute,
			}}, c.script)
			r := request(b, c.stream)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := cl.Do(b.Context(), provider.Via{}, target, r)
				if err != nil {
					b.Fatal(err)
				}
				for _, err := range resp.Events {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// The same exchange by net/http's client, to compare with.
func BenchmarkNetHTTP(b *testing.B) {
	script := func(w io.Writer) {
		_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "+strconv.Itoa(len(plainBody))+"\r\n\r\n"+plainBody)
	}
	l := listen(b, script)
	tr := &http.Transport{DisableCompression: true}
	defer tr.CloseIdleConnections()
	body := `{"model":"asked","messages":[{"role":"user","content":"Hi"}],"stream":false}`
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+l+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}
