package rawjson

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// An Extra is the members that are carried and not understood.
type Extra []llm.Member

// Has reports whether any of these members is there.
func (x Extra) Has(names ...string) bool {
	return slices.ContainsFunc(x, func(m llm.Member) bool { return slices.Contains(names, m.Name) })
}

// A Writer writes JSON. Names are followed by their values, elements by each other; the commas come by themselves.
type Writer struct {
	Dst []byte
	Err error // the first thing that could not be said
}

// Refuse notes that something cannot be said; the first counts.
func (e *Writer) Refuse(format string, args ...any) {
	if e.Err == nil {
		e.Err = fmt.Errorf(format, args...)
	}
}

// Comma puts one where an element or a name is to follow another.
func (e *Writer) Comma() {
	if last := e.Dst[len(e.Dst)-1]; last != '{' && last != '[' {
		e.Dst = append(e.Dst, ',')
	}
}

// Name writes the name of a member; its value follows.
func (e *Writer) Name(name string) {
	e.Comma()
	e.Quoted(name)
	e.Dst = append(e.Dst, ':')
}

// Quoted writes a string.
func (e *Writer) Quoted(s string) {
	var err error
	if e.Dst, err = appendQuoted(e.Dst, s); err != nil {
		e.Refuse("a text that is not UTF-8")
	}
}

// Member writes a member with a string.
func (e *Writer) Member(name, value string) {
	e.Name(name)
	e.Quoted(value)
}

// Raw writes a member whose value is JSON already.
func (e *Writer) Raw(name string, value []byte) {
	e.Name(name)
	e.Dst = append(e.Dst, value...)
}

// Extra writes members as they came.
func (e *Writer) Extra(x Extra) {
	for _, m := range x {
		e.Raw(m.Name, m.Value)
	}
}

// Text writes a member with a string, unless that is "" or the member is in x.
func (e *Writer) Text(x Extra, name, value string) {
	if value != "" && !x.Has(name) {
		e.Member(name, value)
	}
}

// Boolean is as Text, of true and false.
func (e *Writer) Boolean(x Extra, name string, value *bool) {
	if value != nil && !x.Has(name) {
		e.Name(name)
		e.Dst = strconv.AppendBool(e.Dst, *value)
	}
}

// Number is as Text, of numbers.
func (e *Writer) Number(x Extra, name string, value *float64) {
	if value != nil && !x.Has(name) {
		e.Name(name)
		e.Dst = jsontext.AppendFloat(e.Dst, *value, 64)
	}
}

// Integer is as Text, of whole numbers.
func (e *Writer) Integer(x Extra, name string, value *int64) {
	if value != nil && !x.Has(name) {
		e.Name(name)
		e.Dst = strconv.AppendInt(e.Dst, *value, 10)
	}
}

// Object is as Text, for values that are JSON already.
func (e *Writer) Object(x Extra, name string, value []byte) {
	if value != nil && !x.Has(name) {
		e.Raw(name, value)
	}
}

// Strings is as Text, of an array of strings.
func (e *Writer) Strings(x Extra, name string, values []string) {
	if len(values) == 0 || x.Has(name) {
		return
	}
	e.Name(name)
	e.Dst = append(e.Dst, '[')
	for _, v := range values {
		e.Comma()
		e.Quoted(v)
	}
	e.Dst = append(e.Dst, ']')
}
