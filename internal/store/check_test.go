//go:build unix

package store

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// aged fills a store with exchanges of so many weeks, 64 in each, a minute apart; of 1970 and of 2200 there is one each,
// written in between.
func aged(t *testing.T, s *Store, weeks int) {
	t.Helper()
	s.atOnce = 64
	for week := range weeks {
		records := workloads(64*week, 64)
		for i, r := range records {
			r.Time = time.Date(2020, 1, 6, 9, 0, 0, 0, time.UTC).AddDate(0, 0, 7*week).Add(time.Duration(i) * 97 * time.Minute)
		}
		if week == weeks/2 {
			records[7].Time, records[8].Time = time.Unix(5, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		if err := s.AddRecords(t.Context(), "j", int64(week+1), records); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.SumUp(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// What a check holds in memory does not grow with the age of a store.
func TestAnOldStoreIsCheckedWeekByWeek(t *testing.T) {
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var held [2]int
			for i, weeks := range []int{3, 60} {
				s := openAt(t, address(t))
				aged(t, s, weeks)
				c, err := s.Check(t.Context())
				if n := int64(64 * weeks); err != nil || c.Exchanges != n || c.Summed != n {
					t.Fatalf("%d weeks: %+v, %v", weeks, c, err)
				}
				held[i] = c.held
			}
			if held[0] == 0 || held[1] > held[0] {
				t.Errorf("%d sums were held at once of three weeks, and %d of 60", held[0], held[1])
			}
		})
	}
}

// Whatever does not fit is found, wherever it lies: in the first week, in one in the middle, in the last, and where there is no
// exchange.
func TestSumsAreCheckedEverywhere(t *testing.T) {
	t.Parallel()
	s := openTest(t)
	aged(t, s, 20)
	at := func(year int, month time.Month, day int) int64 {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).UnixMicro()
	}
	row := func(l level, start int64) string {
		return fmt.Sprintf("INSERT INTO usage_sums (%s, %s) VALUES (%d, %d%s)", sumKey, strings.Join(sumFields[:], ", "), l.id, start,
			", 1, 1, 1, 1, 1, 1, 1"+strings.Repeat(", 1", len(sumFields)))
	}
	for query, want := range map[string]string{
		"UPDATE usage_sums SET input = input + 1 WHERE level = 1 AND start = 0":                            "1970-01-01 00:00",
		fmt.Sprintf("UPDATE usage_sums SET failed = 9 WHERE level = 3 AND start = %d", at(2020, 2, 3)/day): "2020-02-03 00:00",
		fmt.Sprintf("DELETE FROM usage_sums WHERE level = 2 AND start = %d", at(2200, 1, 1)/hour):          "2200-01-01 00:00",
		fmt.Sprintf("UPDATE exchanges SET time = %d WHERE seq = 64*20", at(2020, 5, 25)+5*hour):            "2020-05-",
		row(perMinute, at(1980, 1, 1)/minute):                                                              "1980-01-01 00:00",
		row(userDays, at(2020, 6, 30)/day):                                                                 "2020-06-30 00:00",
		row(tagDays, at(2290, 1, 1)/day):                                                                   "2290-01-01 00:00",
		row(perHour, -5):                                                                                   "no time",
		row(perDay, 1<<60):                                                                                 "no time",
		"DELETE FROM exchange_blocks WHERE block = 0":                                                      "should be",
	} {
		t.Run(query, func(t *testing.T) {
			txn, err := s.write.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer txn.Rollback()
			if _, err := txn.ExecContext(t.Context(), query); err != nil {
				t.Fatal(err)
			}
			err = (&checking{tx: tx{txn, s.d, t.Context()}, last: 64 * 20}).sums(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}
