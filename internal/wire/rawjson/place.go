package rawjson

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/fault"
)

// The words of this file end up before the caller. They say where in the body something is wrong, what, and how to mend
// it; they quote the caller's own keys and numbers but no text, which may be confidential.

// maxPlace is how many steps of a path are spelled out, and maxQuote how many bytes of a key or number are quoted.
const (
	maxPlace = 8
	maxQuote = 40
)

// Refuse reports a wrong value, the one that Next returned last.
func (r *Reader) Refuse(hint, format string, args ...any) *fault.Error {
	return r.refuseAt(r.dec.StackPointer(), r.at, fault.InvalidRequest, hint, fmt.Sprintf(format, args...))
}

// Wrong reports a value that is not what it should be: a whole number, an array of strings.
func (r *Reader) Wrong(want string) *fault.Error {
	return r.Refuse("", "expected %s, got %s", want, r.got())
}

// Missing reports a member that is not there.
func Missing(param, hint string) *fault.Error {
	e := fault.New(fault.InvalidRequest, "%s: missing.", param)
	e.Param, e.Hint = param, hint
	return e
}

// refuseAt says that at ptr, and at the given offset, problem holds.
func (r *Reader) refuseAt(ptr jsontext.Pointer, offset int, code fault.Code, hint, problem string) *fault.Error {
	place := r.place(ptr)
	where := place
	if where == "" {
		where = "body"
	}
	e := fault.New(code, "%s: %s (byte %s).", where, problem, thousands(offset+1))
	e.Param, e.Hint = place, hint
	return e
}

// Here is the place of the object or array that is being read.
func (r *Reader) Here() string { return r.place(r.dec.StackPointer()) }

// place writes a pointer as programmers do: messages[2].content.
func (r *Reader) place(ptr jsontext.Pointer) string {
	var b strings.Builder
	level := 0
	for token := range ptr.Tokens() {
		if level++; level > maxPlace {
			b.WriteString("...")
			break
		}
		kind := jsontext.Kind('{')
		if level <= r.dec.StackDepth() {
			kind, _ = r.dec.StackIndex(level)
		}
		switch {
		case kind == '[':
			fmt.Fprintf(&b, "[%s]", token)
		case !isWord(token):
			fmt.Fprintf(&b, "[%s]", Quote(token))
		case level == 1:
			b.WriteString(token)
		default:
			b.WriteString("." + token)
		}
	}
	return b.String()
}

// isWord reports whether a key can stand in a path without quotes.
func isWord(s string) bool {
	for _, c := range []byte(s) {
		if c != '_' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= maxQuote
}

// got describes the value read last without telling its text.
func (r *Reader) got() string {
	switch text := r.text[r.at:r.end]; text[0] {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		if _, err := strconv.ParseFloat(string(Unquoted(text)), 64); err == nil && len(text) <= maxQuote {
			return string(text) // a number in quotes: worth showing, and not confidential
		}
		if len(text) == len(`""`) {
			return "an empty string"
		}
		return "a string"
	default:
		return clip(string(text))
	}
}

// syntax reports what the decoder stumbled on.
func (r *Reader) syntax(err error) *fault.Error {
	bad, ok := errors.AsType[*jsontext.SyntacticError](err)
	switch {
	case errors.Is(err, errTooDeep):
		return r.refuseAt(r.dec.StackPointer(), int(r.dec.InputOffset())-1, fault.InvalidJSON, "Flatten it.",
			fmt.Sprintf("more than %d levels of nesting", MaxDepth))
	case errors.Is(err, io.EOF):
		e := fault.New(fault.InvalidJSON, "The body is empty.")
		e.Hint = "Send a JSON object."
		return e
	case !ok:
		return fault.Wrap(fault.InvalidJSON, err, "The body cannot be read as JSON.")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return r.refuseAt(bad.JSONPointer.Parent(), int(bad.ByteOffset), fault.InvalidJSON, "Send it once.",
			fmt.Sprintf("the key %s appears twice", Quote(bad.JSONPointer.LastToken())))
	}
	problem, hint := r.mistake(int(bad.ByteOffset))
	return r.refuseAt(bad.JSONPointer, int(bad.ByteOffset), fault.InvalidJSON, hint, problem)
}

// mistake says what is wrong with the grammar at an offset.
func (r *Reader) mistake(offset int) (problem, hint string) {
	rest := r.text[min(offset, len(r.text)):]
	if len(rest) == 0 {
		return "the JSON ends too early", "Check that all of the body was sent."
	}
	for _, m := range mistakes {
		if bytes.HasPrefix(rest, []byte(m.text)) {
			return m.problem, m.hint
		}
	}
	c, size := utf8.DecodeRune(rest)
	switch {
	case c == utf8.RuneError && size == 1:
		return "bytes that are not UTF-8", "Send the body in UTF-8."
	case isSurrogate(rest):
		return "half a surrogate pair, " + string(rest[:6]), "Send the character whole."
	case c == '\\':
		return "an escape that JSON does not have", `Write a backslash as \\.`
	case c < ' ':
		return fmt.Sprintf("a control character, 0x%02x", c), "In a string, write it " + escape(c) + "."
	}
	return fmt.Sprintf("%q does not belong here", c), ""
}

// escape is how a control character is written in JSON.
func escape(c rune) string {
	switch c {
	case '\n':
		return `\n`
	case '\r':
		return `\r`
	case '\t':
		return `\t`
	}
	return fmt.Sprintf(`\u%04x`, c)
}

// mistakes are those that programs and people make most.
var mistakes = []struct{ text, problem, hint string }{
	{"\uFEFF", "a byte order mark", "Send UTF-8 without it."},
	{"NaN", "JSON has no NaN", "Send a number, or leave the key out."},
	{"Infinity", "JSON has no Infinity", "Send a number, or leave the key out."},
	{"None", "JSON has no None", "Write null."},
	{"True", "JSON has no True", "Write true."},
	{"False", "JSON has no False", "Write false."},
	{"'", "a single quote", "JSON strings stand in double quotes."},
	{"//", "a comment", "JSON has none."},
	{"/*", "a comment", "JSON has none."},
	{",", "a comma too many", "None stands behind the last element."},
}

// isSurrogate reports whether text begins with the escape of half a surrogate pair.
func isSurrogate(text []byte) bool {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return false
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 32)
	return err == nil && n >= 0xD800 && n <= 0xDFFF
}

// Quote puts a caller's own key or name into quotes, cut where it is long.
func Quote(s string) string { return strconv.Quote(clip(s)) }

// clip cuts s to a length that can be shown, between two characters.
func clip(s string) string {
	if len(s) <= maxQuote {
		return s
	}
	n := maxQuote
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// thousands writes 1204 as 1,204.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
