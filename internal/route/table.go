package route

import (
	"slices"
	"strings"
	"unicode"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// A Table resolves names to targets. It is immutable; a reload builds another.
type Table struct {
	models    map[string]choice
	providers map[string]Provider
	open      bool // without configured models, any PROVIDER/MODEL may be asked for
	names     []string
}

// A choice is what answers for a name.
type choice struct {
	targets []llm.Target
	words   string // for the record
}

// NewTable builds the table. offered are the models that each provider is known to have, from its configuration or the
// catalogue; they count only if the configuration names no models: then clients may ask for any PROVIDER/MODEL, and for
// the bare name of a model that exactly one provider offers.
func NewTable(cfg Config, providers map[string]Provider, offered map[string][]string) *Table {
	t := &Table{models: map[string]choice{}, providers: providers, open: len(cfg) == 0}
	for name, m := range cfg {
		c := choice{words: "failover over " + strings.Join(m.Targets, ", ")}
		for _, s := range m.Targets {
			target, _ := llm.ParseTarget(s)
			c.targets = append(c.targets, target)
		}
		t.models[name] = c
	}
	if t.open {
		t.offer(offered)
	}
	for name := range t.models {
		t.names = append(t.names, name)
	}
	slices.Sort(t.names)
	return t
}

// offer adds a bare name for every model that one provider offers, and the qualified names of those that several do.
func (t *Table) offer(offered map[string][]string) {
	owners := map[string][]string{}
	for provider, models := range offered {
		for _, m := range models {
			owners[m] = append(owners[m], provider)
		}
	}
	for model, providers := range owners {
		for _, p := range providers {
			name := model
			if len(providers) > 1 {
				name = p + "/" + model
			}
			t.models[name] = single(llm.Target{Provider: p, Model: model})
		}
	}
}

func single(t llm.Target) choice {
	return choice{targets: []llm.Target{t}, words: "the only target is " + t.String()}
}

// Names lists what can be asked for by name, sorted. Without configured models there is more than it lists.
func (t *Table) Names() []string { return t.names }

// Has reports whether the name resolves.
func (t *Table) Has(model string) bool {
	_, named := t.models[model]
	_, direct := t.direct(model)
	return named || direct
}

// Targets gives what answers for a name, in order.
func (t *Table) Targets(model string) []llm.Target {
	c, _ := t.find(model)
	return c.targets
}

func (t *Table) find(model string) (choice, bool) {
	if c, ok := t.models[model]; ok {
		return c, true
	}
	if target, ok := t.direct(model); ok {
		return single(target), true
	}
	return choice{}, false
}

// direct reads a PROVIDER/MODEL, of which only the provider needs to be known. Such a name is the caller's own and ends up
// in headers, records and metrics, so it has nothing in it that cannot be seen.
func (t *Table) direct(model string) (llm.Target, bool) {
	if !t.open {
		return llm.Target{}, false
	}
	target, ok := llm.ParseTarget(model)
	return target, ok && t.providers[target.Provider] != nil && !strings.ContainsFunc(model, unseen)
}

func unseen(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }

// NotFound is the 404 for a model that does not exist for a caller, with the nearest names that do. may says which names
// the caller may use.
func (t *Table) NotFound(model string, may func(string) bool) *fault.Error {
	near := near(model, t.names, may)
	err := fault.New(fault.ModelNotFound, "No model %q for this key.", clip(model))
	err.Param = "model"
	if len(near) > 0 {
		err.Message += " Near: " + strings.Join(near, ", ") + "."
	}
	return err
}

// clip keeps a name that a caller made up from filling an error message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// near gives at most three permitted names whose edit distance to model is small against its length, nearest first.
func near(model string, names []string, may func(string) bool) []string {
	const most = 3
	type scored struct {
		name string
		d    int
	}
	var found []scored
	asked := strings.ToLower(clip(model))
	far := max(2, len(asked)/3)
	for _, n := range names {
		if !may(n) {
			continue
		}
		have := strings.ToLower(n)
		within := strings.Contains(have, asked) || strings.Contains(asked, have)
		if !within && max(len(have)-len(asked), len(asked)-len(have)) > far {
			continue // each byte too many is a step, so there is no need to count the others
		}
		d := distance(asked, have)
		if within {
			d = min(d, 2)
		}
		if d <= far {
			found = append(found, scored{n, d})
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		if a.d != b.d {
			return a.d - b.d
		}
		return strings.Compare(a.name, b.name)
	})
	out := []string{}
	for _, s := range found[:min(len(found), most)] {
		out = append(out, s.name)
	}
	return out
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
