package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/sim"
)

// TestADeafProviderIsEndedAtTheCap, and gets no more calls with a budget; a plain answer of it is booked whole.
func TestADeafProviderIsEndedAtTheCap(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]struct{ body, ends string }{
		chatPath:        {`{"model":%q,"max_completion_tokens":100,"stream":%v,"messages":[{"role":"user","content":"say:2000"}]}`, `"finish_reason":"length"`},
		"/v1/messages":  {`{"model":%q,"max_tokens":100,"stream":%v,"messages":[{"role":"user","content":"say:2000"}]}`, `"max_tokens"`},
		"/v1/responses": {`{"model":%q,"max_output_tokens":100,"stream":%v,"input":"say:2000"}`, `"max_output_tokens"`},
	} {
		for _, stream := range []bool{true, false} {
			t.Run(fmt.Sprint(path, " streamed ", stream), func(t *testing.T) {
				t.Parallel()
				w := start(t, penstocktest.Options{})
				knobs := "deaf=1"
				if stream {
					knobs += "&gap=10ms"
				}
				model := w.model(knobs)
				b := w.budget(dollars(1_000_000_000))
				a := w.Post(w.key, path, fmt.Sprintf(c.body, model, stream))
				if a.Status != http.StatusOK || a.Err != nil || stream && !strings.Contains(a.Text(), c.ends) {
					t.Fatalf("%d %v %.3000s", a.Status, a.Err, a.Body)
				}
				r := w.record(a)
				try := r.Tries[0]
				if stream && (try.Outcome != pipeline.SettledEstimated || !try.Cut || try.Usage.Output < 100 || try.Usage.Output > 150 || len(try.Finish) != 1 || try.Finish[0] != llm.FinishLength) ||
					!stream && (try.Outcome != pipeline.SettledActual || try.CostNano <= try.BoundNano) {
					t.Errorf("try %+v", try)
				}
				if a := w.Post(w.key, path, fmt.Sprintf(c.body, model, stream)); a.Status != http.StatusTooManyRequests || !strings.Contains(a.Text(), "billed more") {
					t.Errorf("the next: %d %s", a.Status, a.Body)
				}
				for _, p := range w.CheckBooks().Windows {
					if over := int64(max(try.CostNano-try.BoundNano, 0)); p.Rule == b.ID && p.Over != over {
						t.Errorf("%d over, want %d", p.Over, over)
					}
					if stream && p.Rule == b.ID && p.Settled != int64(try.BoundNano) { // more may be billed than was counted
						t.Errorf("%d count for the budget, of %d that were reserved", p.Settled, try.BoundNano)
					}
				}
			})
		}
	}
}

// TestTheRestOfADeafBillIsReconciled: what a provider bills behind the end of a stream that it did not end itself is in no book until
// its export brings it in. Then the ledger is the bill.
func TestTheRestOfADeafBillIsReconciled(t *testing.T) {
	t.Parallel()
	provider := sim.Provider{Models: map[string]sim.Model{"*": {Price: sim.Price{Input: "10", Output: "1000"}, Output: "20"}}}
	w := start(t, penstocktest.Options{Sim: &sim.Config{Seed: 1, Providers: map[string]sim.Provider{"sim-a": provider, "sim-b": provider}}})
	const model = "sim-a/gpt-x?deaf=1"
	in := admin.PricesInput{Data: []admin.PriceInput{{Target: model, Input: "10", Output: "1000"}}}
	if status := w.Admin(http.MethodPut, "/prices", in, nil); status != http.StatusOK {
		t.Fatalf("prices: status %d", status)
	}
	b := w.budget(dollars(100_000_000_000))
	a := w.Post(w.key, chatPath, `{"model":"`+model+`","max_completion_tokens":20,"stream":true,"messages":[{"role":"user","content":"say:2000"}]}`)
	r := w.record(a)
	if a.Status != http.StatusOK || len(r.Tries) != 1 || !r.Tries[0].Cut || !strings.Contains(fmt.Sprint(r.Stages), "may bill more") {
		t.Fatalf("%d %.300s, tries %+v, %+v", a.Status, a.Body, r.Tries, r.Stages)
	}
	var alerts struct {
		Data []alert.Alert `json:"data"`
	}
	w.Admin(http.MethodGet, "/alerts", nil, &alerts)
	told := ""
	for _, one := range alerts.Data {
		if one.Kind == alert.BudgetOverrun {
			told = one.Text
		}
	}
	if !strings.Contains(told, "More may be billed") {
		t.Errorf("told: %q", told)
	}
	billed, csv := llm.Money(0), "day,provider,model,cost_usd\n"
	for _, c := range w.Sim.Bill().Calls {
		billed += c.Cost
		csv += fmt.Sprintf("%s,sim-a,gpt-x?deaf=1,%s\n", r.Time.UTC().Format(time.DateOnly), c.Cost)
	}
	if billed <= r.CostNano {
		t.Fatalf("the bill has %s, and %s are booked: it was not deaf", billed, r.CostNano)
	}
	for range 2 { // the second time changes nothing
		var out admin.Reconciliation
		if status := w.Admin(http.MethodPost, "/reconcile", admin.ReconcileInput{File: csv, Adjust: true, Unfinished: true}, &out); status != http.StatusOK ||
			len(out.Lines) != 1 || out.Lines[0].BooksNano != int64(billed) || out.Drifts != 0 {
			t.Errorf("status %d, %+v; the bill has %d", status, out, billed)
		}
	}
	try := r.Tries[0] // of which all that was reserved counts, and what was seen to come beyond that
	if p := w.window(b.ID); *p.SettledNano != int64(max(try.BoundNano, try.CostNano)) || *p.OverrunNano != int64(max(try.CostNano-try.BoundNano, 0)) {
		t.Errorf("%d count for the budget, %d over; %d were reserved", *p.SettledNano, *p.OverrunNano, try.BoundNano)
	}
	var check ledger.Report
	if status := w.Admin(http.MethodGet, "/ledger/check", nil, &check); status != http.StatusOK || len(check.Findings) != 0 {
		t.Errorf("status %d, %+v", status, check.Findings)
	}
}
