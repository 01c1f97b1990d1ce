package provider

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/llm"
)

// startBlunt starts an upstream that costs next to nothing, so that a benchmark measures the client: of a request it
// looks at the length only, and it answers with the same bytes always.
func startBlunt(tb testing.TB, answer []byte) string {
	tb.Helper()
	return startUpstream(tb, func(p *peer) {
		buf := make([]byte, 64<<10)
		have := 0
		for {
			n, err := p.Read(buf[have:])
			if err != nil {
				return
			}
			have += n
			size := requestSize(buf[:have])
			if size == 0 || have < size {
				continue
			}
			have = copy(buf, buf[size:have])
			if _, err := p.Write(answer); err != nil {
				return
			}
		}
	}).url()
}

// requestSize is how long the request that b begins with is, 0 if its head is not whole.
func requestSize(b []byte) int {
	head := bytes.Index(b, []byte("\r\n\r\n"))
	at := bytes.Index(b, []byte("Content-Length: "))
	if head < 0 || at < 0 {
		return 0
	}
	digits := b[at+len("Content-Length: "):]
	n, err := strconv.Atoi(string(digits[:bytes.IndexByte(digits, '\r')]))
	if err != nil {
		return 0
	}
	return head + len("\r\n\r\n") + n
}

// BenchmarkRoundTrip compares our HTTP client with net/http's, on the same exchange of a small answer. Compare the two
// within one run.
func BenchmarkRoundTrip(b *testing.B) {
	answer := []byte("HTTP/1.1 200 OK\r\nDate: Sun, 01 Nov 2026 12:00:00 GMT\r\nContent-Type: application/json\r\nX-Request-Id: r\r\n" +
		"Content-Length: 500\r\n\r\n" + strings.Repeat("x", 500))
	for _, size := range []int{1 << 10, 10 << 10} {
		body := bytes.Repeat([]byte("x"), size)
		for _, client := range []string{"own", "nethttp"} {
			b.Run(strconv.Itoa(size>>10)+"K/"+client, func(b *testing.B) {
				url := startBlunt(b, answer)
				own := newTestTransport(b, Options{})
				var rt http.RoundTripper = own
				if client == "nethttp" {
					t := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: maxIdle}
					defer t.CloseIdleConnections()
					rt = t
				}
				b.ReportAllocs()
				b.SetParallelism(32)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						req := post(b.Context(), url, body)
						req.Header["User-Agent"], req.Header["Accept-Encoding"] = userAgent, identity
						resp, err := rt.RoundTrip(req)
						if err != nil {
							b.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
				})
			})
		}
	}
}

// doOnce makes a whole call, with a codec that costs little.
func doOnce(tb testing.TB, c *Client, r *llm.Request) {
	resp, err := c.Do(tb.Context(), Via{}, house, r)
	if err != nil {
		tb.Error(err)
		return
	}
	for _, err := range resp.Events {
		if err != nil {
			tb.Error(err)
		}
	}
}

func newBenchClient(tb testing.TB, answer string) *Client {
	tb.Helper()
	return newTestClient(tb, Config{BaseURL: startBlunt(tb, []byte(answer))}, Options{Defaults: Timeouts{
		Connect: 3 * time.Second, FirstToken: 2 * time.Minute, Gap: 30 * time.Second, Total: 10 * time.Minute,
	}})
}

// streamWords is an answer of n events that come at once.
func streamWords(n int) string {
	words := make([]string, n)
	for i := range words {
		words[i] = strings.Repeat("x", 150)
	}
	return streamHead + word(words...) + word("end") + lastChunk
}

func BenchmarkDo(b *testing.B) {
	for _, c := range []struct {
		name, answer string
		r            *llm.Request
	}{
		{"plain", hello, &llm.Request{Raw: bytes.Repeat([]byte("x"), 1<<10)}},
		{"stream50", streamWords(50), &llm.Request{Raw: bytes.Repeat([]byte("x"), 1<<10), Stream: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			client := newBenchClient(b, c.answer)
			b.ReportAllocs()
			for b.Loop() {
				doOnce(b, client, c.r)
			}
		})
	}
}

// What the Client adds to an event is not to allocate, and what it adds to a call not to grow.
func TestAllocations(t *testing.T) {
	r := &llm.Request{Raw: []byte("ask"), Stream: true}
	cost := func(events int) float64 {
		client := newBenchClient(t, streamWords(events))
		doOnce(t, client, r)
		return testing.AllocsPerRun(200, func() { doOnce(t, client, r) })
	}
	few, many := cost(1), cost(201)
	if perEvent := (many - few) / 200; perEvent > 0.05 {
		t.Errorf("%.2f allocations an event, want none", perEvent)
	}
	if few > 50 {
		t.Errorf("%v allocations a call, want at most 50", few)
	}
}
