package reconcile

import (
	"maps"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/catalog"
)

// How a name of an export was matched.
const (
	byMap    = "given"   // somebody said so
	byName   = "name"    // it is the name of the target
	byFamily = "family"  // but for a date or "-latest" at the end, and the way that names are spelled for people
	byPrefix = "version" // it is the target's name with a version behind it
)

// A Match says which models a name of an export stands for.
type Match struct {
	Provider string
	Name     string   // in the export
	Models   []string // of targets; none if it was not matched
	By       string   // "" if it was not matched
}

// A matcher finds the models that names of exports stand for, among those of one provider's targets.
type matcher struct {
	models []string          // sorted
	given  map[string]string // name to model
	// known reports whether there is a model of exactly this name, as far as anybody knows.
	known func(model string) bool
	group map[string]string // of models that cannot be told apart by the export: each leads to another one, or to itself
}

func newMatcher(models []string, given map[string]string, known func(string) bool) *matcher {
	m := &matcher{given: given, known: known, group: map[string]string{}}
	m.models = slices.Compact(slices.Sorted(slices.Values(models)))
	for _, model := range m.models {
		m.group[model] = model
	}
	return m
}

// match finds the models of a name, and joins them: a provider bills a call for "gpt-4o" under the name of a snapshot, so with targets
// of both names it cannot be told whose the amount is.
func (m *matcher) match(name string) (models []string, by string) {
	models, by = m.find(name)
	for _, model := range models[min(1, len(models)):] {
		m.join(models[0], model)
	}
	return models, by
}

func (m *matcher) find(name string) (models []string, by string) {
	if model, ok := m.given[name]; ok {
		return []string{model}, byMap
	}
	by = byName
	for _, model := range m.models {
		if model == name || bare(model) == bare(name) {
			models = append(models, model)
		}
	}
	if models == nil {
		by = byFamily
	}
	for _, model := range m.models { // two snapshots of one family are two models
		if family(model) == family(name) && (floats(model) || models == nil && floats(name)) && !slices.Contains(models, model) {
			models = append(models, model)
		}
	}
	if len(models) > 0 {
		return models, by
	}
	if m.known(name) { // a model of its own
		return nil, ""
	}
	longest := ""
	for _, model := range m.models {
		rest, ok := strings.CutPrefix(name, model)
		if ok && version(rest) && len(model) > len(longest) {
			longest = model
		}
	}
	if longest == "" {
		return nil, ""
	}
	return []string{longest}, byPrefix
}

// family is a name without what makes it that of a snapshot.
func family(name string) string { return catalog.Family(spelling(name)) }

// floats reports whether a model's name leads to whatever snapshot the provider has under it at the time.
func floats(name string) bool {
	spelled := spelling(name)
	return family(name) == spelled || strings.HasSuffix(spelled, "latest") || strings.HasSuffix(spelled, "default")
}

// bare is a name without what people and programs write between its parts.
func bare(name string) string { return strings.ReplaceAll(spelling(name), "-", "") }

// version reports whether what stands behind a model's name makes it a version of that model, and not the name of another one: "-2.1",
// "-v2:0", "-preview", but not "-mini".
func version(rest string) bool {
	if len(rest) < 2 || !strings.ContainsRune("-@:.", rune(rest[0])) {
		return false
	}
	rest = rest[1:]
	for _, word := range [...]string{"preview", "latest", "exp"} {
		if strings.HasPrefix(rest, word) {
			return true
		}
	}
	rest = strings.TrimPrefix(rest, "v")
	return rest != "" && rest[0] >= '0' && rest[0] <= '9'
}

// spelling is a name as programs write it: "Claude Haiku 4.5" is "claude-haiku-4-5".
func spelling(name string) string {
	return strings.NewReplacer(" ", "-", ".", "-", "_", "-").Replace(strings.ToLower(name))
}

// root is what stands for all models that were joined with this one.
func (m *matcher) root(model string) string {
	for m.group[model] != model {
		next, ok := m.group[model]
		if !ok {
			return model
		}
		model = next
	}
	return model
}

func (m *matcher) join(a, b string) {
	if a, b = m.root(a), m.root(b); a != b {
		m.group[max(a, b)] = min(a, b)
	}
}

// members are the models of a group, in order.
func (m *matcher) members(root string) []string {
	var all []string
	for _, model := range slices.Sorted(maps.Keys(m.group)) {
		if m.root(model) == root {
			all = append(all, model)
		}
	}
	if all == nil {
		return []string{root}
	}
	return all
}
