package openai

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/penstock/penstock/internal/fault"
	"github.com/penstock/penstock/internal/llm"
)

// ParseChat reads the body of a chat completion in one strict pass. It refuses, with the place: what is not one JSON
// object in UTF-8, keys that appear twice, nesting deeper than 128, something behind the object, a key that differs from
// a known one by case only, and known members of the wrong type or out of range. Other members are left unread. Errors
// are *fault.Error. The request keeps body, which must not change until the exchange ends.
func ParseChat(body []byte) (*llm.Request, error) { return parse(body, llm.OpChat, chatShape) }

// ParseEmbeddings is ParseChat for the body of an embeddings call.
func ParseEmbeddings(body []byte) (*llm.Request, error) {
	return parse(body, llm.OpEmbeddings, embeddingsShape)
}

// usualFields is room for the members of most bodies.
const usualFields = 12

func parse(body []byte, op llm.Operation, s shape) (*llm.Request, error) {
	p := newReader(body)
	defer p.free()
	r := &llm.Request{
		Dialect: llm.OpenAI, Op: op, Choices: 1, Raw: body, Fields: make([]llm.Field, 0, usualFields), DecodeChat: DecodeChat,
	}
	if err := p.body(s, r); err != nil {
		if told, ok := errors.AsType[*fault.Error](err); ok {
			return nil, told
		}
		return nil, p.syntax(err)
	}
	for _, name := range s.required {
		if r.Field(name) == nil {
			return nil, missing(name, s.fields[name].hint)
		}
	}
	return r, nil
}

// body reads all of the text.
func (r *reader) body(s shape, req *llm.Request) error {
	kind, _, err := r.next()
	if err != nil {
		return err
	}
	if kind != '{' {
		return r.wrong("a JSON object")
	}
	if err := r.members(func(name []byte) error { return r.member(s, req, name) }); err != nil {
		return err
	}
	return r.nothingBehind()
}

// member reads the value of a top-level member and notes where it lies.
func (r *reader) member(s shape, req *llm.Request, name []byte) error {
	f, ok := s.fields[string(name)]
	if !ok {
		f = field{name: string(name), optional: true, check: anything}
		if like := s.likeKnown(f.name); like != "" {
			return r.refuse(fmt.Sprintf("Write %q.", like), "differs from %q by case only", like)
		}
	}
	start := r.valueStart()
	if f.optional && r.peek() == 'n' {
		f.check = anything
	}
	if err := f.check(r, req); err != nil {
		return err
	}
	req.Fields = append(req.Fields, llm.Field{Name: f.name, Value: llm.Span{Start: start, End: r.end}})
	return nil
}

// valueStart is where the value begins whose name has just been read.
func (r *reader) valueStart() int {
	i := r.end
	for i < len(r.text) && strings.IndexByte(" \t\r\n:", r.text[i]) >= 0 {
		i++
	}
	return i
}

// nothingBehind sees to it that the object was all there is.
func (r *reader) nothingBehind() error {
	if _, _, err := r.next(); errors.Is(err, io.EOF) {
		return nil
	}
	behind := r.valueStart()
	return r.refuseAt("", behind, fault.InvalidJSON, "Send one object.", "something follows the JSON object")
}

// A shape is what is known of a body: its members by name, and those that must be there, in the order of the complaints.
type shape struct {
	fields   map[string]field
	required []string
}

// likeKnown finds the known member that a name differs from only by case, as other readers of JSON see it.
func (s shape) likeKnown(name string) string {
	for known := range s.fields {
		if strings.EqualFold(name, known) {
			return known
		}
	}
	return ""
}

// A field is a top-level member that Penstock knows.
type field struct {
	name     string
	optional bool   // may be null
	hint     string // for who left out one that is required
	check    check
}

// A check reads exactly one value, refuses what is wrong, and notes in the request what others want to know.
type check func(r *reader, req *llm.Request) error

// shapeOf gathers the known members. Those with a hint are required.
func shapeOf(fields ...field) shape {
	s := shape{fields: make(map[string]field, len(fields))}
	for _, f := range fields {
		f.optional = f.hint == ""
		if !f.optional {
			s.required = append(s.required, f.name)
		}
		s.fields[f.name] = f
	}
	return s
}
