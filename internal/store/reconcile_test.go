//go:build unix

package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/escrow"
	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/reconcile"
	"github.com/penstock/penstock/internal/usage"
)

// TestReconcilingKeepsBudgets settles unknown calls from a provider's bill: what they come to is settled in their windows, the rest of
// what they held comes free, the books equal the bill, and all of it fits. The same bill again writes nothing.
func TestReconcilingKeepsBudgets(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		for i, c := range []struct {
			surplus, settled, unknown int64
			done                      reconcile.Done
		}{
			{0, 0, 0, reconcile.Done{Voided: 3}},
			{17, 17, 0, reconcile.Done{Settled: 3, Amount: 17}},
			{30, 30, 0, reconcile.Done{Settled: 3, Amount: 30}},
			{50, 30, 0, reconcile.Done{Settled: 3, Amount: 30, Adjusted: 1, Correction: 20}},
		} {
			day := time.Date(2026, 11, 2+i, 12, 0, 0, 0, time.UTC)
			key := escrow.Key{Rule: "bud_1", Start: day.UnixMicro()}
			lease := fmt.Sprint("lease_", i)
			trade := escrow.Trade{Key: key, Lease: lease, Need: 60, Want: 60}
			if got := tradeOne(t, s, escrow.Holder{Journal: "j_a", Run: "1"}, trade); got.Granted < 60 {
				t.Fatalf("granted %+v", got)
			}
			call := func(n int, outcome pipeline.Outcome, cost, reserved int64) *usage.Record {
				r := spent(fmt.Sprintf("%d_%d", i, n), outcome, cost, reserved, key, lease)
				r.Time = day
				return r
			}
			book(t, s, call(0, pipeline.SettledActual, 10, 20), call(1, pipeline.Unknown, 0, 10), call(2, pipeline.Unknown, 0, 10), call(3, pipeline.Unknown, 0, 10))
			booksFit(t, s)
			e, err := reconcile.Read(fmt.Appendf(nil, "day,provider,model,cost_usd\n%s,openai,gpt-5,0.%09d\n", day.Format(time.DateOnly), 10+c.surplus), "")
			if err != nil {
				t.Fatal(err)
			}
			for again, want := range []reconcile.Done{c.done, {}} {
				if got := reconciled(t, s, e, day); got != want {
					t.Errorf("a surplus of %d, run %d: wrote %+v, want %+v", c.surplus, again+1, got, want)
				}
			}
			booksFit(t, s)
			got := tradeOne(t, s, escrow.Holder{Journal: "j_a", Run: "1"}, escrow.Trade{Key: key})
			if got.State.Settled != 10+c.settled || got.State.Unknown != 0 || got.State.Over != 0 {
				t.Errorf("a surplus of %d: the window is %+v", c.surplus, got.State)
			}
			closing, err := ledger.Close(t.Context(), s, day.Add(-12*time.Hour), day.Add(12*time.Hour))
			if err != nil || closing.Total != llm.Money(10+c.surplus) || closing.Pending != 0 {
				t.Errorf("a surplus of %d: the day came to %+v, %v", c.surplus, closing, err)
			}
		}
	})
}

func reconciled(t *testing.T, s *Store, e *reconcile.Export, day time.Time) reconcile.Done {
	t.Helper()
	sources := reconcile.Sources{
		Ledger:   s,
		Recorded: func(context.Context, time.Time, time.Time) (map[string]reconcile.Recorded, error) { return nil, nil },
		Price:    func(llm.Target) (llm.Price, bool) { return llm.Price{}, false },
		Models:   func(string) []string { return nil },
		Known:    func(string, string) bool { return false },
	}
	o := reconcile.Options{Threshold: reconcile.DefaultThreshold, Now: day.AddDate(0, 0, 1)}
	r, err := reconcile.Compare(t.Context(), sources, e, o)
	if err != nil {
		t.Fatal(err)
	}
	done, err := reconcile.Settle(t.Context(), s, r, o, true)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestACorrectionThatIsMadeOnce(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		adjust := func(change func(*ledger.Adjustment)) error {
			a := ledger.Adjustment{
				Org: "default", Project: "prj_1", Provider: "openai", Target: "openai/gpt-5", Amount: 5, At: time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC),
				Reason: "the bill", Once: true,
			}
			if change != nil {
				change(&a)
			}
			_, err := s.AdjustLedger(t.Context(), a)
			return err
		}
		for name, c := range map[string]func(*ledger.Adjustment){
			"another project": func(a *ledger.Adjustment) { a.Project = "prj_2" },
			"another time":    func(a *ledger.Adjustment) { a.At = a.At.AddDate(0, 0, 1) },
			"another target":  func(a *ledger.Adjustment) { a.Target = "openai/gpt-4" },
			"another reason":  func(a *ledger.Adjustment) { a.Reason = "another bill" },
			"the first":       nil,
		} {
			if err := adjust(c); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := adjust(c); err == nil || fault.From(err).Code != fault.AlreadyThere {
				t.Errorf("%s again: %v", name, err)
			}
		}
		if err := adjust(func(a *ledger.Adjustment) { a.Once = false }); err != nil {
			t.Errorf("as often as one likes: %v", err)
		}
		if r := booksFit(t, s); r.Entries != 6 {
			t.Errorf("%d entries, want 6", r.Entries)
		}
	})
}
