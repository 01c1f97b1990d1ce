package secret

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	const value = "sk-hunter2-hunter2"
	s := New(value)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T%v"} {
		in := []any{s}
		if strings.HasPrefix(verb, "%T") {
			in = []any{s, s}
		}
		if out := fmt.Sprintf(verb, in...); strings.Contains(out, "hunter2") || strings.Contains(out, fmt.Sprintf("%x", value)) {
			t.Errorf("%s prints %s", verb, out)
		}
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", s, "in", struct{ Key String }{s}, "p", &s)
	b, err := json.Marshal(map[string]any{"key": s, "in": struct{ Key String }{s}})
	wrapped := fmt.Errorf("call with %v: %w", s, errors.New("no"))
	for _, out := range []string{log.String(), string(b), wrapped.Error(), fmt.Sprint(struct{ s String }{s}), fmt.Sprintf("%+v", []String{s})} {
		if err != nil || strings.Contains(out, "hunter2") {
			t.Errorf("leaks (%v): %s", err, out)
		}
	}
	if s.Reveal() != value {
		t.Error("Reveal gives the value")
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	s := New("sk-hunter2-hunter2")
	in := "Incorrect key sk-hunter2-hunter2, sk-hunter2-hunter2"
	if got, want := s.Redact(in), "Incorrect key [redacted], [redacted]"; got != want || string(s.RedactBytes([]byte(in))) != want {
		t.Errorf("got %q", got)
	}
	if got := New("short").Redact("a short text"); got != "a short text" {
		t.Errorf("a short secret blots out %q", got)
	}
	if got := (String{}).Redact("text"); got != "text" || !(String{}).IsZero() {
		t.Errorf("no secret blots out %q", got)
	}
}
