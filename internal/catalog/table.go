package catalog

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// A Table is a set of models, found by vendor and name. It is immutable.
type Table struct {
	sources []Source
	vendors []Vendor
	models  []Model
	byName  map[name]*Model
	byBare  map[string][]string // model to the vendors that have it, sorted
}

// A Source is where a table's data come from.
type Source struct {
	Name     string `json:"name"`
	Date     string `json:"date"` // of the data, not of the copy
	Licence  string `json:"licence"`
	Revision string `json:"revision"` // of the copy that was read
}

// String is "models.dev 2026-07-02".
func (s Source) String() string { return s.Name + " " + s.Date }

// A Vendor is a company or cloud that serves models.
type Vendor struct {
	Name string `json:"name"`
	// Hosts are where its API lives; one "*" in a host stands for anything.
	Hosts []string `json:"hosts,omitempty"`
}

type name struct{ vendor, model string }

//go:generate go run ./gen -models-dev $MODELS_DEV -litellm $LITELLM -out data/models.jsonl
//go:embed data/models.jsonl
var embedded []byte

// Default is the table in the binary, read at the first call.
var Default = sync.OnceValue(func() *Table {
	t, err := ReadTable(bytes.NewReader(embedded))
	if err != nil {
		panic(fmt.Sprintf("the catalogue in the binary is broken: %v", err)) // a test reads it
	}
	return t
})

// NewTable builds a table. Each model must have a vendor out of vendors, and no two the same vendor and name.
func NewTable(sources []Source, vendors []Vendor, models []Model) (*Table, error) {
	t := &Table{
		sources: sources, vendors: vendors, models: models,
		byName: make(map[name]*Model, len(models)), byBare: make(map[string][]string, len(models)),
	}
	known := make(map[string]bool, len(vendors))
	for _, v := range vendors {
		known[v.Name] = true
	}
	for i := range models {
		m := &models[i]
		key := name{m.Vendor, m.Name}
		if !known[m.Vendor] {
			return nil, fmt.Errorf("%s/%s: the vendor is not in the table's head", m.Vendor, m.Name)
		}
		if t.byName[key] != nil {
			return nil, fmt.Errorf("%s/%s is there twice", m.Vendor, m.Name)
		}
		t.byName[key] = m
		t.byBare[m.Name] = append(t.byBare[m.Name], m.Vendor)
	}
	for _, v := range t.byBare {
		slices.Sort(v)
	}
	return t, nil
}

// Find gives what is known of a model. Three forms of a name are tried:
//
//   - the name as it is;
//   - OpenAI's name of a model fine-tuned from another ("ft:gpt-4o-2024-08-06:acme::x"), as the family of its fine-tunes
//     ("ft:gpt-4o-2024-08-06"), which is how their price is published;
//   - without a date or "-latest" at the end, as the family. That has the family's limits and abilities, but no price: a
//     snapshot may cost another.
func (t *Table) Find(vendor, model string) (Model, bool) {
	if m := t.exact(vendor, model); m != nil {
		return *m, true
	}
	family := Family(model)
	m := t.byName[name{vendor, family}]
	if m == nil {
		return Model{}, false
	}
	found := *m
	found.Name, found.Price, found.Released = model, nil, ""
	found.Note = "limits and abilities are those of " + family + "; a price for this name is not known"
	return found, true
}

// exact finds a model that a price may be taken from, or nil. It allocates nothing.
func (t *Table) exact(vendor, model string) *Model {
	if m := t.byName[name{vendor, model}]; m != nil {
		return m
	}
	if base, ok := strings.CutPrefix(model, "ft:"); ok {
		base, _, _ = strings.Cut(base, ":")
		return t.byName[name{vendor, model[:len("ft:")+len(base)]}]
	}
	return nil
}

// Vendors lists the vendors that have a model of exactly this name, sorted. The caller must not change the list.
func (t *Table) Vendors(model string) []string { return t.byBare[model] }

// Models lists a vendor's models in the order of the table, which is by name.
func (t *Table) Models(vendor string) []Model {
	var models []Model
	for i := range t.models {
		if t.models[i].Vendor == vendor {
			models = append(models, t.models[i])
		}
	}
	return models
}

// Len is how many models the table has.
func (t *Table) Len() int { return len(t.models) }

// Sources says where the data come from, the first counting for more. The caller must not change the list.
func (t *Table) Sources() []Source { return t.sources }

// VendorNames lists the vendors in the order of the table.
func (t *Table) VendorNames() []string {
	names := make([]string, len(t.vendors))
	for i, v := range t.vendors {
		names[i] = v.Name
	}
	return names
}

// VendorAt says which vendor's API lives at a host (without port), so that a provider that is configured under any name
// gets that vendor's prices. ok is false for hosts that the table does not know.
func (t *Table) VendorAt(host string) (vendor string, ok bool) {
	host = strings.ToLower(host)
	for _, v := range t.vendors {
		if slices.ContainsFunc(v.Hosts, func(pattern string) bool { return hostMatches(pattern, host) }) {
			return v.Name, true
		}
	}
	return "", false
}

func hostMatches(pattern, host string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return host == pattern
	}
	return len(host) > len(before)+len(after) && strings.HasPrefix(host, before) && strings.HasSuffix(host, after)
}

// Family takes off what makes a name that of a snapshot: "-latest", "-2024-08-06", "-20240806", "@20240806", "-0806".
// It gives the name itself if there is nothing to take off.
func Family(model string) string {
	for _, form := range [...]string{"-latest", "@latest", "@default", "-0000-00-00", "-00000000", "@00000000", "-0000"} {
		cut := len(model) - len(form)
		if cut > 0 && ends(model[cut:], form) {
			return model[:cut]
		}
	}
	return model
}

// ends reports whether s has a form, in which '0' stands for any digit. Both are of one length.
func ends(s, form string) bool {
	for i := range len(form) {
		digit := s[i] >= '0' && s[i] <= '9'
		if form[i] == '0' && !digit || form[i] != '0' && s[i] != form[i] {
			return false
		}
	}
	return true
}
