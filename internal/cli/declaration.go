package cli

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/admin"
)

// declarationYAML writes a declaration for people and version control: names in order, nothing that is as it is by default.
func declarationYAML(d admin.Declaration) string {
	y := &yamlWriter{}
	y.b.WriteString("# Projects, keys, prices, budgets, limits and tiers of a Penstock. Read by: penstock apply -f FILE [--plan]\n")
	y.text("keyring", d.Keyring)
	y.section("tiers", len(d.Tiers), func() {
		for _, name := range slices.Sorted(maps.Keys(d.Tiers)) {
			y.section(name, 1, func() { y.tier(d.Tiers[name]) })
		}
	})
	y.limits(d.Budgets, d.Limits)
	y.section("organisations", len(d.Organisations), func() {
		for _, org := range slices.Sorted(maps.Keys(d.Organisations)) {
			y.section(org, 1, func() {
				y.limits(d.Organisations[org].Budgets, d.Organisations[org].Limits)
				y.projects(d.Organisations[org].Projects)
			})
		}
	})
	y.section("prices", len(d.Prices), func() {
		for _, target := range slices.Sorted(maps.Keys(d.Prices)) {
			p := d.Prices[target]
			y.section(target, 1, func() {
				y.text("input", p.Input)
				y.text("output", p.Output)
				y.text("cached_input", p.CachedInput)
				y.text("cache_write", p.CacheWrite)
				for _, part := range p.All() {
					y.text(part.Name, *part.Text)
				}
				y.text("per_call", p.PerCall)
				y.text("hourly", p.Hourly)
				y.text("source", p.Source)
				y.list("variants", len(p.Variants), func(i int) []string { return variantMembers(&p.Variants[i]) })
			})
		}
	})
	return y.b.String()
}

func (y *yamlWriter) projects(projects map[string]admin.DeclaredProject) {
	if len(projects) == 0 {
		y.line("projects: {}")
	}
	y.section("projects", len(projects), func() {
		for _, name := range slices.Sorted(maps.Keys(projects)) {
			p := projects[name]
			y.section(name, 1, func() {
				y.text("bodies", p.Bodies)
				y.text("retention", p.Retention)
				if p.Strict {
					y.line("strict: true")
				}
				if p.Stateless {
					y.line("stateless: true")
				}
				y.texts("regions", p.Regions)
				if p.PrivateOnly {
					y.line("private_only: true")
				}
				y.text("tier", p.Tier)
				y.text("user_tier", p.UserTier)
				y.section("user_tiers", len(p.UserTiers), func() {
					for _, user := range slices.Sorted(maps.Keys(p.UserTiers)) {
						y.text(scalar(user), p.UserTiers[user])
					}
				})
				y.limits(p.Budgets, p.Limits)
				y.section("labels", len(p.Labels), func() {
					for _, label := range slices.Sorted(maps.Keys(p.Labels)) {
						y.line(scalar(label) + ": " + scalar(p.Labels[label])) // which may be empty
					}
				})
				y.section("keys", len(p.Keys), func() {
					for _, key := range slices.Sorted(maps.Keys(p.Keys)) {
						y.section(key, 1, func() { y.key(p.Keys[key]) })
					}
				})
			})
		}
	})
}

func (y *yamlWriter) key(k admin.DeclaredKey) {
	if k.SHA256+k.Hash+k.Prefix+k.Role+k.Expires+k.Tier == "" && len(k.Models)+len(k.Budgets)+len(k.Limits) == 0 {
		y.line("role: caller") // a section with nothing in it has no value
	}
	y.text("sha256", k.SHA256)
	y.text("hash", k.Hash)
	y.text("prefix", k.Prefix)
	y.text("role", k.Role)
	y.text("expires", k.Expires)
	y.texts("models", k.Models)
	y.text("tier", k.Tier)
	y.limits(k.Budgets, k.Limits)
}

func (y *yamlWriter) tier(t admin.DeclaredTier) {
	if t.Class+t.MaxInput+t.MaxOutput == "" && len(t.Models)+len(t.Limits)+len(t.Budgets) == 0 {
		y.line("class: priority") // which it is by default; a section with nothing in it has no value
	}
	y.text("class", t.Class)
	y.texts("models", t.Models)
	y.text("max_input", t.MaxInput)
	y.text("max_output", t.MaxOutput)
	y.list("limits", len(t.Limits), func(i int) []string { return rateMembers(t.Limits[i]) })
	y.list("budgets", len(t.Budgets), func(i int) []string { return termsMembers(t.Budgets[i]) })
}

// limits writes budgets and limits, each on a line of its own.
func (y *yamlWriter) limits(budgets []admin.DeclaredBudget, limits []admin.DeclaredLimit) {
	y.list("budgets", len(budgets), func(i int) []string {
		return append(scopeMembers(budgets[i].DeclaredScope), termsMembers(budgets[i].DeclaredTerms)...)
	})
	y.list("limits", len(limits), func(i int) []string {
		return append(scopeMembers(limits[i].DeclaredScope), rateMembers(limits[i].DeclaredRate)...)
	})
}

// list writes a list of mappings, unless it is empty.
func (y *yamlWriter) list(name string, n int, members func(i int) []string) {
	if n == 0 {
		return
	}
	y.line(name + ":")
	for i := range n {
		y.line("  - { " + strings.Join(members(i), ", ") + " }")
	}
}

// textMembers writes pairs of names and values, without those that are empty.
func textMembers(pairs ...string) (members []string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			members = append(members, pairs[i]+": "+scalar(pairs[i+1]))
		}
	}
	return members
}

func scopeMembers(s admin.DeclaredScope) []string {
	return textMembers("project", s.Project, "key", s.Key, "user", s.User, "model", s.Model)
}

func variantMembers(v *admin.PriceVariant) []string {
	members := textMembers(append(v.Pairs(), "tier", v.Tier, "hours", v.Hours, "zone", v.Zone, "input", v.Input, "output", v.Output,
		"cached_input", v.CachedInput, "cache_write", v.CacheWrite, "per_call", v.PerCall)...)
	if v.Credential != 0 {
		members = append(members, fmt.Sprint("credential: ", v.Credential))
	}
	return members
}

func rateMembers(r admin.DeclaredRate) []string {
	return textMembers("measure", r.Measure, "amount", r.Amount, "mode", r.Mode)
}

func termsMembers(t admin.DeclaredTerms) []string {
	members := textMembers("amount", t.Amount, "tokens", t.Tokens, "per", t.Per, "zone", t.Zone, "from", t.From, "to", t.To, "mode", t.Mode)
	if len(t.Alerts) > 0 {
		members = append(members, "alerts: "+strings.ReplaceAll(fmt.Sprint(t.Alerts), " ", ", "))
	}
	if len(t.Kept) > 0 {
		kept := make([]string, len(t.Kept))
		for i, k := range t.Kept {
			kept[i] = fmt.Sprintf("{ tag: %s, share: %d }", scalar(k.Tag), k.Share)
		}
		members = append(members, "kept: ["+strings.Join(kept, ", ")+"]")
	}
	return members
}

// A yamlWriter writes mappings, two spaces for each level.
type yamlWriter struct {
	b      strings.Builder
	indent int
}

func (y *yamlWriter) line(text string) {
	fmt.Fprintf(&y.b, "%s%s\n", strings.Repeat("  ", y.indent), text)
}

// text writes a member, unless it is empty.
func (y *yamlWriter) text(name, value string) {
	if value != "" {
		y.line(name + ": " + scalar(value))
	}
}

// texts writes a list on one line, unless it is empty.
func (y *yamlWriter) texts(name string, values []string) {
	if len(values) == 0 {
		return
	}
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = scalar(v)
	}
	y.line(name + ": [" + strings.Join(all, ", ") + "]")
}

// section writes a mapping of n entries, unless there are none.
func (y *yamlWriter) section(name string, n int, entries func()) {
	if n == 0 {
		return
	}
	y.line(scalar(name) + ":")
	y.indent++
	entries()
	y.indent--
}

// plainScalar is what YAML, in all of its versions, reads as the text that it looks like, if it is none of its words.
var plainScalar = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_/.-]*$`)

// scalar writes a text so that it is read as just this text.
func scalar(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "yes", "no", "y", "n", "on", "off", "null":
		return `"` + s + `"`
	}
	if plainScalar.MatchString(s) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
