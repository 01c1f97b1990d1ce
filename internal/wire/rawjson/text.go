package rawjson

import (
	"bytes"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Prompts are long texts with an escape in every line, which is why strings are read and written here and not byte by byte. What is
// not usual (\u, bytes that are not UTF-8) is left to the library, from the beginning of the string, so that there is one meaning.

// Unquoted is what a JSON string says. It points into raw if nothing in it is escaped.
func Unquoted(raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1]
	}
	return AppendUnquoted(make([]byte, 0, len(raw)), raw)
}

// UnquotedString is as Unquoted, with one allocation at most.
func UnquotedString(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1 : len(raw)-1])
	}
	var b strings.Builder
	b.Grow(len(raw))
	for rest := raw[1 : len(raw)-1]; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			b.Write(rest)
			return b.String()
		}
		c := single(rest[i+1:])
		if c == 0 {
			return string(AppendUnquoted(make([]byte, 0, len(raw)), raw))
		}
		b.Write(rest[:i])
		b.WriteByte(c)
		rest = rest[i+2:]
	}
}

// AppendUnquoted appends what a JSON string says. Half a surrogate pair becomes U+FFFD.
func AppendUnquoted(dst, raw []byte) []byte {
	start := len(dst)
	for rest := raw[1 : len(raw)-1]; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return append(dst, rest...)
		}
		c := single(rest[i+1:])
		if c == 0 {
			dst, _ = jsontext.AppendUnquote(dst[:start], raw) // the string has been checked
			return dst
		}
		dst = append(append(dst, rest[:i]...), c)
		rest = rest[i+2:]
	}
}

// single is what one byte stands for, the first of what follows a backslash; 0 if that is not one byte.
func single(rest []byte) byte {
	if len(rest) == 0 {
		return 0
	}
	return unescaped[rest[0]]
}

// unescaped is what stands behind a backslash for one byte; 0 is something else.
var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// escaped is the contrary, for what must be escaped and has a short form.
var escaped = [256]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// AppendQuoted appends a Go string as JSON. Bytes that are not UTF-8 become U+FFFD.
func AppendQuoted(dst []byte, s string) []byte {
	dst, _ = appendQuoted(dst, s) // the error only reports bytes that were replaced
	return dst
}

func appendQuoted(dst []byte, s string) ([]byte, error) {
	start := len(dst)
	dst = append(slices.Grow(dst, len(s)+len(`""`)), '"')
	for rest := s; ; {
		i := plain(rest)
		dst = append(dst, rest[:i]...)
		if i == len(rest) {
			return append(dst, '"'), nil
		}
		c := escaped[rest[i]]
		if c == 0 {
			return jsontext.AppendQuote(dst[:start], s)
		}
		dst = append(dst, '\\', c)
		rest = rest[i+1:]
	}
}

// plain is how many bytes s begins with that stand in a JSON string as they are.
func plain(s string) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for i+8 <= len(s) { // eight at once: which is the first that is above ASCII, below a space, a quote or a backslash
		b := s[i : i+8]
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		found := (w | (w - ones*' ') | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)) & highs
		if found == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(found) / 8
		n := width(s[i:])
		if n == 0 {
			return i
		}
		i += n
	}
	for i < len(s) {
		n := width(s[i:])
		if n == 0 {
			return i
		}
		i += n
	}
	return i
}

// width is how many bytes the first character of s has, 0 if it cannot stand in a JSON string as it is.
func width(s string) int {
	c := s[0]
	switch {
	case c < ' ', c == '"', c == '\\':
		return 0
	case c < utf8.RuneSelf:
		return 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return 0
	}
	return n
}

// OneLine turns the line breaks of JSON text into spaces, in place. They stand only between tokens, so nothing changes but that
// the text fits on one line of a stream.
func OneLine(text []byte) {
	for _, end := range []byte{'\n', '\r'} {
		for rest := text; ; {
			i := bytes.IndexByte(rest, end)
			if i < 0 {
				break
			}
			rest[i] = ' '
			rest = rest[i+1:]
		}
	}
}
