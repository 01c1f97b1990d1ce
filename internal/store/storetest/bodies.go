package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/bodies"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
)

func body(project, exchange, text string) bodies.Row {
	return bodies.Row{Project: project, Exchange: exchange, Key: "00112233445566aa", Sealed: []byte(text)}
}

func testBodies(t *testing.T, s Store) {
	ctx := audit.As(t.Context(), audit.Actor{Key: "key_1", Role: "auditor"})
	must(t, s.AddBodies(ctx, "bodies", 7, []bodies.Row{body("prj_1", "ex_1", "one\x00\xff"), body("prj_1", "ex_2", "two"), body("prj_2", "ex_3", "")}))
	must(t, s.AddBodies(ctx, "bodies", 9, []bodies.Row{body("prj_1", "ex_1", "another"), body("prj_1", "ex_4", "four")})) // the first is there
	must(t, s.AddBodies(ctx, "bodies", 9, nil))
	upTo, err := s.ReadUpTo(ctx, "bodies")
	must(t, err)
	same(t, "position", upTo, 9)
	for _, want := range []bodies.Row{body("prj_1", "ex_1", "one\x00\xff"), body("prj_1", "ex_4", "four"), body("prj_2", "ex_3", "")} {
		got, err := s.OpenBodies(ctx, want.Project, want.Exchange, "ticket 7")
		must(t, err)
		same(t, want.Exchange, string(got), string(want.Sealed))
	}
	_, err = s.OpenBodies(ctx, "prj_2", "ex_1", "ticket 7") // of another project
	refused(t, err, fault.NotThere)
	_, err = s.OpenBodies(ctx, "prj_1", "ex_9", "ticket 7")
	refused(t, err, fault.NotThere)
	var got []string
	for _, e := range wholeChain(t, s) {
		got = append(got, string(e.Action)+" "+e.Object+" of "+e.Project+" by "+e.Actor.Key+" for "+e.Reason)
	}
	same(t, "entries", got, []string{
		"bodies.read ex_1 of prj_1 by key_1 for ticket 7", "bodies.read ex_4 of prj_1 by key_1 for ticket 7", "bodies.read ex_3 of prj_2 by key_1 for ticket 7",
	})
}

func testManyBodies(t *testing.T, s Store) {
	for _, n := range []int{1, 31, 32, 33, 300} {
		rows := make([]bodies.Row, n)
		for i := range rows {
			rows[i] = body("prj_1", exchangeID(n*1000+i), exchangeID(i))
		}
		must(t, s.AddBodies(t.Context(), "bodies", int64(n), rows))
		for _, i := range []int{0, n / 2, n - 1} {
			got, err := s.OpenBodies(t.Context(), "prj_1", exchangeID(n*1000+i), "test")
			must(t, err)
			same(t, "bodies", string(got), exchangeID(i))
		}
	}
}

func testSealedBodies(t *testing.T, s Store) {
	count := func(want map[string]int64) {
		t.Helper()
		got, err := s.SealedBodies(t.Context())
		must(t, err)
		same(t, "counts", got, want)
	}
	count(map[string]int64{})
	var rows []bodies.Row
	for i := range 10 {
		id, _ := pipeline.NewID(day.Add(time.Duration(i) * time.Second))
		row := body("prj_1", id, "text")
		if i >= 7 {
			row.Key = "ffeeddccbbaa9988"
		}
		rows = append(rows, row)
	}
	must(t, s.AddBodies(t.Context(), "bodies", 1, rows))
	must(t, s.AddBodies(t.Context(), "bodies", 2, rows[:1])) // is there
	count(map[string]int64{"00112233445566aa": 7, "ffeeddccbbaa9988": 3})
	_, _, err := s.PurgeBodies(t.Context(), "a", "prj_1", day.Add(8*time.Second), 100)
	must(t, err)
	count(map[string]int64{"ffeeddccbbaa9988": 2})
}

// exchangeID is the id of the nth exchange.
func exchangeID(n int) string { return fmt.Sprintf("ex_%07d", n) }

func testPurge(t *testing.T, s Store) {
	ctx := t.Context()
	keep := project("prj_keep", "default", "keeper")
	keep.Bodies, keep.Retention = auth.BodiesKeep, 36*time.Hour
	must(t, s.CreateProject(ctx, keep))
	must(t, s.CreateProject(ctx, project("prj_none", "default", "none")))
	var rows []bodies.Row
	for i := range 100 {
		id, _ := pipeline.NewID(day.Add(time.Duration(i) * time.Second))
		for _, p := range []string{"prj_keep", "prj_none", "prj_gone"} {
			rows = append(rows, body(p, id, "text"))
		}
	}
	must(t, s.AddBodies(ctx, "bodies", 1, rows))
	kept, err := s.KeptBodies(ctx)
	must(t, err)
	same(t, "kept", kept, []bodies.Kept{{Project: "prj_gone"}, {Project: "prj_keep", Retention: 36 * time.Hour}, {Project: "prj_none"}})
	purge := func(holder, project string, before time.Time, limit, want int, wantMine bool) {
		t.Helper()
		n, mine, err := s.PurgeBodies(ctx, holder, project, before, limit)
		must(t, err)
		if n != want || mine != wantMine {
			t.Errorf("%d deleted (mine: %v), want %d (%v)", n, mine, want, wantMine)
		}
	}
	const kept36 = 36 * time.Hour
	purge("a", "prj_keep", day.Add(kept36), 10, 0, true)
	purge("b", "prj_keep", day.Add(kept36+50*time.Second), 10, 0, false) // a has the lease
	purge("a", "prj_keep", day.Add(kept36+50*time.Second), 30, 30, true)
	purge("a", "prj_keep", day.Add(kept36+50*time.Second), 30, 20, true)
	purge("a", "prj_keep", day.Add(kept36+50*time.Second), 30, 0, true)
	_, err = s.OpenBodies(ctx, "prj_keep", rows[3*49].Exchange, "test")
	refused(t, err, fault.NotThere)
	_, err = s.OpenBodies(ctx, "prj_keep", rows[3*50].Exchange, "test")
	must(t, err)
	_, err = s.OpenBodies(ctx, "prj_none", rows[0].Exchange, "test")
	must(t, err)
	purge("a", "prj_gone", day.Add(time.Hour), 1000, 100, true)

	// A retention that was changed since the purge began counts: nobody's bodies go by an older one.
	longer := func(p *auth.Project) error { p.Bodies, p.Retention = auth.BodiesKeep, 1000*time.Hour; return nil }
	_, err = s.UpdateProject(ctx, "prj_none", longer)
	must(t, err)
	purge("a", "prj_none", day.Add(time.Hour), 1000, 0, true)
	_, err = s.UpdateProject(ctx, "prj_none", func(p *auth.Project) error { p.Bodies, p.Retention = auth.BodiesNone, 0; return nil })
	must(t, err)
	kept, err = s.KeptBodies(ctx)
	must(t, err)
	same(t, "kept", kept, []bodies.Kept{{Project: "prj_keep", Retention: 36 * time.Hour}, {Project: "prj_none"}})
}
