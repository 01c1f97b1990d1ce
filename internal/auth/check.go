package auth

import (
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/fault"
)

// Bounds of what tenants may name and set.
const (
	maxName    = 64 // characters
	maxLabels  = 32
	maxValue   = 256 // characters of a label's value
	maxGlobs   = 100
	maxGlob    = 128 // characters
	maxRegions = 16
	maxRegion  = 64 // characters of a glob on regions
	maxSpan    = 100 * 365 * 24 * time.Hour
	maxOverlap = 365 * 24 * time.Hour
)

// mistakes gathers all that is wrong with an input, so that its author learns it at once.
type mistakes []fault.Problem

// add notes a mistake, unless text is "".
func (m *mistakes) add(path, text, hint string) {
	if text != "" {
		*m = append(*m, fault.Problem{Path: path, Text: text, Hint: hint})
	}
}

// fault is nil if there are no mistakes.
func (m mistakes) fault() error {
	if len(m) == 0 {
		return nil
	}
	if len(m) == 1 {
		f := fault.New(fault.InvalidRequest, "%s: %s.", m[0].Path, m[0].Text)
		f.Param, f.Hint = m[0].Path, sentence(m[0].Hint)
		return f
	}
	lines := make([]string, len(m))
	for i, p := range m {
		lines[i] = p.Error()
	}
	f := fault.New(fault.InvalidRequest, "%d mistakes: %s.", len(m), strings.Join(lines, "; "))
	f.Param, f.Hint = m[0].Path, "Nothing was changed."
	return f
}

func sentence(s string) string {
	if s == "" {
		return "Nothing was changed."
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// nameHint says what a name may be.
var nameHint = fmt.Sprintf("use 1 to %d letters, digits, spaces and signs, beginning with a letter or digit", maxName)

// badName says what is wrong with the name of an organisation, project or key; "" if nothing is. Names begin with a letter
// or digit, so that they are never taken for a flag or a formula, and do not look like ids.
func badName(s string) string {
	first, _ := utf8.DecodeRuneInString(s)
	switch {
	case s == "":
		return "is empty"
	case !utf8.ValidString(s):
		return "is not UTF-8"
	case utf8.RuneCountInString(s) > maxName:
		return fmt.Sprintf("has %d characters, limit %d", utf8.RuneCountInString(s), maxName)
	case strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return fmt.Sprintf("%+q has a character that cannot be seen", s)
	case !unicode.IsLetter(first) && !unicode.IsDigit(first):
		return fmt.Sprintf("%q begins with %q", s, first)
	case strings.HasSuffix(s, " "):
		return fmt.Sprintf("%q ends with a space", s)
	case strings.HasPrefix(s, projectStart) || strings.HasPrefix(s, keyIDStart) || strings.HasPrefix(s, keyStart):
		return fmt.Sprintf("%q looks like an id or a key", s)
	}
	return ""
}

// project notes what is wrong with a project.
func (m *mistakes) project(p *Project) {
	m.add("name", badName(p.Name), nameHint)
	m.add("org", badName(p.Org), nameHint)
	m.labels(p.Labels)
	m.bodies(p)
	m.regions(p.Regions)
}

// labels notes what is wrong with labels.
func (m *mistakes) labels(labels map[string]string) {
	if len(labels) > maxLabels {
		m.add("labels", fmt.Sprintf("are %d, limit %d", len(labels), maxLabels), "")
		return
	}
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		path := fmt.Sprintf("labels[%q]", name)
		if len(name) == 0 || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !labelRune(r) }) {
			m.add(path, "is not a label's name", fmt.Sprintf("use 1 to %d of a-z, 0-9, _ . and -, as in cost_center", maxName))
		}
		v := labels[name]
		switch n := utf8.RuneCountInString(v); {
		case n > maxValue:
			m.add(path, fmt.Sprintf("has a value of %d characters, limit %d", n, maxValue), "")
		case !utf8.ValidString(v) || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }):
			m.add(path, "has a value with a character that cannot be seen", "")
		}
	}
}

func labelRune(r rune) bool {
	return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || strings.ContainsRune("_.-", r)
}

// globs notes what is wrong with globs on model names.
func (m *mistakes) globs(globs []string) {
	if len(globs) > maxGlobs {
		m.add("models", fmt.Sprintf("are %d, limit %d", len(globs), maxGlobs), "")
		return
	}
	for i, g := range globs {
		m.add(fmt.Sprintf("models[%d]", i), badGlob(g, maxGlob, "model's name"), "write a model's name; * stands for any characters, as in openai/*")
	}
}

// regions notes what is wrong with globs on regions; none are anywhere.
func (m *mistakes) regions(globs []string) {
	if len(globs) > maxRegions {
		m.add("regions", fmt.Sprintf("are %d, limit %d", len(globs), maxRegions), "")
		return
	}
	for i, g := range globs {
		m.add(fmt.Sprintf("regions[%d]", i), badGlob(g, maxRegion, "region here"),
			"write a region as the configuration calls it; * stands for any characters, as in eu-*")
	}
}

// badGlob says what is wrong with a glob on names of some kind; "" if nothing is.
func badGlob(g string, limit int, kind string) string {
	switch {
	case g == "":
		return "is empty"
	case utf8.RuneCountInString(g) > limit:
		return fmt.Sprintf("has %d characters, limit %d", utf8.RuneCountInString(g), limit)
	case !utf8.ValidString(g) || strings.ContainsFunc(g, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' || r == ',' }):
		return fmt.Sprintf("%+q has a character that no %s has", g, kind)
	case strings.ContainsAny(g, `?[]{}\`):
		return fmt.Sprintf("%q has a sign of other patterns, which means nothing here", g)
	}
	return ""
}

// span notes what is wrong with a span of time that is to begin now; 0 is none.
func (m *mistakes) span(path string, d, limit time.Duration, hint string) {
	switch {
	case d < 0:
		m.add(path, fmt.Sprintf("%v lies in the past", d), hint)
	case d > limit:
		m.add(path, fmt.Sprintf("%v is longer than %d days", d, limit/(24*time.Hour)), hint)
	}
}

// role notes a role that is not known.
func (m *mistakes) role(r Role) {
	if !r.Known() {
		names := make([]string, 0, len(may))
		for _, known := range Roles() {
			names = append(names, string(known))
		}
		m.add("role", fmt.Sprintf("%q is not a role", r), "write one of "+strings.Join(names, ", "))
	}
}

// bodies notes what is wrong with how bodies are kept.
func (m *mistakes) bodies(p *Project) {
	switch {
	case p.Bodies != BodiesNone && p.Bodies != BodiesKeep:
		m.add("bodies", fmt.Sprintf("%q is not known", p.Bodies), "write none or keep")
	case p.Bodies == BodiesNone && p.Retention != 0:
		m.add("retention", "is set although bodies are not kept", "leave it out, or set bodies to keep")
	case p.Bodies == BodiesKeep && p.Retention <= 0:
		m.add("retention", "is missing", "say how long bodies are kept, such as 30d")
	case p.Bodies == BodiesKeep:
		m.span("retention", p.Retention, maxSpan, "write a shorter one")
	}
}

// sha256Of reads the SHA-256 of another gateway's key.
func (m *mistakes) sha256Of(text string) (sum [32]byte) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(sum) {
		m.add("sha256", "is not a SHA-256", "write the 64 hex digits of the key's SHA-256")
		return sum
	}
	copy(sum[:], b)
	if sum == [32]byte{} || hex.EncodeToString(b) == emptySHA256 {
		m.add("sha256", "is that of an empty key", "take it of the key itself")
	}
	return sum
}

// emptySHA256 is the SHA-256 of nothing: what a script with an unset variable sends.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
