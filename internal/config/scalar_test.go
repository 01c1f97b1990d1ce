package config

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "500ms": 500 * time.Millisecond, "1.5s": 1500 * time.Millisecond,
		"+3s": 3 * time.Second, "8760h": maxDuration,
	} {
		if got, problem, _ := parseDuration(text, false); got != want || problem != "" {
			t.Errorf("%s: got %s, %q", text, got, problem)
		}
	}
	for text, hint := range map[string]string{
		"30": "write 30s", "1.5": "write 1.5s", "30 s": "write 30s", "2d": "write 48h", "5min": "write 5m", "10 seconds": "write 10s",
		"010": "write it without", "8761h": "write a shorter duration", "": "write a number and one of ms, s, m, h, such as 30s",
		"NaN": "write a number and one of ms, s, m, h, such as 30s", "9d9": "write a number and one of ms, s, m, h, such as 30s",
	} {
		if _, problem, got := parseDuration(text, false); problem == "" || got != hint {
			t.Errorf("%s: got %q and the hint %q, want %q", text, problem, got, hint)
		}
	}
	if d, problem, _ := parseDuration("0s", true); d != 0 || problem != "" {
		t.Errorf("a permitted 0s: %s", problem)
	}
}

func TestParseBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"20MB": 20e6, "64KiB": 64 << 10, "1.5 mib": 3 << 19, "1GB": 1e9, "7B": 7, "1e3KB": 1e6,
	} {
		if got, problem, _ := parseBytes(text, false); got != want || problem != "" {
			t.Errorf("%s: got %d, %q", text, got, problem)
		}
	}
	for text, hint := range map[string]string{
		"20": "write 20MB", "20000000": "write 20MB", "20971520": "write 20MiB", "1e18": "write a size such as 20MB",
		"20M": "write one of B, KB, MB, GB, KiB, MiB, GiB", "": "write a number and one of KB, MB, GB, such as 20MB",
		"InfMB": "write a number and one of KB, MB, GB, such as 20MB", "0MB": "write a positive size such as 20MB",
	} {
		if _, problem, got := parseBytes(text, false); problem == "" || got != hint {
			t.Errorf("%s: got %q and the hint %q, want %q", text, problem, got, hint)
		}
	}
}

// What is shown is what would be read.
func TestFormattingReadsBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(1, int64(maxDuration)).Draw(t, "d"))
		if rapid.Bool().Draw(t, "whole") {
			d = d.Round(time.Second) + time.Second
		}
		if got, problem, _ := parseDuration(formatDuration(d), false); d <= maxDuration && (got != d || problem != "") {
			t.Errorf("%d: %s reads as %d, %s", d, formatDuration(d), got, problem)
		}
		unit := rapid.SampledFrom(sizes).Draw(t, "unit").n
		n := unit * rapid.Int64Range(1, 1<<20).Draw(t, "n")
		if got, problem, _ := parseBytes(formatBytes(n), false); got != n || problem != "" {
			t.Errorf("%d: %s reads as %d, %s", n, formatBytes(n), got, problem)
		}
	})
}

func TestTextReadsBackFromYAML(t *testing.T) {
	t.Parallel()
	special := rapid.SampledFrom([]string{"yes", "null", "0x1F", "1_000", "12:30", "2026-01-01", ":", "#", "- a", "a: b", "a #b", "*x", "true", ".5", "~", "@"})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), special, rapid.StringMatching(`[a-z0-9./:-]{1,12}`)).Draw(t, "text")
		if looksSecret(text) || strings.ContainsRune(text, '\ufffd') || text == "" {
			t.Skip("hidden, or not what a file can hold")
		}
		var got File
		d := &decoder{places: map[string]place{}}
		d.decode([]byte("providers: { p: { region: "+scalarYAML(text)+" } }"), &got)
		if len(d.list) > 0 || got.Providers["p"].Region != text {
			t.Errorf("%q is written as %s and reads as %q, %v", text, scalarYAML(text), got.Providers["p"].Region, d.list)
		}
	})
}

// distance is compared with its definition, written down without cleverness.
func TestDistance(t *testing.T) {
	t.Parallel()
	var slow func(a, b string) int
	slow = func(a, b string) int {
		if a == "" || b == "" {
			return len(a) + len(b)
		}
		d := 1 + min(slow(a[1:], b), slow(a, b[1:]), slow(a[1:], b[1:]))
		if a[0] == b[0] {
			d = min(d, slow(a[1:], b[1:]))
		}
		if len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0] {
			d = min(d, 1+slow(a[2:], b[2:]))
		}
		return d
	}
	word := rapid.StringMatching(`[abc]{0,6}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		if got, want := distance(a, b), slow(a, b); got != want {
			t.Errorf("%q, %q: got %d, want %d", a, b, got, want)
		}
	})
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"listen", "timeouts", "first_token", "log", "warn"}
	for word, want := range map[string]string{
		"lisetn": "listen", "timeout": "timeouts", "firstToken": "first_token", "First-Token": "first_token", "warning": "warn",
		"listen_address": "listen", "logs": "log", "colour": "", "x": "", "": "", strings.Repeat("listen", 20): "listen",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
