package storetest

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/conversation"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/retention"
)

func response(project, id string, second int) conversation.Row {
	exchange, _ := pipeline.NewID(day.Add(time.Duration(second) * time.Second))
	return conversation.Row{
		Project: project, ID: id, Exchange: exchange, Key: "00112233445566aa", Sealed: []byte(project + id + "\x00\xff"), Items: []string{"msg_" + id, "fc_" + id},
	}
}

func testResponses(t *testing.T, s Store) {
	ctx := t.Context()
	for _, r := range []conversation.Row{response("prj_1", "resp_1", 0), response("prj_1", "resp_2", 1), response("prj_2", "resp_1", 2)} {
		must(t, s.AddResponse(ctx, r))
	}
	again := response("prj_1", "resp_1", 0)
	again.Sealed = []byte("another")
	must(t, s.AddResponse(ctx, again)) // is there
	for _, want := range [][2]string{{"prj_1", "resp_1"}, {"prj_1", "resp_2"}, {"prj_2", "resp_1"}} {
		got, err := s.Response(ctx, want[0], want[1])
		must(t, err)
		same(t, want[1], string(got), want[0]+want[1]+"\x00\xff")
	}
	_, err := s.Response(ctx, "prj_2", "resp_2") // of another project
	refused(t, err, fault.ResponseNotFound)
	refused(t, s.DeleteResponse(ctx, "prj_2", "resp_2"), fault.ResponseNotFound)
	of := func(project string, items []string, want map[string]string) {
		t.Helper()
		got, err := s.ItemResponses(ctx, project, items)
		must(t, err)
		same(t, "items", got, want)
	}
	of("prj_1", []string{"msg_resp_1", "fc_resp_2", "none"}, map[string]string{"msg_resp_1": "resp_1", "fc_resp_2": "resp_2"})
	of("prj_2", []string{"msg_resp_1", "fc_resp_2"}, map[string]string{"msg_resp_1": "resp_1"})
	of("prj_1", nil, nil)
	must(t, s.DeleteResponse(ctx, "prj_1", "resp_1"))
	of("prj_1", []string{"msg_resp_1", "fc_resp_2"}, map[string]string{"fc_resp_2": "resp_2"})
	_, err = s.Response(ctx, "prj_1", "resp_1")
	refused(t, err, fault.ResponseNotFound)
	_, err = s.Response(ctx, "prj_2", "resp_1")
	must(t, err)
	counts, err := s.SealedBodies(ctx)
	must(t, err)
	same(t, "sealed", counts, map[string]int64{"00112233445566aa": 2})
}

func testPurgeResponses(t *testing.T, s Store) {
	ctx := audit.As(t.Context(), audit.Actor{Key: "key_1", Role: "auditor"})
	none := project("prj_none", "default", "none")
	none.Stateless = true
	must(t, s.CreateProject(ctx, project("prj_keep", "default", "keeper")))
	must(t, s.CreateProject(ctx, project("prj_held", "default", "held")))
	must(t, s.CreateProject(ctx, none))
	for i := range 20 {
		for _, p := range []string{"prj_keep", "prj_none", "prj_gone", "prj_held"} {
			must(t, s.AddResponse(ctx, response(p, exchangeID(i), i)))
		}
	}
	must(t, s.MakeHold(ctx, retention.Hold{ID: "hold_1", Project: "prj_held", Reason: "case", Since: day}, 10))
	all, err := s.ResponseProjects(ctx)
	must(t, err)
	same(t, "projects", all, []string{"prj_gone", "prj_held", "prj_keep", "prj_none"})
	const month = 30 * 24 * time.Hour
	purge := func(holder, project string, now time.Time, limit, want int, wantMine bool) {
		t.Helper()
		n, mine, err := s.PurgeResponses(ctx, holder, project, now, month, limit)
		must(t, err)
		if n != want || mine != wantMine {
			t.Errorf("%s: %d deleted (mine: %v), want %d (%v)", project, n, mine, want, wantMine)
		}
	}
	purge("a", "prj_keep", day.Add(month), 5, 0, true)
	purge("b", "prj_keep", day.Add(month+10*time.Second), 100, 0, false) // a has the lease
	purge("a", "prj_keep", day.Add(month+10*time.Second), 7, 7, true)    // the oldest
	purge("a", "prj_keep", day.Add(month+10*time.Second), 7, 3, true)
	_, err = s.Response(ctx, "prj_keep", exchangeID(9))
	refused(t, err, fault.ResponseNotFound)
	_, err = s.Response(ctx, "prj_keep", exchangeID(10))
	must(t, err)
	left, err := s.ItemResponses(ctx, "prj_keep", []string{"msg_" + exchangeID(9), "msg_" + exchangeID(10)})
	must(t, err)
	same(t, "items", left, map[string]string{"msg_" + exchangeID(10): exchangeID(10)})
	purge("a", "prj_none", day.Add(time.Hour), 100, 20, true)
	purge("a", "prj_gone", day.Add(time.Hour), 100, 20, true)
	purge("a", "prj_held", day.Add(2*month), 100, 0, true)
	refused(t, s.DeleteResponse(ctx, "prj_held", exchangeID(1)), fault.OnHold)
	_, err = s.UpdateProject(ctx, "prj_keep", func(p *auth.Project) error { p.Stateless = true; return nil })
	must(t, err)
	purge("a", "prj_keep", day.Add(time.Hour), 100, 10, true)
}
