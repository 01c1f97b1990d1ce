package llm

import "strings"

// MatchName reports whether a model's name fits a glob, in which * stands for any characters, slashes included, and
// everything else for itself.
func MatchName(glob, name string) bool {
	head, rest, found := strings.Cut(glob, "*")
	if !found {
		return glob == name
	}
	name, ok := strings.CutPrefix(name, head)
	for ok {
		var part string
		part, rest, found = strings.Cut(rest, "*")
		if !found {
			return strings.HasSuffix(name, part)
		}
		_, name, ok = strings.Cut(name, part)
	}
	return false
}
