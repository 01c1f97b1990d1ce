package server_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
)

// stop makes a stop on the control plane.
func (w *world) stop(in admin.StopInput) admin.Stop {
	w.t.Helper()
	var out admin.Stop
	if status := w.Admin(http.MethodPost, "/stops", in, &out); status != http.StatusCreated {
		w.t.Fatalf("stop %+v: status %d", in, status)
	}
	return out
}

func (w *world) lift(id string) {
	w.t.Helper()
	if status := w.Admin(http.MethodPost, "/stops/"+id+"/lift", struct{}{}, nil); status != http.StatusOK {
		w.t.Fatalf("lift %s: status %d", id, status)
	}
}

// TestControl51Stop: the next call is refused in the caller's dialect, in a way that its library does not try again; the
// record says who stopped it; and it is served again once the stop is lifted.
func TestControl51Stop(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	model := w.model("")
	for name, in := range map[string]admin.StopInput{
		"everything": {All: true}, "the model": {Model: model}, "the provider": {Model: "sim-a/*"}, "the project": {Project: "acme"},
		"the model for the project": {Model: model, Project: "acme", Reason: "see INC-42", For: "1h"},
	} {
		if a := w.ask(model, "hello", false); a.Status != http.StatusOK {
			t.Fatalf("before %s: %d %s", name, a.Status, a.Body)
		}
		made := w.stop(in)
		asked := len(w.calls())
		a := w.ask(model, "hello", false)
		code, message := errorOf(t, a)
		if a.Status != http.StatusForbidden || code != "stopped" || a.Header.Get("X-Should-Retry") != "false" || !strings.Contains(message, made.ID) ||
			!strings.Contains(message, in.Reason) || (in.For != "") != (a.Header.Get("Retry-After") != "") {
			t.Errorf("%s: %d %v %s", name, a.Status, a.Header, a.Body)
		}
		if len(w.calls()) != asked {
			t.Errorf("%s: the provider was asked", name)
		}
		r := w.record(a)
		if r.Error == nil || r.Error.Code != "stopped" || !strings.Contains(r.Error.Detail, "stopped by admin key (admin)") || r.Status != http.StatusForbidden {
			t.Errorf("%s: record %+v", name, r.Error)
		}
		w.lift(made.ID)
		if a := w.ask(model, "hello", false); a.Status != http.StatusOK {
			t.Errorf("after %s: %d %s", name, a.Status, a.Body)
		}
	}
}

// TestControl51StopOfATarget: a name with another target is answered by that; without one it is refused.
func TestControl51StopOfATarget(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{Config: settings(map[string][]string{"two": {"sim-a/one", "sim-b/good"}, "one": {"sim-a/one"}})})
	w.stop(admin.StopInput{Model: "sim-a/one"})
	if a := w.ask("two", "hello", false); a.Status != http.StatusOK || a.Header.Get("X-Penstock-Target") != "sim-b/good" {
		t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
	} else if r := w.record(a); len(r.Tries) != 1 || r.Choice.Candidates[0].Excluded != "stopped by an operator" ||
		!slices.ContainsFunc(r.Stages, func(d pipeline.Decision) bool { return strings.Contains(d.Decision, "stopped by admin key") }) {
		t.Errorf("%+v %+v", r.Stages, r.Choice)
	}
	a := w.ask("one", "hello", true)
	if code, message := errorOf(t, a); code != "stopped" || !strings.Contains(message, "Calls to sim-a/one are stopped") {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	w.stop(admin.StopInput{Model: "good"})
	if a := w.ask("two", "hello", false); a.Status != http.StatusForbidden {
		t.Errorf("%d %s", a.Status, a.Body)
	}
}

// TestControl51StopOfWhatRuns: streams finish, unless the stop says now: then they and calls that wait end with words.
func TestControl51StopOfWhatRuns(t *testing.T) {
	t.Parallel()
	w := start(t, penstocktest.Options{})
	finishing := w.streams(3, w.model("gap=5ms&events=100"))
	first := w.stop(admin.StopInput{All: true})
	for i, s := range finishing() {
		if !s.done {
			t.Errorf("stream %d: %q", i, s.failure())
		}
	}
	w.lift(first.ID)
	ending := w.streams(3, w.model("gap=5ms&events=100000"))
	pending := make(chan penstocktest.Answer, 1)
	go func() { pending <- w.ask("sim-a/slow?first=60s", "hello", false) }()
	if !penstocktest.Eventually(func() bool { return len(w.Sim.Requests()) == 7 }) {
		t.Fatal("the providers were not asked")
	}
	w.stop(admin.StopInput{Project: "acme", Now: true})
	for i, s := range ending() {
		if s.done || s.failure() != "stopped" || s.text(0) == "" {
			t.Errorf("stream %d: done %v, %q", i, s.done, s.failure())
		}
	}
	a := <-pending
	if code, _ := errorOf(t, a); a.Status != http.StatusForbidden || code != "stopped" {
		t.Errorf("the pending call: %d %s", a.Status, a.Body)
	}
	for _, r := range w.Records() {
		if r.Error != nil && (r.Error.Code != "stopped" || !strings.Contains(r.Error.Detail, "stopped by admin key")) {
			t.Errorf("record %+v", r.Error)
		}
		if r.Error != nil && (len(r.Tries) != 1 || !strings.HasPrefix(r.Tries[0].Detail, "canceled: was ended: an operator stopped what it used")) {
			t.Errorf("tries %+v", r.Tries)
		}
	}
	w.CheckBill()
	// A restart lifts nothing.
	w.Restart()
	if a := w.ask("sim-a/gpt-x", "hello", false); a.Status != http.StatusForbidden {
		t.Errorf("after a restart: %d %s", a.Status, a.Body)
	}
	var st admin.Status
	if w.Admin(http.MethodGet, "/status", nil, &st); st.Stops != 1 {
		t.Errorf("status %+v", st)
	}
}
