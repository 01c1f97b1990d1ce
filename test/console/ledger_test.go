package console_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// The books are kept without scripts: what is unknown is settled, an export is compared, looked at in all looks, confirmed and written,
// and then the check says that all fits.
func TestTheBooksWithoutScripts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.furnish(); err != nil {
		t.Fatal(err)
	}
	b := open(t, w.admin)
	b.signIn(w.keys["operator"])
	b.run(emulation.SetScriptExecutionDisabled(true))
	judged := func(what string) { // by what needs scripts itself
		b.run(emulation.SetScriptExecutionDisabled(false))
		b.within(what)
		b.accessible(what)
		b.run(emulation.SetScriptExecutionDisabled(true))
	}

	b.open("ledger/unknown")
	b.arrive("one that is unknown", chromedp.Click(`a[href*="settle?id="]`))
	if status := b.arrive("a settlement of what is no amount", chromedp.SetValue("#amount", "a lot"), chromedp.SetValue("#reason", "x"), chromedp.Click(`main .danger`)); status != http.StatusBadRequest {
		t.Errorf("a mistake: %d", status)
	}
	judged("a settlement that was refused")
	b.arrive("settle", chromedp.SetValue("#amount", "0.001"), chromedp.SetValue("#reason", "the bill"), chromedp.Click(`main .danger`))
	if said := b.text(`[role="status"]`); !strings.Contains(said, "It is settled by entry") {
		t.Errorf("settled: %q at %s", said, b.at())
	}

	day := time.Now().UTC()
	var lines strings.Builder
	lines.WriteString("day,provider,model,cost_usd\n")
	for i := range 20 {
		fmt.Fprintf(&lines, "%s,sim,chat-large,%d.%02d\n", day.AddDate(0, 0, -i).Format(time.DateOnly), i%4, i*7%100)
		fmt.Fprintf(&lines, "%s,sim,web search <b>,0.1\n", day.AddDate(0, 0, -i).Format(time.DateOnly))
	}
	fmt.Fprintf(&lines, "%s,sim,lost?hidden_reasoning=300&cut=0:rst,0.05\n", day.Format(time.DateOnly))
	file := filepath.Join(t.TempDir(), "bill.csv")
	if err := os.WriteFile(file, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	b.open("reconcile")
	b.arrive("compare", chromedp.SetUploadFiles("#file", []string{file}), chromedp.Click(`input[name="unfinished"]`), chromedp.Click(`button[value="look"]`))
	if said := b.text(".verdict"); !strings.Contains(said, "lines drift") {
		t.Fatalf("%q", said)
	}
	judged("a comparison")
	if status := b.arrive("unconfirmed", chromedp.Click(`button[value="settle"]`)); status != http.StatusBadRequest {
		t.Errorf("unconfirmed: %d", status)
	}
	b.arrive("write", chromedp.Click(`input[name="confirm"]`), chromedp.Click(`button[value="settle"]`))
	// How often a call is tried, and whether it is one of these that was settled by hand, is not the same each time.
	if said := b.text(`[role="status"]`); !regexp.MustCompile(`^Settled \d calls at \$0\.0(49|5) together`).MatchString(said) {
		t.Errorf("%q", said)
	}
	judged("a comparison that was written")

	b.open("ledger/check")
	b.arrive("check", chromedp.Click(`form[action$="ledger/check"] button`))
	if said := b.text(".verdict"); !strings.Contains(said, "The books fit") {
		t.Errorf("%q", said)
	}
}
