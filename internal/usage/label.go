package usage

import (
	"slices"
	"strings"
)

// labelColumn begins a group column that is a label of the project: "label:cost_center".
const labelColumn = "label:"

// LabelOf is the label that a group column names; ok is false if it names none.
func LabelOf(column string) (label string, ok bool) {
	label, ok = strings.CutPrefix(column, labelColumn)
	return label, ok && label != ""
}

// providerColumn is a group column that is a part of the target.
const providerColumn = "provider"

// Derived reports whether a group column is made of another one, by [ByLabels].
func Derived(column string) bool {
	_, label := LabelOf(column)
	return label || column == providerColumn
}

// Columns are what a store must sum by so that [ByLabels] can tell the columns asked for. Labels are the project's, and are
// not kept with exchanges, so that a label that is changed today tells last month apart as well.
func Columns(by []string) []string {
	var all []string
	for _, column := range by {
		made := Derived(column)
		if _, ok := LabelOf(column); ok {
			column = "project"
		} else if made {
			column = "target"
		}
		// What is made of a column goes with it; the same column twice is for the store to refuse.
		if !slices.Contains(all, column) || !made && !slices.ContainsFunc(by, Derived) {
			all = append(all, column)
		}
	}
	return all
}

// ByLabels makes of sums by [Columns] those by the columns asked for: labels of projects, and providers, are not summed by in a store.
// value gives the value of a project's label, "" if it has none. Groups are in the order of their values.
func ByLabels(sums []Sum, by []string, value func(project, label string) string) []Sum {
	if !slices.ContainsFunc(by, Derived) {
		return sums
	}
	at := map[string]int{}
	var all []Sum
	for _, s := range sums {
		group := make(map[string]string, len(by))
		for _, column := range by {
			if label, ok := LabelOf(column); ok {
				group[column] = value(s.Group["project"], label)
			} else if column == providerColumn {
				group[column], _, _ = strings.Cut(s.Group["target"], "/")
			} else {
				group[column] = s.Group[column]
			}
		}
		k := key(group, by)
		i, had := at[k]
		if !had {
			i = len(all)
			at[k] = i
			all = append(all, Sum{Group: group})
		}
		all[i] = all[i].Plus(s)
	}
	slices.SortFunc(all, func(a, b Sum) int { return strings.Compare(key(a.Group, by), key(b.Group, by)) })
	return all
}

// key is a group's values, in an order in which they sort column by column.
func key(group map[string]string, by []string) string {
	values := make([]string, len(by))
	for i, column := range by {
		values[i] = group[column]
	}
	return strings.Join(values, "\x00")
}

// Plus adds a group that does not overlap. The group stays what it is. Sums of what providers report stay at the largest
// number instead of going beyond it.
func (s Sum) Plus(more Sum) Sum {
	s.Requests += more.Requests
	s.Errors += more.Errors
	s.Usage = s.Usage.Add(more.Usage)
	s.CostNano = s.CostNano.Plus(more.CostNano)
	s.Unpriced += more.Unpriced
	s.Unknown += more.Unknown
	s.Settled += more.Settled
	s.SettledNano = s.SettledNano.Plus(more.SettledNano)
	return s
}
