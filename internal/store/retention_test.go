//go:build unix

package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/retention"
)

// purgeBefore deletes all exchanges that began before an instant.
func purgeBefore(t *testing.T, s *Store, at time.Time) (deleted int) {
	t.Helper()
	due, err := s.Due(t.Context(), at.Add(24*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range due.Blocks {
		for more := true; more; {
			done, err := s.PurgeBlock(t.Context(), "me", b.N, due.Policy, 100)
			if err != nil {
				t.Fatal(err)
			}
			deleted, more = deleted+done.Deleted, done.More
		}
	}
	return deleted
}

// While a replica of an older version is there, which would number and report by the exchanges that are left, nothing is deleted.
func TestNothingIsDeletedBesideAnOlderVersion(t *testing.T) {
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, address(t))
			aged(t, s, 3)
			knows, err := Schema()
			if err != nil {
				t.Fatal(err)
			}
			at := time.Date(2020, 1, 14, 0, 0, 0, 0, time.UTC)
			if err := s.Appear(t.Context(), Replica{ID: "old", Knows: knows - 1}); err != nil {
				t.Fatal(err)
			}
			if n := purgeBefore(t, s, at); n != 0 {
				t.Errorf("%d were deleted", n)
			}
			if err := s.Leave(t.Context(), "old"); err != nil {
				t.Fatal(err)
			}
			if n := purgeBefore(t, s, at); n < 64 {
				t.Errorf("%d were deleted", n)
			}
		})
	}
}

// A store out of which exchanges were deleted is whole, and what is damaged in it is found, also in the time of those that are
// gone.
func TestAPurgedStoreIsChecked(t *testing.T) {
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, address(t))
			const weeks = 20
			aged(t, s, weeks)
			if err := s.MakeHold(t.Context(), retention.Hold{ID: "hold_1", Project: workload(1).Project, Reason: "case 1"}, 10); err != nil {
				t.Fatal(err)
			}
			cut := time.Date(2020, 3, 3, 12, 0, 0, 0, time.UTC)
			deleted := purgeBefore(t, s, cut)
			c, err := s.Check(t.Context())
			if err != nil || deleted < 300 || c.Exchanges != int64(64*weeks-deleted) {
				t.Fatalf("%d deleted: %+v, %v", deleted, c, err)
			}
			at := func(year int, month time.Month, day int) int64 {
				return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).UnixMicro()
			}
			for query, want := range map[string]string{
				fmt.Sprintf("UPDATE usage_sums SET failed = failed + 1 WHERE level = 3 AND start = %d", at(2020, 2, 3)/day):                    "level 3 from 2020-02-03",
				fmt.Sprintf("DELETE FROM usage_sums WHERE level = 2 AND start >= %d AND start < %d", at(2020, 2, 4)/hour, at(2020, 2, 5)/hour): "level 2 from 2020-02-04",
				fmt.Sprintf("UPDATE usage_sums SET input = input + 1 WHERE level = 7 AND start = %d", at(2020, 5, 4)/hour+9):                   "level 7 from 2020-05-04 09:00",
				fmt.Sprintf("UPDATE usage_sums SET searches = 1000 WHERE level = 30 AND start = %d", at(2020, 2, 4)/day):                       "from 2020-02-04",
				"DELETE FROM usage_sums WHERE level < 30 AND start = 0":                                                                        "from 1970-01-01",
				fmt.Sprintf("DELETE FROM usage_sums WHERE level = 30 AND start = %d", at(2020, 2, 3)/day):                                      "from 2020-02-03",
				fmt.Sprintf("UPDATE exchanges SET cost_nano = cost_nano + 1 WHERE time < %d", at(2020, 2, 4)):                                  "from 2020-0",
				fmt.Sprintf("DELETE FROM exchanges WHERE time < %d", at(2020, 2, 4)):                                                           "from 2020-0",
				fmt.Sprintf("DELETE FROM exchanges WHERE time >= %d", at(2020, 5, 4)):                                                          "from 2020-05-04",
				"UPDATE usage_summed SET purged_before = 0":                                                                                    "from 1970-01-01",
			} {
				undone, err := s.write.BeginTx(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := undone.ExecContext(t.Context(), query); err != nil {
					t.Fatal(query, err)
				}
				ck := checking{tx: tx{undone, s.d, t.Context()}, summed: reached{0, 64 * weeks, 64 * weeks, 64 * weeks, 64 * weeks}}
				if err := ck.row(t.Context(), "SELECT purged_before FROM usage_summed WHERE id = 1").Scan(&ck.purged); err != nil {
					t.Fatal(err)
				}
				if err := ck.sums(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v, want %q", query, err, want)
				}
				if err := undone.Rollback(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
