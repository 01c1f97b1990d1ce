package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/usage"
)

// TestFault54RetentionWhileServing: of many exchanges, those whose retention is over are deleted while calls are served; those
// on hold stay, usage and money of each day stay what they were, and the space is given back. It is a million with
// PENSTOCK_SLOW=1, or as many as PENSTOCK_MANY says, and says then how long calls, lists and reports took with and without it.
func TestFault54RetentionWhileServing(t *testing.T) {
	n, settled, slow := 400, time.Duration(0), 10 // beside other tests, with the race detector
	if os.Getenv("PENSTOCK_SLOW") != "" {
		n, settled, slow = 1_000_000, 30*time.Second, 1
	}
	if many, err := strconv.Atoi(os.Getenv("PENSTOCK_MANY")); err == nil {
		n = many
	}
	e := penstocktest.Start(t, penstocktest.Options{Config: penstocktest.Config + "retention: { records: forever }\n"})
	const span = 100 * 24 * time.Hour
	end := time.Now().Add(-10 * time.Hour).Truncate(24 * time.Hour)
	began := time.Now()
	e.Fill(n, span, end)
	t.Logf("%d exchanges in %v", n, time.Since(began).Round(time.Second))
	key := e.Key("caller")
	var held admin.Hold
	if status := e.Admin(http.MethodPost, "/holds", admin.HoldInput{Project: "legal", Reason: "case 4711"}, &held); status != http.StatusCreated {
		t.Fatal(status)
	}
	answers := func() (all []usageAnswer) {
		for _, by := range []string{"day", "model,day", "project,hour", "user", "tag,day"} {
			var a usageAnswer
			path := "/usage?group_by=" + by + "&from=2020-01-01&to=" + end.Format(time.DateOnly)
			if status := e.Admin(http.MethodGet, path, nil, &a); status != http.StatusOK {
				t.Fatal(path, status)
			}
			all = append(all, a)
		}
		return all
	}
	before, size := answers(), fileSize(t, e)
	left := func() (kept, others int) { // of the time that is due
		for _, project := range []string{"legal", "checkout"} {
			var page struct {
				Data []usage.Record `json:"data"`
			}
			path := "/exchanges?limit=1000&project=" + project + "&to=" + end.Add(-20*24*time.Hour).Format(time.RFC3339)
			if status := e.Admin(http.MethodGet, path, nil, &page); status != http.StatusOK {
				t.Fatal(path, status)
			}
			if project == "legal" {
				kept = len(page.Data)
			} else {
				others = len(page.Data)
			}
		}
		return kept, others
	}
	heldBefore, othersBefore := left()
	if heldBefore == 0 || othersBefore == 0 {
		t.Fatal("there is nothing to delete, or to hold")
	}

	alone := measure(t, e, slow, key, func() bool { return false }, max(settled, 2*time.Second))
	keep := time.Since(end) + 20*24*time.Hour // four fifths of all are due
	e.WriteConfig(penstocktest.Config + fmt.Sprintf("retention: { records: %ds }\n", int(keep.Seconds())))
	e.Restart() // not a reload: it looks seconds after the start, and then each minute
	began = time.Now()
	purged := func() float64 { return e.Metric("penstock_records_purged_total") }
	due := float64(n) * .6 // the least that it can be; the last days are busier
	over := func() bool { return purged() > due && e.Metric("penstock_retention_late_seconds") == 0 }
	during := measure(t, e, slow, key, over, time.Hour)
	t.Logf("%.0f exchanges deleted in %v", purged(), time.Since(began).Round(time.Second))
	whole := over()
	if !whole && settled == 0 {
		t.Error("an hour is not enough")
	}
	var after map[string][]time.Duration
	if settled > 0 {
		after = measure(t, e, slow, key, func() bool { return false }, settled)
	}
	for what, all := range during {
		t.Logf("%-8s before: %v", what, describe(alone[what]))
		t.Logf("%-8s during: %v", what, describe(all))
		t.Logf("%-8s after:  %v", what, describe(after[what]))
	}
	if kept, others := left(); kept != heldBefore || others != 0 && whole {
		t.Errorf("of the project on hold %d are left, were %d; of another, %d", kept, heldBefore, others)
	}
	for i, a := range answers() {
		if diff := cmp.Diff(before[i], a); diff != "" {
			t.Errorf("usage is not what it was (- before, + after):\n%.2000s", diff)
		}
	}
	e.Stop() // folds the file
	if after := fileSize(t, e); !whole {
		t.Logf("of a million, an hour of deleting gently deletes a part: whether the space is given back is for fewer to tell")
	} else if after > size/2+16<<20 {
		t.Errorf("the file had %d MB, and has %d MB", size>>20, after>>20)
	} else {
		t.Logf("the file had %d MB, and has %d MB", size>>20, after>>20)
	}
}

type usageAnswer struct {
	Data []map[string]any `json:"data"`
}

func fileSize(t *testing.T, e *penstocktest.Env) (size int64) {
	t.Helper()
	for _, name := range []string{"penstock.db", "penstock.db-wal"} {
		if info, err := os.Stat(filepath.Join(e.Dir, "data", name)); err == nil {
			size += info.Size()
		}
	}
	return size
}

// measure calls, lists and reports at a steady pace, so many times slower than usual, until it is over, or the time is up, and
// says how long each took.
func measure(t *testing.T, e *penstocktest.Env, slow int, key string, over func() bool, most time.Duration) map[string][]time.Duration {
	t.Helper()
	var mu sync.Mutex
	var working sync.WaitGroup
	took, stop := map[string][]time.Duration{}, make(chan struct{})
	steadily := func(what string, every time.Duration, work func() int) {
		working.Go(func() {
			tick := time.NewTicker(time.Duration(slow) * every)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				began := time.Now()
				status := work()
				mu.Lock()
				took[what] = append(took[what], time.Since(began))
				mu.Unlock()
				if status != http.StatusOK {
					t.Errorf("%s: %d", what, status)
				}
			}
		})
	}
	for range 2 {
		steadily("call", 10*time.Millisecond, func() int {
			return e.Post(key, "/v1/chat/completions", penstocktest.Chat("sim-a/m", "say:3 hello", false)).Status
		})
	}
	steadily("list", 100*time.Millisecond, func() int { return e.Admin(http.MethodGet, "/exchanges?limit=50", nil, nil) })
	steadily("report", 300*time.Millisecond, func() int { return e.Admin(http.MethodGet, "/usage?group_by=project", nil, nil) })
	steadily("change", 200*time.Millisecond, func() int {
		return e.Admin(http.MethodPatch, "/projects/search", admin.ProjectChange{Labels: map[string]string{"at": "now"}}, nil)
	})
	end := time.After(most)
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	for going := true; going; {
		select {
		case <-end:
			going = false
		case <-look.C:
			going = !over()
		}
	}
	close(stop)
	working.Wait()
	return took
}

func describe(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	slices.Sort(all)
	at := func(p float64) time.Duration { return all[int(p*float64(len(all)-1))].Round(100 * time.Microsecond) }
	return fmt.Sprintf("%d, p50 %v, p95 %v, p99 %v, longest %v", len(all), at(.5), at(.95), at(.99), at(1))
}
