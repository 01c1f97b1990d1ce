package admin

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/figure"
	"github.com/penstock/penstock/internal/reconcile"
)

// maxBody bounds a request's body, in bytes: room for some hundred thousand prices.
const maxBody = 16 << 20

// maxFileBody bounds the body of a request that brings a file as a text: in JSON, a byte of it takes up to six.
const maxFileBody = 6*reconcile.MaxFile + 1<<20

// A body is what a request brings.
type body struct {
	r          io.Reader
	mayBeEmpty bool
}

// read decodes the body strictly: unknown, repeated and null members are refused, so that nothing is accepted and
// ignored. An empty body, where there may be one, leaves into as it is.
func (b body) read(into any) error {
	text, err := io.ReadAll(b.r)
	if err != nil {
		if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return fault.Wrap(fault.BodyTooLarge, err, "The body is over %d MiB.", large.Limit>>20)
		}
		return fault.Wrap(fault.InvalidRequest, err, "The body ended before its length.")
	}
	if len(bytes.TrimSpace(text)) == 0 {
		if b.mayBeEmpty {
			return nil
		}
		return fault.New(fault.InvalidRequest, "The body is empty; send a JSON object.")
	}
	if err := json.Unmarshal(text, into, json.RejectUnknownMembers(true)); err != nil {
		return mistake(err, reflect.TypeOf(into).Elem())
	}
	return noNulls(text)
}

// noNulls refuses null, which means nothing here: to some callers it is "as it was", to others "none".
func noNulls(text []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	for {
		t, err := d.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fault.Wrap(fault.InvalidJSON, err, "The body is not JSON.")
		}
		if t.Kind() == 'n' {
			return fault.New(fault.InvalidRequest, "%s is null; send a value, or leave it out.", place(d.StackPointer()))
		}
	}
}

// mistake says what is wrong with a body, and where, without the words of our own types.
func mistake(err error, want reflect.Type) error {
	if s, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		if errors.Is(s.Err, jsontext.ErrDuplicateName) {
			return fault.Wrap(fault.InvalidJSON, err, "%s is there twice (byte %d); send it once.", place(s.JSONPointer), s.ByteOffset)
		}
		return fault.Wrap(fault.InvalidJSON, err, "The body is not JSON: %v (byte %d).", s.Err, s.ByteOffset)
	}
	s, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return fault.Wrap(fault.InvalidJSON, err, "The body is not JSON.")
	}
	if errors.Is(s.Err, json.ErrUnknownName) {
		f := fault.Wrap(fault.InvalidRequest, err, "%s is not a member that is known here.", place(s.JSONPointer))
		if s.GoType == want {
			f.Hint = "Known are " + strings.Join(members(want), ", ") + "."
		}
		return f
	}
	return fault.Wrap(fault.InvalidRequest, err, "%s is not %s.", place(s.JSONPointer), kindWords(s.GoType, memberAt(want, s.JSONPointer).Tag))
}

// place writes a JSON pointer the way the rest of Penstock writes places: data[0].input.
func place(p jsontext.Pointer) string {
	if p == "" {
		return "The body"
	}
	var b strings.Builder
	for token := range p.Tokens() {
		if n, err := strconv.Atoi(token); err == nil && b.Len() > 0 {
			fmt.Fprintf(&b, "[%d]", n)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(clip(token))
	}
	return b.String()
}

func members(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		if f.Anonymous {
			names = append(names, members(f.Type)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// memberAt is the field that a place in a body of the type is read into; the zero one where that is an element of a list or map.
func memberAt(t reflect.Type, p jsontext.Pointer) (member reflect.StructField) {
	for token := range p.Tokens() {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		member = reflect.StructField{}
		switch t.Kind() {
		case reflect.Slice, reflect.Map:
			t = t.Elem()
			continue
		case reflect.Struct:
			for _, f := range reflect.VisibleFields(t) {
				if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name == token && !f.Anonymous {
					member = f
				}
			}
		}
		if t = member.Type; t == nil {
			break
		}
	}
	return member
}

// kindWords says what a type is as JSON. Text that is a number (kind:"decimal") comes with an example, since it is easily sent as one:
// an amount, unless the tag example has another.
func kindWords(t reflect.Type, tag reflect.StructTag) string {
	if t == nil {
		return "what this route takes"
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		if tag.Get("kind") != "decimal" {
			return "text (in quotes)"
		}
		return `text (such as "` + cmp.Or(tag.Get("example"), "0.15") + `")`
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int64:
		return "a whole number (without quotes, such as 500000)"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "a JSON object"
	}
	return "what this route takes"
}

// A query holds the parameters of a request, each once and all known.
type query map[string]string

// readQuery refuses parameters that the endpoint does not know: a misspelt filter would otherwise select everything. What
// is not ours, such as a probe's, is left alone.
func readQuery(raw string, e *Endpoint) (query, error) {
	if !strings.HasPrefix(e.Path, "/admin/") {
		return nil, nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, fault.Wrap(fault.InvalidRequest, err, "The query cannot be read; send NAME=VALUE, with & between, percent-encoded.")
	}
	q := query{}
	for name, all := range values {
		if !slices.ContainsFunc(e.Query, func(p Param) bool { return p.Name == name }) {
			return nil, unknownParam(name, e)
		}
		if len(all) > 1 {
			return nil, badParam(name, "%s is there %d times; send it once.", name, len(all))
		}
		q[name] = all[0]
	}
	return q, nil
}

func unknownParam(name string, e *Endpoint) error {
	f := badParam(name, "%s %s has no parameter %s.", e.Method, e.Path, quote(name))
	f.Hint = "It has none."
	if len(e.Query) > 0 {
		names := make([]string, len(e.Query))
		for i, p := range e.Query {
			names[i] = p.Name
		}
		f.Hint = "It has " + strings.Join(names, ", ") + "."
	}
	return f
}

func badParam(name, format string, args ...any) *fault.Error {
	f := fault.New(fault.InvalidRequest, format, args...)
	f.Param = name
	return f
}

// pageSize is how much of a list one answer holds, unless the caller asks for less or more, up to maxPage.
const (
	pageSize = 200
	maxPage  = 1000
)

func (q query) limit() (int, error) {
	s := q["limit"]
	if s == "" {
		return pageSize, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > maxPage {
		return 0, badParam("limit", "limit is %s; send a number from 1 to %d.", quote(s), maxPage)
	}
	return n, nil
}

// flag reads true or false; absent is false.
func (q query) flag(name string) (bool, error) {
	switch s := q[name]; s {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badParam(name, "%s is %s; send true or false.", name, quote(s))
	}
}

// span reads from and to. Zero is no bound; where there are two, they hold something between them.
func (q query) span() (from, to time.Time, err error) {
	if from, err = q.instant("from"); err != nil {
		return from, to, err
	}
	if to, err = q.instant("to"); err != nil {
		return from, to, err
	}
	return from, to, checkSpan(from, to)
}

func checkSpan(from, to time.Time) error {
	if from.IsZero() || to.IsZero() || from.Before(to) {
		return nil
	}
	f := badParam("from", "There is nothing from %s to %s.", from.Format(time.RFC3339Nano), to.Format(time.RFC3339Nano))
	f.Hint = "The end is not part of the span: for one day, send the day after it as to."
	return f
}

// instant reads RFC 3339, or a day, which is its start in UTC.
func (q query) instant(name string) (time.Time, error) {
	s := q[name]
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, badParam(name, "%s is %s, which is not an instant; send 2026-11-24 or 2026-11-24T09:00:00Z.", name, quote(s))
}

// parseSpan reads a span of whole seconds with a unit: what Go reads, and days ("30d").
func parseSpan(member, s string) (time.Duration, error) {
	d, ok := figure.ParseSpan(s)
	if !ok {
		return 0, badParam(member, "%s: %s is not a span of time; write it as 720h or 30d.", member, quote(s))
	}
	return d, nil
}

// quote writes what a caller sent so that it is seen whole and harmless, and not at any length.
func quote(s string) string { return strconv.Quote(clip(s)) }

func clip(s string) string {
	const most = 128
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
