//go:build linux

package chaos

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// passes is whether a replica lets a call through; another answer than that and a refusal fails the test.
func (r *replica) passes(ctx context.Context, model string) bool {
	got := r.chat(ctx, call{model: model, stream: true})
	if got.status != 200 && got.status != 429 && got.err == nil { // one that is killed breaks off
		r.t.Errorf("%s: %s", r.name, got)
	}
	return got.status == 200
}

// limit sets a limit for all calls of the project.
func (r *replica) limit(measure string, amount int) {
	r.t.Helper()
	if err := r.admin(http.MethodPut, "/limits", map[string]any{"project": "shared", "measure": measure, "amount": amount}, nil); err != nil {
		r.t.Fatal(err)
	}
}

// peak is the most that the simulated providers have had at once.
func (w *world) peak() int {
	w.t.Helper()
	var p struct{ All struct{ Peak int } }
	req, err := http.NewRequest(http.MethodGet, "http://"+w.simAddr+"/_peak", nil)
	if err == nil {
		err = w.decode(req, &p)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return p.All.Peak
}

// Faults 21 and 23: 10 calls at once over three replicas are 10, not 30, as the provider sees it; and those of a replica that is killed
// come back within 30 s, and not before others have their own only.
func TestCallsAtOnceOverReplicas(t *testing.T) {
	database := pgtest.Database(t)
	a, b := newReplicas(t, database)
	c := a.join("c", database)
	all := []*replica{a, b, c}
	soon(t, patience, "the third knows the key", func() bool { return c.ask().status == 200 })
	a.limit("concurrent", 10)
	<-time.After(3 * time.Second) // they look each second

	ctx, end := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	var mu sync.Mutex
	passed := map[string]int{}
	for i := range 36 {
		r := all[i%3]
		callers.Go(func() {
			for ctx.Err() == nil {
				if r.passes(ctx, "sim-a/slow?events=10&gap=30ms") {
					mu.Lock()
					passed[r.name]++
					mu.Unlock()
				}
				select {
				case <-ctx.Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		})
	}
	<-time.After(5 * time.Second)
	mu.Lock()
	for _, r := range all {
		if passed[r.name] == 0 {
			t.Errorf("%s had none", r.name)
		}
	}
	mu.Unlock()
	c.serve.end(t, syscall.SIGKILL, patience)
	killed := time.Now()
	<-time.After(time.Second)
	end()
	callers.Wait()
	if got := a.peak(); got > 10 || got < 8 {
		t.Errorf("%d at once, limit 10", got)
	}
	soon(t, 35*time.Second, "all slots are back", func() bool {
		s := a.streams(10, call{model: "sim-a/slow?events=20&gap=50ms"})
		return !slices.ContainsFunc(s.wait(), func(got answer) bool { return got.status != 200 })
	})
	t.Logf("passed %v; all slots are back %v after the kill", passed, time.Since(killed).Round(time.Second))
	if got := a.peak(); got > 10 {
		t.Errorf("%d at once, limit 10", got)
	}
}

// Faults 22 to 24: 60 requests a minute over three replicas are never more than 60 in any 60 seconds, and what is refused uses none.
func TestRequestsOverReplicas(t *testing.T) {
	database := pgtest.Database(t)
	a, b := newReplicas(t, database)
	c := a.join("c", database)
	soon(t, patience, "the third knows the key", func() bool { return c.ask().status == 200 })
	a.limit("requests", 60)
	<-time.After(3 * time.Second)

	ctx, end := context.WithTimeout(t.Context(), 66*time.Second)
	defer end()
	var callers sync.WaitGroup
	var mu sync.Mutex
	var at []time.Time
	for i := range 9 {
		r := []*replica{a, b, c}[i%3]
		callers.Go(func() {
			for ctx.Err() == nil {
				asked := time.Now()
				if r.passes(context.WithoutCancel(ctx), "sim-a/plain?events=2") {
					mu.Lock()
					at = append(at, asked)
					mu.Unlock()
				}
				<-time.After(100 * time.Millisecond)
			}
		})
	}
	callers.Wait()
	slices.SortFunc(at, time.Time.Compare)
	most, from := 0, 0
	for i := range at {
		for at[i].Sub(at[from]) >= time.Minute {
			from++
		}
		most = max(most, i+1-from)
	}
	if most > 60 || most < 57 || len(at) <= 60 {
		t.Errorf("%d in a minute, limit 60; %d in all", most, len(at))
	}
	t.Logf("%d in a minute, %d in all", most, len(at))
}
