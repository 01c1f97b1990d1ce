package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
)

// leaver is a client that asks by hand, reads some lines of the answer, and goes in its own way.
func (w *world) leaver(body string, lines int, leave func(c *net.TCPConn)) (id string) {
	w.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", chatPath, w.key, len(body), body)
	r := bufio.NewReader(c)
	for range lines {
		line, err := r.ReadString('\n')
		if err != nil {
			w.t.Fatal(err)
		}
		if v, ok := strings.CutPrefix(line, "X-Request-Id: "); ok {
			id = strings.TrimSpace(v)
		}
	}
	if lines == 0 && !penstocktest.Eventually(func() bool { _, open := w.Sim.Peak(); return open["sim-a"].Open > 0 }) {
		w.t.Fatal("the provider was never asked")
	}
	leave(c.(*net.TCPConn))
	return id
}

// TestFault35ClientGoes: the provider's call is cancelled within a second, however the client goes and whatever it has
// read, and what was generated is booked.
func TestFault35ClientGoes(t *testing.T) {
	t.Parallel()
	ways := map[string]func(c *net.TCPConn){
		"close":      func(c *net.TCPConn) { _ = c.Close() },
		"reset":      func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
		"half close": func(c *net.TCPConn) { _ = c.CloseWrite(); _, _ = io.Copy(io.Discard, c) },
	}
	for name, leave := range ways {
		for _, phase := range []struct {
			name, knobs string
			stream      bool
			lines       int
			outcome     pipeline.Outcome
		}{
			{"before the first token", "first=30s", true, 0, pipeline.Unknown},
			{"before a plain answer", "first=30s", false, 0, pipeline.Unknown},
			{"in mid-stream", "gap=10ms&events=10000", true, 60, pipeline.SettledEstimated},
		} {
			t.Run(name+" "+phase.name, func(t *testing.T) {
				t.Parallel()
				w := start(t, penstocktest.Options{})
				w.leaver(penstocktest.Chat(w.model(phase.knobs), strings.Repeat("four ", 400), phase.stream), phase.lines, leave)
				left := time.Now()
				if !penstocktest.Eventually(func() bool { _, open := w.Sim.Peak(); return open["sim-a"].Open == 0 }) {
					t.Fatal("the provider's call goes on")
				}
				call := w.Sim.Bill().Calls[0]
				if call.Canceled.IsZero() || call.Canceled.Sub(left) > time.Second {
					t.Errorf("cancelled %v after the client left: %+v", call.Canceled.Sub(left), call)
				}
				w.AtRest()
				r := w.Records()[0]
				if r.Status != 499 || r.Error == nil || r.Error.Code != "client_closed_request" || len(r.Tries) != 1 {
					t.Fatalf("record %+v", r)
				}
				if try := r.Tries[0]; try.Reason != "canceled" || try.Outcome != phase.outcome || try.Usage.Estimated != (phase.outcome == pipeline.SettledEstimated) {
					t.Errorf("try %+v", try)
				}
				w.CheckBill()
			})
		}
	}
}

// TestFault35ManyClientsGo: nothing is left of them.
func TestFault35ManyClientsGo(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	body := penstocktest.Chat(w.model("gap=2ms&events=1000"), strings.Repeat("four ", 400), true)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() { w.leaver(body, 20+i, func(c *net.TCPConn) { _ = c.SetLinger(0) }) })
	}
	all.Wait()
	w.CheckBill()
	if n := len(w.Records()); n != 40 {
		t.Errorf("%d records of 40 exchanges", n)
	}
}

// TestAPlainAnswerThatNobodyReadsIsBookedWhole: it was paid for.
func TestAPlainAnswerThatNobodyReadsIsBookedWhole(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	a := w.ask(w.model("events=50"), "hello", false)
	w.leaver(penstocktest.Chat("sim-a/gpt-x?events=50", "hello", false), 1, func(c *net.TCPConn) { _ = c.Close() })
	w.CheckBill()
	all := w.Records()
	if a.Status != http.StatusOK || len(all) != 2 || all[0].CostNano != all[1].CostNano || all[0].CostNano == 0 {
		t.Errorf("records %+v", all)
	}
}
