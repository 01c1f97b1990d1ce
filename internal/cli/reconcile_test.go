package cli

import (
	"errors"
	"strings"
	"testing"
)

func TestExportsAreText(t *testing.T) {
	t.Parallel()
	a := &app{in: strings.NewReader("PK\x03\x04\xff\xfe")}
	if _, err := a.readExport("-"); err == nil || !strings.Contains(err.Error(), "not text") {
		t.Errorf("a packed file: %v", err)
	}
	for _, nothing := range []string{"", " \n\t\r\n", "\ufeff\n"} {
		a.in = strings.NewReader(nothing)
		var e *exitError
		if _, err := a.readExport("-"); !errors.As(err, &e) || e.code != exitUsage || !strings.Contains(e.what, "empty") || e.hint == "" {
			t.Errorf("%q: %v", nothing, err)
		}
	}
	a.in = strings.NewReader("day,provider\n")
	if text, err := a.readExport("-"); err != nil || string(text) != "day,provider\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestCounted(t *testing.T) {
	t.Parallel()
	for n, want := range map[int64]string{0: "0 calls", 1: "1 call", 2: "2 calls", 2000: "2,000 calls"} {
		if got := counted(n, "call", "calls"); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}
