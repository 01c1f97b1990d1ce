package admin

import (
	"slices"
	"testing"
)

// What reads all that there is, or writes an entry for each of many calls, may take longer than the minute that other answers have.
func TestWhatMayTakeLong(t *testing.T) {
	t.Parallel()
	var slow []string
	for _, e := range Endpoints() {
		if e.Slow {
			slow = append(slow, e.Method+" "+e.Path)
		}
	}
	want := []string{"GET /admin/v1/ledger/check", "GET /admin/v1/ledger/close", "POST /admin/v1/reconcile"}
	if !slices.Equal(slow, want) {
		t.Errorf("%q, want %q", slow, want)
	}
}
