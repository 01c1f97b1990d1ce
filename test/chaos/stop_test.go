//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A crowd are streams that have begun.
type crowd struct {
	all  []answer // complete after done
	done sync.WaitGroup
}

// streams opens n streams, and returns when each has had its first content.
func (w *world) streams(n int, c call) *crowd {
	w.t.Helper()
	c.stream = true
	s := &crowd{all: make([]answer, n)}
	var begun sync.WaitGroup
	begun.Add(n)
	for i := range n {
		c := c
		first := sync.OnceFunc(begun.Done)
		c.seen = func([]byte) bool { first(); return true }
		s.done.Go(func() {
			defer first()
			s.all[i] = w.chat(context.Background(), c)
		})
	}
	begun.Wait()
	return s
}

func (s *crowd) wait() []answer {
	s.done.Wait()
	return s.all
}

// Fault 59: SIGTERM while 50 streams are open. First it is not ready, all streams end as they should, then it exits with
// 0 and owes no record.
func TestStopWithOpenStreams(t *testing.T) {
	w := newWorld(t, draws(t), plan{
		config:  "shutdown_grace: 20s\n" + providers + "models: { long: { targets: [\"sim-a/x?events=40&gap=50ms\"] } }\n",
		targets: []string{"sim-a/x?events=40&gap=50ms"},
	})
	s := w.streams(50, call{model: "long"})
	asked := time.Now()
	w.serve.signal(t, syscall.SIGTERM)
	eventually(t, time.Second, "not ready", func() error {
		a := w.get(w.url+"/readyz", "")
		if a.status != http.StatusServiceUnavailable || a.code() != "not_ready" {
			return errors.New(a.String())
		}
		return nil
	})
	notReady := time.Since(asked)
	if a := w.get(w.url+"/healthz", ""); a.status != http.StatusOK {
		t.Errorf("alive while draining: %s", a)
	}
	all := s.wait()
	if n := count(all, func(a answer) bool { return a.whole }); n != 50 {
		t.Errorf("%d of 50 streams ended as they should", n)
	}
	if code := w.serve.wait(t, 25*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	took := time.Since(asked)
	w.up()
	records := w.records()
	w.compare(records, all, w.bill())
	if n := countRecords(records, func(r record) bool { return r.Replayed }); n > 0 {
		t.Errorf("%d exchanges were left open", n)
	}
	t.Logf("not ready after %s, gone after %s", notReady.Round(time.Millisecond), took.Round(time.Millisecond))
}

// Fault 60: a stream is longer than the grace. It is told so and has no clean end; its record says why; the process is
// gone before whoever stopped it kills it.
func TestStopCutsWhatIsTooLong(t *testing.T) {
	const grace = 2 * time.Second
	w := newWorld(t, draws(t), plan{
		config:  "shutdown_grace: 2s\n" + providers + "models: { endless: { targets: [\"sim-a/x?events=3&drip=50ms\"] } }\n",
		targets: []string{"sim-a/x?events=3&drip=50ms"},
	})
	s := w.streams(20, call{model: "endless"})
	asked := time.Now()
	if code := w.serve.end(t, syscall.SIGTERM, grace+6*time.Second); code != 0 {
		t.Errorf("exit code %d", code)
	}
	took := time.Since(asked)
	ids := map[string]bool{}
	for _, a := range s.wait() {
		if a.whole || a.status != http.StatusOK || a.code() != "shutting_down" {
			t.Fatalf("a stream that was cut: %s", a)
		}
		ids[a.id()] = true
	}
	if took < grace {
		t.Errorf("gone after %s, before the grace was over", took)
	}
	w.up()
	for _, r := range w.records() {
		if !ids[r.ID] {
			continue
		}
		delete(ids, r.ID)
		if r.Error == nil || r.Error.Code != "shutting_down" || r.Replayed {
			t.Errorf("the record says %+v", r)
		}
		if len(r.Tries) != 1 || r.Tries[0].Outcome == "" || r.Tries[0].Outcome == "released" {
			t.Errorf("the tries are settled as %+v", r.Tries)
		}
	}
	if len(ids) > 0 {
		t.Errorf("%d of the streams have no record", len(ids))
	}
	if b := w.bill(); b.Total.Canceled != 20 {
		t.Errorf("the provider saw %d of 20 calls cancelled", b.Total.Canceled)
	}
	t.Logf("gone after %s with a grace of %s", took.Round(time.Millisecond), grace)
}

// While Penstock drains, new calls are still taken for a while, and refused connections come only then: no client that
// looks elsewhere when it is told to sees an error.
func TestCallsWhileDraining(t *testing.T) {
	w := newWorld(t, draws(t), plan{
		config: "shutdown_grace: 8s\n" + providers + "models: { long: { targets: [\"sim-a/x?events=60&gap=50ms\"] }, plain: { targets: [\"sim-a/p?events=2\"] } }\n",
	})
	s := w.streams(3, call{model: "long"})
	w.serve.signal(t, syscall.SIGTERM)
	eventually(t, time.Second, "not ready", func() error {
		if a := w.get(w.url+"/readyz", ""); a.status != http.StatusServiceUnavailable {
			return fmt.Errorf("%s", a)
		}
		return nil
	})
	w.must(call{model: "plain", client: newClient()}) // on a connection of its own
	for _, a := range s.wait() {
		if !a.whole {
			t.Errorf("a stream did not end as it should: %s", a)
		}
	}
	if code := w.serve.wait(t, patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
