package admin_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/auth"
	"github.com/penstock/penstock/internal/penstocktest"
	"github.com/penstock/penstock/internal/reconcile"
)

// The bound of an export is of the file's own bytes, though JSON has some of them as several.
func TestALargeExport(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	const head = "day,provider,model,cost_usd\n2026-11-01,sim-b,m,1\n"
	for extra, want := range map[int]int{0: http.StatusOK, 1: http.StatusRequestEntityTooLarge} {
		file := head + strings.Repeat("\n", reconcile.MaxFile-len(head)+extra)
		body, err := json.Marshal(admin.ReconcileInput{File: file})
		if err != nil {
			t.Fatal(err)
		}
		a := w.call(http.MethodPost, "/admin/v1/reconcile", w.keys[auth.RoleAdmin], string(body))
		if a.status != want {
			t.Errorf("%d bytes, %d in JSON: %d %.200s, want %d", len(file), len(body), a.status, a.body, want)
		}
		if want != http.StatusOK {
			if r := a.refusal(t); !strings.Contains(r.Message, "12 MiB are the most") {
				t.Errorf("%+v", r)
			}
		}
	}
}
