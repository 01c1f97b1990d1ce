package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock/penstock/internal/admin"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/usage"
)

// keysTable is a table of the kind that key list prints.
func keysTable() table {
	t := table{head: []string{"PREFIX", "NAME", "MODELS", "COST", "ID"}, right: []string{"COST"}, text: []string{"NAME", "MODELS"}}
	t.add("psk_7f3abc", "checkout in the shop of the north", "gpt-5-mini,gpt-5,claude-haiku-4-5,claude-sonnet-4-5", "$1,204.10", "key_01K97K2QJ8W6T2Z3N5V4M1R0XY")
	t.add("psk_2b", "b", "all", "$0", "key_01K97K2QJ8W6T2Z3N5V4M1R0XZ")
	return t
}

func TestTables(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, `PREFIX      NAME                               MODELS                                                    COST  ID
psk_7f3abc  checkout in the shop of the north  gpt-5-mini,gpt-5,claude-haiku-4-5,claude-sonnet-4-5  $1,204.10  key_01K97K2QJ8W6T2Z3N5V4M1R0XY
psk_2b      b                                  all                                                         $0  key_01K97K2QJ8W6T2Z3N5V4M1R0XZ
`},
		{80, `PREFIX      NAME         MODELS             COST  ID
psk_7f3abc  checkout i…  gpt-5-mini,…  $1,204.10  key_01K97K2QJ8W6T2Z3N5V4M1R0XY
psk_2b      b            all                  $0  key_01K97K2QJ8W6T2Z3N5V4M1R0XZ
`},
		{59, `prefix: psk_7f3abc
name: checkout in the shop of the north
models: gpt-5-mini,gpt-5,claude-haiku-4-5,claude-sonnet-4-5
cost: $1,204.10
id: key_01K97K2QJ8W6T2Z3N5V4M1R0XY

prefix: psk_2b
name: b
models: all
cost: $0
id: key_01K97K2QJ8W6T2Z3N5V4M1R0XZ
`},
	} {
		tab := keysTable()
		if got := tab.lay(c.width); got != c.want {
			t.Errorf("%d columns:\n%s\nwant\n%s", c.width, got, c.want)
		}
	}
	tab := keysTable()
	if tab.lay(200) != tab.lay(0) {
		t.Error("a wide terminal shows something else than a file")
	}
}

// However narrow, ids and money are whole, and a table that can fit does.
func TestTablesAreCutInTextsOnly(t *testing.T) {
	t.Parallel()
	for width := 1; width <= 220; width++ {
		tab := keysTable()
		got := tab.lay(width)
		for _, whole := range []string{"psk_7f3abc", "$1,204.10", "key_01K97K2QJ8W6T2Z3N5V4M1R0XY", "key_01K97K2QJ8W6T2Z3N5V4M1R0XZ"} {
			if !strings.Contains(got, whole) {
				t.Errorf("%d columns: no %s", width, whole)
			}
		}
		for line := range strings.Lines(got) {
			if n := columns(strings.TrimSuffix(line, "\n")); width >= 73 && n > width { // 73 is what cannot give way
				t.Errorf("%d columns: a line of %d: %s", width, n, line)
			}
		}
	}
}

// Text that others made up stays in its cell and does not steer the terminal.
func TestHostileText(t *testing.T) {
	t.Parallel()
	tab := table{head: []string{"NAME", "ID"}, text: []string{"NAME"}}
	tab.add("\x1b[31mred\x1b[0m\r\n\tx\u202etxt\u009b2J\u200f", "id_1")
	tab.add("漢字", "id_2")
	tab.add("e\u0301te", "id_3")
	tab.add("broken \xff\xfe", "id_4")
	want := "NAME               ID\n[31mred[0m xtxt2J  id_1\n漢字               id_2\ne\u0301te                id_3\nbroken \ufffd\ufffd          id_4\n"
	if got := tab.lay(0); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	for _, s := range []string{"漢字漢字漢字", "abcdefghijk", "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301"} {
		if got := cut(s, 8); columns(got) > 8 || !strings.HasSuffix(got, "…") {
			t.Errorf("%s was cut to %s", s, got)
		}
	}
}

func TestPaint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tty     bool
		env     map[string]string
		painted bool
	}{
		{true, nil, true},
		{false, nil, false},
		{true, map[string]string{"NO_COLOR": "1"}, false},
		{true, map[string]string{"NO_COLOR": ""}, true},
		{true, map[string]string{"TERM": "dumb"}, false},
		{true, map[string]string{"TERM": "xterm"}, true},
	} {
		a := &app{env: func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }}
		if got := a.paint(c.tty, bad, "x"); (got != "x") != c.painted {
			t.Errorf("%v %v: %q", c.tty, c.env, got)
		}
	}
}

// Who made the mistake decides the exit code.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"version"}, exitClean, ""},
		{[]string{"--help"}, exitClean, ""},
		{[]string{"serv"}, exitUsage, "Unknown command"},
		{[]string{"usage", "--colour"}, exitUsage, "Unknown flag"},
		{[]string{"usage", "--csv", "--plot"}, exitUsage, "none of the others can be"},
		{[]string{"explain"}, exitUsage, "Accepts 1 arg"},
		{[]string{"key", "create"}, exitUsage, "Required flag"},
		{[]string{"project", "create", "x", "--label", "y"}, exitUsage, "--label cost_center=42"},
		{[]string{"config", "check", "-c", "testdata/nowhere.yaml"}, exitConfig, "nowhere.yaml"},
		{[]string{"config", "rollback", "-c", "testdata/nowhere.yaml"}, exitConfig, "nowhere.yaml"},
		{[]string{"price", "import", "testdata/nowhere.csv"}, exitFailure, "nowhere.csv"},
		{[]string{"usage", "--admin-url", "http://127.0.0.1:1", "--admin-key-file", "print_test.go"}, exitUnreachable, "No Penstock answers"},
		{[]string{"usage", "--admin-url", "http://127.0.0.1:1", "--admin-key-file", "nowhere.key"}, exitUnreachable, "nowhere.key"},
	} {
		var out, err bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &err, env: func(string) (string, bool) { return "", false }}
		if code := a.run(context.Background(), c.args); code != c.code || !strings.Contains(err.String(), c.says) {
			t.Errorf("%v: exit code %d, want %d:\n%s", c.args, code, c.code, &err)
		}
		if c.code != exitClean && strings.Count(err.String(), "\n") > 12 {
			t.Errorf("%v: too many words:\n%s", c.args, &err)
		}
	}
}

// An error without a code is a failure, not a mistake of usage.
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code int
	}{{nil, 0}, {errors.New("disk full"), exitFailure}, {fmt.Errorf("in: %w", fail(exitStore, "", "locked")), exitStore}} {
		parent, child := &cobra.Command{Use: "a"}, &cobra.Command{Use: "b", RunE: func(*cobra.Command, []string) error { return c.err }}
		parent.AddCommand(child)
		failures(parent)
		got := 0
		if e, ok := errors.AsType[*exitError](child.RunE(child, nil)); ok {
			got = e.code
		}
		if got != c.code {
			t.Errorf("%v: %d, want %d", c.err, got, c.code)
		}
	}
}

// printing runs f with an app that prints into a buffer.
func printing(tty bool, f func(a *app) error) (out, words string, err error) {
	var o, w bytes.Buffer
	err = f(&app{out: &o, err: &w, tty: tty, env: func(string) (string, bool) { return "dumb", true }})
	return o.String(), w.String(), err
}

func TestDaysWithoutCallsCostNothing(t *testing.T) {
	t.Parallel()
	day := func(date string, dollars llm.Money) usage.Sum {
		return usage.Sum{Group: map[string]string{"day": date}, CostNano: dollars * llm.Dollar}
	}
	got, first, last, err := daily([]usage.Sum{day("2026-03-01", 4), day("2026-02-26", 1), day("2026-02-27", 2)})
	if want := []float64{1, 2, 0, 4}; err != nil || fmt.Sprint(got) != fmt.Sprint(want) || first != "2026-02-26" || last != "2026-03-01" {
		t.Errorf("got %v from %s to %s, %v", got, first, last, err)
	}
	if got, _, _, err := daily([]usage.Sum{day("2026-03-01", 4)}); err != nil || fmt.Sprint(got) != "[4 4]" {
		t.Errorf("one day: %v, %v", got, err)
	}
	if _, _, _, err := daily([]usage.Sum{day("today", 4)}); err == nil {
		t.Error("no day is no error")
	}
}

// Piped, figures are exact; on a terminal they are for people. Names of projects do not replace users of the same text.
func TestUsageTable(t *testing.T) {
	t.Parallel()
	out := func() admin.Usage {
		return admin.Usage{
			GroupBy: []string{"project", "user"}, Names: map[string]string{"prj_1": "checkout"},
			Data: []usage.Sum{
				{Group: map[string]string{"project": "prj_1", "user": "prj_1"}, Requests: 2, CostNano: 1_000_000_001, Usage: llm.Usage{Input: 1_234_567}},
				{Group: map[string]string{"project": "prj_1", "user": ""}, Requests: 1, Unpriced: 1, Usage: llm.Usage{Output: 5}},
			},
		}
	}
	piped, words, err := printing(false, func(a *app) error { return a.usageTable(out(), total(out().Data)) })
	want := `PROJECT   USER   REQUESTS  ERRORS    INPUT  OUTPUT          COST  SHARE
checkout  prj_1         2       0  1234567       0  $1.000000001  100 %  ####################
checkout  –             1       0        0       5      unpriced    0 %
TOTAL                   3       0  1234567       5  $1.000000001
`
	if err != nil || piped != want || !strings.Contains(words, "1 requests are not, or not wholly, in the total") {
		t.Errorf("%v\n%s\nwant\n%s\n%s", err, piped, want, words)
	}
	shown, _, err := printing(true, func(a *app) error { return a.usageTable(out(), total(out().Data)) })
	if err != nil || !strings.Contains(shown, "1.23 M") || !strings.Contains(shown, "$1.0000") || strings.Contains(shown, "1234567") {
		t.Errorf("%v\n%s", err, shown)
	}
}

func TestStatusWords(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.Local)
	s := admin.Status{Version: "1", Started: at, ConfigLoaded: at, Ready: true, Models: 2, Providers: 1}
	got, _, err := printing(false, func(a *app) error { return a.printStatus(&s) })
	if err != nil || !strings.HasPrefix(got, "Ready. Penstock 1, up since Nov 24 09:00:00, 2 models over 1 provider.\n") || strings.Contains(got, "taken over") {
		t.Errorf("%v\n%s", err, got)
	}
	s.Ready, s.Reason, s.ConfigError = false, "keys cannot be checked", "p.yaml:1:1: x\n1 problem.\x1b[2J"
	got, _, err = printing(false, func(a *app) error { return a.printStatus(&s) })
	if err != nil || !strings.HasPrefix(got, "Not ready: keys cannot be checked. ") ||
		!strings.HasSuffix(got, "The file has changed and could not be taken over:\n  p.yaml:1:1: x\n  1 problem.[2J\n") {
		t.Errorf("%v\n%s", err, got)
	}
}

// A key that was taken over is known to nobody here: stdout stays empty.
func TestPrintKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key       admin.NewKey
		out, says string
	}{
		{admin.NewKey{Key: "psk_secret", Prefix: "psk_s"}, "psk_secret\n", "Key psk_s is made."},
		{admin.NewKey{Prefix: "sha256:a2b5d78b"}, "", "Key sha256:a2b5d78b is taken over"},
	} {
		out, words, err := printing(false, func(a *app) error { return a.printKey(&adminFlags{}, c.key) })
		if err != nil || out != c.out || !strings.Contains(words, c.says) || strings.Contains(words, "psk_secret") {
			t.Errorf("%v: %q, %q", err, out, words)
		}
	}
}

// What the API says of an error comes through without what could steer a terminal.
func TestRefusal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   string
		code   int
		what   string
		hint   string
	}{
		{400, `{"error":{"code":"x","message":"a\u001b[2Jb","hint":"c\u009bd"}}`, exitFailure, "a[2Jb", "cd"},
		{401, `{"error":{"code":"x","message":"m","hint":""}}`, exitUnreachable, "m", ""},
		{403, `{"error":{"code":"x","message":"m","hint":""}}`, exitUnreachable, "m", ""},
		{404, `{"error":{"code":"x","message":"m","hint":""}}`, exitFailure, "m", ""},
		{409, `{"error":{"code":"x","message":"m","hint":""}}`, exitFailure, "m", ""},
		{503, `{"error":{"code":"x","message":"m","hint":""}}`, exitUnreachable, "m", ""},
		{502, `<html>`, exitUnreachable, "http://x answered 502", "is --admin-url the control plane?"},
		{404, `404 page not found`, exitUnreachable, "http://x answered 404", "is --admin-url the control plane?"},
	} {
		e, ok := errors.AsType[*exitError](refusal("http://x", c.status, []byte(c.body)))
		if !ok || e.code != c.code || e.what != c.what || e.hint != c.hint {
			t.Errorf("%d %s: %+v", c.status, c.body, e)
		}
	}
}
