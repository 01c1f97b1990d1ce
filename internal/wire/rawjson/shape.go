package rawjson

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// Parse reads the body of a request in one strict pass. It refuses, with the place: what is not one JSON object in UTF-8, keys
// that appear twice, nesting deeper than 128, something behind the object, a key that differs from a known one by case only,
// and known members of the wrong type or out of range. Other members are left unread. Errors are *fault.Error. Raw and Fields
// of the request are set, and what the shape's checks note; body must not change until the exchange ends.
func Parse(body []byte, s Shape, req *llm.Request) error {
	r := newReader(body)
	defer r.free()
	req.Raw, req.Fields = body, make([]llm.Field, 0, usualFields)
	if err := r.body(s, req); err != nil {
		if told, ok := errors.AsType[*fault.Error](err); ok {
			return told
		}
		return r.syntax(err)
	}
	for _, name := range s.required {
		if req.Field(name) == nil {
			return Missing(name, s.fields[name].Hint)
		}
	}
	return nil
}

// usualFields is room for the members of most bodies.
const usualFields = 12

// body reads all of the text.
func (r *Reader) body(s Shape, req *llm.Request) error {
	kind, _, err := r.Next()
	if err != nil {
		return err
	}
	if kind != '{' {
		return r.Wrong("a JSON object")
	}
	if err := r.Members(func(name []byte) error { return r.member(s, req, name) }); err != nil {
		return err
	}
	return r.nothingBehind()
}

// member reads the value of a top-level member and notes where it lies.
func (r *Reader) member(s Shape, req *llm.Request, name []byte) error {
	f, ok := s.fields[string(name)]
	if !ok {
		f = Field{Name: string(name), optional: true, Check: Anything}
		if like := s.likeKnown(f.Name); like != "" {
			return r.Refuse(fmt.Sprintf("Write %q.", like), "differs from %q by case only", like)
		}
	}
	start := r.valueStart()
	if f.optional && r.Peek() == 'n' {
		f.Check = Anything
	}
	if err := f.Check(r, req); err != nil {
		return err
	}
	req.Fields = append(req.Fields, llm.Field{Name: f.Name, Value: llm.Span{Start: start, End: r.end}})
	return nil
}

// valueStart is where the value begins whose name has just been read.
func (r *Reader) valueStart() int {
	i := r.end
	for i < len(r.text) && strings.IndexByte(" \t\r\n:", r.text[i]) >= 0 {
		i++
	}
	return i
}

// nothingBehind sees to it that the object was all there is.
func (r *Reader) nothingBehind() error {
	if _, _, err := r.Next(); errors.Is(err, io.EOF) {
		return nil
	}
	behind := r.valueStart()
	return r.refuseAt("", behind, fault.InvalidJSON, "Send one object.", "something follows the JSON object")
}

// A Shape is what is known of a body: its members by name, and those that must be there, in the order of the complaints.
type Shape struct {
	fields   map[string]Field
	required []string
}

// likeKnown finds the known member that a name differs from only by case, as other readers of JSON see it.
func (s Shape) likeKnown(name string) string {
	for known := range s.fields {
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return ""
}

// A Field is a top-level member that Penstock knows.
type Field struct {
	Name     string
	optional bool   // may be null
	Hint     string // for who left out one that is required
	Check    Check
}

// A Check reads exactly one value, refuses what is wrong, and notes in the request what others want to know.
type Check func(r *Reader, req *llm.Request) error

// ShapeOf gathers the known members. Those with a hint are required.
func ShapeOf(fields ...Field) Shape {
	s := Shape{fields: make(map[string]Field, len(fields))}
	for _, f := range fields {
		f.optional = f.Hint == ""
		if !f.optional {
			s.required = append(s.required, f.Name)
		}
		s.fields[f.Name] = f
	}
	return s
}

// Anything takes every value.
func Anything(r *Reader, _ *llm.Request) error { return r.Skip() }

// Short reads a string of at most limit bytes, as they stand in the body.
func (r *Reader) Short(want string, limit int) (string, error) {
	kind, raw, err := r.Next()
	switch {
	case err != nil:
		return "", err
	case kind != '"':
		return "", r.Wrong(want)
	case len(raw) > limit+len(`""`):
		return "", r.Refuse("Shorten it.", "longer than %d bytes", limit)
	}
	return string(Unquoted(raw)), nil
}

// Text takes strings.
func Text(r *Reader, _ *llm.Request) error {
	kind, _, err := r.Next()
	if err != nil {
		return err
	}
	if kind != '"' {
		return r.Wrong("a string")
	}
	return nil
}

// ShortText takes strings of at most limit bytes.
func ShortText(limit int, note func(*llm.Request, string)) Check {
	return func(r *Reader, req *llm.Request) error {
		s, err := r.Short("a string", limit)
		if err == nil {
			note(req, s)
		}
		return err
	}
}

// Boolean takes true and false; note may be nil.
func Boolean(note func(*llm.Request, bool)) Check {
	return func(r *Reader, req *llm.Request) error {
		kind, _, err := r.Next()
		if err != nil {
			return err
		}
		if kind != 't' && kind != 'f' {
			return r.Wrong("true or false")
		}
		if note != nil {
			note(req, kind == 't')
		}
		return nil
	}
}

// Number takes numbers.
func Number(r *Reader, _ *llm.Request) error {
	kind, _, err := r.Next()
	if err != nil {
		return err
	}
	if kind != '0' {
		return r.Wrong("a number")
	}
	return nil
}

// Integer takes whole numbers in plain digits: how 1.0 and 1e3 are read differs from server to server.
func Integer(want string, lo, hi int64, note func(*llm.Request, int64)) Check {
	return func(r *Reader, req *llm.Request) error {
		kind, raw, err := r.Next()
		if err != nil {
			return err
		}
		n, bad := strconv.ParseInt(string(raw), 10, 64)
		if kind != '0' || bad != nil || n < lo || n > hi {
			return r.Wrong(want)
		}
		if note != nil {
			note(req, n)
		}
		return nil
	}
}

// AnyObject takes objects, whatever is in them.
func AnyObject(r *Reader, _ *llm.Request) error {
	kind, _, err := r.Next()
	if err != nil {
		return err
	}
	if kind != '{' {
		return r.Wrong("an object")
	}
	return r.Rest()
}

// TextOrObject takes strings and objects.
func TextOrObject(r *Reader, _ *llm.Request) error {
	kind, _, err := r.Next()
	switch {
	case err != nil:
		return err
	case kind == '"':
		return nil
	case kind == '{':
		return r.Rest()
	}
	return r.Wrong("a string or an object")
}

// Elements reads an array and calls f with the kind and the text of each element that Next has read; f reads the rest of
// objects and arrays. It returns how many there were.
func (r *Reader) Elements(want string, f func(kind byte, raw []byte) error) (int, error) {
	kind, _, err := r.Next()
	if err != nil {
		return 0, err
	}
	if kind != '[' {
		return 0, r.Wrong(want)
	}
	for n := 0; ; n++ {
		kind, raw, err := r.Next()
		if err != nil || kind == ']' {
			return n, err
		}
		if err := f(byte(kind), raw); err != nil {
			return n, err
		}
	}
}

// Texts takes arrays of strings.
func Texts(r *Reader, _ *llm.Request) error {
	_, err := r.Elements("an array of strings", func(kind byte, _ []byte) error {
		if kind != '"' {
			return r.Wrong("a string")
		}
		return nil
	})
	return err
}

// Objects takes arrays of objects.
func Objects(r *Reader, _ *llm.Request) error {
	_, err := r.Elements("an array of objects", func(kind byte, _ []byte) error {
		if kind != '{' {
			return r.Wrong("an object")
		}
		return r.Rest()
	})
	return err
}
