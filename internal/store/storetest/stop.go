package storetest

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/stop"
)

func testStops(t *testing.T, s Store) {
	ctx := t.Context()
	read := func() (int64, []stop.Stop) {
		t.Helper()
		version, all, err := s.Stops(ctx)
		must(t, err)
		counted, err := s.StopVersion(ctx)
		must(t, err)
		same(t, "version", counted, version)
		return version, all
	}
	before, none := read()
	same(t, "stops of an empty store", len(none), 0)

	all := stop.Stop{ID: "stop_1", Since: day, ByKey: "admin", ByName: "admin key"}
	set, err := s.SetStop(ctx, all, 2)
	must(t, err)
	same(t, "set", set, all)
	one := stop.Stop{
		ID: "stop_2", Model: "openai/*", Project: "prj_1", Reason: "a bill that runs away", ByKey: "key_1", ByName: "ops",
		Since: day.Add(time.Second), Until: day.Add(time.Hour), Cut: true,
	}
	_, err = s.SetStop(ctx, one, 2)
	must(t, err)
	after, got := read()
	same(t, "stops", got, []stop.Stop{all, one})
	if after <= before {
		t.Errorf("version %d, before %d", after, before)
	}

	// The same again keeps its id and beginning.
	again := one
	again.ID, again.Since, again.Reason, again.Until, again.Cut = "stop_3", day.Add(time.Minute), "", time.Time{}, false
	set, err = s.SetStop(ctx, again, 2)
	must(t, err)
	again.ID, again.Since = one.ID, one.Since
	same(t, "set again", set, again)
	_, got = read()
	same(t, "stops", got, []stop.Stop{all, again})

	// There are not more than so many, and a refusal changes nothing.
	_, err = s.SetStop(ctx, stop.Stop{ID: "stop_4", Model: "m", Since: day}, 2)
	refused(t, err, fault.InvalidRequest)
	version, got := read()
	same(t, "stops", got, []stop.Stop{all, again})

	lifted, err := s.LiftStop(ctx, one.ID)
	must(t, err)
	same(t, "lifted", lifted, again)
	_, err = s.LiftStop(ctx, one.ID)
	refused(t, err, fault.NotThere)
	later, got := read()
	same(t, "stops", got, []stop.Stop{all})
	if later <= version {
		t.Errorf("version %d, before %d", later, version)
	}

	// What is over is forgotten with the next one.
	short := stop.Stop{ID: "stop_5", Model: "short", Since: day, Until: day.Add(time.Minute)}
	_, err = s.SetStop(ctx, short, 2)
	must(t, err)
	next := stop.Stop{ID: "stop_6", Model: "next", Since: short.Until}
	_, err = s.SetStop(ctx, next, 2)
	must(t, err)
	_, got = read()
	same(t, "stops", got, []stop.Stop{all, next})

	entries, err := s.AuditEntries(ctx, audit.Filter{Object: one.ID, Ascending: true}, 10)
	must(t, err)
	var actions []string
	for _, e := range entries {
		actions = append(actions, string(e.Action)+" "+e.Project+" "+e.Reason)
	}
	same(t, "entries", actions, []string{"stop.set prj_1 a bill that runs away", "stop.set prj_1 ", "stop.lift prj_1 "})
}
