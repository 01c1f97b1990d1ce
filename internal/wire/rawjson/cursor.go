package rawjson

import (
	"bytes"
	"iter"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// Valid reports whether text is one JSON value in UTF-8. Names that appear twice and half surrogate pairs, which occur
// where a stream is cut within a character, do no harm to who passes them on, so they are let pass.
func Valid(text []byte) bool {
	return utf8.Valid(text) && jsontext.Value(text).IsValid(duplicates, surrogates)
}

var (
	duplicates = jsontext.AllowDuplicateNames(true)
	surrogates = jsontext.AllowInvalidUTF8(true) // which allows other bytes too, hence the look at those before
)

// A Cursor walks text that is known to be JSON ([Valid], [Reader]), which is why nothing it does can fail.
type Cursor struct {
	Text []byte
	At   int
}

// Kind is the first byte of what comes next: '"', '{', '[', a closing bracket, a digit or minus, t, f, n; 0 at the end.
// White space, commas and colons are passed over.
func (c *Cursor) Kind() byte {
	for ; c.At < len(c.Text); c.At++ {
		switch b := c.Text[c.At]; b {
		case ' ', '\t', '\r', '\n', ',', ':':
		default:
			return b
		}
	}
	return 0
}

// Value reads the next value whole and returns its text.
func (c *Cursor) Value() []byte {
	kind := c.Kind()
	start := c.At
	switch kind {
	case '"':
		c.At = stringEnd(c.Text, c.At)
	case '{', '[':
		c.nested()
	default:
		for c.At < len(c.Text) && !isDelimiter(c.Text[c.At]) {
			c.At++
		}
	}
	return c.Text[start:c.At]
}

func isDelimiter(b byte) bool {
	switch b {
	case ' ', '\t', '\r', '\n', ',', ']', '}':
		return true
	}
	return false
}

// nested reads an object or array.
func (c *Cursor) nested() {
	for depth := 0; c.At < len(c.Text); {
		switch c.Text[c.At] {
		case '"':
			c.At = stringEnd(c.Text, c.At)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if c.At++; depth == 0 {
			return
		}
	}
}

// stringEnd is where the string ends that begins at start.
func stringEnd(text []byte, start int) int {
	for i := start + 1; ; {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			return len(text)
		}
		i += n
		escapes := 0
		for text[i-1-escapes] == '\\' {
			escapes++
		}
		if i++; escapes%2 == 0 {
			return i
		}
	}
}

// BehindName reports whether what was read last is a member's name.
func (c *Cursor) BehindName() bool {
	i := c.At
	for i < len(c.Text) && isDelimiter(c.Text[i]) && c.Text[i] != ',' {
		i++
	}
	return i < len(c.Text) && c.Text[i] == ':'
}

// Members gives the names of the next value if that is an object, else nothing. In the loop, the cursor stands before the
// member's value, which may be read or left. Behind a loop that is broken off, it stands behind the object.
func (c *Cursor) Members() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if c.Kind() != '{' {
			return
		}
		whole := c.At
		c.At++
		for c.Kind() == '"' {
			start := c.At
			c.At = stringEnd(c.Text, start)
			name := Unquoted(c.Text[start:c.At])
			c.Kind()
			before := c.At
			if !yield(name) {
				c.At = whole
				c.Value()
				return
			}
			if c.At == before {
				c.Value()
			}
		}
		c.At++
	}
}

// Elements counts through the elements of the next value if that is an array, as Members does through members.
func (c *Cursor) Elements() iter.Seq[int] {
	return func(yield func(int) bool) {
		if c.Kind() != '[' {
			return
		}
		whole := c.At
		c.At++
		for i := 0; c.Kind() != ']' && c.Kind() != 0; i++ {
			before := c.At
			if !yield(i) {
				c.At = whole
				c.Value()
				return
			}
			if c.At == before {
				c.Value()
			}
		}
		c.At++
	}
}

// Fields finds the members of an object.
func Fields(object []byte) []llm.Field { return appendFields(nil, object) }

// appendFields appends the members of an object. Names cost one allocation, since they are cut out of one string, or none: where
// the array behind fields holds a member of the same name at the same place, as that of the last event of a stream does, its name
// is taken.
func appendFields(fields []llm.Field, object []byte) []llm.Field {
	var nameRoom [128]byte
	var cutRoom [16]cut
	names, cuts := nameRoom[:0], cutRoom[:0]
	c := Cursor{Text: object}
	for name := range c.Members() {
		start, n := c.At, len(fields)
		c.Value()
		f := llm.Field{Value: llm.Span{Start: start, End: c.At}}
		if n < cap(fields) && fields[:n+1][n].Name == string(name) {
			f.Name = fields[:n+1][n].Name
		} else {
			names = append(names, name...)
			cuts = append(cuts, cut{n, len(names)})
		}
		fields = append(fields, f)
	}
	all, start := string(names), 0
	for _, c := range cuts {
		fields[c.field].Name = all[start:c.end]
		start = c.end
	}
	return fields
}

// A cut is where the name of a field ends.
type cut struct{ field, end int }
