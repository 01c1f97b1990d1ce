package config

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hidden stands for a text that may be a secret.
const hidden = "[hidden]"

// quote is how a text from the file is repeated in a message: short, on one line, and not at all if it looks like a
// secret. A key pasted into the wrong place must not reach a terminal, a log or a CI page through our own message.
func quote(s string) string {
	const most = 60
	if looksSecret(s) {
		return hidden
	}
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most]) + "..."
	}
	return strconv.Quote(s)
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// censor hides in another package's message what looks like a secret.
func censor(message string) string {
	return quoted.ReplaceAllStringFunc(message, func(q string) string {
		if s, err := strconv.Unquote(q); err == nil && !looksSecret(s) {
			return q
		}
		return hidden
	})
}

// secretPrefixes are how vendors mark their keys.
var secretPrefixes = []string{
	"sk-", "sk_", "pk-", "pk_", "rk_", "psk_", "key-", "AIza", "AKIA", "ASIA", "ghp_", "gho_", "ghs_", "github_pat_",
	"glpat-", "xox", "hf_", "gsk_", "xai-", "nvapi-", "r8_", "pplx-", "tgp_", "eyJ", "Bearer ", "Basic ", "-----BEGIN",
}

var uuid = regexp.MustCompile(`(?i)^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// looksSecret errs on the side of hiding: a vendor's prefix, a URL with a password, a UUID, or a long run of letters mixed
// with digits, which names of models and machines do not have.
func looksSecret(s string) bool {
	s = strings.TrimSpace(s)
	for _, p := range secretPrefixes {
		if len(s) >= len(p)+8 && strings.HasPrefix(s, p) {
			return true
		}
	}
	return uuid.MatchString(s) || hasPassword(s) || hasLongRun(s)
}

// hasPassword reports whether s is a URL with anything before an @.
func hasPassword(s string) bool {
	_, rest, found := strings.Cut(s, "://")
	if !found {
		return false
	}
	authority, _, _ := strings.Cut(rest, "/")
	user, _, found := strings.Cut(authority, "@")
	if !found {
		return false
	}
	if u, err := url.Parse(s); err == nil && u.User != nil {
		_, set := u.User.Password()
		return set || looksSecret(u.User.Username())
	}
	return strings.Contains(user, ":")
}

// hasLongRun reports whether s has 20 letters and digits in a row, both kinds among them.
func hasLongRun(s string) bool {
	const long = 20
	run, letters, digits := 0, false, false
	for _, r := range s {
		switch {
		case unicode.IsDigit(r):
			digits = true
		case unicode.IsLetter(r):
			letters = true
		case r == '+' || r == '=':
		default:
			run, letters, digits = 0, false, false
			continue
		}
		if run++; run >= long && letters && digits {
			return true
		}
	}
	return false
}
