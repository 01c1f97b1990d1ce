package server

import (
	"maps"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// What a provider refuses of a caller's request is not the provider's failure; what it refuses of ours is told apart.
func TestTally(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		try        pipeline.Try
		tries      alert.Count
		isRefusing bool
	}{
		{pipeline.Try{Target: "a/m", Reason: "ok", Status: 200}, alert.Count{All: 1}, false},
		{pipeline.Try{Target: "a/m", Reason: "status", Status: 503}, alert.Count{All: 1, Bad: 1}, false},
		{pipeline.Try{Target: "a/m", Reason: "connect_error"}, alert.Count{All: 1, Bad: 1}, false},
		{pipeline.Try{Target: "a/m", Reason: "status", Status: 429}, alert.Count{All: 1}, false},
		{pipeline.Try{Target: "a/m", Reason: "status", Status: 400}, alert.Count{All: 1}, false},
		{pipeline.Try{Target: "a/m", Reason: "canceled"}, alert.Count{}, false},
		{pipeline.Try{Target: "a/m", Reason: "status", Status: 401}, alert.Count{}, true},
		{pipeline.Try{Target: "a/m", Reason: "credential"}, alert.Count{}, true},
		{pipeline.Try{Target: "a/m", Reason: "status", Status: 401, Credential: 2}, alert.Count{}, false},
	} {
		tally := newTally()
		tally.see(&usage.Record{Model: "m", Tries: []pipeline.Try{c.try}})
		if got := tally.providers.Counts()["a"]; got != c.tries || tally.refusing()["a"] != c.isRefusing {
			t.Errorf("%+v: %+v, refusing %v", c.try, got, tally.refusing())
		}
		tally.see(&usage.Record{Model: "m", Tries: []pipeline.Try{{Target: "a/m", Reason: "ok", Unpriced: true}}})
		if len(tally.refusing()) != 0 || !maps.Equal(tally.takeUnpriced(), map[string]bool{"a/m": true}) || len(tally.takeUnpriced()) != 0 {
			t.Errorf("%+v: an answer ends a refusal, and a target without a price is handed over once", c.try)
		}
	}
}

func TestTallyOfModels(t *testing.T) {
	t.Parallel()
	tally, tries := newTally(), []pipeline.Try{{Target: "a/m", Reason: "ok"}}
	failed := &usage.Error{Code: "x"}
	for _, r := range []usage.Record{
		{Status: 200}, {Status: 502, Error: failed}, {Status: 200, Error: failed}, {Status: 400, Error: failed}, {Status: 499, Error: failed},
	} {
		r.Model, r.Tries = "m", tries
		tally.see(&r)
	}
	if got := tally.models.Counts()["m"]; got != (alert.Count{All: 4, Bad: 2}) {
		t.Errorf("%+v", got)
	}
}

func TestClockJump(t *testing.T) {
	t.Parallel()
	now := time.Now()
	if by := jump(now, now.Add(time.Hour)); by != 0 {
		t.Errorf("time went by, and the clock jumped by %v", by)
	}
}
