//go:build linux

package chaos

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// impatient are limits short enough for a test.
const impatient = "limits: { head_time: 2s, body_time: 1s, write_time: 1s }\n" + providers + `models:
  plain: { targets: ["sim-a/x?events=3"] }
  vast:  { targets: ["sim-a/vast?events=900000"] }
  broad: { targets: ["sim-a/broad?pad=30000000"] }
`

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// 200 clients send one byte of their head each second. They are cut off, and meanwhile disturb nobody.
func TestSlowHeads(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: impatient})
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: penstock\r\nX-Slow: " + strings.Repeat("x", 100)
	var mu sync.Mutex // guards the field below
	var took []time.Duration
	var done sync.WaitGroup
	for range 200 {
		c := w.dial()
		done.Go(func() {
			begun := time.Now()
			gone := make(chan struct{})
			go func() { _, _ = io.Copy(io.Discard, c); close(gone) }()
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for i := 0; ; i++ {
				_, _ = c.Write([]byte{head[i%len(head)]}) // the reader sees that it is over
				select {
				case <-gone:
					mu.Lock()
					defer mu.Unlock()
					took = append(took, time.Since(begun))
					return
				case <-tick.C:
				}
				if time.Since(begun) > patience {
					t.Error("a slow client was not cut off")
					return
				}
			}
		})
	}
	for range 20 {
		if a := w.must(call{model: "plain"}); a.took > 2*time.Second {
			t.Errorf("a quick client waited %s", a.took)
		}
	}
	done.Wait()
	for _, d := range took {
		if d < time.Second || d > 6*time.Second {
			t.Errorf("a slow client was cut off after %s", d)
			break
		}
	}
	if len(took) != 200 {
		t.Errorf("%d of 200 were cut off", len(took))
	}
}

// A body that does not come is a 408 that says so.
func TestSlowBodies(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: impatient})
	var done sync.WaitGroup
	for range 20 {
		c := w.dial()
		done.Go(func() {
			fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: penstock\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n{", w.key)
			_ = c.SetReadDeadline(time.Now().Add(patience))
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Errorf("a slow body: %v", err)
				return
			}
			text, _ := io.ReadAll(resp.Body) // what there is of it
			if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(text), "limits.body_time") {
				t.Errorf("a slow body: %d %s", resp.StatusCode, text)
			}
		})
	}
	done.Wait()
	w.must(call{model: "plain"})
}

// A client that reads nothing of its answer is given up, and the provider is not kept busy for it.
func TestClientsThatDoNotRead(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: impatient})
	for _, model := range []string{"vast", "broad"} {
		for range 3 {
			c := w.dial()
			body := call{model: model, stream: model == "vast"}.body()
			fmt.Fprintf(c, "POST /v1/chat/completions HTTP/1.1\r\nHost: penstock\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s", w.key, len(body), body)
		}
	}
	begun := time.Now()
	eventually(t, patience, "open requests", func() error {
		if n := w.metric("penstock_open_requests"); n < 6 {
			return fmt.Errorf("%v of 6 are open", n)
		}
		return nil
	})
	eventually(t, patience, "no open requests", func() error {
		if n := w.metric("penstock_open_requests"); n > 0 {
			return fmt.Errorf("%v are open", n)
		}
		return nil
	})
	took := time.Since(begun)
	b := w.bill()
	canceled := 0
	for _, c := range b.Calls {
		if c.Model == "vast" && !c.Canceled.IsZero() {
			canceled++
		}
	}
	if canceled != 3 {
		t.Errorf("%d of 3 streams were cancelled at the provider", canceled)
	}
	for _, r := range w.records() {
		if r.Model == "vast" && (r.Status != 499 && r.Status != 200 || r.Error == nil || r.Error.Code != "client_closed_request") {
			t.Errorf("the record of a client that did not read: %+v %+v", r, r.Error)
		}
	}
	w.must(call{model: "plain"})
	t.Logf("all given up %s after they were open", took.Round(time.Millisecond))
}

// A client that leaves in mid-stream: the provider knows within a second.
func TestClientsThatLeave(t *testing.T) {
	w := newWorld(t, draws(t), plan{config: providers + "models: { long: { targets: [\"sim-a/x?events=400&gap=20ms\"] } }\n"})
	left := make([]time.Time, 20)
	var done sync.WaitGroup
	for i := range left {
		done.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			seen := 0
			w.chat(ctx, call{model: "long", stream: true, seen: func([]byte) bool {
				seen++
				if seen == 2+i {
					left[i] = time.Now()
					return false
				}
				return true
			}})
		})
	}
	done.Wait()
	b := w.bill()
	if b.Total.Canceled != int64(len(left)) {
		t.Errorf("%d of %d calls were cancelled", b.Total.Canceled, len(left))
	}
	last := left[len(left)-1]
	for _, c := range b.Calls {
		if late := c.Canceled.Sub(last); late > time.Second {
			t.Errorf("a call was cancelled %s after the last client had left", late)
		}
	}
	for _, r := range w.records() {
		if r.Error == nil || r.Error.Code != "client_closed_request" || len(r.Tries) != 1 || r.Tries[0].Outcome != "settled_estimated" {
			t.Errorf("the record of a client that left: %+v", r)
		}
	}
}
