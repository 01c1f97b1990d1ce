//go:build unix

package server_test

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/penstocktest"
)

// timers has one of the four run out soon, and the others so late that no busy machine makes them the first.
func timers(soon string) string {
	after := map[string]string{"connect": "20s", "first_token": "20s", "gap": "20s", "total": "60s"}
	after[soon] = "300ms"
	return fmt.Sprintf("timeouts: { connect: %s, first_token: %s, gap: %s, total: %s }", after["connect"], after["first_token"], after["gap"], after["total"])
}

// blackHole is an address that takes no connection and refuses none: its queue is full.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}).String()
	for range 4 {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Skip("this system's queues are longer than they say")
	return ""
}

// TestFault38ConnectBlackHole: the connect timer runs out, and the next target answers.
func TestFault38ConnectBlackHole(t *testing.T) {
	t.Parallel()
	hole := `  hole: { dialect: openai, base_url: "http://` + blackHole(t) + `/v1", vendor: none }`
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"two": {"hole/m", "sim-b/good"}, "one": {"hole/m"}}, hole, timers("connect"))})
	began := time.Now()
	w.fellBack(w.ask("two", "hello", true), "connect_timeout")
	if took := time.Since(began); took < 300*time.Millisecond || took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	a := w.ask("one", "hello", false)
	if code, says := errorOf(t, a); a.Status != 504 || code != "timeout" || !strings.Contains(says, "timeouts.connect") || !strings.Contains(says, "Nothing was billed.") {
		t.Errorf("%d %s %+v", a.Status, a.Body, w.record(a).Tries)
	}
	w.CheckBill()
}

// TestFault39FourTimers: each runs out on its own, and the error names it.
func TestFault39FourTimers(t *testing.T) {
	t.Parallel()
	worlds := map[string]*world{}
	for _, timer := range []string{"first_token", "gap", "total"} {
		worlds[timer] = start(t, penstocktest.Options{Config: settings(nil, timers(timer))})
	}
	for _, c := range []struct {
		name, knobs, timer string
		stream, begun      bool
	}{
		{"stall before the headers", "stall=headers", "first_token", true, false},
		{"plain stall before the headers", "stall=headers", "first_token", false, false},
		{"plain stall behind the headers", "stall=body", "first_token", false, false},
		{"stall behind the role", "early_headers=1&first=30s", "first_token", true, false},
		{"pings only", "early_headers=1&first=30s&ping=20ms", "first_token", true, false},
		{"stall between tokens", "flush=1&events=6&stall=3", "gap", true, true},
		{"pings between tokens", "flush=1&events=6&stall=3&ping=20ms", "gap", true, true},
		{"endless drip", "events=3&drip=50ms", "total", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w, began := worlds[c.timer], time.Now()
			a := w.ask(w.model(c.knobs+"&tag="+strings.ReplaceAll(c.name, " ", "-")), "hello", c.stream)
			if took := time.Since(began); took < 250*time.Millisecond || took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			r := w.record(a)
			if r.Error == nil || r.Error.Code != "timeout" || r.Tries[0].Reason != c.timer+"_timeout" {
				t.Errorf("record %+v", r)
			}
			if !c.begun {
				if code, says := errorOf(t, a); a.Status != 504 || code != "timeout" || !strings.Contains(says, "timeouts."+c.timer) {
					t.Errorf("%d %s", a.Status, a.Body)
				}
				return
			}
			s := read(t, a.Text())
			if s.done || s.failure() != "timeout" || !strings.Contains(a.Text(), "timeouts."+c.timer) || len(strings.Fields(s.text(0))) < 3 {
				t.Errorf("%s", a.Body)
			}
		})
	}
	t.Cleanup(func() {
		for _, w := range worlds {
			w.CheckBill()
		}
	})
}

// TestFault41TheCallersDeadline: no try begins behind it.
func TestFault41TheCallersDeadline(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"two": {"sim-a/slow?first=30s", "sim-b/good"}, "mid": {"sim-a/mid?gap=50ms&events=1000"}})})
	began := time.Now()
	a := w.ask("two", "hello", false, "X-Request-Timeout-Ms", "200")
	if code, says := errorOf(t, a); a.Status != 504 || code != "deadline_exceeded" || !strings.Contains(says, "your deadline of 200ms (X-Request-Timeout-Ms)") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	equal(t, "calls", w.calls(), []string{"sim-a/slow?first=30s"})
	const passed = "canceled: was not waited for: the caller's deadline passed"
	if r := w.record(a); r.Status != 504 || r.Error.Code != "deadline_exceeded" || len(r.Tries) != 1 || !strings.HasPrefix(r.Tries[0].Detail, passed) {
		t.Errorf("record %+v", r)
	}
	a = w.ask("mid", "hello", true, "X-Request-Timeout-Ms", "1500")
	if s := read(t, a.Text()); s.done || s.failure() != "deadline_exceeded" || s.text(0) == "" {
		t.Errorf("%s", a.Body)
	}
	if r := w.record(a); len(r.Tries) != 1 || !strings.HasPrefix(r.Tries[0].Detail, passed) {
		t.Errorf("record %+v", r)
	}
	w.CheckBill()
}
