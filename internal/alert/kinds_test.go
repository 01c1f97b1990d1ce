package alert

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/reference/alerts.md anew")

const page = `# Alerts

For whoever was told of one at night. Generated from ` + "`internal/alert/kinds.go`" + ` by ` + "`go test ./internal/alert -update`" + `; do not edit it.

How one is told, and how a receiver reads it: [alerts.md](../alerts.md). What is open now: ` + "`penstock alert list`" + `. *After* is how long the
condition must hold before anybody is told, *over* how long it must be away until that is told too; each time that it comes back
within the hour the latter doubles.

| kind | severity | about | after | over |
| --- | --- | --- | --- | --- |
`

// The page of kinds is made from their table, with an anchor for each: runbooks lead there.
func TestAlertsReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	const file = "../../docs/reference/alerts.md"
	var b strings.Builder
	b.WriteString(page)
	for _, m := range Kinds() {
		about := m.Object
		if about == "" {
			about = "the process"
		}
		fmt.Fprintf(&b, "| [`%s`](#%[1]s) | %s | %s | %s | %s |\n", m.Kind, m.Severity, about, words(m.For), words(m.Calm))
	}
	for _, m := range Kinds() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\nDo: %s\n", m.Kind, m.Means, m.Do)
	}
	b.WriteString("\nNext: [metrics](metrics.md), for alerts that Prometheus makes.\n")
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(file); err != nil || string(have) != b.String() {
		t.Errorf("%s is not current (%v): go test ./internal/alert -update", file, err)
	}
}

func words(d time.Duration) string {
	if d == 0 {
		return "at once"
	}
	if d < time.Minute {
		return d.String()
	}
	return strings.TrimSuffix(d.String(), "0s")
}

func TestEveryKindSaysWhatToDo(t *testing.T) {
	t.Parallel()
	seen := map[Kind]bool{}
	for _, m := range Kinds() {
		if m.Means == "" || m.Do == "" || !strings.HasSuffix(m.Means, ".") || m.Severity.rank() < 0 || seen[m.Kind] || strings.Contains(string(m.Kind), ".") {
			t.Errorf("%+v", m)
		}
		seen[m.Kind] = true
	}
}
