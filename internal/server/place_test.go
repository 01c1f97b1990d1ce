package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/sim"
)

// Providers at home, abroad and nowhere that is known, and models over them.
const placed = `listen: 127.0.0.1:0
admin: { listen: "127.0.0.1:0" }
data: data
providers:
  house: { dialect: openai, base_url: "http://%SIM%/house/v1", vendor: none, region: rack-1, private: true }
  near: { dialect: openai, base_url: "http://%SIM%/near/v1", vendor: none, region: eu-west-1 }
  away: { dialect: openai, base_url: "http://%SIM%/away/v1", vendor: none, region: us-east-1 }
  lost: { dialect: openai, base_url: "http://%SIM%/lost/v1", vendor: none }
models:
  broken: { targets: ["near/x?status=500", away/x, lost/x], retry_wait: 0s }
  full: { targets: ["near/x?status=503", away/x, lost/x], retry_wait: 0s }
  dropped: { targets: ["near/x?status=drop", away/x, lost/x], retry_wait: 0s }
  long: { targets: ["near/x?status=400&code=context_length_exceeded"], on_context_length: [away/x, lost/x] }
  foreign: { targets: [away/x, lost/x] }
  weighted: { route: weighted, targets: [away/x, lost/x, { target: near/x, weight: 0 }] }
  house: { targets: ["house/x?status=500", near/x, { target: lost/x, region: eu }], retry_wait: 0s }
  marked: { targets: [{ target: lost/x, region: eu }] }
`

// TestControl44Place: what a project says of the place of its data holds for fallbacks, too: better no answer than one from
// elsewhere. Nothing of it reaches a provider that it may not reach.
func TestControl44Place(t *testing.T) {
	t.Parallel()
	provider := penstocktest.Fast().Providers["sim-a"]
	w := start(t, penstocktest.Options{
		Config: placed, Sim: &sim.Config{Seed: 1, Providers: map[string]sim.Provider{"house": provider, "near": provider, "away": provider, "lost": provider}},
	})
	if a := w.ask("broken", "hello", false); a.Status != http.StatusOK || a.Header.Get("X-Penstock-Target") != "away/x" {
		t.Fatalf("without rules: %d %v %s", a.Status, a.Header, a.Body)
	}
	if a := w.ask("long", "hello", false); a.Header.Get("X-Penstock-Target") != "away/x" {
		t.Fatalf("without rules: %d %v %s", a.Status, a.Header, a.Body)
	}
	private := true
	set := func(in admin.ProjectChange) {
		t.Helper()
		if status := w.Admin(http.MethodPatch, "/projects/acme", in, nil); status != http.StatusOK {
			t.Fatalf("%+v: status %d", in, status)
		}
		w.Sim.Reset()
	}
	// refused asks, and checks that only these were asked.
	refused := func(model, code string, stream bool, asked ...string) string {
		t.Helper()
		a := w.ask(model, "a secret", stream)
		got, message := errorOf(t, a)
		if a.Status != http.StatusServiceUnavailable || got != code {
			t.Errorf("%s: %d %s", model, a.Status, a.Body)
		}
		if calls := slices.Compact(slices.Sorted(slices.Values(w.calls()))); !slices.Equal(calls, asked) {
			t.Errorf("%s: %v were asked, want %v", model, calls, asked)
		}
		for _, name := range []string{"away", "lost"} {
			if bill := w.Sim.Bill().Providers[name]; bill.Calls != 0 {
				t.Errorf("%s: %s has a bill: %+v", model, name, bill)
			}
		}
		for _, c := range w.record(a).Choice.Candidates {
			if slices.Contains(asked, c.Target) == (c.Excluded != "") {
				t.Errorf("%s: %+v", model, c)
			}
		}
		w.Sim.Reset()
		return message
	}
	set(admin.ProjectChange{Regions: []string{"eu", "eu-*"}})
	for _, stream := range []bool{false, true} {
		refused("broken", "no_target", stream, "near/x?status=500")
		refused("full", "provider_overloaded", stream, "near/x?status=503")
		refused("dropped", "no_target", stream, "near/x?status=drop")
		if message := refused("foreign", "no_target", stream); !strings.Contains(message, "region us-east-1, the project wants eu, eu-*") ||
			!strings.Contains(message, "region not known") {
			t.Errorf("%s", message)
		}
	}
	if a := w.ask("long", "a secret", false); a.Status != http.StatusBadRequest || len(w.Sim.Bill().Calls) != 1 {
		t.Errorf("a prompt that is too long: %d %s, %+v", a.Status, a.Body, w.Sim.Bill())
	}
	for range 20 {
		if a := w.ask("weighted", "hello", false); a.Header.Get("X-Penstock-Target") != "near/x" {
			t.Fatalf("weighted: %d %v %s", a.Status, a.Header, a.Body)
		}
	}
	if a := w.ask("marked", "hello", false); a.Status != http.StatusOK {
		t.Errorf("a target that says its region: %d %s", a.Status, a.Body)
	}
	if a := w.Post(w.key, "/v1/messages/count_tokens", `{"model":"foreign","messages":[{"role":"user","content":"a secret"}]}`); a.Status != http.StatusServiceUnavailable {
		t.Errorf("a count: %d %s", a.Status, a.Body)
	}

	set(admin.ProjectChange{Regions: []string{}, Private: &private})
	refused("house", "no_target", false, "house/x?status=500")
	refused("foreign", "no_target", true)

	set(admin.ProjectChange{Regions: []string{"eu*"}}) // both hold
	refused("house", "no_target", true)

	private = false
	set(admin.ProjectChange{Regions: []string{}, Private: &private})
	if a := w.ask("foreign", "hello", false); a.Status != http.StatusOK || a.Header.Get("X-Penstock-Target") != "away/x" {
		t.Errorf("taken off again: %d %s", a.Status, a.Body)
	}
}
