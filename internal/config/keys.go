package config

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// future are keys of design.md and of its features that this version does not have. Whoever writes one expects an
// effect, so it is told apart from a typing error.
var future = []string{
	"access_key", "batch", "budget", "budgets", "cache", "collections", "compress",
	"console", "datasets", "evaluate", "experiments", "feedback", "files", "flow", "guard", "guards", "idempotency", "jobs",
	"limit", "location", "mcp", "memory", "optimize", "policies", "price", "prices", "profile", "project", "projects",
	"prompt", "prompts", "rates", "reconcile", "recommend", "redis", "replicas", "residency", "retrieve", "retries",
	"schedule", "secret_key", "session_token", "sso", "tenants", "tiers", "tools",
}

// otherWords are what the same setting is called elsewhere.
var otherWords = map[string]string{
	"address": "listen", "api_base": "base_url", "api_key": "credential", "apikey": "credential", "bind": "listen",
	"certificate": "cert", "database": "store", "deployments": "targets", "endpoint": "base_url", "fallbacks": "targets",
	"host": "listen", "logging": "log", "port": "listen", "proxies": "proxy", "strategy": "route", "timeout": "timeouts",
	"token": "credential", "tracing": "telemetry", "type": "dialect", "upstreams": "providers", "url": "base_url", "vendor_name": "vendor",
}

// unknownKey reports a key that the section does not have.
func (d *decoder) unknownKey(e entry, known []setting) {
	names := make([]string, len(known))
	for i, s := range known {
		names[i] = s.name
	}
	all := strings.Join(names, ", ")
	switch best := nearest(e.key, names); {
	case slices.Contains(names, otherWords[e.key]):
		d.reportKey(e.path, "unknown key", "here it is called "+otherWords[e.key])
	case slices.Contains(future, e.key):
		d.reportKey(e.path, "not in this version", "remove it; this version has: "+all)
	case best != "":
		d.reportKey(e.path, "unknown key", "did you mean "+best+"?")
	default:
		d.reportKey(e.path, "unknown key", "remove it; known are: "+all)
	}
}

// nearest gives the name that somebody who wrote word may have meant, "" if none is near.
func nearest(word string, names []string) string {
	best, least := "", 1+max(1, min(len(word), 9)/3)
	word = fold(word)
	for _, name := range names {
		have := fold(name)
		d := distance(word, have)
		if short := min(len(word), len(have)); short > 2 && word[:short] == have[:short] {
			d = min(d, 2) // warning and warn, listen_address and listen
		}
		if d < least {
			best, least = name, d
		}
	}
	return best
}

// fold makes firstToken and first-token the same as first_token.
func fold(word string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(word))
}

// distance counts the letters to insert, drop, replace or swap with their neighbour (optimal string alignment, in
// bytes). Words that differ much in length are not compared.
func distance(a, b string) int {
	const most = 64
	if len(a) > most || len(b) > most {
		return most
	}
	var rows [3][most + 1]int
	for j := range len(b) + 1 {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		row, last, before := &rows[i%3], &rows[(i+2)%3], &rows[(i+1)%3]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return rows[len(a)%3][len(b)]
}

// checkName says what is wrong with a name that an operator chose for a provider or a model; it becomes part of targets,
// records and metrics.
func checkName(name string) (text, hint string) {
	const most = 128
	switch {
	case name == "":
		return "an empty name", "give it one"
	case len(name) > most:
		return "a name of more than 128 bytes", "choose a shorter one"
	case strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return "a name with a space in it", "use letters, digits and any of . _ - / :"
	case looksSecret(name):
		return "a name that looks like a secret", "choose another name, and revoke the secret if it is one"
	}
	return "", ""
}

// showKey is how a key stands in a path: as it is, if that is safe and short.
func showKey(key string) string {
	const most = 128
	if looksSecret(key) {
		return hidden
	}
	odd := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	if key == "" || len(key) > most || strings.ContainsFunc(key, odd) {
		return quote(key)
	}
	return key
}
