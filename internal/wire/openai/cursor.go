package openai

import (
	"bytes"
	"iter"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/llm"
)

// isJSON reports whether text is one JSON value in UTF-8. Names that appear twice and half surrogate pairs, which occur
// where a stream is cut within a character, do no harm to who passes them on, so they are let pass.
func isJSON(text []byte) bool {
	return utf8.Valid(text) && jsontext.Value(text).IsValid(duplicates, surrogates)
}

var (
	duplicates = jsontext.AllowDuplicateNames(true)
	surrogates = jsontext.AllowInvalidUTF8(true) // which allows other bytes too, hence the look at those before
)

// A cursor walks text that is known to be JSON ([isJSON], [ParseChat]), which is why nothing it does can fail.
type cursor struct {
	text []byte
	at   int
}

// kind is the first byte of what comes next: '"', '{', '[', a closing bracket, a digit or minus, t, f, n; 0 at the end.
// White space, commas and colons are passed over.
func (c *cursor) kind() byte {
	for ; c.at < len(c.text); c.at++ {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\r', '\n', ',', ':':
		default:
			return b
		}
	}
	return 0
}

// value reads the next value whole and returns its text.
func (c *cursor) value() []byte {
	kind := c.kind()
	start := c.at
	switch kind {
	case '"':
		c.at = stringEnd(c.text, c.at)
	case '{', '[':
		c.nested()
	default:
		for c.at < len(c.text) && !isDelimiter(c.text[c.at]) {
			c.at++
		}
	}
	return c.text[start:c.at]
}

func isDelimiter(b byte) bool {
	switch b {
	case ' ', '\t', '\r', '\n', ',', ']', '}':
		return true
	}
	return false
}

// nested reads an object or array.
func (c *cursor) nested() {
	for depth := 0; c.at < len(c.text); {
		switch c.text[c.at] {
		case '"':
			c.at = stringEnd(c.text, c.at)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if c.at++; depth == 0 {
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

// behindName reports whether what was read last is a member's name.
func (c *cursor) behindName() bool {
	i := c.at
	for i < len(c.text) && isDelimiter(c.text[i]) && c.text[i] != ',' {
		i++
	}
	return i < len(c.text) && c.text[i] == ':'
}

// members gives the names of the next value if that is an object, else nothing. In the loop, the cursor stands before the
// member's value, which may be read or left. The loop must not be broken off.
func (c *cursor) members() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if c.kind() != '{' {
			return
		}
		c.at++
		for c.kind() == '"' {
			start := c.at
			c.at = stringEnd(c.text, start)
			name := unquoted(c.text[start:c.at])
			c.kind()
			before := c.at
			yield(name)
			if c.at == before {
				c.value()
			}
		}
		c.at++
	}
}

// elements counts through the elements of the next value if that is an array, as members does through members.
func (c *cursor) elements() iter.Seq[int] {
	return func(yield func(int) bool) {
		if c.kind() != '[' {
			return
		}
		c.at++
		for i := 0; c.kind() != ']' && c.kind() != 0; i++ {
			before := c.at
			yield(i)
			if c.at == before {
				c.value()
			}
		}
		c.at++
	}
}

// fieldsOf finds the members of an object.
func fieldsOf(object []byte) []llm.Field {
	c := cursor{text: object}
	var fields []llm.Field
	for name := range c.members() {
		start := c.at
		c.value()
		fields = append(fields, llm.Field{Name: string(name), Value: llm.Span{Start: start, End: c.at}})
	}
	return fields
}

// unquoted is what a JSON string says. It points into raw if nothing in it is escaped.
func unquoted(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	return appendUnquoted(nil, raw)
}

// appendUnquoted appends what a JSON string says. Half a surrogate pair becomes U+FFFD.
func appendUnquoted(dst, raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return append(dst, raw[1:len(raw)-1]...)
	}
	dst, _ = jsontext.AppendUnquote(dst, raw) // the string has been checked
	return dst
}

// appendQuoted appends a Go string as JSON. Bytes that are not UTF-8 become U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the error only reports bytes that were replaced
	return dst
}
