package limit

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
	"github.com/penstock/penstock/internal/window"
)

// Bounds of what may be said.
const (
	// MaxDefinitions is how many budgets, limits and tiers there are at most, all together.
	MaxDefinitions = 10_000
	// MaxAssigned is how many projects, keys and end users are given a tier by name.
	MaxAssigned = 100_000
	// MaxAmount is the largest amount of a budget, in nano-dollars or tokens: a billion dollars. Sums of some stay within 64 bits.
	MaxAmount = 1_000_000_000_000_000_000
	// MaxRate is the largest amount of a limit.
	MaxRate = 1_000_000_000_000

	maxName  = 64  // characters of a tier
	maxUser  = 512 // bytes of an end user, as the gateway takes them
	maxGlob  = 128 // characters
	maxGlobs = 100
	maxTag   = 64 // bytes, as the gateway takes them
	maxList  = 16 // alerts, kept shares, rates and budgets of one definition
)

// mistakes gathers all that is wrong with a definition, so that its author learns it at once.
type mistakes []fault.Problem

// add notes a mistake, unless text is "".
func (m *mistakes) add(path, text, hint string) {
	if text != "" {
		*m = append(*m, fault.Problem{Path: path, Text: text, Hint: hint})
	}
}

// Refusal is the fault for what is wrong with a definition, nil if nothing is.
func Refusal(problems []fault.Problem) error {
	switch len(problems) {
	case 0:
		return nil
	case 1:
		p := problems[0]
		f := fault.New(fault.InvalidRequest, "%s: %s.", p.Path, p.Text)
		f.Param, f.Hint = p.Path, "Nothing was changed."
		if p.Hint != "" {
			f.Hint = strings.ToUpper(p.Hint[:1]) + p.Hint[1:] + "."
		}
		return f
	}
	const most = 20
	lines := make([]string, 0, most)
	for _, p := range problems[:min(len(problems), most)] {
		lines = append(lines, p.Error())
	}
	more := ""
	if n := len(problems) - most; n > 0 {
		more = fmt.Sprintf("; and %d more", n)
	}
	f := fault.New(fault.InvalidRequest, "%d mistakes: %s%s.", len(problems), strings.Join(lines, "; "), more)
	f.Param, f.Hint = problems[0].Path, "Nothing was changed."
	return f
}

// ReadAmount reads the amount of a budget: dollars as decimal text with up to nine decimals, or a whole number of tokens.
func ReadAmount(unit Unit, text string) (n int64, problem string) {
	var err error
	if unit == USD {
		var m llm.Money
		m, err = llm.ParseMoney(text)
		n = int64(m)
	} else if n, err = readWhole(text); err == nil && n < 0 {
		err = fmt.Errorf("%s is below nothing", quote(text))
	}
	switch {
	case err != nil && len(text) > maxGlob:
		return 0, quote(text) + " is not an amount"
	case err != nil:
		return 0, err.Error()
	case n > MaxAmount:
		return 0, fmt.Sprintf("%s is more than %s", quote(text), most(unit))
	}
	return n, ""
}

func readWhole(text string) (int64, error) {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, fmt.Errorf("%s is not a whole number (write it without a sign, such as 500000)", quote(text))
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s is too large", quote(text))
	}
	return n, nil
}

func most(unit Unit) string {
	if unit == USD {
		return llm.Money(MaxAmount).String() + " dollars"
	}
	return strconv.Itoa(MaxAmount) + " tokens"
}

// FormatAmount writes an amount as ReadAmount reads it.
func FormatAmount(unit Unit, n int64) string {
	if unit == USD {
		return llm.Money(n).String()
	}
	return strconv.FormatInt(n, 10)
}

// Mistakes lists what is wrong with a budget. That its organisation, project and key exist and agree is for whoever knows them.
func (b *Budget) Mistakes() []fault.Problem {
	var m mistakes
	m.scope(&b.Scope)
	m.terms("", &b.Terms)
	return m
}

// Mistakes lists what is wrong with a scope, but for whether its organisation, project and key exist and agree.
func (s *Scope) Mistakes() []fault.Problem {
	var m mistakes
	m.scope(s)
	return m
}

// Mistakes lists what is wrong with a limit.
func (l *Limit) Mistakes() []fault.Problem {
	var m mistakes
	m.scope(&l.Scope)
	m.rate("", &l.Rate)
	return m
}

// Mistakes lists what is wrong with a tier.
func (t *Tier) Mistakes() []fault.Problem {
	var m mistakes
	m.add("name", badName(t.Name), fmt.Sprintf("use 1 to %d letters, digits and . _ -, beginning with a letter or digit", maxName))
	if !slices.Contains([]string{"", "priority", "default", "flex"}, t.Class) {
		m.add("class", quote(t.Class)+" is not a class", "write priority, default or flex")
	}
	m.length("models", len(t.Models), maxGlobs)
	for i, g := range t.Models {
		m.add(fmt.Sprintf("models[%d]", i), badGlob(g), globHint)
	}
	for _, limit := range [...]struct {
		path string
		n    int64
	}{{"max_input", t.MaxInput}, {"max_output", t.MaxOutput}} {
		if limit.n < 0 || limit.n > MaxRate {
			m.add(limit.path, fmt.Sprintf("%d is not from 1 to %d", limit.n, int64(MaxRate)), "leave it out for no cap")
		}
	}
	m.length("limits", len(t.Rates), maxList)
	for i := range t.Rates {
		at := fmt.Sprintf("limits[%d].", i)
		m.rate(at, &t.Rates[i])
		if slices.ContainsFunc(t.Rates[:i], func(r Rate) bool { return r.Measure == t.Rates[i].Measure }) {
			m.add(at+"measure", fmt.Sprintf("%q is there twice", t.Rates[i].Measure), "")
		}
	}
	m.length("budgets", len(t.Budgets), maxList)
	for i := range t.Budgets {
		at, b := fmt.Sprintf("budgets[%d].", i), &t.Budgets[i]
		m.terms(at, b)
		if slices.ContainsFunc(t.Budgets[:i], func(o Terms) bool { return o.Unit == b.Unit && o.Per == b.Per && o.From.Equal(b.From) }) {
			m.add(at+"per", fmt.Sprintf("there are two budgets in %s per %s", b.Unit, b.Per), "keep one of them")
		}
	}
	return m
}

// Mistakes lists what is wrong with an assignment, but for whether project, key and tier exist.
func (a *Assignment) Mistakes() []fault.Problem {
	var m mistakes
	switch {
	case a.Project == "":
		m.add("project", "is missing", "say whose tier it is")
	case a.Project == Each || a.Key == Each:
		m.add("project", "a tier is given to a project, a key or an end user by name", "only user may be *")
	case a.Key != "" && a.User != "":
		m.add("user", "a tier is given to a key or to an end user, not to both together", "leave one out")
	}
	m.user(a.User)
	return m
}

func (m *mistakes) length(path string, n, limit int) {
	if n > limit {
		m.add(path, fmt.Sprintf("are %d, limit %d", n, limit), "")
	}
}

func (m *mistakes) scope(s *Scope) {
	if s.Org == Each {
		m.add("org", "* stands for each project, key or end user, not for each organisation", "name the organisation, or leave it out")
	}
	if s.Key != "" && s.Key != Each && s.Project == Each {
		m.add("key", "a key is of one project", "name its project")
	}
	m.user(s.User)
	if s.Model != "" {
		m.add("model", badGlob(s.Model), globHint)
	}
}

func (m *mistakes) user(u string) {
	switch {
	case len(u) > maxUser:
		m.add("user", fmt.Sprintf("has %d bytes, limit %d", len(u), maxUser), "")
	case unseen(u):
		m.add("user", fmt.Sprintf("%+q has a character that cannot be seen", u), "write the end user as callers name them, or * for each")
	}
}

func (m *mistakes) mode(path string, mode Mode) {
	if mode != Enforce && mode != Observe {
		m.add(path, quote(string(mode))+" is not a mode", "write enforce or observe")
	}
}

func (m *mistakes) rate(at string, r *Rate) {
	if !slices.Contains(Measures(), r.Measure) {
		m.add(at+"measure", quote(string(r.Measure))+" is not counted", "write one of requests, input_tokens, output_tokens, tokens, concurrent")
	}
	if r.Amount < 1 || r.Amount > MaxRate {
		m.add(at+"amount", fmt.Sprintf("%d is not from 1 to %d", r.Amount, int64(MaxRate)), "to let nothing through, stop it: penstock stop --project P")
	}
	m.mode(at+"mode", r.Mode)
}

func (m *mistakes) terms(at string, t *Terms) {
	amount := "amount"
	switch {
	case t.Unit != USD && t.Unit != TokenCount:
		m.add(at+"unit", quote(string(t.Unit))+" is no unit", "write usd or tokens")
	case t.Unit == TokenCount:
		amount = "tokens"
	}
	if t.Amount < 0 || t.Amount > MaxAmount {
		m.add(at+amount, fmt.Sprintf("%s is not from 0 to %s", FormatAmount(t.Unit, t.Amount), most(t.Unit)), "")
	}
	zone, err := Zone(t.Zone)
	if err != nil {
		m.add(at+"zone", quote(t.Zone)+" is not a time zone that is known here", "write its name, such as Europe/Berlin, or leave it out for UTC")
	}
	if err := (window.Calendar{Per: t.Per, Zone: zone, From: t.From, To: t.To}).Check(); err != nil {
		m.add(at+"per", err.Error(), "")
	}
	m.mode(at+"mode", t.Mode)
	m.length(at+"alerts", len(t.Alerts), maxList)
	for i, share := range t.Alerts {
		switch path := fmt.Sprintf("%salerts[%d]", at, i); {
		case share < 1 || share > 100:
			m.add(path, fmt.Sprintf("%d is not from 1 to 100", share), "write shares in percent")
		case i > 0 && share <= t.Alerts[i-1]:
			m.add(path, fmt.Sprintf("%d does not come after %d", share, t.Alerts[i-1]), "write each once, the lowest first")
		}
	}
	m.kept(at, t.Kept)
}

func (m *mistakes) kept(at string, kept []Kept) {
	m.length(at+"kept", len(kept), maxList)
	sum := 0
	for i, k := range kept {
		path := fmt.Sprintf("%skept[%d].", at, i)
		if k.Tag == "" || len(k.Tag) > maxTag || unseen(k.Tag) || strings.Contains(k.Tag, ",") {
			m.add(path+"tag", quote(k.Tag)+" is not a tag", fmt.Sprintf("write 1 to %d characters that can be seen, without a comma", maxTag))
		}
		if slices.ContainsFunc(kept[:i], func(o Kept) bool { return o.Tag == k.Tag }) {
			m.add(path+"tag", quote(k.Tag)+" is there twice", "")
		}
		if k.Share < 1 || k.Share > 99 {
			m.add(path+"share", fmt.Sprintf("%d is not from 1 to 99", k.Share), "write a share in percent")
			continue
		}
		sum += k.Share
	}
	if sum > 100 {
		m.add(at+"kept", fmt.Sprintf("the shares are %d percent together", sum), "100 is all that there is")
	}
}

// Zone finds a time zone by its name; "" is UTC. The machine's own has no name that others would understand.
func Zone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone", name)
	}
	return time.LoadLocation(name)
}

// Calendar says which windows a budget has. A zone that is not known any more counts as UTC.
func (t *Terms) Calendar() window.Calendar {
	zone, err := Zone(t.Zone)
	if err != nil {
		zone = time.UTC
	}
	return window.Calendar{Per: t.Per, Zone: zone, From: t.From, To: t.To}
}

const globHint = "write a model's name, or PROVIDER/MODEL; * stands for any characters, as in openai/*"

// badGlob says what is wrong with a glob on models; "" if nothing is.
func badGlob(g string) string {
	switch {
	case g == "":
		return "is empty"
	case utf8.RuneCountInString(g) > maxGlob:
		return fmt.Sprintf("has %d characters, limit %d", utf8.RuneCountInString(g), maxGlob)
	case unseen(g) || strings.ContainsAny(g, " ,"):
		return fmt.Sprintf("%+q has a character that no model's name has", g)
	case strings.ContainsAny(g, `?[]{}\`):
		return fmt.Sprintf("%q has a sign of other patterns, which means nothing here", g)
	}
	return ""
}

// badName says what is wrong with the name of a tier. Names stand in addresses and on command lines as they are.
func badName(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxName:
		return fmt.Sprintf("has %d characters, limit %d", utf8.RuneCountInString(s), maxName)
	case strings.ContainsFunc(s, func(r rune) bool { return !nameRune(r) }) || !nameStart(s[0]):
		return quote(s) + " is not the name of a tier"
	}
	return ""
}

func nameStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func nameRune(r rune) bool {
	return r < utf8.RuneSelf && nameStart(byte(r)) || strings.ContainsRune("._-", r)
}

func unseen(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) })
}

// quote writes what was sent so that it is seen whole and harmless, and not at any length.
func quote(s string) string {
	if len(s) > maxGlob {
		s = s[:maxGlob] + "..."
	}
	return strconv.Quote(s)
}
