//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// fewFiles starts Penstock with 128 descriptors, however many the test itself may have.
const fewFiles = `ulimit -n 128 && exec "$@"`

// Fault 57: 128 descriptors, and 300 clients at once. Those that are too many are turned away at once and in words, or
// refused; store and journal, which need descriptors too, go on working; nobody spins; and it is over when it is over.
func TestFewDescriptors(t *testing.T) {
	w := newWorld(t, draws(t), plan{
		around: fewFiles,
		config: providers + "models: { plain: { targets: [\"sim-a/x?events=20&gap=20ms\", \"sim-b/x?events=3\"] } }\n",
	})
	quiet := w.serve.descriptors(t)
	var mu sync.Mutex // guards the field below
	peak := 0
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil {
			n := w.serve.descriptors(t)
			mu.Lock()
			peak = max(peak, n)
			mu.Unlock()
			pause(ctx, 20*time.Millisecond)
		}
	})
	f := w.drive(300, func(client, _ int) call { return call{model: "plain", stream: client%2 == 0} })
	<-time.After(2 * time.Second)
	used := w.serve.cpu(t)
	for range 3 { // the control plane has its own
		var status struct{ Ready bool }
		if err := w.admin(http.MethodGet, "/status", nil, &status); err != nil || !status.Ready {
			t.Errorf("in the storm the control plane says %+v, %v", status, err)
		}
		<-time.After(200 * time.Millisecond)
	}
	used = w.serve.cpu(t) - used
	all := f.home()
	w.http.CloseIdleConnections()
	cancel()
	watching.Wait()
	kinds := map[string]int{}
	for _, a := range all {
		switch {
		case a.whole:
			kinds["answered"]++
		case a.status == http.StatusServiceUnavailable && a.code() == "overloaded" && a.header.Get("Retry-After") != "":
			kinds["turned away"]++
		case a.status == 0:
			kinds["refused"]++
		default:
			kinds[fmt.Sprintf("wrong: %s", a)]++
			t.Errorf("neither an answer nor a refusal: %s", a)
		}
	}
	if kinds["answered"] < 50 || kinds["turned away"] < 50 {
		t.Errorf("%v", kinds)
	}
	for _, trouble := range []string{"too many open files", "the store does not answer", "records wait"} {
		if told := lines(w.serve.log(t), trouble); len(told) > 0 {
			t.Errorf("%d times: %s", len(told), told[0])
		}
	}
	w.settles(quiet)
	t.Logf("%v; at most %d descriptors, %d when quiet; %s of CPU time in the storm's last 0.6 s", kinds, peak, quiet, used)
}

// settles checks that it is over when it is over: no descriptors, no CPU time, and an answer at once.
func (w *world) settles(quiet int) {
	w.t.Helper()
	eventually(w.t, patience, "the descriptors of before", func() error {
		if n := w.serve.descriptors(w.t); n > quiet+20 { // some connections to providers are kept
			return fmt.Errorf("%d are open, %d were", n, quiet)
		}
		return nil
	})
	before := w.serve.cpu(w.t)
	<-time.After(time.Second)
	if used := w.serve.cpu(w.t) - before; used > 200*time.Millisecond {
		w.t.Errorf("%s of CPU time in a second of doing nothing", used)
	}
	w.must(call{model: "plain"})
}

// Idle connections hold nobody up: who keeps many open and says nothing loses them to those who do.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	w := newWorld(t, draws(t), plan{around: fewFiles, config: providers + "models: { plain: { targets: [\"sim-a/x?events=3\"] } }\n"})
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			c.Close()
		}
	}()
	for range 60 {
		c, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			continue
		}
		idle = append(idle, c)
		fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, _ = c.Read(make([]byte, 4096)) // some are turned away
	}
	for range 20 {
		eventually(t, 2*time.Second, "an answer", func() error {
			if a := w.chat(context.Background(), call{model: "plain", client: newClient()}); !a.whole {
				return errors.New(a.String())
			}
			return nil
		})
	}
}

// One connection of HTTP/2 carries many calls, each of which needs a connection to a provider.
func TestFewDescriptorsOverHTTP2(t *testing.T) {
	f := newFortress(t, fewFiles)
	if a := f.must(call{model: "plain"}); !strings.HasPrefix(f.url, "https") || a.took > patience {
		t.Fatalf("%s %s", f.url, a)
	}
	var all [200]answer
	var done sync.WaitGroup
	for i := range all {
		done.Go(func() { all[i] = f.chat(context.Background(), call{model: "long", stream: true}) })
	}
	eventually(t, patience, "alive and not crowded out", func() error {
		if a := f.get(f.url+"/healthz", ""); a.status != http.StatusOK {
			return errors.New(a.String())
		}
		return nil
	})
	done.Wait()
	answered := count(all[:], func(a answer) bool { return a.whole })
	away := count(all[:], func(a answer) bool { return a.status == http.StatusServiceUnavailable && a.code() == "overloaded" })
	// The client may open further connections before it knows that one is enough; the door has no room for all of them.
	refused := count(all[:], func(a answer) bool { return a.status == 0 })
	if answered < 20 || away < 50 || answered+away+refused != len(all) {
		t.Errorf("%d answered, %d turned away, %d refused of %d", answered, away, refused, len(all))
		for _, a := range all {
			if a.status != 0 && !a.whole && a.code() != "overloaded" {
				t.Errorf("%s after %v: %v", a, a.took, a.err)
			}
		}
	}
	if told := lines(f.serve.log(t), "too many open files"); len(told) > 0 {
		t.Error(told[0])
	}
	f.must(call{model: "plain"})
}
