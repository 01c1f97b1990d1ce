//go:build unix

package store

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/usage"
)

// waysToAsk are questions that are answered from each kind of level, from exchanges that are not summed, and from all exchanges.
var waysToAsk = []usage.Query{
	{}, {By: []string{"model"}}, {By: []string{"day", "project"}}, {By: []string{"user"}}, {By: []string{"tag"}}, {By: []string{"tag", "day"}},
	{By: []string{"model"}, User: "user-1"}, {By: []string{"user", "tag"}}, {By: []string{"hour", "target"}, Tag: "team-1"},
}

func answers(t *testing.T, s *Store, ways int) (all [][]usage.Sum) {
	t.Helper()
	for _, q := range waysToAsk[:ways] {
		sums, err := s.Sums(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sums)
	}
	return all
}

// What versions wrote and summed up that knew no parts is found in the records, also of exchanges that they write later, beside
// a new replica, and what the new version has written stays.
func TestPartsOfOlderVersionsAreFoundInRecords(t *testing.T) {
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, address(t))
			s.atOnce, s.refill = 100, 70
			write := func(n int) {
				t.Helper()
				if err := s.AddRecords(t.Context(), "j", int64(n), parted(n, 160)); err != nil {
					t.Fatal(err)
				}
			}
			all := func() {
				t.Helper()
				for more := true; more; {
					var err error
					if _, more, err = s.SumUp(t.Context()); err != nil {
						t.Fatal(err)
					}
					if _, err := s.Check(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			old := func(queries ...string) {
				t.Helper()
				for _, query := range queries {
					if _, err := s.write.ExecContext(t.Context(), query); err != nil {
						t.Fatal(query, err)
					}
				}
				s.records.mu.Lock()
				s.records.forget()
				s.records.mu.Unlock()
			}
			same := func(what string, want [][]usage.Sum) {
				t.Helper()
				if d := cmp.Diff(want, answers(t, s, len(waysToAsk))); d != "" {
					t.Errorf("%s (- wanted, + got):\n%s", what, d)
				}
			}
			write(0)
			all()
			write(160)
			want := answers(t, s, len(waysToAsk))
			if want[0][0].Usage.Searches == 0 {
				t.Fatalf("no parts in %+v", want[0])
			}
			old(asWithoutExtras...)
			all()
			same("after an upgrade", want)

			write(320)
			want = answers(t, s, len(waysToAsk))
			old("DELETE FROM exchange_extras WHERE seq > 320", "UPDATE ledger_state SET extras = 320")
			all() // this version sums up what an older one wrote
			same("written by an older replica", want)

			write(480)
			old("DELETE FROM exchange_extras WHERE seq > 480", "UPDATE ledger_state SET extras = 480")
			write(640)
			all()
			got := answers(t, s, len(waysToAsk))
			old(noExtras("usage_sums"), noExtras("usage_details"), "UPDATE usage_summed SET seq = 0 WHERE id = 4")
			all() // an older one summed up
			same("summed up by an older replica", got)
			var parts, rows int64
			err := s.row(t.Context(), "SELECT COUNT(*), COUNT(DISTINCT seq) FROM exchange_extras").Scan(&parts, &rows)
			if err != nil || parts != rows || parts != (800+2)/3 {
				t.Errorf("%d rows of %d exchanges, %v", parts, rows, err)
			}
			if want, got := got[0][0].Usage.Parts, partsOf(parted(0, 800)); want != got.Usage.Parts {
				t.Errorf("%+v, want %+v", want, got.Usage.Parts)
			}
		})
	}
}

func partsOf(records []*usage.Record) (sum usage.Sum) {
	for _, r := range records {
		sum.Usage = sum.Usage.Add(r.Usage)
	}
	return sum
}

// The same with a real file of the schema before: nothing is due to be deleted before its parts are in sums.
func TestPartsAreKeptWhenRecordsAreDeleted(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "penstock.db")
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	aged(t, s, 20)
	want := answers(t, s, 6) // what is kept in sums
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, "sqlite:"+asOf(t, path, 22))
	s.refill = 150
	newest := parted(64*19, 64)[63].Time.AddDate(300, 0, 0)
	if n := purgeBefore(t, s, newest); n < 1024 {
		t.Errorf("%d were deleted", n)
	}
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff(want, answers(t, s, 6)); d != "" {
		t.Errorf("(- wanted, + got):\n%s", d)
	}
}
