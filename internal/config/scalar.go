package config

import (
	"fmt"
	"math"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/penstock/penstock/internal/seal"
	"github.com/penstock/penstock/internal/store"

	"github.com/penstock/penstock/internal/alert"
)

// A check says what is wrong with a text and how to mend it; "" if nothing is. owner is the provider that the setting
// belongs to, "" for all other settings.
type check func(text, owner string) (problem, hint string)

// kinds are what a text can have to be, by the kind tag.
var kinds = map[string]check{
	"address": checkAddress, "path": checkPath, "url": checkURL, "proxy": checkProxy, "reference": checkReference,
	"store": checkStore, "keyring": checkKeyring, "wrapper": checkWrapper, "webhook": checkWebhook, "anchor": checkPath, "keyfile": checkKeyFile,
	"decimal": func(string, string) (problem, hint string) { return "", "" }, // whoever takes it reads it as an amount
	"share":   checkShare,
	"span":    func(string, string) (problem, hint string) { return "", "" }, // as decimal
}

// set reads a scalar into a field. node is what YAML would have made of the text.
func (s setting) set(v reflect.Value, path, text string, node ast.NodeType) (problem, hint string) {
	switch {
	case v.Type() == durationType:
		d, problem, hint := parseDuration(text, s.zero)
		v.SetInt(int64(d))
		return problem, hint
	case s.kind == "bytes":
		n, problem, hint := parseBytes(text, s.zero)
		v.SetInt(n)
		return problem, hint
	case v.Kind() == reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < s.least || n > s.most || isOctal(text) {
			return fmt.Sprintf("%s is not a whole number from %d to %d", quote(text), s.least, s.most), "write one, such as " + s.fallback
		}
		v.SetInt(n)
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return quote(text) + " is not true or false", boolHint(text)
		}
		v.SetBool(text == "true")
	case v.Kind() == reflect.String:
		v.SetString(text)
		return s.checkText(path, text, node)
	default:
		panic("config: no reading of " + v.Type().String() + " for " + path)
	}
	return "", ""
}

func (s setting) checkText(path, text string, node ast.NodeType) (problem, hint string) {
	if check := kinds[s.kind]; check != nil {
		return check(text, ownerOf(path))
	}
	plain := s.typ == reflect.TypeFor[string]()
	if plain && len(s.enum) > 0 && !slices.Contains(s.enum, text) {
		return quote(text) + " is not one of " + strings.Join(s.enum, ", "), meant(text, s.enum)
	}
	switch node {
	case ast.IntegerType, ast.FloatType, ast.BoolType, ast.InfinityType, ast.NanType:
		return text + " is not a text to YAML", "write " + strconv.Quote(text)
	}
	if text == "" && s.name != "" { // what somebody named himself may be empty
		return "is empty", "write a value, or remove the key"
	}
	return "", ""
}

// wants names what a setting takes, for a person.
func (s setting) wants(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration"
	case s.kind == "bytes":
		return "a size"
	case t.Kind() == reflect.Int:
		return "a number"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a text"
}

func boolHint(text string) string {
	switch strings.ToLower(text) {
	case "yes", "on", "y", "1", "true":
		return "write true"
	case "no", "off", "n", "0", "false":
		return "write false"
	}
	return "write true or false"
}

// meant is the hint with a near name, "" if none is near.
func meant(text string, names []string) string {
	if best := nearest(text, names); best != "" {
		return "did you mean " + best + "?"
	}
	return ""
}

// maxDuration is beyond any sensible setting, and far from where arithmetic overflows.
const maxDuration = 365 * 24 * time.Hour

func parseDuration(text string, zero bool) (d time.Duration, problem, hint string) {
	d, err := time.ParseDuration(strings.ReplaceAll(text, " ", ""))
	number, isNumber := strconv.ParseFloat(text, 64)
	switch {
	case isOctal(text):
		return 0, quote(text) + " starts with a zero, which some read as octal", "write it without"
	case isNumber == nil && number > 0 && number < 1e9:
		return 0, quote(text) + " has no unit", "write " + text + "s"
	case isNumber == nil && text != "0":
		return 0, quote(text) + " is not a duration", "write a number and one of ms, s, m, h, such as 30s"
	case err != nil:
		return 0, quote(text) + " is not a duration", durationHint(text)
	case d < 0:
		return 0, quote(text) + " is negative", "write a positive duration such as 30s"
	case d == 0 && !zero:
		return 0, quote(text) + " is no time at all", "write a positive duration such as 30s"
	case d > maxDuration:
		return 0, quote(text) + " is more than a year", "write a shorter duration"
	case strings.Contains(text, " "):
		return 0, quote(text) + " has a space in it", "write " + strings.ReplaceAll(text, " ", "")
	}
	return d, "", ""
}

// durationHint translates the units that other programs know.
func durationHint(text string) string {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 {
		return "write a number and one of ms, s, m, h, such as 30s"
	}
	switch strings.ToLower(strings.TrimSpace(text[len(digits):])) {
	case "d", "day", "days":
		return "write " + strconv.FormatInt(24*n, 10) + "h"
	case "sec", "secs", "second", "seconds":
		return "write " + digits + "s"
	case "min", "mins", "minute", "minutes":
		return "write " + digits + "m"
	}
	return "write a number and one of ms, s, m, h, such as 30s"
}

func parseBytes(text string, zero bool) (n int64, problem, hint string) {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	unit := strings.TrimSpace(text[len(digits):])
	number, err := strconv.ParseFloat(digits, 64)
	switch {
	case isOctal(digits):
		return 0, quote(text) + " starts with a zero, which some read as octal", "write it without"
	case err != nil, math.IsInf(number, 0):
		return 0, quote(text) + " is not a size", "write a number and one of KB, MB, GB, such as 20MB"
	case number < 0:
		return 0, quote(text) + " is negative", "write a positive size such as 20MB"
	case unit == "" && number != 0:
		return 0, quote(text) + " has no unit", "write " + suggestSize(number)
	}
	factor := int64(1)
	if number != 0 {
		i := slices.IndexFunc(sizes, func(s size) bool { return strings.EqualFold(s.unit, unit) })
		if i < 0 {
			return 0, quote(text) + " has an unknown unit", "write one of B, KB, MB, GB, KiB, MiB, GiB"
		}
		factor = sizes[i].n
	}
	switch total := number * float64(factor); {
	case total == 0 && !zero:
		return 0, quote(text) + " is nothing at all", "write a positive size such as 20MB"
	case total > math.MaxInt64/2:
		return 0, quote(text) + " is more than any machine has", "write a smaller size"
	default:
		return int64(total), "", ""
	}
}

// suggestSize reads a bare number as bytes, for the hint.
func suggestSize(n float64) string {
	if n < 1000 {
		return formatBytes(int64(n) * 1e6) // nobody limits a body to 20 bytes
	}
	if n > 1e12 {
		return "a size such as 20MB"
	}
	return formatBytes(int64(n))
}

// isOctal reports whether a number starts with a zero, which YAML 1.1 reads as octal and people do not.
func isOctal(text string) bool {
	return len(text) > 1 && text[0] == '0' && text[1] != '.' && strings.Trim(text, "0123456789_xob") == ""
}

func checkAddress(text, _ string) (problem, hint string) {
	const want = "write HOST:PORT, such as 127.0.0.1:8080 or :8080"
	host, port, err := net.SplitHostPort(text)
	switch {
	case strings.Contains(text, "://"):
		return quote(text) + " is a URL, not an address", want
	case err != nil:
		return quote(text) + " is not HOST:PORT", want
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || isOctal(port) && n != 0 {
		return "the port " + quote(port) + " is not a number from 0 to 65535", want
	}
	if strings.ContainsAny(host, " /@[]") {
		return quote(host) + " is not the name or address of a host", want
	}
	return "", ""
}

func checkPath(text, _ string) (problem, hint string) {
	if text == "" {
		return "is empty", "write a path, or remove the key"
	}
	return "", ""
}

func checkURL(text, _ string) (problem, hint string) {
	u, err := url.Parse(text)
	switch {
	case hasPassword(text):
		return "a literal secret", "write the address without user and password, name the secret in credential, and revoke this one"
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return quote(text) + " is not a URL", "write https://HOST/PATH"
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "a URL with more than host and path", "write https://HOST/PATH"
	case strings.HasSuffix(u.Path, "/chat/completions") || strings.HasSuffix(u.Path, "/embeddings"):
		return quote(text) + " names one route", "end it where the vendor's SDK has it end, for OpenAI's dialect with /v1"
	}
	return "", ""
}

func checkProxy(text, owner string) (problem, hint string) {
	if !strings.Contains(text, "://") {
		return checkReference(text, owner)
	}
	u, err := url.Parse(text)
	switch {
	case err == nil && u.User != nil, hasPassword(text):
		return "a literal secret", "write env:HTTPS_PROXY or file:PATH, and revoke this one"
	case err != nil || u.Host == "":
		return quote(text) + " is not a URL", "write http://HOST:PORT"
	case !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme):
		return quote(u.Scheme) + " is not a kind of proxy", "write http, https or socks5"
	}
	return "", ""
}

func checkWebhook(text, owner string) (problem, hint string) {
	if !strings.Contains(text, "://") {
		return checkReference(text, owner)
	}
	if u, err := url.Parse(text); err != nil || u.User != nil || u.RawQuery != "" || looksSecret(text) {
		return "a literal secret, or a URL that may hold one", "write env:NAME or file:PATH, and revoke this one"
	}
	if problem := alert.CheckURL(text); problem != "" {
		return quote(text) + " " + problem, "write https://HOST/PATH"
	}
	return "", ""
}

func checkStore(text, _ string) (problem, hint string) {
	scheme, path, found := strings.Cut(text, ":")
	switch {
	case hasPassword(text):
		return "a literal secret", "write the address without password, and revoke this one"
	case scheme == "postgres" || scheme == "postgresql":
		return checkPostgres(text)
	case !found || scheme != "sqlite":
		return quote(text) + " is not a store", "write sqlite:PATH or postgres://USER@HOST/DATABASE"
	case path == "" || strings.HasPrefix(path, ":memory:"):
		return "the store has no file", "write sqlite:PATH"
	case strings.Contains(path, "?"):
		return "options behind the store's path", "write sqlite:PATH alone; Penstock sets the options"
	}
	return "", ""
}

func checkPostgres(text string) (problem, hint string) {
	if u, err := url.Parse(text); err == nil && u.Query().Has("password") {
		return "a literal secret", "name it in store_password instead, and revoke this one"
	}
	if err := store.CheckPostgres(text); err != nil {
		return "the store " + err.Error(), "write postgres://USER@HOST/DATABASE; name the password in store_password, or leave it to PGPASSWORD or PGPASSFILE"
	}
	return "", ""
}

func checkKeyring(text, _ string) (problem, hint string) {
	scheme, path, found := strings.Cut(text, ":")
	if !found || scheme != "file" || path == "" {
		return quote(text) + " is not a place for the key ring", "write file:PATH"
	}
	return "", ""
}

func checkWrapper(text, _ string) (problem, hint string) {
	if _, err := seal.NewWrapper(text); err != nil {
		return err.Error(), "write file:PATH or exec:/PATH/OF/COMMAND"
	}
	return "", ""
}

func checkKeyFile(text, _ string) (problem, hint string) {
	scheme, path, found := strings.Cut(text, ":")
	if !found || scheme != "file" || path == "" {
		return quote(text) + " is not a place for a key", "write file:PATH"
	}
	return "", ""
}

// ownerOf is the provider that a path belongs to, "" for other paths.
func ownerOf(path string) string {
	rest, found := strings.CutPrefix(path, "providers.")
	if !found {
		return ""
	}
	if strings.HasSuffix(rest, "]") { // one of a list
		rest = parent(rest)
	}
	return parent(rest)
}
