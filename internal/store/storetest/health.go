package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/health"
)

// readHealth reads all, and holds that against the version that is asked for alone.
func readHealth(t *testing.T, s Store) health.Shared {
	t.Helper()
	all, err := s.Health(t.Context())
	must(t, err)
	version, err := s.HealthVersion(t.Context())
	must(t, err)
	same(t, "version", version, all.Version)
	return all
}

func testEjections(t *testing.T, s Store) {
	ctx := t.Context()
	before := readHealth(t, s)
	same(t, "of an empty store", before.Ejections, nil)
	// The first one of a target.
	e := health.Ejection{
		Target: "house/m", Since: day, Until: day.Add(5 * time.Second), Failing: day.Add(-time.Second), Reason: "connect_error", Instance: "a",
	}
	noted, err := s.Eject(ctx, e)
	must(t, err)
	same(t, "noted", noted, e)
	other := e
	other.Target = "house/m@10.0.0.7:8000"
	_, err = s.Eject(ctx, other)
	must(t, err)
	after := readHealth(t, s)
	same(t, "two", after.Ejections, []health.Ejection{e, other})
	if after.Version <= before.Version {
		t.Errorf("version %d, before %d", after.Version, before.Version)
	}
	// Another replica has seen it, too: later, or earlier. Beginnings are the earlier, the end is the later.
	late := health.Ejection{
		Target: e.Target, Since: day.Add(time.Second), Until: day.Add(6 * time.Second), Failing: day.Add(-2 * time.Second), Reason: "empty", Instance: "b",
	}
	noted, err = s.Eject(ctx, late)
	must(t, err)
	want := late
	want.Since = e.Since
	same(t, "noted after", noted, want)
	noted, err = s.Eject(ctx, e)
	must(t, err)
	want.Reason, want.Instance = e.Reason, e.Instance
	same(t, "noted again", noted, want)

	testLeases(t, s, want)

	// Who knows an older end only does not end it.
	was := readHealth(t, s)
	must(t, s.Recover(ctx, e.Target, e.Until))
	same(t, "not recovered", readHealth(t, s), was)
	must(t, s.Recover(ctx, e.Target, want.Until))
	must(t, s.Recover(ctx, "no/such", want.Until))
	is := readHealth(t, s)
	same(t, "recovered", is.Ejections, []health.Ejection{other})
	if is.Version <= was.Version {
		t.Errorf("version %d, before %d", is.Version, was.Version)
	}
}

// testLeases has replicas ask for the probe of an ejection.
func testLeases(t *testing.T, s Store, e health.Ejection) {
	t.Helper()
	ctx := t.Context()
	asks := func(who string, until time.Time, d time.Duration, want bool) {
		t.Helper()
		if yes, err := s.LeaseProbe(ctx, e.Target, until, who, d); err != nil || yes != want {
			t.Errorf("%s asks for %s: %v, %v", who, d, yes, err)
		}
	}
	var won atomic.Int32
	var all sync.WaitGroup
	for _, who := range []string{"a", "b", "c", "d", "e"} {
		all.Go(func() {
			yes, err := s.LeaseProbe(context.WithoutCancel(ctx), e.Target, e.Until, "at once "+who, time.Microsecond)
			if err != nil {
				t.Error(err)
			}
			if yes {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() < 1 { // more, if the lease of one was over before another asked
		t.Error("nobody got it")
	}
	asks("a", e.Until, time.Hour, true)
	asks("b", e.Until, time.Hour, false)
	asks("a", e.Until, time.Hour, true) // again
	asks("a", e.Until, 0, true)         // given back
	asks("b", e.Until, time.Hour, true)
	asks("a", e.Until, time.Hour, false)
	asks("b", e.Until.Add(-time.Second), time.Hour, false) // another ejection
	before := readHealth(t, s)
	_, err := s.Eject(ctx, e) // failed: whoever had it has it no more
	must(t, err)
	asks("a", e.Until, time.Hour, true)
	if v := readHealth(t, s).Version; v != before.Version+1 { // a lease is nothing to read all for
		t.Errorf("version %d after %d", v, before.Version)
	}
}

func testDisabled(t *testing.T, s Store) {
	ctx := t.Context()
	one := health.Disabling{Name: "house/m", Reason: "new disk", ByKey: "key_1", ByName: "ops", Since: day, Until: day.Add(time.Hour)}
	noted, err := s.Disable(ctx, one, 2)
	must(t, err)
	same(t, "noted", noted, one)
	all := health.Disabling{Name: "house", ByKey: "key_1", ByName: "ops", Since: day}
	_, err = s.Disable(ctx, all, 2)
	must(t, err)
	before := readHealth(t, s)
	same(t, "two", before.Disabled, []health.Disabling{all, one})

	// The same again keeps its beginning. There are not more than so many, and a refusal changes nothing.
	again := one
	again.Since, again.Until, again.Reason = day.Add(time.Minute), time.Time{}, ""
	noted, err = s.Disable(ctx, again, 2)
	must(t, err)
	again.Since = one.Since
	same(t, "noted again", noted, again)
	_, err = s.Disable(ctx, health.Disabling{Name: "openai", Since: day}, 2)
	refused(t, err, fault.InvalidRequest)
	same(t, "still two", readHealth(t, s).Disabled, []health.Disabling{all, again})

	// Enabling ends ejections of what the name covers, and no others.
	for _, target := range []string{"house/m", "house/m@10.0.0.7:8000", "house/m2", "house2/m"} {
		_, err := s.Eject(ctx, health.Ejection{Target: target, Since: day, Until: day, Failing: day})
		must(t, err)
	}
	must(t, s.Enable(ctx, "house/m"))
	is := readHealth(t, s)
	same(t, "one left", is.Disabled, []health.Disabling{all})
	var left []string
	for _, e := range is.Ejections {
		left = append(left, e.Target)
	}
	same(t, "ejected", left, []string{"house/m2", "house2/m"})
	refused(t, s.Enable(ctx, "house/m"), fault.NotThere)
	refused(t, s.Enable(ctx, "openai"), fault.NotThere)
	must(t, s.Enable(ctx, "house2")) // ejected only
	same(t, "nothing more changed", len(readHealth(t, s).Ejections), 1)

	// What is over is forgotten with the next one.
	_, err = s.Disable(ctx, one, 2)
	must(t, err)
	next := health.Disabling{Name: "next", Since: one.Until}
	_, err = s.Disable(ctx, next, 2)
	must(t, err)
	same(t, "at last", readHealth(t, s).Disabled, []health.Disabling{all, next})

	entries, err := s.AuditEntries(ctx, audit.Filter{Object: one.Name, Ascending: true}, 10)
	must(t, err)
	var actions []string
	for _, e := range entries {
		actions = append(actions, string(e.Action)+" "+e.Reason)
	}
	same(t, "entries", actions, []string{"target.disable new disk", "target.disable ", "target.enable ", "target.disable new disk"})
	if len(entries) == 4 {
		same(t, "what was enabled", string(entries[2].Before), `{"disabled":true,"ejected":["house/m","house/m@10.0.0.7:8000"]}`)
	}
}
