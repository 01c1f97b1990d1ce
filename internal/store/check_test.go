//go:build unix

package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/usage"
)

// aged fills a store with exchanges of so many weeks, 64 in each, a minute apart; of 1970 and of 2200 there is one each,
// written in between.
func aged(t *testing.T, s *Store, weeks int) {
	t.Helper()
	s.atOnce = 64
	for week := range weeks {
		records := parted(64*week, 64)
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
		"UPDATE usage_sums SET input = input + 1 WHERE level = 1 AND start = 0":                                                               "1970-01-01 00:00",
		fmt.Sprintf("UPDATE usage_sums SET failed = 9 WHERE level = 3 AND start = %d", at(2020, 2, 3)/day):                                    "2020-02-03 00:00",
		fmt.Sprintf("DELETE FROM usage_sums WHERE level = 2 AND start = %d", at(2200, 1, 1)/hour):                                             "2200-01-01 00:00",
		fmt.Sprintf("UPDATE exchanges SET time = %d WHERE seq = 64*20", at(2020, 5, 25)+5*hour):                                               "2020-05-",
		"UPDATE usage_sums SET end_user = end_user + 1 WHERE level = 6 AND end_user = (SELECT MAX(end_user) FROM usage_sums WHERE level = 6)": "under other names",
		fmt.Sprintf("DELETE FROM usage_sums WHERE level = 8 AND start = %d", at(2020, 2, 3)/day):                                              "level 8 from 2020-02-03",
		"DELETE FROM usage_details WHERE level = 12":                                                                                          "level 12",
		"UPDATE usage_details SET model = 4711 WHERE level = 11":                                                                              "under other names",
		"UPDATE usage_sums SET searches = searches + 1 WHERE level = 2":                                                                       "level 2 from",
		"UPDATE usage_sums SET cache_write_1h = NULL WHERE level = 3":                                                                         "cache_write_1h is 0, and should be",
		"UPDATE exchange_extras SET output_image = output_image + 1 WHERE seq = 4":                                                            "output_image is",
		"DELETE FROM exchange_extras WHERE seq = 64*20-1":                                                                                     "should be",
		row(perMinute, at(1980, 1, 1)/minute):                                                                                                 "1980-01-01 00:00",
		row(userDays, at(2020, 6, 30)/day):                                                                                                    "2020-06-30 00:00",
		row(tagDays, at(2290, 1, 1)/day):                                                                                                      "2290-01-01 00:00",
		row(perHour, -5):                                                                                                                      "no time",
		row(perDay, 1<<60):                                                                                                                    "no time",
		"DELETE FROM exchange_blocks WHERE block = 0":                                                                                         "should be",
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
			err = (&checking{tx: tx{txn, s.d, t.Context()}, summed: reached{0, 64 * 20, 64 * 20, 64 * 20, 64 * 20}}).sums(t.Context())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
	if _, err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// asMigrated leaves a store as migrations do that bring levels.
var asMigrated = []string{
	"DELETE FROM usage_sums WHERE level > 5", "DELETE FROM usage_details", "UPDATE usage_summed SET seq = 0 WHERE id = 2", "UPDATE usage_summed SET seq = 0 WHERE id = 3",
	noExtras("usage_sums"), "UPDATE usage_summed SET seq = 0 WHERE id = 4",
}

// noExtras leaves a table of sums as versions write it that know no extras.
func noExtras(table string) string {
	return "UPDATE " + table + " SET " + strings.Join(extraFields, " = NULL, ") + " = NULL"
}

// asWithoutExtras leaves a store as the migration does that brings extras, after asMigrated or not.
var asWithoutExtras = []string{
	noExtras("usage_sums"), noExtras("usage_details"), "DELETE FROM exchange_extras", "DELETE FROM exchange_gaps", "UPDATE ledger_state SET extras = 0",
	"UPDATE usage_summed SET seq = (SELECT seq FROM usage_summed WHERE id = 1) WHERE id = 4",
}

// Levels that came with a later schema are filled from what lies there while Penstock serves, and while replicas that do not
// know them sum up: at each step the answers are the same, and what was filled in is right.
func TestLaterLevelsAreFilledWhileServing(t *testing.T) {
	t.Parallel()
	for name, address := range emptyAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openAt(t, address(t))
			aged(t, s, 4)
			from := time.Date(2020, 1, 6, 11, 30, 0, 0, time.UTC)
			ask := func() (all [][]usage.Sum) {
				for _, by := range [][]string{{"user"}, {"tag"}, {"hour", "user"}, {"tag", "day"}, {"day", "user", "project"}} {
					for _, project := range []string{"", workload(1).Project} {
						sums, err := s.Sums(t.Context(), usage.Query{By: by, From: from, To: from.AddDate(0, 0, 20), Project: project})
						if err != nil || len(sums) == 0 {
							t.Fatal(sums, err)
						}
						all = append(all, sums)
					}
				}
				return all
			}
			same := func(what string, want [][]usage.Sum) {
				t.Helper()
				if d := cmp.Diff(want, ask()); d != "" {
					t.Errorf("%s (- wanted, + got):\n%s", what, d)
				}
				if _, err := s.Check(t.Context()); err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
			want := ask()
			for _, query := range asMigrated {
				if _, err := s.write.ExecContext(t.Context(), query); err != nil {
					t.Fatal(err)
				}
			}
			same("after the migration", want)
			s.refill = 50
			step := func(behind int64, more bool) {
				t.Helper()
				if got, again, err := s.SumUp(t.Context()); err != nil || got != behind || again != more {
					t.Errorf("%d behind, more %v, %v; want %d, %v", got, again, err, behind, more)
				}
			}
			step(206, true)
			same("half filled", want)
			if err := s.AddRecords(t.Context(), "j", 9, parted(256, 64)); err != nil {
				t.Fatal(err)
			}
			want = ask()
			step(270, true) // what is new comes first, and into the first levels only
			same("while records come", want)
			for behind := int64(220); behind > 0; behind -= 50 {
				step(behind, true)
				same("while it is filled", want)
			}
			step(0, false)
			same("when it is filled", want)
			// A replica of an older version.
			if err := s.AddRecords(t.Context(), "j", 10, parted(320, 64)); err != nil {
				t.Fatal(err)
			}
			want = ask()
			s.records.mu.Lock()
			err := s.changeIn(t.Context(), laneSums, "sum up", func(tx tx) error {
				r := &recording{&s.records, tx, map[string]statement{}}
				g := &gathering{}
				g.begin(320)
				if err := r.readInto(t.Context(), g, 320, 384); err != nil {
					return err
				}
				g.derive()
				return r.addTo(t.Context(), g, 320, 384, []int{reachFirst})
			})
			s.records.mu.Unlock()
			if err != nil {
				t.Fatal(err)
			}
			same("after a replica of an older version", want)
			step(14, true)
			step(0, false)
			same("at the end", want)
			var levels int
			if err := s.row(t.Context(), "SELECT COUNT(*) FROM (SELECT level FROM usage_sums UNION SELECT level FROM usage_details) AS l").Scan(&levels); err != nil || levels != len(sumLevels) {
				t.Errorf("%d levels, %v", levels, err)
			}
		})
	}
}
