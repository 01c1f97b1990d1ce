package console

import (
	"testing"
	"time"

	"github.com/penstock/penstock/internal/auth"
)

// Control 7: a session ends after its time, and earlier if nothing is opened in it, however its cookie is kept.
func TestControl7SessionsEnd(t *testing.T) {
	t.Parallel()
	begun := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		seen, now time.Duration // since the sign in
		open      bool
	}{
		"at once":                   {0, 0, true},
		"shortly before it is idle": {0, sessionIdle - time.Second, true},
		"idle":                      {0, sessionIdle, false},
		"in use":                    {11 * time.Hour, 11*time.Hour + 20*time.Minute, true},
		"in use for too long":       {sessionLife - time.Minute, sessionLife, false},
	} {
		s := Session{issued: begun, seen: begun.Add(c.seen)}
		if got := s.lives(begun.Add(c.now)); got != c.open {
			t.Errorf("%s: open is %t", name, got)
		}
		decoded, ok := decodeSession(s.encode())
		if !ok || decoded.lives(begun.Add(c.now)) != c.open {
			t.Errorf("%s: not the same once it was sent", name)
		}
	}
}

func TestStateOf(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC)
	past, soon, later := now.Add(-time.Hour), now.Add(time.Hour), now.Add(48*time.Hour)
	for name, c := range map[string]struct {
		expires, revoked time.Time
		class, word      string
		until            time.Time
	}{
		"without end":        {class: "ok", word: "active"},
		"with an end":        {expires: soon, class: "ok", word: "active", until: soon},
		"rotated":            {revoked: soon, class: "warn", word: "replaced, ends", until: soon},
		"rotated, ends soon": {expires: soon, revoked: later, class: "warn", word: "replaced, ends", until: soon},
		"revoked":            {expires: later, revoked: past, class: "off", word: "revoked", until: past},
		"expired":            {expires: past, class: "off", word: "expired", until: past},
	} {
		got := stateOf(&auth.Key{Expires: c.expires, Revoked: c.revoked}, now)
		if got.Class != c.class || got.Word != c.word || !got.Until.Equal(c.until) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
