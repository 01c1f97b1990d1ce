//go:build unix

package store

import (
	"testing"

	"github.com/penstock/penstock/internal/ledger"
	"github.com/penstock/penstock/internal/pipeline"
	"github.com/penstock/penstock/internal/usage"
)

// lost are exchanges of which every fifth has two tries whose end nobody saw.
func lost(from, n int) []*usage.Record {
	all := parted(from, n)
	for i, r := range all {
		if (from+i)%5 == 0 {
			first, second := r.Tries[0], r.Tries[0]
			first.Outcome, first.BoundNano, first.CostNano = pipeline.Unknown, 1000, 0
			second.Outcome, second.BoundNano, second.CostNano, second.ID = pipeline.Unknown, 1000, 0, second.ID+"-2"
			r.Tries = append(r.Tries, first, second)
			r.Tries[1].ID += "-1"
		}
	}
	return all
}

// What was unknown and is settled is not unknown any more, in each kind of sum: whether the exchange was in sums when it was settled or
// not, when another version settled it, and when its record is deleted later.
func TestSumsTellWhatWasSettled(t *testing.T) {
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, address(t))
			s.atOnce, s.refill = 64, 64
			settle := func(n, try int) {
				t.Helper()
				r := lost(n, 1)[0]
				if _, err := s.SettleTry(t.Context(), ledger.Resolution{Try: r.Tries[try].ID, Amount: 7, Tokens: -1, Reason: "the bill"}); err != nil {
					t.Fatal(err)
				}
			}
			tell := func(what string, ways int, unknown, settled, nano int64) {
				t.Helper()
				for i, q := range waysToAsk[:ways] {
					sums, err := s.Sums(t.Context(), q)
					if err != nil {
						t.Fatal(err)
					}
					if i == 0 && (sums[0].Unknown != unknown || sums[0].Settled != settled || int64(sums[0].SettledNano) != nano) {
						t.Errorf("%s: %d unknown, %d settled at %d; want %d, %d, %d", what, sums[0].Unknown, sums[0].Settled, sums[0].SettledNano, unknown, settled, nano)
					}
				}
				if _, err := s.Check(t.Context()); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := s.AddRecords(t.Context(), "j", 1, lost(0, 100)); err != nil {
				t.Fatal(err)
			}
			tell("at first", len(waysToAsk), 20, 0, 0)
			settle(0, 1)
			tell("one of two tries", len(waysToAsk), 20, 0, 7)
			settle(0, 2)
			tell("both", len(waysToAsk), 19, 1, 14)
			if err := s.AddRecords(t.Context(), "j", 2, lost(100, 100)); err != nil {
				t.Fatal(err)
			}
			for n := 100; n < 200; n += 10 {
				settle(n, 1)
				settle(n, 2)
			}
			tell("behind the sums", len(waysToAsk), 29, 11, 22*7)
			// Another version settles: it does not count.
			settle(5, 1)
			settle(5, 2)
			for _, query := range []string{
				"UPDATE ledger_unknowns SET counted = 0", noExtras("usage_sums"), noExtras("usage_details"), "UPDATE exchange_extras SET settled = 0, settled_nano = 0",
				"UPDATE usage_summed SET seq = 0 WHERE id = 4",
			} {
				if _, err := s.write.ExecContext(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second finds what is to be counted, now that sums are whole
				for more := true; more; {
					var err error
					if _, more, err = s.SumUp(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			tell("settled by another version", len(waysToAsk), 28, 12, 24*7)
			if n := purgeBefore(t, s, workload(100).Time.AddDate(1, 0, 0)); n == 0 {
				t.Error("nothing was deleted")
			}
			settle(10, 1)
			settle(10, 2)
			tell("deleted", 4, 28, 12, 24*7) // of which nobody can say any more whose it was
		})
	}
}

// A record that cannot be read keeps neither sums nor retention from going on, and before exchanges are deleted all that was settled of
// them is counted, however much there is.
func TestWhatWasSettledIsCountedBeforeItIsDeleted(t *testing.T) {
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, address(t))
			s.atOnce, s.refill = 64, 4
			if err := s.AddRecords(t.Context(), "j", 1, lost(0, 100)); err != nil {
				t.Fatal(err)
			}
			for n := 0; n < 50; n += 5 { // and nobody counts: a version that does not know of it
				r := lost(n, 1)[0]
				for _, try := range r.Tries[1:] {
					if _, err := s.SettleTry(t.Context(), ledger.Resolution{Try: try.ID, Amount: 7, Tokens: -1, Reason: "the bill"}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, query := range []string{
				"UPDATE ledger_unknowns SET counted = 0", noExtras("usage_sums"), noExtras("usage_details"), "DELETE FROM exchange_extras",
				"UPDATE ledger_state SET extras = 0", "UPDATE exchange_records SET record = SUBSTR(record, 1, 20) WHERE seq = 1",
			} {
				if _, err := s.write.ExecContext(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			if n := purgeBefore(t, s, workload(100).Time.AddDate(1, 0, 0)); n != 100 {
				t.Errorf("%d were deleted", n)
			}
			sums, err := s.Sums(t.Context(), waysToAsk[0])
			if err != nil || sums[0].Unknown != 11 || sums[0].Settled != 9 || sums[0].SettledNano != 9*14 {
				t.Errorf("%+v (%v)", sums, err)
			}
		})
	}
}
