package storetest

import (
	"sync"
	"testing"

	"github.com/penstock/penstock/internal/audit"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
)

// A correction that is sent again under its key, as after an answer that was lost, is booked once, also by several at once.
func testCorrectionsUnderAKey(t *testing.T, s Store) {
	ctx := t.Context()
	a := ledger.Adjustment{Org: "default", Project: "prj_1", Provider: "openai", Target: "openai/gpt-5", Amount: -6, Try: "try_1", Reason: "bill", Key: "k1"}
	const n = 8
	var wg sync.WaitGroup
	made := make([]ledger.Entry, n)
	for i := range n {
		wg.Go(func() {
			var err error
			if made[i], err = s.AdjustLedger(ctx, a); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range made {
		same(t, "entry of a repeat", ledgerLines(made[i]), ledgerLines(made[0]))
	}
	at := a
	at.At = made[0].At
	again, err := s.AdjustLedger(ctx, at)
	must(t, err)
	same(t, "entry of a repeat that says when", again.Seq, made[0].Seq)

	for name, change := range map[string]func(*ledger.Adjustment){
		"project": func(a *ledger.Adjustment) { a.Project = "prj_2" }, "provider": func(a *ledger.Adjustment) { a.Provider = "claude" },
		"credential": func(a *ledger.Adjustment) { a.Credential = 1 }, "target": func(a *ledger.Adjustment) { a.Target = "" },
		"try": func(a *ledger.Adjustment) { a.Try = "" }, "amount": func(a *ledger.Adjustment) { a.Amount = -7 }, "sign": func(a *ledger.Adjustment) { a.Amount = 6 },
		"time": func(a *ledger.Adjustment) { a.At = day }, "reason": func(a *ledger.Adjustment) { a.Reason = "another" },
	} {
		other := a
		change(&other)
		_, err := s.AdjustLedger(ctx, other)
		if err == nil {
			t.Errorf("another %s is taken for the same correction", name)
			continue
		}
		refused(t, err, fault.AlreadyThere)
		other.Key = "k2 " + name
		if _, err := s.AdjustLedger(ctx, other); err != nil {
			t.Errorf("another %s under a key of its own: %v", name, err)
		}
	}
	a.Key = ""
	for range 2 {
		_, err := s.AdjustLedger(ctx, a)
		must(t, err)
	}
	entries, err := s.LedgerEntries(ctx, ledger.Query{Limit: 100})
	must(t, err)
	same(t, "entries", len(entries), 1+9+2)
	acts, err := s.AuditEntries(ctx, audit.Filter{Action: audit.LedgerAdjusted}, 100)
	must(t, err)
	same(t, "entries of the audit chain", len(acts), 1+9+2)
	r, err := ledger.Check(ctx, s)
	must(t, err)
	same(t, "findings", len(r.Findings), 0)
}
