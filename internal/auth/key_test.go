package auth

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestNewKey(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^psk_[1-9A-HJ-NP-Za-km-z]{44}$`)
	seen := map[string]bool{}
	var used [256]bool
	for range 2000 {
		key, prefix := NewKey()
		if !form.MatchString(key) || prefix != key[:10] || checkForm(key) != nil {
			t.Fatalf("%q, %q", key, prefix)
		}
		if seen[key] {
			t.Fatalf("%q twice", key)
		}
		seen[key] = true
		for _, c := range []byte(key[5:]) { // the first character holds only the topmost bits
			used[c] = true
		}
	}
	for _, c := range []byte(alphabet) {
		if !used[c] {
			t.Errorf("%q is in no key of 2000", c)
		}
	}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		glob, name string
		want       bool
	}{
		{"gpt-5", "gpt-5", true},
		{"gpt-5", "gpt-5-mini", false},
		{"gpt-5*", "gpt-5", true},
		{"gpt-5*", "gpt-5-mini", true},
		{"*", "", true},
		{"*", "openai/gpt-5", true},
		{"openai/*", "openai/gpt-5", true},
		{"router/*", "router/meta/llama", true},
		{"*-mini", "openai/gpt-5-mini", true},
		{"*-mini", "gpt-5-mini-2", false},
		{"a*b*b", "ab", false},
		{"a*b*b", "abb", true},
		{"a**b", "ab", true},
		{"", "", true},
		{"", "a", false},
		{"GPT-5", "gpt-5", false},
	} {
		if got := match(tt.glob, tt.name); got != tt.want {
			t.Errorf("%q on %q: got %v", tt.glob, tt.name, got)
		}
	}
}

func TestMatchIsWhatARegularExpressionSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		glob := rapid.StringMatching(`[ab/*]{0,8}`).Draw(t, "glob")
		name := rapid.StringMatching(`[ab/]{0,8}`).Draw(t, "name")
		re := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, ".*") + "$")
		if got, want := match(glob, name), re.MatchString(name); got != want {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

func TestLiveIsHalfOpen(t *testing.T) {
	t.Parallel()
	at := time.Unix(1000, 0)
	for _, k := range []Key{{Expires: at}, {Revoked: at}, {Expires: at, Revoked: at.Add(time.Hour)}, {Expires: at.Add(time.Hour), Revoked: at}} {
		if !k.Live(at.Add(-1)) || k.Live(at) || k.Live(at.Add(1)) {
			t.Errorf("%+v", k)
		}
	}
	if !(&Key{}).Live(at) {
		t.Error("a key without end has one")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if p := DefaultConfig().Validate(); p != nil {
		t.Errorf("the default: %v", p)
	}
	for d, want := range map[time.Duration]string{
		2 * time.Second: "", time.Minute: "",
		0:                       "auth.max_stale: 0s is out of range (write a span from 2s to 1m0s)",
		-5 * time.Second:        "auth.max_stale: -5s is out of range (write a span from 2s to 1m0s)",
		1999 * time.Millisecond: "auth.max_stale: 1.999s is out of range (write a span from 2s to 1m0s)",
		61 * time.Second:        "auth.max_stale: 1m1s is out of range (write a span from 2s to 1m0s)",
	} {
		got := ""
		if p := (Config{MaxStale: d}).Validate(); len(p) > 0 {
			got = p[0].Error()
		}
		if got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
