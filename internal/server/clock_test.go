//go:build unix

package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock/penstock/internal/alert"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/store/pgtest"
	"github.com/penstock/penstock/internal/usage"
)

// TestControl52 starts a second replica whose clock is 90 seconds fast: people are told, and what both write is in the right
// order, with the right times, all the same.
func TestControl52AReplicaThatIs90SecondsFast(t *testing.T) {
	t.Parallel()
	config := penstocktest.Config + "store: " + pgtest.Database(t) + "\n"
	right := penstocktest.Start(t, penstocktest.Options{Config: config})
	dir := t.TempDir()
	for _, name := range []string{"admin.key", "keyring.json"} { // which replicas share
		text, err := os.ReadFile(filepath.Join(right.Dir, "data", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "data", name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wrong := penstocktest.Start(t, penstocktest.Options{Config: config, Dir: dir, Skew: 90 * time.Second})
	began := time.Now().Add(-50 * time.Millisecond) // what is not corrected
	key := wrong.Key("fast")
	if !penstocktest.Eventually(func() bool { return right.Do(http.MethodGet, key, "/penstock/v1/self", "").Status == http.StatusOK }) {
		t.Fatal("a key that was made by a fast clock is not known to the other replica")
	}

	var asked []string
	for i := range 6 {
		e := []*penstocktest.Env{right, wrong}[i%2]
		// Each call takes longer than clocks may be measured wrong.
		got := e.Post(key, "/v1/chat/completions", penstocktest.Chat("sim-a/x?first=200ms", "say:3", false))
		asked = append(asked, got.ID())
		var r usage.Record
		if status := e.Admin(http.MethodGet, "/exchanges/"+got.ID(), nil, &r); got.Status != http.StatusOK || status != http.StatusOK {
			t.Fatalf("call %d: %d %s; its record: %d", i, got.Status, got.Text(), status)
		} // it is in the store then
		if ago := r.Time.Sub(began); ago < 0 || ago > time.Minute {
			t.Errorf("call %d began at %v, %v after the first", i, r.Time, ago)
		}
		fast := -90 * time.Second.Milliseconds()
		if i%2 == 0 {
			fast = 0
		}
		if d := r.ClockMS - fast; d < -60 || d > 60 {
			t.Errorf("call %d: the clock was corrected by %d ms", i, r.ClockMS)
		}
		if words := r.ClockWords(); (i%2 == 1) != strings.Contains(words, "ahead of the store's") {
			t.Errorf("call %d: %q", i, words)
		}
	}
	if !slices.IsSorted(asked) {
		t.Errorf("ids are not in the order of the calls: %q", asked)
	}
	for _, e := range []*penstocktest.Env{right, wrong} {
		var page struct {
			Data []usage.Record `json:"data"`
		}
		e.Admin(http.MethodGet, "/exchanges?limit=10", nil, &page)
		var listed []string
		for i := range page.Data {
			listed = append(listed, page.Data[len(page.Data)-1-i].ID)
		}
		if !slices.Equal(listed, asked) {
			t.Errorf("listed %q, asked %q", listed, asked)
		}
	}
	if got := wrong.Metric("penstock_clock_offset_seconds"); got > -89 || got < -91 {
		t.Errorf("the database's clock is %v s ahead, says the metric", got)
	}
	if testing.Short() {
		return
	}
	// It is told of what lasts for half a minute.
	for until := time.Now().Add(time.Minute); ; <-time.After(time.Second) {
		if isOpen(wrong, alert.ClockApart) {
			break
		}
		if time.Now().After(until) {
			t.Fatal("nobody was told")
		}
	}
	if isOpen(right, alert.ClockApart) {
		t.Error("the other replica's clock is said to be wrong")
	}
}

// isOpen reports whether an alert of a kind is open.
func isOpen(e *penstocktest.Env, kind alert.Kind) bool {
	var list struct {
		Data []alert.Alert `json:"data"`
	}
	e.Admin(http.MethodGet, "/alerts", nil, &list)
	return slices.ContainsFunc(list.Data, func(a alert.Alert) bool { return a.Kind == kind })
}
