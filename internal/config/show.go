package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Show gives what is in force as YAML, each value with its origin behind it. References are shown, what they stand for is
// not, and what looks like a secret is hidden.
func Show(f *File) []byte {
	var b strings.Builder
	var open []string // the sections that have been opened
	walk(f, func(l leaf) {
		if l.empty() {
			return
		}
		depth := len(l.keys) - 1
		same := common(open, l.keys[:depth])
		for i := same; i < depth; i++ {
			fmt.Fprintf(&b, "%s%s:\n", indent(i), scalarYAML(l.keys[i]))
		}
		open = l.keys[:depth]
		fmt.Fprintf(&b, "%s%s: %s  # %s\n", indent(depth), scalarYAML(l.keys[depth]), l.text(), f.Origin(l.path()))
	})
	return []byte(b.String())
}

func indent(depth int) string { return strings.Repeat("  ", depth) }

// common counts the keys that two paths have in common at their start.
func common(a, b []string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// A Change is one setting that differs between two configurations.
type Change struct {
	Path string `json:"path"`
	Old  string `json:"old,omitempty"` // as the file would have it; "" if it was not set
	New  string `json:"new,omitempty"` // "" if it is not set any more
	// Restart says that a running Penstock cannot take the change over.
	Restart bool `json:"restart,omitempty"`
}

// String is one line for a person.
func (c Change) String() string {
	s := fmt.Sprintf("~ %s: %s -> %s", c.Path, c.Old, c.New)
	switch {
	case c.Old == "":
		s = fmt.Sprintf("+ %s: %s", c.Path, c.New)
	case c.New == "":
		s = fmt.Sprintf("- %s: %s", c.Path, c.Old)
	}
	if c.Restart {
		s += "  (needs a restart)"
	}
	return s
}

// Plan says what would change from old to new, sorted by path. A timer that providers inherit is listed once.
func Plan(old, fresh *File) []Change {
	before, after := flatten(old), flatten(fresh)
	var list []Change
	for path, b := range before {
		if a := after[path]; !reflect.DeepEqual(a.value, b.value) {
			list = append(list, Change{Path: path, Old: b.text, New: a.text, Restart: b.restart})
		}
	}
	for path, a := range after {
		if _, both := before[path]; !both {
			list = append(list, Change{Path: path, New: a.text, Restart: a.restart})
		}
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return list
}

// A flat is a leaf as Plan compares it: by its value, for two that look like secrets are shown alike.
type flat struct {
	value   any
	text    string
	restart bool
}

func flatten(f *File) map[string]flat {
	all := map[string]flat{}
	walk(f, func(l leaf) {
		path := l.path()
		if !l.empty() && !strings.HasPrefix(f.Origin(path), "timeouts.") {
			all[path] = flat{l.value.Interface(), l.text(), l.restart}
		}
	})
	return all
}
