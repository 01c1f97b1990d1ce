package console

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/usage"
)

// told reads by what usage is told apart, and what is shown of it. What there is not is refused: a file of something else would be taken
// for what was asked for.
func (a *usageAsk) told(q url.Values) error {
	if by := q.Get("by"); by != "" {
		i := slices.IndexFunc(dimensionsOfUsage, func(d dimension) bool { return d.Name == by })
		label, made := usage.LabelOf(by)
		switch {
		case i >= 0:
			a.by = dimensionsOfUsage[i]
		case made:
			a.by = dimension{Name: by, Label: "label " + label, next: "project"}
		default:
			names := make([]string, 0, len(dimensionsOfUsage))
			for _, d := range dimensionsOfUsage {
				names = append(names, d.Name)
			}
			return askedWrong("by", "It is "+strings.Join(names, ", ")+" or label:NAME.", "Usage cannot be told apart by %q.", clip(by))
		}
	}
	show := q.Get("show")
	if show == "" {
		return nil
	}
	if !slices.ContainsFunc(measures, func(m choice) bool { return m.Value == show }) {
		return askedWrong("show", "It is money, tokens or requests.", "There is no %q to show.", clip(show))
	}
	a.measure = show
	return nil
}

// A madeFilter chooses by what is made of another column: the provider of a target, or a label of a project.
type madeFilter struct{ name, value string }

// madeFiltersOf are those of a query, in the order of their names. All of them have to fit.
func madeFiltersOf(q url.Values) (all []madeFilter) {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if usage.Derived(name) && q.Get(name) != "" {
			all = append(all, madeFilter{name, q.Get(name)})
		}
	}
	return all
}

// within reports whether a query chooses no others than the filter does: those of a target are of its provider, and those of a project
// have its labels.
func (f madeFilter) within(q url.Values) bool {
	if _, label := usage.LabelOf(f.name); label {
		return q.Get("project") != "" || q.Get("key") != ""
	}
	return strings.HasPrefix(q.Get("target"), f.value+"/")
}

// sums asks for sums by columns, of which some may be made of others, of what the page is about.
func (c *Console) sums(ctx context.Context, a *usageAsk, q usage.Query, by ...string) ([]usage.Sum, error) {
	columns := slices.Clone(by)
	for _, f := range a.made {
		if !slices.Contains(by, f.name) {
			columns = append(columns, f.name)
		}
	}
	q.By = usage.Columns(columns)
	all, err := c.o.Records.Sums(ctx, q)
	if err != nil || !slices.ContainsFunc(columns, usage.Derived) {
		return all, err
	}
	_, projects, _, err := c.o.Tenants.Store.AllKeys(ctx)
	if err != nil {
		return nil, err
	}
	labels := map[string]map[string]string{}
	for _, p := range projects {
		labels[p.ID] = p.Labels
	}
	all = usage.ByLabels(all, columns, func(project, label string) string { return labels[project][label] })
	if len(a.made) == 0 {
		return all, nil
	}
	all = slices.DeleteFunc(all, func(s usage.Sum) bool {
		return slices.ContainsFunc(a.made, func(f madeFilter) bool { return s.Group[f.name] != f.value })
	})
	for i := range all {
		for _, name := range columns[len(by):] {
			delete(all[i].Group, name)
		}
	}
	if len(by) == 0 && len(all) == 0 { // as a store sums up nothing
		all = append(all, usage.Sum{Group: map[string]string{}})
	}
	return all, nil
}
