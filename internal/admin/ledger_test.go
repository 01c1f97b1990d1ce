package admin_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/penstocktest"
)

// The books are corrected for a provider that is configured, or that is owed something from when it was; not for a slip of the pen.
func TestCorrectionsAreForProvidersThatAreKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, penstocktest.Options{})
	adjust := func(provider string) answer {
		return w.call(http.MethodPost, "/admin/v1/ledger/adjust", w.AdminKey, fmt.Sprintf(`{"project":"home","provider":%q,"amount":"0.01","reason":"late"}`, provider))
	}
	refused := func(provider, known string) {
		t.Helper()
		a := adjust(provider)
		e := a.refusal(t)
		want := fmt.Sprintf("There is no provider %q, in the configuration or in the books: %s.", provider, known)
		if a.status != http.StatusBadRequest || e.Message != want || !strings.HasPrefix(e.Hint, "Nothing was booked.") {
			t.Errorf("%d %s\nwant %s", a.status, a.body, want)
		}
	}
	for _, wrong := range []string{"bogus", "SIM-A", "sim", "*", "sim-a/m"} {
		refused(wrong, "there are sim-a and sim-b")
	}
	if books := get[pageOf[admin.LedgerEntry]](w, "/ledger"); len(books.Data) != 0 {
		t.Fatalf("booked: %+v", books.Data)
	}
	if a := adjust("sim-a"); a.status != http.StatusOK { // it is configured; nobody has called it yet
		t.Fatalf("%d %s", a.status, a.body)
	}
	w.WriteConfig(regexp.MustCompile(`(?m)^  sim-.*\n`).ReplaceAllString(penstocktest.Config, "") +
		"  other: { dialect: openai, base_url: \"http://%SIM%/sim-b/v1\", vendor: none }\n")
	w.Restart()
	if a := adjust("sim-a"); a.status != http.StatusOK { // it is owed what was booked before
		t.Errorf("%d %s", a.status, a.body)
	}
	refused("sim-b", "there are other and sim-a")
}
