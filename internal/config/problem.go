package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock/penstock/internal/fault"
)

// A Problem is one mistake and its place.
type Problem struct {
	Line, Col int // from 1, in characters; 0 if the value is not from the file
	fault.Problem
}

// Error is "path: text (hint)"; what concerns the file as a whole has no path.
func (p Problem) Error() string {
	if p.Path == "" {
		return strings.TrimPrefix(p.Problem.Error(), ": ")
	}
	return p.Problem.Error()
}

// Problems is everything that is wrong with a configuration. It is the only kind of error that is the operator's to
// mend; the command line answers it with exit code 3.
type Problems struct {
	File string // as given, "" if there is none
	List []Problem
}

// Error gives one line for each problem, in the order of the file, and the count.
func (p *Problems) Error() string {
	var b strings.Builder
	for _, one := range p.sorted() {
		switch {
		case one.Line > 0:
			fmt.Fprintf(&b, "%s:%d:%d: ", p.File, one.Line, one.Col)
		case one.Path == "" && p.File != "":
			b.WriteString(p.File + ": ")
		}
		b.WriteString(one.Error() + "\n")
	}
	noun := "problems"
	if len(p.List) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(&b, "%d %s. Nothing was changed.", len(p.List), noun)
	return b.String()
}

// sorted puts what has no place in the file (flags, variables) first, then goes from top to bottom.
func (p *Problems) sorted() []Problem {
	list := slices.Clone(p.List)
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), strings.Compare(a.Path, b.Path))
	})
	return list
}
