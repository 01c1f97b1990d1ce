//go:build linux

package chaos

import (
	"syscall"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/store/pgtest"
)

// Fault 18, where it hurts: the replica that runs a call with an Idempotency-Key is killed after it has sent it and before it has
// kept the answer. Nobody knows what was billed: whoever repeats the call is told so, at either replica, however often, and no
// provider is asked again. With another key it runs.
func TestFault18KilledBetweenDispatchAndStore(t *testing.T) {
	a, b := newReplicas(t, pgtest.Database(t))
	before := a.bill().Total.Calls
	once := call{model: "sim-a/once?first=20s", header: map[string]string{"Idempotency-Key": "order-1"}}
	first := make(chan answer, 1)
	go func() { first <- a.chat(t.Context(), once) }()
	soon(t, patience, "the provider is asked", func() bool {
		var now bill
		return a.billNow(&now) == nil && now.Open > 0
	})
	a.serve.end(t, syscall.SIGKILL, patience)
	if got := <-first; got.status != 0 {
		t.Fatalf("the first: %s", got)
	}
	begun := time.Now()
	got := b.chat(t.Context(), once)
	if took := time.Since(begun); got.status != 409 || got.code() != "idempotency_outcome_unknown" || got.header.Get("X-Should-Retry") != "false" || took > 40*time.Second {
		t.Errorf("after %v: %s", took, got)
	}
	a.begin()
	soon(t, patience, "the killed one is back", func() bool { return a.status("/readyz") == 200 })
	for _, r := range []*replica{a, b} {
		if got := r.chat(t.Context(), once); got.status != 409 || got.code() != "idempotency_outcome_unknown" {
			t.Errorf("%s: %s", r.name, got)
		}
	}
	other := once
	other.prompt = "something else"
	if got := a.chat(t.Context(), other); got.status != 422 {
		t.Errorf("another body: %s", got)
	}
	if n := a.bill().Total.Calls - before; n != 1 {
		t.Errorf("the provider was called %d times", n)
	}
	once.model, once.header = "sim-a/plain?events=3", map[string]string{"Idempotency-Key": "order-2"}
	if got := b.chat(t.Context(), once); got.status != 200 {
		t.Errorf("another key: %s", got)
	}
}
