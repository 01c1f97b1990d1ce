package server_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
)

// impatient is a hop that closes connections on which its client was sent nothing for so long, as load balancers do. It gives
// its address.
func impatient(t *testing.T, to string, idle time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client) }()
			go func() {
				defer client.Close()
				defer server.Close()
				b := make([]byte, 4096)
				for {
					_ = server.SetReadDeadline(time.Now().Add(idle))
					n, err := server.Read(b)
					if _, writing := client.Write(b[:n]); err != nil || writing != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// TestFault27IdleHop: a hop that closes idle connections is survived, at a fiftieth of the time: the first token comes after
// 1.8 s, the hop waits for 1.2 s, a sign of life goes out every 300 ms. Without them the answer does not arrive. They are no
// token: the record has the time of the real one; and where the provider says nothing at all, its timer runs out in its time.
func TestFault27IdleHop(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(nil, "limits: { keepalive: 300ms }", "timeouts: { first_token: 2500ms, gap: 900ms }")})
	off := start(t, penstocktest.Options{Config: settings(nil, "limits: { keepalive: 0 }")})
	ask := func(w *world, knobs string) penstocktest.Answer {
		hop := *w.Env
		hop.URL = "http://" + impatient(t, strings.TrimPrefix(w.URL, "http://"), 1200*time.Millisecond)
		return hop.Post(w.key, chatPath, penstocktest.Chat(w.model(knobs), "hello", true))
	}
	a := ask(w, "first=1800ms&events=3")
	text := strings.ReplaceAll(a.Text(), ": keep-alive\n\n", "")
	if s := read(t, text); a.Status != http.StatusOK || a.Err != nil || !s.done || s.text(0) == "" || strings.Count(a.Text(), ": keep-alive") < 4 {
		t.Errorf("%d %v %q", a.Status, a.Err, a.Text())
	}
	if r := w.record(a); r.Timings.FirstNS < int64(1700*time.Millisecond) || r.Tries[0].FirstNS != 0 && r.Tries[0].FirstNS < int64(1700*time.Millisecond) || r.Status != http.StatusOK {
		t.Errorf("record %+v", r)
	}
	if seconds := w.Metric("penstock_time_to_first_token_seconds_sum"); seconds < 1.7 {
		t.Errorf("the metric has the first token after %v s", seconds)
	}
	a = ask(w, "flush=1&events=6&stall=3&ping=100ms")
	text = strings.ReplaceAll(a.Text(), ": keep-alive\n\n", "")
	if s := read(t, text); s.done || s.failure() != "timeout" || !strings.Contains(a.Text(), "timeouts.gap") || !strings.Contains(a.Text(), ": keep-alive") {
		t.Errorf("%q", a.Text())
	}
	a = ask(w, "first=30s")
	text = strings.ReplaceAll(a.Text(), ": keep-alive\n\n", "")
	if s := read(t, text); a.Status != http.StatusOK || s.done || s.failure() != "timeout" || !strings.Contains(a.Text(), "timeouts.first_token") {
		t.Errorf("%d %q", a.Status, a.Text())
	}
	if r := w.record(a); r.Status != http.StatusOK || r.Error == nil || r.Error.Code != "timeout" {
		t.Errorf("the record says %d, %+v; the client saw 200", r.Status, r.Error)
	}
	if a = ask(off, "first=1800ms&events=3"); a.Err == nil {
		t.Errorf("without signs of life: %d %q", a.Status, a.Text())
	}
	w.CheckBill()
}
